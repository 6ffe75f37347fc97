"""What is published of minifloat accumulators, asked of measured ones: their order, and what they cost over integers.

Only measured rows answer; what was not measured is named, never predicted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sw.formats import parse
from synth.cost.point import EXACT, Point
from synth.cost.table import Measured, Table

TERMS = 4608
"""Longest dot product of ResNet-18, for which the published accumulators were dimensioned."""

WITHOUT_CONVERSION = (20, 180)
WITH_CONVERSION = (60, 300)
"""Published bounds, in percent, of what a minifloat accumulator costs over an integer one of the same width, without
and with the conversion of its sum back to the format. Source: Damsgaard et al. 2025 (TCAD), abstract."""

EIGHT_BITS = ("e3m4", "e4m3", "e5m2")
"""Formats of 8 bits, the cheapest first. Source: arXiv 2311.12359 v3: the width of the sum doubles with each bit of
the exponent."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Formats in the order in which their costs should rise.

    Parameters
    ----------
    target : str
    formats : tuple of str
        Those that were measured.
    lut : tuple of int
        Their lookup tables.
    missing : tuple of str
        Formats of the order that were not.
    """

    target: str
    formats: tuple[str, ...]
    lut: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool | None:
        """Whether each costs more than the one before; None if fewer than two were measured."""
        if len(self.lut) < 2:
            return None
        return all(low < high for low, high in zip(self.lut, self.lut[1:], strict=False))

    def to_json(self) -> Json:
        """Return every field, ready for JSON."""
        return {**dataclasses.asdict(self), "holds": self.holds}


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """What a minifloat accumulator costs over the integer one of the same width.

    Parameters
    ----------
    target, format, integer : str
    lut, integer_lut : int
    low_percent, high_percent : int
        Published bounds of the overhead.
    """

    target: str
    format: str
    integer: str
    lut: int
    integer_lut: int
    low_percent: int
    high_percent: int

    @property
    def overhead(self) -> float:
        """Part of the integer's lookup tables that comes on top."""
        return self.lut / self.integer_lut - 1

    @property
    def holds(self) -> bool:
        """Whether it lies within the published bounds."""
        percent = 100 * (self.lut - self.integer_lut)
        return self.low_percent * self.integer_lut <= percent <= self.high_percent * self.integer_lut

    def to_json(self) -> Json:
        """Return every field, ready for JSON."""
        return {**dataclasses.asdict(self), "overhead": round(self.overhead, 4), "holds": self.holds}


def accumulator(table: Table, fmt: str, target: str, *, converted: bool = False) -> Measured | None:
    """Return the measured exact accumulator of a format on a target; None if there is none.

    Parameters
    ----------
    table : Table
    fmt : str
        Of both operands.
    target : str
    converted : bool
        Whether its sum is rounded to the format again.
    """
    return table.find(Point(op="emac", fmt=fmt, out_fmt=None if converted else EXACT,  # type: ignore[arg-type]
                            terms=TERMS), target)


def minifloats(bits: int) -> list[str]:
    """Return the published minifloats of a width: of two to five exponent bits, and a fraction bit at least."""
    return [f"minifloat_e{exponent}m{bits - 1 - exponent}" for exponent in range(2, min(bits - 2, 5) + 1)]


def order(table: Table, formats: Sequence[str], target: str) -> Order:
    """Return whether formats' accumulators cost more, one after the other."""
    rows = {fmt: accumulator(table, fmt, target) for fmt in formats}
    known = {fmt: row for fmt, row in rows.items() if row is not None}
    return Order(target=target, formats=tuple(parse(fmt).name for fmt in known),
                 lut=tuple(row.lut for row in known.values()),
                 missing=tuple(fmt for fmt in formats if fmt not in known))


def orders_within_widths(table: Table, target: str, widths: Sequence[int] = range(5, 9)) -> list[Order]:
    """Return whether cost rises with the exponent's bits within each width: those that have two formats to compare."""
    return [order(table, minifloats(bits), target) for bits in widths]


def order_of_eight_bits(table: Table, target: str) -> Order:
    """Return whether E3M4 costs less than E4M3, and that less than E5M2."""
    return order(table, [f"minifloat_{name}" for name in EIGHT_BITS], target)


def overheads(table: Table, target: str, *, converted: bool, widths: Sequence[int] = range(4, 9)) -> list[Overhead]:
    """Return what each minifloat accumulator costs over the integer one of its width.

    The integer is ours, with hand-built Booth products, and its sum is not converted: the same yardstick for both
    questions. Pairs of which one was not measured are left out.
    """
    low, high = WITH_CONVERSION if converted else WITHOUT_CONVERSION
    found = []
    for bits in widths:
        integer = accumulator(table, f"int{bits}", target)
        for fmt in minifloats(bits):
            row = accumulator(table, fmt, target, converted=converted)
            if row is not None and integer is not None:
                found.append(Overhead(target=target, format=row.point.fmt, integer=f"int{bits}", lut=row.lut,
                                      integer_lut=integer.lut, low_percent=low, high_percent=high))
    return found
