"""Oracles and inputs shared by the tests of number formats."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import gfloat

from sw.formats import CATALOG, FixedPointFormat, FloatingPointFormat, Special, Specials, Subnormals, Value

FLOATS = {entry.name: entry.format for entry in CATALOG if isinstance(entry.format, FloatingPointFormat)}
FIXED = {entry.name: entry.format for entry in CATALOG if isinstance(entry.format, FixedPointFormat)}
BINARY_FLOATS = {name: fmt for name, fmt in FLOATS.items() if fmt.radix == 2}


def gfloat_format(fmt: FloatingPointFormat) -> gfloat.FormatInfo:
    """Describe a radix-2 format to gfloat, which knows it by other fields."""
    assert fmt.radix == 2
    assert fmt.subnormals is not Subnormals.FLUSHED
    # gfloat says of an unsigned format that it has no negative zero, of a signed one that its code is then NaN.
    high_nans = {Specials.IEEE: 2**fmt.fraction_bits - 1, Specials.FN: 1}.get(fmt.specials, 0)
    return gfloat.FormatInfo(
        "same", fmt.width, fmt.fraction_bits + 1, bias=int(fmt.bias), is_signed=fmt.signed,
        domain=gfloat.Domain.Extended if fmt.has_infinity else gfloat.Domain.Finite,
        has_nz=fmt.signed and fmt.specials not in (Specials.FNUZ, Specials.P3109), num_high_nans=high_nans,
        has_subnormals=fmt.subnormals is Subnormals.SUPPORTED, is_twos_complement=False)


def value_of(number: float) -> Value:
    """Turn an oracle's float64 into an exact value."""
    if math.isnan(number):
        return Special.NAN
    if math.isinf(number):
        return Special.POSITIVE_INFINITY if number > 0 else Special.NEGATIVE_INFINITY
    return Special.NEGATIVE_ZERO if number == 0 and math.copysign(1, number) < 0 else Fraction(number)


def magnitudes(fmt: FloatingPointFormat, limit: int = 300) -> list[Fraction]:
    """Return the positive finite values in rising order: all, or, beyond ``limit``, both ends and an even sample."""
    codes: Iterable[int] = range(fmt.min_code, fmt.max_code + 1)
    if len(codes) > limit:
        step = fmt.max_code // (limit // 2) | 1  # odd, so that even and odd codes are met
        edge = limit // 8
        binade = 1 << fmt.fraction_bits
        codes = sorted({*codes[:edge], *codes[::step], *codes[-edge:], *codes[binade - 2:binade + 3]})
    values = [fmt.decode(code) for code in codes]
    return [value for value in values if isinstance(value, Fraction)]


def corners(fmt: FloatingPointFormat, limit: int = 300) -> list[Fraction]:
    """Return rationals exact in float64 around every value: itself, quarters, midpoints and a tiny step from each.

    They go beyond the largest value (thresholds of overflow) and below the smallest one.
    """
    tiny = Fraction(1, 2**20)
    values = magnitudes(fmt, limit)
    top = values[-1]
    # The next values, had the format more binades; its quantum at the top is that of the last step or twice it.
    gap = top - values[-2] if len(values) > 1 else top
    values += [top + gap, top + 2 * gap, 2 * top, 1000 * top]
    found = set(values)
    for low, high in zip([Fraction(0), *values], values, strict=False):
        found.update(low + (high - low) * part
                     for part in (tiny, Fraction(1, 4), Fraction(1, 2) - tiny, Fraction(1, 2), Fraction(1, 2) + tiny,
                                  Fraction(3, 4), 1 - tiny))
    found.update(values[0] / 2**k for k in (1, 2, 3, 9))
    result = sorted(value for value in found if Fraction(float(value)) == value and value > 0)
    signs = (1, -1) if fmt.signed else (1,)
    return [sign * value for value in result for sign in signs]


def show(mismatches: Sequence[tuple[object, object, object]], total: int) -> str:
    """Describe mismatches given as (input, got, want)."""
    lines = [f"input {a}: got {got}, want {want}" for a, got, want in mismatches[:10]]
    return f"{len(mismatches)} of {total} differ\n" + "\n".join(lines)
