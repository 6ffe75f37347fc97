"""GPTQ, GPFQ, bias correction and learned rounding's start beside Brevitas, on the same layers, scales and inputs.

In float64 on both sides, so that the two ways to compute the same values do not round one weight in thousands apart.
"""

import warnings

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.ptq.bias_correction import correct_bias_
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.gpfq import GPFQ, gpfq_
from sw.ptq.gptq import GPTQ, gptq_
from sw.ptq.grid import Grid
from sw.ptq.learned_rounding import initial_position
from sw.ptq.quantize import calibrate, prepare, quantized_layers
from tests.sw.ptq.rounding_problems import random

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    from brevitas.graph.calibrate import bias_correction_mode
    from brevitas.graph.gpfq import gpfq_mode
    from brevitas.graph.gptq import gptq_mode
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat
    from brevitas.quant.experimental.float import Fp8e4m3WeightPerChannelFloat

    class Int3(Int8WeightPerChannelFloat):
        bit_width = 3
        scaling_impl_type = "parameter_from_stats"

    class Int5(Int3):
        bit_width = 5

    class E2M1(Fp8e4m3WeightPerChannelFloat):
        bit_width, exponent_bit_width, mantissa_bit_width = 4, 2, 1
        scaling_impl_type = "parameter_from_stats"

    class E3M2(E2M1):
        bit_width, exponent_bit_width, mantissa_bit_width = 6, 3, 2

    class Int6Input(Int8ActPerTensorFloat):
        bit_width = 6
        scaling_impl_type = "const"
        scaling_init = 0.7  # small enough that no two inputs have equal squares, which sorting leaves open

QUANTIZERS = {"int3:narrow_range=true": Int3, "int5:narrow_range=true": Int5, "minifloat_e2m1": E2M1,
              "minifloat_e3m2": E3M2}
BATCHES = [random(16, 3, 8, 8, seed=seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def both(name, *, inputs=False):
    """The same network twice: with Brevitas' layers, and with ours under Brevitas' scales."""
    options = {"weight_quant": QUANTIZERS[name], "input_quant": Int6Input if inputs else None}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = nn.Sequential(
            qnn.QuantConv2d(3, 12, 3, padding=1, **options), nn.ReLU(),
            qnn.QuantConv2d(12, 8, 3, stride=2, groups=2, **options), nn.ReLU(),
            qnn.QuantConv2d(8, 8, 2, groups=8, **options), nn.Flatten(), qnn.QuantLinear(32, 10, True, **options),
        ).double().eval()
    ours = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3, stride=2, groups=2), nn.ReLU(),
        nn.Conv2d(8, 8, 2, groups=8), nn.Flatten(), nn.Linear(32, 10),
    ).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    activation = ActivationConfig(format=parse("int6")) if inputs else None
    prepare(ours, Config(weight=WeightConfig(format=parse(name)), activation=activation))
    calibrate(ours, BATCHES if inputs else None)
    with torch.no_grad():
        theirs(BATCHES[0])
        for key, layer in quantized_layers(ours).items():
            quantized = theirs.get_submodule(key).quant_weight()
            layer.weight_quantizer.scale = quantized.scale.flatten().to(torch.float64)
            assert torch.equal(layer.quantized_weight(), quantized.value), key
            if inputs:
                quantizer = theirs.get_submodule(key).input_quant
                layer.input_quantizer.scale = quantizer.scale().to(torch.float64)
                x = 2 * random(1000)
                assert torch.equal(layer.input_quantizer(x), quantizer(x).value), key
    return theirs, ours


def run_theirs(mode):
    with torch.no_grad(), mode as running:
        for _ in range(running.num_layers):
            for x in BATCHES:
                running.model(x)
            running.update()


def assert_same_weights(theirs, ours):
    for name, layer in quantized_layers(ours).items():
        want, got = theirs.get_submodule(name).quant_weight().value, layer.weight
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq(name, act_order):
    theirs, ours = both(name)
    run_theirs(gptq_mode(theirs, act_order=act_order, use_quant_activations=False, dtype=torch.float64))
    before = [layer.quantized_weight().clone() for layer in quantized_layers(ours).values()]
    gptq_(ours, BATCHES, GPTQ(act_order=act_order))
    assert_same_weights(theirs, ours)
    assert not any(torch.equal(nearest, layer.weight) for nearest, layer in
                   zip(before, quantized_layers(ours).values(), strict=True) if nearest.numel() > 100)


@pytest.mark.parametrize("name", ["int3:narrow_range=true", "minifloat_e3m2"])
@pytest.mark.parametrize("quantized", [False, True])
def test_gptq_with_inputs_quantized(name, quantized):
    theirs, ours = both(name, inputs=True)
    run_theirs(gptq_mode(theirs, use_quant_activations=quantized, dtype=torch.float64))
    gptq_(ours, BATCHES, GPTQ(quantized_inputs=quantized))
    assert_same_weights(theirs, ours)


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("act_order", [False, True])
def test_gpfq(name, act_order):
    theirs, ours = both(name, inputs=True)
    run_theirs(gpfq_mode(theirs, act_order=act_order, dtype=torch.float64))
    gpfq_(ours, BATCHES, GPFQ(act_order=act_order))
    assert_same_weights(theirs, ours)


@pytest.mark.parametrize("act_order", [False, True])
def test_inputs_that_are_always_zero(act_order, monkeypatch):
    """Their weights become zero, and in the mean of the Hessian's diagonal they count as one."""
    dark = [x * torch.tensor([1.0, 0.0, 1.0])[:, None, None] for x in BATCHES]
    monkeypatch.setitem(globals(), "BATCHES", dark)
    theirs, ours = both("minifloat_e2m1")
    run_theirs(gptq_mode(theirs, act_order=act_order, use_quant_activations=False, dtype=torch.float64))
    gptq_(ours, dark, GPTQ(act_order=act_order))
    assert_same_weights(theirs, ours)
    assert not ours[0].weight[:, 1].any()
    theirs, ours = both("minifloat_e2m1")
    run_theirs(gpfq_mode(theirs, act_order=act_order, dtype=torch.float64))
    gpfq_(ours, dark, GPFQ(act_order=act_order))
    assert_same_weights(theirs, ours)
    assert not ours[0].weight[:, 1].any()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_bias_correction(name):
    theirs, ours = both(name, inputs=True)
    before = {key: layer.bias.detach().clone() for key, layer in quantized_layers(ours).items()}
    with torch.no_grad(), bias_correction_mode(theirs):
        for x in BATCHES:
            theirs(x)
    correct_bias_(ours, BATCHES)
    for key, layer in quantized_layers(ours).items():
        want = theirs.get_submodule(key).bias
        torch.testing.assert_close(layer.bias, want, rtol=0, atol=1e-12)
        assert (want - before[key]).abs().max() > 1e-4


@pytest.mark.parametrize("name", QUANTIZERS)
def test_learned_rounding_begins_at_brevitas_quantized_weights(name):
    """Brevitas' own first position, ``frac(w / scale)``, does so for integers alone."""
    theirs, ours = both(name)
    wrong = 0
    for key, layer in quantized_layers(ours).items():
        weights, want = layer.weight_matrix(), theirs.get_submodule(key).quant_weight()
        grid = Grid(format=parse(name), scale=layer.weight_scales())
        down, up = grid.neighbours(weights)
        first = torch.where(initial_position(weights, down, up, grid.nearest(weights)) > 0.5, up, down)
        assert torch.equal(first, layer.as_matrix(want.value.detach())), key
        fraction = weights / grid.scale - (weights / grid.scale).floor()
        wrong += int((torch.where(fraction > 0.5, up, down) != first).sum())
    assert (wrong == 0) == name.startswith("int"), wrong
