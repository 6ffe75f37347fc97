"""Layers through circuits: which codes go in, what becomes of the sums, and what gradients are."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from sw import ptq
from sw.formats import parse, parse_block
from sw.ptq import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic, WeightConfig
from sw.quantize import fake_quantize, from_codes, to_codes
from synth.native.operator import operator
from synth.nn import CircuitConv2d, CircuitLinear, config_for, conv2d, convert, linear
from tests.synth.nn.reference_units import OPERATIONS, ReferenceUnit

LAYERS = {
    "linear": (nn.Linear(12, 5), (3, 12)),
    "linear of one vector": (nn.Linear(12, 5), (12,)),
    "linear without bias": (nn.Linear(12, 5, bias=False), (2, 3, 12)),
    "convolution": (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 4)),
    "convolution of one image": (nn.Conv2d(3, 4, 3, padding=1), (3, 5, 4)),
    "convolution of everything": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2,
                                            bias=False), (2, 4, 7, 6)),
    "same": (nn.Conv2d(2, 4, 3, padding="same", dilation=2), (2, 2, 5, 6)),
    "valid": (nn.Conv2d(2, 4, 3, padding="valid"), (2, 2, 5, 6)),
    "reflect": (nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="reflect"), (2, 2, 5, 6)),
    "replicate": (nn.Conv2d(2, 4, 3, padding=1, padding_mode="replicate"), (2, 5, 6)),
    "circular": (nn.Conv2d(2, 4, 2, padding=1, padding_mode="circular"), (2, 2, 5, 6)),
}
NAMES = ["mac-wide", "mac-wrapping", "emac-posit", "emac-e4m3", "chunked-1-6-9", "fma-e5m10"]


def data(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit_of(name):
    return ReferenceUnit(OPERATIONS[name])


def config(unit, weights=Granularity.CHANNEL, **activation):
    absmax = ScaleRule(statistic=ScaleStatistic.ABSMAX)
    return Config(weight=WeightConfig(format=unit.b, granularity=weights, scale=absmax),
                  activation=ActivationConfig(format=unit.a, **{"dynamic": True, "scale": absmax, **activation}))


def converted(layer, unit, x, settings=None):
    layer = copy.deepcopy(layer)
    ptq.prepare(layer, settings or config(unit))
    ptq.calibrate(layer, [x])
    return convert(ptq.convert(layer), unit)


def scaled(layer, x, unit, sums, work=torch.float32):
    """Return what the layer's output is by its definition, for the sums' codes."""
    quantizer = layer.weight_quantizer
    shape = (-1, *[1] * (-1 - layer.input_axis))
    weight_scale = quantizer.scale.to(work).reshape(shape)
    input_scale = layer.input_quantizer.expanded_scale(x).flatten()[0].to(work)  # one for the tensor
    output = from_codes(sums, unit.result, work) * (input_scale * weight_scale)
    return (output if layer.bias is None else output + layer.bias.detach().to(work).reshape(shape)).to(x.dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_the_output_is_the_scaled_sum_of_the_quantizers_codes(name, layer, shape):
    x, unit = data(shape), unit_of(name)
    ours = converted(layer, unit, x)
    assert isinstance(ours, CircuitLinear | CircuitConv2d)
    assert isinstance(ours, type(layer))
    weight = ours.weight_quantizer.codes(ours.weight)
    if isinstance(layer, nn.Linear):
        sums = linear(ours.input_quantizer.codes(x), weight, unit)
    else:
        # Rounding is done for each element alone, so that padding may as well come before it.
        batch = x if x.ndim == 4 else x.unsqueeze(0)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(batch, layer._reversed_padding_repeated_twice, mode)
        codes = to_codes(padded, unit.a, scale=ours.input_quantizer.expanded_scale(x).flatten()[0])
        sums = conv2d(codes, weight, unit, stride=layer.stride, dilation=layer.dilation, groups=layer.groups)
        sums = sums if x.ndim == 4 else sums.squeeze(0)
    assert torch.equal(ours.result_codes(x), sums)
    work = torch.float64 if unit.result.width == 32 else torch.float32
    assert torch.equal(ours(x), scaled(ours, x, unit, sums, work))
    assert ours(x).dtype == torch.float32


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_wide_accumulator_sums_as_torch_does(layer, shape):
    x = data(shape)
    ours = converted(layer, unit_of("mac-wide"), x)
    with torch.no_grad():
        got = ours(x)
        ours.detach_unit()
        torch.testing.assert_close(got, ours(x), rtol=1e-5, atol=1e-6)


def test_codes_are_those_of_the_quantizers_that_ptq_froze():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    batches, unit = [data((4, 2, 4, 4), seed) for seed in range(3)], unit_of("emac-e4m3")
    settings = Config(weight=WeightConfig(format=parse("e4m3")), activation=ActivationConfig(format=parse("e4m3")))
    ptq.quantize_(model, settings, batches=batches)
    scales = [layer.input_quantizer.scale.clone() for layer in ptq.quantized_layers(model).values()]
    seen = []
    for layer in ptq.quantized_layers(model).values():
        layer.register_forward_pre_hook(lambda layer, arguments: seen.append((layer, arguments[0])))
    convert(model, unit)
    model(data((2, 2, 4, 4), 9))
    assert len(seen) == 2
    for (layer, x), scale in zip(seen, scales, strict=True):
        assert torch.equal(layer.input_quantizer.scale, scale)
        inputs, weights = layer.operand_codes(x)
        assert torch.equal(inputs, layer.input_quantizer.codes(x))
        assert torch.equal(weights, layer.weight_quantizer.codes(layer.weight))
        assert torch.equal(from_codes(inputs, unit.a) * scale, layer.input_quantizer(x))
        assert torch.equal(inputs, to_codes(x, unit.a, scale=scale))


@pytest.mark.parametrize(("layer", "shape"), [LAYERS["linear"], LAYERS["linear of one vector"], LAYERS["convolution"],
                                              LAYERS["convolution of one image"]])
def test_each_token_may_have_its_scale(layer, shape):
    x, unit = data(shape), unit_of("mac-wide")
    if len(shape) != 3:
        x = x * torch.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    ours = converted(layer, unit, x, config(unit, Granularity.TENSOR, granularity=Granularity.TOKEN))
    with torch.no_grad():
        got = ours(x)
        ours.detach_unit()
        torch.testing.assert_close(got, ours(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_outputs_are_of_the_type_of_the_inputs(dtype):
    layer, shape = LAYERS["convolution"]
    x, unit = data(shape, dtype=dtype), unit_of("chunked-1-6-9")
    ours = converted(layer.to(dtype), unit, x)
    work = torch.float64 if dtype == torch.float64 else torch.float32
    got = ours(x)
    assert got.dtype == dtype
    assert torch.equal(got, scaled(ours, x, unit, ours.result_codes(x), work))
    layer.to(torch.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_the_float_layer_on_rounded_operands(name, layer, shape):
    x, unit = data(shape).requires_grad_(), unit_of(name)
    ours = converted(layer, unit, x.detach())
    gradient = data(ours(x).shape, 5)
    parameters = [x, *ours.parameters()]
    got = torch.autograd.grad(ours(x), parameters, gradient)
    rounded, weight = ours.input_quantizer(x), ours.weight_quantizer(ours.weight)
    output = (functional.linear(rounded, weight, ours.bias) if isinstance(layer, nn.Linear)
              else ours._conv_forward(rounded, weight, ours.bias))
    for mine, theirs in zip(got, torch.autograd.grad(output, parameters, gradient), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(ours(x), ours(x.detach()))


def test_gradients_reach_what_asks_for_them_alone():
    x, unit = data((3, 12)), unit_of("mac-wide")
    layer = converted(LAYERS["linear"][0], unit, x)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert torch.equal(layer.bias.grad, torch.full((5,), 3.0))
    layer.bias.requires_grad_(False)
    assert not layer(x).requires_grad
    assert layer(x.clone().requires_grad_()).requires_grad
    with torch.no_grad():
        assert not layer(x.clone().requires_grad_()).requires_grad


def test_the_gradient_is_not_differentiable():
    x = data((3, 12)).requires_grad_()
    layer = converted(LAYERS["linear"][0], unit_of("mac-wide"), x.detach())
    gradient, = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_layer_learns_through_its_circuit():
    torch.manual_seed(1)
    unit = unit_of("chunked-1-6-9")
    x, target = data((64, 12), 1), data((64, 12), 1) @ data((12, 5), 2)
    layer = CircuitLinear(12, 5, unit=unit)
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = functional.mse_loss(layer(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20


def test_layers_are_made_as_torchs_are():
    unit = unit_of("mac-wide")
    torch.manual_seed(3)
    ours = CircuitConv2d(2, 4, (3, 2), 2, 1, 1, 2, True, "reflect", unit=unit)
    torch.manual_seed(3)
    theirs = nn.Conv2d(2, 4, (3, 2), 2, 1, 1, 2, True, "reflect")
    assert torch.equal(ours.weight, theirs.weight)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    x = data((2, 2, 5, 5))
    assert (ours(x) - theirs(x)).abs().max() < 0.05
    assert ours.unit is unit
    ours.detach()
    assert type(ours) is nn.Conv2d
    assert torch.equal(ours(x), theirs(x))
    assert set(ours.state_dict()) == set(theirs.state_dict())


def test_scales_of_weights_are_taken_anew():
    layer = CircuitLinear(4, 3, unit=unit_of("mac-wide"))
    before = layer.weight_quantizer.scale.clone()
    with torch.no_grad():
        layer.weight.mul_(8)
    assert torch.equal(layer.weight_quantizer.scale, before)
    layer.rescale_weight()
    torch.testing.assert_close(layer.weight_quantizer.scale, 8 * before)


@pytest.mark.parametrize("unit", ["mac-wide", "fma-e5m10"])
def test_states_go_out_and_in(unit):
    x = data((2, 3, 5, 4))
    unit = unit_of(unit)
    saved = converted(LAYERS["convolution"][0], unit, x)
    fresh = CircuitConv2d(3, 4, 3, padding=1, unit=unit, config=config(unit))
    assert not torch.equal(fresh(x), saved(x))
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(fresh(x), saved(x))
    with pytest.raises(ValueError, match="Quantizer must be built as the saved one was"):
        CircuitConv2d(3, 4, 3, unit=unit_of("chunked-1-6-9")).load_state_dict(saved.state_dict())


def test_copies_share_the_circuit_and_nothing_else():
    layer = CircuitLinear(4, 3, unit=unit_of("mac-wide"))
    other = copy.deepcopy(layer)
    assert other.unit is layer.unit
    assert other.weight is not layer.weight
    x = data((2, 4))
    assert torch.equal(other(x), layer(x))
    with pytest.raises(TypeError, match=r"Model must be saved by its state_dict\(\), not as an object"):
        pickle.dumps(layer)


def test_layers_show_the_formats_of_their_circuit():
    layer = CircuitLinear(4, 3, unit=unit_of("chunked-1-6-9"))
    assert layer.extra_repr() == ("in_features=4, out_features=3, bias=True, "
                                  "circuit=float8_e5m2 × float8_e5m2 → float16_e6m9")


def test_without_its_quantizers_a_layer_is_the_float_layer():
    layer, x = LAYERS["convolution"][0], data((2, 3, 5, 4))
    unit = unit_of("mac-wide")
    ours = converted(layer, unit, x)
    unit.shapes.clear()
    with ptq.floating(ours):
        assert torch.equal(ours(x), layer(x))
    with ptq.inputs_only(ours):
        assert torch.equal(ours(x), layer(ours.input_quantizer(x)))
    assert not unit.shapes
    ours(x)
    assert unit.shapes


@pytest.mark.parametrize(("layer", "shape"), [(nn.Linear(4, 3), (0, 4)), (nn.Linear(4, 3), (2, 0, 4)),
                                              (nn.Conv2d(2, 3, 3), (0, 2, 5, 5))])
def test_empty_batches_give_empty_outputs(layer, shape):
    x = data((2, *shape[1:])) if shape[1:2] != (0,) else data((2, 2, 4))
    ours = converted(layer, unit_of("emac-e4m3"), x)
    got = ours(torch.empty(shape, requires_grad=True))
    assert got.shape == layer(torch.empty(shape)).shape
    got.sum().backward()


def test_infinities_saturate_under_scales_that_are_frozen():
    unit = unit_of("mac-wide")
    layer = converted(nn.Linear(4, 3), unit, data((8, 4)), config(unit, dynamic=False))
    x = data((1, 4))
    x[0, 1] = torch.inf
    assert layer.operand_codes(x)[0][0, 1] == 127
    assert torch.isfinite(layer(x)).all()


def test_what_is_not_a_number_is_refused():
    unit = unit_of("emac-e4m3")
    layer = converted(nn.Linear(4, 3), unit, data((8, 4)), config(unit, dynamic=False))
    x = data((2, 4))
    x[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"Inputs must be numbers to go through a circuit, not NaN, at layer '' "
                                         r"\(Linear, weights of shape \(3, 4\)\)"):
        layer(x)
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="Weights must be numbers to go through a circuit, not NaN, at layer ''"):
        layer(data((2, 4)))


def test_what_the_input_does_not_suit_is_named():
    layer = converted(nn.Conv2d(2, 3, 3), unit_of("mac-wide"), data((1, 2, 5, 5)))
    with pytest.raises(ValueError, match=r"Input must be at least as large as the kernel, 3 × 3 with its dilation, not "
                                         r"2 × 2 with its padding, at layer '' \(Conv2d, weights of shape "
                                         r"\(3, 2, 3, 3\)\), for inputs of shape \(1, 2, 2, 2\) in int8"):
        layer(data((1, 2, 2, 2)))
    with pytest.raises(TypeError, match="Inputs must be of a floating-point dtype, not torch.int64"):
        layer(torch.ones(1, 2, 5, 5, dtype=torch.int64))


INT8, E4M3 = parse("int8"), parse("e4m3")
PLAIN = WeightConfig(format=INT8)


@pytest.mark.parametrize(("settings", "message"), [
    (Config(weight=PLAIN), r"Inputs must be quantized to int8 to go through a circuit, not stay float, at layer '' "
                           r"\(CircuitLinear, weights of shape \(3, 8\)\)"),
    (Config(weight=None, activation=ActivationConfig(format=INT8, dynamic=True)),
     "Weights must be quantized to int8 to go through a circuit, not stay float"),
    (Config(weight=PLAIN, activation=ActivationConfig(format=E4M3, dynamic=True)),
     "Inputs must be quantized to the format of the circuit, int8, not to float8_e4m3fn, at layer '' .*; "
     "synth.nn.config_for gives a fitting config"),
    (Config(weight=WeightConfig(format=parse_block("mxint8")), activation=ActivationConfig(format=INT8, dynamic=True)),
     "Weights must be quantized to the format of the circuit, int8, not to mxint8"),
    (Config(weight=WeightConfig(format=INT8, granularity=Granularity.GROUP, group_size=4),
            activation=ActivationConfig(format=INT8, dynamic=True)),
     "Weights must have one scale for all products of a sum to go through a circuit, not one for each group of 4, at"),
    (Config(weight=PLAIN, activation=ActivationConfig(format=INT8, dynamic=True, granularity=Granularity.GROUP,
                                                      group_size=2)),
     "Inputs must have one scale for all products of a sum to go through a circuit, not one for each group of 2, at"),
])
def test_quantizers_that_do_not_suit_the_circuit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CircuitLinear(8, 3, unit=unit_of("mac-wide"), config=settings)


def test_sums_that_the_circuit_cannot_make_are_refused():
    with pytest.raises(ValueError, match=r"Sums must have at most the 64 products that the circuit can sum, not 72, "
                                         r"at layer '' \(CircuitConv2d, weights of shape \(4, 8, 3, 3\)\); give the"):
        CircuitConv2d(8, 4, 3, unit=ReferenceUnit(operator("mac", fmt="int8", terms=64, out_fmt="int32")))
    assert CircuitConv2d(8, 4, 3, unit=ReferenceUnit(operator("mac", fmt="int8", terms=72, out_fmt="int32")))
    with pytest.raises(ValueError, match="Format must have at most 32 bits .*, at layer ''"):
        CircuitLinear(8, 4, unit=ReferenceUnit(operator("mac", fmt="int8", out_fmt="int40")))
    with pytest.raises(TypeError, match="Unit must be a matrix unit"):
        CircuitLinear(8, 4, unit=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's, of breaks in the graph
def test_a_compiled_model_calls_the_circuit():
    x = data((3, 12))
    layer = converted(LAYERS["linear"][0], unit_of("mac-wide"), x)
    model = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), layer)
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), model(x))
    got, want = (torch.autograd.grad(each(x).sum(), list(model.parameters())) for each in (compiled, model))
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("name", "statistic"), [
    ("mac-wide", ScaleStatistic.ABSMAX), ("mac-wrapping", ScaleStatistic.ABSMAX), ("emac-e4m3", ScaleStatistic.ABSMAX),
    ("chunked-1-6-9", ScaleStatistic.ONE), ("fma-e5m10", ScaleStatistic.ONE), ("mac-e4m3", ScaleStatistic.ONE),
    ("emac-posit", ScaleStatistic.ABSMAX)])
def test_operands_are_scaled_where_sums_have_room(name, statistic):
    settings = config_for(unit_of(name))
    assert settings.activation.scale.statistic is statistic
    assert settings.activation.dynamic
    assert not config_for(unit_of(name), dynamic=False).activation.dynamic
    assert (settings.weight.scale.statistic is ScaleStatistic.ONE) == (statistic is ScaleStatistic.ONE)
    unit = unit_of(name)
    x = data((4, 16))
    layer = CircuitLinear(16, 8, unit=unit)
    if name != "mac-wrapping":
        want = functional.linear(x, layer.weight, layer.bias)
        assert (layer(x) - want).abs().max() < 0.25 * want.abs().max(), layer(x)


def test_switches_that_are_none_are_refused():
    with pytest.raises(TypeError, match="Dynamic switch must be True or False, not 1"):
        config_for(unit_of("mac-wide"), dynamic=1)
    with pytest.raises(TypeError, match="Unit must be a matrix unit"):
        config_for(None)
    unit = unit_of("mac-wide")
    unit.result = None
    with pytest.raises(ValueError, match="Result must have a format"):
        config_for(unit)


def test_values_of_operands_are_products_of_the_fake_quantizer():
    x, unit = data((5, 12)), unit_of("chunked-1-6-9")
    layer = converted(LAYERS["linear"][0], unit, x)
    scale = layer.input_quantizer.expanded_scale(x)[0, 0]
    assert torch.equal(layer.quantized_input(x), fake_quantize(x, unit.a, scale=scale))
