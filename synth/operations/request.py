"""A request for an operator: names and numbers as a user gives them, read one by one by the operation."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from sw.formats import (
    BlockFormat,
    FixedPointFormat,
    OverflowPolicy,
    RoundingMode,
    ScalarFormat,
    resolve,
    resolve_block,
)
from synth.errors import UsageError, usage_errors
from synth.operations.operation import Operation, OperationKind
from synth.operations.structures import find_structure

DEFAULT_RANDOM_BITS = 8
"""Random bits of a stochastic rounding unless asked otherwise."""

EXACT = "exact"
"""What ``--out-fmt`` says for a result that is not rounded."""

Kind = TypeVar("Kind")

_OPTIONS = (
    "fmt", "fmt_b", "fmt_c", "out_fmt", "accumulator", "accumulator_width", "terms", "lanes", "chunk", "hot",
    "max_shift", "size", "mac", "random_source", "output_lanes", "taps", "height", "width", "channels",
    "output_channels", "channel_groups", "stride", "offsets", "max_offset", "padding", "rows", "depth", "read_ports",
    "length", "block", "vectors", "smallest", "cascade", "packed", "code_widths")

FLAGS = {name: "--" + name.replace("_", "-") for name in _OPTIONS}
"""Options that only some operations take, by attribute name."""


@dataclass(kw_only=True)
class Request:
    """What a user asked for; None where nothing was said."""

    op: str = "multiply"
    fmt: str | None = None
    fmt_b: str | None = None
    fmt_c: str | None = None
    out_fmt: str | None = None
    accumulator: str | None = None
    accumulator_width: int | None = None
    terms: int | None = None
    lanes: int | None = None
    chunk: int | None = None
    hot: int | None = None
    max_shift: int | None = None
    size: int | None = None
    mac: str | None = None
    random_source: str | None = None
    output_lanes: int | None = None
    taps: int | None = None
    height: int | None = None
    width: int | None = None
    channels: int | None = None
    output_channels: int | None = None
    channel_groups: int | None = None
    stride: int | None = None
    offsets: str | None = None
    max_offset: int | None = None
    padding: int | None = None
    rows: int | None = None
    read_ports: int | None = None
    length: int | None = None
    block: int | None = None
    vectors: int | None = None
    smallest: int | None = None
    cascade: int | None = None
    depth: int | None = None
    packed: int | None = None
    code_widths: str | None = None
    rounding: str = "nearest-even"
    overflow: str = "saturate"
    random_bits: int | None = None
    structure: str | None = None
    pipeline: int = 0
    dsp: bool = False
    notes: list[str] = field(default_factory=list)

    def scalar(self, option: str, default: ScalarFormat | None = None) -> ScalarFormat:
        """Return the scalar format that an option names, or the default where it is left out."""
        name = getattr(self, option)
        if name is None and default is not None:
            return default
        resolution = resolve(self.needed(option))
        self._note(resolution.note)
        return resolution.format

    def optional_scalar(self, option: str) -> ScalarFormat | None:
        """Return the scalar format that an option names, or None where it is left out."""
        return None if getattr(self, option) is None else self.scalar(option)

    def result(self, default: ScalarFormat) -> ScalarFormat | None:
        """Return the format of the result, or None where ``exact`` asks for the sum as it is."""
        return None if (self.out_fmt or "").strip().lower() == EXACT else self.scalar("out_fmt", default)

    def fixed(self, option: str, default: FixedPointFormat | None = None) -> FixedPointFormat:
        """Return the fixed-point format that an option names.

        Raises
        ------
        UsageError
            If it is of another family.
        """
        fmt = self.scalar(option, default)
        if not isinstance(fmt, FixedPointFormat):
            raise UsageError(f"Format of {FLAGS[option]} must be fixed point for {self.op}, such as int8 or "
                             f"'fixed<8,4>', not {fmt.name!r}")
        return fmt

    def block_format(self, option: str, default: BlockFormat | None = None) -> BlockFormat:
        """Return the block format that an option names, or the default where it is left out."""
        name = getattr(self, option)
        if name is None and default is not None:
            return default
        resolution = resolve_block(self.needed(option))
        self._note(resolution.note)
        return resolution.format

    def needed(self, option: str) -> Any:
        """Return the value of an option that cannot be left out.

        Raises
        ------
        UsageError
            If it was.
        """
        value = getattr(self, option)
        if value is None:
            raise UsageError(f"Option {FLAGS[option]} must be given for {self.op}, not left out")
        return value

    def either(self, option: str, default: Kind) -> Kind:
        """Return the value of an option, or the default where it is left out."""
        value = getattr(self, option)
        return default if value is None else value

    def casting(self) -> dict[str, Any]:
        """Return the keyword arguments that say how a result is rounded."""
        rounding = member(RoundingMode, "Rounding mode", self.rounding)
        stochastic = rounding is RoundingMode.STOCHASTIC
        return {"rounding": rounding, "overflow": member(OverflowPolicy, "Overflow policy", self.overflow),
                "random_bits": self.random_bits or (DEFAULT_RANDOM_BITS if stochastic else 0)}

    def _note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)

    def operation(self, kind: OperationKind) -> Operation:
        """Return the operation that is asked for.

        Raises
        ------
        UsageError
            If an option is given that the operation does not take, one that it needs is missing, a name means
            nothing, or the parameters do not go together.
        """
        for option, flag in FLAGS.items():
            if getattr(self, option) is not None and option not in kind.options:
                taken = ", ".join(FLAGS[name] for name in kind.options)
                raise UsageError(f"Option {flag} must be left out for {kind.name}, which takes {taken}, "
                                 f"not {getattr(self, option)!r}")
        if not kind.rounded:
            self._check_rounding(kind)
        with usage_errors():
            model = kind.model(self)
        implementation = {name: getattr(self, name) for name in kind.implementation if getattr(self, name) is not None}
        if self.structure is not None:
            find_structure(model, self.structure)  # refuses what the component does not have
        return Operation(kind=kind, model=model, pipeline=self.pipeline, dsp=self.dsp, implementation=implementation,
                         structure=self.structure)

    def _check_rounding(self, kind: OperationKind) -> None:
        """Refuse a manner of rounding where nothing is rounded as one likes."""
        default = Request()
        for option in ("rounding", "overflow", "random_bits"):
            if getattr(self, option) != getattr(default, option):
                raise UsageError(f"Option --{option.replace('_', '-')} must be left out for {kind.name}, whose results "
                                 f"are exact or rounded by its definition, not {getattr(self, option)!r}")


def member(kind: Any, noun: str, text: str) -> Any:
    """Return the member of an enumeration whose value is ``text``.

    Raises
    ------
    UsageError
        If there is none.
    """
    values = [item.value for item in kind]
    if text not in values:
        raise UsageError(f"{noun} must be one of {', '.join(values)}, not {text!r}")
    return kind(text)
