"""How a program is executed on tensors: rows of words on a device, and the steps from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synth.netlist.kernel import Kernel, Plane, assign_rows, sources_of
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Planes
from synth.netlist.program import ONE, Instruction, Operation, Program, Read, Register

__all__ = ["HostKernel", "Step", "TableKernel", "eager_kernel"]

Step = Callable[[], object]
"""Computes some rows of a table from others."""

_FUNCTIONS = {Operation.AND: torch.bitwise_and, Operation.OR: torch.bitwise_or, Operation.XOR: torch.bitwise_xor}


class TableKernel:
    """A kernel over the rows of one ``int64`` table on a device; its planes are tensors there.

    Parameters
    ----------
    rows : register to row
        Those of the constants and of ``sources`` come first, in this order.
    sources, wanted : sequence of Register
        What :meth:`evaluate` takes and returns.
    words : int
        64-bit words of a row.
    device : torch.device
    """

    def __init__(self, rows: Mapping[Register, int], sources: Sequence[Register], wanted: Sequence[Register],
                 words: int, device: torch.device) -> None:
        self._rows, self._words, self._device = rows, words, device
        self._table = torch.zeros((1 + max(rows.values()), words), dtype=torch.int64, device=device)
        self._table[rows[ONE]] = -1
        self._sources = self._table[2:2 + len(sources)]
        self._wanted = self._indices(wanted)
        self._constants = [torch.full((words,), value, dtype=torch.int64, device=device) for value in (0, -1)]
        self.steps: list[Step] = []

    @property
    def table(self) -> Tensor:
        """The rows, ``(rows, words)``."""
        return self._table

    def row(self, register: Register) -> Tensor:
        """Return a register's row."""
        return self._table[self._rows[register]]

    def read(self, step: Read, memory: MemoryState) -> Step:
        """Return the step of a read instruction."""
        reader: Callable[[Any], Any] = memory.reader(step)
        address = self._indices(step.address)
        targets = self._indices([register for _, _, register in step.targets])

        def function() -> None:
            self._table[targets] = reader(self._table[address])

        return function

    def evaluate(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Return the wanted registers' planes, which are the caller's to keep."""
        if sources:
            torch.stack(list(sources), out=self._sources)
        for step in self.steps:
            step()
        return list(self._table[self._wanted])

    def from_planes(self, planes: Any) -> list[Tensor]:
        """Return a port's planes, which are a tensor, or words of numpy's that are copied to the device."""
        if isinstance(planes, np.ndarray):
            planes = torch.from_numpy(np.array(planes, np.uint64).view(np.int64))
        return list(planes.to(self._device))

    def to_planes(self, planes: Sequence[Tensor]) -> Any:
        """Return a port's planes as a tensor of shape ``(width, words)``."""
        if planes:
            return torch.stack(list(planes))
        return torch.zeros((0, self._words), dtype=torch.int64, device=self._device)

    def constant(self, value: bool) -> Tensor:
        """Return a plane with the same bit for every vector, which nobody writes to."""
        return self._constants[value]

    def _indices(self, registers: Sequence[Register]) -> Tensor:
        return torch.tensor([self._rows[register] for register in registers], dtype=torch.int64, device=self._device)


def eager_kernel(program: Program, wanted: Sequence[Register], words: int, memory: MemoryState,
                 device: torch.device) -> TableKernel:
    """Return a kernel of torch's own operations, one an instruction, in as few rows as lifetimes allow."""
    sources = sources_of(program)
    kernel = TableKernel(assign_rows(program, sources, wanted), sources, wanted, words, device)
    kernel.steps += [kernel.read(step, memory) if isinstance(step, Read) else _operation(step, kernel)
                     for step in program.instructions]
    return kernel


def _operation(step: Instruction, kernel: TableKernel) -> Step:
    a, b, target = kernel.row(step.a), kernel.row(step.b), kernel.row(step.target)
    if step.operation is Operation.NOT:
        return lambda: torch.bitwise_not(a, out=target)
    function = _FUNCTIONS[step.operation]
    return lambda: function(a, b, out=target)


class HostKernel:
    """A kernel on a device for callers with numpy's planes: these are copied there and back."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def evaluate(self, sources: Sequence[Plane]) -> list[Plane]:
        return self._kernel.evaluate(sources)

    def from_planes(self, planes: Planes) -> list[Plane]:
        return self._kernel.from_planes(planes)

    def to_planes(self, planes: Sequence[Plane]) -> Planes:
        tensor: Any = self._kernel.to_planes(planes)
        words: Planes = tensor.cpu().numpy().view(np.uint64)
        return words

    def constant(self, value: bool) -> Plane:
        return self._kernel.constant(value)
