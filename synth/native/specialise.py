"""Partial evaluation: what is left of a circuit in a cycle whose control is known.

What is known is folded into the gates, and of the rest only what a later cycle or the result still needs is kept. So a
cycle inside a chunk of a chunked sum is a multiplier and an adder: the second adder's result would be thrown away, the
counter has counted already, and the handshake has been shaken.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.native.machine import Machine
from synth.native.schedule import Schedule
from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, GateGraph, Literal
from synth.netlist.logic import Basis, Logic, logic_of
from synth.netlist.lower import Lowering
from synth.netlist.program import Instruction, Operation, Register

__all__ = ["MAXIMUM_STEPS", "Plan", "PortKind", "Run", "Specialiser", "Step", "StepPort"]

MAXIMUM_STEPS = 12
"""Different combinations of what is known; beyond it some of it is told to the steps as they run."""

_RARE = 1 / 128
"""Part of a plan's instructions up to which a step's are left as they are: to make few of them takes time as well."""

_SAMPLE_TERMS = 256
"""Length of the sum by which it is decided what is told."""


class PortKind(enum.Enum):
    """What a step reads or writes."""

    A = "a"
    B = "b"
    """Operands."""
    TOLD = "told"
    """What is the same in all copies, and is not folded into the step."""
    SLOT = "slot"
    """State: :attr:`Machine.slots`."""
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class StepPort:
    """A bit that a step reads or writes."""

    kind: PortKind
    index: int


@dataclass(frozen=True)
class Step:
    """What all copies do in a cycle: logic, where its sources come from, and where what it makes goes to.

    ``covered`` tells whether time was spent on making the look-ups few.
    """

    logic: Logic
    sources: tuple[StepPort, ...]
    targets: tuple[StepPort, ...]
    covered: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A step that is repeated; ``advances`` if each repetition goes on to the next pair."""

    step: Step
    repeats: int
    advances: bool


@dataclass(frozen=True)
class Plan:
    """Everything that a product of so many terms does.

    Parameters
    ----------
    runs : sequence of Run
    told : uint8 array of shape (cycles, bits)
        What steps are told as they run, 0 or 1.
    """

    runs: Sequence[Run]
    told: NDArray[np.uint8]


class Specialiser:
    """Makes plans, and keeps the steps that it has made.

    Parameters
    ----------
    machine : Machine
    schedule : Schedule
        Of the machine.
    basis : Basis
        Of the logic.
    """

    def __init__(self, machine: Machine, schedule: Schedule, basis: Basis) -> None:
        self._machine, self._schedule, self._basis = machine, schedule, basis
        self._told: list[int] | None = None
        self._drafts: dict[tuple[tuple[int, ...], int, bool], tuple[_Draft, int]] = {}
        self._contents: dict[_Draft, _Draft] = {}
        self._steps: dict[int, Step] = {}

    def plan(self, terms: int) -> Plan:
        """Return what is to be done for sums of ``terms`` pairs, at least one.

        Raises
        ------
        ValueError
            If the circuit is stuck.
        """
        cycles = self._schedule.cycles(terms)
        if self._told is None:
            self._told = _told(self._schedule.cycles(_SAMPLE_TERMS).given)
        known = cycles.given.astype(np.int8)
        known[:, self._told] = -1
        vectors, numbers = np.unique(known, axis=0, return_inverse=True)
        keys = [tuple(vector.tolist()) for vector in vectors]
        drafts: list[_Draft] = []
        needed, last = 0, True
        for number in reversed(numbers.ravel().tolist()):
            draft, needed = self._draft(keys[number], needed, last)
            drafts.append(draft)
            last = False
        drafts.append(self._initial(needed))
        steps = self._mapped(drafts[::-1])
        # The first step takes no cycle of its own; the last pair stays where it is.
        advances = np.concatenate([[False], cycles.accepted])
        if cycles.accepted.any():
            advances[1 + int(np.flatnonzero(cycles.accepted)[-1])] = False
        runs: list[Run] = []
        for step, advance in zip(steps, advances.tolist(), strict=True):
            if runs and runs[-1].step is step and runs[-1].advances == advance:
                runs[-1] = Run(step, runs[-1].repeats + 1, advance)
            else:
                runs.append(Run(step, 1, advance))
        table = np.concatenate([np.zeros((1, len(self._told)), np.uint8), cycles.given[:, self._told]])
        return Plan(runs, table)

    def _draft(self, known: tuple[int, ...], needed: int, wants_result: bool) -> tuple[_Draft, int]:
        """Return the step that makes the ``needed`` slots (a bit each), and the slots needed before it."""
        key = known, needed, wants_result
        if key not in self._drafts:
            draft, before = _StepMaker(self._machine, known).make(needed, wants_result)
            self._drafts[key] = self._contents.setdefault(draft, draft), before
        return self._drafts[key]

    def _initial(self, needed: int) -> _Draft:
        """Return the step that gives the needed slots their initial values."""
        slots = [index for index in range(len(self._machine.slots)) if needed >> index & 1]
        draft = _Draft((), (), tuple(int(self._machine.slots[index].initial) for index in slots), (),
                       tuple(StepPort(PortKind.SLOT, index) for index in slots))
        return self._contents.setdefault(draft, draft)

    def _mapped(self, drafts: Sequence[_Draft]) -> list[Step]:
        """Return drafts as steps of the basis, those that much of the work goes into by as few look-ups as can be."""
        counts = Counter(id(draft) for draft in drafts)
        unique = {id(draft): draft for draft in drafts}
        work = {key: count * len(unique[key].instructions) for key, count in counts.items()}
        total = sum(work.values())
        for key, draft in unique.items():
            if key not in self._steps or (work[key] > _RARE * total and not self._steps[key].covered):
                self._steps[key] = draft.mapped(self._basis, covered=work[key] > _RARE * total)
        return [self._steps[id(draft)] for draft in drafts]


@dataclass(frozen=True)
class _Draft:
    """A step before it is mapped: instructions, their sources and what is wanted of them."""

    instructions: tuple[Instruction, ...]
    registers: tuple[Register, ...]
    wanted: tuple[Register, ...]
    sources: tuple[StepPort, ...]
    targets: tuple[StepPort, ...]

    def mapped(self, basis: Basis, *, covered: bool) -> Step:
        logic = logic_of(self.instructions, self.registers, self.wanted, basis, covered=covered)
        return Step(logic, self.sources, self.targets, covered)


def _told(given: NDArray[np.uint8]) -> list[int]:
    """Return which of the given registers are not folded into steps, so that there are few different ones.

    Those are the registers without which the most cycles become alike: the random bits of a shift register.
    """
    told: list[int] = []
    kept = list(range(given.shape[1]))
    while _distinct(given[:, kept]) > MAXIMUM_STEPS:
        best = min(kept, key=lambda column: _distinct(given[:, [other for other in kept if other != column]]))
        kept.remove(best)
        told.append(best)
    return sorted(told)


def _distinct(rows: NDArray[np.uint8]) -> int:
    return len(np.unique(rows, axis=0))


class _StepMaker:
    """Builds the gates of a machine in one cycle; a source has the name of its port."""

    def __init__(self, machine: Machine, known: tuple[int, ...]) -> None:
        self._machine = machine
        self._graph = GateGraph()
        self._literals: dict[Register, Literal] = {0: FALSE_LITERAL, 1: TRUE_LITERAL}
        self._ports: dict[int, StepPort] = {}
        for kind, registers in ((PortKind.A, machine.a), (PortKind.B, machine.b),
                                (PortKind.SLOT, [slot.stored for slot in machine.slots])):
            for index, register in enumerate(registers):
                self._source(register, StepPort(kind, index))
        told = 0
        for register, value in zip(machine.given, known, strict=True):
            if value < 0:
                self._source(register, StepPort(PortKind.TOLD, told))
                told += 1
            else:
                self._literals[register] = TRUE_LITERAL if value else FALSE_LITERAL
        for step in machine.instructions:
            self._literals[step.target] = self._gate(step)

    def _source(self, register: Register, port: StepPort) -> None:
        literal = self._literals[register] = self._graph.source()
        self._ports[literal >> 1] = port

    def _gate(self, step: Instruction) -> Literal:
        graph, a, b = self._graph, self._literals[step.a], self._literals[step.b]
        if step.operation is Operation.NOT:
            return graph.not_(a)
        if step.operation is Operation.AND:
            return graph.and_(a, b)
        return graph.or_(a, b) if step.operation is Operation.OR else graph.xor(a, b)

    def make(self, needed: int, wants_result: bool) -> tuple[_Draft, int]:
        """Return the step, and the slots that it reads."""
        before = 0
        wanted = [(StepPort(PortKind.SLOT, index), self._literals[slot.next])
                  for index, slot in enumerate(self._machine.slots) if needed >> index & 1]
        if wants_result:
            wanted += [(StepPort(PortKind.RESULT, index), self._literals[register])
                       for index, register in enumerate(self._machine.result)]
        nodes = self._cone([literal for _, literal in wanted])
        lowering = Lowering(self._graph)
        sources = [node for node in nodes if node in self._ports]
        registers = tuple(lowering.new_register(2 * node) for node in sources)
        lowering.lower_nodes([node for node in nodes if node not in self._ports])
        targets = lowering.registers([literal for _, literal in wanted])
        instructions = tuple(step for step in lowering.instructions if isinstance(step, Instruction))
        for node in sources:
            if self._ports[node].kind is PortKind.SLOT:
                before |= 1 << self._ports[node].index
        draft = _Draft(instructions, registers, targets, tuple(self._ports[node] for node in sources),
                       tuple(port for port, _ in wanted))
        return draft, before

    def _cone(self, literals: Sequence[Literal]) -> list[int]:
        """Return the nodes that literals depend on, rising; but for the constants'."""
        found: set[int] = set()
        pending = [literal >> 1 for literal in literals]
        while pending:
            node = pending.pop()
            if node and node not in found:
                found.add(node)
                gate = self._graph.gates[node]
                if gate is not None:
                    pending += [gate[1] >> 1, gate[2] >> 1]
        return sorted(found)
