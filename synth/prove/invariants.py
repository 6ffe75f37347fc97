"""What a circuit with registers never does: pairs of signals that never have some values, by induction over cycles.

Signals that depend on registers alone are watched in random runs from power-up. Two of them that never come together,
as operands of one gate or as registers, are taken to exclude each other, and all of what is taken so is proved at once:
it holds at power-up, and what breaks any of it after a cycle that began with all of it is dropped, until none does
(Flanagan and Leino, Houdini, an annotation assistant for ESC/Java, 2001).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from synth.netlist import Instruction, NumpyEngine, Operation, Program
from synth.netlist.packing import WORD_BITS, Planes
from synth.netlist.program import ONE, ZERO, PortRegisters, Register
from synth.prove.circuit import Step, check_provable, input_variables, netlist_terms, state_variables
from synth.prove.driver import Driver, random_codes
from synth.prove.evaluate import evaluate
from synth.prove.solve import DEFAULT_SOLVER, Result, satisfy
from synth.prove.terms import Term, all_of, any_of, invert

__all__ = ["Excluded", "Held", "exclusions", "following"]

_WORDS, _CYCLES, _SEED = 64, 256, 1
"""Words of runs side by side, and cycles of each."""

_LANES, _STEPS = 1 << 10, 4
"""Runs on from a state that was found, with inputs of their own, and cycles of each: they drop at once what does not
hold there."""

_OFTEN = 256
"""How often values have to be seen, each by itself, for their never being seen together to say something."""

_FEW = 16
"""Registers that a signal may depend on, and be paired with any other register."""

_VALUES, _SIGNALS = (False, True), "signals"

Literal = tuple[Register, bool]
"""A register of a program, and a value."""


@dataclass(frozen=True)
class Excluded:
    """Two signals that never have these values at once; of one alone, both are the same.

    Parameters
    ----------
    one, other : Literal
    """

    one: Literal
    other: Literal


def exclusions(program: Program, *, solver: str = DEFAULT_SOLVER, timeout: float | None = None) -> tuple[Excluded, ...]:
    """Return pairs of values that two signals of a circuit never have at once, from power-up on, whatever comes in.

    Parameters
    ----------
    program : Program
    timeout : float, seconds, optional
        For all questions together; none are returned if it does not suffice.

    Raises
    ------
    NetlistError
        If the program has what terms cannot say.
    ToolMissing, ToolError
        As :func:`synth.prove.solve.satisfy`.
    """
    check_provable(program)
    begin = time.monotonic()
    state = state_variables(program)
    inputs = [input_variables(program.data_inputs, f"_{cycle}") for cycle in range(2)]
    before = netlist_terms(program, inputs[0], state)
    after = netlist_terms(program, inputs[1], before.next).registers
    variables = [*state, *inputs[0].values()]
    found = _never_seen(program)
    while found:
        given = [_term(pair, before.registers) for pair in found]
        broken = any_of(*(invert(_term(pair, after)) for pair in found))
        left = None if timeout is None else max(timeout - (time.monotonic() - begin), 0.001)
        answer = satisfy([*given, broken], wanted=variables, solver=solver, timeout=left)
        if answer.result is Result.UNSATISFIABLE:
            break
        if answer.result is Result.UNDECIDED:
            return ()
        found = _unbroken(found, before, state, list(inputs[0].values()), answer.values)
    return tuple(found)


def _unbroken(found: list[Excluded], step: Step, state: Sequence[Term], inputs: Sequence[Term],
              values: Mapping[str, int]) -> list[Excluded]:
    """Return the pairs that hold on from a state and inputs that break some, and from there on with any others.

    What breaks none of those that are left is as good a state to begin with as any, and so is what comes after it.
    """
    generator = np.random.default_rng(_SEED)
    held = [np.full(_LANES, bool(values[term.head])) for term in state]
    for cycle in range(_STEPS):
        taken = {term.head: random_codes(term.sort.width, _LANES, generator) for term in inputs}
        if not cycle:
            for term in inputs:
                taken[term.head][0] = values[term.head]
        taken |= {term.head: column for term, column in zip(state, held, strict=True)}
        pairs = [_term(pair, step.registers) for pair in found]
        shown = evaluate([*pairs, *step.next], taken)
        found = [pair for pair, holds in zip(found, shown[:len(pairs)], strict=True) if holds.all()]
        held = shown[len(pairs):]
    return found


@dataclass(frozen=True)
class Held:
    """Registers that only change together.

    Parameters
    ----------
    bits : tuple of int
        Numbers of the state bits.
    unless : Register
        Signal of the program: while it is 0, they stay what they are.
    """

    bits: tuple[int, ...]
    unless: Register


def following(program: Program, found: Sequence[Excluded], groups: Sequence[Held] = ()) -> Program:
    """Return a program without state that says whether registers hold what they may have come to hold.

    Its first input, ``registers``, is what they hold; all others are what came before, in some cycle where all of the
    pairs hold. Its output ``follows`` is 1 where they hold what they start with, or what they take a cycle later; and
    each of the groups, what it starts with, or took in a cycle that changed it, which may be longer ago. So for
    whatever they ever hold, there are values of the other inputs for which it is 1.
    """
    build = _Builder()
    registers = tuple(build.fresh() for _ in program.state)
    parts = []
    every = tuple(range(len(program.state)))
    for number, (bits, unless) in enumerate(((every, ONE), *((group.bits, group.unless) for group in groups))):
        cycle = build.copied(program, f"_{number}")
        taken = [cycle[unless]]
        starts = []
        for index in bits:
            bit = program.state[index]
            taken.append(build.alike(registers[index], cycle[bit.next]))
            starts.append(registers[index] if bit.initial else build.inverted(registers[index]))
        for pair in found:
            literals = [cycle[register] if value else build.inverted(cycle[register])
                        for register, value in (pair.one, pair.other)]
            taken.append(build.inverted(build.append(Operation.AND, *literals)))
        parts.append(build.append(Operation.OR, build.all_of(taken), build.all_of(starts)))
    return Program(name="following", inputs=(PortRegisters("registers", registers), *build.ports),
                   outputs=(PortRegisters("follows", (build.all_of(parts),)),), state=(), register_count=build.count,
                   instructions=tuple(build.steps))


class _Builder:
    """A program that is made of copies of another one's instructions, and of more."""

    def __init__(self) -> None:
        self.count = 2
        self.steps: list[Instruction] = []
        self.ports: list[PortRegisters] = []

    def fresh(self) -> Register:
        """Return another register."""
        self.count += 1
        return self.count - 1

    def copied(self, program: Program, suffix: str) -> dict[Register, Register]:
        """Append all that a program does in a cycle, with inputs of its own; return what its registers are here."""
        here = {ZERO: ZERO, ONE: ONE}
        state = PortRegisters("state", tuple(bit.stored for bit in program.state))
        for port in (state, *program.data_inputs):
            here.update((register, self.fresh()) for register in port.registers)
            self.ports.append(PortRegisters(port.name + suffix, tuple(here[register] for register in port.registers)))
        for step in program.instructions:
            if isinstance(step, Instruction):
                here[step.target] = self.append(step.operation, here[step.a], here[step.b])
        return here

    def append(self, operation: Operation, a: Register, b: Register) -> Register:
        """Return a register that holds what an operation gives."""
        target = self.fresh()
        self.steps.append(Instruction(operation, target, a, b))
        return target

    def inverted(self, register: Register) -> Register:
        """Return a register that holds the complement of another."""
        return self.append(Operation.NOT, register, register)

    def alike(self, one: Register, other: Register) -> Register:
        """Return a register that is 1 where two others are the same."""
        return self.inverted(self.append(Operation.XOR, one, other))

    def all_of(self, registers: Sequence[Register]) -> Register:
        """Return a register that is 1 where all of these are."""
        every = ONE
        for register in registers:
            every = self.append(Operation.AND, every, register)
        return every


def _term(pair: Excluded, registers: Mapping[Register, Term]) -> Term:
    return invert(all_of(*(registers[register] if value else invert(registers[register])
                           for register, value in (pair.one, pair.other))))


def state_only(program: Program) -> set[Register]:
    """Return the registers of a program that its state alone decides."""
    known = {ZERO, ONE} | {bit.stored for bit in program.state}
    for step in program.instructions:
        if isinstance(step, Instruction) and step.a in known and step.b in known:
            known.add(step.target)
    return known - {ZERO, ONE}


def _never_seen(program: Program) -> list[Excluded]:
    """Return the pairs of values that no run contradicts."""
    watched = _Watched(program)
    found = [Excluded((register, value), (register, value)) for value in _VALUES
             for register in watched.order[watched.times[value] == 0].tolist()]
    first, second = watched.pairs()
    seen = watched.seen_together(first, second)
    for one, other in seen:
        often = np.minimum(watched.times[one][first], watched.times[other][second]) >= _OFTEN
        found += [Excluded((int(watched.order[first[index]]), one), (int(watched.order[second[index]]), other))
                  for index in np.flatnonzero(often & ~seen[one, other]).tolist()]
    return found


class _Watched:
    """Signals that depend on registers alone, watched in random runs.

    Attributes
    ----------
    order : int array
        The signals' registers in the program.
    times : mapping of bool to int array
        How often each has each value.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.order = np.array(sorted(state_only(program)), dtype=np.int64)
        self._places = {register: place for place, register in enumerate(self.order.tolist())}
        ports = (*program.outputs, PortRegisters(_SIGNALS, tuple(self.order.tolist())))
        simulation = NumpyEngine(replace(program, outputs=ports)).simulation(_WORDS * WORD_BITS)
        drive = Driver(program.data_inputs, program.outputs, _WORDS, np.random.default_rng(_SEED))
        self._planes: list[Planes] = []
        for _ in range(_CYCLES):
            drive(simulation)
            self._planes.append(simulation.get_planes(_SIGNALS).copy())
            simulation.step()
        high = np.sum([np.bitwise_count(planes).sum(axis=1, dtype=np.int64) for planes in self._planes], axis=0)
        self.times = {True: high, False: _CYCLES * _WORDS * WORD_BITS - high}

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pairs that are looked at, as places in the order: operands of a gate, a register and another, and
        a register and what a few of the others decide."""
        stored = [self._places[bit.stored] for bit in self._program.state]
        pairs = dict.fromkeys(combinations(sorted(stored), 2))
        for step in self._program.instructions:
            if isinstance(step, Instruction) and step.a in self._places and step.b in self._places:
                pairs[self._places[min(step.a, step.b)], self._places[max(step.a, step.b)]] = None
        pairs.update(((place, register), None) for place, support in self._deciding().items()
                     for register in stored if register not in support)
        first, second = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2).T
        return first, second

    def _deciding(self) -> dict[int, frozenset[int]]:
        """Return signals that a few registers decide, one of all that are always the same, and which these are."""
        support = {place: frozenset([place]) for place in (self._places[bit.stored] for bit in self._program.state)}
        for step in self._program.instructions:
            if isinstance(step, Instruction) and step.target in self._places:
                operands = (self._places.get(register) for register in (step.a, step.b))
                support[self._places[step.target]] = frozenset().union(*(
                    support[place] for place in operands if place is not None))
        known: set[bytes] = set()
        deciding = {}
        for place, registers in support.items():
            if 2 <= len(registers) <= _FEW and min(self.times[value][place] for value in _VALUES) >= _OFTEN:
                rows = np.concatenate([planes[place] for planes in self._planes])
                alike = (rows ^ -(rows[:1] & np.uint64(1))).tobytes()
                if alike not in known:
                    known.add(alike)
                    deciding[place] = registers
        return deciding

    def seen_together(self, first: NDArray[np.int64], second: NDArray[np.int64]
                      ) -> dict[tuple[bool, bool], NDArray[np.bool_]]:
        """Return, for all four pairs of values, whether signals ever had them at once."""
        seen = {both: np.zeros(len(first), dtype=bool) for both in product(_VALUES, _VALUES)}
        for high in self._planes:
            planes = {True: high, False: ~high}
            for both, ever in seen.items():
                left = np.flatnonzero(~ever)
                ever[left] = (planes[both[0]][first[left]] & planes[both[1]][second[left]]).any(axis=1)
        return seen
