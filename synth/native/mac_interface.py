"""How a multiply-accumulate operator takes its pairs and gives its sum: what a matrix product has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sw.formats import ScalarFormat
from sw.reference.model import Port
from synth.netlist.program import Program
from synth.operations import Operation

__all__ = ["MacInterface"]

_CONTROL_INPUTS = {"rst": 1, "i__valid": 1, "o__ready": 1}
_CONTROL_OUTPUTS = {"i__ready": 1, "o__valid": 1}
_CLOCK = "clk"


@dataclass(frozen=True, kw_only=True)
class MacInterface:
    """An operator that sums products of pairs, one pair after the other.

    There are two kinds: streams, which hold the sum themselves and frame it by the flags ``first`` and ``last``, and
    functions ``round(a * b + c)`` without memory, whose result is the next ``c``.

    Parameters
    ----------
    fields : mapping of name to Port
        A transfer of a stream, its fields side by side in ``i__payload``, or the ports of a function.
    result : Port
    is_stream : bool
    zero : int
        The result's code of zero, which an empty sum has; the positive one where there are two.
    start : int or None
        The code of ``c`` that a sum starts from; None for a stream that has no such field.
    maximum_terms : int or None
        How many products a sum may have; None for any number.
    """

    fields: Mapping[str, Port]
    result: Port
    is_stream: bool
    zero: int
    start: int | None
    maximum_terms: int | None

    @classmethod
    def of(cls, operation: Operation) -> MacInterface:
        """Return the interface of an operation.

        Raises
        ------
        ValueError
            If it does not sum products of one pair a transfer, needs random bits from outside, or is a function with
            another result than its ``c``, or with registers.
        """
        model = operation.model
        fields, outputs = dict(model.inputs), dict(model.outputs)
        flags = {"first", "last"} if operation.is_stream else set()
        random = [name for name in fields if name.startswith("random")]
        if random:
            raise ValueError(f"Operation must make its random bits itself for a matrix product, not take "
                             f"{', '.join(random)} with each pair: a chunked_mac with --random-source lfsr does")
        known = {"a", "b", *flags} | ({"c"} if "c" in fields or not operation.is_stream else set())
        if set(fields) != known or set(outputs) != {"o"} or any(port.format is None for name, port in fields.items()
                                                               if name not in flags):
            raise ValueError(f"Operation must sum products of a pair a and b, as mac, emac, chunked_mac and fma do, "
                             f"not {operation.name} with {', '.join(fields)}")
        for name, port in fields.items():
            if port.lanes is not None:
                raise ValueError(f"Operation must take one pair a transfer, not {port.lanes} codes of {name} "
                                 "side by side")
        result = outputs["o"]
        if not operation.is_stream:
            if fields["c"].format != result.format:
                raise ValueError(f"Result must have the format of the summand c, {fields['c'].format.name}, which it "
                                 f"is for the next pair, not {result.format.name}")
            if operation.pipeline:
                raise ValueError(f"Pipeline must be 0 for a function whose result is the next summand, not "
                                 f"{operation.pipeline!r}")
        return cls(fields=fields, result=result, is_stream=operation.is_stream, zero=_zero(result.format),
                   start=_zero(fields["c"].format) if "c" in fields else None,
                   maximum_terms=getattr(model, "terms", None))

    def place(self, field: str) -> slice:
        """Return which bits of ``i__payload`` a field of a stream's transfer takes."""
        start = 0
        for name, port in self.fields.items():
            if name == field:
                return slice(start, start + port.bits)
            start += port.bits
        raise KeyError(field)

    def check_program(self, program: Program) -> None:
        """Refuse a program that is not of such an operator.

        Raises
        ------
        ValueError
            If its ports are not those of the operation.
        """
        if self.is_stream:
            payload = sum(port.bits for port in self.fields.values())
            inputs = {**_CONTROL_INPUTS, "i__payload": payload, _CLOCK: 1}
            outputs = {**_CONTROL_OUTPUTS, "o__payload": self.result.bits}
        else:
            inputs = {name: port.bits for name, port in self.fields.items()}
            outputs = {"o": self.result.bits}
        for noun, wanted, ports in (("Inputs", inputs, program.inputs), ("Outputs", outputs, program.outputs)):
            found = {port.name: port.width for port in ports}
            if found != wanted:
                raise ValueError(f"{noun} of the program must be those of the operation, {_listed(wanted)}, not "
                                 f"{_listed(found)}")
        clocks = (_CLOCK,) if self.is_stream else ()
        if program.clocks != clocks:
            raise ValueError(f"Clock of the program must be {clocks[0] if clocks else 'none'}, not "
                             f"{', '.join(program.clocks) or 'none'}")


def _zero(fmt: ScalarFormat | None) -> int:
    return 0 if fmt is None else fmt.encode(0)           # a register without a format is an integer


def _listed(ports: Mapping[str, int]) -> str:
    return ", ".join(f"{name}[{width}]" for name, width in sorted(ports.items())) or "none"
