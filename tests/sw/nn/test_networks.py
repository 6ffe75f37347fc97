"""The small classifiers: shapes, what can be traced, and what they are made of."""

import pytest
import torch
from torch import fx, nn

from sw.nn.networks import InvertedResidual, digits_cnn, digits_residual, digits_vit

NETWORKS = (digits_cnn, digits_residual, digits_vit)


@pytest.mark.parametrize("make", NETWORKS)
def test_logits_of_every_image_alone(make):
    """An image's logits do not depend on the batch that it comes in."""
    torch.manual_seed(1)
    model = make().eval()
    x = torch.rand(5, 1, 8, 8)
    y = model(x)
    assert y.shape == (5, 10)
    for index in range(5):
        assert torch.allclose(model(x[index:index + 1])[0], y[index], atol=1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_can_be_traced(make):
    torch.manual_seed(2)
    model = make().eval()
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(fx.symbolic_trace(model)(x), model(x), atol=1e-6)


@pytest.mark.parametrize("make", NETWORKS)
def test_is_narrow(make):
    assert sum(parameter.numel() for parameter in make().parameters()) < 12_000


def test_residual_network_has_depthwise_convolutions_and_residuals():
    model = digits_residual(4)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert any(layer.groups == layer.in_channels > 1 for layer in convolutions)
    assert [block.residual for block in model if isinstance(block, InvertedResidual)] == [True, False, True, False]


def test_residual_is_the_input_added():
    block = InvertedResidual(4, 4).eval()
    nn.init.zeros_(block.body[-1].weight)
    x = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(x), x)


def test_vit_sees_where_a_patch_lies():
    """Without its positions a transformer would take any order of the patches for the same image."""
    torch.manual_seed(3)
    model = digits_vit().eval()
    x = torch.rand(1, 1, 8, 8)
    moved = torch.cat([x[..., 4:], x[..., :4]], -1)
    assert not torch.allclose(model(x), model(moved), atol=1e-6)
    nn.init.zeros_(model.positions)
    assert torch.allclose(model(x), model(moved), atol=1e-5)


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: digits_cnn(0), ValueError, "Width must be at least 1, not 0"),
    (lambda: digits_cnn(1.5), TypeError, "Width must be an integer, not 1.5"),
    (lambda: digits_residual(-1), ValueError, "Width must be at least 1, not -1"),
    (lambda: digits_vit(24, depth=0), ValueError, "Depth must be at least 1, not 0"),
    (lambda: digits_vit(24, heads=5), ValueError, "Heads must divide the width 24, not 5"),
])
def test_wrong_sizes(make, error, text):
    with pytest.raises(error, match=text):
        make()
