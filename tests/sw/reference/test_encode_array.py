"""Rounding of arrays against the definition of every family, one value after the other."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RandomBits, RoundingMode, Special, parse
from sw.reference.encode_array import encode_array
from sw.reference.value_array import from_integers, from_values
from tests.support.functions import SMALL, policies

MODES = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]
TINY = Fraction(1, 1 << 70)


def around(fmt, limit=24):
    """Return values at, beside and between neighbours of a format, beyond both ends, tiny, huge and special."""
    codes = range(1 << fmt.width)
    if 1 << fmt.width > limit:
        rng = np.random.default_rng(fmt.width)
        ends = [0, 1, 2, fmt.max_code - 1, fmt.max_code] if hasattr(fmt, "max_code") else [0, 1, fmt.max_integer]
        codes = sorted({*ends, *rng.integers(0, 1 << min(fmt.width, 62), limit - 5).tolist()})
    values = sorted({value for value in map(fmt.decode, codes) if isinstance(value, Fraction)})
    top = max(abs(values[0]), abs(values[-1]))
    values += [2 * top, -2 * top, top * (1 + TINY), 3 * top / 2, top * (1 << 80), top * (1 << 40000), Fraction(0)]
    steps = [low + (high - low) * part for low, high in itertools.pairwise(values)
             for part in (Fraction(1, 2), Fraction(1, 4), Fraction(1, 2) + Fraction(1, 1 << 40), Fraction(1, 1 << 45))]
    return values + steps + [-value for value in values] + [TINY, -TINY, Fraction(1, 1 << 40000)] + list(Special)


def assert_encoded(fmt, values, mode, policy, random=None, random_bits=0):
    got = encode_array(fmt, from_values(values), rounding=mode, overflow=policy, random=random,
                       random_bits=random_bits).tolist()
    draws = [RandomBits(value=int(bits), count=random_bits) for bits in random] if random_bits else [None] * len(values)
    wrong = [(value, code, want) for value, code, bits in zip(values, got, draws, strict=True)
             if code != (want := fmt.encode(value, rounding=mode, overflow=policy, random=bits))]
    assert not wrong, f"{fmt.name} {mode} {policy}: {len(wrong)} of {len(values)} differ: {wrong[:4]}"


@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
def test_small_formats_in_every_mode(entry):
    values = around(entry.format)
    for mode in MODES:
        for policy in policies(entry.format):
            assert_encoded(entry.format, values, mode, policy)


@pytest.mark.parametrize("name", [
    "float16", "bfloat16", "float32_e8m23", "float16:exponent_bits=11,fraction_bits=52", "fixed<24,3>", "fixed<58,30>",
    "float16:exponent_bits=15,fraction_bits=30", "float16:exponent_bits=14,fraction_bits=40,subnormals=absent",
    "fixed<64,3>", "uint64", "ufixed<20,-5>", "posit<16,2>", "float24_e8m15:subnormals=flushed",
])
def test_wide_formats_in_every_mode(name):
    fmt = parse(name)
    values = around(fmt, 12)
    for mode in MODES:
        for policy in policies(fmt):
            assert_encoded(fmt, values, mode, policy)


@pytest.mark.parametrize("count", [1, 3, 24, 25, 64])
@pytest.mark.parametrize("name", ["e4m3", "float16", "fixed<8,4>", "ufixed<5,6>", "posit<8,1>", "radix4_fp4_odd",
                                  "e3m2:subnormals=flushed"])
def test_stochastic_rounding_takes_its_random_bits(name, count):
    fmt = parse(name)
    values = around(fmt, 12)
    random = np.random.default_rng(count).integers(0, 1 << 64, len(values), dtype=np.uint64) >> np.uint64(64 - count)
    for policy in policies(fmt):
        assert_encoded(fmt, values, RoundingMode.STOCHASTIC, policy, random, count)


def test_a_value_far_below_the_last_place_rarely_rounds_up():
    """Its fraction is 2**-62 here, which a shift that stops at 60 places would quadruple."""
    for name, value in (("uint5", Fraction(1, 16)), ("int5", Fraction(-1, 16)), ("e2m1", Fraction(1, 64))):
        fmt = parse(name)
        values = from_integers(np.array([value.numerator << 57]), -57 - value.denominator.bit_length() + 1)
        for bits in range(8):
            got = encode_array(fmt, values, rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.SATURATE,
                               random=np.array([bits], dtype=np.uint64), random_bits=3)
            assert got.tolist() == [fmt.encode(value, rounding=RoundingMode.STOCHASTIC,
                                               random=RandomBits(value=bits, count=3))], (name, bits)


def test_nothing_encodes_to_nothing():
    assert encode_array(parse("e4m3"), from_values([]), rounding=RoundingMode.UP, overflow=OverflowPolicy.SATURATE,
                        random=None, random_bits=0).tolist() == []


def test_wrong_arguments_are_refused():
    values = from_values([Fraction(1)])
    with pytest.raises(ValueError, match="Random bits must be given for stochastic rounding, not None"):
        encode_array(parse("e4m3"), values, rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.SATURATE,
                     random=None, random_bits=3)
    with pytest.raises(ValueError, match="Overflow policy must be saturate or infinity for float8_e4m3fn"):
        encode_array(parse("e4m3"), values, rounding=RoundingMode.UP, overflow=OverflowPolicy.WRAP, random=None,
                     random_bits=0)


@pytest.mark.parametrize("name", ["posit<3,0>", "posit<5,2>", "posit<6,3>", "posit<8,0>", "posit<8,1>", "posit<8,2>",
                                  "posit<8,3>", "posit<12,1>", "posit<16,0>", "posit<16,3>"])
def test_posits_of_every_size_in_every_mode(name):
    fmt = parse(name)
    values = around(fmt, 40)
    for mode in MODES:
        assert_encoded(fmt, values, mode, OverflowPolicy.SATURATE)
    rng = np.random.default_rng(1)
    for bits in (1, 7, 24, 30):  # beyond 24 the definition is asked, one value after the other
        random = rng.integers(0, 1 << bits, len(values), dtype=np.uint64)
        assert_encoded(fmt, values, RoundingMode.STOCHASTIC, OverflowPolicy.SATURATE, random, bits)
