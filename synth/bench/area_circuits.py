# amaranth: UnusedElaboratable=no
# A component may be asked for its latency alone.
"""A circuit of ours that is compared: an operation, with its streams or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sw.formats import ScalarFormat, parse
from synth.operations import Operation, Request, find_operation

__all__ = ["Circuit", "Unstreamed"]


@dataclass(frozen=True)
class Circuit:
    """An operator as it is asked for on the command line.

    Parameters
    ----------
    op : str
    options : tuple of (name, value)
        Of the request.
    streamed : bool
        Whether a component with streams keeps their handshake: circuits that others publish have none.
    """

    op: str
    options: tuple[tuple[str, Any], ...]
    streamed: bool = True

    @classmethod
    def of(cls, op: str, *, streamed: bool = True, **options: Any) -> Circuit:
        """Return the circuit of a request."""
        return cls(op=op, options=tuple(sorted(options.items())), streamed=streamed)

    def operation(self) -> Operation:
        """Return the operation."""
        request = Request(op=self.op, **dict(self.options))
        return request.operation(find_operation(self.op))

    @property
    def operand(self) -> ScalarFormat:
        """Format of the first operand."""
        return parse(dict(self.options)["fmt"])

    def component(self) -> Any:
        """Return the component to elaborate."""
        component = self.operation().component()
        return component if self.streamed else Unstreamed(component)

    @property
    def name(self) -> str:
        """A short name, different for different circuits."""
        return self.operation().folder_name() + ("" if self.streamed else "_unstreamed")


class Unstreamed(wiring.Component):  # type: ignore[misc]  # amaranth has no types
    """A component between two streams whose result is taken in every cycle, and not said to be there.

    Synthesis then finds that nothing ever has to stand still, and leaves the handshake out. What is left is the
    arithmetic, the registers and their framing.

    Parameters
    ----------
    component : wiring.Component
        With streams ``i`` and ``o``.

    Members
    -------
    i : In(valid, payload)
    o : Out(payload)
        Result of the transfer ``latency`` cycles ago.
    """

    def __init__(self, component: Any) -> None:
        self._component = component
        self.latency = component.latency
        payloads = {name: component.signature.members[name].signature.members["payload"].shape for name in ("i", "o")}
        super().__init__({"i": In(wiring.Signature({"valid": Out(1), "payload": Out(payloads["i"])})),
                          "o": Out(payloads["o"])})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.component = component = self._component
        m.d.comb += [component.i.valid.eq(self.i.valid), component.i.payload.eq(self.i.payload),
                     component.o.ready.eq(1), self.o.eq(component.o.payload)]
        return m
