# amaranth: UnusedElaboratable=no
"""Integers rounded to codes, exhaustively; special values."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.exact_product import Flags
from hw.convert.from_integer import normalise, round_sum
from sw.formats import RandomBits, RoundingMode, Special, parse
from sw.reference.cast import Cast
from tests.support import gates
from tests.support.functions import policies
from tests.support.sampling import sampled

BITS = 8


class Rounded(wiring.Component):
    """``a * 2**exponent`` as a code; the top bits of ``b`` are random, the lowest three the flags."""

    def __init__(self, cast, exponent, *, infinities=False, nan=False):
        self.cast, self.exponent, self.infinities, self.nan = cast, exponent, infinities, nan
        super().__init__({"a": In(BITS), "b": In(3 + cast.random_bits), "o": Out(cast.result.width)})

    def elaborate(self, platform):
        m = Module()
        flags = Flags(nan=self.b[0] if self.nan else C(0, 1), above=self.b[1] if self.infinities else C(0, 1),
                      below=self.b[2] if self.infinities else C(0, 1))
        m.d.comb += self.o.eq(round_sum(m, self.a.as_signed(), self.exponent, self.cast, flags=flags, cycles=0,
                                        random=self.b[3:] if self.cast.random_bits else None))
        return m

    def want(self, code, random):
        integer = code - (code >> BITS - 1 << BITS)
        bits = RandomBits(value=random, count=self.cast.random_bits) if self.cast.random_bits else None
        return self.cast.result.encode(integer * Fraction(2) ** self.exponent, rounding=self.cast.rounding,
                                       overflow=self.cast.overflow, random=bits)


def check_all_modes(names, exponents, folder):
    """Every integer, every rounding mode and policy."""
    components = []
    for name in names:
        fmt = parse(name)
        for number, (mode, policy) in enumerate((mode, policy) for mode in RoundingMode for policy in policies(fmt)):
            cast = Cast(result=fmt, rounding=mode, overflow=policy,
                        random_bits=2 if mode is RoundingMode.STOCHASTIC else 0)
            components.append(Rounded(cast, exponents[number % len(exponents)]))
    codes = np.arange(1 << BITS)
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        for random in range(1 << component.cast.random_bits):
            got = circuit.run(a=codes, b=np.full(len(codes), random << 3)).tolist()
            want = [component.want(code, random) for code in codes.tolist()]
            wrong = [row for row in zip(codes.tolist(), got, want, strict=True) if row[1] != row[2]]
            assert not wrong, f"{component.cast}, exponent {component.exponent}, random {random}: {wrong[:5]}"


@sampled("names", [
    ("float6_e3m2fn", "float8_e4m3"), ("float4_e3m0fn", "float6_e2m3fn:signed=false", "posit<6,1>"),
    ("float6_e3m2fn:subnormals=flushed", "radix4_fp4_odd", "fixed<5,2>"),
], 1, ids=lambda names: names[0])
def test_every_integer_in_every_mode(names, tmp_path):
    check_all_modes(names, (-4, -7), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("float8_e5m2", "p3109_k6p3se"), ("float8_e8m0fnu", "dlfloat8"),
                                   ("float8_e4m3fnuz",), ("float8_e4m3fn:subnormals=flushed", "posit<5,0>"),
                                   ("int4:narrow_range=true",)],
                         ids=lambda names: names[0])
def test_every_integer_in_every_mode_of_more_formats(names, tmp_path):
    check_all_modes(names, (-4, -1, -7, 3, -12), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float6_e2m3fn", "float16", "posit<8,2>", "dlfloat8",
                                  "float8_e4m3fn:subnormals=flushed", "radix4_fp4_even", "fixed<8,4>", "float4_e2m1fn"])
def test_every_integer_at_every_distance_from_the_format(name, tmp_path):
    check_distances(name, range(-40, 31), tmp_path)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "posit<6,0>", "dlfloat8", "float4_e2m1fn"])
def test_integers_far_beyond_either_end_of_a_format(name, tmp_path):
    check_distances(name, (-60, -25, 6, 11, 18, 40), tmp_path)


def check_distances(name, exponents, tmp_path):
    """Every integer in units of powers of two, near the format's range and far from it."""
    fmt = parse(name)
    casts = [Cast(result=fmt, rounding=mode) for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.UP)]
    components = [Rounded(cast, exponent) for cast in casts for exponent in exponents]
    codes = np.arange(1 << BITS)
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        got = circuit.run(a=codes, b=np.zeros(len(codes), int)).tolist()
        assert got == [component.want(code, 0) for code in codes.tolist()], (component.cast, component.exponent)


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "int8", "posit<6,1>", "float4_e2m1fn"])
def test_special_values_are_as_the_format_says(name, tmp_path):
    fmt = parse(name)
    components = [Rounded(Cast(result=fmt, overflow=policy), -5, infinities=infinities, nan=nan)
                  for policy in policies(fmt) for infinities, nan in ((True, True), (False, True), (True, False))]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        for flags in range(8):
            nan = (flags & 1 and component.nan) or (flags & 6 == 6 and component.infinities and component.nan)
            above, below = (bool(flags & bit) and component.infinities for bit in (2, 4))
            value = Special.NAN if nan else Special.POSITIVE_INFINITY if above else Special.NEGATIVE_INFINITY
            want = (fmt.encode(value, overflow=component.cast.overflow) if nan or above or below
                    else component.want(77, 0))
            if above and below and not component.nan:
                continue  # has no meaning without a NaN
            got, = circuit.run(a=np.array([77]), b=np.array([flags]))
            assert got == want, (component.cast, flags)


class Normalised(wiring.Component):
    """An integer as a normalised number."""

    def __init__(self, precision):
        self.precision = precision
        super().__init__({"a": In(BITS), "o": Out(precision + 6)})

    def elaborate(self, platform):
        m = Module()
        self.number = number = normalise(m, self.a.as_signed(), 0, precision=self.precision)
        m.d.comb += self.o.eq(Cat(number.magnitude, number.exponent, C(0, 4 - len(number.exponent)), number.sign,
                                  number.zero))
        return m


@pytest.mark.parametrize("precision", [2, 5, 14])
def test_normalised_integers_are_jammed(precision, tmp_path):
    component = Normalised(precision)
    circuit, = gates.build([component], tmp_path)
    number = component.number
    codes = np.arange(1 << BITS)
    for code, given in zip(codes.tolist(), circuit.run(a=codes).tolist(), strict=True):
        integer = code - (code >> BITS - 1 << BITS)
        magnitude, exponent = given & (1 << precision) - 1, given >> precision & 15
        sign, zero = given >> precision + 4 & 1, given >> precision + 5
        assert (zero, sign) == (integer == 0, integer < 0)
        if integer:
            places = abs(integer).bit_length() - precision
            kept = abs(integer) << -places if places <= 0 else abs(integer) >> places
            assert magnitude == kept | (places > 0 and kept << places != abs(integer)), integer
            assert exponent + number.scale == places
