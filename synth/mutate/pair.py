"""A sound netlist and a faulty one as two programs of the same inputs, registers among them, and what may differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth.mutate.faults import Fault
from synth.mutate.lanes import program_of
from synth.mutate.plant import CHOICE
from synth.netlist import Instruction, NumpyEngine, PortRegisters, Program, Read, StateBit, exhaustive_planes
from synth.netlist.program import ONE, ZERO, Register

MAXIMUM_BITS = 24
"""Bits of which every combination is run, to tell two programs apart: 16 million vectors."""

_BLOCK = 1 << 20
"""Vectors of a pass."""

_INPUT, _OUTPUT = "x", "y"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a fault can change: outputs, and next states, of a sound netlist and of the faulty one.

    Parameters
    ----------
    sound, faulty : Program
        Without state: one input port of the bits that matter, and one output port of the bits that may differ.
    names : tuple of str
        What each bit of that input is.
    same_start : bool
        Whether all registers start at the same values.
    """

    sound: Program
    faulty: Program
    names: tuple[str, ...]
    same_start: bool

    @property
    def bits(self) -> int:
        """Width of the input."""
        return len(self.names)


def pair_of(document: Mapping[str, Any], fault: Fault) -> Pair | None:
    """Return a netlist without and with a fault; None if it holds memories, whose contents no register shows.

    The pair's inputs are those of the netlist and its registers, and what is compared are its outputs and what the
    registers take next: if these are always the same, and the registers start at the same values, so are the
    netlists. A register of the faulty cell counts as the one of the sound cell.
    """
    program = program_of(document, [fault])
    if program.memories or any(bit.settled != bit.stored for bit in program.state):
        return None
    twins = _twins(program.state, fault.cell)
    chooser = next((port.registers[0] for port in program.inputs if port.name == CHOICE), None)
    compared = [register for port in program.outputs for register in port.registers]
    compared += [bit.next for bit in program.state]
    renamed = {twin.stored: bit.stored for bit, twin in twins}
    sources = [register for port in program.data_inputs if port.name != CHOICE for register in port.registers]
    sources += [bit.stored for bit in program.state if bit.stored not in renamed]
    sound, faulty = (_specialised(program, {**renamed, **({} if chooser is None else {chooser: value})})
                     for value in (ZERO, ONE))
    other = {bit.next: twin.next for bit, twin in twins}
    twin_next = set(other.values())
    touched = _reached([*([] if chooser is None else [chooser]), *renamed], program)
    ends = [(register, other.get(register, register)) for register in compared
            if register not in twin_next and (register in touched or register in other)]
    needed = [register for register in sources if register in _needed([end for pair in ends for end in pair], (
        *sound, *faulty))]
    names = names_of(program)
    return Pair(sound=part_program(sound, needed, [end for end, _ in ends], program.register_count),
                faulty=part_program(faulty, needed, [end for _, end in ends], program.register_count),
                names=tuple(names[register] for register in needed),
                same_start=all(bit.initial == twin.initial for bit, twin in twins))


def window_of(pair: Pair, depth: int) -> Pair:
    """Return a pair of less logic, which is equal only if the whole one is: what a fault reaches, and what is near it.

    Signals that lie more than ``depth`` gates before anything that the fault may change are inputs of their own, as
    if they could have any values.
    """
    parts = {step.target: step for step in pair.sound.instructions if isinstance(step, Instruction)}
    others = {step.target: step for step in pair.faulty.instructions if isinstance(step, Instruction)}
    changed: set[Register] = set()
    for target in sorted(parts.keys() | others.keys()):
        step, other = parts.get(target), others.get(target)
        operands = [register for one in (step, other) if one is not None for register in (one.a, one.b)]
        if step != other or any(register in changed for register in operands):
            changed.add(target)
    near, edge = set(changed), set(changed)
    ends = [*pair.sound.outputs[0].registers, *pair.faulty.outputs[0].registers]
    edge |= {register for register in ends if register not in changed}
    for _ in range(depth + 1):
        near |= edge & (parts.keys() | others.keys())
        edge = {register for target in edge for one in (parts.get(target), others.get(target)) if one is not None
                for register in (one.a, one.b)} - near
    instructions = [tuple(step for step in program.instructions if isinstance(step, Instruction)
                          and step.target in near) for program in (pair.sound, pair.faulty)]
    made = [{step.target for step in steps} for steps in instructions]
    read = {register for steps in instructions for step in steps for register in (step.a, step.b)} | set(ends)
    free = sorted(register for register in read - {ZERO, ONE} if register not in made[0] and register not in made[1])
    named = dict(zip(pair.sound.inputs[0].registers, pair.names, strict=True))
    programs = [part_program(steps, free, program.outputs[0].registers, program.register_count)
                for steps, program in zip(instructions, (pair.sound, pair.faulty), strict=True)]
    return Pair(sound=programs[0], faulty=programs[1], same_start=pair.same_start,
                names=tuple(named.get(register, f"signal {register}") for register in free))


def first_difference(pair: Pair) -> int | None:
    """Return the first input for which the two programs differ, of all; None if there is none.

    Raises
    ------
    ValueError
        If there are more than :data:`MAXIMUM_BITS` bits.
    """
    if pair.bits > MAXIMUM_BITS:
        raise ValueError(f"Bits of which every combination is run must be at most {MAXIMUM_BITS}, not {pair.bits}")
    if not pair.sound.outputs[0].width:
        return None
    engines = NumpyEngine(pair.sound), NumpyEngine(pair.faulty)
    total = 1 << pair.bits
    for start in range(0, total, _BLOCK):
        planes = exhaustive_planes({_INPUT: pair.bits}, start, min(_BLOCK, total - start))
        words = planes[_INPUT].shape[1]
        sound, faulty = (engine.run_packed(planes, words=words)[_OUTPUT] for engine in engines)
        wrong = np.bitwise_or.reduce(sound ^ faulty, axis=0)
        bits = np.unpackbits(np.ascontiguousarray(wrong, "<u8").view(np.uint8), bitorder="little")[:total - start]
        if bits.any():
            return start + int(np.flatnonzero(bits)[0])
    return None


def names_of(program: Program) -> dict[Register, str]:
    """Return what each input and each register of a program is called."""
    names = {register: port.name if port.width == 1 else f"{port.name}[{index}]"
             for port in program.inputs for index, register in enumerate(port.registers)}
    return names | {bit.stored: f"register of {bit.cell}" for bit in program.state}


def twin_states(program: Program, cell: str) -> dict[int, int]:
    """Return, for each register of a sound cell, that of the faulty one beside it, as numbers of state bits."""
    places = {bit: index for index, bit in enumerate(program.state)}
    return {places[bit]: places[twin] for bit, twin in _twins(program.state, cell)}


def _twins(state: Sequence[StateBit], cell: str) -> list[tuple[StateBit, StateBit]]:
    """Return the registers of a sound cell, each with that of the faulty one beside it."""
    faulty = [bit for bit in state if bit.cell.startswith(f"cell {f'{cell}${CHOICE}0'!r} (")]
    sound = [bit for bit in state if bit.cell.startswith(f"cell {cell!r} (")]
    return list(zip(sound, faulty, strict=True)) if faulty else []


def _specialised(program: Program, renamed: Mapping[Register, Register]) -> tuple[Instruction, ...]:
    """Return a program's instructions with registers in place of others."""
    return tuple(Instruction(step.operation, step.target, renamed.get(step.a, step.a), renamed.get(step.b, step.b))
                 for step in program.instructions if not isinstance(step, Read))


def _reached(sources: Iterable[Register], program: Program) -> set[Register]:
    """Return the registers that depend on any of ``sources``."""
    reached = set(sources)
    for step in program.instructions:
        if not isinstance(step, Read) and (step.a in reached or step.b in reached):
            reached.add(step.target)
    return reached


def _needed(ends: Iterable[Register], instructions: Sequence[Instruction]) -> set[Register]:
    """Return the registers that ``ends`` depend on."""
    operands: dict[Register, set[Register]] = {}
    for step in instructions:
        operands.setdefault(step.target, set()).update((step.a, step.b))
    needed: set[Register] = set()
    pending = list(ends)
    while pending:
        register = pending.pop()
        if register not in needed:
            needed.add(register)
            pending += operands.get(register, ())
    return needed


def part_program(instructions: Sequence[Instruction], inputs: Sequence[Register], outputs: Sequence[Register],
                 register_count: int) -> Program:
    """Return what some of a program's instructions make of registers, as a program of one input and one output."""
    needed = _needed(outputs, instructions)
    return Program(name="pair", inputs=(PortRegisters(_INPUT, tuple(inputs)),),
                   outputs=(PortRegisters(_OUTPUT, tuple(outputs)),), state=(), register_count=register_count,
                   instructions=tuple(step for step in instructions if step.target in needed))
