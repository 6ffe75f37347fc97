"""The layer: what it does, what its state is, what it says of itself."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.quantize import FakeQuantize, absmax_scale, fake_quantize
from tests.sw.quantize.oracle import FORMATS, same_values

E4M3 = parse("float8_e4m3fn")


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 20


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("arguments", [
    {}, {"scale": 0.5}, {"scale": torch.tensor([0.5, 2.0, 1.0]), "axis": 0},
    {"scale": torch.ones(3, 2) * 0.3, "group_size": 4}, {"rounding": RoundingMode.TOWARD_ZERO},
    {"overflow": OverflowPolicy.INFINITY}, {"dtype": torch.float64}, {"scale": 0.5, "learn_scale": True},
], ids=str)
def test_layer_does_what_the_function_does(arguments):
    x = normal(3, 8)
    x[0, 0] = 1e6
    function = {name: value for name, value in arguments.items() if name != "learn_scale"}
    got = FakeQuantize(E4M3, **arguments)(x)
    assert bool(same_values(got.detach(), fake_quantize(x, E4M3, **function)).all())
    assert got.dtype == arguments.get("dtype", torch.float32)


def test_layer_keeps_nan_if_asked():
    x = torch.tensor([torch.nan])
    assert FakeQuantize(parse("int8"))(x).item() == 0
    assert FakeQuantize(parse("int8"), propagate_nan=True)(x).isnan().item()


def test_stochastic_layer_takes_random_bits_or_draws_them():
    layer = FakeQuantize(E4M3, rounding=RoundingMode.STOCHASTIC, random_bits=4)
    x, random = normal(16), torch.arange(16)
    want = fake_quantize(x, E4M3, rounding=RoundingMode.STOCHASTIC, random=random, random_bits=4)
    assert torch.equal(layer(x, random=random), want)
    def generator():
        return torch.Generator().manual_seed(3)
    assert torch.equal(layer(x, generator=generator()), layer(x, generator=generator()))
    torch.manual_seed(5)
    first = layer(normal(1000))
    torch.manual_seed(5)
    assert torch.equal(layer(normal(1000)), first)
    assert not torch.equal(layer(normal(1000)), first)


def test_state_keys_are_fixed():
    assert list(FakeQuantize(E4M3).state_dict()) == ["_extra_state"]
    for learn_scale in (False, True):
        layer = FakeQuantize(E4M3, scale=0.5, learn_scale=learn_scale)
        assert list(layer.state_dict()) == ["scale", "_extra_state"]
        assert len(list(layer.parameters())) == learn_scale
        assert len(list(layer.buffers())) == 1 - learn_scale
    assert all(isinstance(value, torch.Tensor) for value in layer.state_dict().values())


@pytest.mark.parametrize("name", FORMATS)
def test_state_survives_a_file_for_every_format(name):
    fmt = FORMATS[name]
    layer = FakeQuantize(fmt, scale=torch.tensor([0.25, 3.0]), axis=0)
    other = FakeQuantize(fmt, scale=torch.ones(2), axis=0)
    state = through_a_file(layer.state_dict())
    other.load_state_dict(state)
    assert torch.equal(other.scale, layer.scale)
    assert str(other.state_dict()) == str(layer.state_dict())


def test_state_of_a_network():
    def network():
        return nn.Sequential(FakeQuantize(E4M3), nn.Linear(4, 4),
                             FakeQuantize(parse("int8"), scale=0.1, learn_scale=True))
    torch.manual_seed(0)
    first, second = network(), network()
    x = normal(5, 4)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(through_a_file(first.state_dict()))
    assert torch.equal(first(x), second(x))


def test_layer_copies_pickles_and_moves():
    layer = FakeQuantize(E4M3, scale=torch.tensor([0.5, 2.0]), axis=-1, rounding=RoundingMode.UP)
    x = normal(3, 2)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert other.format == E4M3
    assert layer.double().scale.dtype == torch.float64
    assert layer(x.double()).dtype == torch.float64
    assert layer.to("meta").scale.device.type == "meta"


def test_learned_scale_trains():
    x, fmt = normal(256), parse("int4")
    layer = FakeQuantize(fmt, scale=absmax_scale(x, fmt) / 20, learn_scale=True)
    before = (layer(x) - x).square().mean().item()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.2)
    for _ in range(80):
        optimizer.zero_grad()
        (layer(x) - x).square().mean().backward()
        optimizer.step()
    assert (layer(x) - x).square().mean().item() < before / 20


def test_representation_says_what_is_not_the_default():
    assert repr(FakeQuantize(E4M3)) == "FakeQuantize(float8_e4m3fn, rounding=nearest-even, overflow=saturate)"
    assert repr(FakeQuantize(parse("int8"), scale=0.5)) == (
        "FakeQuantize(int8, scale=0.5, rounding=nearest-even, overflow=saturate)")
    assert repr(FakeQuantize(parse("int8"), scale=torch.ones(3, 2), axis=1, group_size=4, learn_scale=True,
                             rounding=RoundingMode.STOCHASTIC, random_bits=8, propagate_nan=True,
                             overflow=OverflowPolicy.SATURATE_SYMMETRIC, dtype=torch.float32)) == (
        "FakeQuantize(int8, learned scale of shape (3, 2), axis=1, group_size=4, rounding=stochastic, "
        "overflow=saturate-symmetric, random_bits=8, propagate_nan=True, dtype=torch.float32)")
    assert "scale of shape ()" in repr(FakeQuantize(E4M3, scale=1.0).to("meta"))


def test_properties():
    layer = FakeQuantize(E4M3, rounding=RoundingMode.DOWN, overflow=OverflowPolicy.INFINITY)
    assert (layer.format, layer.rounding, layer.overflow) == (E4M3, RoundingMode.DOWN, OverflowPolicy.INFINITY)


def test_loading_another_format_wrong():
    state = FakeQuantize(E4M3).state_dict()
    message = (r"Quantizer must be built as the saved one was, with format='float8_e4m3fn' \(here 'int8'\), "
               "to load its state")
    with pytest.raises(ValueError, match=message):
        FakeQuantize(parse("int8")).load_state_dict(state)
    with pytest.raises(ValueError, match=r"with overflow='saturate' \(here 'infinity'\), rounding='nearest-even' "
                                         r"\(here 'up'\), to load"):
        FakeQuantize(E4M3, rounding=RoundingMode.UP, overflow=OverflowPolicy.INFINITY).load_state_dict(state)


def test_loading_with_or_without_scale_wrong():
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "scale"'):
        FakeQuantize(E4M3).load_state_dict(FakeQuantize(E4M3, scale=1.0).state_dict())
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "scale"'):
        FakeQuantize(E4M3, scale=1.0).load_state_dict(FakeQuantize(E4M3).state_dict())


@pytest.mark.parametrize("state", [torch.tensor([1, 2, 3], dtype=torch.uint8), "text", torch.tensor([300]), None],
                         ids=str)
def test_loading_a_broken_state_wrong(state):
    with pytest.raises(ValueError, match="Quantizer state must be a uint8 tensor of JSON, not "):
        FakeQuantize(E4M3).set_extra_state(state)


def test_loading_other_json_wrong():
    state = torch.tensor(list(b"[1]"), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"Quantizer must be built as the saved one was, with \[1\], to load"):
        FakeQuantize(E4M3).set_extra_state(state)


@pytest.mark.parametrize("arguments", [{"axis": 0}, {"group_size": 2}, {"learn_scale": True}], ids=str)
def test_granularity_without_scale_wrong(arguments):
    with pytest.raises(ValueError, match=r"Scale must be given with axis=.*, learn_scale=.*, not None; "
                                         r"sw\.quantize\.absmax_scale computes one"):
        FakeQuantize(E4M3, **arguments)


@pytest.mark.parametrize("scale", [True, "1", [1.0]], ids=str)
def test_scale_type_wrong(scale):
    with pytest.raises(TypeError, match="Scale must be a number or a tensor, not "):
        FakeQuantize(E4M3, scale=scale)


def test_overflow_that_the_format_lacks_wrong():
    with pytest.raises(ValueError, match="Overflow policy must be saturate, .*, saturate-zero or wrap for int8"):
        FakeQuantize(FixedPointFormat(width=8), overflow=OverflowPolicy.INFINITY)
