"""Layers that multiply their inputs: the product, what stays when they are copied or prepared, and what is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sw.formats import resolve
from sw.ptq.config import ActivationConfig, Config, Granularity, WeightConfig
from sw.ptq.quantize import prepare
from sw.ptq.smoothing import attach_smoothing, channel_axis, is_smoothed

LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (2, 5, 4), (4,)),
    "conv1d": (lambda: nn.Conv1d(4, 3, 2), (2, 4, 5), (4, 1)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 2, groups=2), (2, 4, 5, 5), (4, 1, 1)),
    "conv3d": (lambda: nn.Conv3d(4, 3, 2), (2, 4, 3, 3, 3), (4, 1, 1, 1)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 2), (2, 4, 3, 3), (4, 1, 1)),
}
FACTORS = torch.tensor([0.5, 3.0, 1.0, 0.125])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_are_multiplied(name):
    make, shape, view = LAYERS[name]
    layer = make()
    plain = copy.deepcopy(layer)
    keys = list(layer.state_dict())
    attach_smoothing(layer, FACTORS)
    assert list(layer.state_dict()) == [*keys, "smoothing"]
    assert is_smoothed(layer)
    assert not is_smoothed(plain)
    assert channel_axis(layer) == -len(view)
    x = normal(*shape)
    want = plain(x * FACTORS.reshape(view))
    assert torch.equal(layer(x), want)
    assert torch.equal(layer(input=x), want)


def test_factors_add_up():
    layer = nn.Linear(4, 3)
    plain = copy.deepcopy(layer)
    attach_smoothing(layer, FACTORS)
    attach_smoothing(layer, torch.tensor([2.0, 2, 4, 4]))
    assert layer.smoothing.tolist() == [1, 6, 4, 0.5]
    x = normal(2, 4)
    assert torch.equal(layer(x), plain(x * layer.smoothing))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))],
                         ids=["copy", "pickle"])
def test_copies_are_smoothed_on_their_own(copied):
    layer = nn.Linear(4, 3)
    attach_smoothing(layer, FACTORS)
    x = normal(2, 4)
    other = copied(layer)
    assert torch.equal(other(x), layer(x))
    other.smoothing.mul_(2)
    assert not torch.equal(other(x), layer(x))


def test_a_state_is_loaded_into_a_layer_with_ones():
    layer, other = nn.Linear(4, 3), nn.Linear(4, 3)
    attach_smoothing(layer, FACTORS)
    attach_smoothing(other, torch.ones(4))
    other.load_state_dict(layer.state_dict())
    x = normal(2, 4)
    assert torch.equal(other(x), layer(x))


def test_types_and_devices_are_followed():
    layer = nn.Linear(4, 3)
    attach_smoothing(layer, FACTORS.double())
    assert layer.smoothing.dtype == torch.float32
    layer.to(torch.bfloat16)
    assert layer(normal(2, 4).to(torch.bfloat16)).dtype == torch.bfloat16
    half = copy.deepcopy(layer).float()
    assert half(normal(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("batch_first", [True, False])
def test_an_attention_multiplies_query_key_and_value(batch_first):
    layer = nn.MultiheadAttention(4, 2, batch_first=batch_first).eval()
    plain = copy.deepcopy(layer)
    attach_smoothing(layer, FACTORS)
    x, y = normal(2, 5, 4), normal(2, 5, 4, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, x, x)[0], plain(x * FACTORS, x * FACTORS, x * FACTORS)[0])
        torch.testing.assert_close(layer(x, key=y, value=y)[0], plain(x * FACTORS, y * FACTORS, y * FACTORS)[0])
        torch.testing.assert_close(layer(query=x, value=x, key=y, need_weights=False)[0],
                                   plain(x * FACTORS, y * FACTORS, x * FACTORS)[0])


def test_attention_with_itself_is_still_told_by_identity():
    seen = []
    layer = nn.MultiheadAttention(4, 2)
    attach_smoothing(layer, FACTORS)
    layer.register_forward_pre_hook(lambda _, args: seen.extend(args))
    x = normal(5, 2, 4)
    layer(x, x, x)
    assert seen[0] is seen[1] is seen[2]


def test_the_fused_transformer_layer_is_left():
    """In evaluation, torch computes with the weights alone: not where there is something before a layer."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0).eval()
    x = normal(2, 5, 4)
    with torch.no_grad():
        want = layer(x)
        layer.linear1.weight /= FACTORS
        attach_smoothing(layer.linear1, FACTORS)
        torch.testing.assert_close(layer(x), want)


@pytest.mark.parametrize("name", [*LAYERS, "attention"])
def test_prepared_layers_quantize_the_product(name):
    """The quantizer's scale is that of the smoothed input."""
    make, shape, view = LAYERS.get(name, (lambda: nn.MultiheadAttention(4, 2, batch_first=True), (2, 5, 4), (4,)))
    layer = make()
    attach_smoothing(layer, FACTORS)
    fmt = resolve("e3m2").format
    model = nn.Sequential(layer) if name != "attention" else layer
    prepare(model, Config(weight=WeightConfig(format=fmt),
                          activation=ActivationConfig(format=fmt, granularity=Granularity.TENSOR)))
    assert is_smoothed(layer)
    seen = []
    x = normal(*shape)
    target = layer.query_projection if name == "attention" else layer
    target.input_quantizer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    if name == "attention":
        layer(x, x, x)
    else:
        model(x)
    assert torch.equal(seen[0], x * FACTORS.reshape(view))


@pytest.mark.parametrize(("layer", "factors", "error", "message"), [
    (nn.ReLU(), FACTORS, TypeError, "Layer must be a linear layer, a convolution or an attention, not 'ReLU'"),
    (nn.MultiheadAttention(4, 2, kdim=3, vdim=6), FACTORS, ValueError, "Layer must project query, key and value of one "
     "width for them to be smoothed alike, not of 4, 3 and 6"),
    (nn.Linear(4, 3), [1.0] * 4, TypeError, "Smoothing factors must be a floating-point torch.Tensor, not 'list'"),
    (nn.Linear(4, 3), torch.ones(4, dtype=torch.int32), TypeError,
     "Smoothing factors must be a floating-point torch.Tensor, not torch.int32"),
    (nn.Linear(4, 3), torch.ones(3), ValueError,
     r"Smoothing factors must be one for each of the 4 input channels of the layer, not of shape \(3,\)"),
    (nn.Conv2d(4, 6, 1, groups=2), torch.ones(2), ValueError,
     r"Smoothing factors must be one for each of the 4 input channels of the layer, not of shape \(2,\)"),
    (nn.Linear(4, 3), torch.tensor([1.0, 0, 1, 1]), ValueError,
     "Smoothing factors must be positive and finite in torch.float32, not 0.0 to 1.0"),
    (nn.Linear(4, 3), torch.tensor([1.0, torch.nan, 1, 1]), ValueError,
     "Smoothing factors must be positive and finite in torch.float32, not nan to nan"),
    (nn.Linear(4, 3).half(), torch.tensor([1.0, 1e6, 1, 1]), ValueError,
     "Smoothing factors must be positive and finite in torch.float16, not 1.0 to inf"),
])
def test_wrong_arguments(layer, factors, error, message):
    with pytest.raises(error, match=message):
        attach_smoothing(layer, factors)
    assert not is_smoothed(layer)
