"""Exact multiplication against float64 products rounded by gfloat, ml_dtypes, numpy and apytypes."""

import math
import re
from fractions import Fraction

import apytypes
import gfloat
import ml_dtypes
import numpy as np
import pytest

from sw.formats import OverflowPolicy, RandomBits, RoundingMode, Special, as_float, parse
from sw.reference import Multiplication, product
from tests.support.number_formats import gfloat_format, show, value_of
from tests.support.sampling import sampled

INF = OverflowPolicy.INFINITY


def _pairs(a, b):
    codes_a, codes_b = np.divmod(np.arange(1 << (a.width + b.width)), 1 << b.width)
    return codes_a, codes_b


def _float64(fmt, codes):
    table = np.array([as_float(fmt.decode(code)) for code in range(1 << fmt.width)])
    return table[codes]


def _product(a, b, codes_a, codes_b):
    """Products as float64, exact for operands of up to 26 significant bits within its exponents."""
    with np.errstate(invalid="ignore"):
        return _float64(a, codes_a) * _float64(b, codes_b)


@sampled(("a", "b", "result", "rounding", "overflow"), [
    ("e4m3", "e4m3", "e4m3", "TiesToEven", OverflowPolicy.SATURATE),
    ("e4m3", "e4m3", "e4m3", "TiesToEven", INF), ("e4m3", "e4m3", "e4m3", "TowardZero", INF),
    ("e4m3", "e4m3", "e4m3", "TowardPositive", INF), ("e4m3", "e4m3", "e4m3", "TiesToAway", OverflowPolicy.SATURATE),
    ("e5m2", "e5m2", "e5m2", "TiesToEven", INF), ("e5m2", "e5m2", "e5m2", "TowardNegative", OverflowPolicy.SATURATE),
    ("float8_e4m3", "float8_e4m3", "float8_e4m3", "TiesToEven", INF),
    ("float8_e4m3fnuz", "float8_e4m3fnuz", "float8_e4m3fnuz", "TiesToEven", INF),
    ("p3109_k8p4se", "p3109_k8p4se", "p3109_k8p4se", "TiesToEven", INF),
    ("e2m1", "e2m1", "e2m1", "TiesToEven", OverflowPolicy.SATURATE), ("e3m2", "e3m2", "e4m3", "TiesToEven", INF),
    ("e3m2", "e2m3", "float16", "TiesToEven", INF), ("e4m3", "e5m2", "bfloat16", "TiesToEven", INF),
    ("e4m3", "int4", "e4m3", "TiesToEven", OverflowPolicy.SATURATE), ("int8", "uint4", "e5m2", "TiesToEven", INF),
    ("e8m0", "e2m1", "bfloat16", "TiesToEven", INF), ("radix4_fp4_even", "e5m2", "e3m4", "TowardZero", INF),
], 9)
def test_every_pair_rounds_as_the_float64_product_in_gfloat(a, b, result, rounding, overflow):
    a, b, result = parse(a), parse(b), parse(result)
    ours = {"TiesToEven": RoundingMode.NEAREST_EVEN, "TowardZero": RoundingMode.TOWARD_ZERO,
            "TowardPositive": RoundingMode.UP, "TowardNegative": RoundingMode.DOWN,
            "TiesToAway": RoundingMode.NEAREST_AWAY}[rounding]
    codes_a, codes_b = _pairs(a, b)
    got = Multiplication(a=a, b=b, result=result, rounding=ours, overflow=overflow).codes(codes_a, codes_b)
    exact = _product(a, b, codes_a, codes_b)
    usable = ~np.isnan(exact) if result.nan_code is None else np.ones(len(exact), dtype=bool)
    with np.errstate(invalid="ignore"):
        want = gfloat.round_ndarray(gfloat_format(result), exact[usable], gfloat.RoundMode[rounding],
                                    sat=overflow is OverflowPolicy.SATURATE)
    wrong = [((hex(x), hex(y)), result.decode(code), number)
             for x, y, code, number in zip(codes_a[usable].tolist(), codes_b[usable].tolist(),
                                           got[usable].tolist(), want.tolist(), strict=True)
             if result.decode(code) != value_of(number)]
    assert not wrong, show(wrong, len(exact))


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "float8_e4m3", "float8_e3m4", "float8_e4m3fnuz",
                                  "float8_e4m3b11fnuz", "float6_e2m3fn", "float4_e2m1fn"])
def test_every_pair_multiplies_as_in_ml_dtypes(name):
    """ml_dtypes multiplies in float32, where these products are exact, and rounds once."""
    fmt = parse(name)
    codes_a, codes_b = _pairs(fmt, fmt)
    overflow = OverflowPolicy.SATURATE if fmt.nan_code is None else INF
    got = Multiplication(a=fmt, b=fmt, result=fmt, overflow=overflow).codes(codes_a, codes_b)
    dtype = getattr(ml_dtypes, name)
    with np.errstate(all="ignore"):
        want = (codes_a.astype(np.uint8).view(dtype) * codes_b.astype(np.uint8).view(dtype)).astype(np.float64)
    wrong = [((hex(x), hex(y)), fmt.decode(code), number)
             for x, y, code, number in zip(codes_a.tolist(), codes_b.tolist(), got.tolist(), want.tolist(), strict=True)
             if fmt.decode(code) != value_of(number)]
    assert not wrong, show(wrong, len(want))


def test_random_float16_products_are_numpy_s():
    fmt = parse("float16")
    generator = np.random.default_rng(3)
    codes_a, codes_b = generator.integers(0, 1 << 16, (2, 20_000), dtype=np.uint16)
    got = Multiplication(a=fmt, b=fmt, result=fmt, overflow=INF).codes(codes_a, codes_b)
    with np.errstate(all="ignore"):
        exact = codes_a.view(np.float16).astype(np.float64) * codes_b.view(np.float16).astype(np.float64)
        want = exact.astype(np.float16)  # one rounding: 22 significant bits fit float64
    codes = want.view(np.uint16)
    wrong = [((hex(x), hex(y)), hex(code), hex(other)) for x, y, code, other, number
             in zip(codes_a.tolist(), codes_b.tolist(), got.tolist(), codes.tolist(), want.tolist(), strict=True)
             if (code != other and not math.isnan(number)) or (math.isnan(number) and code != fmt.nan_code)]
    assert not wrong, show(wrong, len(want))
    assert np.isnan(want).sum() > 100
    assert np.isinf(want).sum() > 1000


@pytest.mark.parametrize("theirs", ["TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV"])
@pytest.mark.parametrize("overflow", [OverflowPolicy.WRAP, OverflowPolicy.SATURATE])
def test_every_fixed_point_pair_is_that_of_apytypes(theirs, overflow):
    modes = {"TRN": RoundingMode.DOWN, "TRN_ZERO": RoundingMode.TOWARD_ZERO, "RND": RoundingMode.NEAREST_UP,
             "RND_ZERO": RoundingMode.NEAREST_ZERO, "RND_INF": RoundingMode.NEAREST_AWAY,
             "RND_MIN_INF": RoundingMode.NEAREST_DOWN, "RND_CONV": RoundingMode.NEAREST_EVEN}
    a, b, result = parse("fixed<6,2>"), parse("fixed<5,4>"), parse("fixed<6,3>")
    codes_a, codes_b = _pairs(a, b)
    got = Multiplication(a=a, b=b, result=result, rounding=modes[theirs], overflow=overflow).codes(codes_a, codes_b)
    exact = (apytypes.APyFixedArray(codes_a.tolist(), int_bits=4, frac_bits=2)
             * apytypes.APyFixedArray(codes_b.tolist(), int_bits=1, frac_bits=4))
    mode = apytypes.OverflowMode.WRAP if overflow is OverflowPolicy.WRAP else apytypes.OverflowMode.SAT
    want = exact.cast(int_bits=3, frac_bits=3, quantization=apytypes.QuantizationMode[theirs], overflow=mode).to_bits()
    assert got.tolist() == [int(code) for code in want]


@pytest.mark.parametrize(("a", "b", "want"), [
    (Special.NAN, Fraction(1), Special.NAN), (Fraction(0), Special.NAN, Special.NAN),
    (Special.NAN, Special.POSITIVE_INFINITY, Special.NAN), (Special.POSITIVE_INFINITY, Fraction(0), Special.NAN),
    (Special.NEGATIVE_ZERO, Special.NEGATIVE_INFINITY, Special.NAN),
    (Special.POSITIVE_INFINITY, Fraction(-2), Special.NEGATIVE_INFINITY),
    (Special.NEGATIVE_INFINITY, Fraction(-2), Special.POSITIVE_INFINITY),
    (Special.NEGATIVE_INFINITY, Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY),
    (Special.NEGATIVE_ZERO, Fraction(3), Special.NEGATIVE_ZERO), (Special.NEGATIVE_ZERO, Fraction(-3), Fraction(0)),
    (Fraction(0), Fraction(-3), Special.NEGATIVE_ZERO), (Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO, Fraction(0)),
    (Fraction(0), Special.NEGATIVE_ZERO, Special.NEGATIVE_ZERO), (Fraction(1, 3), Fraction(-3, 7), Fraction(-1, 7)),
])
def test_products_follow_ieee_754_for_specials_and_signs(a, b, want):
    for got in (product(a, b), product(b, a)):
        assert got == want
        assert type(got) is type(want)
    with np.errstate(invalid="ignore"):
        theirs = np.float64(as_float(a)) * np.float64(as_float(b))
    assert value_of(float(theirs)) == want or isinstance(want, Fraction)


def test_zero_results_keep_the_sign_of_an_underflow():
    multiply = Multiplication(a=parse("e5m2"), b=parse("e5m2"), result=parse("e5m2"))
    assert multiply(0x01, 0x81) == 0x80
    assert multiply(0x01, 0x01) == 0x00
    assert Multiplication(a=parse("e5m2"), b=parse("e5m2"), result=parse("e5m2"), rounding=RoundingMode.UP)(1, 1) == 1


def test_nan_and_infinity_become_what_the_result_format_has():
    e5m2, e4m3 = parse("e5m2"), parse("e4m3")
    assert Multiplication(a=e5m2, b=e4m3, result=parse("int8"))(0x7C, 0x38) == 127
    assert Multiplication(a=e5m2, b=e4m3, result=parse("int8"))(0x7D, 0x38) == 0
    assert Multiplication(a=e5m2, b=e4m3, result=e4m3)(0x7C, 0xB8) == 0xFE
    assert Multiplication(a=e5m2, b=e4m3, result=e4m3, overflow=INF)(0x7C, 0xB8) == 0x7F
    assert Multiplication(a=e5m2, b=e4m3, result=parse("e2m1"))(0x7C, 0xB8) == 0xF


@pytest.mark.parametrize(("a", "b", "result", "rounding"), [
    ("e4m3", "int4", "e5m2", RoundingMode.TO_ODD), ("e3m2", "e4m3", "fixed<8,4>", RoundingMode.NEAREST_ZERO),
    ("radix4_fp4_odd", "e3m2", "radix4_fp4_even", RoundingMode.NEAREST_DOWN),
    ("ufixed<7,5>", "e2m1", "dlfloat8", RoundingMode.UP),
])
def test_codes_is_the_scalar_call_on_each_pair(a, b, result, rounding):
    multiply = Multiplication(a=parse(a), b=parse(b), result=parse(result), rounding=rounding)
    codes_a, codes_b = _pairs(multiply.a, multiply.b)
    want = [multiply(x, y) for x, y in zip(codes_a.tolist(), codes_b.tolist(), strict=True)]
    assert multiply.codes(codes_a, codes_b).tolist() == want
    shape = (1 << multiply.a.width, 1 << multiply.b.width)
    table = multiply.codes(codes_a.reshape(shape).astype(np.uint16), codes_b.reshape(shape))
    assert table.shape == shape
    assert table.dtype == np.uint64
    assert table.ravel().tolist() == want


def test_ports():
    multiply = Multiplication(a=parse("e4m3"), b=parse("int4"), result=parse("e5m2"), rounding=RoundingMode.STOCHASTIC,
                              random_bits=3)
    assert {name: (port.width, port.format) for name, port in multiply.inputs.items()} == {
        "a": (8, parse("e4m3")), "b": (4, parse("int4")), "random": (3, None)}
    assert {name: port.format for name, port in multiply.outputs.items()} == {"o": parse("e5m2")}
    inputs = {"a": np.array([0x41, 2]), "b": np.array([3, 15]), "random": np.array([7, 0])}
    assert multiply.evaluate(inputs)["o"].tolist() == [multiply(0x41, 3, 7), multiply(2, 15, 0)]


def test_codes_of_nothing_is_nothing():
    multiply = Multiplication(a=parse("e4m3"), b=parse("e4m3"), result=parse("e4m3"))
    assert multiply.codes(np.zeros((0, 3), dtype=np.uint8), np.zeros((0, 3), dtype=np.uint8)).shape == (0, 3)


@pytest.mark.parametrize("count", [1, 5, 64])
def test_stochastic_products_round_by_their_random_bits(count):
    e4m3 = parse("e4m3")
    multiply = Multiplication(a=e4m3, b=e4m3, result=e4m3, rounding=RoundingMode.STOCHASTIC, random_bits=count)
    generator = np.random.default_rng(5)
    codes_a, codes_b = generator.integers(0, 256, (2, 4000), dtype=np.uint8)
    random = generator.integers(0, 1 << count, 4000, dtype=np.uint64, endpoint=False) if count < 64 else (
        generator.integers(0, 1 << 63, 4000, dtype=np.uint64) * 2 + 1)
    got = multiply.codes(codes_a, codes_b, random)
    wrong = []
    for x, y, bits, code in zip(codes_a.tolist(), codes_b.tolist(), random.tolist(), got.tolist(), strict=True):
        want = e4m3.encode(product(e4m3.decode(x), e4m3.decode(y)), rounding=RoundingMode.STOCHASTIC,
                           random=RandomBits(value=bits, count=count))
        if code != want or multiply(x, y, bits) != want:
            wrong.append(((x, y, bits), code, want))
    assert not wrong, show(wrong, len(got))


def test_stochastic_products_are_those_of_gfloat():
    """gfloat's StochasticFastest is P3109's StochasticA."""
    fmt, count = parse("e5m2"), 4
    generator = np.random.default_rng(6)
    codes_a, codes_b = generator.integers(0, 256, (2, 5000), dtype=np.uint8)
    random = generator.integers(0, 1 << count, 5000)
    multiply = Multiplication(a=fmt, b=fmt, result=fmt, rounding=RoundingMode.STOCHASTIC, random_bits=count,
                              overflow=INF)
    got = multiply.codes(codes_a, codes_b, random)
    exact = _product(fmt, fmt, codes_a, codes_b)
    wrong = []
    for number, bits, code in zip(exact.tolist(), random.tolist(), got.tolist(), strict=True):
        want = gfloat.round_float(gfloat_format(fmt), number, gfloat.RoundMode.StochasticFastest,
                                  srbits=bits, srnumbits=count)
        if fmt.decode(code) != value_of(want):
            wrong.append(((number, bits), fmt.decode(code), want))
    assert not wrong, show(wrong, len(exact))


def test_random_bits_are_ignored_where_rounding_is_not_stochastic():
    multiply = Multiplication(a=parse("e4m3"), b=parse("e4m3"), result=parse("e4m3"))
    assert multiply(0x41, 0x43, 99) == multiply(0x41, 0x43)
    codes = np.array([0x41])
    assert multiply.codes(codes, codes, np.array([99])).tolist() == multiply.codes(codes, codes).tolist()


def test_equal_multiplications_are_equal_and_hashable():
    a, b = (Multiplication(a=parse("e4m3"), b=parse("int4"), result=parse("e5m2")) for _ in range(2))
    a.codes(np.arange(4), np.arange(4))
    assert a == b
    assert hash(a) == hash(b)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, not 'e4m3'; write sw.formats.parse('e4m3')"),
    ({"b": 8}, TypeError, "Format b must be a scalar format, not 8; sw.formats.parse gives one"),
    ({"result": None}, TypeError, "Result format must be a scalar format, not None"),
    ({"rounding": RoundingMode.STOCHASTIC}, ValueError,
     "Random bit count must be between 1 and 64 for stochastic rounding, not 0"),
    ({"rounding": RoundingMode.STOCHASTIC, "random_bits": 65}, ValueError,
     "Random bit count must be between 1 and 64 for stochastic rounding, not 65"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
    ({"random_bits": 1.5}, TypeError, "Random bit count must be an integer, not 1.5"),
    ({"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError,
     "Overflow policy must be saturate or infinity for float8_e4m3fn, a floating-point format, not 'wrap'"),
    ({"overflow": None}, TypeError, "Overflow policy must be an OverflowPolicy, not None"),
    ({"result": parse("e2m1"), "overflow": INF}, ValueError,
     "Overflow policy must be saturate for float4_e2m1fn, which has neither infinity nor NaN, not 'infinity'"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Multiplication(**{"a": parse("e4m3"), "b": parse("e4m3"), "result": parse("e4m3"), **fields})


def _call(multiply, a, b, *random):
    return multiply.codes(np.asarray(a), np.asarray(b), *map(np.asarray, random))


@pytest.mark.parametrize(("arrays", "error", "message"), [
    (([256], [0]), ValueError, "Input a must be between 0 and 255, not 256 to 256"),
    (([0, 3], [-1, 5]), ValueError, "Input b must be between 0 and 15, not -1 to 5"),
    (([1.0], [0]), TypeError, "Input a must be an array of integers, not of float64"),
    (([1, 2], [0]), ValueError, "Input b must have the shape of input a, (2,), not (1,)"),
    (([1, 2], [0, 0], [1]), ValueError, "Input random must have the shape of input a, (2,), not (1,)"),
    (([1], [0], [16]), ValueError, "Input random must be between 0 and 15, not 16 to 16"),
    (([1], [0], [-1]), ValueError, "Input random must be between 0 and 15, not -1 to -1"),
    (([1], [0], [0.5]), TypeError, "Input random must be an array of integers, not of float64"),
    (([1], [0]), ValueError, "Random bits must be given for stochastic rounding, not None"),
])
def test_codes_wrong(arrays, error, message):
    stochastic = len(arrays) == 3 or "given" in message
    multiply = Multiplication(a=parse("e4m3"), b=parse("int4"), result=parse("e4m3"),
                              rounding=RoundingMode.STOCHASTIC if stochastic else RoundingMode.UP,
                              random_bits=4 if stochastic else 0)
    with pytest.raises(error, match=re.escape(message)):
        _call(multiply, *arrays)


def test_call_wrong():
    multiply = Multiplication(a=parse("e4m3"), b=parse("int4"), result=parse("e4m3"))
    with pytest.raises(ValueError, match="Code must be between 0 and 255 for float8_e4m3fn, not 256"):
        multiply(256, 0)
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for int4, not -1"):
        multiply(0, -1)
    stochastic = Multiplication(a=parse("e4m3"), b=parse("int4"), result=parse("e4m3"),
                                rounding=RoundingMode.STOCHASTIC, random_bits=4)
    with pytest.raises(ValueError, match="Random bits must be between 0 and 15, not 16"):
        stochastic(1, 1, 16)
