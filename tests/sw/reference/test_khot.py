"""K-hot multiplication against plain integer products and against its definition."""

from fractions import Fraction

import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference.khot import KHotMultiplication
from tests.support.lanes import all_inputs, assert_definition_agrees, random_inputs

INT8 = parse("int8")


def _signed(codes, width):
    return codes.astype(np.int64) - ((codes.astype(np.int64) >> (width - 1)) << width)


@pytest.mark.parametrize(("x", "hot", "max_shift"), [
    ("int4", 1, 0), ("int4", 1, 3), ("int4", 2, 3), ("uint4", 2, 2), ("int3", 3, 2), ("uint3", 3, 2)])
def test_every_product_is_that_of_the_weight(x, hot, max_shift):
    model = KHotMultiplication(x=parse(x), hot=hot, max_shift=max_shift)
    inputs = all_inputs(model)
    value = _signed(inputs["x"], model.x.width) if model.x.signed else inputs["x"].astype(np.int64)
    weight = np.zeros(len(value), np.int64)
    for digit in range(hot):
        shift, negative, enable = (inputs[name][:, digit].astype(np.int64) for name in ("shift", "negative", "enable"))
        weight += np.where(enable == 1, np.where(negative == 1, -1, 1) * 2**shift, 0)
    got = model.evaluate(inputs)["o"]
    assert (_signed(got, model.exact.width) == value * weight).all()


@pytest.mark.parametrize("parameters", [
    {"hot": 3, "max_shift": 7}, {"hot": 2, "max_shift": 6, "weight_fraction_bits": 5},
    {"hot": 2, "max_shift": 7, "result": INT8}, {"hot": 2, "max_shift": 7, "weight_fraction_bits": 7, "result": INT8,
                                                  "rounding": RoundingMode.NEAREST_UP, "overflow": OverflowPolicy.WRAP},
    {"hot": 2, "max_shift": 9, "result": parse("e4m3"), "rounding": RoundingMode.DOWN},
    {"hot": 2, "max_shift": 4, "result": parse("posit<8,1>")},
    {"hot": 1, "max_shift": 4, "weight_fraction_bits": 9, "result": parse("fixed<6,2>"),
     "rounding": RoundingMode.STOCHASTIC, "random_bits": 3},
    {"x": parse("fixed<40,7>"), "hot": 3, "max_shift": 20, "result": parse("bfloat16")},
    {"x": parse("ufixed<6,-3>"), "hot": 2, "max_shift": 5, "weight_fraction_bits": -2, "result": parse("float16")},
])
def test_arrays_agree_with_the_definition(parameters):
    model = KHotMultiplication(**{"x": INT8} | parameters)
    assert_definition_agrees(model, random_inputs(model, 600, seed=1))


@pytest.mark.parametrize(("x", "hot", "max_shift"), [("int4", 1, 3), ("int4", 3, 5), ("uint4", 2, 3), ("int1", 1, 0)])
def test_exact_format_is_the_smallest(x, hot, max_shift):
    model = KHotMultiplication(x=parse(x), hot=hot, max_shift=max_shift, weight_fraction_bits=2)
    extremes = [value * sign * hot * 2**max_shift for value in (parse(x).min_finite, parse(x).max_finite)
                for sign in (1, -1)]
    products = [value / 4 for value in extremes]
    assert all(model.exact.min_finite <= value <= model.exact.max_finite for value in products)
    narrower = FixedPointFormat(width=model.exact.width - 1, fraction_bits=model.exact.fraction_bits)
    assert not all(narrower.min_finite <= value <= narrower.max_finite for value in products)


def test_ports():
    model = KHotMultiplication(x=INT8, hot=3, max_shift=5, result=INT8, rounding=RoundingMode.STOCHASTIC, random_bits=4)
    assert list(model.inputs) == ["x", "shift", "negative", "enable", "random"]
    shift = model.inputs["shift"]
    assert (shift.width, shift.lanes, shift.limit) == (3, 3, 6)
    assert (model.inputs["enable"].bits, model.inputs["random"].width) == (3, 4)
    assert model.outputs["o"].format == INT8


def test_a_weight_without_digits_is_zero():
    model = KHotMultiplication(x=INT8, hot=2, max_shift=3, result=parse("e4m3"), rounding=RoundingMode.DOWN)
    assert model(200, [3, 1], [1, 0], [0, 0]) == 0


def test_definition_of_one_product():
    model = KHotMultiplication(x=parse("fixed<8,4>"), hot=2, max_shift=4, weight_fraction_bits=3)
    code = model(0x18, [4, 1], [0, 1], [1, 1])  # 1.5 * (2 - 0.25)
    assert model.exact.decode(code) == Fraction(3, 2) * Fraction(7, 4)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"x": parse("e4m3")}, TypeError, "Format x must be a FixedPointFormat, not FloatingPointFormat"),
    ({"hot": 0}, ValueError, "Hot digit count K must be between 1 and 4, the digits of a weight, not 0"),
    ({"hot": 5}, ValueError, "Hot digit count K must be between 1 and 4, the digits of a weight, not 5"),
    ({"hot": True}, TypeError, "Hot digit count K must be an integer, not True"),
    ({"max_shift": -1}, ValueError, "Max shift must be at least 0, not -1"),
    ({"max_shift": "3"}, TypeError, "Max shift must be an integer, not '3'"),
    ({"max_shift": 57}, ValueError,
     "Max shift must leave the exact product in 64 bits, not 57, with which int8 by 2 digits needs 67"),
    ({"weight_fraction_bits": 0.5}, TypeError, "Weight fraction bits must be an integer, not 0.5"),
    ({"random_bits": 2}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 2"),
    ({"overflow": OverflowPolicy.INFINITY}, ValueError, "Overflow policy must be"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        KHotMultiplication(**{"x": INT8, "hot": 2, "max_shift": 3} | parameters)


def test_wrong_inputs():
    model = KHotMultiplication(x=INT8, hot=1, max_shift=2)
    inputs = random_inputs(model, 3, seed=1)
    with pytest.raises(ValueError, match="Input shift must be between 0 and 2, not 3 to 3"):
        model.evaluate(inputs | {"shift": np.full((3, 1), 3, np.uint64)})
