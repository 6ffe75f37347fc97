"""An operation with all its parameters: its reference, its component, and how both are described."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, ScalarFormat, number
from synth.operations.components import component_of, takes_pipeline
from synth.operations.structures import find_structure

if TYPE_CHECKING:  # the help of the command line needs no numpy
    from sw.reference.model import Port

Json: TypeAlias = dict[str, Any]

Cancelling: TypeAlias = Callable[[Any, int], dict[str, Any]]
"""From a generator of random numbers and a count to that many codes for each input port."""

_SAID_OTHERWISE = ("result", "rounding", "random_bits", "overflow", "seeds")
"""Parameters that a folder's name spells in a manner of its own, or that follow from others."""


@dataclass(frozen=True, kw_only=True)
class OperationKind:
    """What one name of ``--op`` stands for.

    Parameters
    ----------
    name : str
    summary : str
        One line for ``--help``.
    options : tuple of str
        Options of a request that it takes beside the rounding, by attribute name; ``fmt`` first where it needs one.
    model : callable
        From a request to the exact reference.
    formula : callable
        From the reference to what it computes, in formats' names.
    cancelling : callable, optional
        From the reference to a function that makes operands whose sum loses its leading digits, or to None where it
        has no such sum.
    stimulus : callable, optional
        From the reference to a :class:`synth.verify.Stimulus`: what sequences of transfers have to look like.
    rounded : bool
        Whether it takes a rounding mode and an overflow policy.
    implementation : tuple of str
        Those of the options that say how the component is built rather than what it computes.
    """

    name: str
    summary: str
    options: tuple[str, ...]
    model: Callable[[Any], Any]
    formula: Callable[[Any], str]
    cancelling: Callable[[Any], Cancelling | None] | None = None
    stimulus: Callable[[Any], Any] | None = None
    rounded: bool = True
    implementation: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operator with all its parameters.

    Parameters
    ----------
    kind : OperationKind
    model : Function or Stream
        The exact reference, a dataclass that holds formats, counts, rounding and overflow.
    pipeline : int
        Register stages.
    dsp : bool
        Whether hard multipliers may be used.
    implementation : mapping of str to value
        Further parameters of the component, those that were asked for.
    structure : str or None
        Name of the component's structure, if one was asked for: see :mod:`synth.operations.structures`.
    """

    kind: OperationKind
    model: Any
    pipeline: int
    dsp: bool
    implementation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    structure: str | None = None

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.kind.name

    @property
    def is_stream(self) -> bool:
        """Whether it has memory, and streams for ports."""
        from sw.reference.model import Stream

        return isinstance(self.model, Stream)

    @property
    def ports(self) -> Mapping[str, Port]:
        """Inputs and outputs, or the fields of the input and the output stream."""
        inputs: Mapping[str, Port] = self.model.inputs
        return {**inputs, **self.model.outputs}

    def component(self) -> Any:
        """Return the Amaranth component."""
        further = dict(self.implementation)
        if self.structure is not None:
            further["structure"] = find_structure(self.model, self.structure)
        return component_of(self.model, pipeline=self.pipeline, hard_multiplier=self.dsp, **further)

    def cancelling(self) -> Cancelling | None:
        """Return what makes operands whose sum loses its leading digits; None if the operation has no such sum."""
        return None if self.kind.cancelling is None else self.kind.cancelling(self.model)

    def stimulus(self) -> Any:
        """Return what sequences of transfers have to look like; None if any will do."""
        return None if self.kind.stimulus is None else self.kind.stimulus(self.model)

    def parameters(self) -> Json:
        """Return every parameter, ready for JSON."""
        asked = {} if self.structure is None else {"structure": self.structure}
        return {**fields(self.model), **self.implementation, **asked, "pipeline": self.pipeline, "dsp": self.dsp}

    def folder_name(self) -> str:
        """Return a name for the operator's folder: safe in every shell, different for different parameters."""
        model, names = self.model, []
        formats = {field.name: value for field in dataclasses.fields(model)
                   if is_format(value := getattr(model, field.name))}
        result = formats.pop("result", None)
        operands = list(formats.values())
        names += [fmt.name for index, fmt in enumerate(operands) if index == 0 or any(fmt != operands[0]
                                                                                     for fmt in operands[1:])]
        if result is not None and any(result != fmt for fmt in operands):
            names += ["to", result.name]
        if result is None and any(field.name == "result" for field in dataclasses.fields(model)):
            names += ["to", "exact" if self.result is None else self.result.name]
        if getattr(model, "random_bits", 0) and not any(name.startswith("random") for name in model.inputs):
            names.append("lfsr")  # random bits of its own
        for field in dataclasses.fields(model):
            value = getattr(model, field.name)
            if field.name in (*formats, *_SAID_OTHERWISE) or value == field.default:
                continue
            names += _spelled(field.name, value)
        if getattr(model, "rounding", RoundingMode.NEAREST_EVEN) is not RoundingMode.NEAREST_EVEN:
            names.append(model.rounding.value)
        if getattr(model, "random_bits", 0):
            names.append(f"random{model.random_bits}")
        if getattr(model, "overflow", OverflowPolicy.SATURATE) is not OverflowPolicy.SATURATE:
            names.append(model.overflow.value)
        names += [f"{name}{value}" for name, value in self.implementation.items()]
        names += [] if self.structure is None else [self.structure]
        if self.pipeline:
            names.append(f"pipeline{self.pipeline}")
        if self.dsp:
            names.append("dsp")
        return "_".join([self.name, *(slug(name) for name in names)])

    def describe(self) -> str:
        """Say in one line what the circuit computes."""
        parts = [f"{self.name}: {self.kind.formula(self.model)}"]
        rounding = getattr(self.model, "rounding", None)
        if rounding is not None:
            parts.append(f"rounding {rounding.value}")
        result = self.result
        if result is not None and getattr(self.model, "overflow", None) is not None:
            parts.append(describe_overflow(result, self.model.overflow))
        if takes_pipeline(self.model):
            plural = "s" if self.pipeline > 1 else ""
            combinational = "no pipeline stages" if self.is_stream else "combinational"
            parts.append(f"{self.pipeline} pipeline stage{plural}" if self.pipeline else combinational)
        if self.structure is not None:
            parts.append(f"structure {self.structure}")
        return ", ".join(parts)

    def formats(self) -> dict[str, str]:
        """Return the names of the formats among the parameters, the main one first."""
        values = {field.name: getattr(self.model, field.name) for field in dataclasses.fields(self.model)}
        return {name: value.name for name, value in values.items() if is_format(value)}

    @property
    def result(self) -> ScalarFormat | None:
        """Format of the one result; None if it has none."""
        formats = [port.format for port in self.model.outputs.values()]
        return formats[0] if formats else None


def is_format(value: object) -> bool:
    """Whether a parameter is a format."""
    return isinstance(value, (ScalarFormat, BlockFormat))


def fields(model: Any) -> Json:
    """Return the fields of a reference, ready for JSON: formats and enumerations by name, inner references in full."""
    document: Json = {}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if is_format(value):
            value = value.name
        elif isinstance(value, Enum):
            value = value.value
        elif dataclasses.is_dataclass(value):
            value = {"model": type(value).__name__, **fields(value)}
        document[field.name] = value
    return document


def _spelled(name: str, value: object) -> list[str]:
    """Return the parts of a folder's name that a parameter other than the default gives."""
    if isinstance(value, Enum):
        return [str(value.value)]
    if dataclasses.is_dataclass(value):
        parts = [type(value).__name__]
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if is_format(inner):
                parts.append(inner.name)
            elif inner != field.default:
                parts += _spelled(field.name, inner)
        return parts
    return [name if value is True else f"{name}{value}"]


def describe_overflow(fmt: ScalarFormat, overflow: OverflowPolicy) -> str:
    """Say what becomes of results beyond the range, and how to ask for something else."""
    text = {
        OverflowPolicy.SATURATE: f"saturating at {_range(fmt)}",
        OverflowPolicy.SATURATE_SYMMETRIC: f"saturating at ±{number(fmt.max_finite)}",
        OverflowPolicy.SATURATE_ZERO: f"zero beyond {_range(fmt)}",
        OverflowPolicy.INFINITY: "overflowing to " + ("infinity" if fmt.has_infinity else "NaN"),
        OverflowPolicy.WRAP: "wrapping",
        OverflowPolicy.WRAP_SIGN_MAGNITUDE: "wrapping by sign and magnitude",
    }[overflow]
    other = next((policy for policy in (OverflowPolicy.INFINITY, OverflowPolicy.WRAP)
                  if policy is not overflow and applies(fmt, policy)), None)
    return text if other is None else f"{text} (--overflow {other.value} asks otherwise)"


def _range(fmt: ScalarFormat) -> str:
    if fmt.min_finite == -fmt.max_finite:
        return f"±{number(fmt.max_finite)}"
    return f"{number(fmt.min_finite)} and {number(fmt.max_finite)}"


def applies(fmt: ScalarFormat, policy: OverflowPolicy) -> bool:
    """Whether an overflow policy means something for a format."""
    try:
        fmt.check_overflow(policy)
    except ValueError:
        return False
    return True


def slug(name: str) -> str:
    """Return a format's name without what shells and file systems read into: ``fixed<8,4>`` as ``fixed8_4``."""
    text = re.sub(r"^(u?fixed|posit|mls)<(\d+),(-?)(\d+)>", lambda m: f"{m[1]}{m[2]}_{'m' if m[3] else ''}{m[4]}",
                  name)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)
