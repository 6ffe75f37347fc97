"""Codes that operands are picked from: uniform ones, and the corners of a format."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sw.formats import FloatingPointFormat, PositFormat, ScalarFormat
from sw.reference.model import Codes, Port
from sw.reference.value_array import decode_array

Inputs = dict[str, Codes]

LISTED_BITS = 16
"""Bits of formats whose codes are all decoded, to tell the special ones."""


def corner_codes(fmt: ScalarFormat) -> NDArray[np.uint64]:
    """Return the codes where a format's arithmetic turns: ends of binades, powers of two, extremes, specials."""
    if fmt.width <= 8:
        return np.arange(1 << fmt.width, dtype=np.uint64)
    if isinstance(fmt, FloatingPointFormat):
        ones = (1 << fmt.fraction_bits) - 1
        fractions = {0, 1, ones >> 1, (ones + 1) >> 1, ones - 1, ones} & set(range(ones + 1))
        fields = range(1 << fmt.exponent_bits)
        magnitudes = [(field << fmt.fraction_bits) | fraction for field in fields for fraction in sorted(fractions)]
        sign = 1 << (fmt.width - 1)
        codes = magnitudes + ([code | sign for code in magnitudes] if fmt.signed else [])
    elif isinstance(fmt, PositFormat):
        codes = _posit_corners(fmt)
    else:
        mask = (1 << fmt.width) - 1
        powers = [1 << bit for bit in range(fmt.width)]
        codes = sorted({(sign * power + step) & mask for power in powers for sign in (1, -1) for step in (-1, 0, 1)})
    return np.array(codes, dtype=np.uint64)


def _posit_corners(fmt: PositFormat) -> list[int]:
    """Return zero, NaR and, for each regime and exponent, the ends and the middle of the fractions, of both signs."""
    codes = {0, fmt.nan_code}
    exponents = range(-fmt.max_exponent, fmt.max_exponent + 1)
    powers = [fmt.encode(Fraction(2) ** exponent) for exponent in exponents]
    for low, high in pairwise([*powers, fmt.nan_code]):
        middle = (low + high) // 2
        magnitudes = {low, low + 1, middle - 1, middle, middle + 1, high - 2, high - 1} & set(range(low, high))
        codes |= {sign * code % (1 << fmt.width) for code in magnitudes for sign in (1, -1)}
    return sorted(codes)


def port_corners(port: Port) -> Codes:
    """Return the corner codes of a port: those of its format, or the extremes of plain bits."""
    if port.format is not None and port.width <= 64:
        return corner_codes(port.format)
    last = port.codes - 1
    return np.array(sorted({0, min(1, last), port.codes >> 1, last}), dtype=np.uint64 if port.width <= 64 else object)


def random_codes(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return uniform codes of a port."""
    shape = (count,) if port.lanes is None else (count, port.lanes)
    if port.width <= 64:
        return generator.integers(0, port.codes, shape, dtype=np.uint64)
    limbs = [generator.integers(0, 1 << 32, shape, dtype=np.uint64).astype(object) << shift
             for shift in range(0, port.width, 32)]
    wide: Codes = np.bitwise_or.reduce(limbs) & ((1 << port.width) - 1)
    return wide


def special_codes(fmt: ScalarFormat) -> NDArray[np.bool_]:
    """Return, for each code of a format of at most 16 bits, whether it stands for no finite number."""
    values = decode_array(fmt, np.arange(1 << fmt.width, dtype=np.uint64))
    return np.asarray(values.nan | values.infinite, dtype=bool)


def without_specials(port: Port, codes: Codes, generator: np.random.Generator, kept: float) -> Codes:
    """Return codes in which any finite number stands in for what is none, but for a part that is ``kept``.

    Codes of a port of more than 16 bits, of which few are no finite number, are returned as they are.
    """
    if port.format is None or port.width > LISTED_BITS or not (special := special_codes(port.format)).any():
        return codes
    finite = np.flatnonzero(~special).astype(codes.dtype)
    replaced = special[codes.astype(np.int64)] & (generator.random(codes.shape) >= kept)
    found: Codes = np.where(replaced, finite[generator.integers(0, len(finite), codes.shape)], codes)
    return found


def random_corners(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return codes picked from a port's corners."""
    corners = port_corners(port)
    shape = (count,) if port.lanes is None else (count, port.lanes)
    picked: Codes = corners[generator.integers(0, len(corners), shape)]
    return picked
