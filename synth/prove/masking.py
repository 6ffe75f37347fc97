"""The proof that a difference between two circuits stays where it does not matter: in registers that are masked.

The circuits have the same registers. Some of them may differ while signals of the first circuit are all 1, such as the
digits of a register that holds a NaN; all others are the same. Which registers, and which signals, is found from what a
solver shows to break it: a register that comes to differ may do so from then on, and a signal that is 0 where one does
is no longer asked for. What is left at the end is an invariant, by induction over cycles.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from synth.netlist.program import Instruction, Program, Register
from synth.prove.circuit import check_provable, input_variables, netlist_terms, state_variables
from synth.prove.equivalence import Status, Verdict
from synth.prove.evaluate import evaluate
from synth.prove.invariants import state_only
from synth.prove.solve import DEFAULT_SOLVER, Result, satisfy, version_of
from synth.prove.terms import BOOL, FALSE, Term, all_of, any_of, bit, implies, invert, not_equal, pack, variable, xor

__all__ = ["masked"]

_MOST_DIFFERING = 4
"""Registers that may differ, at most."""

_FEWEST, _MOST = 5, 16
"""Registers that a signal may depend on, and say that others do not matter."""


def masked(first: Program, second: Program, matching: Sequence[int], given: Program, *, solver: str = DEFAULT_SOLVER,
           timeout: float | None = None) -> Verdict:
    """Prove that two circuits always show the same, although registers of theirs may differ while they do not matter.

    Parameters
    ----------
    first, second : Program
        Of the same ports; their registers start at the same values.
    matching : sequence of int
        For each state bit of the first, that of the second.
    given : Program
        What is known of the states of the first: see :func:`synth.prove.following`.
    timeout : float, seconds, optional
        For all questions together.

    Returns
    -------
    Verdict
        Proved, undecided or timed out.

    Raises
    ------
    NetlistError
        If a program has what terms cannot say.
    ToolMissing, ToolError
        As :func:`synth.prove.solve.satisfy`.
    """
    check_provable(first)
    check_provable(second)
    begin = time.monotonic()
    machines = _Machines(first, second, matching, given)
    status = None
    while status is None:
        left = None if timeout is None else max(timeout - (time.monotonic() - begin), 0.001)
        status = machines.step(solver, left)
    return Verdict(status=status, solver=solver, version=version_of(solver), seconds=time.monotonic() - begin)


class _Machines:
    """Both circuits in a cycle, which registers may differ before it, and what hides that."""

    def __init__(self, first: Program, second: Program, matching: Sequence[int], given: Program) -> None:
        self._second, self._matching = second, matching
        self._state = state_variables(first)
        self._inputs, later = (input_variables(first.data_inputs, f"_{cycle}") for cycle in range(2))
        self._one = netlist_terms(first, self._inputs, self._state)
        self._later = list(later.values())
        self._after = netlist_terms(first, later, self._one.next).registers
        known = netlist_terms(given, {**input_variables(given.inputs, "_given"),
                                      given.inputs[0].name: pack(list(self._state))})
        self._holds = [bit(term, 0) for term in known.outputs.values()]
        self._masks = [(register, value) for register in _masks(first) for value in (False, True)]
        self._differing: dict[int, Term] = {}

    def step(self, solver: str, timeout: float | None) -> Status | None:
        """Ask what breaks it; return what came of the proof, or None after less is said to hold."""
        two = netlist_terms(self._second, self._inputs, self._other_state())
        changes = [xor(term, two.next[place]) for term, place in zip(self._one.next, self._matching, strict=True)]
        masking, still = ([registers[register] if value else invert(registers[register])
                           for register, value in self._masks] for registers in (self._one.registers, self._after))
        seen = any_of(*(not_equal(term, two.outputs[name]) for name, term in self._one.outputs.items()))
        moved = {index: term for index, term in enumerate(changes) if index not in self._differing}
        broken = [all_of(changes[index], invert(all_of(*still))) for index in self._differing]
        allowed = [implies(xor(self._state[index], term), all_of(*masking)) for index, term in self._differing.items()]
        variables = [*self._state, *self._differing.values(), *self._inputs.values(), *self._later]
        answer = satisfy([*self._holds, *allowed, any_of(seen, *moved.values(), *broken)], wanted=variables,
                         solver=solver, timeout=timeout)
        if answer.result is not Result.SATISFIABLE:
            return Status.PROVED if answer.result is Result.UNSATISFIABLE else Status.TIMED_OUT
        values = {term.head: np.array([answer.values[term.head]], dtype=object) for term in variables}
        shown, *shows = (bool(result[0]) for result in evaluate([seen, *moved.values(), *still], values))
        self._differing |= {index: variable(f"other_{index}", BOOL)
                            for index, came in zip(moved, shows, strict=False) if came}
        self._masks = [mask for mask, held in zip(self._masks, shows[len(moved):], strict=True) if held]
        return Status.UNDECIDED if shown or len(self._differing) > _MOST_DIFFERING or not self._masks else None

    def _other_state(self) -> list[Term]:
        """Return what the second circuit's registers hold."""
        other = [FALSE] * len(self._matching)
        for index, place in enumerate(self._matching):
            other[place] = self._differing.get(index, self._state[index])
        return other


def _masks(program: Program) -> list[Register]:
    """Return the signals that a few registers decide."""
    support = {held.stored: frozenset([held.stored]) for held in program.state}
    signals = state_only(program)
    for step in program.instructions:
        if isinstance(step, Instruction) and step.target in signals:
            nothing: frozenset[Register] = frozenset()
            support[step.target] = support.get(step.a, nothing) | support.get(step.b, nothing)
    return [register for register, registers in support.items() if _FEWEST <= len(registers) <= _MOST]
