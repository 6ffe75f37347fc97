"""The integers that a quantized layer becomes, against the float path that they stand for."""

import re

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.nn import (
    WHOLE_OFFSETS,
    ActivationQuantizer,
    BlockOrder,
    DeformableConv2d,
    OffsetRule,
    QuantizedDeformableConv2d,
    SquareScalar,
    WeightQuantizer,
    convert,
    fold_batch_norm,
    integer_requantization,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def calibrated(seed, *, integer_shift=None, weight="int4", percentiles=False):
    """Return one of many kinds of layers with its ranges known, and an input."""
    torch.manual_seed(seed)
    channels, outputs = (8, 16, 64, 128)[seed % 4], (16, 32, 8, 64)[seed // 2 % 4]
    layer = DeformableConv2d(channels, outputs, order=list(BlockOrder)[seed % 2], relu_between=bool(seed & 2),
                             stride=1 + seed // 4 % 2, offsets=WHOLE_OFFSETS, bias=seed % 5 != 0)
    nn.init.normal_(layer.offset.predict.weight, std=channels ** -0.5)
    nn.init.constant_(layer.offset.predict.bias, 2.5)
    layer = fold_batch_norm(layer, used(nn.BatchNorm2d(outputs)))
    quantizers = {name: ActivationQuantizer(symmetric=bool(seed & 8)) for name in ("input", "between", "output")}
    quantized = QuantizedDeformableConv2d(layer, relu=bool(seed & 4), integer_shift=integer_shift,
                                          weight=WeightQuantizer(parse(weight), percentiles=percentiles), **quantizers)
    x = torch.randn(2, channels, 15, 14)
    if seed % 3:
        x = x.relu()
    quantized(x)
    return quantized.eval(), x


def used(norm):
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias, std=0.3)
    norm.running_mean.normal_(std=0.3)
    norm.running_var.uniform_(0.5, 2)
    return norm.eval()


@torch.no_grad()
def both(quantized, x):
    """Return the codes of the float path and those of the integers."""
    block = convert(quantized)
    got = block(quantized.input.codes(x), quantized.dilations(x))
    return quantized.output.codes(quantized(x)), got, block


@pytest.mark.parametrize("seed", range(16))
def test_codes_are_those_of_the_float_path_that_follows_the_integers(seed):
    quantized, x = calibrated(seed, integer_shift=16, percentiles=seed % 5 == 2)
    want, got, block = both(quantized, x)
    assert quantized.dilations(x).unique().numel() > 1
    assert got.unique().numel() > 40
    assert torch.equal(got, want), (seed, (got.int() - want.int()).abs().max())
    assert block.order is quantized.layer.order


def test_codes_are_those_of_the_float_path_with_many_channels_and_large_sums():
    torch.manual_seed(0)
    layer = DeformableConv2d(1024, 8, offsets=None)
    for conv in (layer.window, layer.pointwise):
        conv.weight.data.abs_()
    quantized = QuantizedDeformableConv2d(layer, integer_shift=16)
    x = normal(1, 1024, 12, 12).abs()
    quantized(x)
    quantized.eval()
    block = convert(quantized)
    middle = block.depthwise(quantized.input.codes(x), None)
    assert block.pointwise.accumulate(middle).abs().max() > 1 << 17
    with torch.no_grad():
        assert torch.equal(block.pointwise(middle), quantized.output.codes(quantized(x)))


@pytest.mark.parametrize("bits", [2, 8])
def test_codes_are_those_of_the_float_path_with_other_weights(bits):
    quantized, x = calibrated(1, integer_shift=14, weight=f"int{bits}")
    want, got, block = both(quantized, x)
    assert torch.equal(got, want)
    assert block.depthwise.requantize.shift == 14
    assert block.pointwise.weight.abs().max() == (1 << bits - 1) - 1


def test_without_offsets_the_dilation_is_one():
    torch.manual_seed(0)
    quantized = QuantizedDeformableConv2d(DeformableConv2d(8, 8, offsets=None), integer_shift=16)
    x = normal(1, 8, 9, 9)
    quantized(x)
    quantized.eval()
    block = convert(quantized)
    assert torch.equal(block(quantized.input.codes(x), None), quantized.output.codes(quantized(x)))


def real_sums(sums, conv, integers, quantized, source):
    """Return what sums of products of codes stand for, bias included, in float64."""
    unit = source.step * quantized.weight.scale(conv.weight).double()
    real = (sums - source.zero_point * integers.sum(1)[:, None, None]) * unit[:, None, None]
    return real if conv.bias is None else real + conv.bias.detach().double()[:, None, None]


def test_each_convolution_is_at_most_one_code_from_rounding_once():
    differing = total = 0
    for seed in range(16):
        quantized, x = calibrated(seed)
        block, layer = convert(quantized), quantized.layer
        offsets = quantized.dilations(x)
        stages = [("depthwise", layer.window, (offsets,)), ("pointwise", layer.pointwise, ())]
        if layer.order is BlockOrder.POINTWISE_FIRST:
            stages.reverse()
        codes = quantized.input.codes(x)
        for (name, conv, more), source, target, relu in zip(
                stages, (quantized.input, quantized.between), (quantized.between, quantized.output),
                (layer.relu_between, quantized.relu), strict=True):
            part = getattr(block, name)
            real = real_sums(part.accumulate(codes, *more), conv, part.weight, quantized, source)
            want = target.codes(real.relu() if relu else real)
            codes = part(codes, *more)
            difference = (codes.int() - want.int()).abs()
            assert difference.max() <= 1, (seed, name)
            differing += int(difference.sum())
            total += difference.numel()
    # The bias is rounded by itself, so that it cannot be none.
    assert 0.1 < differing / total < 0.35


def test_a_block_is_seldom_more_than_one_code_from_rounding_once():
    counts = torch.zeros(256, dtype=torch.int64)
    for seed in range(16):
        want, got, _ = both(*calibrated(seed))
        counts += torch.bincount((got.int() - want.int()).abs().flatten(), minlength=256)
    share = counts / counts.sum()
    assert share[0] > 0.7
    assert share[2:].sum() < 0.01, share[2:]


def test_bound_of_one_code_at_the_worst_scale():
    """Steps, zero points and biases at random, with scales between two integers, and products of as many codes."""
    generator = torch.Generator().manual_seed(0)
    largest = 0
    for trial in range(50):
        low, high, less = torch.rand(3, generator=generator).tolist()
        source = ActivationQuantizer(low=-3 * low, high=3 * high + 0.1)
        target = ActivationQuantizer(low=-less, high=1.0)
        weight = torch.randint(-8, 8, (20, 64), generator=generator)
        scale = torch.randint(255, 300, (20,), generator=generator) + 0.49
        weight_scale = scale.double() * target.step / source.step / 2**16
        bias = torch.randn(20, generator=generator) * 0.2
        layer = integer_requantization(weight, weight_scale, bias, source, target)
        # Sums of any products at all, those with the extreme results included.
        sums = torch.randint(-(1 << 16), 1 << 16, (400, 20), generator=generator)
        products = (sums - source.zero_point * weight.sum(1)) * (weight_scale * source.step)
        difference = (layer(sums).int() - target.codes(products + bias.double()).int()).abs()
        within = products.abs() <= layer.scale * target.step
        assert difference[within].max() <= 1, trial
        largest = max(largest, int(products[within].abs().max() / target.step))
    assert largest > 250


def test_offset_is_the_zero_point_where_a_relu_cuts():
    source, symmetric = ActivationQuantizer(low=0.0, high=4.0), ActivationQuantizer(symmetric=True, low=0.0, high=4.0)
    weight, weight_scale, bias = torch.ones(1, 4, dtype=torch.int64), torch.tensor([0.01]), torch.tensor([0.5])
    layer = integer_requantization(weight, weight_scale, bias, source, symmetric, relu=True)
    assert (layer.offset, layer.relu) == (0, True)
    assert layer(torch.tensor([[-100000]])).item() == 0
    layer = integer_requantization(weight, weight_scale, bias, source, symmetric)
    assert (layer.offset, layer.relu) == (-128, False)
    assert layer(torch.tensor([[-100000]])).item() == -128
    # By hand: S = round(0.01 * (4/255) / (4/127) * 65536) = 326; 0.5 / (4/127) = 15.875; S/65536 * 128 * 4 = 2.547
    assert layer.scale.item() == 326
    assert layer.bias.item() == round(15.875 + 2.547 + 128)


@pytest.mark.parametrize("offset", [-128, -20, 127])
def test_without_a_relu_any_offset_gives_the_same_codes(offset):
    quantized, x = calibrated(8)
    codes, dilations = quantized.input.codes(x), quantized.dilations(x)
    block = convert(quantized, offset=offset)
    assert (block.depthwise.requantize.offset, block.pointwise.requantize.offset) == (offset, offset)
    assert torch.equal(block(codes, dilations), convert(quantized)(codes, dilations))


def test_padding_is_the_zero_point_of_what_is_padded():
    for order, name in ((BlockOrder.DEPTHWISE_FIRST, "input"), (BlockOrder.POINTWISE_FIRST, "between")):
        torch.manual_seed(0)
        quantized = QuantizedDeformableConv2d(DeformableConv2d(4, 4, order=order, offsets=None))
        quantized(normal(1, 4, 6, 6))
        block = convert(quantized)
        assert block.depthwise.padding == getattr(quantized, name).zero_point != -128
    quantized = QuantizedDeformableConv2d(DeformableConv2d(4, 4, offsets=None))
    quantized(normal(1, 4, 6, 6).relu())
    assert convert(quantized).depthwise.padding == -128  # the released design


def quantized_of(*, rule=WHOLE_OFFSETS, run=True, activation=None, weight=None, **keywords):
    layer = DeformableConv2d(4, 4, offsets=rule, **keywords)
    quantized = QuantizedDeformableConv2d(layer, between=activation, weight=weight)
    if run:
        quantized(normal(1, 4, 6, 6))
    return quantized.eval()


@pytest.mark.parametrize(("make", "keywords", "error", "message"), [
    (lambda: DeformableConv2d(4, 4), {}, TypeError,
     "Layer must be a QuantizedDeformableConv2d, not 'DeformableConv2d'"),
    (lambda: quantized_of(order=None), {}, ValueError,
     "Layer must be a depthwise and a 1x1 convolution to become a block, not one convolution; give order="),
    (lambda: quantized_of(kernel_size=5), {}, ValueError,
     "Window must be 3x3 with padding 1 and dilation 1 to become integers, not 5x5 with padding 2 and dilation 1"),
    (lambda: quantized_of(dilation=2), {}, ValueError, "not 3x3 with padding 2 and dilation 2"),
    (lambda: quantized_of(padding=0), {}, ValueError, "not 3x3 with padding 0 and dilation 1"),
    (lambda: quantized_of(rule=OffsetRule()), {}, ValueError,
     "Offset rule must be square, rounded and bounded to have whole dilations, not OffsetRule("),
    (lambda: quantized_of(rule=OffsetRule(bounds=(-1, 7), rounded=True)), {}, ValueError,
     "Dilations must be between 0 and 7, not (-1, 7); give other bounds or another max_offset"),
    (lambda: quantized_of(rule=OffsetRule(scalar=SquareScalar.INCREMENT, bounds=(0, 8), rounded=True)),
     {"max_offset": 8}, ValueError, "Dilations must be between 0 and 8, not (1, 9)"),
    (quantized_of, {"max_offset": -1}, ValueError, "Maximum offset must be at least 0, not -1"),
    (quantized_of, {"shift": 40}, ValueError, "Shift must be between 1 and 32 bits, not 40"),
    (quantized_of, {"offset": 128}, ValueError, "Offset must be between -128 and 127, not 128"),
    (quantized_of, {"shift": 31}, ValueError, "Scale must be at most 65535 in units of 2**-31, not "),
    (quantized_of, {"shift": 2}, ValueError, "Scale must be at least 1 in units of 2**-2, not "),
    (lambda: quantized_of(run=False), {}, ValueError, "Range must be known before activations are quantized, not NaN"),
    (lambda: quantized_of(activation=nn.Identity()), {}, TypeError,
     "Target quantizer must be an ActivationQuantizer, not 'Identity'"),
    (lambda: quantized_of(activation=ActivationQuantizer(bits=4)), {}, ValueError,
     "Target quantizer must be of 8 bits, not 4"),
    (lambda: quantized_of(weight=nn.Identity()), {}, TypeError,
     "Weight quantizer must be a WeightQuantizer, not 'Identity'"),
    (lambda: quantized_of(weight=WeightQuantizer(parse("int9"))), {}, ValueError,
     "Weight format must be int2 to int8 to have integers, not int9"),
])
def test_what_has_no_integers_is_refused(make, keywords, error, message):
    torch.manual_seed(0)
    with pytest.raises(error, match=re.escape(message)):
        convert(make(), **keywords)


def test_sources_are_checked_and_biases_must_fit():
    weight, scale = torch.ones(1, 4, dtype=torch.int64), torch.tensor([0.01])
    target = ActivationQuantizer(low=0.0, high=1.0)
    with pytest.raises(TypeError, match="Source quantizer must be an ActivationQuantizer, not 'Identity'"):
        integer_requantization(weight, scale, None, nn.Identity(), target)
    with pytest.raises(ValueError, match="Source quantizer must be of 8 bits, not 7"):
        integer_requantization(weight, scale, None, ActivationQuantizer(bits=7), target)
    # 200 / (1/255) = 51000, and 0.01 * 0.5 * 128 * 4 = 2.56 for the zero point
    with pytest.raises(ValueError, match=re.escape("Bias must be between -32768 and 32767 in steps of the result, not "
                                                   "51003 to 51003; give the result a wider range")):
        integer_requantization(weight, scale, torch.tensor([200.0]), ActivationQuantizer(low=0.0, high=0.5), target)
