"""Addition on codes against ml_dtypes, gfloat, numpy, apytypes and IEEE 754's rules, and against its own definition."""

import re
from fractions import Fraction
from functools import cache

import apytypes
import gfloat
import ml_dtypes
import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, Special, as_float, parse
from sw.reference import Addition, negated, total
from tests.support.functions import SMALL, all_inputs, assert_scalar_agrees, in_all_modes, some_inputs
from tests.support.number_formats import gfloat_format, show, value_of

INF = OverflowPolicy.INFINITY
GFLOAT_MODES = {
    RoundingMode.NEAREST_EVEN: gfloat.RoundMode.TiesToEven, RoundingMode.TOWARD_ZERO: gfloat.RoundMode.TowardZero,
    RoundingMode.UP: gfloat.RoundMode.TowardPositive, RoundingMode.DOWN: gfloat.RoundMode.TowardNegative,
    RoundingMode.NEAREST_AWAY: gfloat.RoundMode.TiesToAway,
}


def addition(*formats, **fields):
    """Return the addition of formats given by name: a, b and the result, or one for all."""
    a, b, result = (parse(name) for name in (formats * 3 if len(formats) == 1 else formats))
    return Addition(a=a, b=b, result=result, **fields)


@cache
def _float64_table(fmt):
    return np.array([as_float(fmt.decode(code)) for code in range(1 << fmt.width)])


def float64_of(fmt, codes):
    """Return the values of codes, which must be exact in float64."""
    return _float64_table(fmt)[codes.astype(np.int64)]


def assert_values(result, inputs, got, want):
    """Check codes against an oracle's float64, signs of zeros included."""
    values = float64_of(result, got)
    same = (values == want) & (np.signbit(values) == np.signbit(want)) | np.isnan(values) & np.isnan(want)
    wrong = [({name: hex(codes[i]) for name, codes in inputs.items()}, values[i], want[i])
             for i in np.flatnonzero(~same)]
    assert not wrong, show(wrong, len(got))


@pytest.mark.parametrize("rounding", GFLOAT_MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("a", "b", "result", "overflow"), [
    ("e4m3", "e4m3", "e4m3", INF), ("float8_e4m3", "float8_e4m3", "float8_e4m3", OverflowPolicy.SATURATE),
    ("e3m2", "e3m2", "e3m2", OverflowPolicy.SATURATE), ("e3m2", "e2m3", "e5m2", INF),
    ("p3109_k6p3se", "p3109_k6p3se", "p3109_k6p3se", INF), ("int6", "e3m2", "e4m3", INF),
    ("radix4_fp4_odd", "uint4", "e3m2", OverflowPolicy.SATURATE),
])
def test_every_pair_rounds_as_the_float64_sum_in_gfloat(a, b, result, overflow, rounding):
    add = addition(a, b, result, rounding=rounding, overflow=overflow)
    inputs = all_inputs(add)
    with np.errstate(invalid="ignore"):
        exact = float64_of(add.a, inputs["a"]) + float64_of(add.b, inputs["b"])
        if rounding is RoundingMode.DOWN:  # float64 was rounded to the nearest: its x - x is positive
            both = np.signbit(float64_of(add.a, inputs["a"])) & np.signbit(float64_of(add.b, inputs["b"]))
            opposite = (float64_of(add.a, inputs["a"]) == -float64_of(add.b, inputs["b"])) & ~both
            plus = ~np.signbit(float64_of(add.a, inputs["a"])) & ~np.signbit(float64_of(add.b, inputs["b"]))
            exact = np.where(opposite & (exact == 0) & ~plus, -0.0, exact)
        want = gfloat.round_ndarray(gfloat_format(add.result), exact, GFLOAT_MODES[rounding],
                                    sat=overflow is OverflowPolicy.SATURATE)
    assert_values(add.result, inputs, add.evaluate(inputs)["o"], want)


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "float8_e4m3", "float8_e3m4", "float8_e4m3fnuz",
                                  "float8_e4m3b11fnuz", "float6_e2m3fn", "float4_e2m1fn"])
@pytest.mark.parametrize("subtract", [False, True])
def test_every_pair_adds_as_in_ml_dtypes(name, subtract):
    """ml_dtypes adds in float32, where these sums are exact but for those of e5m2 and e4m3b11, and rounds once more."""
    fmt = parse(name)
    add = addition(name, overflow=OverflowPolicy.SATURATE if fmt.nan_code is None else INF, subtract=subtract)
    inputs = all_inputs(add)
    x, y = (codes.astype(np.uint8).view(getattr(ml_dtypes, name)) for codes in inputs.values())
    with np.errstate(all="ignore"):
        want = (x - y if subtract else x + y).astype(np.float64)
    assert_values(fmt, inputs, add.evaluate(inputs)["o"], want)


def test_float16_sums_are_numpy_s():
    add = addition("float16", overflow=INF)
    inputs = some_inputs(add, 20_000, 3)
    x, y = (codes.astype(np.uint16).view(np.float16) for codes in inputs.values())
    with np.errstate(all="ignore"):
        want = x + y
    assert_values(add.result, inputs, add.evaluate(inputs)["o"], want.astype(np.float64))
    assert np.isnan(want).sum() > 100
    assert np.isinf(want).sum() > 100
    assert (want == 0).sum() > 100


def test_bfloat16_sums_are_those_of_gfloat_where_float64_is_exact():
    add = addition("bfloat16", overflow=INF)
    inputs = some_inputs(add, 20_000, 4)
    with np.errstate(invalid="ignore"):
        x, y = (codes.astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float64) for codes in inputs.values())
    near = np.abs(np.frexp(x)[1] - np.frexp(y)[1]) < 40  # 8 significant bits each: exact in float64
    near &= np.isfinite(x) & np.isfinite(y)
    assert near.sum() > 10_000
    want = gfloat.round_ndarray(gfloat_format(add.result), x[near] + y[near], gfloat.RoundMode.TiesToEven, sat=False)
    assert_values(add.result, {name: codes[near] for name, codes in inputs.items()},
                  add.evaluate(inputs)["o"][near], want)


@pytest.mark.parametrize("theirs", ["TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV"])
@pytest.mark.parametrize("overflow", [OverflowPolicy.WRAP, OverflowPolicy.SATURATE])
@pytest.mark.parametrize("subtract", [False, True])
def test_every_fixed_point_pair_is_that_of_apytypes(theirs, overflow, subtract):
    modes = {"TRN": RoundingMode.DOWN, "TRN_ZERO": RoundingMode.TOWARD_ZERO, "RND": RoundingMode.NEAREST_UP,
             "RND_ZERO": RoundingMode.NEAREST_ZERO, "RND_INF": RoundingMode.NEAREST_AWAY,
             "RND_MIN_INF": RoundingMode.NEAREST_DOWN, "RND_CONV": RoundingMode.NEAREST_EVEN}
    add = addition("fixed<6,2>", "fixed<5,4>", "fixed<5,1>", rounding=modes[theirs], overflow=overflow,
                   subtract=subtract)
    inputs = all_inputs(add)
    x = apytypes.APyFixedArray(inputs["a"].tolist(), int_bits=4, frac_bits=2)
    y = apytypes.APyFixedArray(inputs["b"].tolist(), int_bits=1, frac_bits=4)
    mode = apytypes.OverflowMode.WRAP if overflow is OverflowPolicy.WRAP else apytypes.OverflowMode.SAT
    want = (x - y if subtract else x + y).cast(
        int_bits=4, frac_bits=1, quantization=apytypes.QuantizationMode[theirs], overflow=mode).to_bits()
    assert add.evaluate(inputs)["o"].tolist() == [int(code) for code in want]


@pytest.mark.parametrize(("a", "b", "want"), [
    (Special.NAN, Fraction(1), Special.NAN), (Special.NAN, Special.POSITIVE_INFINITY, Special.NAN),
    (Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY, Special.NAN),
    (Special.POSITIVE_INFINITY, Special.POSITIVE_INFINITY, Special.POSITIVE_INFINITY),
    (Special.NEGATIVE_INFINITY, Fraction(9), Special.NEGATIVE_INFINITY),
    (Special.NEGATIVE_INFINITY, Special.NEGATIVE_ZERO, Special.NEGATIVE_INFINITY),
    (Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO), (Fraction(0), Fraction(0), Fraction(0)),
    (Special.NEGATIVE_ZERO, Fraction(0), Fraction(0)), (Fraction(3), Fraction(-3), Fraction(0)),
    (Special.NEGATIVE_ZERO, Fraction(-3), Fraction(-3)), (Fraction(1, 3), Fraction(1, 7), Fraction(10, 21)),
])
def test_sums_follow_ieee_754_for_specials_and_signs(a, b, want):
    for got in (total(a, b, RoundingMode.NEAREST_EVEN), total(b, a, RoundingMode.NEAREST_EVEN)):
        assert got == want
        assert type(got) is type(want)
    with np.errstate(invalid="ignore"):
        theirs = np.float64(as_float(a)) + np.float64(as_float(b))
    assert value_of(float(theirs)) == want or isinstance(want, Fraction)


@pytest.mark.parametrize(("a", "b", "want"), [
    (Fraction(3), Fraction(-3), Special.NEGATIVE_ZERO), (Special.NEGATIVE_ZERO, Fraction(0), Special.NEGATIVE_ZERO),
    (Fraction(0), Fraction(0), Fraction(0)), (Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO),
])
def test_rounding_down_makes_the_zero_of_a_difference_negative(a, b, want):
    for rounding in RoundingMode:
        got = total(a, b, rounding)
        assert (got is Special.NEGATIVE_ZERO) == (
            want is Special.NEGATIVE_ZERO and (rounding is RoundingMode.DOWN or a == b))


@pytest.mark.parametrize(("value", "want"), [
    (Fraction(0), Special.NEGATIVE_ZERO), (Special.NEGATIVE_ZERO, Fraction(0)), (Fraction(-2), Fraction(2)),
    (Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY), (Special.NEGATIVE_INFINITY, Special.POSITIVE_INFINITY),
    (Special.NAN, Special.NAN),
])
def test_negated(value, want):
    assert negated(value) == want
    assert type(negated(value)) is type(want)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("name", ["e2m1", "p3109_k4p2se", "radix4_fp4_even", "posit<4,1>", "ufixed<3,1>", "int3",
                                  "e2m1:subnormals=flushed", "e2m1:subnormals=absent"])
def test_vectorised_is_the_definition_on_every_pair_in_every_mode(name, subtract):
    fmt = parse(name)
    for add in in_all_modes(lambda a, b, result, **fields: Addition(a=a, b=b, result=result, **fields), fmt, fmt, fmt,
                            subtract=subtract):
        assert_scalar_agrees(add, all_inputs(add))


@pytest.mark.parametrize(("formats", "fields"), [
    (("float16",), {}), (("bfloat16",), {"rounding": RoundingMode.TO_ODD}), (("bfloat16", "float16", "int8"), {}),
    (("bfloat16", "bfloat16", "fixed<16,8>"), {"overflow": OverflowPolicy.WRAP}), (("int16", "e8m0", "float16"), {}),
    (("fixed<64,3>",), {"overflow": OverflowPolicy.WRAP}), (("fixed<60,3>", "bfloat16", "bfloat16"), {}),
    (("bfloat16", "tf32", "bfloat16"), {"rounding": RoundingMode.STOCHASTIC, "random_bits": 7}),
    (("tf32", "tf32", "tf32"), {"rounding": RoundingMode.STOCHASTIC, "random_bits": 64, "subtract": True}),
    (("posit<16,1>", "bfloat16", "posit<16,2>"), {"rounding": RoundingMode.DOWN}),
])
def test_vectorised_is_the_definition_on_wide_formats(formats, fields):
    add = addition(*formats, **fields)
    assert_scalar_agrees(add, some_inputs(add, 150, 5))


def test_every_small_catalog_format_adds_to_itself_as_the_definition_says():
    for entry in SMALL:
        add = addition(entry.name)
        assert_scalar_agrees(add, some_inputs(add, 12, 6))


def test_ports_and_codes():
    add = addition("e4m3", "int4", "e5m2", rounding=RoundingMode.STOCHASTIC, random_bits=3)
    assert {name: port.width for name, port in add.inputs.items()} == {"a": 8, "b": 4, "random": 3}
    assert add.inputs["b"].format == parse("int4")
    assert {name: port.format for name, port in add.outputs.items()} == {"o": parse("e5m2")}
    a, b, random = np.full((2, 3), 0x41), np.full((2, 3), 3), np.arange(6).reshape(2, 3)
    assert add.codes(a, b, random).shape == (2, 3)
    assert add.codes(a, b, random).ravel().tolist() == [add(0x41, 3, bits) for bits in range(6)]


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, not 'e4m3'; write sw.formats.parse('e4m3')"),
    ({"b": 8}, TypeError, "Format b must be a scalar format, not 8; sw.formats.parse gives one"),
    ({"result": None}, TypeError, "Result format must be a scalar format, not None"),
    ({"subtract": 1}, TypeError, "Subtract must be True or False, not 1"),
    ({"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Addition(**{"a": parse("e4m3"), "b": parse("e4m3"), "result": parse("e4m3"), **fields})


def test_codes_wrong():
    add = addition("e4m3", rounding=RoundingMode.STOCHASTIC, random_bits=2)
    one = np.array([1])
    with pytest.raises(ValueError, match="Random bits must be given for stochastic rounding, not None"):
        add.codes(one, one)
    with pytest.raises(ValueError, match=re.escape("Input b must have the shape of input a, (1,), not (2,)")):
        add.codes(one, np.array([1, 2]), one)
    with pytest.raises(ValueError, match="Input a must be between 0 and 255, not 256 to 256"):
        add.codes(np.array([256]), one, one)
    with pytest.raises(ValueError, match="Inputs must be a, b, random, not a, b"):
        add.evaluate({"a": one, "b": one})
