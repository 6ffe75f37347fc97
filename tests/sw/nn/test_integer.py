"""The integer path, against loops over Python's integers and against float64 convolutions of the same integers."""

import copy
import re

import pytest
import torch
from torch.nn import functional

from sw.nn import (
    BlockOrder,
    IntegerDeformableBlock,
    IntegerDepthwise,
    IntegerPointwise,
    Requantize,
    deformable_conv2d,
    max_inputs,
)
from sw.nn.sums import _sum_by_channel


def integers(low, high, *shape, seed=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def codes(*shape, seed=0):
    return integers(-128, 128, *shape, seed=seed).to(torch.int8)


def requantization(channels, seed=0, **keywords):
    return Requantize(integers(0, 4000, channels, seed=seed), integers(-200, 200, channels, seed=seed + 1), **keywords)


def block_of(channels, outputs, order, *, stride=1, relu=(False, True), padding=-128, max_offset=7):
    inner = channels if order is BlockOrder.DEPTHWISE_FIRST else outputs
    depthwise = IntegerDepthwise(integers(-8, 8, inner, 9, seed=2), requantization(inner, 3, relu=relu[0], offset=-5),
                                 stride=stride, padding=padding, max_offset=max_offset)
    pointwise = IntegerPointwise(integers(-8, 8, outputs, channels, seed=4),
                                 requantization(outputs, 5, relu=relu[1]))
    return IntegerDeformableBlock(depthwise, pointwise, order=order)


def requantized(acc, layer, channel):
    assert -(1 << 23) <= acc < 1 << 23
    value = ((acc * int(layer.scale[channel]) + (1 << layer.shift - 1)) >> layer.shift) + int(layer.bias[channel])
    return min(max((max(value, 0) if layer.relu else value) + layer.offset, -128), 127)


def depthwise_by_loops(layer, x, d):
    """The 3x3 convolution of one map, a list of channels of rows, and of its offsets."""
    height, width = len(x[0]), len(x[0][0])
    result = []
    for c, pixels in enumerate(x):
        offsets = d[c // (len(x) // len(d))]
        rows = []
        for y in range(0, height, layer.stride):
            row = []
            for z in range(0, width, layer.stride):
                acc, step = 0, offsets[y][z]
                for ky in (-1, 0, 1):
                    for kx in (-1, 0, 1):
                        a, b = y + ky * step, z + kx * step
                        inside = 0 <= a < height and 0 <= b < width
                        acc += (pixels[a][b] if inside else layer.padding) * int(layer.weight[c, 3 * ky + kx + 4])
                row.append(requantized(acc, layer.requantize, c))
            rows.append(row)
        result.append(rows)
    return result


def pointwise_by_loops(layer, x):
    return [[[requantized(sum(x[c][y][z] * int(weights[c]) for c in range(len(x))), layer.requantize, k)
              for z in range(len(x[0][0]))] for y in range(len(x[0]))] for k, weights in enumerate(layer.weight)]


@pytest.mark.parametrize("order", BlockOrder)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (9, 4)])
def test_block_is_the_definition(order, stride, size):
    block = block_of(4, 6, order, stride=stride, relu=(True, False))
    groups = 2
    x, d = codes(2, 4, *size, seed=6), integers(0, 8, 2, groups, *size, seed=7)
    got = block(x, d)
    assert got.dtype == torch.int8
    for n in range(2):
        want, offsets = x[n].tolist(), d[n].tolist()
        if order is BlockOrder.POINTWISE_FIRST:
            want = pointwise_by_loops(block.pointwise, want)
        want = depthwise_by_loops(block.depthwise, want, offsets)
        if order is BlockOrder.DEPTHWISE_FIRST:
            want = pointwise_by_loops(block.pointwise, want)
        assert got[n].tolist() == want


@pytest.mark.parametrize("padding", [-128, 0, 17, 127])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_sums_are_those_of_bilinear_sampling(padding, stride):
    layer = IntegerDepthwise(integers(-8, 8, 6, 9), requantization(6), stride=stride, padding=padding, max_offset=8)
    x, d = codes(2, 6, 10, 7), integers(0, 9, 2, 3, 10, 7, seed=1)
    step = torch.tensor([-1, 0, 1])
    anchors = torch.stack([step.repeat_interleave(3), step.repeat(3)], 1).flatten()
    offset = ((d[:, :, ::stride, ::stride] - 1)[:, :, None] * anchors[:, None, None]).flatten(1, 2).double()
    # Beyond the border the samples of the float path are zero, so the zero point is subtracted first.
    sums = deformable_conv2d(x.double() - padding, offset, layer.weight.double().reshape(6, 1, 3, 3), stride=stride,
                             padding=1, groups=6)
    want = sums + padding * layer.weight.sum(1).double()[:, None, None]
    assert torch.equal(layer.accumulate(x, d).double(), want)


def test_without_offsets_it_is_an_ordinary_convolution():
    block = block_of(5, 3, BlockOrder.DEPTHWISE_FIRST, padding=0)
    x = codes(2, 5, 6, 6)
    want = functional.conv2d(x.double(), block.depthwise.weight.double().reshape(5, 1, 3, 3), padding=1, groups=5)
    assert torch.equal(block.depthwise.accumulate(x, None).double(), want)
    middle = block.depthwise(x, None)
    want = functional.conv2d(middle.double(), block.pointwise.weight.double()[:, :, None, None])
    assert torch.equal(block.pointwise.accumulate(middle).double(), want)
    assert torch.equal(block(x, None), block.pointwise(middle))


@pytest.mark.parametrize(("weight_bits", "most"), [(2, 32767), (4, 8191), (8, 511)])
def test_24_bits_hold_so_many_products_and_no_more(weight_bits, most):
    assert max_inputs(weight_bits) == most
    lowest = -(1 << weight_bits - 1)
    weight = torch.full((1, most), lowest)
    layer = IntegerPointwise(weight, requantization(1), weight_bits=weight_bits)
    x = torch.full((1, most, 1, 1), -128, dtype=torch.int8)
    acc = layer.accumulate(x)
    assert acc.item() == most * 128 * -lowest <= (1 << 23) - 1 < (most + 1) * 128 * -lowest
    assert layer(x).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=re.escape(
            f"Input channels must be at most {most} for sums of int8 times int{weight_bits} in 24 bits, not "
            f"{most + 1}; split them")):
        IntegerPointwise(torch.full((1, most + 1), lowest), requantization(1), weight_bits=weight_bits)


def test_depthwise_sums_stay_within_15_bits():
    layer = IntegerDepthwise(torch.full((1, 9), -8), requantization(1))
    acc = layer.accumulate(torch.full((1, 1, 3, 3), -128, dtype=torch.int8), torch.zeros(1, 1, 3, 3, dtype=torch.int64))
    assert acc.unique().item() == 9216 == 9 * 128 * 8 < 1 << 14


def test_state_moves_between_blocks():
    first = block_of(4, 6, BlockOrder.DEPTHWISE_FIRST)
    second = copy.deepcopy(first)
    for buffer in second.buffers():
        buffer.zero_()
    x = codes(1, 4, 5, 5)
    assert not torch.equal(first(x, None), second(x, None))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x, None), second(x, None))
    assert {str(buffer.dtype) for buffer in first.buffers()} == {"torch.int8", "torch.int32"}


def test_parts_say_what_they_are():
    block = block_of(4, 6, BlockOrder.POINTWISE_FIRST, stride=2, padding=3, max_offset=5)
    assert (block.depthwise.channels, block.depthwise.stride, block.depthwise.padding, block.depthwise.max_offset) == (
        6, 2, 3, 5)
    assert (block.pointwise.in_channels, block.pointwise.out_channels) == (4, 6)
    assert block.order is BlockOrder.POINTWISE_FIRST
    for text in ("order=pointwise-first", "6, stride=2, padding=3, max_offset=5, weight_bits=4", "4, 6, weight_bits=4"):
        assert text in repr(block)


NINE = torch.ones(2, 9, dtype=torch.int64)


@pytest.mark.parametrize(("weight", "keywords", "error", "message"), [
    (NINE.float(), {}, TypeError, "Weight must be of an integer dtype, not torch.float32"),
    (NINE * 8, {}, ValueError, "Weight must be between -8 and 7, not 8 to 8"),
    (NINE * -9, {}, ValueError, "Weight must be between -8 and 7, not -9 to -9"),
    (NINE[:, :8], {}, ValueError, "Depthwise weight must have shape (C, 9), no size being zero, not (2, 8)"),
    (NINE[:0], {}, ValueError, "Depthwise weight must have shape (C, 9), no size being zero, not (0, 9)"),
    (NINE[:1], {}, ValueError, "Requantization must have the 1 channels of the weight, not 2"),
    (NINE, {"stride": 0}, ValueError, "Stride must be at least 1, not 0"),
    (NINE, {"padding": 128}, ValueError, "Padding must be between -128 and 127, not 128"),
    (NINE, {"padding": 0.0}, TypeError, "Padding must be an integer, not 0.0"),
    (NINE, {"max_offset": -1}, ValueError, "Maximum offset must be at least 0, not -1"),
    (NINE, {"weight_bits": 9}, ValueError, "Weight bits must be between 2 and 8, not 9"),
    (NINE, {"weight_bits": None}, TypeError, "Weight bits must be an integer, not None"),
])
def test_wrong_depthwise_parameters_are_refused(weight, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        IntegerDepthwise(weight, requantization(2), **keywords)


@pytest.mark.parametrize(("weight", "error", "message"), [
    ([[1]], TypeError, "Weight must be a torch.Tensor of integers, not 'list'"),
    (NINE[:, :0], ValueError, "Pointwise weight must have shape (K, C), no size being zero, not (2, 0)"),
    (NINE[:, :, None], ValueError, "Pointwise weight must have shape (K, C), no size being zero, not (2, 9, 1)"),
    (NINE.repeat(2, 1), ValueError, "Requantization must have the 4 channels of the weight, not 2"),
])
def test_wrong_pointwise_parameters_are_refused(weight, error, message):
    with pytest.raises(error, match=re.escape(message)):
        IntegerPointwise(weight, requantization(2))


def test_wrong_parts_are_refused():
    depthwise = IntegerDepthwise(NINE, requantization(2))
    pointwise = IntegerPointwise(torch.ones(3, 4, dtype=torch.int64), requantization(3))
    with pytest.raises(TypeError, match="Requantization must be a Requantize, not 'Linear'"):
        IntegerDepthwise(NINE, torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="Depthwise convolution must be an IntegerDepthwise, not 'IntegerPointwise'"):
        IntegerDeformableBlock(pointwise, pointwise)
    with pytest.raises(TypeError, match="Pointwise convolution must be an IntegerPointwise, not 'IntegerDepthwise'"):
        IntegerDeformableBlock(depthwise, depthwise)
    with pytest.raises(TypeError, match="Order must be a BlockOrder, not 'depthwise-first'"):
        IntegerDeformableBlock(depthwise, pointwise, order="depthwise-first")
    with pytest.raises(ValueError, match="Depthwise channels must be the 4 of the pointwise convolution, not 2"):
        IntegerDeformableBlock(depthwise, pointwise)
    with pytest.raises(ValueError, match="Depthwise channels must be the 3 of the pointwise convolution, not 2"):
        IntegerDeformableBlock(depthwise, pointwise, order=BlockOrder.POINTWISE_FIRST)


X, D = torch.zeros(1, 4, 3, 3, dtype=torch.int8), torch.ones(1, 1, 3, 3, dtype=torch.int64)


@pytest.mark.parametrize(("x", "d", "error", "message"), [
    (X.float(), D, TypeError, "Activations must be of an integer dtype, not torch.float32"),
    (X.to(torch.uint8), D, TypeError, "Activations must be of dtype torch.int8, not torch.uint8"),
    (X[:, :3], D, ValueError, "Activations must have shape (N, 4, H, W), no size being zero, not (1, 3, 3, 3)"),
    (X[:0], D, ValueError, "Activations must have shape (N, 4, H, W), no size being zero, not (0, 4, 3, 3)"),
    (X, D.float(), TypeError, "Offset must be of an integer dtype, not torch.float32"),
    (X, D * 8, ValueError, "Offset must be between 0 and 7, not 8 to 8"),
    (X, -D, ValueError, "Offset must be between 0 and 7, not -1 to -1"),
    (X, D[:, :, :2], ValueError, "Dilation must have shape (1, G, 3, 3), no size being zero, not (1, 1, 2, 3)"),
    (X, D.expand(1, 3, 3, 3), ValueError, "Dilation groups must divide the 4 channels, not 3"),
])
def test_wrong_inputs_are_refused(x, d, error, message):
    with pytest.raises(error, match=re.escape(message)):
        block_of(4, 6, BlockOrder.DEPTHWISE_FIRST)(x, d)


def test_pointwise_sums_are_the_same_without_an_integer_matrix_product():
    weight, x = integers(-8, 8, 6, 5), codes(2, 5, 3, 4)
    want = IntegerPointwise(weight, requantization(6)).accumulate(x)
    assert torch.equal(_sum_by_channel(weight.to(torch.int32), x), want)
