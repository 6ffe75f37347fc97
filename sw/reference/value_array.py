"""Arrays of exact values, so that a million vectors are referred to in a second rather than a minute.

The definitions work on one rational at a time. These arrays hold the same values as sign, significand and exponent,
and the operations on them are exact; where a sum needs more bits than a word has, what is left over is jammed into
the lowest bit (rounding to odd), after which any rounding to two bits fewer gives what it gives for the exact sum
(Boldo and Melquiond 2008, Emulation of FMA and correctly rounded sums).
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat, Special, Value, is_negative
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Subnormals
from sw.reference.model import Codes

SIGNIFICAND_BITS = 58
"""Most bits of a significand held in an int64: sums of two, with two bits below them, then still fit."""

TABLE_BITS = 16
"""Width up to which a format's codes are decoded through a table of its definition."""


@dataclass(frozen=True, kw_only=True)
class ValueArray:
    """Values ``(-1)**negative * significand * 2**exponent``, infinities and NaNs, one-dimensional.

    Parameters
    ----------
    negative : bool array
        Sign, of zeros and infinities too.
    significand : int64 or object array
        At least 0; below ``2**SIGNIFICAND_BITS`` where it is int64. 0 where the value is not finite.
    exponent : int64 array
    infinite, nan : bool array
    jammed : bool
        Whether lowest bits may stand for more than themselves: such an array can only be rounded.
    """

    negative: NDArray[np.bool_]
    significand: NDArray[Any]
    exponent: NDArray[np.int64]
    infinite: NDArray[np.bool_]
    nan: NDArray[np.bool_]
    jammed: bool = False

    def __len__(self) -> int:
        return len(self.negative)

    def __getitem__(self, index: Any) -> "ValueArray":
        return ValueArray(negative=self.negative[index], significand=self.significand[index],
                          exponent=self.exponent[index], infinite=self.infinite[index], nan=self.nan[index],
                          jammed=self.jammed)

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Whether a value is zero, of either sign."""
        finite_zero: NDArray[np.bool_] = (self.significand == 0) & ~self.infinite & ~self.nan
        return finite_zero

    def value(self, index: int) -> Value:
        """Return one value as the definitions have it."""
        if self.nan[index]:
            return Special.NAN
        if self.infinite[index]:
            return Special.NEGATIVE_INFINITY if self.negative[index] else Special.POSITIVE_INFINITY
        significand = int(self.significand[index])
        if not significand and self.negative[index]:
            return Special.NEGATIVE_ZERO
        return (-significand if self.negative[index] else significand) * Fraction(2) ** int(self.exponent[index])


def from_values(values: list[Value]) -> ValueArray:
    """Return the array of a list of values, whose rationals must be dyadic."""
    count = len(values)
    numbers = [value if isinstance(value, Fraction) else Fraction(0) for value in values]
    significands = [abs(value.numerator) for value in numbers]
    exponents = [1 - value.denominator.bit_length() for value in numbers]
    wide = any(value >> SIGNIFICAND_BITS for value in significands)
    for index, value in enumerate(significands if wide else ()):
        trailing = (value & -value).bit_length() - 1 if value else 0
        significands[index], exponents[index] = value >> trailing, exponents[index] + trailing
    wide = any(value >> SIGNIFICAND_BITS for value in significands)
    return ValueArray(
        negative=np.array([is_negative(value) for value in values], dtype=bool),
        significand=np.array(significands, dtype=object if wide else np.int64).reshape(count),
        exponent=np.array(exponents, dtype=np.int64),
        infinite=np.array([isinstance(value, Special) and value.is_infinity for value in values], dtype=bool),
        nan=np.array([value is Special.NAN for value in values], dtype=bool))


def from_integers(integers: NDArray[Any], exponent: int) -> ValueArray:
    """Return the values ``integers * 2**exponent``; zeros are positive."""
    negative = np.asarray(integers < 0, dtype=bool)
    magnitude = np.where(negative, -integers, integers)
    if magnitude.dtype != object and magnitude.size and int(magnitude.max()) >> SIGNIFICAND_BITS:
        magnitude = magnitude.astype(object)
    none = np.zeros(len(integers), dtype=bool)
    return ValueArray(negative=negative, significand=magnitude,
                      exponent=np.full(len(integers), exponent, dtype=np.int64), infinite=none, nan=none)


@lru_cache(maxsize=32)
def _table(fmt: ScalarFormat) -> ValueArray:
    return from_values([fmt.decode(code) for code in range(1 << fmt.width)])


def decode_array(fmt: ScalarFormat, codes: Codes) -> ValueArray:
    """Return the values of an array of codes that fit the format: ``fmt.decode`` of each."""
    if fmt.width <= TABLE_BITS:
        return _table(fmt)[codes.astype(np.int64)]
    if isinstance(fmt, FixedPointFormat):
        return _decode_fixed(fmt, codes)
    if isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.width <= 62:
        return _decode_float(fmt, codes)
    unique, inverse = np.unique(codes, return_inverse=True)
    return from_values([fmt.decode(int(code)) for code in unique])[inverse]


def _decode_fixed(fmt: FixedPointFormat, codes: Codes) -> ValueArray:
    integers = codes.astype(np.int64) if fmt.width <= 62 else codes.astype(object)
    if fmt.signed:
        integers = np.where(integers >> (fmt.width - 1) != 0, integers - (1 << fmt.width), integers)
    return from_integers(integers, -fmt.fraction_bits)


def _decode_float(fmt: FloatingPointFormat, codes: Codes) -> ValueArray:
    integers = codes.astype(np.int64)
    sign = 1 << (fmt.exponent_bits + fmt.fraction_bits)
    magnitude = integers & (sign - 1)
    field, fraction = magnitude >> fmt.fraction_bits, magnitude & ((1 << fmt.fraction_bits) - 1)
    negative = (integers & sign != 0) & fmt.signed
    significand = fraction + (1 << fmt.fraction_bits)
    if fmt.subnormals is Subnormals.SUPPORTED:
        significand, field = np.where(field == 0, fraction, significand), np.maximum(field, 1)
    special = magnitude > fmt.max_code
    infinite = magnitude == (-1 if fmt.infinity_code is None else fmt.infinity_code)
    nan = special & ~infinite
    if not fmt.has_negative_zero and fmt.signed:  # the code of the negative zero is the NaN
        nan |= integers == sign
    significand = np.where((magnitude < fmt.min_code) | special | nan, 0, significand)
    return ValueArray(negative=negative & ~nan, significand=significand,
                      exponent=field - int(fmt.bias) - fmt.fraction_bits, infinite=infinite, nan=nan)


def bit_length(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``int.bit_length`` of non-negative int64."""
    _, exponent = np.frexp(values.astype(np.float64))
    length = exponent.astype(np.int64)
    # A value just below a power of two may have been rounded up to it.
    over: NDArray[np.int64] = length - ((length > 0) & (values >> np.maximum(length - 1, 0) == 0))
    return over


def _widest(values: NDArray[Any]) -> int:
    return int(values.max()).bit_length() if values.size else 0


def compacted(values: ValueArray) -> ValueArray:
    """Return the values with int64 significands, jamming those that are wider."""
    if values.significand.dtype != object:
        return values
    lengths = np.array([int(value).bit_length() for value in values.significand], dtype=np.int64)
    places = np.maximum(lengths - SIGNIFICAND_BITS, 0)
    kept = values.significand >> places
    lost = (kept << places) != values.significand
    return ValueArray(negative=values.negative, significand=(kept | lost).astype(np.int64).reshape(len(values)),
                      exponent=values.exponent + places, infinite=values.infinite, nan=values.nan,
                      jammed=values.jammed or bool(lost.any()))


def multiply_arrays(x: ValueArray, y: ValueArray) -> ValueArray:
    """Return the exact products, by the rules of ``sw.reference.product``."""
    assert not x.jammed
    assert not y.jammed
    first, second = x.significand, y.significand
    if object not in (first.dtype, second.dtype) and _widest(first) + _widest(second) > SIGNIFICAND_BITS:
        first = first.astype(object)
    nan = x.nan | y.nan | (x.infinite & y.zero) | (x.zero & y.infinite)
    return ValueArray(negative=(x.negative != y.negative) & ~nan, significand=first * second,
                      exponent=x.exponent + y.exponent, infinite=(x.infinite | y.infinite) & ~nan, nan=nan)


def add_arrays(x: ValueArray, y: ValueArray, *, toward_negative: bool, exact: bool = False) -> ValueArray:
    """Return the sums, exact or jammed, by the rules of ``sw.reference.total``.

    Parameters
    ----------
    toward_negative : bool
        Whether the sum will be rounded down, which makes ``x - x`` the negative zero (IEEE 754-2019 §6.3).
    exact : bool
        Jam nothing, as a wrapping overflow asks for, whose result are the low-order bits of the sum.
    """
    assert not x.jammed
    assert not y.jammed
    wide = x.significand.dtype == object or y.significand.dtype == object
    signed, exponent, jammed = _sum_wide(x, y) if wide else _sum_narrow(x, y)
    if exact and jammed:
        signed, exponent, jammed = _sum_wide(x, y)
    nan = x.nan | y.nan | (x.infinite & y.infinite & (x.negative != y.negative))
    infinite = (x.infinite | y.infinite) & ~nan
    both = x.zero & y.zero
    negative = np.where(signed == 0, toward_negative, np.asarray(signed < 0, dtype=bool))
    negative = np.where(both & (x.negative == y.negative), x.negative, negative)
    negative = np.where(infinite, np.where(x.infinite, x.negative, y.negative), negative) & ~nan
    magnitude = np.where(np.asarray(signed < 0, dtype=bool), -signed, signed)
    return ValueArray(negative=negative.astype(bool), significand=np.where(infinite | nan, 0, magnitude),
                      exponent=exponent, infinite=infinite, nan=nan, jammed=jammed)


def negated_array(values: ValueArray) -> ValueArray:
    """Return the values with the other sign, of zeros and infinities too: ``sw.reference.negated`` of each."""
    return replace(values, negative=~values.negative & ~values.nan)


def _sum_wide(x: ValueArray, y: ValueArray) -> tuple[NDArray[Any], NDArray[np.int64], bool]:
    lowest = np.minimum(np.where(x.zero, y.exponent, x.exponent), np.where(y.zero, x.exponent, y.exponent))
    terms = []
    for values in (x, y):
        places = np.where(values.zero, 0, values.exponent - lowest)
        shifted = values.significand.astype(object) << places.astype(object)
        terms.append(np.where(values.negative, -shifted, shifted))
    return terms[0] + terms[1], lowest, False


def _sum_narrow(x: ValueArray, y: ValueArray) -> tuple[NDArray[Any], NDArray[np.int64], bool]:
    """Both as 58-bit significands with two bits below; the lesser is shifted right and its tail jammed."""
    tops, significands = [], []
    for values in (x, y):
        places = SIGNIFICAND_BITS - bit_length(values.significand)
        significands.append(values.significand << places << 2)
        # A zero has the lowest exponent of all, so that it is always the lesser one.
        tops.append(np.where(values.significand == 0, np.int64(-1 << 40), values.exponent - places - 2))
    x_is_greater = tops[0] >= tops[1]
    places = np.minimum(np.abs(tops[0] - tops[1]), 62)
    lesser = np.where(x_is_greater, significands[1], significands[0])
    kept = lesser >> places
    lost = (kept << places) != lesser
    kept |= lost
    greater = np.where(x_is_greater, significands[0], significands[1])
    first, second = np.where(x_is_greater, greater, kept), np.where(x_is_greater, kept, greater)
    total = np.where(x.negative, -first, first) + np.where(y.negative, -second, second)
    exponent = np.maximum(tops[0], tops[1])
    # Back to at most SIGNIFICAND_BITS bits: the sum has three more.
    magnitude = np.abs(total)
    excess = np.maximum(bit_length(magnitude) - SIGNIFICAND_BITS, 0)
    shifted = magnitude >> excess
    dropped = (shifted << excess) != magnitude
    jammed = bool(lost.any() or dropped.any())
    shifted |= dropped
    exponent = np.where(total == 0, 0, exponent + excess)
    return np.where(total < 0, -shifted, shifted), exponent, jammed


def to_integers(values: ValueArray, exponent: int) -> NDArray[Any]:
    """Return finite values as integers in units of ``2**exponent``, of which each must be a whole number.

    int64 where all fit, Python integers otherwise.
    """
    assert not values.jammed
    places = np.where(values.zero, 0, values.exponent - exponent)
    significand = values.significand
    if significand.dtype != object and _widest(significand) + (int(places.max()) if len(places) else 0) > 62:
        significand = significand.astype(object)
    left = np.maximum(places, 0)
    right = np.maximum(-places, 0)
    if significand.dtype == object:
        left, right = left.astype(object), right.astype(object)
    shifted = (significand << left) >> right
    assert not np.any((shifted << right) != (significand << left)), "a value lies between two integers"
    return np.where(values.negative, -shifted, shifted)
