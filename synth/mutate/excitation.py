"""Faults that never act: the values for which a faulty cell, or those near it, give anything else never come about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synth.errors import ToolMissing
from synth.mutate.cells import flip_flop_of
from synth.mutate.faults import Fault
from synth.mutate.pair import MAXIMUM_BITS, Pair, first_difference, names_of, part_program
from synth.mutate.plant import excited, top_module
from synth.mutate.reachable import Reachable
from synth.netlist import Instruction, Program, compile_netlist, read_netlist
from synth.netlist.program import ONE, ZERO, Register

_DEPTHS = (0, 1, 3)
"""Cells behind the faulty one, in turn, up to which it is looked for a difference."""


def never_acts(document: Mapping[str, Any], fault: Fault, timeout: float, clocks: Sequence[tuple[str, int]] = (), *,
               reachable: Reachable | None = None) -> str:
    """Return how it was shown that a faulty cell, or those near it, always give what they should; empty if it was not.

    Inputs are taken to hold anything, and so are registers but for what is known of them. Where few signals lie between
    all of them and the cells, such as the significands in a multiplier, every combination of these is run; otherwise,
    and where something is known, a solver is asked.

    Parameters
    ----------
    timeout : float, seconds
        For the solver, each time.
    clocks : sequence of (port, index)
        Bits of input ports that are clocks.
    reachable : Reachable, optional
        What is known of the registers.
    """
    if flip_flop_of(top_module(document)[1]["cells"][fault.cell]) is not None:
        return ""
    for depth in _DEPTHS if reachable is None else _DEPTHS[-1:]:
        program = compile_netlist(read_netlist(excited(document, fault, clocks, depth)))
        if program.memories or program.outputs[0].registers[0] == ONE:
            return ""
        how = _run_through(program) if reachable is None else ""
        if how:
            return how
    whole = _whole(program)
    try:
        from synth.prove import Status, equivalent

        answer = equivalent(whole.sound, whole.faulty, timeout=timeout,
                            given=None if reachable is None else reachable.given(whole.names))
    except ToolMissing:
        return ""
    return f"{answer.solver} {answer.version} at the cell" if answer.status is Status.PROVED else ""


def _run_through(program: Program) -> str:
    """Return how it was shown, without a solver, that a program's output is always 0."""
    target = program.outputs[0].registers[0]
    steps = tuple(step for step in program.instructions if isinstance(step, Instruction))
    cut = furthest_cut(steps, target, MAXIMUM_BITS)
    if cut is None or first_difference(_pair(steps, sorted(cut), target, program)) is not None:
        return ""
    return f"all combinations of {len(cut)} bits that decide what the cell gives"


def _whole(program: Program) -> Pair:
    """Return a program's output as a function of its inputs and registers, and zero."""
    steps = tuple(step for step in program.instructions if isinstance(step, Instruction))
    made = {step.target for step in steps}
    sources = {register for step in steps for register in (step.a, step.b)} - made - {ZERO, ONE}
    return _pair(steps, sorted(sources), program.outputs[0].registers[0], program)


def _pair(steps: Sequence[Instruction], inputs: Sequence[Register], target: Register, program: Program) -> Pair:
    """Return a signal as a function of others, and zero."""
    count, names = program.register_count, names_of(program)
    sound = part_program([step for step in steps if step.target not in inputs], inputs, [target], count)
    return Pair(sound=sound, faulty=part_program((), inputs, [ZERO], count), same_start=True,
                names=tuple(names.get(register, f"signal {register}") for register in inputs))


def furthest_cut(steps: Sequence[Instruction], target: Register, limit: int) -> set[Register] | None:
    """Return at most ``limit`` signals that decide another one, as near to the inputs as so few can be; or None.

    Source: Ford and Fulkerson 1956, Maximal flow through a network; every signal lets one path through, from an input
    to the target. Where the fewest signals are found, what they decide lets any number through, until more are needed.
    """
    operands = {step.target: tuple({step.a, step.b} - {ZERO, ONE}) for step in steps}
    passed, found = {target}, None
    while True:
        network = _Network(operands, target, passed)
        cut = next((cut for _ in range(limit + 1) if (cut := network.augmented()) is not None), None)
        if cut is None or cut == found:
            return found
        found = cut
        passed |= _decided(operands, target, cut) | (cut & operands.keys())


def _decided(operands: Mapping[Register, Sequence[Register]], target: Register, cut: set[Register]) -> set[Register]:
    """Return the signals that a cut decides, up to the target."""
    seen, pending = {target}, [target]
    while pending:
        for operand in operands.get(pending.pop(), ()):
            if operand not in seen and operand not in cut:
                seen.add(operand)
                pending.append(operand)
    assert seen <= operands.keys(), "an input passes by the cut"
    return seen


_Node = tuple[Register, bool]
"""A signal on the side of its readers (True), or on that of its operands."""


class _Network:
    """Paths from a signal down to the inputs that decide it, no two of which share another that is not ``passed``."""

    def __init__(self, operands: Mapping[Register, Sequence[Register]], target: Register, passed: set[Register]
                 ) -> None:
        self._operands, self._target, self._passed = operands, target, passed
        self._used: set[Register] = set()
        self._readers: dict[Register, set[Register]] = {}  # by which of its readers a path comes to a signal

    def augmented(self) -> set[Register] | None:
        """Find one more path; where there is none, return the signals that every path goes through."""
        start = (self._target, False)
        parents: dict[_Node, _Node | None] = {start: None}
        pending = [start]
        while pending:
            node = pending.pop()
            register, _ = node
            if node[1] is False and register not in self._operands:
                self._take(node, parents)
                return None
            for following in self._following(node):
                if following not in parents:
                    parents[following] = node
                    pending.append(following)
        return {register for register, side in parents if side and (register, False) not in parents}

    def _following(self, node: _Node) -> list[_Node]:
        register, readers_side = node
        if readers_side:
            found = [(reader, False) for reader in self._readers.get(register, ())]
            stopped = register in self._used and register not in self._passed
            return found if stopped else [*found, (register, False)]
        found = [(operand, True) for operand in self._operands[register]]
        return [*found, (register, True)] if register in self._used else found

    def _take(self, node: _Node, parents: Mapping[_Node, _Node | None]) -> None:
        before = parents[node]
        while before is not None:
            (register, side), (reader, _) = node, before
            if register == reader:
                (self._used.discard if side else self._used.add)(register)
            elif side:
                self._readers.setdefault(register, set()).add(reader)
            else:
                self._readers[reader].discard(register)
            node, before = before, parents[before]
