"""The two ways numpy's engine executes a program: on arrays of words, and on Python integers.

Both take the planes of a program's sources (its input bits, then its state bits) and return those of chosen
registers. An operation on a Python integer costs about 30 ns and on an array 250 ns, so the integers win for up to some
thousand vectors; they need no array library at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from synth.netlist.packing import Planes, integers_to_planes, planes_to_integers
from synth.netlist.program import ONE, ZERO, Operation, Program, Register

Plane = Any
"""One bit of every vector: a row of words for :class:`ArrayKernel`, an integer for :class:`IntegerKernel`."""

MAXIMUM_INTEGER_VECTORS = 8192


class Kernel(Protocol):
    """An executable form of a program for a fixed number of vectors."""

    def evaluate(self, sources: Sequence[Plane]) -> list[Plane]:
        """Return the wanted registers' planes, which are the caller's to keep."""

    def from_planes(self, planes: Planes) -> list[Plane]:
        """Return a port's planes in this kernel's form."""

    def to_planes(self, planes: Sequence[Plane]) -> Planes:
        """Return a port's planes as words."""

    def constant(self, value: bool) -> Plane:
        """Return a plane with the same bit for every vector."""


def sources_of(program: Program) -> list[Register]:
    """Return the registers that a kernel is given: input bits in port order, then state bits."""
    return [register for port in program.inputs for register in port.registers] + [
        bit.stored for bit in program.state]


def make_kernel(program: Program, wanted: Sequence[Register], words: int) -> Kernel:
    """Return the faster kernel for that many words of vectors."""
    if words * 64 <= MAXIMUM_INTEGER_VECTORS:
        return IntegerKernel(program, wanted, words)
    return ArrayKernel(program, wanted, words)


class ArrayKernel:
    """Bitwise ufuncs over rows of words, in as few rows as the program's lifetimes allow."""

    _FUNCTIONS: ClassVar = {Operation.NOT: np.invert, Operation.AND: np.bitwise_and, Operation.OR: np.bitwise_or,
                  Operation.XOR: np.bitwise_xor}

    def __init__(self, program: Program, wanted: Sequence[Register], words: int) -> None:
        self._words = words
        self._sources = sources_of(program)
        rows = _assign_rows(program, self._sources, wanted)
        table = np.zeros((max(rows.values(), default=-1) + 1, words), np.uint64)
        views = {register: table[row] for register, row in rows.items()}
        views[ONE][:] = ~np.uint64(0)
        self._source_views = [views[register] for register in self._sources]
        self._wanted_views = [views[register] for register in wanted]
        self._steps = [(self._FUNCTIONS[step.operation], views[step.a], views[step.b], views[step.target])
                       for step in program.instructions]

    def evaluate(self, sources: Sequence[Plane]) -> list[Plane]:
        for view, plane in zip(self._source_views, sources, strict=True):
            view[:] = plane
        invert = np.invert
        for function, a, b, target in self._steps:
            if function is invert:
                invert(a, target)
            else:
                function(a, b, target)
        return [view.copy() for view in self._wanted_views]

    def from_planes(self, planes: Planes) -> list[Plane]:
        return list(planes)

    def to_planes(self, planes: Sequence[Plane]) -> Planes:
        return np.stack(planes) if planes else np.zeros((0, self._words), np.uint64)

    def constant(self, value: bool) -> Plane:
        return np.full(self._words, ~np.uint64(0) if value else 0, np.uint64)


def _assign_rows(program: Program, sources: Sequence[Register], wanted: Sequence[Register]) -> dict[Register, int]:
    """Give every register a row; a row is free again after the last reader of its register."""
    last_use = {}
    for index, step in enumerate(program.instructions):
        last_use[step.a] = last_use[step.b] = index
    for register in (ZERO, ONE, *wanted):             # sources are written anew each time
        last_use[register] = len(program.instructions)
    rows = {register: row for row, register in enumerate((ZERO, ONE, *sources))}
    free: list[int] = []
    count = len(rows)
    for index, step in enumerate(program.instructions):
        free += [rows[register] for register in {step.a, step.b} if last_use[register] == index]
        if free:
            rows[step.target] = free.pop()
        else:
            rows[step.target] = count
            count += 1
    return rows


class IntegerKernel:
    """A generated Python function over integers, one bit a vector."""

    _EXPRESSIONS: ClassVar = {Operation.NOT: "r{a} ^ ones", Operation.AND: "r{a} & r{b}", Operation.OR: "r{a} | r{b}",
                    Operation.XOR: "r{a} ^ r{b}"}

    def __init__(self, program: Program, wanted: Sequence[Register], words: int) -> None:
        self._words = words
        self._ones = (1 << 64 * words) - 1
        lines = [f"def function(sources, r{ZERO}, r{ONE}):", f" ones = r{ONE}"]
        sources = sources_of(program)
        if sources:
            lines.append(f" {', '.join(f'r{register}' for register in sources)}, = sources")
        lines += [f" r{step.target} = " + self._EXPRESSIONS[step.operation].format(a=step.a, b=step.b)
                  for step in program.instructions]
        lines.append(f" return [{', '.join(f'r{register}' for register in wanted)}]")
        namespace: dict[str, Any] = {}
        exec("\n".join(lines), namespace)                # the text is made of register numbers alone
        self._function: Callable[[Sequence[int], int, int], list[int]] = namespace["function"]

    def evaluate(self, sources: Sequence[Plane]) -> list[Plane]:
        return self._function(sources, 0, self._ones)

    def from_planes(self, planes: Planes) -> list[Plane]:
        return list(planes_to_integers(planes))

    def to_planes(self, planes: Sequence[Plane]) -> Planes:
        return integers_to_planes(planes, self._words)

    def constant(self, value: bool) -> Plane:
        return self._ones if value else 0
