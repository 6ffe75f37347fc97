"""Batch normalization merged into the convolution before it."""

import copy

import pytest
import torch
from torch import nn

from sw.nn import BlockOrder, DeformableConv2d, fold_batch_norm


def used(norm, seed=0):
    """Return a normalization that has seen data and learned something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.2, 3, generator=generator)
        if norm.affine:
            norm.weight.normal_(generator=generator)
            norm.bias.normal_(generator=generator)
    return norm.eval()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("layer", [
    lambda bias: nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=bias),
    lambda bias: DeformableConv2d(4, 6, bias=bias),
    lambda bias: DeformableConv2d(4, 6, bias=bias, order=BlockOrder.POINTWISE_FIRST),
    lambda bias: DeformableConv2d(4, 6, bias=bias, depthwise=False, order=None),
])
def test_folded_layer_is_both_in_one(layer, bias, affine):
    torch.manual_seed(0)
    layer, norm = layer(bias), used(nn.BatchNorm2d(6, affine=affine))
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(2, 4, 7, 7)
    folded = fold_batch_norm(layer, norm)
    torch.testing.assert_close(folded(x), norm(layer(x)), rtol=1e-6, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert all(parameter.requires_grad for parameter in folded.parameters())


def test_a_normalization_between_the_two_convolutions_is_folded_into_the_first():
    torch.manual_seed(0)
    layer, norm = DeformableConv2d(4, 6), used(nn.BatchNorm2d(4))
    x = torch.randn(2, 4, 7, 7)
    want = layer.pointwise(norm(layer.convolve(x, bias=layer.window.bias)))
    layer.window = fold_batch_norm(layer.window, norm)
    torch.testing.assert_close(layer(x), want, rtol=1e-6, atol=1e-6)


def test_wrong_arguments_are_refused():
    conv = nn.Conv2d(2, 3, 1)
    with pytest.raises(TypeError, match="Layer must be a Conv2d or a DeformableConv2d, not 'Linear'"):
        fold_batch_norm(nn.Linear(2, 3), nn.BatchNorm2d(3))
    with pytest.raises(TypeError, match="Normalization must be a BatchNorm2d, not 'LayerNorm'"):
        fold_batch_norm(conv, nn.LayerNorm(3))
    with pytest.raises(ValueError, match="Normalization must have the 3 output channels of the layer, not 2"):
        fold_batch_norm(conv, nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="Normalization must keep running statistics to be folded, not "
                                         "track_running_stats=False"):
        fold_batch_norm(conv, nn.BatchNorm2d(3, track_running_stats=False))
