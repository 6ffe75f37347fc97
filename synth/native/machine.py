"""A multiply-accumulate circuit taken apart: what is the same in all copies of it, and what the operands decide.

In a matrix product all copies of the circuit march in step: they take their first, their next and their last pair in
the same cycles. So every register that depends on no operand holds the same in all of them: handshake, counters, flags
on their way through a pipeline. That part runs once (:mod:`synth.native.schedule`); the rest is left as a function of
operands and state, in which those registers are known.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from synth.native.mac_interface import MacInterface
from synth.netlist.program import ONE, ZERO, Instruction, PortRegisters, Program, Register

__all__ = ["Machine", "Slot", "is_plain"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A state bit that differs between copies: what it holds, what it takes next, and its initial value."""

    stored: Register
    next: Register
    initial: bool


@dataclass(frozen=True)
class Machine:
    """The parts of an operator's program.

    Parameters
    ----------
    a, b, result : tuple of Register
        Bits of the operands and of the sum, least significant first.
    slots : tuple of Slot
    instructions : tuple of Instruction
        Those that depend on an operand or a slot.
    given : tuple of Register
        What these, the slots and the result read besides: the same in all copies, at any time.
    control : Program
        The part that is the same in all copies.
    ready, valid : Register or None
        Of the streams; None for a function.
    """

    a: tuple[Register, ...]
    b: tuple[Register, ...]
    result: tuple[Register, ...]
    slots: tuple[Slot, ...]
    instructions: tuple[Instruction, ...]
    given: tuple[Register, ...]
    control: Program
    ready: Register | None
    valid: Register | None

    @classmethod
    def of(cls, program: Program, interface: MacInterface) -> Machine:
        """Take a program apart.

        Raises
        ------
        ValueError
            If it has memories, asynchronous controls or a falling clock edge, or operands decide when it takes or gives
            a transfer.
        """
        if not is_plain(program):
            raise ValueError("Program must have neither memories nor asynchronous controls nor falling clock edges to "
                             "be taken apart")
        inputs = {port.name: port.registers for port in program.inputs}
        outputs = {port.name: port.registers for port in program.outputs}
        if interface.is_stream:
            payload = inputs["i__payload"]
            a, b = payload[interface.place("a")], payload[interface.place("b")]
            result, candidates = outputs["o__payload"], [Slot(bit.stored, bit.next, bit.initial)
                                                         for bit in program.state]
            ready, valid = outputs["i__ready"][0], outputs["o__valid"][0]
        else:
            assert interface.start is not None
            a, b, result, ready, valid = inputs["a"], inputs["b"], outputs["o"], None, None
            candidates = [Slot(stored, next_, bool(interface.start >> index & 1))
                          for index, (stored, next_) in enumerate(zip(inputs["c"], result, strict=True))]
        varying = _varying(program, {*a, *b}, candidates, all_slots=not interface.is_stream)
        if ready in varying or valid in varying:
            raise ValueError("Program must take and give transfers in the same cycles whatever the operands are")
        steps = [step for step in program.instructions if isinstance(step, Instruction)]
        instructions = tuple(step for step in steps if step.target in varying)
        slots = tuple(slot for slot in candidates if slot.stored in varying)
        read = {register for step in instructions for register in (step.a, step.b)}
        read |= {slot.next for slot in slots} | set(result)
        given = tuple(sorted(read - varying - {ZERO, ONE}))
        return cls(a, b, result, slots, instructions, given, _control(program, varying, given, (ready, valid)), ready,
                   valid)


def is_plain(program: Program) -> bool:
    """Whether a program's state is flip-flops alone, which all take their next state at rising edges."""
    return not program.memories and all(bit.settled == bit.stored and bit.clock.rising for bit in program.state)


def _varying(program: Program, operands: set[Register], slots: list[Slot], *, all_slots: bool) -> set[Register]:
    """Return every register that depends on an operand, in this cycle or through state."""
    varying = operands | ({slot.stored for slot in slots} if all_slots else set())
    while True:
        for step in program.instructions:
            if isinstance(step, Instruction) and (step.a in varying or step.b in varying):
                varying.add(step.target)
        reached = {slot.stored for slot in slots if slot.next in varying}
        if reached <= varying:
            return varying
        varying |= reached


def _control(program: Program, varying: set[Register], given: tuple[Register, ...],
             flags: tuple[Register | None, Register | None]) -> Program:
    """Return the program without what varies, with the given registers and the flags for outputs."""
    state = tuple(bit for bit in program.state if bit.stored not in varying)
    needed = {bit.next for bit in state} | set(given) | {flag for flag in flags if flag is not None}
    steps = []
    for step in reversed(program.instructions):
        if isinstance(step, Instruction) and step.target in needed:
            needed |= {step.a, step.b}
            steps.append(step)
    return dataclasses.replace(program, state=state, instructions=tuple(reversed(steps)), outputs=(
        PortRegisters("given", given), *(PortRegisters(name, () if flag is None else (flag,))
                                         for name, flag in zip(("ready", "valid"), flags, strict=True))))


