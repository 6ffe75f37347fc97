"""What the ``formats`` verb says of block formats; no verb of its own."""

import shlex
from fractions import Fraction
from typing import Any

from sw.formats import (
    BLOCK_CATALOG,
    BlockCatalogEntry,
    BlockFormat,
    BlockResolution,
    ScaleRule,
    block_facts,
    number,
)
from synth.verbs.output import Output

_RULES = {
    ScaleRule.FLOOR: "2^(floor(log2 of the block's maximum) - {emax}), elements beyond {largest} saturate",
    ScaleRule.CEIL: "2^(ceil(log2 of the block's maximum) - {emax}), no element saturates",
    ScaleRule.EVEN: "2^(floor(log2 of the block's maximum, rounded to an element's fraction) - {emax})",
    ScaleRule.ROUND_UP: "the block's maximum / {largest}, rounded up",
    ScaleRule.ABSMAX: "the block's maximum / {largest}, rounded to nearest",
    ScaleRule.UNIT: "the block's maximum, rounded up",
}


def block_documents() -> list[dict[str, Any]]:
    """Return the named block formats for JSON."""
    return [_document(entry.format, entry) for entry in BLOCK_CATALOG]


def list_blocks(console: Output) -> None:
    """Print the table of the named block formats."""
    console.table("Block formats",
                  ["name", "elements", "block", "scale", "scale rule", "tensor scale", "bits an element",
                   "also called"],
                  [[entry.name, entry.format.element.name, str(entry.format.block_size), _scale_name(entry.format),
                    entry.format.scale_rule.value, _tensor_scale(entry.format),
                    number(entry.format.bits_per_element), ", ".join(entry.aliases)] for entry in BLOCK_CATALOG])


def show_block(resolution: BlockResolution, console: Output, *, as_json: bool) -> None:
    """Print one block format in full."""
    fmt = resolution.format
    entry = next((entry for entry in BLOCK_CATALOG if entry.format == fmt), None)
    if as_json:
        console.json({"note": resolution.note, **_document(fmt, entry)})
        return
    if resolution.note:
        console.print(resolution.note)
    console.table(fmt.name, ["fact", "value"], _facts(fmt, entry))
    console.print(f"'python -m synth formats {shlex.quote(fmt.element.name)}' shows the elements, "
                  f"'python -m synth formats {shlex.quote(fmt.scale.name)}' the scale.")


def _document(fmt: BlockFormat, entry: BlockCatalogEntry | None) -> dict[str, Any]:
    return {**block_facts(fmt), "aliases": [] if entry is None else list(entry.aliases),
            "source": None if entry is None else entry.source}


def _facts(fmt: BlockFormat, entry: BlockCatalogEntry | None) -> list[tuple[str, str]]:
    rule = _RULES[fmt.scale_rule].format(emax=fmt.element_exponent, largest=number(fmt.element.max_finite))
    without_nan = fmt.scale.nan_code is None
    under = " times the tensor scale" if fmt.tensor_scale else ""
    return [
        ("family", "block: elements that share a scale"),
        ("elements", f"{fmt.block_size} x {fmt.element.name} ({_bits(fmt.element_bits)})"),
        ("scale", f"{_scale_name(fmt)} ({_bits(fmt.scale_bits)})"),
        ("scale rule", f"{fmt.scale_rule.value}: {rule}"),
        ("tensor scale", _tensor_scale(fmt)),
        ("storage", f"{number(fmt.bits_per_element)} bits an element, {number(32 / fmt.bits_per_element)} times less "
                    "than float32"),
        ("maximum", number(fmt.max_finite) + under),
        ("smallest positive", number(fmt.smallest_positive) + under),
        ("block of zeros", "scale code 0"),
        ("NaN or infinity", "infinity gets the largest scale" if without_nan else "scale NaN: all of the block is NaN"),
        ("also called", ", ".join(entry.aliases) if entry and entry.aliases else "–"),
        ("source", entry.source if entry else "its name, by the fields that it changes"),
    ]


def _tensor_scale(fmt: BlockFormat) -> str:
    if not fmt.tensor_scale:
        return "none"
    divisor = "" if fmt.tensor_limit == 1 else f" / {number(fmt.tensor_limit)}"
    return f"float32, maximum{divisor}"


def _scale_name(fmt: BlockFormat) -> str:
    """Name a scale format; where its name goes into detail, by its fields."""
    if ":" not in fmt.scale.name:
        return fmt.scale.name
    smallest = fmt.scale.smallest_positive
    return (f"{int(fmt.scale.signed)}-{fmt.scale.exponent_bits}-{fmt.scale.fraction_bits} "
            f"({_power(smallest)} to {number(fmt.scale.max_finite)})")


def _power(value: Fraction) -> str:
    """Write a power of two as one, and anything else as a number."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return f"2^{exponent}" if value == Fraction(2) ** exponent else number(value)


def _bits(count: int) -> str:
    return "1 bit" if count == 1 else f"{count} bits"
