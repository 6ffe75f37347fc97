"""Scales and rounded values beside those of Brevitas: equal bit for bit where the definitions are.

They are for weights, and for activations of one batch: of several, Brevitas takes the mean of the statistics, ours are
those of all batches together. They are not for integers of a full range, where Brevitas divides by 128 and not by 127.
"""

import warnings

import pytest
import torch

from sw.formats import parse
from sw.ptq.config import ActivationConfig, Granularity, ScaleRule, ScaleSearch, ScaleStatistic, WeightConfig
from sw.ptq.tensor_quantizer import TensorQuantizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    from brevitas.core.stats.stats_op import MSE
    from brevitas.graph.calibrate import calibration_mode
    from brevitas.quant.float import (
        Fp8e4m3ActPerTensorFloat,
        Fp8e4m3WeightPerChannelFloat,
        Fp8e4m3WeightPerChannelFloatMSE,
        Fp8e4m3WeightPerTensorFloat,
        Fp8e4m3WeightPerTensorFloatMSE,
    )
    from brevitas.quant.scaled_int import (
        Int8ActPerTensorFloat,
        Int8WeightPerChannelFloat,
        Int8WeightPerChannelFloatMSE,
        Int8WeightPerTensorFloat,
        Int8WeightPerTensorFloatMSE,
    )

    class NarrowInput(Int8ActPerTensorFloat):
        narrow_range = True
        high_percentile_q = 99.9

INTEGERS = [f"int{width}:narrow_range=true" for width in range(3, 9)]
MINIFLOATS = [f"minifloat_e{exponent}m{fraction}" for exponent in range(1, 6) for fraction in range(1, 7)
              if exponent + fraction <= 7]
THEIRS = {
    (True, Granularity.CHANNEL, False): Int8WeightPerChannelFloat,
    (True, Granularity.TENSOR, False): Int8WeightPerTensorFloat,
    (True, Granularity.CHANNEL, True): Int8WeightPerChannelFloatMSE,
    (True, Granularity.TENSOR, True): Int8WeightPerTensorFloatMSE,
    (False, Granularity.CHANNEL, False): Fp8e4m3WeightPerChannelFloat,
    (False, Granularity.TENSOR, False): Fp8e4m3WeightPerTensorFloat,
    (False, Granularity.CHANNEL, True): Fp8e4m3WeightPerChannelFloatMSE,
    (False, Granularity.TENSOR, True): Fp8e4m3WeightPerTensorFloatMSE,
}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def data(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.exp(torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator))
    return torch.randn(shape, generator=generator) * spread


def fields(fmt, prefix):
    if fmt.name.startswith("int"):
        return {f"{prefix}bit_width": fmt.width}
    return {f"{prefix}bit_width": fmt.width, f"{prefix}exponent_bit_width": fmt.exponent_bits,
            f"{prefix}mantissa_bit_width": fmt.fraction_bits}


BRIEF = ("int4:narrow_range=true", "minifloat_e2m1", "minifloat_e4m3")


@pytest.mark.parametrize("granularity", [Granularity.TENSOR, Granularity.CHANNEL])
@pytest.mark.parametrize("name", INTEGERS + MINIFLOATS)
def test_weights_by_maximum(name, granularity):
    compare_weights(parse(name), granularity, None)


@pytest.mark.parametrize("search", [ScaleSearch.GRID, ScaleSearch.FIBONACCI])
@pytest.mark.parametrize("granularity", [Granularity.TENSOR, Granularity.CHANNEL])
@pytest.mark.parametrize("name", [name if name in BRIEF else pytest.param(name, marks=pytest.mark.slow)
                                  for name in INTEGERS + MINIFLOATS])
def test_weights_by_error(name, granularity, search):
    compare_weights(parse(name), granularity, search)


def compare_weights(fmt, granularity, search):
    rule = ScaleRule() if search is None else ScaleRule(statistic=ScaleStatistic.MSE, search=search)
    kind = THEIRS[fmt.name.startswith("int"), granularity, search is not None]
    for weight, build in ((data(16, 50), qnn.QuantLinear), (data(12, 6, 3, 3, seed=1), qnn.QuantConv2d)):
        sizes = (weight.shape[1], weight.shape[0], *weight.shape[2:3])
        layer = build(*sizes, bias=False, weight_quant=kind, **fields(fmt, "weight_"))
        layer.weight.data = weight.clone()
        for module in layer.modules():
            if isinstance(module, MSE):
                module.search_method = search.value
        theirs = layer.quant_weight()
        ours = TensorQuantizer(WeightConfig(format=fmt, granularity=granularity, scale=rule), label="layer",
                               axis=1 - weight.ndim, shape=tuple(weight.shape))
        ours.observe(weight)
        ours.freeze()
        assert torch.equal(ours.scale.flatten(), theirs.scale.detach().flatten()), (ours.scale, theirs.scale)
        assert torch.equal(ours(weight), theirs.value.detach())


def _calibrated(kind, x, **settings):
    layer = qnn.QuantIdentity(act_quant=kind, return_quant_tensor=True, **settings).eval()
    with torch.no_grad(), calibration_mode(layer):
        layer(x)
    return layer.eval()(x)


@pytest.mark.parametrize("name", INTEGERS)
def test_inputs_by_percentile(name):
    fmt, x = parse(name), data(40, 500)
    theirs = _calibrated(NarrowInput, x, **fields(fmt, ""))
    rule = ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=99.9)
    ours = TensorQuantizer(ActivationConfig(format=fmt, scale=rule), axis=-1, label="layer")
    ours(x)
    ours.freeze()
    assert ours.scale == theirs.scale.detach()
    assert torch.equal(ours(x), theirs.value.detach())


@pytest.mark.parametrize("name", MINIFLOATS)
def test_inputs_by_maximum(name):
    fmt, x = parse(name), data(40, 500)
    theirs = _calibrated(Fp8e4m3ActPerTensorFloat, x, **fields(fmt, ""))
    ours = TensorQuantizer(ActivationConfig(format=fmt, scale=ScaleRule()), axis=-1, label="layer")
    ours(x)
    ours.freeze()
    assert ours.scale == theirs.scale.detach()
    assert torch.equal(ours(x), theirs.value.detach())


def test_a_full_range_is_divided_by_its_largest_value():
    x = data(40, 500)
    theirs = _calibrated(Int8ActPerTensorFloat, x, high_percentile_q=100.0)
    ours = TensorQuantizer(ActivationConfig(format=parse("int8"), scale=ScaleRule()), axis=-1, label="layer")
    ours(x)
    ours.freeze()
    assert torch.equal(ours.scale, x.abs().max() / 127)
    assert torch.equal(theirs.scale.detach(), x.abs().max() / 128)
