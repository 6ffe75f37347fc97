"""The contents of a program's memories in a run: an array of bytes for each, a copy a vector.

A read gathers one word a vector and turns the words' bytes into planes, a write turns planes into bytes and scatters
them: some tens of microseconds for a thousand vectors, whatever the number of words. A memory that is never written is
held once for all vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.packing import WORD_BITS, Planes, planes_to_rows, rows_to_planes, unpack_codes
from synth.netlist.program import MemoryBlock, Program, Read, Register, Write

Reader = Callable[[Planes], Planes]
"""Takes the planes of an address, returns the plane of each target."""


def bytes_per_vector(program: Program) -> int:
    """Return how much every vector's own contents take."""
    return sum(memory.words * _row_type(memory).itemsize for memory in program.memories if memory.writes)


class MemoryState:
    """The contents of every memory of ``program`` for ``words * 64`` vectors, each with its own."""

    def __init__(self, program: Program, words: int) -> None:
        self._program = program
        self._vectors = WORD_BITS * words
        self._contents = [np.empty(memory.words * (self._vectors if memory.writes else 1), _row_type(memory))
                          for memory in program.memories]
        self.reset()

    @property
    def bytes(self) -> int:
        """Size of the contents."""
        return sum(contents.nbytes for contents in self._contents)

    def reset(self) -> None:
        """Put the initial contents back, as after configuration."""
        for memory, contents in zip(self._program.memories, self._contents, strict=True):
            initial = np.frombuffer(memory.initial, _row_type(memory))
            contents.reshape(-1, memory.words)[:] = initial

    def reader(self, read: Read) -> Reader:
        """Return the function of a read instruction."""
        memories = list(dict.fromkeys(memory for memory, _, _ in read.targets))
        starts, start = {}, 0                            # of each memory's word in the joined rows
        for memory in memories:
            starts[memory] = start
            start += 8 * self._contents[memory].itemsize
        planes_wanted = np.array([starts[memory] + bit for memory, bit, _ in read.targets], np.intp)
        arrays = [self._contents[memory] for memory in memories]
        offsets = [self._offsets(memory) for memory in memories]

        def function(address: Planes) -> Planes:
            index = self._index(address)
            parts = [contents.take(index + offset).view(np.uint8).reshape(self._vectors, -1)
                     for contents, offset in zip(arrays, offsets, strict=True)]
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
            wanted: Planes = rows_to_planes(rows)[planes_wanted]
            return wanted

        return function

    def write(self, ports: Sequence[tuple[int, Write]], planes: Callable[[Sequence[Register]], Planes]) -> None:
        """Let write ports act, in order; ``planes`` returns the planes of registers, before any of them acts."""
        enabled = {write.enable: np.flatnonzero(_lanes(planes([write.enable]))) for _, write in ports}
        acting = [(memory, write) for memory, write in ports if enabled[write.enable].size]
        index = {write.address: self._index(planes(write.address)) for _, write in acting}
        data = {write.data: planes_to_rows(planes(write.data)) for _, write in acting}
        for memory, write in acting:
            lanes, contents = enabled[write.enable], self._contents[memory]
            rows = data[write.data].view(contents.dtype)[:, 0]
            places = index[write.address] + self._offsets(memory)
            if lanes.size == self._vectors:
                contents[places] = rows
            else:
                contents[places[lanes]] = rows[lanes]

    def _offsets(self, memory: int) -> npt.NDArray[np.intp] | int:
        """Return where each vector's copy starts, in words."""
        block = self._program.memories[memory]
        return np.arange(self._vectors, dtype=np.intp) * block.words if block.writes else 0

    def _index(self, address: Planes) -> npt.NDArray[np.intp]:
        """Return the address of each vector."""
        if not len(address):
            return np.zeros(self._vectors, np.intp)
        return unpack_codes(address, self._vectors).astype(np.intp)


def _row_type(memory: MemoryBlock) -> np.dtype[Any]:
    """Return a word's type: opaque bytes, which numpy moves whole."""
    return np.dtype(f"V{-(-memory.width // 8)}")


def _lanes(planes: Planes) -> npt.NDArray[np.uint8]:
    """Return the bits of one plane."""
    return np.unpackbits(planes.view(np.uint8).reshape(-1), bitorder="little")
