"""Rounding through a model: which inputs each layer sees, and what an interruption or a mistake leaves behind."""

import copy

import pytest
import torch
from torch import nn

from sw.formats import parse, parse_any
from sw.ptq import layer_rounding
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.gpfq import GPFQ, gpfq_, quantize_gpfq
from sw.ptq.gptq import GPTQ, gptq_, quantize_gptq
from sw.ptq.grid import Grid
from sw.ptq.learned_rounding import LearnedRounding, learn_rounding_, quantize_learned
from sw.ptq.quantize import calibrate, convert, floating, prepare, quantized_layers
from sw.ptq.smoothquant import SmoothQuant, smooth_
from tests.sw.ptq.rounding_problems import random

TECHNIQUES = {
    "gptq": lambda *arguments, **options: gptq_(*arguments, **options),
    "gpfq": lambda *arguments, **options: gpfq_(*arguments, **options),
    "learned": lambda *arguments, **options: learn_rounding_(*arguments, LearnedRounding(iterations=100), **options),
}


class Network(nn.Module):
    """Every kind of layer, a residual, and a layer that runs twice."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect", bias=False)
            self.grouped = nn.Conv2d(8, 8, 1, groups=2)
            self.up = nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.twice = nn.Linear(4, 4)
            self.drop = nn.Dropout()
            self.unused = nn.Linear(4, 4)
            self.head = nn.Linear(4, 5)
            for module in self.modules():
                if hasattr(module, "weight"):
                    module.weight.data *= 2  # so that the output is more than the biases

    def forward(self, x):
        x = self.first(x).relu()
        x = (x + self.grouped(self.depthwise(x))).relu()
        x = self.up(x).flatten(2).mT
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.twice(self.twice(x).relu())
        return self.head(self.drop(x).mean(1))


def batches(count=3, samples=6, dtype=torch.float32):
    return [random(samples, 3, 4, 4, seed=seed, dtype=dtype) for seed in range(count)]


def calibrated(model=None, *, fmt="minifloat_e2m1", inputs=None):
    model = Network().eval() if model is None else model
    activation = None if inputs is None else ActivationConfig(format=parse_any(inputs))
    data = batches(dtype=next(model.parameters()).dtype)
    prepare(model, Config(weight=WeightConfig(format=parse_any(fmt)), activation=activation),
            lambda _, name: name != "unused")
    calibrate(model, data)
    return model


def error_of(model, want, x):
    with torch.no_grad():
        return float((model(x) - want).square().sum())


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(("fmt", "inputs"), [("int3", None), ("minifloat_e2m1", "int8"), ("posit<6,1>", "posit<8,1>"),
                                             ("mxfp4", "mxfp8_e4m3"), ("nvfp4", None)])
def test_every_layer_ends_on_its_grid_and_the_model_is_better_than_with_nearest_rounding(technique, fmt, inputs):
    floats = Network().eval()
    nearest = convert(calibrated(copy.deepcopy(floats), fmt=fmt, inputs=inputs))
    model = calibrated(copy.deepcopy(floats), fmt=fmt, inputs=inputs)
    TECHNIQUES[technique](model, batches())
    x = torch.cat(batches())
    want = floats(x).detach()
    assert error_of(convert(model), want, x) < error_of(nearest, want, x)
    for name, layer in quantized_layers(model).items():
        assert torch.equal(layer.quantized_weight(), layer.weight), name
        assert not torch.equal(layer.weight, nearest.get_submodule(name).weight), name
    assert model.state_dict().keys() == nearest.state_dict().keys()
    for name, parameter in floats.named_parameters():
        if "bias" in name or "unused" in name:
            assert torch.equal(parameter, model.get_parameter(name)), name


def chain():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 5)).double().eval()


@pytest.mark.parametrize("quantized", [False, True])
def test_gptq_sees_what_the_rounded_layers_before_hand_on(quantized):
    model = calibrated(chain(), inputs="int4")
    first, second = model[1], model[3]
    x = torch.cat(batches(dtype=torch.float64)).flatten(1)
    weights = [first.weight_matrix(), second.weight_matrix()]

    def rounded(weights, layer, x):
        grid = Grid(format=parse("minifloat_e2m1"), scale=layer.weight_scales())
        x = layer.quantized_input(x) if quantized else x
        return x, quantize_gptq(weights, 2 * x.T @ x / len(x), grid, GPTQ())

    seen, want_first = rounded(weights[0], first, x)
    hidden = (seen @ want_first[0].T + first.bias.detach()).relu()
    _, want_second = rounded(weights[1], second, hidden)
    gptq_(model, batches(dtype=torch.float64), GPTQ(quantized_inputs=quantized))
    torch.testing.assert_close(first.weight_matrix(), want_first, rtol=0, atol=0)
    torch.testing.assert_close(second.weight_matrix(), want_second, rtol=0, atol=0)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_the_others_see_the_float_inputs_beside_them(learned, quantized):
    model = calibrated(chain(), inputs="int4")
    before = copy.deepcopy(model)
    first, second = model[1], model[3]
    x = torch.cat(batches(dtype=torch.float64)).flatten(1)

    def rounded(layer, x, y):
        grid = Grid(format=parse("minifloat_e2m1"), scale=layer.weight_scales())
        y = layer.quantized_input(y) if quantized else y
        arguments = layer.weight_matrix(), y.T @ y / len(y), y.T @ x / len(y), grid
        return y, quantize_learned(*arguments, options) if learned else quantize_gpfq(*arguments)

    options = LearnedRounding(iterations=100, quantized_inputs=quantized)
    with torch.no_grad():
        seen, want_first = rounded(first, x, x)
        floats = (x @ first.weight.T + first.bias).relu()
        _, want_second = rounded(second, floats, (seen @ want_first[0].T + first.bias).relu())
    if learned:
        learn_rounding_(model, batches(dtype=torch.float64), options)
    else:
        gpfq_(model, batches(dtype=torch.float64), GPFQ(quantized_inputs=quantized))
    torch.testing.assert_close(first.weight_matrix(), want_first, rtol=0, atol=0)
    torch.testing.assert_close(second.weight_matrix(), want_second, rtol=0, atol=0)
    # A model that was rounded before is rounded anew, from the reference.
    again = copy.deepcopy(before)
    gptq_(again, batches(dtype=torch.float64))
    if learned:
        learn_rounding_(again, batches(dtype=torch.float64), options, reference=before)
    else:
        gpfq_(again, batches(dtype=torch.float64), GPFQ(quantized_inputs=quantized), reference=before)
    assert torch.equal(again[1].weight, first.weight)


def test_smoothed_inputs_are_seen_smoothed():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).double().eval()
    x = torch.cat(batches(dtype=torch.float64)).flatten(1) * torch.logspace(-1, 1, 48)
    smooth_(model, [x], SmoothQuant(folded=False))
    prepare(model, Config(weight=WeightConfig(format=parse("int3"))))
    calibrate(model)
    smoothed = x * model[1].smoothing
    assert not torch.allclose(smoothed, x)
    grid = Grid(format=parse("int3"), scale=model[1].weight_scales())
    want = quantize_gptq(model[1].weight_matrix(), 2 * smoothed.T @ smoothed / len(x), grid)
    gptq_(model, [x])
    torch.testing.assert_close(model[1].weight_matrix(), want, rtol=0, atol=0)


def test_both_runs_of_a_layer_count():
    """Of a layer that runs twice, the second inputs are those that its first run, still unrounded, makes."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 48))
    model.append(model[1])
    model = calibrated(model.double().eval())
    layer = model[1]
    x = torch.cat(batches(dtype=torch.float64)).flatten(1)
    with torch.no_grad():
        y = torch.cat([x, layer(x)])
    grid = Grid(format=parse("minifloat_e2m1"), scale=layer.weight_scales())
    want = quantize_gptq(layer.weight_matrix(), 2 * y.T @ y / len(y), grid)
    gptq_(model, batches(dtype=torch.float64))
    torch.testing.assert_close(layer.weight_matrix(), want, rtol=0, atol=0)


class Branches(nn.Module):
    """Three layers with one input, of which one sees it after it has changed in place, and an attention."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.a, self.b, self.c, self.late = (nn.Linear(48, 8) for _ in range(4))
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = x.flatten(1) * 1
        a = self.a(x).relu()
        x.relu_()
        late = self.late(x)
        y = torch.stack([a, late, self.b(x), self.c(x)], 1)
        return self.attention(y, y, y, need_weights=False)[0]


def test_layers_with_one_input_share_a_pass_and_nothing_else():
    model = calibrated(Branches().double().eval(), inputs="int8")
    data = batches(dtype=torch.float64)
    names = [[visit.name for visit in group] for group in layer_rounding.visits(model, data)]
    projections = [f"attention.{part}_projection" for part in ("query", "key", "value")]
    assert names == [["a"], ["late", "b", "c"], projections, ["attention.out_proj"]]
    together, apart = copy.deepcopy(model), model
    layers = quantized_layers(model)
    gptq_(together, data)
    with pytest.MonkeyPatch.context() as patch:
        alone = [[layer_rounding.Visit(name=name, layer=layers[name], calls=1)] for group in names for name in group]
        patch.setattr(layer_rounding, "visits", lambda *_: alone)
        gptq_(apart, data)
    for name, parameter in together.named_parameters():
        assert torch.equal(parameter, apart.get_parameter(name)), name


def test_an_input_that_changes_in_place_later_counts_as_it_was():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, dtype=torch.float64)

        def forward(self, x):
            x = x * 1
            y = self.layer(x)
            x.zero_()
            return self.layer(y)

    model = Changing().eval()
    prepare(model, Config(weight=WeightConfig(format=parse("int3"))))
    calibrate(model)
    x = random(30, 4)
    with torch.no_grad():
        seen = torch.cat([x, model.layer(x)])
    grid = Grid(format=parse("int3"), scale=model.layer.weight_scales())
    want = quantize_gptq(model.layer.weight_matrix(), 2 * seen.T @ seen / 60, grid)
    gptq_(model, [x])
    torch.testing.assert_close(model.layer.weight_matrix(), want, rtol=0, atol=0)


def test_a_convolutions_inputs_are_spread_out_a_part_at_a_time(monkeypatch):
    whole, parts = calibrated(Network().double().eval()), calibrated(Network().double().eval())
    gptq_(whole, batches(dtype=torch.float64))
    monkeypatch.setattr(layer_rounding, "_SPREAD", 1)
    gptq_(parts, batches(dtype=torch.float64))
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter, parts.get_parameter(name), rtol=0, atol=0)


@pytest.mark.parametrize("batch", [lambda x: (x,), lambda x: {"x": x}])
def test_batches_are_tuples_of_arguments_or_keywords_too(batch):
    plain, other = calibrated(), calibrated()
    gptq_(plain, batches())
    gptq_(other, tuple(batch(x) for x in batches()))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_interruption_leaves_finished_layers_rounded_and_the_others_as_they_were(technique):
    model = calibrated(inputs="int8").train()
    before = copy.deepcopy(model)
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TECHNIQUES[technique](model, batches(), progress=interrupt)
    assert seen == [(1, 10), (2, 10), (3, 10), (4, 10)]
    for position, (name, layer) in enumerate(quantized_layers(model).items()):
        assert torch.equal(layer.weight, before.get_submodule(name).weight) == (position >= 4), name
        assert layer.weight_quantizer.enabled
        assert layer.input_quantizer.enabled
        assert not layer._forward_pre_hooks
        assert layer.training
    assert model.drop.training


def test_layers_that_nothing_reaches_keep_their_weights():
    model = Network().eval()
    prepare(model, Config(weight=WeightConfig(format=parse("int4"))))
    calibrate(model)
    before = model.unused.weight.clone()
    gptq_(model, batches())
    assert torch.equal(model.unused.weight, before)
    assert not torch.equal(model.unused.quantized_weight(), before)


class Exploding(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine, self.blown = nn.Linear(4, 3), nn.Linear(3, 2)
        self.calm = True

    def forward(self, x):
        x = self.fine(x)
        return self.blown(x if self.calm else x * torch.inf)


def exploding():
    model = Exploding().eval()
    prepare(model, Config(weight=WeightConfig(format=parse("int4"))))
    calibrate(model, [torch.ones(2, 4)])
    model.calm = False
    return model


def one_float(change=None):
    model = nn.Sequential(nn.Linear(4, 3))
    if change is not None:
        prepare(model, Config(weight=WeightConfig(format=parse("int4"))))
        change(model)
    return model


ONE = [torch.ones(2, 4)]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: gptq_(None, ONE), TypeError, "Model must be a torch.nn.Module, not 'NoneType'"),
    (lambda: gptq_(one_float(), ONE), ValueError,
     "Model must be prepared, not a Sequential without quantized layers; see sw.ptq.prepare"),
    (lambda: gptq_(one_float(lambda model: None), ONE), ValueError,
     "Model must be calibrated before its weights are rounded, not with layer '0' observing; see sw.ptq.calibrate"),
    (lambda: gptq_(one_float(calibrate), ONE, GPFQ()), TypeError, "Options must be a GPTQ or None, not GPFQ"),
    (lambda: gptq_(one_float(calibrate), iter(ONE)), TypeError, "Batches must be such that they can be gone through"),
    (lambda: gptq_(one_float(calibrate), []), ValueError, "Batches must be at least one, not none"),
    (lambda: gptq_(one_float(calibrate), [*ONE, ONE[0] * torch.nan]), ValueError,
     r"Batch must be finite, not nan at \[0, 0\], in batch 1$"),
    (lambda: gptq_(exploding(), ONE), ValueError, "Inputs must be finite, not with an infinity or a NaN, at layer "
     r"'blown' \(Linear, weights of shape \(2, 3\)\), to int4"),
    (lambda: gptq_(one_float(calibrate), ONE, GPTQ(damping=0)), ValueError, "Damping must be large enough to make the "
     r"Hessian positive definite, not 0; .*, at layer '0' \(Linear, weights of shape \(3, 4\)\), to int4"),
    (lambda: gpfq_(one_float(calibrate), ONE, reference="float"), TypeError,
     "Reference must be a torch.nn.Module or None, not 'str'"),
    (lambda: gpfq_(one_float(calibrate), ONE, reference=one_float()), ValueError,
     "Reference must have the quantized layers of the model, not others: 0; take it with copy.deepcopy"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_model_itself_is_no_reference():
    model = one_float(calibrate)
    with pytest.raises(ValueError, match="Reference must be a copy of the model from before its weights were rounded"):
        learn_rounding_(model, ONE, reference=model)


def test_the_quantizers_of_a_reference_are_on_again_afterwards():
    model = calibrated(inputs="int8")
    reference = copy.deepcopy(model)
    gpfq_(model, batches(), reference=reference)
    with torch.no_grad():
        quantized = reference(batches()[0])
        with floating(reference):
            assert not torch.equal(reference(batches()[0]), quantized)


class Switch(nn.Module):
    """Which layer runs depends on the batch."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.small(x) if len(x) < 8 else self.large(x)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_layers_that_a_later_batch_reaches_are_rounded_too(technique):
    data = [random(size, 4, seed=size, dtype=torch.float32) for size in (5, 6, 20)]
    model = Switch()
    prepare(model, Config(weight=WeightConfig(format=parse("int3"))))
    calibrate(model, data)
    seen = []
    TECHNIQUES[technique](model, data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    for name, layer in quantized_layers(model).items():
        assert torch.equal(layer.weight, layer.quantized_weight()), name
    assert [(visit.name, visit.calls) for group in layer_rounding.visits(model, data) for visit in group] == [
        ("small", 1), ("large", 1)]
