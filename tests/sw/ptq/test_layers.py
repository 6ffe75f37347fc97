"""Quantized layers beside torch's own, on rounded weights and inputs; and their weights and inputs as matrices."""

import copy

import pytest
import torch
from torch import nn

from sw.formats import parse, parse_block
from sw.ptq.config import ActivationConfig, Config, Granularity, WeightConfig
from sw.ptq.layers import KINDS, QuantizedLayer
from sw.ptq.quantize import calibrate, floating, prepare, quantized_layers

LAYERS = [
    (nn.Linear(12, 5), (3, 12)),
    (nn.Linear(12, 5, bias=False), (2, 3, 12)),
    (nn.Conv1d(4, 6, 3, padding=2, dilation=2), (2, 4, 9)),
    (nn.Conv1d(4, 6, 3, padding="same", dilation=2), (2, 4, 9)),
    (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 6)),
    (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2, bias=False), (2, 4, 7, 6)),
    (nn.Conv2d(4, 8, 3, padding=1, groups=4), (4, 5, 6)),
    (nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), (2, 4, 5, 6)),
    (nn.Conv2d(4, 6, 2, padding=1, padding_mode="circular"), (2, 4, 5, 6)),
    (nn.Conv3d(4, 6, (1, 2, 3), padding=(0, 1, 1), groups=2), (2, 4, 2, 4, 5)),
    (nn.ConvTranspose2d(4, 6, 3), (2, 4, 4, 5)),
    (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2), (2, 4, 4, 5)),
    (nn.ConvTranspose2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=4, bias=False), (4, 4, 5)),
]
IDS = [f"{position}-{type(layer).__name__}" for position, (layer, _) in enumerate(LAYERS)]
INT4, E4M3 = parse("int4"), parse("e4m3")


def data(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantized(layer, x=None, **weight):
    layer = copy.deepcopy(layer)
    activation = None if x is None else ActivationConfig(format=E4M3)
    prepare(layer, Config(weight=WeightConfig(format=INT4, **weight), activation=activation))
    calibrate(layer, None if x is None else [x])
    return layer


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=IDS)
def test_the_layer_is_torchs_on_rounded_weights_and_inputs(layer, shape):
    x = data(shape)
    ours = quantized(layer, x)
    assert type(ours) is KINDS[type(layer)]
    assert isinstance(ours, type(layer))
    theirs = copy.deepcopy(layer)
    theirs.weight.data = ours.quantized_weight().detach()
    assert torch.equal(ours(x), theirs(ours.input_quantizer(x)))
    assert not torch.equal(ours(x), layer(x))
    with floating(ours):
        assert torch.equal(ours(x), layer(x))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=IDS)
def test_matrices_multiply_to_the_output(layer, shape):
    x = data(shape)
    ours = quantized(layer)
    with floating(ours):
        output = ours(x) if ours.bias is None else ours(x) - ours.bias.reshape(-1, *[1] * (-1 - ours.input_axis))
    product = ours.input_matrix(x) @ ours.weight_matrix().mT  # (groups, samples, rows)
    channels = output.movedim(ours.input_axis, -1)
    want = channels.reshape(-1, channels.shape[-1])
    got = product.permute(1, 0, 2).reshape(len(want), -1)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=IDS)
def test_weights_go_out_and_in_as_matrices(layer, shape):
    ours = quantized(layer)
    matrix, before = ours.weight_matrix(), ours.weight
    rounded = ours.as_matrix(ours.canonical(ours.quantized_weight().detach()))
    assert ours.weight_scales().shape == matrix.shape
    rows = ours.weight_scales().reshape(-1, matrix.shape[-1])
    assert torch.equal(rows[:, 0], ours.weight_quantizer.scale)
    ours.set_weight_matrix(rounded)
    assert ours.weight is before
    assert torch.equal(ours.weight_matrix(), rounded)
    assert torch.equal(ours.quantized_weight(), ours.weight)
    ours.set_weight_matrix(matrix)
    assert torch.equal(ours.weight, layer.weight)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=IDS)
@pytest.mark.parametrize("weight", [{"granularity": Granularity.TENSOR},
                                    {"granularity": Granularity.GROUP, "group_size": 1}])
def test_scales_have_the_shape_of_the_granularity(layer, shape, weight):
    ours = quantized(layer, **weight)
    canonical = ours.canonical(ours.weight)
    assert ours.weight_quantizer.scale.shape == (() if len(weight) == 1 else canonical.shape)


def test_channels_of_a_transposed_convolution_are_its_outputs():
    layer = nn.ConvTranspose2d(4, 6, 2, groups=2)
    with torch.no_grad():
        layer.weight[2:, 1].mul_(100)  # inputs 2 and 3 are of group 1: output 3 + 1
    scale = quantized(layer).weight_quantizer.scale
    assert scale.argmax() == 4
    assert scale[4] > 10 * scale.sort().values[-2]


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_blocks_lie_along_the_input_channels(name):
    layer = nn.Conv2d(20, 6, 3)
    prepare(layer, Config(weight=WeightConfig(format=parse_block(name))))
    calibrate(layer)
    size = parse_block(name).block_size
    assert layer.weight_quantizer.scale.shape == (6, -(-20 // size), 3, 3)


def test_a_gradient_reaches_the_float_weights_and_inputs():
    x = data((3, 12)).requires_grad_()
    layer = quantized(nn.Linear(12, 5), x.detach())
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    assert x.grad.abs().sum() > 0


def test_detached_layers_are_what_they_were():
    layer = nn.Conv2d(2, 3, 3)
    before = dict(layer.__dict__)
    prepare(layer, Config(weight=WeightConfig(format=INT4), activation=ActivationConfig(format=INT4)))
    calibrate(layer, [data((1, 2, 5, 5))])
    assert layer.execution_index == 0
    layer.detach()
    assert type(layer) is nn.Conv2d
    assert dict(layer.__dict__) == before
    assert not list(layer.children())


@pytest.mark.parametrize(("matrix", "error", "message"), [
    (None, TypeError, "Weight matrix must be a floating-point tensor, not None"),
    (torch.ones(1, 5, 12, dtype=torch.int8), TypeError,
     "Weight matrix must be a floating-point tensor, not torch.int8"),
    (torch.ones(5, 12), ValueError, r"Weight matrix must be of shape \(1, 5, 12\), not \(5, 12\)"),
    (torch.full((1, 5, 12), torch.nan), ValueError, "Weight matrix must be finite, not with an infinity or a NaN"),
])
def test_wrong_matrices_are_refused(matrix, error, message):
    with pytest.raises(error, match=message):
        quantized(nn.Linear(12, 5)).set_weight_matrix(matrix)


def test_scales_of_float_weights_are_refused():
    layer = nn.Linear(12, 5)
    prepare(layer, Config(weight=None, activation=ActivationConfig(format=INT4)))
    assert layer.quantized_weight() is layer.weight
    with pytest.raises(ValueError, match="Layer must quantize its weights to have their scales, not its inputs alone"):
        layer.weight_scales()


def test_a_layer_without_windows_says_so():
    class Other(QuantizedLayer, nn.Module):
        pass

    with pytest.raises(NotImplementedError):
        Other().input_matrix(data((1, 2)))


def test_a_layer_is_found_by_its_name():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    prepare(model, Config(weight=WeightConfig(format=INT4)))
    assert quantized_layers(model) == {"0": model[0]}


@pytest.mark.parametrize(("layer", "shape"), [
    (nn.Linear(6, 3), (2, 6)), (nn.Conv2d(4, 2, 3), (1, 4, 5, 5)), (nn.ConvTranspose2d(4, 2, 2), (1, 4, 3, 3))])
def test_the_input_has_the_name_that_it_has_in_torch(layer, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    layer(input=x)
    prepare(layer, Config(weight=WeightConfig(format=parse("int4")), activation=ActivationConfig(
        format=parse("int8"), dynamic=True)))
    calibrate(layer)
    assert torch.equal(layer(input=x), layer(x))
