"""Rounding arrays of exact values to codes: the ``encode`` of every family, on machine integers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RandomBits, RoundingMode, ScalarFormat
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Subnormals
from sw.formats.posit import PositFormat
from sw.reference.model import Codes
from sw.reference.value_array import SIGNIFICAND_BITS, ValueArray, bit_length, compacted

MAX_FAST_RANDOM_BITS = 24
"""Most random bits for which the fraction that they are added to stays in a word."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def encode_array(fmt: ScalarFormat, values: ValueArray, *, rounding: RoundingMode, overflow: OverflowPolicy,
                 random: Codes | None, random_bits: int) -> NDArray[np.uint64]:
    """Return ``fmt.encode`` of each value.

    Parameters
    ----------
    random : integer array or None
        The random bits of each value, for ``STOCHASTIC``.
    random_bits : int, bits
        How many they are.
    """
    fmt.check_overflow(overflow)
    if random_bits and random is None:
        raise ValueError("Random bits must be given for stochastic rounding, not None")
    rounder = _Rounder(rounding=rounding, random_bits=random_bits,
                       random=None if random is None else random.astype(np.uint64))
    if random_bits <= MAX_FAST_RANDOM_BITS:
        if isinstance(fmt, FixedPointFormat) and fmt.width <= SIGNIFICAND_BITS:
            return _encode_fixed(fmt, values, rounder, overflow)
        if (isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.width <= SIGNIFICAND_BITS
                and fmt.fraction_bits + random_bits <= 52):
            return _encode_float(fmt, compacted(values), rounder, overflow)
        if isinstance(fmt, PositFormat):
            return _encode_posit(fmt, compacted(values), rounder)
    return _one_by_one(fmt, values, rounder, overflow, np.arange(len(values)))


@dataclass(frozen=True, kw_only=True)
class _Rounder:
    """A rounding mode, and the random bits of each value where it takes any."""

    rounding: RoundingMode
    random: NDArray[np.uint64] | None
    random_bits: int

    def away(self, remainder: Ints, places: Ints, odd: Bools, negative: Bools) -> Bools:
        """Whether the larger of two neighbouring magnitudes is taken, the mode being mirrored below zero."""
        mirrored = replace(self, rounding=self.rounding.mirrored)
        none = np.zeros(len(negative), dtype=bool)
        return np.where(negative, mirrored.up(remainder, places, odd, none), self.up(remainder, places, odd, none))

    def bits(self, index: int) -> RandomBits | None:
        if self.random is None:
            return None
        return RandomBits(value=int(self.random[index]), count=self.random_bits)

    def up(self, remainder: Ints, places: Ints, odd: Bools, negative: Bools) -> Bools:
        """Whether the upper neighbour is taken, for the fraction ``remainder / 2**places``; as ``ratio_rounds_up``."""
        if self.rounding is RoundingMode.STOCHASTIC:
            assert self.random is not None
            shift = places - self.random_bits
            fraction = (remainder >> np.maximum(shift, 0)) << np.maximum(-shift, 0)
            return np.asarray(fraction + self.random.astype(np.int64) >= 1 << self.random_bits)
        inexact = remainder != 0
        half = np.where(places > 0, np.int64(1) << np.maximum(places - 1, 0), 1)
        above, tie = remainder > half, remainder == half
        return np.asarray(_DECISIONS[self.rounding](inexact, above, tie & (places > 0), odd, negative))


_Decision = Callable[[Bools, Bools, Bools, Bools, Bools], Bools]
_DECISIONS: dict[RoundingMode, _Decision] = {
    RoundingMode.TOWARD_ZERO: lambda inexact, above, tie, odd, negative: inexact & negative,
    RoundingMode.UP: lambda inexact, above, tie, odd, negative: inexact,
    RoundingMode.DOWN: lambda inexact, above, tie, odd, negative: inexact & False,
    RoundingMode.TO_ODD: lambda inexact, above, tie, odd, negative: inexact & ~odd,
    RoundingMode.NEAREST_EVEN: lambda inexact, above, tie, odd, negative: above | (tie & odd),
    RoundingMode.NEAREST_AWAY: lambda inexact, above, tie, odd, negative: above | (tie & ~negative),
    RoundingMode.NEAREST_ZERO: lambda inexact, above, tie, odd, negative: above | (tie & negative),
    RoundingMode.NEAREST_UP: lambda inexact, above, tie, odd, negative: above | tie,
    RoundingMode.NEAREST_DOWN: lambda inexact, above, tie, odd, negative: above,
}


def _one_by_one(fmt: ScalarFormat, values: ValueArray, rounder: _Rounder, overflow: OverflowPolicy,
                indices: NDArray[Any]) -> NDArray[np.uint64]:
    """Ask the definition, each distinct value once."""
    known: dict[tuple[object, ...], int] = {}
    codes = np.empty(len(indices), dtype=np.uint64)
    columns = (values.negative, values.significand, values.exponent, values.infinite, values.nan)
    for place, index in enumerate(indices.tolist()):
        random = rounder.bits(index)
        key = (*(column[index] for column in columns), random.value if random else 0)
        if key not in known:
            known[key] = fmt.encode(values.value(index), rounding=rounder.rounding, overflow=overflow, random=random)
        codes[place] = known[key]
    return codes


def _divided(significand: Ints, right: Ints) -> tuple[Ints, Ints, Ints]:
    """Return ``significand / 2**right`` as floor, remainder and the places of that remainder, for any ``right``."""
    places = np.clip(right, 0, SIGNIFICAND_BITS + 2)
    # What goes further down than a word reaches is jammed: it is far below any half and any random bit.
    excess = np.clip(right - places, 0, 63)
    kept = significand >> excess
    kept |= (kept << excess) != significand
    floor = (kept >> places) << np.maximum(-right, 0)
    remainder = kept & ((np.int64(1) << places) - 1)
    return floor, remainder, places


# The float's codes, without their sign, count magnitudes in rising order, beyond both ends of the format too: see
# sw.formats.floating_point.

def _encode_float(fmt: FloatingPointFormat, values: ValueArray, rounder: _Rounder, overflow: OverflowPolicy
                  ) -> NDArray[np.uint64]:
    significand, negative = values.significand, values.negative
    length = bit_length(significand)
    field = values.exponent + length - 1 + int(fmt.bias)
    if fmt.subnormals is Subnormals.SUPPORTED:
        field = np.maximum(field, 1)
    right = field - int(fmt.bias) - fmt.fraction_bits - values.exponent
    floor, remainder, places = _divided(significand, right)
    # Far beyond either end one code is as good as another: the shift below keeps within a word.
    bounded = np.clip(field, -1, (fmt.max_code >> fmt.fraction_bits) + 2)
    lower = ((bounded - 1) << fmt.fraction_bits) + floor
    mode = rounder.rounding
    code = lower + rounder.away(remainder, places, (lower & 1) == 1, negative)
    under = (code < fmt.min_code) & ~values.zero & ~values.infinite & ~values.nan
    code = np.where(code < fmt.min_code, 0, code)
    over = (code > fmt.max_code) & ~values.zero
    nan_code = fmt.nan_code if fmt.nan_code is not None else (0 if fmt.has_zero else fmt.min_code)
    nan = values.nan.copy()
    beyond, infinity = np.full(len(values), fmt.max_code), np.full(len(values), fmt.max_code)
    lowest = 0 if fmt.has_zero else fmt.min_code
    below = np.full(len(values), lowest)
    if overflow is OverflowPolicy.INFINITY:
        infinity[:] = nan_code if fmt.infinity_code is None else fmt.infinity_code
        beyond = np.where(_stops_at_largest(mode, negative), fmt.max_code, infinity)
        below[:] = nan_code
    code = np.where(over, beyond, code)
    code = np.where(values.zero, 0, np.where(values.infinite, infinity, code))
    if not fmt.has_zero:
        code = np.where(values.zero | under, below, code)
    if not fmt.signed:
        code = np.where(negative & ~values.zero, below, code)
    is_nan = nan | ((code == fmt.nan_code) if fmt.nan_code is not None else False)
    signed = negative & ~is_nan & (fmt.has_negative_zero | (code != 0)) & fmt.signed
    code = code | (signed.astype(np.int64) << (fmt.exponent_bits + fmt.fraction_bits))
    return np.where(nan, nan_code, code).astype(np.uint64)


def _encode_posit(fmt: PositFormat, values: ValueArray, rounder: _Rounder) -> NDArray[np.uint64]:
    """Write regime, exponent and fraction side by side, cut them to the width, round what is cut off."""
    size, room = fmt.exponent_size, fmt.width - 1
    # As many fraction bits as any rounding looks at, what lies below them jammed into the last.
    kept = fmt.width + rounder.random_bits + 3
    length = bit_length(values.significand)
    excess = np.maximum(length - 1 - kept, 0)
    fraction = values.significand >> excess
    fraction |= (fraction << excess) != values.significand
    fraction = (fraction << np.maximum(kept + 1 - length, 0)) & ((1 << kept) - 1)
    exponent = values.exponent + length - 1
    regime = exponent >> size
    # Outside of these, the string is longer than the width by itself: an extreme, whatever follows.
    inside = np.clip(regime, 1 - fmt.width, fmt.width - 2)
    upper = inside >= 0
    run = np.where(upper, inside, 0)
    field = np.where(upper, ((np.int64(2) << run) - 1) << 1, 1)
    string = ((field << size | exponent & ((1 << size) - 1)) << kept) | fraction
    places = np.where(upper, inside + 2, 1 - inside) + size + kept - room
    lower, remainder = string >> places, string & ((np.int64(1) << places) - 1)
    code = lower + rounder.away(remainder, places, (lower & 1) == 1, values.negative)
    code = np.where(regime > inside, fmt.max_code, np.where(regime < inside, fmt.min_code, code))
    code = np.clip(code, fmt.min_code, fmt.max_code)
    code = np.where(values.negative, (1 << fmt.width) - code, code)
    code = np.where(values.zero, 0, code)
    return np.where(values.nan | values.infinite, fmt.nan_code, code).astype(np.uint64)


def _stops_at_largest(mode: RoundingMode, negative: Bools) -> Bools:
    """Whether the mode never rounds away from zero, so that an overflow stops at the largest finite value."""
    away_below_zero = mode.mirrored not in (RoundingMode.TOWARD_ZERO, RoundingMode.DOWN, RoundingMode.TO_ODD)
    away_above_zero = mode not in (RoundingMode.TOWARD_ZERO, RoundingMode.DOWN, RoundingMode.TO_ODD)
    return ~np.where(negative, away_below_zero, away_above_zero)


def _encode_fixed(fmt: FixedPointFormat, values: ValueArray, rounder: _Rounder, overflow: OverflowPolicy
                  ) -> NDArray[np.uint64]:
    """Values that leave a word after the shift are answered by the definition; there are none in ordinary use."""
    special = values.infinite | values.nan
    right = np.where(values.zero, 0, -(values.exponent + fmt.fraction_bits))
    narrow = values.significand.dtype != object
    lengths = bit_length(values.significand) if narrow else np.array(
        [int(value).bit_length() for value in values.significand], dtype=np.int64)
    outside = special | (lengths - np.minimum(right, 0) > SIGNIFICAND_BITS)
    signed = np.where(outside, 0, np.where(values.negative, -values.significand, values.significand)).astype(np.int64)
    floor, remainder, places = _divided(signed, np.where(outside, 0, right))
    up = rounder.up(remainder, places, (floor & 1) == 1, signed < 0)
    integer = floor + up
    codes = _into_range(fmt, integer, overflow)
    rows = np.flatnonzero(outside)
    if len(rows):
        codes[rows] = _one_by_one(fmt, values, rounder, overflow, rows)
    return codes


def _into_range(fmt: FixedPointFormat, integer: Ints, overflow: OverflowPolicy) -> NDArray[np.uint64]:
    """Return the codes of rounded values in units of the last place, for formats of at most SIGNIFICAND_BITS bits."""
    low, high = fmt.min_integer, fmt.max_integer
    match overflow:
        case OverflowPolicy.WRAP:
            pass
        case OverflowPolicy.WRAP_SIGN_MAGNITUDE:
            turned = (integer >> fmt.width ^ integer >> (fmt.width - 1)) & 1
            integer = integer ^ -turned
        case OverflowPolicy.SATURATE_ZERO:
            integer = np.where((integer < low) | (integer > high), 0, integer)
        case _:
            symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and fmt.signed
            integer = np.clip(integer, -high if symmetric else low, high)
    return (integer & ((1 << fmt.width) - 1)).astype(np.uint64)
