"""Layers whose channels are scaled in their weights, against scaled inputs and outputs."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sw.ptq.scaled_layer import ScaledLayer, input_range

LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (5, 6), -1),
    "linear-no-bias": (lambda: nn.Linear(6, 4, bias=False), (5, 3, 6), -1),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3), (2, 6, 5), -2),
    "conv2d": (lambda: nn.Conv2d(6, 4, (2, 3), padding=1, padding_mode="reflect"), (2, 6, 5, 5), -3),
    "conv3d": (lambda: nn.Conv3d(6, 4, 2, bias=False), (2, 6, 3, 3, 3), -4),
    "grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2), (2, 6, 5, 5), -3),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6), (2, 6, 5, 5), -3),
    "depthwise-times-2": (lambda: nn.Conv2d(6, 12, 3, groups=6), (2, 6, 5, 5), -3),
    "transposed-1d": (lambda: nn.ConvTranspose1d(6, 4, 3), (2, 6, 5), -2),
    "transposed-2d": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), (2, 6, 3, 3), -3),
    "transposed-grouped": (lambda: nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 3, 3), -3),
    "transposed-depthwise": (lambda: nn.ConvTranspose3d(6, 6, 2, groups=6), (2, 6, 3, 3, 3), -4),
}
NORMS = {
    "layer": (lambda: nn.LayerNorm(6), (5, 6), -1),
    "layer-no-bias": (lambda: nn.LayerNorm(6, bias=False), (5, 6), -1),
    "rms": (lambda: nn.RMSNorm(6), (5, 6), -1),
    "batch-1d": (lambda: nn.BatchNorm1d(6), (5, 6), -1),
    "batch-2d": (lambda: nn.BatchNorm2d(6), (5, 6, 2, 2), -3),
    "batch-3d": (lambda: nn.BatchNorm3d(6), (5, 6, 2, 2, 2), -4),
    "group": (lambda: nn.GroupNorm(2, 6), (5, 6, 2, 2), -3),
    "instance-1d": (lambda: nn.InstanceNorm1d(6, affine=True), (5, 6, 4), -2),
}


def build(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = make().double().eval()
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return layer


def factors(count, seed):
    return torch.exp(torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def along(values, axis):
    return values.reshape(-1, *[1] * (-1 - axis))


@pytest.mark.parametrize("name", LAYERS)
def test_scaled_layers_compute_what_scaled_inputs_and_outputs_do(name):
    make, shape, axis = LAYERS[name]
    layer = build(make)
    side = ScaledLayer.of(layer)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs, inputs = factors(side.outputs, 2), factors(side.inputs, 3)
    bias = 0 if layer.bias is None else along(layer.bias.detach(), axis)
    want = (layer(x * along(inputs, axis)) - bias) * along(outputs, axis) + bias * along(outputs, axis)
    side.rescale(outputs=outputs, inputs=inputs)
    torch.testing.assert_close(layer(x), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NORMS)
def test_scaled_normalizations_compute_scaled_outputs(name):
    make, shape, axis = NORMS[name]
    layer = build(make)
    side = ScaledLayer.of(layer)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = factors(side.outputs, 2)
    want = layer(x) * along(outputs, axis)
    side.rescale(outputs=outputs)
    torch.testing.assert_close(layer(x), want, rtol=1e-12, atol=1e-12)
    assert side.inputs == 0
    assert ScaledLayer.of_input(layer) is None


@pytest.mark.parametrize("name", LAYERS)
def test_ranges_are_what_an_impulse_shows(name):
    """An input channel's range is the largest weight that it is multiplied with: alone, it shows in the outputs."""
    make, _, _ = LAYERS[name]
    layer = build(make)
    side = ScaledLayer.of(layer)
    groups, inputs, outputs = getattr(layer, "groups", 1), side.inputs, side.outputs
    transposed = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    weight = layer.weight.detach().flatten(2) if layer.weight.ndim > 2 else layer.weight.detach()[..., None]
    matrix = torch.zeros(outputs, inputs, weight.shape[2], dtype=torch.float64)
    for o in range(outputs):
        for i in range(inputs):
            if o // (outputs // groups) == i // (inputs // groups):
                matrix[o, i] = (weight[i, o % (outputs // groups)] if transposed
                                else weight[o, i % (inputs // groups)])
    assert torch.equal(side.weights().abs().amax((2, 3)).flatten(), matrix.abs().amax((1, 2)))
    assert torch.equal(input_range(side.weights()), matrix.abs().amax((0, 2)))


def test_an_attention_has_a_matrix_on_either_side():
    layer = build(lambda: nn.MultiheadAttention(6, 2, batch_first=True))
    source, sink = ScaledLayer.of(layer), ScaledLayer.of_input(layer)
    assert (source.outputs, sink.inputs) == (6, 6)
    assert source.parameters == (layer.out_proj.weight, layer.out_proj.bias)
    assert sink.parameters == (layer.in_proj_weight,)
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs, inputs = factors(6, 2), factors(6, 3)
    y = x * inputs
    want = layer(y, y, y)[0] * outputs
    source.rescale(outputs=outputs)
    sink.rescale(inputs=inputs)
    torch.testing.assert_close(layer(x, x, x)[0], want, rtol=1e-12, atol=1e-12)


def test_factors_of_both_sides_are_rounded_once():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    # Rounded in between, 3 times the first factor times the second is another float32.
    first, second = torch.tensor([1 / 3], dtype=torch.float64), torch.tensor([1 / 7], dtype=torch.float64)
    ScaledLayer.of(layer).rescale(outputs=first, inputs=second)
    assert layer.weight.item() == torch.tensor(3.0 * float(first) * float(second), dtype=torch.float32).item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ranges_of_narrow_types_are_float32(dtype):
    side = ScaledLayer.of(nn.Linear(3, 2).to(dtype))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert side.weights().dtype == side.bias().dtype == wide
    side.rescale(outputs=torch.tensor([2.0, 4.0]))
    assert side.parameters[0].dtype == dtype
    assert side.has_bias
    assert ScaledLayer.of(nn.Linear(3, 2, bias=False)).bias() is None
    assert not ScaledLayer.of(nn.Linear(3, 2, bias=False)).has_bias


def test_memory_formats_stay():
    layer = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    want = layer.weight.detach() * torch.arange(1.0, 7).reshape(-1, 1, 1, 1)
    ScaledLayer.of(layer).rescale(outputs=torch.arange(1.0, 7))
    torch.testing.assert_close(layer.weight.detach(), want)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


class OwnLinear(nn.Linear):
    """It may do anything with its weight."""


@pytest.mark.parametrize("module", [
    nn.ReLU(), OwnLinear(3, 2), nn.LayerNorm((3, 2)), nn.LayerNorm(3, elementwise_affine=False),
    nn.InstanceNorm2d(3), nn.Embedding(3, 2), nn.Bilinear(2, 2, 2), parametrizations.weight_norm(nn.Linear(3, 2)),
    nn.Linear(3, 2, dtype=torch.complex64), nn.LazyLinear(2),
], ids=lambda module: type(module).__name__)
def test_what_cannot_be_scaled(module):
    assert ScaledLayer.of(module) is None
    assert ScaledLayer.of_input(module) is None


def test_projections_of_different_widths_cannot_be_scaled_together():
    layer = nn.MultiheadAttention(6, 2, kdim=3, vdim=4)
    assert ScaledLayer.of_input(layer) is None
    assert ScaledLayer.of(layer).outputs == 6
