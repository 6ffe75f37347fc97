"""Which formats are compared: families, widths, and the pairs of weights and activations."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from sw.formats import BLOCK_CATALOG, BlockFormat, FixedPointFormat, PositFormat, parse_any, resolve_any
from synth.errors import UsageError, usage_errors

MIN_BITS, MAX_BITS = 2, 16
"""Widths that ``--bits`` may name."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Formats of a layer.

    Parameters
    ----------
    weight, activation : str
        Canonical names.
    power_of_two : bool
        Whether the scales are powers of two, so that scaling is a shift.
    """

    weight: str
    activation: str
    power_of_two: bool = False

    @property
    def label(self) -> str:
        """What a table calls it."""
        pair = self.weight if self.weight == self.activation else f"{self.weight} × {self.activation}"
        return f"{pair}, 2^n scales" if self.power_of_two else pair

    @property
    def family(self) -> str:
        """Family of the weights, and of the activations where it is another."""
        families = [family_of(name, power_of_two=self.power_of_two) for name in (self.weight, self.activation)]
        return "/".join(dict.fromkeys(families))

    @property
    def weight_bits(self) -> int:
        """Width of a weight's code, of an element's for a block format."""
        return width_of(self.weight)

    @property
    def activation_bits(self) -> int:
        """Width of an activation's code, of an element's for a block format."""
        return width_of(self.activation)

    def to_json(self) -> dict[str, str | bool]:
        """Return the fields, ready for JSON."""
        return {"weight": self.weight, "activation": self.activation, "power_of_two": self.power_of_two}


@cache
def width_of(name: str) -> int:
    """Return the width of a format's codes in bits, of its elements for a block format."""
    fmt = parse_any(name)
    return fmt.element.width if isinstance(fmt, BlockFormat) else fmt.width


@cache
def bits_per_weight(name: str) -> float:
    """Return the bits that a stored number takes, a block's scale shared out over its elements."""
    fmt = parse_any(name)
    if isinstance(fmt, BlockFormat):
        return fmt.element.width + fmt.scale.width / fmt.block_size
    return float(fmt.width)


@cache
def family_of(name: str, *, power_of_two: bool = False) -> str:
    """Return the family that a format's name belongs to."""
    fmt = parse_any(name)
    if isinstance(fmt, BlockFormat):
        return "mx"
    if isinstance(fmt, PositFormat):
        return "posit"
    if isinstance(fmt, FixedPointFormat):
        return "fixed" if power_of_two or fmt.fraction_bits else "int"
    return "minifloat" if fmt in _minifloats() else "float"


@cache
def _minifloats() -> frozenset[object]:
    return frozenset(parse_any(name) for bits in range(MIN_BITS, MAX_BITS + 1) for name in _minifloat(bits))


def _minifloat(bits: int) -> list[str]:
    # Without an exponent bit it is a fixed-point number, and one of 2 bits has no fraction to spare for one.
    return [f"minifloat_e{exponent}m{bits - 1 - exponent}" for exponent in range(1, min(bits, 9))
            if (exponent, bits) != (1, 2)]


def _posit(bits: int) -> list[str]:
    return [f"posit<{bits},{exponent_size}>" for exponent_size in range(min(3, bits - 2))] if bits >= 3 else []


def _float(bits: int) -> list[str]:
    return {8: ["float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4"],
            16: ["float16", "bfloat16"]}.get(bits, [])


def _block(bits: int) -> list[str]:
    # Of the multi-level scaling formats, mls, a block is one 3x3 kernel, which a linear layer does not have.
    return [entry.name for entry in BLOCK_CATALOG
            if entry.format.element.width == bits and not entry.name.startswith("mls")]


FAMILIES: dict[str, tuple[str, Callable[[int], list[str]]]] = {
    "minifloat": ("every split of exponent and fraction, all codes finite", _minifloat),
    "int": ("integers", lambda bits: [f"int{bits}"]),
    "fixed": ("fixed point: integers whose scales are powers of two", lambda bits: [f"fixed<{bits},{bits - 1}>"]),
    "posit": ("posits of exponent size 0, 1 and 2", _posit),
    "float": ("formats with infinities or NaNs: OCP, IEEE", _float),
    "mx": ("block formats: MX, NVFP4", _block),
}
"""Name, what it is, and from a width to the names of its formats."""


def parse_bits(text: str) -> tuple[int, ...]:
    """Read widths such as ``3..8``, ``4`` or ``4,6..8``; return them in order, each once.

    Raises
    ------
    UsageError
        If the text is none of these, or a width is out of range.
    """
    widths: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,3})\s*(?:\.\.\s*([0-9]{1,3})\s*)?", part)
        if match is None:
            raise UsageError(f"Bits must be a range such as 3..8, or a list such as 4,6,8, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"Bits must rise in a range, as in {last}..{first}, not {text!r}")
        if not MIN_BITS <= first <= last <= MAX_BITS:
            raise UsageError(f"Bits must be between {MIN_BITS} and {MAX_BITS}, not {text!r}")
        widths.update(range(first, last + 1))
    return tuple(sorted(widths))


def find_family(name: str) -> str:
    """Return the family of this name.

    Raises
    ------
    UsageError
        If there is none; the nearest is named.
    """
    return find_name("Family", name, FAMILIES)


def find_name(noun: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known, whatever its case.

    Raises
    ------
    UsageError
        If it is not; the nearest one is named.
    """
    names = list(known)
    text = name.strip().lower()
    if text in names:
        return text
    close = get_close_matches(text, names, n=1, cutoff=0.4)
    mend = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"{noun} must be one of {', '.join(names)}, not {name!r}{mend}")


def choices(*, families: Sequence[str] = (), bits: Sequence[int] = tuple(range(3, 9)), formats: Sequence[str] = (),
            activation: str | None = None, pairs: bool = False) -> tuple[list[Choice], list[str]]:
    """Return the pairs of formats to compare, each once, and notes on how names were understood.

    Parameters
    ----------
    families : sequence of str
        Families to take the formats of ``bits`` from; all if empty.
    bits : sequence of int
        Widths.
    formats : sequence of str
        Names that take the place of families and widths.
    activation : str, optional
        Format of all activations; that of the weights if None.
    pairs : bool
        Whether weights also meet the wider activations of their family, as in the paper.

    Raises
    ------
    UsageError
        If a name means nothing, nothing is left to compare, or ``activation`` and ``pairs`` are both given.
    """
    if activation is not None and pairs:
        raise UsageError(f"Activation format must be left out where --pairs takes them all, not {activation!r}")
    notes: list[str] = []

    def named(name: str) -> str:
        with usage_errors():
            resolution = resolve_any(name)
        if resolution.note and resolution.note not in notes:
            notes.append(resolution.note)
        return resolution.format.name

    if formats:
        groups = [[(name, False) for name in dict.fromkeys(map(named, formats))]]
    else:
        chosen = [find_family(name) for name in families] or list(FAMILIES)
        groups = [[(parse_any(name).name, family == "fixed") for width in bits for name in FAMILIES[family][1](width)]
                  for family in dict.fromkeys(chosen)]
    fixed_activation = None if activation is None else named(activation)
    found = [Choice(weight=weight, activation=other, power_of_two=power_of_two)
             for group in groups for weight, power_of_two in group
             for other in _activations(weight, group, fixed_activation, pairs)]
    if not found:
        raise UsageError(f"Formats must be at least one, not none: family {', '.join(families)} has none of "
                         f"{', '.join(map(str, bits))} bits; name other --bits or --family")
    return list(dict.fromkeys(found)), notes


def _activations(weight: str, group: Sequence[tuple[str, bool]], fixed: str | None, pairs: bool) -> list[str]:
    if fixed is not None:
        return [fixed]
    if not pairs:
        return [weight]
    return [name for name, _ in group if name == weight or width_of(name) > width_of(weight)]
