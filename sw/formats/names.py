"""Reading format names: one meaning each, an alias said aloud, an ambiguity refused with the choices."""

import dataclasses
import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from typing import TypeAlias

from sw.formats.catalog import by_name, p3109, split
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat

ScalarFormat: TypeAlias = FloatingPointFormat | FixedPointFormat
"""Any format whose codes stand for one number each."""

_MAX_SPLIT_WIDTH = 16

_BLOCK = {
    "mxfp8_e4m3": "float8_e4m3fn", "mxfp8_e5m2": "float8_e5m2", "mxfp6_e3m2": "float6_e3m2fn",
    "mxfp6_e2m3": "float6_e2m3fn", "mxfp4": "float4_e2m1fn", "mxint8": "fixed<8,6>", "nvfp4": "float4_e2m1fn",
}

_AMBIGUOUS = {
    "fp4": ("float4_e2m1fn", "radix4_fp4_even", "p3109_k4p2se"),
    "fp6": ("float6_e3m2fn", "float6_e2m3fn"),
    "fp8": ("float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4", "minifloat_e4m3"),
    "fp9": ("fp9_e5m3", "float9_e4m4"),
    "mxfp8": ("mxfp8_e4m3", "mxfp8_e5m2"),
    "mxfp6": ("mxfp6_e3m2", "mxfp6_e2m3"),
    "float": ("float16", "bfloat16", "tf32", "float8_e4m3fn"),
    "int": ("int4", "int8"),
}


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a name was taken to mean.

    Parameters
    ----------
    format : ScalarFormat
    note : str
        For a short name, which format was chosen and how to ask for its siblings; empty otherwise.
    """

    format: ScalarFormat
    note: str


def parse(name: str) -> ScalarFormat:
    """Return the format with this name.

    Accepted are the names and aliases of the catalog; ``e<x>m<y>`` of up to 16 bits; ``float<w>_e<x>m<y>`` with the
    suffixes ``fn`` and ``fnuz``; ``minifloat_e<x>m<y>``; ``p3109_k<K>p<P>se`` and ``…sf``; ``int<w>``, ``uint<w>``,
    ``fixed<W,F>``, ``ufixed<W,F>``, ``ap_fixed<W,I>``, ``ap_ufixed<W,I>`` and their shell-safe twins such as
    ``fixed8_4``; and any of them followed by ``:field=value,…`` to change fields, as in ``e4m3:subnormals=flushed``.

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    ValueError
        If nothing has this name, or several things do; the message names what could be meant.
    """
    return resolve(name).format


def resolve(name: str) -> Resolution:
    """Return the format with this name and what to tell a user about the choice. See :func:`parse`."""
    if not isinstance(name, str):
        raise TypeError(f"Format must be named by a string, not {name!r}")
    text = name.strip().lower()
    if not text:
        raise ValueError("Format must be a name such as 'e4m3', 'int8' or 'fixed<8,4>', not ''")
    stem, colon, changes = text.partition(":")
    resolution = _resolve_stem(stem, name)
    if not colon:
        return resolution
    return Resolution(format=_change(resolution.format, changes, name), note=resolution.note)


def _resolve_stem(stem: str, name: str) -> Resolution:
    match = re.fullmatch(r"e(\d{1,2})m(\d{1,2})", stem)
    entry = by_name().get(stem)
    if entry is not None:
        return Resolution(format=entry.format, note=_alias_note(stem, entry.format) if match else "")
    if match:
        exponent_bits, fraction_bits = (int(group) for group in match.groups())
        width = 1 + exponent_bits + fraction_bits
        if width > _MAX_SPLIT_WIDTH:
            raise ValueError(f"Format must have at most {_MAX_SPLIT_WIDTH} bits to be named e<x>m<y>, not {name!r} "
                             f"({width} bits); see 'python -m synth formats' for the wider named ones")
        # OCP gives formats below 8 bits no special codes; from 8 bits up IEEE 754's are the rule.
        fmt = _split(exponent_bits, fraction_bits, "fn" if width < 8 or exponent_bits < 2 else "", name)
        return Resolution(format=fmt, note=_alias_note(stem, fmt))
    for pattern, build in _PATTERNS:
        match = re.fullmatch(pattern, stem)
        if match:
            return Resolution(format=build(name, *match.groups()), note="")
    raise ValueError(_unknown(stem, name))


def _split(exponent_bits: int, fraction_bits: int, suffix: str, name: str) -> FloatingPointFormat:
    try:
        return split(exponent_bits, fraction_bits, suffix)
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {name!r}: {error}") from error


def _alias_note(stem: str, fmt: ScalarFormat) -> str:
    assert isinstance(fmt, FloatingPointFormat)
    others = []
    for suffix in ("", "fn", "fnuz", "minifloat"):
        try:
            sibling = split(fmt.exponent_bits, fmt.fraction_bits, suffix)
        except ValueError:
            continue  # this split has no such sibling
        if sibling != fmt and sibling.name not in [other.name for other in others]:
            others.append(sibling)
    rest = ", ".join(f"{other.name} (maximum {number(other.max_finite)})" for other in others)
    note = f"{stem} means {fmt.name} (maximum {number(fmt.max_finite)})"
    return note + (f"; its siblings are {rest}" if rest else "")


def number(value: Fraction) -> str:
    """Write a rational for a reader: exactly where that is short, otherwise to six digits."""
    exact = str(value.numerator) if value.denominator == 1 else repr(float(value))
    return exact if len(exact) <= 8 else f"{float(value):.6g}"


def _systematic(name: str, width: str, exponent_bits: str, fraction_bits: str, suffix: str) -> FloatingPointFormat:
    fmt = _split(int(exponent_bits), int(fraction_bits), suffix or "", name)
    if fmt.width != int(width):
        raise ValueError(f"Format must have as many bits as its name says ({width}), not {fmt.width}: {name!r}")
    if fmt.width > 32:
        raise ValueError(f"Format must have at most 32 bits, not {name!r}")
    return fmt


def _p3109(name: str, width: str, precision: str, domain: str) -> FloatingPointFormat:
    if not 1 <= int(precision) < int(width) <= 16:
        raise ValueError(f"P3109 precision must be between 1 and one less than the width, at most 16, not {name!r}")
    return p3109(int(width), int(precision), extended=domain == "e")


def _integer(name: str, unsigned: str, width: str) -> FixedPointFormat:
    return _fixed(name, unsigned, int(width), 0)


def _fixed(name: str, unsigned: str, width: int, fraction_bits: int) -> FixedPointFormat:
    try:
        return FixedPointFormat(width=width, fraction_bits=fraction_bits, signed=not unsigned)
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {name!r}: {error}") from error


def _signed_integer(text: str) -> int:
    return -int(text[1:]) if text[0] in "-m" else int(text)


_PATTERNS = (
    (r"float(\d{1,2})_e(\d{1,2})m(\d{1,2})(fnuz|fn|)", _systematic),
    (r"minifloat_e(\d{1,2})m(\d{1,2})",
     lambda name, exponent_bits, fraction_bits: _split(int(exponent_bits), int(fraction_bits), "minifloat", name)),
    (r"p3109_k(\d{1,2})p(\d{1,2})s([ef])", _p3109),
    (r"(u?)int(\d{1,3})", _integer),
    # The shell-safe twins write a minus sign as m: fixed8_m2 is fixed<8,-2>.
    *((prefix + separators, build) for prefix, build in (
        (r"(u?)fixed", lambda name, u, width, fraction: _fixed(name, u, int(width), _signed_integer(fraction))),
        (r"ap_(u?)fixed", lambda name, u, width, integer:
            _fixed(name, u, int(width), int(width) - _signed_integer(integer))),
    ) for separators in (r"<(\d{1,3}),\s*(-?\d{1,3})>", r"(\d{1,3})_(m?\d{1,3})")),
)


def _change(fmt: ScalarFormat, changes: str, name: str) -> ScalarFormat:
    types = {field.name: type(getattr(fmt, field.name)) for field in dataclasses.fields(fmt)}
    values: dict[str, object] = {}
    for change in changes.split(","):
        field, equals, text = (part.strip() for part in change.partition("="))
        if field not in types or not equals:
            raise ValueError(f"Format change must be field=value with a field of {', '.join(types)}, not {change!r} "
                             f"in {name!r}")
        values[field] = _field_value(field, text, types[field])
    try:
        return dataclasses.replace(fmt, **values)  # type: ignore[arg-type]  # each value has its field's type
    except (TypeError, ValueError) as error:
        raise ValueError(f"Format must be buildable, not {name!r}: {error}") from error


def _field_value(field: str, text: str, kind: type) -> object:
    if issubclass(kind, Enum):
        choices = [member.value for member in kind]
        if text not in choices:
            raise ValueError(f"Format {field} must be one of {', '.join(choices)}, not {text!r}")
        return kind(text)
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"Format {field} must be true or false, not {text!r}")
        return text == "true"
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"Format {field} must be a number, not {text!r}") from None
    return int(value) if value.denominator == 1 else value


def _unknown(stem: str, name: str) -> str:
    posit = re.fullmatch(r"posit(\d{1,2})", stem)
    if posit:
        width = posit[1]
        choices = ", ".join(f"posit<{width},{es}>" for es in (0, 1, 2))
        return (f"Format must name the posit's exponent size, as in {choices} (the standard's is 2), not {name!r}; "
                "this version has no posits yet")
    if stem.startswith("posit"):
        return f"Format must be a floating-point or fixed-point one, not {name!r}: this version has no posits yet"
    if stem in _AMBIGUOUS:
        return f"Format must be one of {', '.join(_AMBIGUOUS[stem])}, not the ambiguous {name!r}"
    if stem in _BLOCK:
        return (f"Format must be a scalar one, not {name!r}: this version has no block formats yet; "
                f"its elements are {_BLOCK[stem]}")
    close = get_close_matches(stem, by_name(), n=3, cutoff=0.6)
    mend = f"did you mean {', '.join(close)}?" if close else "see 'python -m synth formats'"
    return f"Format must be a known name, not {name!r}; {mend}"
