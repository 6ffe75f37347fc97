"""The logic of a program between its memory reads: look-ups of at most three inputs, in the order they are done.

This is what a native engine or an emitter of source text runs: :func:`pieces_of` cuts a program where it reads
memories, and maps each piece onto the functions that an instruction set has.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from synth.netlist.kernel import sources_of
from synth.netlist.program import ONE, ZERO, Instruction, Operation, Program, Read, Register

__all__ = ["Basis", "Logic", "Lookup", "logic_of", "pieces_of"]


class Basis(enum.Enum):
    """The functions that one instruction computes."""

    BINARY = "binary"
    """``not a``, ``a and b``, ``a or b``, ``a xor b``, ``not a and b``."""
    TERNARY = "ternary"
    """Every function of three inputs, as ``vpternlog`` and ``lop3`` compute it."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """``target`` is ``table`` of ``operands``: bit *k* of the table where operand *i* has bit *i* of *k*.

    There are one to three operands, and the table depends on each of them.
    """

    table: int
    target: Register
    operands: tuple[Register, ...]


@dataclass(frozen=True)
class Logic:
    """Look-ups in order, each register written once.

    Registers 0 and 1 hold the constants, as in :class:`~synth.netlist.program.Program`; they may be wanted, and are no
    operands.

    Parameters
    ----------
    sources : tuple of Register
        What is given, each once. A source that nothing reads may be there.
    wanted : tuple of Register
        What is asked for; a register may be there several times, and may be a source.
    lookups : tuple of Lookup
    """

    sources: tuple[Register, ...]
    wanted: tuple[Register, ...]
    lookups: tuple[Lookup, ...]


_TABLES = {Operation.NOT: 0b01, Operation.AND: 0b1000, Operation.OR: 0b1110, Operation.XOR: 0b0110}


def pieces_of(program: Program, wanted: Sequence[Register], basis: Basis) -> tuple[Logic | Read, ...]:
    """Return a program as logic and memory reads in turn; without memories, it is one :class:`Logic`.

    Each logic's sources are the registers that it takes from what comes before it (sources of the program, data of
    reads, results of earlier logic); it wants what something after it takes, and what is ``wanted`` of it.
    """
    if not any(isinstance(step, Read) for step in program.instructions):
        return (logic_of(_instructions(program), sources_of(program), wanted, basis),)
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
        pieces.append(logic_of(group, tuple(sorted(taken)), asked, basis))
        needed = (needed - made) | taken
    return tuple(reversed(pieces))


def logic_of(instructions: Sequence[Instruction], sources: Sequence[Register], wanted: Sequence[Register],
             basis: Basis) -> Logic:
    """Return straight-line instructions as look-ups of a basis."""
    del basis
    lookups = tuple(Lookup(_TABLES[step.operation], step.target,
                           (step.a,) if step.operation is Operation.NOT else (step.a, step.b))
                    for step in instructions)
    return Logic(tuple(sources), tuple(wanted), lookups)


def _instructions(program: Program) -> list[Instruction]:
    return [step for step in program.instructions if isinstance(step, Instruction)]
