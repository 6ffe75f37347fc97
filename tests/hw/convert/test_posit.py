# amaranth: UnusedElaboratable=no
"""Posits in a circuit: every code unpacked, and every small number packed."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import C, Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.convert.align import align
from hw.convert.decode import decode
from hw.convert.encode import encode, round_aligned
from hw.convert.number import Number
from hw.convert.posit import decode_signed_posit
from hw.convert.round import fraction_bits_needed
from sw.formats import OverflowPolicy, RandomBits, RoundingMode, Special, parse
from tests.support import gates
from tests.support.posits import POSITS
from tests.support.sampling import sampled


class Unpacked(wiring.Component):
    """Flags and sign, the exponent in 16 bits, the magnitude."""

    def __init__(self, fmt):
        self._format = fmt
        super().__init__({"a": In(fmt.width), "o": Out(36)})

    def elaborate(self, platform):
        m = Module()
        self.number = number = decode(m, self._format, self.a, normalised=False, name="a")
        exponent = number.exponent + C(0, signed(16))
        m.d.comb += self.o.eq(number.zero | number.nan << 1 | number.sign << 2 | number.infinity << 3
                              | exponent[:16] << 4 | number.magnitude << 20)
        return m


def test_every_code_unpacks_to_its_value(tmp_path):
    formats = [fmt for fmt in POSITS if fmt.width <= 10] + [parse("posit<13,2>"), parse("posit<16,1>")]
    components = [Unpacked(fmt) for fmt in formats]
    for fmt, component, circuit in zip(formats, components, gates.build(components, tmp_path), strict=True):
        number, codes = component.number, np.arange(0, 1 << fmt.width, 1 if fmt.width <= 10 else 7)
        codes = np.append(codes, [fmt.min_code, fmt.max_code])
        assert (number.leading_zeros, number.magnitude_bits) == (0, fmt.significand_bits)
        seen = set()
        for code, word in zip(codes.tolist(), circuit.run(a=codes).tolist(), strict=True):
            value, where = fmt.decode(code), (fmt.name, code)
            zero, nan, sign, infinity = (bool(word >> place & 1) for place in range(4))
            exponent, magnitude = ((word >> 4 & 0xFFFF) ^ 0x8000) - 0x8000, word >> 20
            assert not infinity, where
            assert nan == (value is Special.NAN), where
            if nan:
                continue
            assert zero == (value == 0), where
            if zero:
                continue
            assert value == (-1) ** sign * magnitude * Fraction(2) ** (exponent + number.scale), where
            assert magnitude >> number.magnitude_bits - 1 == 1, where
            seen.add(exponent)
        assert (min(seen), max(seen)) == (number.min_exponent, number.max_exponent), fmt.name


class SignedUnpacked(wiring.Component):
    """Whether it is NaR, the exponent in 16 bits, the signed significand."""

    def __init__(self, fmt):
        self._format = fmt
        super().__init__({"a": In(fmt.width), "o": Out(34)})

    def elaborate(self, platform):
        m = Module()
        posit = decode_signed_posit(m, self._format, self.a, "a")
        exponent, significand = posit.exponent + C(0, signed(16)), posit.significand.as_signed() + C(0, signed(16))
        m.d.comb += self.o.eq(Cat(posit.nar, exponent[:16], significand[:16]))
        return m


def test_every_code_unpacks_to_its_signed_significand(tmp_path):
    formats = [fmt for fmt in POSITS if fmt.width <= 10] + [parse("posit<13,2>"), parse("posit<16,1>")]
    for fmt, circuit in zip(formats, gates.build(list(map(SignedUnpacked, formats)), tmp_path), strict=True):
        codes = np.arange(0, 1 << fmt.width, 1 if fmt.width <= 10 else 7)
        codes = np.append(codes, [0, fmt.min_code, fmt.max_code, fmt.nan_code, fmt.nan_code + 1, (1 << fmt.width) - 1])
        exponents, zeros, one = [], [], 1 << fmt.significand_bits - 1
        for code, word in zip(codes.tolist(), circuit.run(a=codes).tolist(), strict=True):
            value, where = fmt.decode(code), (fmt.name, code)
            nar, exponent, significand = bool(word & 1), *(((word >> place & 0xFFFF) ^ 0x8000) - 0x8000
                                                           for place in (1, 17))
            assert nar == (value is Special.NAN), where
            if nar:
                continue
            assert value == significand * Fraction(2) ** exponent / one, where
            assert not value or one <= significand < 2 * one or -2 * one <= significand < -one, where
            (exponents if value else zeros).append(exponent)
        assert (min(exponents), max(exponents)) == (-fmt.max_exponent - 1, fmt.max_exponent), fmt.name
        assert max(zeros) <= min(exponents), fmt.name


class Packed(wiring.Component):
    """Numbers of a small magnitude and a small exponent, or a flag, rounded to a posit."""

    def __init__(self, fmt, mode, *, magnitude_bits=5, min_magnitude=1, exponents=range(-8, 8), scale=-3,
                 random_bits=0):
        self.format, self.mode, self.random_bits = fmt, mode, random_bits
        self.magnitude_bits, self.min_magnitude = magnitude_bits, min_magnitude
        self.exponents, self.scale = exponents, scale
        self.places = {"magnitude": magnitude_bits, "exponent": 4, "sign": 1, "flag": 2, "random": random_bits}
        super().__init__({"a": In(sum(self.places.values())), "o": Out(fmt.width)})

    def fields(self, codes):
        """Split input codes into their fields."""
        found = {}
        for name, width in self.places.items():
            found[name] = codes & (1 << width) - 1
            codes = codes >> width
        return found

    def elaborate(self, platform):
        m, field, start = Module(), {}, 0
        for name, width in self.places.items():
            field[name] = self.a[start:start + width]
            start += width
        number = Number(
            sign=field["sign"], magnitude=field["magnitude"], exponent=field["exponent"].as_signed(),
            zero=field["flag"] == 1, infinity=field["flag"] == 2, nan=field["flag"] == 3, scale=self.scale,
            min_magnitude=self.min_magnitude, max_magnitude=(1 << self.magnitude_bits) - 1,
            min_exponent=self.exponents[0], max_exponent=self.exponents[-1], zero_has_zero_magnitude=False)
        aligned = align(m, number, self.format, fraction_bits_needed(self.mode, self.random_bits))
        rounded = round_aligned(m, aligned, self.format, self.mode, field["random"] if self.random_bits else None)
        m.d.comb += self.o.eq(encode(m, rounded, self.format, self.mode, OverflowPolicy.SATURATE))
        return m

    def want(self, magnitude, exponent, sign, flag, random):
        """Return the code that the definition gives, or None for a number that was promised not to come."""
        exponent = (exponent ^ 8) - 8
        if flag:
            return 0 if flag == 1 else self.format.nan_code
        if magnitude < self.min_magnitude or exponent not in self.exponents:
            return None
        value = (-1) ** sign * magnitude * Fraction(2) ** (exponent + self.scale)
        bits = RandomBits(value=random, count=self.random_bits) if self.random_bits else None
        return self.format.encode(value, rounding=self.mode, random=bits)


def assert_packs(components, folder):
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        codes = np.arange(1 << len(component.a))
        fields = [array.tolist() for array in component.fields(codes).values()]
        for code, *inputs in zip(circuit.run(a=codes).tolist(), *fields, strict=True):
            want = component.want(*inputs)
            assert want is None or code == want, (
                f"{component.format.name} {component.mode.name} magnitude {inputs[0]} exponent {inputs[1]} "
                f"sign {inputs[2]} flag {inputs[3]} random {inputs[4]}: got {code:#x}, want {want:#x}")


@sampled("mode", RoundingMode, 4)
def test_every_small_number_packs_in_every_mode(mode, tmp_path):
    bits = 2 if mode is RoundingMode.STOCHASTIC else 0
    assert_packs([Packed(parse(name), mode, random_bits=bits) for name in ("posit<3,0>", "posit<5,1>", "posit<6,2>")],
                 tmp_path)


@pytest.mark.parametrize("min_magnitude", [1, 2, 5, 8, 16])
def test_any_number_of_leading_zeros(min_magnitude, tmp_path):
    assert_packs([Packed(parse(name), RoundingMode.NEAREST_EVEN, min_magnitude=min_magnitude, scale=scale)
                  for name in ("posit<4,0>", "posit<6,0>", "posit<7,1>") for scale in (-7, 0, 4)], tmp_path)


@sampled("exponents", [range(0, 1), range(2, 5), range(-4, -2), range(-8, 8)], 2)
@pytest.mark.parametrize("magnitude_bits", [1, 2, 5])
def test_any_range_of_exponents(magnitude_bits, exponents, tmp_path):
    """A circuit leaves out what the range cannot reach: the ends of the posit's, one half of its regimes."""
    components = [Packed(parse(name), mode, magnitude_bits=magnitude_bits, exponents=exponents, scale=scale)
                  for name, mode in (("posit<5,0>", RoundingMode.UP), ("posit<8,1>", RoundingMode.NEAREST_EVEN))
                  for scale in (-12, -2, 9)]
    assert_packs(components, tmp_path)


@pytest.mark.parametrize("random_bits", [1, 5])
def test_stochastic_rounding_at_both_ends(random_bits, tmp_path):
    assert_packs([Packed(parse(name), RoundingMode.STOCHASTIC, magnitude_bits=3, random_bits=random_bits)
                  for name in ("posit<4,0>", "posit<5,1>")], tmp_path)
