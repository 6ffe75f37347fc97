"""Pipelines whose outputs do not remember how their registers started."""

from __future__ import annotations

from synth.netlist import Program, Read
from synth.netlist.program import Register


def forgets_after(program: Program, cycles: int) -> bool:
    """Return whether no output depends, after that many cycles, on what the registers held before them.

    A design with memories, or with asynchronous sets and resets, counts as one that remembers.
    """
    if program.memories or any(bit.settled != bit.stored for bit in program.state):
        return False
    operands = {step.target: (step.a, step.b) for step in program.instructions if not isinstance(step, Read)}
    following = {bit.stored: bit.next for bit in program.state}

    def seen_by(roots: list[Register]) -> set[Register]:
        pending, done = list(roots), set(roots)
        while pending:
            for operand in operands.get(pending.pop(), ()):
                if operand not in done:
                    done.add(operand)
                    pending.append(operand)
        return done & following.keys()

    seen = seen_by([register for port in program.outputs for register in port.registers])
    for _ in range(cycles):
        seen = seen_by([following[stored] for stored in seen])
    return not seen
