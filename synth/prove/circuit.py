"""A mapped netlist as terms: what its outputs are, and what its registers take next, of its inputs and registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synth.netlist.errors import NetlistError
from synth.netlist.program import ONE, ZERO, Operation, PortRegisters, Program, Read
from synth.prove.terms import BOOL, FALSE, TRUE, Term, all_of, any_of, bit, bits, boolean, invert, pack, variable, xor

__all__ = ["Step", "check_provable", "initial_state", "input_variables", "netlist_terms", "state_variables"]


@dataclass(frozen=True)
class Step:
    """A clock cycle of a netlist.

    Parameters
    ----------
    outputs : mapping of port name to Term
        Bit-vectors: what the output ports show before the clock's edge.
    next : tuple of Term
        Booleans: what each state bit of the program takes at the edge.
    registers : mapping of register number to Term
        Every inner signal, a boolean each.
    """

    outputs: Mapping[str, Term]
    next: tuple[Term, ...]
    registers: Mapping[int, Term]


def check_provable(program: Program) -> None:
    """Refuse a program that is more than logic and flip-flops of one clock.

    Raises
    ------
    NetlistError
        If it has memories, flip-flops with asynchronous sets or resets, or several clocks.
    """
    if program.memories or any(isinstance(step, Read) for step in program.instructions):
        raise NetlistError("Netlist must have no memory to be proved, not "
                           f"{', '.join(cell for memory in program.memories for cell in memory.cells) or 'a read'}")
    for state in program.state:
        if state.settled != state.stored:
            raise NetlistError(f"Flip-flops must have no asynchronous set or reset to be proved, not {state.cell}")
    edges = {(edge.name, edge.rising) for edge in program.edges}
    if len(edges) > 1:
        raise NetlistError(f"Netlist must have one clock edge to be proved, not {len(edges)}")


def input_variables(ports: Sequence[PortRegisters], suffix: str = "") -> dict[str, Term]:
    """Return a bit-vector variable for every port."""
    return {port.name: variable(f"in_{port.name}{suffix}", bits(port.width)) for port in ports}


def state_variables(program: Program, suffix: str = "") -> tuple[Term, ...]:
    """Return a boolean variable for every state bit."""
    return tuple(variable(f"state_{index}{suffix}", BOOL) for index in range(len(program.state)))


def initial_state(program: Program) -> tuple[Term, ...]:
    """Return what the state bits hold after power-up."""
    return tuple(boolean(state.initial) for state in program.state)


def netlist_terms(program: Program, inputs: Mapping[str, Term], state: Sequence[Term] = (), *,
                  cut: Mapping[int, Term] | None = None) -> Step:
    """Return a program's outputs and next state.

    Parameters
    ----------
    inputs : mapping of port name to Term
        A bit-vector for every input port that is no clock.
    state : sequence of Term
        A boolean for every state bit.
    cut : mapping of register number to Term, optional
        What some inner signals are taken to be, in place of what computes them.

    Raises
    ------
    NetlistError
        As :func:`check_provable` does.
    """
    check_provable(program)
    terms: dict[int, Term] = {ZERO: FALSE, ONE: TRUE}
    for port in program.data_inputs:
        terms |= {register: bit(inputs[port.name], index) for index, register in enumerate(port.registers)}
    terms |= {held.stored: term for held, term in zip(program.state, state, strict=True)}
    for step in program.instructions:
        assert not isinstance(step, Read)  # refused above
        if cut and step.target in cut:
            terms[step.target] = cut[step.target]
            continue
        a, b = terms[step.a], terms[step.b]
        match step.operation:
            case Operation.NOT:
                result = invert(a)
            case Operation.AND:
                result = all_of(a, b)
            case Operation.OR:
                result = any_of(a, b)
            case _:
                result = xor(a, b)
        terms[step.target] = result
    return Step(outputs={port.name: pack([terms[register] for register in port.registers])
                         for port in program.outputs},
                next=tuple(terms[held.next] for held in program.state), registers=terms)
