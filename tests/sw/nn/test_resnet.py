"""Our ResNet-18: its published size, and torchvision's keys and outputs where that is installed."""

import pytest
import torch
from torch import fx

from sw.nn.resnet import resnet18


def test_published_size():
    """11,689,512 parameters, as torchvision documents for its own."""
    assert sum(parameter.numel() for parameter in resnet18().parameters()) == 11_689_512


def test_shapes_and_trace():
    torch.manual_seed(0)
    model = resnet18(7).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        y = model(x)
        assert y.shape == (2, 7)
        assert torch.allclose(fx.symbolic_trace(model)(x), y, atol=1e-5)


def test_first_and_last_keys():
    keys = list(resnet18().state_dict())
    assert keys[0] == "conv1.weight"
    assert keys[-1] == "fc.bias"
    assert "layer2.0.downsample.1.running_mean" in keys


def test_equals_torchvision():
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed, or not for this torch",
                                 exc_type=(ImportError, RuntimeError))
    torch.manual_seed(1)
    theirs = models.resnet18(weights=None).eval()
    ours = resnet18().eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize(("classes", "error", "text"), [
    (0, ValueError, "Class count must be at least 1, not 0"),
    ("ten", TypeError, "Class count must be an integer, not 'ten'"),
])
def test_wrong_class_count(classes, error, text):
    with pytest.raises(error, match=text):
        resnet18(classes)
