"""Reading format names: one meaning each, an alias said aloud, an ambiguity refused with the choices."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from difflib import get_close_matches
from fractions import Fraction
from typing import TypeAlias

from sw.formats.catalog import by_name, p3109, split
from sw.formats.changes import changed_fields, quoted
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat
from sw.formats.posit import PositFormat

ScalarFormat: TypeAlias = FloatingPointFormat | FixedPointFormat | PositFormat
"""Any format whose codes stand for one number each."""

_MAX_SPLIT_WIDTH = 16
_LONGEST_QUOTE = 60

# Decimal numbers without leading zeros, of up to 2 and 3 digits: `e04m3` would otherwise be another name of `e4m3`,
# and the catalog would not know it. Only ASCII digits: `\d` takes those of every script.
_N2 = "(?:0|[1-9][0-9]?)"
_N3 = "(?:0|[1-9][0-9]{0,2})"

_AMBIGUOUS = {
    "fp4": ("float4_e2m1fn", "radix4_fp4_even", "p3109_k4p2se"),
    "fp6": ("float6_e3m2fn", "float6_e2m3fn"),
    "fp8": ("float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4", "minifloat_e4m3"),
    "fp9": ("fp9_e5m3", "float9_e4m4"),
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
        For a name that is not the format's canonical one, which format was chosen, its maximum, and how to ask for
        its siblings; empty otherwise.
    """

    format: ScalarFormat
    note: str


def parse(name: str) -> ScalarFormat:
    """Return the format with this name.

    Accepted are the names and aliases of the catalog; ``e<x>m<y>`` of up to 16 bits; ``float32``;
    ``float<w>_e<x>m<y>`` with the suffixes ``fn`` and ``fnuz``; ``minifloat_e<x>m<y>``; ``p3109_k<K>p<P>se``, ``…sf``
    and ``…uf``; ``int<w>``, ``uint<w>``, ``fixed<W,F>``, ``ufixed<W,F>``, ``ap_fixed<W,I>``, ``ap_ufixed<W,I>``,
    ``posit<n,es>`` and their shell-safe twins such as ``fixed8_4`` and ``posit8_1``; and any of them followed by
    ``:field=value,…`` to change fields, as in ``e4m3:subnormals=flushed``. Case and surrounding spaces do not matter.

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
    text = name.strip()
    text = text.lower() if text.isascii() else text  # the Kelvin sign, for one, has an ASCII lower case
    if not text:
        raise ValueError("Format must be a name such as 'e4m3', 'int8' or 'fixed<8,4>', not ''")
    stem, colon, changes = (part.strip() for part in text.partition(":"))
    fmt = _resolve_stem(stem, name)
    note = "" if stem == fmt.name else _alias_note(stem, fmt)
    return Resolution(format=_change(fmt, changes, name) if colon else fmt, note=note)


def _resolve_stem(stem: str, name: str) -> ScalarFormat:
    entry = by_name().get(stem)
    if entry is not None:
        return entry.format
    match = re.fullmatch(f"e({_N2})m({_N2})", stem)
    if match:
        exponent_bits, fraction_bits = (int(group) for group in match.groups())
        width = 1 + exponent_bits + fraction_bits
        if width > _MAX_SPLIT_WIDTH:
            raise ValueError(f"Format must have at most {_MAX_SPLIT_WIDTH} bits to be named e<x>m<y>, not "
                             f"{quoted(name)} ({width} bits); see 'python -m synth formats' for the wider named ones")
        # OCP gives formats below 8 bits no special codes; from 8 bits up IEEE 754's are the rule where they fit.
        ieee = width >= 8 and exponent_bits >= 2 and fraction_bits >= 1
        return _split(exponent_bits, fraction_bits, "" if ieee else "fn", name)
    for pattern, build in _PATTERNS:
        match = re.fullmatch(pattern, stem)
        if match:
            return build(name, *match.groups())
    raise ValueError(_unknown(stem, name))


def _split(exponent_bits: int, fraction_bits: int, suffix: str, name: str) -> FloatingPointFormat:
    try:
        return split(exponent_bits, fraction_bits, suffix)
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {quoted(name)}: {error}") from error


def _alias_note(stem: str, fmt: ScalarFormat) -> str:
    others: list[FloatingPointFormat] = []
    if re.search(f"e{_N2}m{_N2}", stem) and isinstance(fmt, FloatingPointFormat) and fmt.signed:
        for suffix in ("", "fn", "fnuz", "minifloat"):
            try:
                sibling = split(fmt.exponent_bits, fmt.fraction_bits, suffix)
            except ValueError:
                continue  # this split has no such sibling
            if sibling != fmt and sibling not in others:
                others.append(sibling)
    rest = ", ".join(f"{other.name} (maximum {number(other.max_finite)})" for other in others)
    note = f"{stem} means {fmt.name} (maximum {number(fmt.max_finite)})"
    return note + (f"; its siblings are {rest}" if rest else "")


def number(value: Fraction) -> str:
    """Write a rational for a reader: exactly where that takes at most 8 characters, otherwise to six digits.

    It goes by decimal arithmetic, not by float64, which a format with a far bias leaves behind.
    """
    if value.denominator == 1 and abs(value) < 10**8:
        return str(value.numerator)
    numerator, denominator = Decimal(value.numerator), Decimal(value.denominator)
    context = Context(prec=8, traps=[])
    quotient = context.divide(numerator, denominator)
    if not context.flags[Inexact] and len(exact := f"{quotient.normalize():f}") <= 8:
        return exact
    rounded = Context(prec=6).divide(numerator, denominator).normalize()
    exponent = rounded.adjusted()
    return f"{rounded:f}" if -5 < exponent < 8 else f"{rounded.scaleb(-exponent):f}e{exponent:+d}"


def _systematic(name: str, width: str, exponent_bits: str, fraction_bits: str, suffix: str) -> FloatingPointFormat:
    fmt = _split(int(exponent_bits), int(fraction_bits), suffix, name)
    if fmt.width != int(width):
        raise ValueError(f"Format must have as many bits as its name says ({width}), not {fmt.width}: {quoted(name)}")
    return fmt


def _minifloat(name: str, exponent_bits: str, fraction_bits: str) -> FloatingPointFormat:
    return _split(int(exponent_bits), int(fraction_bits), "minifloat", name)


def _p3109(name: str, width: str, precision: str, signedness: str, domain: str) -> FloatingPointFormat:
    signed = signedness == "s"
    if not 2 <= int(width) <= 16:
        raise ValueError(f"P3109 width must be between 2 and 16 bits, not {quoted(name)}")
    if not 1 <= int(precision) <= int(width) - signed:
        raise ValueError(f"P3109 precision must be between 1 and {int(width) - signed} bits for this width, "
                         f"not {quoted(name)}")
    try:
        return p3109(int(width), int(precision), extended=domain == "e", signed=signed)
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {quoted(name)}: {error}") from error


def _fixed_text(name: str, unsigned: str, width: str, fraction_bits: str) -> FixedPointFormat:
    return _fixed(name, unsigned, int(width), _signed_integer(fraction_bits))


def _ap_fixed(name: str, unsigned: str, width: str, integer_bits: str) -> FixedPointFormat:
    return _fixed(name, unsigned, int(width), int(width) - _signed_integer(integer_bits))


def _integer(name: str, unsigned: str, width: str) -> FixedPointFormat:
    return _fixed(name, unsigned, int(width), 0)


def _fixed(name: str, unsigned: str, width: int, fraction_bits: int) -> FixedPointFormat:
    try:
        return FixedPointFormat(width=width, fraction_bits=fraction_bits, signed=not unsigned)
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {quoted(name)}: {error}") from error


def _posit(name: str, width: str, exponent_size: str) -> PositFormat:
    try:
        return PositFormat(width=int(width), exponent_size=int(exponent_size))
    except ValueError as error:
        raise ValueError(f"Format must be buildable, not {quoted(name)}: {error}") from error


def _signed_integer(text: str) -> int:
    return -int(text[1:]) if text[0] in "-m" else int(text)


def _float32(name: str) -> FloatingPointFormat:
    return split(8, 23, "")


_PATTERNS: tuple[tuple[str, Callable[..., ScalarFormat]], ...] = (
    ("float32|fp32|single|binary32", _float32),
    (f"float({_N2})_e({_N2})m({_N2})(fnuz|fn|)", _systematic),
    (f"minifloat_e({_N2})m({_N2})", _minifloat),
    (f"p3109_k({_N2})p({_N2})([su])([ef])", _p3109),
    (f"(u?)int({_N3})", _integer),
    (f"posit<({_N2}), *({_N2})>", _posit),
    (f"posit({_N2})_({_N2})", _posit),
    # The shell-safe twins write a minus sign as m: fixed8_m2 is fixed<8,-2>.
    *((f"{prefix}{separators}", build)
      for prefix, build in (("(u?)fixed", _fixed_text), ("ap_(u?)fixed", _ap_fixed))
      for separators in (f"<({_N3}), *(-?{_N3})>", f"({_N3})_(m?{_N3})")),
)


def _change(fmt: ScalarFormat, changes: str, name: str) -> ScalarFormat:
    values = changed_fields(fmt, changes, name)
    try:
        return dataclasses.replace(fmt, **values)  # type: ignore[arg-type]  # each value has its field's type
    except (TypeError, ValueError) as error:
        raise ValueError(f"Format must be buildable, not {quoted(name)}: {error}") from error


def _unknown(stem: str, name: str) -> str:
    posit = re.fullmatch(f"posit({_N2})", stem)
    if posit:
        width = min(max(3, int(posit[1])), 16)
        choices = ", ".join(f"posit<{width},{exponent_size}>" for exponent_size in range(min(3, width - 3) + 1))
        return (f"Format must name the posit's exponent size, as in {choices} (the standard's is 2), not "
                f"{quoted(name)}")
    if stem.startswith("posit"):
        return (f"Format must be posit<n,es> with a width of 3 to 16 bits and an exponent size of 0 to 3, as in "
                f"posit<8,2> or posit8_2, not {quoted(name)}")
    if stem in _AMBIGUOUS:
        return f"Format must be one of {', '.join(_AMBIGUOUS[stem])}, not the ambiguous {quoted(name)}"
    block = _block_mend(stem)
    if block:
        return f"Format must be a scalar one, not the block format {quoted(name)}; {block}"
    close = get_close_matches(stem[:_LONGEST_QUOTE], by_name(), n=3, cutoff=0.6)
    mend = f"did you mean {', '.join(close)}?" if close else "see 'python -m synth formats'"
    return f"Format must be a known name, not {quoted(name)}; {mend}"


def _block_mend(stem: str) -> str:
    from sw.formats.block_names import block_mend  # block formats are made of scalar ones
    return block_mend(stem)
