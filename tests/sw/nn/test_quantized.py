"""A deformable convolution with rounded weights and activations."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from sw.formats import parse
from sw.nn import (
    RELEASED_OFFSETS,
    WHOLE_OFFSETS,
    ActivationQuantizer,
    BlockOrder,
    DeformableConv2d,
    OffsetRule,
    QuantizedDeformableConv2d,
    WeightQuantizer,
    deformable_conv2d,
)
from sw.quantize import FakeQuantize, fake_quantize


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(*arguments, spread=0.7, start=2.5, **keywords):
    """A layer whose offsets differ from position to position."""
    torch.manual_seed(0)
    layer = DeformableConv2d(*arguments, **keywords)
    if layer.offset is not None:
        nn.init.normal_(layer.offset.predict.weight, std=spread)
        nn.init.constant_(layer.offset.predict.bias, start)
    return layer


@pytest.mark.parametrize("order", BlockOrder)
@pytest.mark.parametrize("relu", [False, True])
def test_it_is_its_parts_in_their_order(order, relu):
    layer = layer_of(4, 6, order=order, relu_between=relu)
    quantized = QuantizedDeformableConv2d(layer, relu=relu)
    x = normal(2, 4, 7, 6)
    quantized(x)
    quantized.eval()

    def clipped(y):
        return functional.relu(y) if relu else y

    def window(y):
        offset = layer.offset(y, weight=quantized.weight(layer.offset.predict.weight))
        return deformable_conv2d(y, offset, quantized.weight(layer.window.weight), layer.window.bias, padding=1,
                                 groups=y.shape[1])

    def pointwise(y):
        return functional.conv2d(y, quantized.weight(layer.pointwise.weight), layer.pointwise.bias)

    first, second = (window, pointwise) if order is BlockOrder.DEPTHWISE_FIRST else (pointwise, window)
    want = quantized.output(clipped(second(quantized.between(clipped(first(quantized.input(x)))))))
    assert torch.equal(quantized(x), want)
    assert torch.equal(quantized.output(want), want)
    assert quantized.output.codes(want).unique().numel() > 50


def test_full_convolution_and_none_between():
    layer = layer_of(4, 6, depthwise=False, order=None, offsets=RELEASED_OFFSETS)
    quantized = QuantizedDeformableConv2d(layer, relu=True)
    x = normal(2, 4, 7, 6)
    quantized(x)
    assert not quantized.between.is_calibrated
    quantized.eval()
    x = quantized.input(x)
    offset = layer.offset(x, weight=quantized.weight(layer.offset.predict.weight))
    want = deformable_conv2d(x, offset, quantized.weight(layer.window.weight), layer.window.bias, padding=1)
    torch.testing.assert_close(quantized(x), quantized.output(functional.relu(want)))


def test_any_formats_of_the_library():
    fp8, fp4 = parse("e4m3"), parse("float4_e2m1fn")
    layer = layer_of(4, 6, bias=False)
    quantized = QuantizedDeformableConv2d(layer, weight=WeightQuantizer(fp4), input=FakeQuantize(fp8),
                                          between=nn.Identity(), output=FakeQuantize(fp8))
    x = normal(1, 4, 5, 5)
    y = fake_quantize(x, fp8)
    weight = WeightQuantizer(fp4)
    y = layer.convolve(y, weight=weight(layer.window.weight), offset_weight=weight(layer.offset.predict.weight))
    want = fake_quantize(functional.conv2d(y, weight(layer.pointwise.weight)), fp8)
    assert torch.equal(quantized(x), want)


@pytest.mark.parametrize("integer_shift", [None, 16])
def test_every_parameter_learns(integer_shift):
    layer = layer_of(4, 6, offsets=WHOLE_OFFSETS, spread=0.3)
    quantized = QuantizedDeformableConv2d(layer, integer_shift=integer_shift)
    x = normal(2, 4, 7, 6)
    target = normal(2, 6, 7, 6, seed=1)
    optimizer = torch.optim.Adam(quantized.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (quantized(x) - target).square().mean()
        loss.backward()
        if len(losses) == 2:
            assert all(parameter.grad.any() for parameter in quantized.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_following_the_integers_changes_gradients_by_what_it_changes_values():
    gradients = []
    for integer_shift in (None, 16):
        layer = layer_of(4, 6, offsets=None)
        quantized = QuantizedDeformableConv2d(layer, integer_shift=integer_shift)
        x = normal(2, 4, 7, 6)
        quantized(x)
        for quantizer in (quantized.between, quantized.output):  # so that nothing is clipped on one side alone
            quantizer.low.mul_(2)
            quantizer.high.mul_(2)
        quantized.eval()
        (quantized(x) * normal(2, 6, 7, 6, seed=1)).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in layer.named_parameters()})
    # What the first convolution gives, half a code of some 30 here, is the gradient of the second one's weight.
    for name, gradient in gradients[0].items():
        change = (gradients[1][name] - gradient).norm() / gradient.norm()
        assert change < (0.05 if name == "pointwise.weight" else 0.002), (name, change)


@pytest.mark.parametrize("order", BlockOrder)
@pytest.mark.parametrize("stride", [1, 2])
def test_dilations_are_those_that_the_layer_uses(order, stride):
    layer = layer_of(4, 6, order=order, offsets=WHOLE_OFFSETS, stride=stride, offset_groups=2)
    quantized = QuantizedDeformableConv2d(layer)
    x = normal(2, 4, 7, 6)
    quantized(x)
    quantized.eval()
    seen = []
    layer.offset.register_forward_hook(lambda module, inputs, output: seen.append(output))
    quantized(x)
    dilations = quantized.dilations(x)
    assert dilations.shape == (2, 2, 7, 6)
    assert dilations.unique().numel() > 3
    right = seen[0].reshape(2, 2, 9, 2, *seen[0].shape[2:])[:, :, 5, 1]  # the tap to the right moves by d - 1
    assert torch.equal(right + 1, dilations[:, :, ::stride, ::stride].float())


def test_layer_says_what_it_does():
    quantized = QuantizedDeformableConv2d(layer_of(2, 3, offsets=None), relu=True, integer_shift=12)
    assert (quantized.relu, quantized.integer_shift) == (True, 12)
    assert "relu=True, integer_shift=12" in repr(quantized)


@pytest.mark.parametrize(("keywords", "error", "message"), [
    ({"layer": nn.Conv2d(2, 2, 3)}, TypeError, "Layer must be a DeformableConv2d, not 'Conv2d'"),
    ({"relu": 1}, TypeError, "ReLU switch must be True or False, not 1"),
    ({"weight": parse("int4")}, TypeError, "Weight quantizer must be a torch.nn.Module, not FixedPointFormat("),
    ({"input": "int8"}, TypeError, "Input quantizer must be a torch.nn.Module, not 'int8'"),
    ({"between": 8}, TypeError, "Quantizer between must be a torch.nn.Module, not 8"),
    ({"output": round}, TypeError, "Output quantizer must be a torch.nn.Module, not <built-in function round>"),
    ({"integer_shift": 0}, ValueError, "Shift must be between 1 and 32 bits, not 0"),
    ({"integer_shift": 16, "weight": nn.Identity()}, TypeError,
     "Weight quantizer must be a WeightQuantizer, not 'Identity'"),
    ({"integer_shift": 16, "weight": WeightQuantizer(parse("e4m3"))}, ValueError,
     "Weight format must be int2 to int8 to have integers, not float8_e4m3fn"),
    ({"integer_shift": 16, "between": nn.Identity()}, TypeError,
     "Activations must be rounded by an ActivationQuantizer where an integer shift is given, not by a 'Identity'"),
    ({"integer_shift": 16, "layer": DeformableConv2d(2, 3)}, ValueError,
     "Offsets must be rounded where an integer shift is given, so that sums are integers, not OffsetRule(square=True"),
])
def test_wrong_arguments_are_refused(keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        QuantizedDeformableConv2d(**{"layer": DeformableConv2d(2, 3, offsets=WHOLE_OFFSETS), **keywords})


def test_dilations_need_offsets_that_are_whole():
    with pytest.raises(ValueError, match="Layer must have offsets to have dilations, not offsets=None"):
        QuantizedDeformableConv2d(DeformableConv2d(2, 3, offsets=None)).dilations(normal(1, 2, 3, 3))
    with pytest.raises(ValueError, match="Offset rule must be square, rounded and bounded to have whole dilations"):
        QuantizedDeformableConv2d(DeformableConv2d(2, 3)).dilations(normal(1, 2, 3, 3))


def test_shared_ranges_are_one_quantizer():
    shared = ActivationQuantizer()
    rule = OffsetRule(bounds=(0, 3), rounded=True)
    quantized = QuantizedDeformableConv2d(layer_of(4, 4, offsets=rule), input=shared, output=shared)
    quantized(normal(1, 4, 6, 6))
    assert quantized.input is quantized.output
    assert len({name for name, _ in quantized.named_buffers() if name.endswith("low")}) == 2
