"""Exact sums over lanes of exact values: what the dot products have in common."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import Special, Value
from sw.reference.value_array import ValueArray

_LIMB_BITS = 30
_LIMB = (1 << _LIMB_BITS) - 1


def lane_total(values: Iterable[Value]) -> Value:
    """Return the exact sum of some values.

    NaN if one of them is, or if there are infinities of both signs; otherwise an infinity if there is one. A sum of
    zero is the positive zero, whatever its terms, as that of a fixed-point accumulator is.
    """
    total, infinities, nan = Fraction(0), set(), False
    for value in values:
        if isinstance(value, Fraction):
            total += value
        elif value.is_infinity:
            infinities.add(value)
        elif value is Special.NAN:
            nan = True
    if nan or len(infinities) > 1:
        return Special.NAN
    return infinities.pop() if infinities else total


def sum_lanes(values: ValueArray, lanes: int) -> ValueArray:
    """Return the exact sums of each ``lanes`` neighbouring values: :func:`lane_total` of each vector.

    Parameters
    ----------
    values : ValueArray
        Of vectors of ``lanes`` values, one vector after the other; exact ones.
    lanes : int
        1 to 2**30: the carries of so many limbs stay in a word.
    """
    assert not values.jammed
    vectors = len(values) // lanes
    above = _any_lane(values.infinite & ~values.negative, lanes)
    below = _any_lane(values.infinite & values.negative, lanes)
    nan = _any_lane(values.nan, lanes) | (above & below)
    infinite = (above | below) & ~nan
    finite = np.where(values.infinite | values.nan, 0, values.significand)
    exponents = values.exponent[finite != 0]
    lowest = int(exponents.min()) if len(exponents) else 0
    places = np.where(finite != 0, values.exponent - lowest, 0)
    total = _sums(np.where(values.negative, -finite, finite), places, vectors, lanes)
    total = np.where(infinite | nan, 0, total)
    return ValueArray(negative=np.where(infinite, below, np.asarray(total < 0, dtype=bool)).astype(bool),
                      significand=np.where(np.asarray(total < 0, dtype=bool), -total, total),
                      exponent=np.full(vectors, lowest, dtype=np.int64), infinite=infinite, nan=nan)


def _any_lane(flags: NDArray[np.bool_], lanes: int) -> NDArray[np.bool_]:
    return np.asarray(flags.reshape(-1, lanes).any(axis=1), dtype=bool)


def _sums(signed: NDArray[Any], places: NDArray[np.int64], vectors: int, lanes: int) -> NDArray[Any]:
    """Return the sums of ``signed << places``: int64 where every sum fits 58 bits, otherwise Python integers.

    Wide sums are formed in limbs of 30 bits, each a machine integer, so that only one Python integer a vector is made.
    """
    magnitude = np.abs(signed)
    widest = int(magnitude.max()).bit_length() if len(signed) else 0
    width = widest + (int(places.max()) if len(signed) else 0) + (lanes - 1).bit_length()
    if signed.dtype != object and width <= 58:
        return np.asarray((signed << places).reshape(vectors, lanes).sum(axis=1))
    if signed.dtype == object or widest > _LIMB_BITS:
        shifted = signed.astype(object) << places.astype(object)
        return np.asarray(shifted.reshape(vectors, lanes).sum(axis=1)).astype(object)
    sign = np.where(signed < 0, -1, 1)
    total = np.zeros(vectors, dtype=object)
    for limb in range(-(-width // _LIMB_BITS)):
        shift = places - limb * _LIMB_BITS
        # A limb holds what the shift leaves between its ends; from 30 places on, to either side, that is nothing.
        left, right = np.clip(shift, 0, _LIMB_BITS), np.clip(-shift, 0, 2 * _LIMB_BITS)
        piece = ((magnitude << left) >> right) & _LIMB
        total += (sign * piece).reshape(vectors, lanes).sum(axis=1).astype(object) << limb * _LIMB_BITS
    return total
