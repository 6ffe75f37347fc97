"""What executes a program, and the two ways numpy's engine does: on arrays of words, and on Python integers.

Both take the planes of a program's sources (its input bits, then its state bits) and return those of chosen
registers. An operation on a Python integer costs about 30 ns and on an array 250 ns, so the integers win for up to some
thousand vectors; they need no array library at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from synth.netlist.memory_state import MemoryState, Reader
from synth.netlist.packing import Planes, integers_to_planes, planes_to_integers
from synth.netlist.program import ONE, ZERO, Instruction, Operation, Program, Read, Register

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


KernelMaker = Callable[[Sequence[Register], int, MemoryState], Kernel]
"""From the wanted registers, a number of words of vectors and the memories to an executable form."""


def sources_of(program: Program) -> list[Register]:
    """Return the registers that a kernel is given: input bits in port order, then state bits."""
    return [register for port in program.inputs for register in port.registers] + [
        bit.stored for bit in program.state]


def make_kernel(program: Program, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
    """Return the faster kernel for that many words of vectors; it reads ``memory``."""
    if words * 64 <= MAXIMUM_INTEGER_VECTORS:
        return IntegerKernel(program, wanted, words, memory)
    return ArrayKernel(program, wanted, words, memory)


class ArrayKernel:
    """Bitwise ufuncs over rows of words, in as few rows as the program's lifetimes allow."""

    _FUNCTIONS: ClassVar = {Operation.NOT: np.invert, Operation.AND: np.bitwise_and, Operation.OR: np.bitwise_or,
                  Operation.XOR: np.bitwise_xor}

    def __init__(self, program: Program, wanted: Sequence[Register], words: int, memory: MemoryState) -> None:
        self._words = words
        self._sources = sources_of(program)
        rows = assign_rows(program, self._sources, wanted)
        table = np.zeros((max(rows.values(), default=-1) + 1, words), np.uint64)
        views = {register: table[row] for register, row in rows.items()}
        views[ONE][:] = ~np.uint64(0)
        self._source_views = [views[register] for register in self._sources]
        self._wanted_views = [views[register] for register in wanted]
        self._steps = [self._step(step, views, memory) for step in program.instructions]

    def _step(self, step: Instruction | Read, views: Mapping[Register, Plane], memory: MemoryState
              ) -> tuple[Callable[..., Any], Plane, Plane, Plane]:
        if isinstance(step, Instruction):
            return self._FUNCTIONS[step.operation], views[step.a], views[step.b], views[step.target]
        return (_array_reader(memory.reader(step), self._words), [views[register] for register in step.address], None,
                [views[register] for _, _, register in step.targets])

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
        return _stacked(planes, self._words)

    def constant(self, value: bool) -> Plane:
        return np.full(self._words, ~np.uint64(0) if value else 0, np.uint64)


def _array_reader(read: Reader, words: int) -> Callable[[Sequence[Plane], None, Sequence[Plane]], None]:
    """Return a reader as a step: address planes, nothing, target planes."""
    def function(address: Sequence[Plane], _: None, targets: Sequence[Plane]) -> None:
        for target, plane in zip(targets, read(_stacked(address, words)), strict=True):
            target[:] = plane

    return function


def _integer_reader(read: Reader, words: int) -> Callable[[Sequence[int]], list[int]]:
    """Return a reader on integers."""
    return lambda address: planes_to_integers(read(integers_to_planes(address, words)))


def _stacked(planes: Sequence[Plane], words: int) -> Planes:
    return np.stack(planes) if planes else np.zeros((0, words), np.uint64)


def assign_rows(program: Program, sources: Sequence[Register], wanted: Sequence[Register]) -> dict[Register, int]:
    """Give every register a row; a row is free again after the last reader of its register.

    Rows 0 and 1 are the constants' and stay so; the sources' follow in order.
    """
    last_use = {}
    for index, step in enumerate(program.instructions):
        last_use.update(dict.fromkeys(_operands(step), index))
    for register in (ZERO, ONE, *wanted):             # sources are written anew each time
        last_use[register] = len(program.instructions)
    rows = {register: row for row, register in enumerate((ZERO, ONE, *sources))}
    free: list[int] = []
    count = len(rows)
    for index, step in enumerate(program.instructions):
        free += [rows[register] for register in set(_operands(step)) if last_use[register] == index]
        for target in _targets(step):
            if free:
                rows[target] = free.pop()
            else:
                rows[target] = count
                count += 1
    return rows


def _operands(step: Instruction | Read) -> tuple[Register, ...]:
    return (step.a, step.b) if isinstance(step, Instruction) else step.address


def _targets(step: Instruction | Read) -> tuple[Register, ...]:
    return (step.target,) if isinstance(step, Instruction) else tuple(register for _, _, register in step.targets)


class IntegerKernel:
    """A generated Python function over integers, one bit a vector."""

    _EXPRESSIONS: ClassVar = {Operation.NOT: "r{a} ^ ones", Operation.AND: "r{a} & r{b}", Operation.OR: "r{a} | r{b}",
                    Operation.XOR: "r{a} ^ r{b}"}

    def __init__(self, program: Program, wanted: Sequence[Register], words: int, memory: MemoryState) -> None:
        self._words = words
        self._ones = (1 << 64 * words) - 1
        lines = [f"def function(sources, r{ZERO}, r{ONE}):", f" ones = r{ONE}"]
        sources = sources_of(program)
        if sources:
            lines.append(f" {', '.join(f'r{register}' for register in sources)}, = sources")
        namespace: dict[str, Any] = {}
        for index, step in enumerate(program.instructions):
            if isinstance(step, Instruction):
                lines.append(f" r{step.target} = " + self._EXPRESSIONS[step.operation].format(a=step.a, b=step.b))
            else:
                namespace[f"read{index}"] = _integer_reader(memory.reader(step), words)
                targets, address = ("".join(f"r{register}, " for register in registers)
                                    for registers in (_targets(step), step.address))
                lines.append(f" {targets}= read{index}(({address}))")
        lines.append(f" return [{', '.join(f'r{register}' for register in wanted)}]")
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
