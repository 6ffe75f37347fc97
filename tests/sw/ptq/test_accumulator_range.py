from fractions import Fraction

import pytest
import torch
from torch import nn

from sw.formats import parse, parse_block
from sw.ptq.accumulator_range import AccumulatorRange, accumulator_ranges
from sw.ptq.config import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic, WeightConfig
from sw.ptq.quantize import quantize_
from sw.reference.accumulator_width import Grid, format_grid, sum_grid

ONE = ScaleRule(statistic=ScaleStatistic.ONE)


def config(weight, activation, **further):
    return Config(weight=WeightConfig(format=parse(weight), scale=ONE, **further),
                  activation=ActivationConfig(format=parse(activation), scale=ONE))


def quantized(model, *settings, batches=(), **further):
    return quantize_(model, config(*settings, **further), batches=batches or [torch.zeros(1, *SHAPES[type(model[0])])])


SHAPES = {nn.Linear: (6,), nn.Conv2d: (4, 5, 5)}


def exact_width(weight, activation, values, inputs):
    """Return the width of the sums of products by rational arithmetic: for one activation after the other."""
    grids = format_grid(parse(weight)), format_grid(parse(activation))
    unit = Fraction(2) ** (grids[0].exponent + grids[1].exponent)
    sums = [sum(Fraction(w) * Fraction(x) for w, x in zip(row, vector, strict=True)) / unit
            for row in values for vector in inputs]
    assert all(total.denominator == 1 for total in sums)
    return Grid(exponent=0, min_integer=int(min(0, *sums)), max_integer=int(max(0, *sums))).width


@pytest.mark.parametrize(("weight", "activation"), [
    ("int4", "int8"), ("int8", "int8"), ("minifloat_e2m1", "int8"), ("minifloat_e4m3", "minifloat_e4m3"),
    ("minifloat_e5m2", "minifloat_e5m2"), ("posit<8,1>", "posit<8,1>"), ("int8", "uint8"), ("fixed<6,3>", "e4m3")])
def test_widths_are_those_of_rational_arithmetic(weight, activation):
    generator = torch.Generator().manual_seed(3)
    formats = parse(weight), parse(activation)
    model = nn.Sequential(nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(3, 6, generator=generator) * float(formats[0].max_finite) / 4)
    x = torch.randn(10, 6, generator=generator) * float(formats[1].max_finite) / 4
    quantized(model, weight, activation, batches=[x])
    found = accumulator_ranges(model, [x])["0"]
    values = model[0].quantized_weight().tolist()
    inputs = model[0].quantized_input(x).tolist()
    assert found.terms == 6
    assert found.by_formats == sum_grid(*formats, terms=6).width
    assert found.observed == exact_width(weight, activation, values, inputs)
    grid = format_grid(formats[1], every_code=True)
    low, high = (Fraction(2) ** grid.exponent * end for end in (grid.min_integer, grid.max_integer))
    worst = [[high if (w > 0) == up else low for w in row] for row in values for up in (True, False)]
    assert found.by_weights == exact_width(weight, activation, values, worst)
    assert found.observed <= found.by_weights <= found.by_formats


def test_a_depthwise_convolution_has_the_sums_of_each_group():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1., 2., 3., 7.])[:, None, None, None].expand(4, 1, 3, 3))
    x = torch.full((2, 4, 5, 5), 5.0)
    quantized(model, "int4", "int4", batches=[x])
    found = accumulator_ranges(model, [x])
    assert found == {"0": AccumulatorRange(terms=9, by_formats=11, by_weights=(9 * 7 * 8).bit_length() + 1,
                                           observed=(9 * 7 * 5).bit_length() + 1)}
    assert float(model(x).detach().amax()) == 9 * 7 * 5
    assert accumulator_ranges(model)["0"].observed is None


def test_observing_sees_every_batch_and_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(6, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    small, large = torch.ones(1, 6), torch.full((1, 6), 7.0)
    quantized(model, "int4", "int4", batches=[small])
    before = model.state_dict()["0.weight"].clone()
    assert accumulator_ranges(model, [large, small])["0"].observed == 7
    assert accumulator_ranges(model, [small])["0"].observed == 4
    assert torch.equal(before, model.state_dict()["0.weight"])
    assert not model[0]._forward_pre_hooks


def test_ranges_wrong():
    with pytest.raises(ValueError, match="Model must have quantized layers to have accumulators, not Sequential"):
        accumulator_ranges(nn.Sequential(nn.Linear(6, 1)))
    grouped = nn.Sequential(nn.Linear(6, 2))
    quantized(grouped, "int4", "int8", granularity=Granularity.GROUP, group_size=3)
    grouped[0].weight_quantizer.scale.copy_(torch.tensor([[1.0, 2.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="Weights must have one scale for all products of a sum .*'0'"):
        accumulator_ranges(grouped)
    floats = quantize_(nn.Sequential(nn.Linear(6, 2)), Config(weight=WeightConfig(format=parse("int4"))))
    for layer, activation in (
            (nn.Linear(6, 2), ActivationConfig(format=parse("int8"), granularity=Granularity.GROUP, group_size=3,
                                               dynamic=True)),
            (nn.Conv2d(4, 2, 3), ActivationConfig(format=parse_block("mxfp8_e4m3"))),
            (nn.Linear(33, 2), ActivationConfig(format=parse_block("mxfp8_e4m3")))):
        scaled = quantize_(nn.Sequential(layer), Config(weight=WeightConfig(format=parse("int4")),
                                                        activation=activation))
        with pytest.raises(ValueError, match="Inputs must have one scale for all products of a sum .* layer '0'; take"):
            accumulator_ranges(scaled)
    with pytest.raises(ValueError, match="Accumulators must have quantized inputs, not those of layer '0'"):
        accumulator_ranges(floats)


def test_inputs_with_one_scale_for_each_sum_are_allowed():
    for activation in (
            ActivationConfig(format=parse("int4"), granularity=Granularity.TOKEN, dynamic=True),
            ActivationConfig(format=parse("int4"), granularity=Granularity.GROUP, group_size=6, dynamic=True),
            ActivationConfig(format=parse_block("mxfp4"))):
        model = nn.Sequential(nn.Linear(6, 1, bias=False))
        quantize_(model, Config(weight=WeightConfig(format=parse("int4"), scale=ONE), activation=activation))
        assert accumulator_ranges(model)["0"].terms == 6


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 1, bias=False)

    def forward(self, x):
        return self.layer(input=x)


def test_layers_that_are_called_by_keyword_are_observed_too():
    model = Keyword()
    with torch.no_grad():
        model.layer.weight.fill_(1.0)
    x = torch.full((1, 6), 7.0)
    quantize_(model, config("int4", "int4"), batches=[x])
    assert accumulator_ranges(model, [x])["layer"].observed == 7
