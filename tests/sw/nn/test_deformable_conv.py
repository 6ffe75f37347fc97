"""The function against torch's convolutions, and the family of layers."""

import copy
import re

import pytest
import torch
from torch.nn import functional

from sw.nn import (
    ABLATION_OFFSETS,
    FREE_OFFSETS,
    RELEASED_OFFSETS,
    WHOLE_OFFSETS,
    BlockOrder,
    DeformableConv2d,
    OffsetRule,
    bilinear_sample,
    deformable_conv2d,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


GEOMETRIES = [
    {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}, {"stride": 2, "padding": 1, "dilation": 1, "groups": 2},
    {"stride": (1, 3), "padding": (2, 0), "dilation": (1, 2), "groups": 4},
    {"stride": 3, "padding": 4, "dilation": 3, "groups": 1},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3)])
@pytest.mark.parametrize("sets", [1, 2, 4])
def test_without_offsets_it_is_an_ordinary_convolution(geometry, kernel, sets):
    x = normal(2, 4, 9, 11)
    weight, bias = normal(8, 4 // geometry["groups"], *kernel, seed=1), normal(8, seed=2)
    want = functional.conv2d(x, weight, bias, **geometry)
    offset = torch.zeros(2, sets * 2 * kernel[0] * kernel[1], *want.shape[2:], dtype=torch.float64)
    torch.testing.assert_close(deformable_conv2d(x, offset, weight, bias, **geometry), want)


@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("groups", [1, 6])
def test_square_offsets_of_one_size_are_a_dilated_convolution(dilation, groups):
    x, weight = normal(2, 6, 8, 7), normal(6, 6 // groups, 3, 3, seed=1)
    line = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    anchors = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten()
    offset = (anchors * (dilation - 1))[:, None, None].expand(2, -1, 8, 7)
    want = functional.conv2d(x, weight, padding=dilation, dilation=dilation, groups=groups)
    torch.testing.assert_close(deformable_conv2d(x, offset, weight, padding=1, groups=groups), want)


def test_one_offset_for_all_taps_samples_a_moved_map():
    x, weight = normal(1, 2, 6, 6), normal(3, 2, 3, 3, seed=1)
    offset = torch.tensor([0.25, -1.5], dtype=torch.float64).repeat(9)[None, :, None, None].expand(1, 18, 4, 4)
    grid = torch.arange(6.0, dtype=torch.float64)
    moved = bilinear_sample(x, (grid[:, None] + 0.25).expand(1, 1, 6, 6), (grid - 1.5).expand(1, 1, 6, 6))
    torch.testing.assert_close(deformable_conv2d(x, offset, weight), functional.conv2d(moved, weight))


def test_gradients_are_those_of_differences():
    x, weight, bias = normal(1, 4, 5, 4), normal(2, 2, 3, 3, seed=1), normal(2, seed=2)
    offset = normal(1, 36, 3, 2, seed=3)

    def function(x, offset, weight, bias):
        return deformable_conv2d(x, offset, weight, bias, stride=2, padding=1, groups=2)

    arguments = [tensor.requires_grad_() for tensor in (x, offset, weight, bias)]
    assert torch.autograd.gradcheck(function, arguments)


def test_gradients_of_the_whole_layer_are_those_of_differences():
    layer = trained(DeformableConv2d(2, 3, relu_between=True), spread=0.4).double()
    x = normal(1, 2, 4, 4).requires_grad_()
    parameters = dict(layer.named_parameters())

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *parameters.values()))


def trained(layer, spread=1.0):
    """Give the predictor of offsets weights that move something."""
    with torch.no_grad():
        layer.offset.predict.weight.normal_(0, spread, generator=torch.Generator().manual_seed(7))
    return layer


RULES = [None, FREE_OFFSETS, OffsetRule(square=False, bounds=(-2, 2)), RELEASED_OFFSETS, ABLATION_OFFSETS,
         WHOLE_OFFSETS]
FORMS = [{"depthwise": False, "order": None}, {"order": BlockOrder.DEPTHWISE_FIRST},
         {"order": BlockOrder.POINTWISE_FIRST, "relu_between": True}]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_member_starts_as_an_ordinary_convolution_and_then_moves(rule, form, stride):
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 6, stride=stride, offsets=rule, offset_groups=2, **form)
    x = normal(2, 4, 7, 9, dtype=torch.float32)
    plain = copy.deepcopy(layer)
    plain.offset = None
    want = plain(x)
    assert want.shape == (2, 6, -(-7 // stride), -(-9 // stride))
    torch.testing.assert_close(layer(x), want)
    if rule is not None:
        moved = trained(layer)(x)
        assert not torch.allclose(moved, want)
        moved.square().sum().backward()
        assert layer.offset.predict.weight.grad.any()


@pytest.mark.parametrize("order", BlockOrder)
@pytest.mark.parametrize("relu_between", [False, True])
def test_layer_is_its_parts_in_their_order(order, relu_between):
    torch.manual_seed(0)
    layer = trained(DeformableConv2d(4, 6, order=order, relu_between=relu_between, offset_groups=2))
    x = normal(2, 4, 6, 5, dtype=torch.float32)

    def relu(y):
        return functional.relu(y) if relu_between else y

    def window(y):
        return deformable_conv2d(y, layer.offset(y), layer.window.weight, layer.window.bias, padding=1,
                                 groups=y.shape[1])

    want = layer.pointwise(relu(window(x))) if order is BlockOrder.DEPTHWISE_FIRST else window(relu(layer.pointwise(x)))
    assert torch.equal(layer(x), want)
    assert layer.order is order
    assert layer.relu_between == relu_between
    assert layer.last == ("pointwise" if order is BlockOrder.DEPTHWISE_FIRST else "window")


def test_released_operator_written_out():
    torch.manual_seed(1)
    layer = trained(DeformableConv2d(3, 5, bias=False))
    x = normal(1, 3, 5, 6, dtype=torch.float32)
    s = functional.hardtanh(layer.offset.predict(x), -7, 8)
    line = torch.tensor([-1.0, 0.0, 1.0])
    anchors = torch.stack([line.repeat_interleave(3), line.repeat(3)], 1).flatten().reshape(1, 18, 1, 1)
    y = deformable_conv2d(x, anchors * (s - 1), layer.window.weight, padding=1, groups=3)
    torch.testing.assert_close(layer(x), functional.conv2d(y, layer.pointwise.weight))


def test_depthwise_by_itself_and_larger_windows():
    layer = DeformableConv2d(4, 4, kernel_size=5, dilation=2, padding=3, order=None, offsets=FREE_OFFSETS,
                             offset_kernel_size=3)
    assert layer.pointwise is None
    assert layer.last == "window"
    x = normal(1, 4, 11, 12, dtype=torch.float32)
    torch.testing.assert_close(layer(x), layer.window(x))
    assert layer.offset.predict.out_channels == 50


def test_half_precision_places_samples_in_single_precision():
    x = normal(1, 1, 3, 3000, dtype=torch.float32).half()
    weight, offset = torch.ones(1, 1, 1, 1, dtype=torch.float16), torch.zeros(1, 2, 3, 3000, dtype=torch.float16)
    assert torch.equal(deformable_conv2d(x, offset, weight), x)


def test_layer_says_its_form():
    text = repr(DeformableConv2d(2, 3))
    assert "order=depthwise-first, relu_between=False" in text
    assert "bounds=(-7, 8)" in text
    assert "order=None" in repr(DeformableConv2d(2, 3, depthwise=False, order=None))


X, WEIGHT, OFFSET = torch.ones(1, 4, 5, 5), torch.ones(2, 4, 3, 3), torch.zeros(1, 18, 3, 3)


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((X.long(), OFFSET, WEIGHT), {}, TypeError,
     "Input must be of a floating-point dtype, not torch.int64; convert it with .to(torch.float32)"),
    ((X, None, WEIGHT), {}, TypeError, "Offset must be a torch.Tensor, not 'NoneType'"),
    ((X[0], OFFSET, WEIGHT), {}, ValueError, "Input must have shape (N, C, H, W), no size being zero, not (4, 5, 5)"),
    ((X[:, :0], OFFSET, WEIGHT), {}, ValueError,
     "Input must have shape (N, C, H, W), no size being zero, not (1, 0, 5, 5)"),
    ((X, OFFSET, WEIGHT), {"groups": 3}, ValueError, "Groups must divide the 4 channels, not 3"),
    ((X, OFFSET, WEIGHT), {"groups": 0}, ValueError, "Groups must be at least 1, not 0"),
    ((X, OFFSET, WEIGHT), {"groups": 2}, ValueError,
     "Weight must have shape (K, 2, kh, kw), no size being zero, not (2, 4, 3, 3)"),
    ((X, OFFSET, WEIGHT[:, :1]), {"groups": 4}, ValueError, "Groups must divide the 2 output channels, not 4"),
    ((X, OFFSET, WEIGHT, torch.ones(3)), {}, ValueError, "Bias must have shape (2), no size being zero, not (3,)"),
    ((X, OFFSET, WEIGHT, 1.0), {}, TypeError, "Bias must be a torch.Tensor, not 'float'"),
    ((X, OFFSET, WEIGHT), {"stride": 0}, ValueError, "Stride must be at least 1, not 0"),
    ((X, OFFSET, WEIGHT), {"padding": (0, -1)}, ValueError, "Padding must be at least 0, not -1"),
    ((X, OFFSET, WEIGHT), {"dilation": (1, 1, 1)}, TypeError, "Dilation must be an integer, not (1, 1, 1)"),
    ((X, OFFSET, WEIGHT), {"dilation": 3}, ValueError,
     "Input must be at least as large as the window, not (5, 5); add padding"),
    ((X, OFFSET[:, :, :2], WEIGHT), {}, ValueError,
     "Offset must have shape (1, G*2*taps, 3, 3), no size being zero, not (1, 18, 2, 3)"),
    ((X, OFFSET[:, :17], WEIGHT), {}, ValueError, "Offset channels must be a multiple of 18, two for each tap, not 17"),
    ((X, OFFSET.repeat(1, 3, 1, 1), WEIGHT), {}, ValueError, "Offset groups must divide the 4 channels, not 3"),
])
def test_wrong_arguments_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        deformable_conv2d(*arguments, **keywords)


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((0, 4), {}, ValueError, "Input channels must be at least 1, not 0"),
    ((4, 0), {}, ValueError, "Output channels must be at least 1, not 0"),
    ((4.0, 4), {}, TypeError, "Input channels must be an integer, not 4.0"),
    ((4, 4), {"kernel_size": 2}, ValueError, "Kernel size must be odd, to have a centre, not 2"),
    ((4, 4), {"stride": 0}, ValueError, "Stride must be at least 1, not 0"),
    ((4, 4), {"dilation": 0}, ValueError, "Dilation must be at least 1, not 0"),
    ((4, 4), {"padding": -1}, ValueError, "Padding must be at least 0, not -1"),
    ((4, 4), {"depthwise": 1}, TypeError, "Depthwise switch must be True or False, not 1"),
    ((4, 4), {"relu_between": None}, TypeError, "ReLU switch must be True or False, not None"),
    ((4, 4), {"bias": 0.5}, TypeError, "Bias switch must be True or False, not 0.5"),
    ((4, 4), {"order": "pointwise-first"}, TypeError, "Order must be a BlockOrder, not 'pointwise-first'"),
    ((4, 4), {"depthwise": False}, ValueError,
     "Order must be None for a full convolution, not 'depthwise-first'; give order=None"),
    ((4, 6), {"order": None}, ValueError,
     "Output channels must be the 4 input channels where no 1x1 convolution mixes them, not 6; give an order"),
    ((4, 4), {"order": None, "relu_between": True}, ValueError,
     "ReLU switch must be False where there is one convolution, not True"),
    ((4, 4), {"offsets": "square"}, TypeError, "Offset rule must be an OffsetRule, not 'square'"),
    ((4, 4), {"offset_groups": 3}, ValueError, "Offset groups must divide the 4 channels, not 3"),
    ((4, 4), {"offset_groups": 0}, ValueError, "Offset groups must be at least 1, not 0"),
    ((4, 6), {"offset_groups": 4, "order": BlockOrder.POINTWISE_FIRST}, ValueError,
     "Offset groups must divide the 6 channels, not 4"),
    ((4, 4), {"offset_kernel_size": 4}, ValueError, "Offset kernel size must be odd, to have a centre, not 4"),
])
def test_wrong_layers_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DeformableConv2d(*arguments, **keywords)


@pytest.mark.parametrize(("x", "error", "message"), [
    (X.long(), TypeError, "Input must be of a floating-point dtype, not torch.int64"),
    (X[:, :3], ValueError, "Input must have shape (N, 4, H, W), no size being zero, not (1, 3, 5, 5)"),
])
@pytest.mark.parametrize("order", BlockOrder)
def test_wrong_inputs_of_the_layer_are_refused(x, error, message, order):
    with pytest.raises(error, match=re.escape(message)):
        DeformableConv2d(4, 6, order=order)(x)
