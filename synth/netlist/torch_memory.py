"""The contents of a program's memories in a run on tensors: they stay on the device and are read there by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import WORD_BITS
from synth.netlist.program import MemoryBlock, Program, Read, Register, Write
from synth.netlist.torch_packing import planes_to_rows, rows_to_planes, unpack_tensor

__all__ = ["TorchMemory"]


class TorchMemory(MemoryState):
    """The contents of every memory of ``program`` for ``words * 64`` vectors: a row of bytes for each word.

    A memory that is never written is held once for all vectors, any other once a vector. Planes come and go as tensors
    or as numpy's arrays; nothing waits for the device.
    """

    def __init__(self, program: Program, words: int, device: torch.device) -> None:
        self._program, self._device = program, device
        self._vectors = WORD_BITS * words
        self._initial = [_initial_rows(memory).to(device) for memory in program.memories]
        self._rows = [rows.repeat(self._vectors, 1) if memory.writes else rows
                          for memory, rows in zip(program.memories, self._initial, strict=True)]

    @property
    def bytes(self) -> int:
        return sum(rows.numel() for rows in self._rows)

    def reset(self) -> None:
        for memory, rows, initial in zip(self._program.memories, self._rows, self._initial, strict=True):
            if memory.writes:
                rows.view(self._vectors, *initial.shape)[:] = initial

    def reader(self, read: Read) -> Callable[[Any], Any]:
        memories = list(dict.fromkeys(memory for memory, _, _ in read.targets))
        starts, start = {}, 0                            # of each memory's word in the joined rows, in bits
        for memory in memories:
            starts[memory] = start
            start += 8 * self._rows[memory].shape[1]
        wanted = torch.tensor([starts[memory] + bit for memory, bit, _ in read.targets], device=self._device)

        def function(address: Any) -> Tensor:
            addresses = self._addresses(address)
            parts = [self._rows[memory][addresses + self._starts(memory)] for memory in memories]
            return rows_to_planes(torch.cat(parts, dim=1))[wanted]

        return function

    def write(self, ports: Sequence[tuple[int, Write]], planes: Callable[[Sequence[Register]], Any]) -> None:
        # All that a port looks at, before any of them acts.
        seen = [(memory, self._lanes(planes([write.enable])), self._addresses(planes(write.address)),
                 planes_to_rows(self._tensor(planes(write.data)))) for memory, write in ports]
        for memory, enabled, addresses, rows in seen:
            contents, places = self._rows[memory], addresses + self._starts(memory)
            contents[places] = torch.where(enabled, rows, contents[places])

    def _starts(self, memory: int) -> Tensor | int:
        """Return where each vector's copy starts, in words."""
        block = self._program.memories[memory]
        return torch.arange(self._vectors, device=self._device) * block.words if block.writes else 0

    def _addresses(self, address: Any) -> Tensor:
        """Return the address of each vector."""
        tensor = self._tensor(address)
        if not len(tensor):
            return torch.zeros(self._vectors, dtype=torch.int64, device=self._device)
        return unpack_tensor(tensor, self._vectors).to(torch.int64)

    def _lanes(self, planes: Any) -> Tensor:
        """Return the bit of each vector in one plane, as a column."""
        return unpack_tensor(self._tensor(planes), self._vectors).to(torch.bool)[:, None]

    def _tensor(self, planes: Any) -> Tensor:
        """Return planes as a tensor on the device."""
        if isinstance(planes, np.ndarray):
            planes = torch.from_numpy(np.array(planes, np.uint64).view(np.int64))
        tensor: Tensor = planes.to(self._device)
        return tensor


def _initial_rows(memory: MemoryBlock) -> Tensor:
    """Return a memory's initial contents, a row of bytes for each word."""
    return torch.tensor(np.frombuffer(memory.initial, np.uint8).reshape(memory.words, -1))
