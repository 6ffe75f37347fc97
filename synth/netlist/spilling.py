"""Straight-line look-ups with more values than registers: which of them are stored, and when they are loaded again.

A compiler decides this as well, after it has changed the order; where the order has been chosen for few spills, the
decision goes with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from synth.netlist.lookup import Lookup
from synth.netlist.program import ONE, ZERO, Register

__all__ = ["Move", "assign_slots", "plan_spills"]


@dataclass(frozen=True, slots=True)
class Move:
    """A value goes from its register to memory, or (``load``) from there to a register."""

    register: Register
    load: bool


def plan_spills(lookups: Sequence[Lookup], registers: int, kept: Collection[Register] | None = None
                ) -> list[Lookup | Move]:
    """Return look-ups with the moves between them that make so many registers suffice.

    Every operand that no look-up computes is loaded before it is used, but the constants. Whatever is computed or
    loaded stays in its register until it is used for the last time, or given up for another value: the one whose next
    use is farthest away, after it has been stored where it is not in memory. The results of a program are stored by
    whoever asks for them.

    Parameters
    ----------
    lookups : sequence of Lookup
    registers : int
        At least four: three operands and a result.
    kept : collection of Register, optional
        The sources that can be loaded again from where they were loaded first; by default all.
    """
    return _Planner(lookups, registers, kept).plan()


def assign_slots(moves: Sequence[Move]) -> dict[Register, int]:
    """Return a slot of memory for each value that is stored; one is used again after its value's last load."""
    last = {move.register: index for index, move in enumerate(moves)}
    slots: dict[Register, int] = {}
    free: list[int] = []
    count = 0
    for index, move in enumerate(moves):
        if not move.load:
            if free:
                slots[move.register] = free.pop()
            else:
                slots[move.register] = count
                count += 1
        if last[move.register] == index and move.register in slots:
            free.append(slots[move.register])
    return slots


class _Planner:
    """Registers as they are filled: what is held, and when it is used next."""

    def __init__(self, lookups: Sequence[Lookup], registers: int, kept: Collection[Register] | None) -> None:
        if registers < 4:
            raise ValueError(f"Registers must be at least 4, not {registers!r}; a look-up has three operands")
        self._lookups, self._registers = lookups, registers
        self._operands = [[operand for operand in dict.fromkeys(lookup.operands) if operand not in (ZERO, ONE)]
                          for lookup in lookups]
        self._uses: dict[Register, list[int]] = {}
        for index in range(len(lookups) - 1, -1, -1):
            for operand in self._operands[index]:
                self._uses.setdefault(operand, []).append(index)
        made = {lookup.target for lookup in lookups}
        sources = self._uses.keys() - made
        self._in_memory = set(sources) if kept is None else sources & set(kept)
        self._held: dict[Register, int] = {}
        self._queue: list[tuple[int, Register]] = []
        self._steps: list[Lookup | Move] = []

    def plan(self) -> list[Lookup | Move]:
        for index, lookup in enumerate(self._lookups):
            busy = self._operands[index]
            for operand in busy:
                if operand not in self._held:
                    self._make_room(busy)
                    self._steps.append(Move(operand, True))
                    self._held[operand] = index
            for operand in busy:
                self._uses[operand].pop()
                self._keep(operand)
            self._make_room()
            if lookup.target in self._uses:
                self._keep(lookup.target)
            self._steps.append(lookup)
        return self._steps

    def _keep(self, register: Register) -> None:
        """Note when a value in a register is used next; free the register where it is not."""
        uses = self._uses[register]
        if uses:
            self._held[register] = uses[-1]
            heapq.heappush(self._queue, (-uses[-1], register))
        else:
            del self._held[register]

    def _make_room(self, busy: Collection[Register] = ()) -> None:
        """Give up values until a register is free, but none that is ``busy``."""
        passed = []
        while len(self._held) >= self._registers:
            entry = heapq.heappop(self._queue)
            use, register = -entry[0], entry[1]
            if self._held.get(register) != use:
                continue                                 # an entry that a later one has replaced
            if register in busy:
                passed.append(entry)
                continue
            del self._held[register]
            if register not in self._in_memory:
                self._in_memory.add(register)
                self._steps.append(Move(register, False))
        for entry in passed:
            heapq.heappush(self._queue, entry)
