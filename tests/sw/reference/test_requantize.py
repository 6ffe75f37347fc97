"""Requantization against its definition, and against the published formula in plain integers."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.model import Function, Port
from sw.reference.requantize import Requantization
from tests.support.lanes import assert_definition_agrees
from tests.support.requantization import telling_inputs

INT8, UINT8, INT24 = parse("int8"), parse("uint8"), parse("int24")


@pytest.mark.parametrize("fields", [
    {"lanes": 3}, {"lanes": 1, "relu": True, "offset": 0}, {"lanes": 2, "shift": 0, "scale_bits": 4},
    {"lanes": 1, "shift": 1, "bias_bits": 1}, {"lanes": 2, "result": UINT8, "offset": 9, "relu": True},
    {"lanes": 1, "accumulator": parse("int46"), "shift": 38}, {"lanes": 1, "result": parse("int4:narrow_range=true")},
    {"lanes": 1, "accumulator": parse("int30"), "scale_bits": 32, "shift": 44, "bias_bits": 32,
     "result": parse("int32"), "offset": 5},
], ids=str)
def test_arrays_agree_with_the_definition(fields):
    model = Requantization(**fields)
    assert isinstance(model, Function)
    assert_definition_agrees(model, telling_inputs(model, 400, seed=2))


def signed(code, width):
    return code - (1 << width) if code >> width - 1 else code


def test_the_published_formula():
    """``clamp_int8(relu(((acc * scale + 2**15) >> 16) + bias) - 128)``, in Python's integers."""
    rng = np.random.default_rng(5)
    for relu in (False, True):
        model = Requantization(lanes=1, relu=relu)
        for codes in zip(*(column[:, 0].tolist() for column in telling_inputs(model, 500, seed=int(rng.integers(99)))
                           .values()), strict=True):
            acc, scale, bias = signed(codes[0], 24), codes[1], signed(codes[2], 16)
            number = ((acc * scale + 2**15) >> 16) + bias
            want = min(max((max(number, 0) if relu else number) - 128, -128), 127)
            got, = model(*([code] for code in codes))
            assert signed(got, 8) == want, codes


@pytest.mark.parametrize(("acc", "scale", "bias", "want"), [
    (0, 0, 0, -128), (1 << 15, 1, 0, -127), ((1 << 15) - 1, 1, 0, -128), (-(1 << 15), 1, 1, -127),
    (1, 1 << 15, 0, -127), (-1, 1 << 15, 1, -127), (255, 65535, 0, 127), (256, 65535, 0, 127),
    (-(1 << 23), 65535, 0, -128), ((1 << 23) - 1, 65535, -(1 << 15), 127), (0, 0, 255, 127), (0, 0, 254, 126),
    (0, 0, -1, -128),
])
def test_halves_are_rounded_up_and_ends_are_kept(acc, scale, bias, want):
    for relu in (False, True):  # which changes nothing where the clamp cuts at the zero point
        codes = Requantization(lanes=1, relu=relu)([acc % (1 << 24)], [scale], [bias % (1 << 16)])
        assert [signed(code, 8) for code in codes] == [want]


def test_relu_cuts_at_the_zero_point():
    model = Requantization(lanes=4, relu=True, offset=-10)
    bias = [code % (1 << 16) for code in (-1, 0, 1, -20)]
    assert [signed(code, 8) for code in model([0] * 4, [1] * 4, bias)] == [-10, -10, -9, -10]
    without = Requantization(lanes=4, offset=-10)
    assert [signed(code, 8) for code in without([0] * 4, [1] * 4, bias)] == [-11, -10, -9, -30]


def test_ports_and_defaults():
    model = Requantization(lanes=2, scale_bits=12)
    assert model.inputs == {"acc": Port.of(INT24, 2), "scale": Port.of(parse("uint12"), 2),
                            "bias": Port.of(parse("int16"), 2)}
    assert model.outputs == {"o": Port.of(INT8, 2)}
    assert model.offset == -128
    assert [Requantization(lanes=1, result=result).offset for result in (UINT8, parse("int4"))] == [0, -8]
    assert Requantization(lanes=1) == Requantization(lanes=1, offset=-128)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 65536, not 0"),
    ({"lanes": 1.0}, TypeError, "Lane count must be an integer, not 1.0"),
    ({"accumulator": "int24"}, TypeError, "Accumulator must be a FixedPointFormat, not 'int24'"),
    ({"result": parse("e4m3")}, TypeError, "Result format must be a FixedPointFormat, not FloatingPointFormat("),
    ({"result": parse("fixed<8,1>")}, ValueError,
     "Result format must be one of integers, without fraction bits, not fixed<8,1>"),
    ({"accumulator": parse("uint24")}, ValueError,
     "Accumulator must be signed, as sums are, and of full range, not uint24"),
    ({"accumulator": parse("int47")}, ValueError,
     "Accumulator must have at most 46 bits for scales of 16 bits, not 47"),
    ({"scale_bits": 33}, ValueError, "Scale bits must be between 1 and 32, not 33"),
    ({"shift": -1}, ValueError, "Shift must be between 0 and 62, not -1"),
    ({"bias_bits": True}, TypeError, "Bias bits must be an integer, not True"),
    ({"offset": 128}, ValueError, "Offset must be between -128 and 127, not 128"),
    ({"relu": 1}, TypeError, "ReLU must be True or False, not 1"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Requantization(**{"lanes": 1, **fields})


def test_wrong_codes():
    model = Requantization(lanes=2)
    with pytest.raises(ValueError, match="Vector scale must have 2 codes, not 1"):
        model([0, 0], [1], [0, 0])
    with pytest.raises(ValueError, match="Code must be between 0 and 65535 for uint16, not 65536"):
        model([0, 0], [1, 65536], [0, 0])
    with pytest.raises(ValueError, match=r"Input acc must be of shape \(1, 2\), not \(1, 3\)"):
        model.evaluate({"acc": np.zeros((1, 3), int), "scale": np.zeros((1, 2), int), "bias": np.zeros((1, 2), int)})
