"""One operator of the design space, under the one name that all requests for the same circuit share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sw.formats import OverflowPolicy, RoundingMode
from synth.errors import UsageError
from synth.operations import Operation, Request, find_operation

Json = dict[str, Any]

OPERATIONS = ("multiply", "mac", "emac", "dot")
"""Operations of which costs are tabulated."""

ACCUMULATORS = ("mac", "emac")
"""Those of them that have a register."""

EXACT = "exact"
"""What stands for the format of a result that is not rounded."""

OPTIONS = ("fmt", "fmt_b", "out_fmt", "terms", "lanes", "accumulator", "accumulator_width")
"""Attributes that only some operations have; None elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An operator, rounding to nearest even and saturating, as a line of the table of costs names it.

    Formats get their canonical names and everything left out its default, so that points are equal exactly if their
    requests mean the same: ``Point(op="multiply", fmt="fp4_e2m1")`` equals
    ``Point(op="multiply", fmt="float4_e2m1fn", fmt_b="e2m1")``.

    Parameters
    ----------
    op : str
        One of :data:`OPERATIONS`.
    fmt, fmt_b : str
        Names of the operands' formats; by default, both are the same.
    out_fmt : str
        Name of the result's format, by default that of the first operand; ``exact`` for a sum that is not rounded.
    terms : int or None
        Products that an accumulator holds at most.
    lanes : int or None
        Pairs of operands side by side.
    accumulator : str or None
        Register of ``mac``; None for the narrowest that holds ``terms`` products.
    accumulator_width : int, bits, or None
        Register of ``emac``; None for the narrowest that holds ``terms`` products.
    pipeline : int
        Register stages.
    dsp : bool
        Whether hard multipliers may be used.

    Raises
    ------
    TypeError
        If ``dsp`` is no truth value.
    UsageError
        If the operation is not tabulated, a name means nothing, or the parameters do not go together.
    """

    op: str
    fmt: str
    fmt_b: str = None  # type: ignore[assignment]  # never None once constructed
    out_fmt: str = None  # type: ignore[assignment]  # never None once constructed
    terms: int | None = None
    lanes: int | None = None
    accumulator: str | None = None
    accumulator_width: int | None = None
    pipeline: int = 0
    dsp: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.dsp, bool):  # a count of blocks in its place would make an equal point of another form
            raise TypeError(f"Hard multipliers must be True or False, not {self.dsp!r}")
        if self.op not in OPERATIONS:
            raise UsageError(f"Operation must be one of {', '.join(OPERATIONS)} to have tabulated costs, "
                             f"not {self.op!r}")
        for name, value in _canonical(self.operation()).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, operation: Operation) -> Point:
        """Return the point of an operation.

        Raises
        ------
        UsageError
            If its costs are not tabulated: it is another operation, or has a rounding, an overflow policy or a
            preload of its own.
        """
        if operation.name not in OPERATIONS:
            raise UsageError(f"Operation must be one of {', '.join(OPERATIONS)} to have tabulated costs, "
                             f"not {operation.name!r}")
        model = operation.model
        values = _canonical(operation)
        for noun, got, want in (("Rounding mode", model.rounding, RoundingMode.NEAREST_EVEN),
                                ("Overflow policy", model.overflow, OverflowPolicy.SATURATE)):
            if got is not want:
                raise UsageError(f"{noun} must be {want.value} to have tabulated costs, not {got.value!r}")
        if getattr(model, "c", None) is not None:
            raise UsageError("Preload format must be left out for an operation with tabulated costs, "
                             f"not {model.c.name!r}")
        return cls.trusted(values)

    @classmethod
    def from_json(cls, document: Json) -> Point:
        """Return the point that :meth:`to_json` describes.

        Raises
        ------
        UsageError
            If it is no such description.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(document) - names)
        if unknown or not {"op", "fmt"} <= set(document):
            raise UsageError(f"Point must have op, fmt and any of {', '.join(sorted(names - {'op', 'fmt'}))}, "
                             f"not {document!r}")
        return cls(**document)

    @classmethod
    def trusted(cls, values: Json) -> Point:
        """Return a point of values that are canonical already: tables hold thousands, and resolving takes a while."""
        point = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(point, name, value)
        return point

    def operation(self) -> Operation:
        """Return the operation, with its reference and its component."""
        request = Request(op=self.op, pipeline=self.pipeline, dsp=self.dsp,
                          **{name: getattr(self, name) for name in OPTIONS})
        return request.operation(find_operation(self.op))

    def key(self) -> str:
        """Return the point in one line, such as ``multiply fmt=int4 fmt_b=int8 out_fmt=int8 pipeline=0``."""
        values = {name: getattr(self, name) for name in (*OPTIONS, "pipeline")}
        parts = [f"{name}={value}" for name, value in values.items() if value is not None]
        return " ".join([self.op, *parts, *(["dsp"] if self.dsp else [])])

    def to_json(self) -> Json:
        """Return every attribute, those that do not apply left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def width(self) -> int | None:
        """Return the bits of the accumulator's register; None for an operation without one."""
        if self.op not in ACCUMULATORS:
            return None
        model = self.operation().model
        return int(model.accumulator.width if self.op == "mac" else model.width)


def _canonical(operation: Operation) -> Json:
    """Return the attributes of an operation's point: a register is named only where it is not the default one.

    Raises
    ------
    UsageError
        If it is an accumulator's step alone.
    """
    model = operation.model
    if operation.name in ACCUMULATORS and not operation.is_stream:
        raise UsageError(f"Formats of {operation.name} must be fixed point to have tabulated costs, not "
                         f"{model.a.name!r}, {model.b.name!r} and {model.result.name!r}; build measures its step")
    terms = getattr(model, "terms", None)
    accumulator = getattr(model, "accumulator", None)
    if accumulator is not None and terms is not None:
        default = dataclasses.replace(model, accumulator=None).accumulator
        accumulator = None if accumulator == default else accumulator
    width = getattr(model, "accumulator_width", None)
    if width is not None and width == dataclasses.replace(model, accumulator_width=None).width:
        width = None
    return {"op": operation.name, "fmt": model.a.name, "fmt_b": model.b.name,
            "out_fmt": EXACT if model.result is None else model.result.name, "terms": terms,
            "lanes": getattr(model, "lanes", None), "accumulator": None if accumulator is None else accumulator.name,
            "accumulator_width": width, "pipeline": operation.pipeline, "dsp": operation.dsp}
