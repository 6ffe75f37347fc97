"""Quantizers of tensors: what they round to, what they keep, and what they refuse."""

import copy
import io

import pytest
import torch

from sw.formats import parse, parse_block
from sw.ptq.config import ActivationConfig, Granularity, ScaleRule, ScaleStatistic, WeightConfig
from sw.ptq.tensor_quantizer import TensorQuantizer
from sw.quantize import (
    block_tensor_scale,
    fake_quantize,
    fake_quantize_blocks,
    from_block_codes,
    from_codes,
    to_block_codes,
    to_codes,
)

SCALARS = ("int4", "int8:narrow_range=true", "fixed<6,3>", "e2m1", "e3m2", "e4m3", "minifloat_e5m2", "posit8_1",
           "posit<6,2>")
BLOCKS = ("mxfp4", "mxfp6_e3m2", "mxfp8_e4m3", "mxint8", "nvfp4")
GROUP = {"granularity": Granularity.GROUP, "group_size": 4}
GRANULARITIES = ({"granularity": Granularity.TENSOR}, {"granularity": Granularity.CHANNEL}, GROUP)
DYNAMIC = ({"granularity": Granularity.TENSOR}, {"granularity": Granularity.TOKEN}, GROUP)
LABEL = "layer 'fc' (Linear)"


def data(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (x * torch.exp(torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator).double())).to(dtype)


def weight_quantizer(weight, name, axis=-1, **config):
    fmt = parse(name) if name in SCALARS else parse_block(name)
    quantizer = TensorQuantizer(WeightConfig(format=fmt, **config), axis=axis, label=LABEL, shape=tuple(weight.shape))
    quantizer.observe(weight)
    quantizer.freeze()
    return quantizer


def input_quantizer(name, axis=-1, **config):
    fmt = parse(name) if name in (*SCALARS, "uint8", "int8") else parse_block(name)
    return TensorQuantizer(ActivationConfig(format=fmt, **config), axis=axis, label=LABEL)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(("shape", "axis"), [((6, 8), -1), ((6, 8, 3, 2), -3)])
def test_weights_are_rounded_under_their_expanded_scale(name, granularity, shape, axis):
    weight = data(*shape)
    quantizer = weight_quantizer(weight, name, axis, **granularity)
    scale = quantizer.expanded_scale(weight)
    assert scale.shape == weight.shape
    want = fake_quantize(weight, quantizer.element_format, scale=scale.contiguous(), group_size=1)
    assert torch.equal(quantizer(weight), want)
    codes = to_codes(weight, quantizer.element_format, scale=scale.contiguous(), group_size=1)
    assert torch.equal(quantizer.codes(weight), codes)
    assert torch.equal(from_codes(codes, quantizer.element_format) * scale, want)
    assert torch.equal(quantizer(want), want)  # a frozen scale makes rounding idempotent


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("shape", "axis"), [((3, 70), -1), ((2, 40, 3), -2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_blocks_of_weights_are_those_of_sw_quantize(name, shape, axis, dtype):
    weight, fmt = data(*shape, dtype=dtype), parse_block(name)
    weight.mul_(2.0 ** 20)
    weight[0].mul_(1e-6)  # in NVFP4, a block scale of zero
    quantizer = weight_quantizer(weight, name, axis)
    assert torch.equal(quantizer(weight), fake_quantize_blocks(weight, fmt, dim=axis))
    want = to_block_codes(weight, fmt, dim=axis)
    assert torch.equal(quantizer.codes(weight), want.elements)
    assert torch.equal(to_codes(quantizer.scale, fmt.scale), want.scales)
    scale = quantizer.expanded_scale(weight)
    rounded = fake_quantize(weight.to(scale.dtype), fmt.element, scale=scale, group_size=1).to(dtype)
    assert torch.equal(quantizer(weight), rounded)
    if fmt.tensor_scale:
        assert quantizer.tensor_scale == block_tensor_scale(weight, fmt)
        back = from_block_codes(want.elements, want.scales, fmt, dim=axis, tensor_scale=quantizer.tensor_scale,
                                dtype=dtype)
        assert torch.equal(quantizer(weight), back)


@pytest.mark.parametrize("fraction_bits", range(1, 7))
@pytest.mark.parametrize("statistic", [ScaleStatistic.ABSMAX, ScaleStatistic.MSE])
def test_one_exponent_bit_is_an_integer_of_a_narrow_range(fraction_bits, statistic):
    weight, rule = data(6, 40), ScaleRule(statistic=statistic)
    values = []
    for name in (f"minifloat_e1m{fraction_bits}", f"int{fraction_bits + 2}:narrow_range=true"):
        config = WeightConfig(format=parse(name), scale=rule)
        quantizer = TensorQuantizer(config, axis=-1, label=LABEL, shape=(6, 40))
        quantizer.observe(weight)
        quantizer.freeze()
        values.append(quantizer(weight))
    assert torch.equal(*values)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_inputs_follow_each_input(name):
    quantizer = input_quantizer(name)
    assert quantizer.is_calibrated
    for seed in range(2):
        x = data(4, 48, seed=seed)
        assert torch.equal(quantizer(x), fake_quantize_blocks(x, parse_block(name)))
        scale = quantizer.expanded_scale(x)
        assert torch.equal(quantizer(x), fake_quantize(x.to(scale.dtype), quantizer.element_format, scale=scale,
                                                       group_size=1).to(x.dtype))
        assert torch.equal(quantizer.codes(x), to_block_codes(x, parse_block(name)).elements)


@pytest.mark.parametrize("granularity", DYNAMIC)
@pytest.mark.parametrize("statistic", list(ScaleStatistic))
@pytest.mark.parametrize(("shape", "axis"), [((5, 8), -1), ((2, 3, 8), -1), ((2, 8, 4, 3), -3), ((8, 4, 3), -3)])
def test_dynamic_inputs_are_rounded_under_scales_of_their_own(granularity, statistic, shape, axis):
    quantizer = input_quantizer("e4m3", axis, dynamic=True, scale=ScaleRule(statistic=statistic), **granularity)
    assert quantizer.dynamic
    assert not quantizer.observing
    x = data(*shape)
    scale = quantizer.expanded_scale(x).contiguous()
    want = fake_quantize(x, parse("e4m3"), scale=scale, group_size=1)
    assert torch.equal(quantizer(x), want)
    assert torch.equal(from_codes(quantizer.codes(x), parse("e4m3")) * scale, want)


def test_a_token_has_its_own_scale():
    quantizer = input_quantizer("int8", dynamic=True, granularity=Granularity.TOKEN, scale=ScaleRule())
    x = data(2, 3, 8)
    assert torch.equal(quantizer.expanded_scale(x)[..., 0], x.abs().amax(-1) / 127)
    images = input_quantizer("int8", -3, dynamic=True, granularity=Granularity.TOKEN, scale=ScaleRule())
    x = data(2, 8, 4, 3)
    assert torch.equal(images.expanded_scale(x)[:, 0, 0, 0], x.abs().amax((1, 2, 3)) / 127)


def test_static_inputs_pass_through_while_they_are_observed():
    quantizer = input_quantizer("int8", scale=ScaleRule())
    assert quantizer.observing
    assert not quantizer.is_calibrated
    assert not quantizer.has_observed
    batches = [data(4, 8, seed=seed) for seed in range(3)]
    for x in batches:
        assert quantizer(x) is x
    assert quantizer.has_observed
    quantizer.freeze()
    assert quantizer.is_calibrated
    assert quantizer.scale == torch.cat(batches).abs().max() / 127
    want = fake_quantize(batches[0], parse("int8"), scale=quantizer.scale)
    assert torch.equal(quantizer(batches[0]), want)
    quantizer.enabled = False
    assert quantizer(batches[0]) is batches[0]


def test_unsigned_inputs_are_scaled_by_their_positive_part():
    quantizer = input_quantizer("uint8", scale=ScaleRule())
    x = torch.tensor([[-100.0, 0.5, 25.5]])
    quantizer(x)
    quantizer.freeze()
    torch.testing.assert_close(quantizer(x), torch.tensor([[0, 0.5, 25.5]]))


def test_gradient_is_straight_through():
    weight = data(3, 8).requires_grad_()
    quantizer = weight_quantizer(weight.detach(), "int4", scale=ScaleRule())
    (quantizer(weight) * 2).sum().backward()
    assert torch.equal(weight.grad, torch.full_like(weight, 2))


def test_empty_inputs_stay_empty():
    quantizer = input_quantizer("int8", dynamic=True)
    assert quantizer(torch.empty(0, 8)).shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scales_keep_their_type_when_the_model_changes_its(dtype):
    weight = data(4, 8)
    for name in ("e4m3", "nvfp4"):
        quantizer = weight_quantizer(weight, name)
        before = {key: value.clone() for key, value in quantizer.named_buffers()}
        quantizer.to(dtype)
        assert {key: value.dtype for key, value in quantizer.named_buffers()} == dict.fromkeys(before, torch.float32)
        assert all(torch.equal(value, before[key]) for key, value in quantizer.named_buffers())
        assert quantizer(weight.to(dtype)).dtype == dtype


@pytest.mark.parametrize(("name", "granularity"), [("e4m3", each) for each in GRANULARITIES] + [("nvfp4", {})])
def test_state_goes_into_a_fresh_quantizer(name, granularity):
    weight = data(4, 24)
    quantizer = weight_quantizer(weight, name, **granularity)
    file = io.BytesIO()
    torch.save(quantizer.state_dict(), file)
    file.seek(0)
    fresh = TensorQuantizer(quantizer.config, axis=-1, label=LABEL, shape=(4, 24))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert fresh.is_calibrated
    assert not fresh.observing
    assert torch.equal(fresh(weight), quantizer(weight))
    uncalibrated = TensorQuantizer(quantizer.config, axis=-1, label=LABEL, shape=(4, 24))
    fresh.load_state_dict(uncalibrated.state_dict())
    assert not fresh.is_calibrated
    assert fresh.observing


def test_state_of_inputs_goes_into_a_fresh_quantizer():
    quantizer = input_quantizer("int8")
    quantizer(data(4, 8))
    quantizer.freeze()
    fresh = input_quantizer("int8")
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(fresh(data(2, 8)), quantizer(data(2, 8)))
    dynamic = input_quantizer("int8", dynamic=True)
    dynamic.load_state_dict(copy.deepcopy(dynamic).state_dict())
    assert dynamic.is_calibrated


def test_state_of_another_quantizer_is_refused():
    weight = data(4, 8)
    quantizer = weight_quantizer(weight, "int4")
    other = weight_quantizer(weight, "e2m1")
    with pytest.raises(ValueError, match="Quantizer must be built as the saved one was, with format='int4' "
                                         r"\(here 'float4_e2m1fn'\)"):
        other.load_state_dict(quantizer.state_dict())
    wide = TensorQuantizer(quantizer.config, axis=-1, label=LABEL, shape=(5, 8))
    with pytest.raises(RuntimeError, match="size mismatch for scale"):
        wide.load_state_dict(quantizer.state_dict())


def test_quantizers_say_what_they_are():
    weight = data(4, 8)
    assert repr(weight_quantizer(weight, "int4", **GROUP)) == (
        "TensorQuantizer(int4, group, group_size=4, mse, calibrated)")
    assert repr(weight_quantizer(weight, "mxfp4")) == "TensorQuantizer(mxfp4, calibrated)"
    quantizer = input_quantizer("int8")
    assert repr(quantizer) == "TensorQuantizer(int8, tensor, percentile, observing)"
    quantizer.enabled = False
    assert repr(quantizer).endswith("observing, disabled)")
    assert repr(input_quantizer("int8", dynamic=True)).endswith("dynamic)")
    assert (quantizer.axis, quantizer.label, quantizer.is_weight) == (-1, LABEL, False)
    assert quantizer.format == quantizer.element_format == parse("int8")
    assert weight_quantizer(weight, "mxfp4").element_format == parse("e2m1")


AT = r"at layer 'fc' \(Linear\), to int4"


def _weights():
    return TensorQuantizer(WeightConfig(format=parse("int4")), axis=-1, label=LABEL, shape=(2, 4))


def _inputs(**config):
    return TensorQuantizer(ActivationConfig(format=parse("int4"), **config), axis=-1, label=LABEL)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: TensorQuantizer(parse("int4"), axis=-1, label=LABEL), TypeError,
     "Quantizer config must be a WeightConfig or an ActivationConfig, not FixedPointFormat"),
    (lambda: TensorQuantizer(WeightConfig(format=parse("int4")), axis=-1, label=LABEL), ValueError,
     "Quantizer shape must be given for weights and for them alone, not None"),
    (lambda: TensorQuantizer(ActivationConfig(format=parse("int4")), axis=-1, label=LABEL, shape=(2, 4)), ValueError,
     r"Quantizer shape must be given for weights and for them alone, not \(2, 4\)"),
    (lambda: TensorQuantizer(WeightConfig(format=parse("int4"), **GROUP), axis=-1, label=LABEL, shape=(2, 6)),
     ValueError, f"Group size must divide the 6 input channels, not 4, {AT}; give this layer another config"),
    (lambda: _weights().observe([1.0]), TypeError, f"Weights must be a torch.Tensor, not 'list', {AT}"),
    (lambda: _weights().observe(torch.ones(2, 4, dtype=torch.int32)), TypeError,
     f"Weights must be of a floating-point dtype, not torch.int32, {AT}"),
    (lambda: _weights().observe(torch.ones(4, 2)), ValueError,
     rf"Weights must be of shape \(2, 4\), not \(4, 2\), {AT}"),
    (lambda: _weights().observe(torch.tensor([[1, 2, 3, torch.nan], [0, 0, 0, 0]])), ValueError,
     f"Weights must be finite to be quantized, not with nan, {AT}"),
    (lambda: _inputs()(torch.tensor([1, torch.inf])), ValueError,
     f"Inputs must be finite to be quantized, not with inf, {AT}"),
    (lambda: _inputs()(torch.empty(0, 4)), ValueError,
     rf"Inputs must have elements to be observed, not shape \(0, 4\), {AT}"),
    (lambda: _inputs().freeze(), ValueError,
     f"Inputs must be observed before the scales are frozen, not never, {AT}; run batches that reach the layer"),
    (lambda: _inputs().expanded_scale(torch.ones(4)), ValueError,
     f"Inputs must have scales before they are quantized, not none, {AT}; see sw.ptq.calibrate"),
    (lambda: _weights().codes(torch.ones(2, 4)), ValueError, "Weights must have scales before they are quantized"),
    (lambda: _inputs(dynamic=True)(torch.tensor([1, torch.nan])), ValueError,
     f"Inputs must be finite to be scaled dynamically, not with an infinity or a NaN, {AT}"),
    *((lambda statistic=statistic, value=value: _inputs(dynamic=True, scale=ScaleRule(
        statistic=statistic, percentile=50))(torch.tensor([1, 2, 3, value])), ValueError,
       f"Inputs must be finite to be scaled dynamically, not with an infinity or a NaN, {AT}")
      for statistic in ScaleStatistic for value in (torch.nan, torch.inf, -torch.inf)),
    (lambda: _inputs(dynamic=True, **GROUP)(torch.ones(2, 6)), ValueError,
     f"Group size must divide the 6 input channels, not 4, {AT}"),
    (lambda: TensorQuantizer(ActivationConfig(format=parse_block("mxfp4")), axis=-3, label=LABEL)(torch.ones(2, 6)),
     ValueError, r"Inputs must have at least 3 dimensions, not shape \(2, 6\), at layer 'fc'"),
])
def test_wrong_use_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
