"""What an operator becomes on an instruction set: its netlist, and the instructions of one pass over a register."""

from __future__ import annotations

import json
from dataclasses import dataclass

from synth import flow
from synth.errors import UsageError
from synth.native.recipe import native_netlist
from synth.netlist import Program, compile_netlist, read_netlist
from synth.netlist.instruction_order import live_registers
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Logic, pieces_of
from synth.operations import Operation
from synth.store import Store

__all__ = ["NativeForm", "native_form", "straight_logic"]


@dataclass(frozen=True, kw_only=True)
class NativeForm:
    """An operator made for an instruction set.

    Parameters
    ----------
    isa : InstructionSet
    netlist : Mapped
        What the recipe for it gave.
    program : Program
    logic : Logic
        One pass: from the bits of the inputs and the state to those of the outputs and the next state.
    """

    isa: InstructionSet
    netlist: flow.Mapped
    program: Program
    logic: Logic

    @property
    def instructions(self) -> int:
        """Instructions of a pass, but for loads, stores and spills."""
        return len(self.logic.lookups)

    @property
    def live(self) -> int:
        """Values that are alive at once at most: what exceeds the registers is spilled."""
        return live_registers(self.logic)


def native_form(operation: Operation, isa: InstructionSet, *, store: Store, timeout: float | None = None) -> NativeForm:
    """Synthesize an operator for an instruction set.

    Raises
    ------
    ToolError
        If Yosys fails, or is missing.
    UsageError
        If it has state that a pass cannot hold.
    """
    mapped = native_netlist(operation, isa, store=store, timeout=timeout)
    program = compile_netlist(read_netlist(json.loads(mapped.netlist)))
    return NativeForm(isa=isa, netlist=mapped, program=program, logic=straight_logic(program, isa))


def straight_logic(program: Program, isa: InstructionSet) -> Logic:
    """Return a program as one pass: wanted are the bits of its outputs, then the next value of each state bit.

    Raises
    ------
    UsageError
        If it has memories, asynchronous resets, or not one clock with a rising edge.
    """
    if program.memories:
        raise UsageError(f"Operator must have no memory for its native form, not {len(program.memories)}")
    if any(bit.settled != bit.stored for bit in program.state):
        raise UsageError("Operator must have synchronous resets alone for its native form, not an asynchronous one")
    edges = {(edge.name, edge.rising) for edge in program.edges}
    if len(edges) > 1 or any(not rising for _, rising in edges):
        names = ", ".join(f"{'rising' if rising else 'falling'} {name}" for name, rising in sorted(edges))
        raise UsageError(f"Operator must have one clock, taken at its rising edge, for its native form, not {names}")
    wanted = [register for port in program.outputs for register in port.registers]
    (logic,) = pieces_of(program, [*wanted, *(bit.next for bit in program.state)], isa.basis)
    assert isinstance(logic, Logic)                      # without memories there is one piece
    return logic
