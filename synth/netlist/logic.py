"""The logic of a program between its memory reads: look-ups of at most three inputs, in the order they are done.

This is what a native engine or an emitter of source text runs: :func:`pieces_of` cuts a program where it reads
memories, and maps each piece onto the functions that an instruction set has.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from synth.netlist.cover import Cover, cover
from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, GateGraph, Literal, fold
from synth.netlist.instruction_order import ordered
from synth.netlist.kernel import sources_of
from synth.netlist.lookup import COPY, Basis, Logic, Lookup
from synth.netlist.polarity import TooManyLookups, can_select, lookups_of
from synth.netlist.program import ONE, ZERO, Instruction, Operation, Program, Read, Register
from synth.netlist.resynthesis import split

__all__ = ["Basis", "Logic", "Lookup", "logic_of", "pieces_of"]

ROUNDS = 3
"""Covers tried after the first, at most, each of the gates that the one before it is made of."""

LARGE = 10_000
"""Gates from which on the first cover is taken, which is within a fiftieth of the last one."""

_REGISTERS = {Basis.BINARY: 15, Basis.SELECT: 28, Basis.TERNARY: 28}
"""Registers that an order is chosen for; keep in step with those that ``llvm_ir`` fills."""

_TABLES = {Operation.NOT: 0b01, Operation.AND: 0b1000, Operation.OR: 0b1110, Operation.XOR: 0b0110}


def pieces_of(program: Program, wanted: Sequence[Register], basis: Basis, *, covered: bool = True
              ) -> tuple[Logic | Read, ...]:
    """Return a program as logic and memory reads in turn; without memories, it is one :class:`Logic`.

    Each logic's sources are the registers that it takes from what comes before it (sources of the program, data of
    reads, results of earlier logic); it wants what something after it takes, and what is ``wanted`` of it.

    Without ``covered``, each instruction is one look-up: at once, but more of them.
    """
    if not any(isinstance(step, Read) for step in program.instructions):
        return (logic_of(_instructions(program), sources_of(program), wanted, basis, covered=covered),)
    groups: list[list[Instruction] | Read] = []
    for step in program.instructions:
        if isinstance(step, Read):
            groups.append(step)
        elif groups and isinstance(groups[-1], list):
            groups[-1].append(step)
        else:
            groups.append([step])
    needed = set(wanted)
    pieces: list[Logic | Read] = []
    for group in reversed(groups):
        if isinstance(group, Read):
            needed |= set(group.address)
            pieces.append(group)
            continue
        made = {step.target for step in group}
        asked = tuple(sorted(needed & made))
        taken = {operand for step in group for operand in (step.a, step.b)} - made - {ZERO, ONE}
        pieces.append(logic_of(group, tuple(sorted(taken)), asked, basis, covered=covered))
        needed = (needed - made) | taken
    return tuple(reversed(pieces))


def logic_of(instructions: Sequence[Instruction], sources: Sequence[Register], wanted: Sequence[Register],
             basis: Basis, *, covered: bool = True) -> Logic:
    """Return straight-line instructions as few look-ups of a basis, in an order that keeps few registers live.

    Without ``covered``, each instruction is one look-up, in the order of the program.

    A register that is no source and not wanted may hold something else than it did in the program.

    The last few results are kept: several functions of an engine, and several engines, ask for the same.
    """
    return _logic_of(tuple(instructions), tuple(sources), tuple(wanted), basis, covered)


@functools.lru_cache(maxsize=16)
def _logic_of(instructions: tuple[Instruction, ...], sources: tuple[Register, ...], wanted: tuple[Register, ...],
              basis: Basis, covered: bool) -> Logic:
    if not covered:
        return Logic(sources, wanted, _direct(instructions))
    graph = GateGraph()
    literals: dict[Register, Literal] = {ZERO: FALSE_LITERAL, ONE: TRUE_LITERAL}
    literals.update((register, graph.source()) for register in sources)
    nodes = {literals[register] >> 1: register for register in sources}
    for step in instructions:
        literals[step.target] = _gate(graph, step.operation, literals[step.a], literals[step.b])
    given = {ZERO, ONE, *sources}
    results = [register for register in dict.fromkeys(wanted) if register not in given]
    best, roots = _covered(graph, [literals[register] for register in results], basis)
    asked = dict(zip(results, roots, strict=True))
    spare = (step.target for step in instructions if step.target not in asked)
    try:
        lookups = lookups_of(best, nodes, asked, spare, basis)
    except TooManyLookups:                               # complements: the program has fewer of them as it is
        lookups = list(_direct(instructions))
    return Logic(sources, wanted, ordered(lookups, wanted, _REGISTERS[basis]))


def _direct(instructions: Sequence[Instruction]) -> tuple[Lookup, ...]:
    """Return each instruction as a look-up of its own."""
    lookups = []
    for step in instructions:
        if step.operation is not Operation.NOT and step.a != step.b and min(step.a, step.b) > ONE:
            lookups.append(Lookup(_TABLES[step.operation], step.target, (step.a, step.b)))
            continue
        places = (step.a,) if step.operation is Operation.NOT else (step.a, step.b)
        table, operands = fold(_TABLES[step.operation], [place if place <= ONE else 2 * place for place in places])
        if operands and table == _TABLES[Operation.NOT]:
            lookups.append(Lookup(table, step.target, (operands[0] >> 1,)))
        else:
            source = operands[0] >> 1 if operands else table
            lookups.append(Lookup(COPY, step.target, (source, source)))
    return tuple(lookups)


def _gate(graph: GateGraph, operation: Operation, a: Literal, b: Literal) -> Literal:
    if operation is Operation.NOT:
        return graph.not_(a)
    if operation is Operation.XOR:
        return graph.xor(a, b)
    return graph.and_(a, b) if operation is Operation.AND else graph.or_(a, b)


def _covered(graph: GateGraph, roots: Sequence[Literal], basis: Basis) -> tuple[Cover, list[Literal]]:
    """Return the smallest cover found, and the roots over its nodes."""
    size, allowed = 2 if basis is Basis.BINARY else 3, can_select if basis is Basis.SELECT else None
    best = cover(graph, roots, size, allowed)
    for _ in range(ROUNDS if len(graph.gates) < LARGE else 0):
        graph, roots = split(graph, *best, size, allowed)
        other = cover(graph, roots, size, allowed)
        if len(other[0]) >= len(best[0]):
            break
        best = other
    return best


def _instructions(program: Program) -> list[Instruction]:
    return [step for step in program.instructions if isinstance(step, Instruction)]
