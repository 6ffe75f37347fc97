"""From sums to codes, by one integer factor a channel."""

import re

import numpy as np
import pytest
import torch

from sw.nn import Requantize, requantize
from sw.reference.requantize import Requantization

EDGES = [-(1 << 23), -(1 << 23) + 1, -40000, -1, 0, 1, 40000, (1 << 23) - 1]


def by_definition(acc, scale, bias, relu, shift=16, offset=-128):
    value = (acc * scale + (1 << (shift - 1)) >> shift) + bias
    if relu:
        value = max(value, 0)
    return min(max(value + offset, -128), 127)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("offset", [-128, 0, 5])
def test_corners_and_random_values_follow_the_definition(relu, offset):
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0, 1, 255, 3000, 32767, 32768, 65535])
    biases = torch.tensor([-32768, -200, -1, 0, 77, 300, 32767])
    random = torch.randint(-(1 << 23), 1 << 23, (300,), generator=generator) >> torch.randint(
        0, 20, (300,), generator=generator)
    acc = torch.cat([torch.tensor(EDGES), random])[None, None].expand(1, len(scales), -1)
    for shift in (1, 8, 16, 32):
        got = requantize(acc, scales, biases, relu, shift=shift, offset=offset)
        assert got.dtype == torch.int8
        want = [[by_definition(number, int(scale), int(bias), relu, shift, offset) for number in acc[0, 0].tolist()]
                for scale, bias in zip(scales, biases, strict=True)]
        assert got[0].tolist() == want, shift


def test_every_tie_goes_up():
    # At a scale of 2**14, every fourth sum ends on one half after the shift by 16.
    acc = torch.arange(-400, 400)
    got = requantize(acc, 1 << 14, 0, False, offset=0)
    assert got.tolist() == [int(np.floor(number / 4 + 0.5)) for number in acc.tolist()]


@pytest.mark.parametrize("relu", [False, True])
def test_codes_are_those_of_the_reference_of_the_hardware(relu):
    lanes = 4
    generator = torch.Generator().manual_seed(1)
    acc = torch.randint(-(1 << 23), 1 << 23, (500, lanes), generator=generator) >> 4
    scale = torch.randint(0, 1 << 16, (lanes,), generator=generator) >> 6
    bias = torch.randint(-300, 300, (lanes,), generator=generator)
    codes = {"acc": acc.numpy() & 0xFFFFFF, "scale": np.tile(scale.numpy(), (500, 1)),
             "bias": np.tile(bias.numpy() & 0xFFFF, (500, 1))}
    reference = Requantization(lanes=lanes, relu=relu)
    want = reference.evaluate({name: values.astype(np.uint64) for name, values in codes.items()})["o"]
    assert np.array_equal(requantize(acc, scale, bias, relu).numpy().view(np.uint8), want.astype(np.uint8))


def test_relu_changes_nothing_at_the_lowest_zero_point():
    acc = torch.arange(-(1 << 20), 1 << 20, 999)
    assert torch.equal(requantize(acc, 50, 3, True), requantize(acc, 50, 3, False))
    assert not torch.equal(requantize(acc, 50, 3, True, offset=0), requantize(acc, 50, 3, False, offset=0))


def test_layer_does_what_the_function_does_and_keeps_its_numbers():
    scale, bias = torch.tensor([100, 65535]), torch.tensor([-5, 9])
    layer = Requantize(scale, bias, relu=True, shift=12, offset=-3)
    acc = torch.arange(-60, 60).reshape(3, 2, 4, 5)
    assert torch.equal(layer(acc), requantize(acc, scale, bias, True, shift=12, offset=-3))
    assert (layer.channels, layer.relu, layer.shift, layer.offset) == (2, True, 12, -3)
    assert {name: value.tolist() for name, value in layer.state_dict().items()} == {"scale": [100, 65535],
                                                                                    "bias": [-5, 9]}
    assert repr(layer) == "Requantize(2, relu=True, shift=12, offset=-3)"
    scale[0] = 7
    assert layer.scale[0] == 100


ACC, ONE = torch.zeros(1, 2, 3, dtype=torch.int64), torch.tensor([1, 1])


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((ACC.float(), ONE, ONE, False), {}, TypeError, "Accumulator must be of an integer dtype, not torch.float32"),
    ((ACC + (1 << 23), ONE, ONE, False), {}, ValueError,
     "Accumulator must be between -8388608 and 8388607, not 8388608 to 8388608"),
    ((ACC, torch.ones(3, dtype=torch.int64), ONE, False), {}, ValueError,
     "Scale must have shape (2), no size being zero, not (3,)"),
    ((ACC[0, 0], ONE, ONE, False), {}, ValueError,
     "Scale must be one number for sums of shape (3,), which have no channels, not of shape (2,)"),
    ((ACC, 1.0, ONE, False), {}, TypeError, "Scale must be a torch.Tensor of integers, not 'float'"),
    ((ACC, 65536, ONE, False), {}, ValueError, "Scale must be between 0 and 65535, not 65536 to 65536"),
    ((ACC, -ONE, ONE, False), {}, ValueError, "Scale must be between 0 and 65535, not -1 to -1"),
    ((ACC, ONE, 32768, False), {}, ValueError, "Bias must be between -32768 and 32767, not 32768 to 32768"),
    ((ACC, ONE, ONE, 1), {}, TypeError, "ReLU switch must be True or False, not 1"),
    ((ACC, ONE, ONE, False), {"shift": 0}, ValueError, "Shift must be between 1 and 32 bits, not 0"),
    ((ACC, ONE, ONE, False), {"shift": 1.5}, TypeError, "Shift must be an integer, not 1.5"),
    ((ACC, ONE, ONE, False), {"offset": 128}, ValueError, "Offset must be between -128 and 127, not 128"),
    ((ACC, ONE, ONE, False), {"offset": None}, TypeError, "Offset must be an integer, not None"),
])
def test_wrong_arguments_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        requantize(*arguments, **keywords)


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((1, ONE), {}, TypeError, "Scale must be a torch.Tensor of integers, not 'int'"),
    ((ONE[None], ONE), {}, ValueError, "Scale must have shape (C), no size being zero, not (1, 2)"),
    ((ONE[:0], ONE), {}, ValueError, "Scale must have shape (C), no size being zero, not (0,)"),
    ((ONE, ONE[:1]), {}, ValueError, "Bias must have shape (2), no size being zero, not (1,)"),
    ((ONE, ONE * 40000), {}, ValueError, "Bias must be between -32768 and 32767, not 40000 to 40000"),
    ((ONE, ONE), {"relu": None}, TypeError, "ReLU switch must be True or False, not None"),
    ((ONE, ONE), {"shift": 33}, ValueError, "Shift must be between 1 and 32 bits, not 33"),
    ((ONE, ONE), {"offset": -129}, ValueError, "Offset must be between -128 and 127, not -129"),
])
def test_wrong_layers_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Requantize(*arguments, **keywords)
