"""The space that is tuned: what is compared with published circuits, what the table of costs holds, and more beside."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sw.formats import FixedPointFormat, OverflowPolicy, ScalarFormat, parse, resolve
from synth.cost.point import EXACT
from synth.cost.space import Family, default_grids, scalar_formats
from synth.errors import UsageError, usage_errors
from synth.operations import OPERATIONS
from synth.operations.structures import structures_of
from synth.tune.subject import Subject

_ROUNDED = ("multiply", "add", "fma")
"""Operations without memory whose operands and result have one format."""

_WIDE = ("float16", "bfloat16", "posit<16,1>", "float16:subnormals=flushed")

_FLUSHED = ("float8_e4m3fn:subnormals=flushed", "float8_e4m3:subnormals=flushed", "float8_e5m2:subnormals=flushed")

_CONVERTED = ("float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn", "int8", "int4",
              "posit<8,1>", "float16", "bfloat16")
"""Formats of which each is converted to each other one."""

_CONVERTED_TO = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "int8")
"""What a sum in float32 is converted to."""

_ACCUMULATED = ("float8_e4m3fn", "float8_e4m3", "float8_e5m2", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn",
                "int8", "int4", "posit<8,0>", "posit<8,1>", "posit<8,2>", "fixed<8,4>")
"""Formats of which shorter sums are accumulated than those of the table of costs."""

_OTHERS = (
    *(Subject.of("dot", fmt=name, out_fmt=EXACT, lanes=4) for name in ("int8", "uint4")),
    *(Subject.of("khot_multiply", fmt="int8", hot=hot) for hot in (1, 2, 3)),
    Subject.of("dequantize"),
    *(Subject.of("chunked_mac", fmt=name) for name in ("float8_e4m3fn", "float8_e5m2")),
    *(Subject.of("requantize", fmt="int24", out_fmt="int8", lanes=lanes) for lanes in (1, 4)),
    *(Subject.of("mx_dot", fmt=name) for name in ("mxfp4:block_size=8", "mxfp8_e4m3:block_size=8")),
)
"""Operators of the remaining operations; those that are built in one way drop out."""


def default_subjects() -> Iterator[Subject]:
    """Yield the whole space, what tells most first; some operators more than once, some that have one structure."""
    yield from compared_subjects()
    names = [*scalar_formats(), *_FLUSHED, *_WIDE]
    infinite = [name for name in names if parse(name).has_infinity]
    for op in _ROUNDED:
        yield from (Subject.of(op, fmt=name) for name in names)
        yield from (Subject.of(op, fmt=name, overflow=OverflowPolicy.INFINITY.value) for name in infinite)
    points = [point for grid in default_grids() for point in grid.points() if not point.pipeline and not point.dsp]
    for point in points:
        document = point.to_json()
        yield Subject.of(document.pop("op"), **{
            name: value for name, value in document.items() if name not in ("pipeline", "dsp")})
    for name in _ACCUMULATED:
        yield from (Subject.of("emac", fmt=name, out_fmt=out, terms=terms) for out, terms in ((EXACT, 256), (name, 16)))
    for a, result in itertools.permutations(_CONVERTED, 2):
        yield Subject.of("convert", fmt=a, out_fmt=result)
    yield from (Subject.of("convert", fmt="float32", out_fmt=result) for result in _CONVERTED_TO)
    yield from _OTHERS


def compared_subjects() -> Iterator[Subject]:
    """Yield the operators that ``bench area`` puts beside published circuits."""
    from synth.bench.area_table import EQUALS

    for equal in EQUALS.values():
        options = {name: value for name, value in equal.circuit.options if name != "pipeline"}
        yield Subject.of(equal.circuit.op, **options)


def subjects_of(name: str) -> Iterator[Subject]:
    """Yield what is tuned of a format that is named: operators of it alone, and those of the space that take it."""
    fmt = resolve(name).format
    yield from (Subject.of(op, fmt=fmt.name) for op in _ROUNDED)
    if fmt.has_infinity:
        yield from (Subject.of(op, fmt=fmt.name, overflow=OverflowPolicy.INFINITY.value) for op in _ROUNDED)
    yield from (subject for subject in default_subjects() if _first(subject) == fmt)
    yield Subject.of("emac", fmt=fmt.name, out_fmt=EXACT, terms=256)
    yield Subject.of("dot", fmt=fmt.name, out_fmt=EXACT, lanes=8)
    if isinstance(fmt, FixedPointFormat):
        yield Subject.of("mac", fmt=fmt.name, terms=256)


def _first(subject: Subject) -> ScalarFormat | None:
    """Return the format of the first operand, None where it is a block or there is none."""
    name = dict(subject.options).get("fmt")
    try:
        return None if name is None else resolve(name).format
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is wanted of the space; nothing said, all of it.

    Parameters
    ----------
    ops : tuple of str
    formats : tuple of str
        Of the first operand. One that the space does not hold is tuned all the same.
    families : tuple of Family
        Of the first operand.

    Raises
    ------
    UsageError
        If there is no such operation.
    """

    ops: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    families: tuple[Family, ...] = ()

    def __post_init__(self) -> None:
        for op in self.ops:
            if op not in OPERATIONS:
                raise UsageError(f"Operation must be one of {', '.join(OPERATIONS)}, not {op!r}")

    def holds(self, subject: Subject) -> bool:
        """Whether a subject is wanted."""
        if self.ops and subject.op not in self.ops:
            return False
        if not self.formats and not self.families:
            return True
        fmt = _first(subject)
        if fmt is None or (self.formats and fmt not in [resolve(name).format for name in self.formats]):
            return False
        return not self.families or any(family.holds(fmt) for family in self.families)

    def subjects(self) -> list[Subject]:
        """Return the subjects whose components have several structures, each reference once.

        Raises
        ------
        UsageError
            If a format's name means nothing.
        """
        with usage_errors():
            found: Iterable[Subject] = default_subjects()
            if self.formats:
                found = itertools.chain.from_iterable(map(subjects_of, self.formats))
            return list(_with_a_choice(subject for subject in dict.fromkeys(found) if self.holds(subject)))


def _with_a_choice(subjects: Iterable[Subject]) -> Iterator[Subject]:
    from hw.recorded import model_key

    seen = set()
    for subject in subjects:
        model = subject.operation().model
        key = model_key(model)
        if key not in seen and structures_of(model):
            yield subject
        seen.add(key)
