"""``formats``: the catalog with its derived facts, or one format in full with its values."""

import argparse
import dataclasses
import shlex
from fractions import Fraction
from typing import Any

from sw.formats import (
    CATALOG,
    BlockResolution,
    CatalogEntry,
    FixedPointFormat,
    FloatingPointFormat,
    PositFormat,
    Resolution,
    ScalarFormat,
    Specials,
    Subnormals,
    ValueRow,
    edges,
    facts,
    number,
    resolve_any,
    value_row,
    value_table,
)
from sw.formats.facts import MAX_TABLE_WIDTH
from synth.errors import usage_errors
from synth.verbs.block_formats import block_documents, list_blocks, show_block
from synth.verbs.output import Output

_GRID_WIDTH = 8  # bits: a format of up to this many has its values shown as a grid
_LONGEST_EXACT = 16  # characters that an exact value may take before it is written with a power of two
_LINE = 76  # characters that a grid may take

_GRAMMAR = """Fields are sign-exponent-fraction, in bits.
Other names: e<x>m<y> (up to 16 bits), float<w>_e<x>m<y> with suffix fn or fnuz, minifloat_e<x>m<y>, \
p3109_k<K>p<P>se, sf or uf,
int<w>, uint<w>, fixed<W,F>, ufixed<W,F>, ap_fixed<W,I>, ap_ufixed<W,I>, posit<n,es> (n from 3 to 16, es up to 3),
or without brackets fixed8_4, ap_fixed8_m2, posit8_1. Of block formats also mls<E,M> or mls2_4.
Any name takes changed fields: e4m3:subnormals=flushed, e4m3:bias=11,specials=none, int8:narrow_range=true,
mxfp4:block_size=16,scale_rule=even.
'python -m synth formats NAME' shows one in full."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="format to show in full; without it, list them all")
    parser.add_argument("--values", action="store_true",
                        help="with NAME, list every code with its bits and exact value (up to 16 bits)")


def run(arguments: argparse.Namespace, console: Output) -> int:
    """List the catalog, or show one format.

    Raises
    ------
    UsageError
        If nothing has the name, or ``--values`` comes without a name or with too wide a format.
    """
    with usage_errors():
        if arguments.name is None and arguments.values:
            raise ValueError("Option --values must come with the name of a format, not alone")
        if arguments.name is None:
            return _list(arguments.json, console)
        resolution = resolve_any(arguments.name)
        if isinstance(resolution, BlockResolution) and arguments.values:
            raise ValueError(f"Option --values must come with the name of a scalar format, not of the block format "
                             f"{resolution.format.name}; its elements are {resolution.format.element.name}")
        if isinstance(resolution, BlockResolution):
            show_block(resolution, console, as_json=arguments.json)
            return 0
        wanted = arguments.values or resolution.format.width <= _GRID_WIDTH
        table = value_table(resolution.format) if wanted else None
    return _show(resolution, table, arguments, console)


def _list(as_json: bool, console: Output) -> int:
    if as_json:
        console.json({"formats": [_document(entry.format, entry) for entry in CATALOG], "blocks": block_documents()})
        return 0
    floats = [(entry, entry.format) for entry in CATALOG if isinstance(entry.format, FloatingPointFormat)]
    fixed = [(entry, entry.format) for entry in CATALOG if isinstance(entry.format, FixedPointFormat)]
    posits = [(entry, entry.format) for entry in CATALOG if isinstance(entry.format, PositFormat)]
    console.table("Floating point",
                  ["name", "fields", "bias", "maximum", "smallest normal", "smallest", "special codes", "also called"],
                  [[entry.name, _fields(fmt), str(fmt.bias), number(fmt.max_finite), number(fmt.smallest_normal),
                    number(fmt.smallest_positive), _special_codes(fmt), ", ".join(entry.aliases)]
                   for entry, fmt in floats])
    console.table("Fixed point and integers", ["name", "minimum", "maximum", "step", "also called"],
                  [[entry.name, number(fmt.min_finite), number(fmt.max_finite), number(fmt.quantum),
                    ", ".join(entry.aliases)] for entry, fmt in fixed])
    console.table("Posits", ["name", "useed", "maximum", "smallest", "significand", "quire", "also called"],
                  [[entry.name, str(fmt.useed), number(fmt.max_finite), number(fmt.smallest_positive),
                    _bits(fmt.significand_bits), _bits(_quire_bits(fmt)), ", ".join(entry.aliases)]
                   for entry, fmt in posits])
    list_blocks(console)
    console.print(_GRAMMAR)
    return 0


def _show(resolution: Resolution, table: list[ValueRow] | None, arguments: argparse.Namespace,
          console: Output) -> int:
    fmt = resolution.format
    entry = next((entry for entry in CATALOG if entry.format == fmt), None)
    if arguments.json:
        console.json({
            "note": resolution.note, **_document(fmt, entry),
            "edges": {label: dataclasses.asdict(row) for label, row in edges(fmt).items()},
            "values": None if table is None else [dataclasses.asdict(row) for row in table],
        })
        return 0
    if resolution.note:
        console.print(resolution.note)
    console.table(fmt.name, ["fact", "value"], _facts(fmt, entry))
    console.table("Edges", ["value", "code", "bits", "decimal", "exact"],
                  [[label, *_cells(row, fmt.width)] for label, row in edges(fmt).items()])
    if table is not None and arguments.values:
        console.table("Values", ["code", "bits", "decimal", "exact"], [_cells(row, fmt.width) for row in table])
    elif table is not None:
        _grid(fmt, table, console)
    elif fmt.width <= MAX_TABLE_WIDTH:
        name = shlex.quote(arguments.name)
        console.print(f"'python -m synth formats {name} --values' lists all {1 << fmt.width} codes.")
    return 0


def _document(fmt: ScalarFormat, entry: CatalogEntry | None) -> dict[str, Any]:
    return {**facts(fmt), "aliases": [] if entry is None else list(entry.aliases),
            "source": None if entry is None else entry.source}


def _fields(fmt: FloatingPointFormat) -> str:
    return f"{int(fmt.signed)}-{fmt.exponent_bits}-{fmt.fraction_bits}"


def _special_codes(fmt: FloatingPointFormat) -> str:
    nan = facts(fmt)["nan_codes"]
    parts = ["±Inf" if fmt.signed else "Inf"] if fmt.has_infinity else []
    parts += [f"{nan} NaN"] if nan else []
    parts += ["-0"] if fmt.has_negative_zero else []
    parts += [] if fmt.has_zero else ["no 0"]
    return ", ".join(parts) or "none"


_SPECIALS = {
    Specials.IEEE: "as in IEEE 754: the top exponent is infinity and NaN",
    Specials.FN: "finite: all ones below the sign is NaN, there is no infinity",
    Specials.FNUZ: "finite: NaN in place of the negative zero, there is no infinity",
    Specials.P3109: "NaN in place of the negative zero, all ones below the sign is infinity",
    Specials.NONE: "none: every code is a finite number",
}
_SUBNORMALS = {
    Subnormals.SUPPORTED: "supported",
    Subnormals.FLUSHED: "flushed to zero",
    Subnormals.ABSENT: "absent: the lowest exponent holds normal numbers too",
}


def _facts(fmt: ScalarFormat, entry: CatalogEntry | None) -> list[tuple[str, str]]:
    known: dict[str, Any] = facts(fmt)
    if isinstance(fmt, FloatingPointFormat):
        rows = [
            ("family", f"floating point, radix {fmt.radix}, {'signed' if fmt.signed else 'unsigned'}"),
            ("width", f"{_bits(fmt.width)}: {int(fmt.signed)} sign, {fmt.exponent_bits} exponent, "
                      f"{fmt.fraction_bits} fraction"),
            ("significand", f"{_bits(fmt.fraction_bits + 1)}, with the hidden one"),
            ("bias", str(fmt.bias)),
            ("special codes", f"{_special_codes(fmt)} ({_SPECIALS[fmt.specials]})"),
            ("subnormals", _SUBNORMALS[fmt.subnormals]),
            ("smallest normal", number(fmt.smallest_normal)),
            ("unit roundoff", _short(known["unit_roundoff"]["exact"])),
        ]
    elif isinstance(fmt, PositFormat):
        rows = [
            ("family", "posit"),
            ("width", f"{_bits(fmt.width)}: 1 sign, a regime of 2 to {fmt.width - 1}, {fmt.exponent_size} exponent, "
                      "the rest fraction"),
            ("useed", f"{fmt.useed}: the factor of each further bit of the regime"),
            ("significand", f"{_bits(fmt.significand_bits)} at most, with the hidden one"),
            ("special codes", f"NaR (NaN) alone, {_hex(fmt.nan_code, fmt.width)}"),
            ("unit roundoff", f"{_short(known['unit_roundoff']['exact'])} around 1"),
            ("quire", f"{_bits(_quire_bits(fmt))} hold a product exactly; a sum of k takes ceil(log2 k) more"),
        ]
    else:
        rows = [
            ("family", f"fixed point, {'signed (two’s complement)' if fmt.signed else 'unsigned'}"),
            ("width", f"{_bits(fmt.width)}: {fmt.width - fmt.fraction_bits} integer, {fmt.fraction_bits} fraction"),
            ("narrow range", "yes: no rounding gives the most negative code" if fmt.narrow_range else "no"),
            ("step", f"{number(fmt.quantum)} everywhere"),
        ]
    return [*rows, ("minimum", number(fmt.min_finite)), ("maximum", number(fmt.max_finite)),
            ("smallest positive", number(fmt.smallest_positive)), ("finite values", str(known["finite_values"])),
            ("dynamic range", _dynamic_range(known)),
            ("also called", ", ".join(entry.aliases) if entry and entry.aliases else "–"),
            ("source", entry.source if entry else "its name, by the rules of the family")]


def _quire_bits(fmt: PositFormat) -> int:
    bits: Any = facts(fmt)["quire_bits"]
    return int(bits)


def _bits(count: int) -> str:
    return "1 bit" if count == 1 else f"{count} bits"


def _short(exact: str) -> str:
    """Write a long exact value as an odd integer times a power of two."""
    if len(exact) <= _LONGEST_EXACT:
        return exact
    value = Fraction(exact)
    factors = (value.numerator & -value.numerator).bit_length() - 1
    odd, exponent = value.numerator >> factors, factors - (value.denominator.bit_length() - 1)
    return f"2^{exponent}" if odd == 1 else f"{odd}*2^{exponent}"


def _dynamic_range(known: dict[str, Any]) -> str:
    reach = known["dynamic_range"]
    return "–" if reach["binades"] is None else f"{reach['binades']:.1f} binades, {reach['decibels']:.1f} dB"


def _cells(row: ValueRow, width: int) -> list[str]:
    return [_hex(row.code, width), row.bits, row.decimal, _short(row.exact)]


def _hex(code: int, width: int) -> str:
    return f"0x{code:0{-(-width // 4)}X}"


def _grid(fmt: ScalarFormat, table: list[ValueRow], console: Output) -> None:
    """Print the values in rows of consecutive codes; of signed floats and of posits the half with sign 0."""
    mirrored = isinstance(fmt, FloatingPointFormat) and fmt.signed
    half = table[:len(table) // 2] if mirrored or isinstance(fmt, PositFormat) else table
    cell = 3 + max(len(row.decimal) for row in half)
    columns = min(16, len(half), 1 << max(0, (_LINE // cell).bit_length() - 1))
    starts = range(0, len(half), columns)
    console.table("Values by code", ["code", *(f"+{step}" for step in range(columns))],
                  [[_hex(start, fmt.width), *(row.decimal for row in half[start:start + columns])]
                   for start in starts])
    if mirrored:
        sign = 1 << (fmt.width - 1)
        first = value_row(fmt, sign).decimal
        but = f", but {_hex(sign, fmt.width)} is NaN" if first == "NaN" else ""
        console.print(f"Codes from {_hex(sign, fmt.width)} on are these with a minus sign{but}.")
    elif isinstance(fmt, PositFormat):
        nar, lowest = (_hex(fmt.nan_code + step, fmt.width) for step in (0, 1))
        console.print(f"Code {nar} is NaR; the code of a negative number is the two's complement of its magnitude's, "
                      f"{lowest} that of the most negative one.")
