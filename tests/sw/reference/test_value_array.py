"""Arrays of exact values against rationals, one by one."""

from fractions import Fraction

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, Special, parse
from sw.reference import negated, product, total
from sw.reference.encode_array import encode_array
from sw.reference.value_array import (
    SIGNIFICAND_BITS,
    add_arrays,
    bit_length,
    compacted,
    decode_array,
    from_integers,
    from_values,
    multiply_arrays,
    negated_array,
    to_integers,
)
from tests.support.functions import SMALL
from tests.support.multipliers import corners

SPECIALS = list(Special)
WIDE = ("float16", "bfloat16", "tf32", "dlfloat16", "float32_e8m23", "float16:exponent_bits=11,fraction_bits=52",
        "fixed<24,3>", "ufixed<40,-3>", "fixed<64,70>", "uint64", "posit<16,1>", "float18_e5m12fnuz",
        "float24_e8m15:subnormals=flushed", "float24_e8m15:subnormals=absent,specials=fn")


def values_of(array):
    """Return an array's values as the definitions have them."""
    return [array.value(index) for index in range(len(array))]


def same(got, want):
    """Whether values are equal, the sign of zero and the kind included."""
    return got == want and type(got) is type(want)


def numbers(seed, count, bits, spread):
    """Return random dyadic rationals and every special value."""
    rng = np.random.default_rng(seed)
    significands = rng.integers(0, 1 << 62, count) >> rng.integers(62 - bits, 62, count)
    return [Fraction(int(sign * significand)) * Fraction(2) ** int(exponent) for sign, significand, exponent in zip(
        rng.choice([-1, 1], count), significands, rng.integers(-spread, spread + 1, count), strict=True)] + SPECIALS


@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
def test_every_code_of_a_small_format_decodes_as_defined(entry):
    fmt = entry.format
    got = values_of(decode_array(fmt, np.arange(1 << fmt.width)))
    assert all(same(value, fmt.decode(code)) for code, value in enumerate(got))


@pytest.mark.parametrize("name", WIDE)
def test_codes_of_wide_formats_decode_as_defined(name):
    fmt = parse(name)
    rng = np.random.default_rng(1)
    codes = np.array([*corners(min(fmt.width, 62)).tolist(), *rng.integers(0, 1 << min(fmt.width, 62), 300).tolist(),
                      (1 << fmt.width) - 1, 1 << (fmt.width - 1)], dtype=np.uint64)
    array = decode_array(fmt, codes)
    for index, code in enumerate(codes.tolist()):
        assert same(array.value(index), fmt.decode(code)), hex(code)


def test_values_come_back():
    values = [*numbers(2, 50, 50, 400), Fraction(0), Fraction(3 << 200), Fraction((1 << 90) + 1, 8)]
    array = from_values(values)
    assert all(map(same, values_of(array), values))
    assert array.zero.tolist() == [value == 0 or value is Special.NEGATIVE_ZERO for value in values]
    assert all(map(same, values_of(array[10:20]), values[10:20]))
    assert len(from_values([])) == 0


def test_integers_come_back():
    integers = np.array([0, 5, -7, (1 << 57) - 1, -(1 << 57)])
    array = from_integers(integers, -3)
    assert values_of(array) == [Fraction(int(integer), 8) for integer in integers]
    assert to_integers(array, -3).tolist() == integers.tolist()
    assert to_integers(array, -8).tolist() == (integers.astype(object) * 32).tolist()
    wide = np.array([1 << 100, -(1 << 61)], dtype=object)
    assert to_integers(from_integers(wide, 4), 0).tolist() == (wide * 16).tolist()
    assert to_integers(from_integers(np.array([16, -48]), 0), 4).tolist() == [1, -3]
    with pytest.raises(AssertionError, match="a value lies between two integers"):
        to_integers(from_integers(np.array([3]), 0), 1)


def test_bit_length_is_that_of_python():
    values = sorted({max(0, (1 << place) + step) for place in range(63) for step in (-1, 0, 1)})
    assert bit_length(np.array(values)).tolist() == [value.bit_length() for value in values]


@pytest.mark.parametrize(("bits", "spread"), [(10, 5), (28, 300), (50, 40)])
def test_products_are_exact(bits, spread):
    x, y = numbers(3, 120, bits, spread), numbers(4, 120, bits, spread)[::-1]
    got = multiply_arrays(from_values(x), from_values(y))
    assert not got.jammed
    assert all(map(same, values_of(got), map(product, x, y)))


@pytest.mark.parametrize("rounding", [RoundingMode.NEAREST_EVEN, RoundingMode.DOWN])
@pytest.mark.parametrize(("bits", "spread", "exact"), [(10, 5, False), (30, 10, False), (30, 300, True),
                                                       (60, 9, False)])
def test_sums_are_exact_where_nothing_has_to_go(bits, spread, exact, rounding):
    x, y = numbers(5, 150, bits, spread), numbers(6, 150, bits, spread)[::-1]
    x += [Fraction(3), Fraction(0), Special.NEGATIVE_ZERO]
    y += [Fraction(-3), Fraction(0), Special.NEGATIVE_ZERO]
    got = add_arrays(from_values(x), from_values(y), toward_negative=rounding is RoundingMode.DOWN, exact=exact)
    assert not got.jammed
    want = [total(a, b, rounding) for a, b in zip(x, y, strict=True)]
    assert all(map(same, values_of(got), want))


@pytest.mark.parametrize("rounding", [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC])
def test_jammed_sums_round_as_the_exact_ones(rounding):
    """To the last precision for which two bits remain below, cancellations of neighbouring binades included."""
    x, y = numbers(7, 400, 58, 70), numbers(8, 400, 58, 70)[::-1]
    x += [Fraction(1 << 57), Fraction((1 << 58) - 1), Fraction(1)]
    y += [Fraction(-1, 4) - Fraction(1, 1 << 30), Fraction(1, 1 << 80), Fraction(-1, 1 << 90)]
    got = add_arrays(from_values(x), from_values(y), toward_negative=rounding is RoundingMode.DOWN)
    assert got.jammed
    fmt = parse("float16:exponent_bits=11,fraction_bits=52,bias=1023")
    codes = encode_array(fmt, got, rounding=rounding, overflow=OverflowPolicy.INFINITY, random=None, random_bits=0)
    want = [fmt.encode(total(a, b, rounding), rounding=rounding, overflow=OverflowPolicy.INFINITY)
            for a, b in zip(x, y, strict=True)]
    assert codes.tolist() == want


def test_compacted_values_are_jammed():
    integers = [(1 << 100) + 1, -(3 << 90), 5, (1 << 58) - 1]
    got = compacted(from_integers(np.array(integers, dtype=object), 0))
    assert got.jammed
    assert got.significand.dtype == np.int64
    assert int(got.significand.max()).bit_length() <= SIGNIFICAND_BITS
    first, *others = values_of(got)
    assert others == integers[1:]
    assert abs(first - integers[0]) < 1 << 44
    assert got.significand[0] & 1
    narrow = from_integers(np.array([3]), 0)
    assert compacted(narrow) is narrow


def test_negation():
    values = [*numbers(9, 20, 10, 5), Fraction(0)]
    assert all(map(same, values_of(negated_array(from_values(values))), map(negated, values)))
