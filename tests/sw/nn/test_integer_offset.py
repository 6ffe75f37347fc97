"""Square offsets predicted in integers."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.nn import (
    WHOLE_OFFSETS,
    ActivationQuantizer,
    BlockOrder,
    DeformableConv2d,
    IntegerSquareOffset,
    OffsetRule,
    QuantizedDeformableConv2d,
    SquareScalar,
    WeightQuantizer,
    convert,
    convert_offset,
)
from sw.reference.square_offset import SquareOffset


def integers(low, high, *shape, seed=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def layer_of(channels=6, groups=2, **keywords):
    return IntegerSquareOffset(integers(-8, 8, groups, channels), integers(20, 200, groups, seed=1),
                               integers(0, 1 << 19, groups, seed=2), **keywords)


@pytest.mark.parametrize("limits", [(0, 7), (1, 8), (3, 3)])
@pytest.mark.parametrize("fraction_bits", [0, 12, 16])
def test_dilations_are_the_definition(limits, fraction_bits):
    layer = layer_of(min_offset=limits[0], max_offset=limits[1], fraction_bits=fraction_bits)
    x = integers(-128, 128, 2, 6, 4, 5, seed=3).to(torch.int8)
    got = layer(x)
    assert got.dtype == torch.int64
    for n, g, y, z in torch.cartesian_prod(*(torch.arange(size) for size in (2, 2, 4, 5))).tolist():
        number = sum(int(x[n, c, y, z]) * int(layer.weight[g, c]) for c in range(6)) * int(layer.scale[g])
        number += int(layer.bias[g])
        rounded = (2 * number + (1 << fraction_bits)) // (2 << fraction_bits)
        assert got[n, g, y, z] == min(max(rounded, limits[0]), limits[1])


def test_dilations_are_those_of_the_reference_of_the_hardware():
    layer = layer_of(groups=1, min_offset=1)
    x = integers(-128, 128, 1, 6, 5, 40, seed=3).to(torch.int8)
    reference = SquareOffset(lanes=6, terms=6, bias_bits=32, min_offset=1)
    weight = (layer.weight[0].numpy() & 15).tolist()
    transfers = [{"a": pixel.tolist(), "b": weight, "first": 1, "last": 1, "scale": int(layer.scale), "bias":
                  int(layer.bias)} for pixel in x[0].flatten(1).T.numpy().view(np.uint8)]
    got = layer(x).flatten().tolist()
    assert got == reference.results(transfers)
    assert set(got) == set(range(1, 8))


def test_layer_says_what_it_is_and_keeps_its_numbers():
    layer = layer_of(min_offset=1, max_offset=5, fraction_bits=9)
    assert (layer.channels, layer.groups, layer.fraction_bits, layer.min_offset, layer.max_offset) == (6, 2, 9, 1, 5)
    assert repr(layer) == "IntegerSquareOffset(6, groups=2, fraction_bits=9, min_offset=1, max_offset=5)"
    assert {name: str(value.dtype) for name, value in layer.state_dict().items()} == {
        "weight": "torch.int8", "scale": "torch.int32", "bias": "torch.int32"}


FLOAT_ERROR = 1e-5
"""Of numbers up to some tens that float32 sums of 16 products are."""

ONES = torch.ones(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((ONES.float(), ONES[:, 0], ONES[:, 0]), {}, TypeError, "Weight must be of an integer dtype, not torch.float32"),
    ((ONES[0], ONES[:, 0], ONES[:, 0]), {}, ValueError, "Offset weight must have shape (G, C), no size being zero"),
    ((ONES[:, :0], ONES[:, 0], ONES[:, 0]), {}, ValueError, "Offset weight must have shape (G, C), no size being zero"),
    ((ONES * 8, ONES[:, 0], ONES[:, 0]), {}, ValueError, "Weight must be between -8 and 7, not 8 to 8"),
    ((ONES[:, :1].expand(2, 8192), ONES[:, 0], ONES[:, 0]), {}, ValueError, "Input channels must be at most 8191"),
    ((ONES, ONES[:, 0] * 65536, ONES[:, 0]), {}, ValueError, "Scale must be between 0 and 65535, not 65536 to 65536"),
    ((ONES, ONES[0], ONES[:, 0]), {}, ValueError, "Scale must have shape (2), no size being zero, not (3,)"),
    ((ONES, ONES[:, 0], ONES[:, 0] << 31), {}, ValueError, "Bias must be between -2147483648 and 2147483647, not"),
    ((ONES, ONES[:, 0], ONES[0]), {}, ValueError, "Bias must have shape (2), no size being zero, not (3,)"),
    ((ONES, ONES[:, 0], ONES[:, 0]), {"fraction_bits": -1}, ValueError, "Fraction bits must be at least 0, not -1"),
    ((ONES, ONES[:, 0], ONES[:, 0]), {"fraction_bits": 33}, ValueError, "Fraction bits must be at most 32, not 33"),
    ((ONES, ONES[:, 0], ONES[:, 0]), {"min_offset": -1}, ValueError, "Minimum offset must be at least 0, not -1"),
    ((ONES, ONES[:, 0], ONES[:, 0]), {"min_offset": 4, "max_offset": 3}, ValueError,
     "Maximum offset must be at least 4, not 3"),
    ((ONES, ONES[:, 0], ONES[:, 0]), {"weight_bits": 1}, ValueError, "Weight bits must be between 2 and 8, not 1"),
])
def test_wrong_arguments_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        IntegerSquareOffset(*arguments, **keywords)


def test_wrong_inputs_are_refused():
    with pytest.raises(TypeError, match=re.escape("Activations must be of dtype torch.int8, not torch.int64")):
        layer_of()(integers(0, 2, 1, 6, 3, 3))
    with pytest.raises(ValueError, match=re.escape("Activations must have shape (N, 6, H, W), no size being zero")):
        layer_of()(integers(0, 2, 1, 5, 3, 3).to(torch.int8))


def quantized_of(rule=WHOLE_OFFSETS, *, seed=0, channels=16, run=True, weight=None, activation=None, **keywords):
    torch.manual_seed(seed)
    layer = DeformableConv2d(channels, channels, offsets=rule, **keywords)
    if rule is not None:
        nn.init.normal_(layer.offset.predict.weight, std=2 / channels**0.5)
        nn.init.constant_(layer.offset.predict.bias, 2.5)
    quantized = QuantizedDeformableConv2d(layer, integer_shift=16 if weight is None and run else None, weight=weight,
                                          input=activation)
    if run:
        quantized(torch.randn(2, channels, 20, 20))
    return quantized.eval()


@pytest.mark.parametrize("rule", [
    WHOLE_OFFSETS, OffsetRule(bounds=(1, 4), rounded=True),
    OffsetRule(scalar=SquareScalar.INCREMENT, bounds=(0, 6), rounded=True),
], ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
def test_converted_predictor_gives_the_dilations_of_the_float_path(rule, symmetric):
    for seed in range(4):
        quantized = quantized_of(rule, seed=seed, activation=ActivationQuantizer(symmetric=symmetric), offset_groups=2)
        x = torch.randn(4, 16, 24, 24)
        predictor = convert_offset(quantized)
        codes = quantized.input.codes(x)
        got, want = predictor(codes), quantized.dilations(x)
        assert (predictor.min_offset, predictor.max_offset) == rule.dilations
        assert got.unique().numel() == rule.dilations[1] - rule.dilations[0] + 1
        assert (got - want).abs().max() <= 1
        # They differ only where the number is nearer to a tie than scale and bias, rounded, can move it.
        sums = torch.einsum("nchw,gc->nghw", codes.double(), predictor.weight.double())
        numbers = (sums * predictor.scale[:, None, None] + predictor.bias[:, None, None]) / 2**predictor.fraction_bits
        moved = (sums.abs() + 1) / 2**(predictor.fraction_bits + 1) + FLOAT_ERROR
        assert moved.max() < 0.01
        assert ((numbers % 1 - 0.5).abs() <= moved)[got != want].all()


def test_the_whole_layer_in_integers():
    for order in BlockOrder:
        quantized = quantized_of(order=order, seed=5)
        x = torch.randn(2, 16, 12, 12)
        block, predictor = convert(quantized), convert_offset(quantized)
        codes = quantized.input.codes(x)
        window_input = codes if order is BlockOrder.DEPTHWISE_FIRST else block.pointwise(codes)
        got = block(codes, predictor(window_input))
        with torch.no_grad():
            want = quantized.output.codes(quantized(x))
        assert (got != want).float().mean() < 0.01


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: DeformableConv2d(2, 2), TypeError, "Layer must be a QuantizedDeformableConv2d, not 'DeformableConv2d'"),
    (lambda: quantized_of(None), ValueError, "Layer must have offsets to convert, not offsets=None"),
    (lambda: quantized_of(OffsetRule(), run=False), ValueError,
     "Offset rule must be square, rounded and bounded to have whole dilations, not "),
    (lambda: quantized_of(OffsetRule(bounds=(-2, 7), rounded=True)), ValueError,
     "Dilations must be at least 0, not -2; give other bounds"),
    (lambda: quantized_of(offset_kernel_size=3), ValueError, "Offset kernel size must be 1 to become integers, not 3"),
    (lambda: quantized_of(run=False), ValueError, "Range must be known before activations are quantized, not NaN"),
    (lambda: quantized_of(run=False, activation=nn.Identity()), TypeError,
     "Source quantizer must be an ActivationQuantizer, not 'Identity'"),
    (lambda: quantized_of(run=False, activation=ActivationQuantizer(bits=6)), ValueError,
     "Source quantizer must be of 8 bits, not 6"),
    (lambda: quantized_of(weight=WeightQuantizer(parse("e4m3"))), ValueError,
     "Weight format must be int2 to int8 to have integers, not float8_e4m3fn"),
    (lambda: quantized_of(run=False, activation=ActivationQuantizer(low=-1e9, high=1e10)), ValueError,
     "Scale and bias must fit 16 and 32 bits, not "),
])
def test_what_has_no_integers_is_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        convert_offset(make())
