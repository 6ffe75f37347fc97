"""What follows from a format's fields: counts, ranges, precision, and the table of its values."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Specials, Subnormals
from sw.formats.names import ScalarFormat, number
from sw.formats.posit import PositFormat
from sw.formats.special import Special, Value

MAX_TABLE_WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class ValueRow:
    """One code of a format and what it stands for.

    Parameters
    ----------
    code : int
    bits : str
        The code in binary, its fields apart: sign, exponent, fraction; in fixed point sign, integer, fraction; of a
        posit sign, regime, exponent, fraction.
    exact : str
        The value as a fraction that ``fractions.Fraction`` reads, or ``NaN``, ``+Inf``, ``-Inf``, ``-0``.
    decimal : str
        The value for a reader: exact where that is short, otherwise to six digits.
    """

    code: int
    bits: str
    exact: str
    decimal: str


def facts(fmt: ScalarFormat) -> dict[str, object]:
    """Return what follows from the fields of ``fmt``, ready for JSON.

    Rationals are objects with ``exact``, a fraction as a string, and ``float``, the nearest float64 (``None`` where
    that overflows). Counts are of codes, but ``finite_values`` counts the two zeros once. ``dynamic_range`` goes from
    the smallest positive value to the largest. ``unit_roundoff`` is half the distance from 1 to the next value of
    unbounded exponent, relative to 1: 2**-significand_bits in radix 2; it is absent from fixed point, whose
    ``quantum`` is absolute. A posit's ``significand_bits`` and ``unit_roundoff`` are those of the numbers around 1,
    and ``quire_bits`` is the width of an exact sum: one product and its sign, to which the sum of k products adds
    ceil(log2 k) bits. (The standard's quire, 16 bits for each of the posit's, has 30 such bits.)
    """
    match fmt:
        case FloatingPointFormat():
            own = _floating_point(fmt)
        case FixedPointFormat():
            own = _fixed_point(fmt)
        case PositFormat():
            own = _posit(fmt)
    smallest = fmt.smallest_positive
    binades = _log2(fmt.max_finite) - _log2(smallest) if smallest else None
    return {
        "name": fmt.name,
        **own,
        "max_finite": rational(fmt.max_finite),
        "min_finite": rational(fmt.min_finite),
        "smallest_positive": rational(smallest),
        "dynamic_range": {"binades": binades, "decibels": None if binades is None else binades * 20 * math.log10(2)},
    }


def _floating_point(fmt: FloatingPointFormat) -> dict[str, object]:
    signs = 1 + fmt.signed
    positive = fmt.max_code - fmt.min_code + 1
    nans = {Specials.IEEE: ((1 << fmt.fraction_bits) - 1) * signs, Specials.FN: signs, Specials.FNUZ: 1,
            Specials.P3109: 1, Specials.NONE: 0}[fmt.specials]
    subnormal = fmt.subnormals is Subnormals.SUPPORTED and fmt.fraction_bits > 0
    return {
        "family": "floating-point", "width": fmt.width, "signed": fmt.signed, "radix": fmt.radix,
        "exponent_bits": fmt.exponent_bits, "fraction_bits": fmt.fraction_bits,
        "significand_bits": fmt.fraction_bits + 1,
        "bias": fmt.bias if isinstance(fmt.bias, int) else str(fmt.bias),
        "specials": fmt.specials.value, "subnormals": fmt.subnormals.value, "has_zero": fmt.has_zero,
        "has_negative_zero": fmt.has_negative_zero, "has_infinity": fmt.has_infinity,
        "infinity_codes": signs * fmt.has_infinity, "nan_codes": nans, "nan_code": fmt.nan_code,
        "finite_values": positive * signs + fmt.has_zero,
        "smallest_normal": rational(fmt.smallest_normal),
        "largest_subnormal": rational(_value(fmt, (1 << fmt.fraction_bits) - 1)) if subnormal else None,
        "unit_roundoff": rational(Fraction(1, 2 << fmt.fraction_bits) if fmt.radix == 2 else Fraction(3, 2)),
    }


def _fixed_point(fmt: FixedPointFormat) -> dict[str, object]:
    return {
        "family": "fixed-point", "width": fmt.width, "signed": fmt.signed, "radix": 2,
        "integer_bits": fmt.width - fmt.fraction_bits, "fraction_bits": fmt.fraction_bits,
        "narrow_range": fmt.narrow_range, "has_zero": True, "has_negative_zero": False, "has_infinity": False,
        "infinity_codes": 0, "nan_codes": 0, "nan_code": None,
        "finite_values": fmt.max_integer - fmt.min_integer + 1,
        "quantum": rational(fmt.quantum),
    }


def _posit(fmt: PositFormat) -> dict[str, object]:
    return {
        "family": "posit", "width": fmt.width, "signed": True, "radix": 2, "exponent_size": fmt.exponent_size,
        "useed": fmt.useed, "significand_bits": fmt.significand_bits,
        "has_zero": True, "has_negative_zero": False, "has_infinity": False, "infinity_codes": 0, "nan_codes": 1,
        "nan_code": fmt.nan_code, "finite_values": (1 << fmt.width) - 1,
        "unit_roundoff": rational(Fraction(1, 1 << fmt.significand_bits)),
        "quire_bits": 4 * fmt.max_exponent + 2,
    }


def rational(value: Fraction) -> dict[str, object]:
    """Return a rational for JSON: its ``exact`` text and the nearest ``float`` (None where that overflows)."""
    try:
        approximate: float | None = float(value)
    except OverflowError:
        approximate = None
    return {"exact": _ratio(value), "float": approximate}


def _log2(value: Fraction) -> float:
    """Logarithm of a positive rational, which itself may lie beyond float64."""
    return math.log2(value.numerator) - math.log2(value.denominator)


def _value(fmt: ScalarFormat, code: int) -> Fraction:
    value = fmt.decode(code)
    assert isinstance(value, Fraction)
    return value


def value_row(fmt: ScalarFormat, code: int) -> ValueRow:
    """Describe one code.

    Raises
    ------
    TypeError, ValueError
        If ``code`` is not an integer, or does not fit the width.
    """
    value = fmt.decode(code)
    return ValueRow(code=code, bits=_bits(fmt, code), exact=_exact(value), decimal=_decimal(value))


def value_table(fmt: ScalarFormat) -> list[ValueRow]:
    """Describe every code of a format of up to 16 bits.

    Raises
    ------
    ValueError
        If the format is wider.
    """
    if fmt.width > MAX_TABLE_WIDTH:
        raise ValueError(f"Format must have at most {MAX_TABLE_WIDTH} bits for a table of all its values, not "
                         f"{fmt.width}, as {fmt.name} has")
    return [value_row(fmt, code) for code in range(1 << fmt.width)]


def edges(fmt: ScalarFormat) -> dict[str, ValueRow]:
    """Describe the codes that bound a format: its zeros, its smallest and largest numbers, one, its special codes.

    A label is left out where the format has no such value.
    """
    if isinstance(fmt, FixedPointFormat):
        codes: dict[str, int | None] = {
            "zero": 0, "smallest positive": 1 if fmt.max_integer else None, "one": _code_of_one(fmt),
            "largest": fmt.max_integer, "most negative": fmt.min_integer % (1 << fmt.width) if fmt.signed else None,
        }
    elif isinstance(fmt, PositFormat):
        codes = {
            "zero": 0, "smallest positive": fmt.min_code, "one": _code_of_one(fmt), "largest": fmt.max_code,
            "most negative": fmt.nan_code + 1, "NaR": fmt.nan_code,
        }
    else:
        sign = 1 << (fmt.width - 1)
        subnormal = fmt.subnormals is Subnormals.SUPPORTED and fmt.fraction_bits > 0
        normal = fmt.min_code if fmt.subnormals is Subnormals.ABSENT else 1 << fmt.fraction_bits
        codes = {
            "zero": 0 if fmt.has_zero else None, "negative zero": sign if fmt.has_negative_zero else None,
            "smallest positive": fmt.min_code,
            "largest subnormal": normal - 1 if subnormal else None, "smallest normal": normal,
            "one": _code_of_one(fmt), "largest": fmt.max_code,
            "most negative": sign | fmt.max_code if fmt.signed else None,
            "infinity": fmt.infinity_code,
            "negative infinity": None if fmt.infinity_code is None or not fmt.signed else sign | fmt.infinity_code,
            "NaN": fmt.nan_code,
        }
    return {label: value_row(fmt, code) for label, code in codes.items() if code is not None}


def _code_of_one(fmt: ScalarFormat) -> int | None:
    code = fmt.encode(1)
    return code if fmt.decode(code) == 1 else None


def _bits(fmt: ScalarFormat, code: int) -> str:
    text = f"{code:0{fmt.width}b}"
    if isinstance(fmt, PositFormat):
        regime, exponent, _ = fmt.field_widths(code)
        starts = (0, 1, 1 + regime, 1 + regime + exponent, fmt.width)
        return " ".join(text[start:end] for start, end in pairwise(starts) if start < end)
    sign, magnitude = (text[0], text[1:]) if fmt.signed else ("", text)
    fraction_bits = min(max(fmt.fraction_bits, 0), len(magnitude))
    split = len(magnitude) - fraction_bits
    return " ".join(part for part in (sign, magnitude[:split], magnitude[split:]) if part)


def _exact(value: Value) -> str:
    return value.value if isinstance(value, Special) else _ratio(value)


def _ratio(value: Fraction) -> str:
    """Write a rational exactly: as a ratio, or as ``n*2^e`` where that ratio would run on for a line."""
    numerator, denominator = value.numerator, value.denominator
    if numerator.bit_length() <= 160 and denominator.bit_length() <= 160:
        return str(value)
    trailing = (numerator & -numerator).bit_length() - 1
    return f"{numerator >> trailing}*2^{trailing - (denominator.bit_length() - 1)}"


def _decimal(value: Value) -> str:
    return value.value if isinstance(value, Special) else number(value)
