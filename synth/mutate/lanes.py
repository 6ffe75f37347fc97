"""Many faults beside each other: one netlist that holds them all, and lanes that choose one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.mutate.faults import Fault
from synth.mutate.plant import CHOICE, choosable
from synth.netlist import Program, compile_netlist, read_netlist
from synth.netlist.packing import WORD_BITS, Planes, words_for

BATCH = 128
"""Faults in one netlist: of more, what runs takes longer than what is saved by compiling it once."""

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def batches(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Return faults in groups of at most :data:`BATCH`."""
    return [list(faults[start:start + BATCH]) for start in range(0, len(faults), BATCH)]


def program_of(document: Mapping[str, Any], faults: Sequence[Fault]) -> Program:
    """Return the program of a design with all these faults, to be chosen from by a port of that many bits."""
    return compile_netlist(read_netlist(choosable(document, faults)))


def clock_bits(program: Program) -> list[tuple[str, int]]:
    """Return the port and index of every clock of a program."""
    return list(dict.fromkeys((clock.port, max(clock.index, 0)) for clock in program.edges))


def has_choice(program: Program) -> bool:
    """Whether a program has the port that chooses a fault, which it lacks where none of them matters."""
    return any(port.name == CHOICE for port in program.inputs)


def choice_planes(width: int, chosen: Sequence[int], words: int) -> Planes:
    """Return the planes of the choosing port: for each of ``chosen`` in turn, so many words of lanes."""
    planes = np.zeros((width, len(chosen), words), dtype=np.uint64)
    for place, index in enumerate(chosen):
        planes[index, place] = _ALL
    return planes.reshape(width, -1)


def choice_lanes(width: int, owners: NDArray[np.int64]) -> Planes:
    """Return the planes of the choosing port where each lane has a fault of its own."""
    bits = np.zeros((width, WORD_BITS * words_for(len(owners))), dtype=np.uint8)
    bits[owners, np.arange(len(owners))] = 1
    return np.packbits(bits, axis=1, bitorder="little").view("<u8")


def repeated(planes: Planes, times: int) -> Planes:
    """Return planes as often beside each other."""
    return np.tile(planes, (1, times))


def different(got: Planes, wanted: Planes, counted: NDArray[np.uint64], times: int) -> NDArray[np.bool_]:
    """Return, for each of ``times`` equal parts of the words, whether any bit differs that is ``counted``."""
    width, words = wanted.shape
    wrong = (got.reshape(width, times, words) ^ wanted[:, None, :]) & counted
    return np.asarray(wrong.any(axis=(0, 2)))
