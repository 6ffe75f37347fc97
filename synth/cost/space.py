"""The design space: which operators the table of costs is made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, resolve
from synth.cost.point import ACCUMULATORS, EXACT, OPERATIONS, Point
from synth.errors import UsageError, usage_errors

Pair = tuple[str, str]
"""Names of both operands' formats."""

BITS = range(3, 9)
"""Widths of the formats."""

TERMS = 4608
"""Longest sum of an accumulator: that of the last 3x3 convolutions of ResNet-18, 512 channels of nine taps."""

LANES = 8
"""Pairs of a dot product."""

MAX_EXPONENT_SIZE = 2
"""Largest exponent size of posits: that of the standard."""

_NAMED = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4", "float8_e4m3fnuz")
"""Types with codes for infinities and NaN, which the splits below have not."""

_INTERCHANGE = ((2, 1), (3, 2), (2, 3), (4, 3), (3, 4), (5, 2))
"""Exponent and fraction bits of the types that hardware has (OCP OFP8 and MX, and 3-4)."""

_STUDIED = ("minifloat_e4m3", "minifloat_e3m2", "minifloat_e2m1", "int8", "int4", "minifloat_e5m2", "minifloat_e2m3",
            "minifloat_e3m4", "posit<8,1>")
"""Formats of which sums of other lengths, pipelines and hard multipliers are measured too."""

_MIXED: tuple[Pair, ...] = (
    *((f"int{weight}", f"int{activation}") for weight, activation in ((4, 8), (4, 6), (6, 8), (3, 8), (5, 8), (3, 6))),
    *((f"minifloat_{weight}", f"minifloat_{activation}") for weight, activation in (
        ("e2m1", "e4m3"), ("e2m1", "e3m4"), ("e2m1", "e5m2"), ("e2m1", "e2m5"), ("e3m2", "e4m3"), ("e2m3", "e4m3"),
        ("e2m3", "e3m4"), ("e3m2", "e5m2"), ("e2m1", "e2m3"), ("e2m1", "e3m2"), ("e3m1", "e4m3"), ("e2m2", "e3m4"),
        ("e3m0", "e4m3"), ("e4m3", "e5m2"), ("e2m5", "e5m2"), ("e3m4", "e4m3"))),
    ("int4", "minifloat_e4m3"), ("int4", "minifloat_e3m4"), ("minifloat_e2m1", "int8"),
    ("posit<6,1>", "posit<8,1>"), ("posit<4,0>", "posit<8,0>"), ("int8", "posit<8,1>"))
"""Weights narrower than activations, the same split twice with other exponents, and families that meet."""


_UNSIGNED = ("uint4", "uint8", "int8:narrow_range=true")
"""Integers of other ranges: activations behind a rectifier, weights without the most negative code."""

_CROSSING = (("minifloat_e4m3", "int8"), ("int8", "minifloat_e4m3"), ("minifloat_e4m3", "posit<8,1>"))
"""Operands, and results of another family."""


class Family(Enum):
    """Families of formats, by the name of ``--family``."""

    FLOAT = "float"
    FIXED = "fixed"
    POSIT = "posit"

    def holds(self, fmt: ScalarFormat) -> bool:
        """Whether a format belongs to it."""
        kinds = {Family.FLOAT: FloatingPointFormat, Family.FIXED: FixedPointFormat, Family.POSIT: PositFormat}
        return isinstance(fmt, kinds[self])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of formats and micro-architectures of an operation.

    Parameters
    ----------
    op : str
    pairs : tuple of (str, str)
        Operands.
    exact : bool
        Whether results are not rounded.
    result : str, optional
        What they are rounded to otherwise; by default the format of the second operand: as activations are multiplied
        by weights and are activations again.
    terms, lanes : tuple of int or None
        None where the operation has none.
    pipelines : tuple of int
    dsp : tuple of bool
    """

    op: str
    pairs: tuple[Pair, ...]
    exact: bool = False
    result: str | None = None
    terms: tuple[int | None, ...] = (None,)
    lanes: tuple[int | None, ...] = (None,)
    pipelines: tuple[int, ...] = (0,)
    dsp: tuple[bool, ...] = (False,)

    def points(self) -> Iterator[Point]:
        """Yield the points, the pairs one after the other."""
        for (a, b), terms, lanes, pipeline, dsp in itertools.product(self.pairs, self.terms, self.lanes,
                                                                     self.pipelines, self.dsp):
            yield Point(op=self.op, fmt=a, fmt_b=b, out_fmt=EXACT if self.exact else self.result or b, terms=terms,
                        lanes=lanes, pipeline=pipeline, dsp=dsp)


def splits(bits: int) -> list[str]:
    """Return every split of so many bits into a sign, an exponent and a fraction, all codes finite, by name.

    One exponent bit and no fraction is left out: it has no number but zero and one step.
    """
    return [f"minifloat_e{exponent}m{bits - 1 - exponent}" for exponent in range(1, bits)
            if (exponent, bits - 1 - exponent) != (1, 0)]


def scalar_formats() -> list[str]:
    """Return the names of the formats of :data:`BITS`: every split, integers, types with infinities or NaN, posits,
    splits without subnormals, and fixed point of as many bits before as behind the point."""
    return [*(name for bits in BITS for name in splits(bits)),
            *(f"int{bits}" for bits in BITS),
            *_NAMED,
            *(f"posit<{bits},{size}>" for bits in BITS for size in range(min(MAX_EXPONENT_SIZE, bits - 3) + 1)),
            *(f"minifloat_e{exponent}m{fraction}:subnormals=flushed" for exponent, fraction in _INTERCHANGE),
            *(f"fixed<{bits},{bits // 2}>" for bits in reversed(BITS) if bits % 2 == 0)]


def default_grids() -> list[Grid]:
    """Return the space of the shipped table, what tells most first."""
    same, studied, unsigned = _twice(scalar_formats()), _twice(_STUDIED), _twice(_UNSIGNED)
    integers = _twice(("int4", "int6", "int8"))
    small = _twice(("int3", "int5", "int6", "minifloat_e2m2", "minifloat_e3m3"))
    return [
        *_basic_grids(same), *_basic_grids(_MIXED, rounded=False),
        Grid(op="emac", pairs=studied, exact=True, terms=(64, 512)),
        Grid(op="dot", pairs=studied, exact=True, lanes=(2, 4, 16)),
        Grid(op="emac", pairs=studied, exact=True, terms=(TERMS,), pipelines=(1, 2)),
        Grid(op="multiply", pairs=studied, pipelines=(1, 2)),
        Grid(op="emac", pairs=studied, exact=True, terms=(TERMS,), dsp=(True,)),
        Grid(op="multiply", pairs=studied, dsp=(True,)),
        Grid(op="dot", pairs=studied, lanes=(LANES,)),
        Grid(op="emac", pairs=studied, terms=(TERMS,), pipelines=(1, 2)),
        Grid(op="emac", pairs=studied, exact=True, terms=(TERMS,), lanes=(4,)),
        Grid(op="emac", pairs=unsigned, exact=True, terms=(TERMS,)),
        Grid(op="mac", pairs=unsigned, terms=(TERMS,)),
        Grid(op="mac", pairs=integers, terms=(TERMS,), dsp=(True,)),
        Grid(op="mac", pairs=integers, terms=(TERMS,), pipelines=(1, 2)),
        # From which width on a family uses its multipliers.
        Grid(op="emac", pairs=small, exact=True, terms=(TERMS,), dsp=(True,)),
        Grid(op="multiply", pairs=small, dsp=(True,)),
        *(Grid(op="multiply", pairs=((name, name),), result=result) for name, result in _CROSSING),
    ]


def _twice(names: Iterable[str]) -> tuple[Pair, ...]:
    return tuple((name, name) for name in names)


def _basic_grids(pairs: Sequence[Pair], *, rounded: bool = True, terms: Sequence[int] = (TERMS,),
                 lanes: Sequence[int] = (LANES,), pipelines: Sequence[int] = (0,),
                 dsp: Sequence[bool] = (False,)) -> list[Grid]:
    """Return every operation on some pairs: accumulators with and without the rounding back, if ``rounded``."""
    multiply = Grid(op="multiply", pairs=tuple(pairs), pipelines=tuple(pipelines), dsp=tuple(dsp))
    emac = replace(multiply, op="emac", terms=tuple(terms))
    grids = [replace(emac, exact=True), multiply, replace(multiply, op="dot", exact=True, lanes=tuple(lanes))]
    if rounded:
        fixed = tuple(pair for pair in pairs if all(Family.FIXED.holds(resolve(name).format) for name in pair))
        grids += [emac, replace(emac, op="mac", pairs=fixed)]
    return grids


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is wanted of the design space; nothing said, all of it.

    Formats, lengths of sums, lanes, pipelines and multipliers that are named make a space of their own; operations,
    widths and families leave out of it what they do not hold.

    Parameters
    ----------
    ops, formats, second_formats : tuple of str
    terms, lanes, pipelines : tuple of int
    dsp : tuple of bool
    bits : range, optional
        Widths of both operands.
    families : tuple of Family
        Of both operands.

    Raises
    ------
    UsageError
        If an operation is not tabulated, or none of those that are wanted has what is named.
    """

    ops: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    second_formats: tuple[str, ...] = ()
    terms: tuple[int, ...] = ()
    lanes: tuple[int, ...] = ()
    pipelines: tuple[int, ...] = ()
    dsp: tuple[bool, ...] = ()
    bits: range | None = None
    families: tuple[Family, ...] = ()

    def __post_init__(self) -> None:
        for op in self.ops:
            if op not in OPERATIONS:
                raise UsageError(f"Operation must be one of {', '.join(OPERATIONS)} to have tabulated costs, "
                                 f"not {op!r}")
        for noun, values, having in (("Terms", self.terms, ACCUMULATORS), ("Lanes", self.lanes, ("dot",))):
            if values and self.ops and not set(having) & set(self.ops):
                raise UsageError(f"{noun} must be left out without {' or '.join(having)} among the operations, "
                                 f"not {', '.join(map(str, values))}")

    def points(self) -> list[Point]:
        """Return the points, each once.

        Raises
        ------
        UsageError
            If a format's name means nothing, or its sums are too wide.
        """
        with usage_errors():
            grids = [grid for grid in self._grids() if not self.ops or grid.op in self.ops]
            # Grids are cut down before their points are made, which takes a while.
            cut = [replace(grid, pairs=tuple(self._wanted(grid.pairs))) for grid in grids]
            return list(dict.fromkeys(point for grid in cut for point in grid.points()))

    def _grids(self) -> list[Grid]:
        if not (self.formats or self.second_formats or self.terms or self.lanes or self.pipelines or self.dsp):
            return default_grids()
        first = self.formats or scalar_formats()
        pairs = list(itertools.product(first, self.second_formats)) or [(name, name) for name in first]
        return _basic_grids(pairs, terms=self.terms or (TERMS,), lanes=self.lanes or (LANES,),
                            pipelines=self.pipelines or (0,), dsp=self.dsp or (False,))

    def _wanted(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        for pair in pairs:
            formats = [resolve(name).format for name in pair]
            if self.bits is not None and any(fmt.width not in self.bits for fmt in formats):
                continue
            if not self.families or all(any(family.holds(fmt) for family in self.families) for fmt in formats):
                yield pair
