"""The proof that no one sees at what an input of a stream circuit is held: two machines, by induction over cycles.

The one has it at 0, the other at 1, and everything else that comes in is the same. What their registers have to do
with each other is found in random runs and proved: a register holds the same in both, always or while a flag says that
it does not matter; and flags exclude each other. Where one cycle does not show it, two or three that lead from state to
state do (Sheeran, Singh and Stålmarck, Checking safety properties using induction and a SAT-solver, 2000).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np

from synth.netlist import NumpyEngine, Program, Read
from synth.netlist.packing import WORD_BITS, Planes
from synth.netlist.program import PortRegisters
from synth.prove.circuit import check_provable, initial_state, input_variables, netlist_terms, state_variables
from synth.prove.driver import VALID, Driver, random_codes
from synth.prove.equivalence import Status, Verdict
from synth.prove.evaluate import Values, evaluate
from synth.prove.solve import DEFAULT_SOLVER, Answer, Result, satisfy, version_of
from synth.prove.terms import Term, all_of, any_of, bit, constant, implies, invert, not_equal, xor

__all__ = ["unobservable"]

_WORDS, _CYCLES, _SEED = 8, 96, 1
"""Words of runs side by side, and cycles of each, in which relations are looked for."""

_LANES = 64
"""Inputs with which a state that was found is tried, to drop all that does not hold there at once."""

_DEPTHS = (1, 2, 3)
"""Cycles that an induction step spans, in turn."""

_PAYLOAD_BITS = 3
"""Bits of a transfer that a register may depend on, through others, and be a flag: those that say where it stands."""

_MOST_FLAGS = 48

_PAYLOAD, _REGISTERS = "o__payload", "registers"

Literal = tuple[int, bool]
"""A state bit of the first machine, and a value."""

State = Sequence[Term]


@dataclass(frozen=True)
class _Relation:
    """While the first machine's ``flags`` have their values, two registers are the same; without any, they never have.

    Parameters
    ----------
    pair : (int, int) or None
        State bits of the first and the second machine.
    flags : tuple of Literal
    inverted : bool
        Whether the second register holds the complement.
    """

    pair: tuple[int, int] | None
    flags: tuple[Literal, ...] = ()
    inverted: bool = False

    def term(self, first: State, second: State) -> Term:
        """Return whether it holds."""
        condition = all_of(*(first[index] if value else invert(first[index]) for index, value in self.flags))
        if self.pair is None:
            return invert(condition)
        different = xor(first[self.pair[0]], second[self.pair[1]])
        return implies(condition, different if self.inverted else invert(different))


def unobservable(program: Program, choice: str, *, twins: Mapping[int, int], solver: str = DEFAULT_SOLVER,
                 timeout: float | None = None) -> Verdict:
    """Prove that a stream circuit shows the same whether an input of one bit is held at 0 or at 1, from power-up on.

    What ``o.payload`` is while ``o.valid`` is low is not seen.

    Parameters
    ----------
    program : Program
    choice : str
        Name of the input.
    twins : mapping of int to int
        For state bits of the first machine, those of the second that stand in for them.
    timeout : float, seconds, optional
        For all questions together.

    Returns
    -------
    Verdict
        Refuted, without inputs, if it was seen in random runs by the rules of streams; for a proof they play no part.

    Raises
    ------
    NetlistError
        If the program has what terms cannot say.
    ToolMissing, ToolError
        As :func:`synth.prove.solve.satisfy`.
    """
    check_provable(program)
    return _Machines(program, choice, twins, solver, timeout).verdict()


@dataclass(frozen=True)
class _Frames:
    """Both machines over some cycles: states before each and after the last, and what they show in each."""

    first: list[State]
    second: list[State]
    differs: list[Term]
    variables: list[Term]

    def moves(self) -> list[Term]:
        """Return, for each cycle, whether it changes any register."""
        return [any_of(*(xor(before, after) for before, after in zip((*one, *other), (*one_next, *other_next),
                                                                      strict=True)))
                for one, other, one_next, other_next in zip(self.first, self.second, self.first[1:], self.second[1:],
                                                            strict=False)]


class _Machines:
    def __init__(self, program: Program, choice: str, twins: Mapping[int, int], solver: str, timeout: float | None
                 ) -> None:
        self._program, self._choice, self._solver, self._timeout = program, choice, solver, timeout
        self._pairs = [(index, twins.get(index, index)) for index in range(len(program.state))
                       if index not in twins.values()]
        self._begin = time.monotonic()

    def verdict(self) -> Verdict:
        found = self._sampled()
        if found is None:
            return self._verdict(Status.REFUTED)
        for depth in _DEPTHS:
            status = self._proved(found, depth)
            if status is not Status.UNDECIDED:
                return self._verdict(status)
        return self._verdict(Status.UNDECIDED)

    def _verdict(self, status: Status) -> Verdict:
        return Verdict(status=status, solver=self._solver, version=version_of(self._solver),
                       seconds=time.monotonic() - self._begin)

    # Induction

    def _proved(self, found: Sequence[_Relation], depth: int) -> Status:
        """Return whether what is shown is the same, by an induction whose step spans so many cycles."""
        relations = list(found)
        for cycles in range(1, depth + 1):  # from power-up on, as long as the step does not reach
            frames = self._frames(cycles, (initial_state(self._program),) * 2)
            relations, answer = self._narrowed(relations, frames, [])
            if answer.result is Result.UNDECIDED:
                return Status.TIMED_OUT
            if cycles < depth:
                answer = self._ask([frames.differs[-1]], frames)
                if answer.result is not Result.UNSATISFIABLE:
                    return Status.TIMED_OUT if answer.result is Result.UNDECIDED else Status.REFUTED
        while True:
            frames = self._frames(depth, None, relations)
            given = [relation.term(first, second) for first, second in zip(
                frames.first[:depth], frames.second[:depth], strict=True) for relation in relations]
            given += frames.moves()[:depth - 1]
            kept, answer = self._narrowed(relations, frames, given, once=True)
            if answer.result is Result.UNDECIDED:
                return Status.TIMED_OUT
            if answer.result is Result.UNSATISFIABLE:
                break
            if any(relation.pair and not relation.flags for relation in {*relations} - {*kept}):
                return Status.UNDECIDED  # registers that seem to be the same may differ, and all that follows with them
            relations = kept
        answer = self._ask([*given, frames.differs[-1]], frames)
        return {Result.UNSATISFIABLE: Status.PROVED, Result.SATISFIABLE: Status.UNDECIDED}.get(
            answer.result, Status.TIMED_OUT)

    def _frames(self, cycles: int, start: tuple[State, State] | None, relations: Sequence[_Relation] = ()) -> _Frames:
        """Return both machines from a state on, by default from any; equal registers are one variable."""
        if start is None:
            first: State = state_variables(self._program)
            shared = {relation.pair[1]: invert(first[relation.pair[0]]) if relation.inverted else
                      first[relation.pair[0]] for relation in relations
                      if relation.pair is not None and not relation.flags}
            second: State = tuple(shared.get(index, own)
                                  for index, own in enumerate(state_variables(self._program, "_b")))
            variables = list({term.head: term for term in (*first, *second) if term.free}.values())
        else:
            first, second = start
            variables = []
        states: tuple[list[State], list[State]] = ([first], [second])
        differs: list[Term] = []
        ports = [port for port in self._program.data_inputs if port.name != self._choice]
        for cycle in range(cycles):
            inputs = input_variables(ports, f"_{cycle}")
            variables += inputs.values()
            steps = [netlist_terms(self._program, {**inputs, self._choice: constant(held, 1)}, state[-1])
                     for held, state in enumerate(states)]
            for state, step in zip(states, steps, strict=True):
                state.append(step.next)
            differs.append(_differs(steps[0].outputs, steps[1].outputs))
        return _Frames(states[0], states[1], differs, variables)

    def _narrowed(self, relations: list[_Relation], frames: _Frames, given: Sequence[Term], *, once: bool = False
                  ) -> tuple[list[_Relation], Answer]:
        """Drop relations that fail after the last cycle; with ``once``, those of one answer."""
        while True:
            after = [relation.term(frames.first[-1], frames.second[-1]) for relation in relations]
            answer = self._ask([*given, any_of(*map(invert, after))], frames)
            if answer.result is not Result.SATISFIABLE:
                return relations, answer
            generator = np.random.default_rng(_SEED)
            values: dict[str, Values] = {}
            for term in frames.variables:
                values[term.head] = np.full(_LANES, answer.values[term.head], dtype=object)
                if term.sort.width:  # an input: any other could come in that state as well
                    values[term.head][1:] = random_codes(term.sort.width, _LANES - 1, generator)
            results = evaluate([*given, *after], values)
            valid = np.logical_and.reduce([np.ones(_LANES, dtype=bool), *results[:len(given)]])
            relations = [relation for relation, holds in zip(relations, results[len(given):], strict=True)
                         if holds[valid].all()]
            if once:
                return relations, answer

    def _ask(self, assertions: Sequence[Term], frames: _Frames) -> Answer:
        left = None if self._timeout is None else max(self._timeout - (time.monotonic() - self._begin), 0.001)
        return satisfy(assertions, wanted=frames.variables, solver=self._solver, timeout=left)

    # Runs

    def _sampled(self) -> list[_Relation] | None:
        """Run both machines from power-up; return the relations that nothing contradicts, or None if they differ."""
        program = self._program
        stored = PortRegisters(_REGISTERS, tuple(state.stored for state in program.state))
        simulation = NumpyEngine(replace(program, outputs=(*program.outputs, stored))).simulation(
            2 * _WORDS * WORD_BITS)
        generator = np.random.default_rng(_SEED)
        simulation.set_planes(self._choice, np.repeat(np.array([[0, ~np.uint64(0)]], dtype=np.uint64), _WORDS, axis=1))
        states = []
        drive = Driver([port for port in program.data_inputs if port.name != self._choice], program.outputs, _WORDS,
                       generator, copies=2)
        for _ in range(_CYCLES):
            drive(simulation)
            if _seen_to_differ(simulation.get_planes, [port.name for port in program.outputs]):
                return None
            states.append(simulation.get_planes(_REGISTERS).copy())
            simulation.step()
        runs = np.stack(states, axis=1)
        return self._relations(runs[..., :_WORDS].reshape(len(runs), -1), runs[..., _WORDS:].reshape(len(runs), -1))

    def _relations(self, first: Planes, second: Planes) -> list[_Relation]:
        flags = self._flags()
        literals = {(index, value): first[index] if value else ~first[index]
                    for index in flags for value in (False, True)}
        never = [_Relation(None, ((index, value),)) for index, row in enumerate(first) for value in (False, True)
                 if not (row if value else ~row).any()]
        constant_bits = {relation.flags[0][0] for relation in never}
        for one, other in combinations((index for index in flags if index not in constant_bits), 2):
            never += [_Relation(None, both) for both in product(((one, False), (one, True)),
                                                                ((other, False), (other, True)))
                      if not (literals[both[0]] & literals[both[1]]).any()]
        every = {(index, value): row if value else ~row for index, row in enumerate(first) for value in (False, True)}
        joint = {both: literals[both[0]] & literals[both[1]] for both in combinations(literals, 2)
                 if both[0][0] != both[1][0] and (literals[both[0]] & literals[both[1]]).any()}
        same: list[_Relation] = []
        for pair, inverted in product(self._pairs, (False, True)):
            if inverted and pair[0] == pair[1]:
                continue                                # only what stands in for another may hold its complement
            different = first[pair[0]] ^ second[pair[1]] ^ (~np.uint64(0) if inverted else np.uint64(0))
            if not different.any():
                same.append(_Relation(pair, (), inverted))
                continue
            same += [_Relation(pair, (literal,), inverted) for literal, row in every.items()
                     if row.any() and not (different & row).any()]
            same += [_Relation(pair, both, inverted) for both, row in joint.items() if not (different & row).any()]
        return never + same

    def _flags(self) -> list[int]:
        """Return the state bits that depend on few bits of the payloads, through registers too."""
        program = self._program
        seen: dict[int, int] = {}
        payload = 0
        for port in program.data_inputs:
            for register in port.registers:
                if port.width > 1:
                    seen[register] = 1 << payload
                    payload += 1
        states = {state.stored: 0 for state in program.state}
        while True:
            known = {**seen, **states}
            for step in program.instructions:
                assert not isinstance(step, Read)  # refused above
                known[step.target] = known.get(step.a, 0) | known.get(step.b, 0)
            following = {state.stored: states[state.stored] | known.get(state.next, 0) for state in program.state}
            if following == states:
                break
            states = following
        return [index for index, state in enumerate(program.state)
                if states[state.stored].bit_count() <= _PAYLOAD_BITS][:_MOST_FLAGS]


def _differs(first: Mapping[str, Term], second: Mapping[str, Term]) -> Term:
    """Return whether what two machines show differs."""
    parts = []
    for name, term in first.items():
        different = not_equal(term, second[name])
        parts.append(all_of(bit(first[VALID], 0), different) if name == _PAYLOAD and VALID in first else different)
    return any_of(*parts)


def _seen_to_differ(shown: Any, names: Sequence[str]) -> bool:
    valid: Planes | None = shown(VALID)[:, :_WORDS] if VALID in names else None
    for name in names:
        planes = shown(name)
        different = planes[:, :_WORDS] ^ planes[:, _WORDS:]
        if (different & valid if name == _PAYLOAD and valid is not None else different).any():
            return True
    return False
