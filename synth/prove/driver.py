"""Random runs of stream circuits, by the rules of streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synth.netlist import Simulation
from synth.netlist.packing import WORD_BITS, Planes
from synth.netlist.program import PortRegisters
from synth.prove.evaluate import Values

__all__ = ["TAKEN", "VALID", "Driver", "random_codes"]

TAKEN, VALID = "i__payload", "o__valid"
"""What comes in with a transfer, and whether what is shown is one."""

_CHANCES = (0.3, 0.5, 0.8, 1.0)
"""Of each bit that says whether a transfer is offered or taken, in runs beside each other."""

_BIAS = 5
"""A bit that is rarely 1 is so once in two to this power, or nearly so."""

_RESET_CHANCE = 1 / 48


class Driver:
    """Sets the inputs of a circuit, or of copies of it alike: what is offered stays until it is taken, or reset.

    Parameters
    ----------
    inputs, outputs : sequence of PortRegisters
        Those to be driven, and those that are shown.
    words : int
        Words of runs beside each other, of each copy.
    generator : numpy.random.Generator
    copies : int
    """

    def __init__(self, inputs: Sequence[PortRegisters], outputs: Sequence[PortRegisters], words: int,
                 generator: np.random.Generator, copies: int = 1) -> None:
        self._ports, self._words, self._generator, self._copies = tuple(inputs), words, generator, copies
        self._has_ready = any(port.name == "i__ready" for port in outputs)
        self._shown = {port.name: np.zeros((port.width, words), dtype=np.uint64) for port in inputs}
        self._waits = np.zeros((1, words), dtype=np.uint64)
        self._biased = {port.name: self._biases(port.width) for port in inputs}

    def _biases(self, width: int) -> tuple[Planes, Planes]:
        """Return where a bit is rarely, and where it is mostly 1: nowhere in half of the runs."""
        kind = self._generator.integers(0, 3, (width, self._words)) * (np.arange(self._words) // len(_CHANCES) % 2)
        rare, often = (np.where(kind == number, ~np.uint64(0), np.uint64(0)) for number in (1, 2))
        return rare, often

    def __call__(self, simulation: Simulation) -> None:
        """Set the inputs of the next cycle."""
        fresh = {port.name: self._random_planes(port) for port in self._ports}
        reset = fresh.get("rst", np.zeros((1, self._words), dtype=np.uint64))
        for name, planes in fresh.items():
            if name == "i__valid":
                self._shown[name] = (planes | self._waits) & ~reset
            elif name == TAKEN:
                self._shown[name] = self._shown[name] & self._waits | planes & ~self._waits
            else:
                self._shown[name] = planes & ~reset if name == "o__ready" else planes
        for name, planes in self._shown.items():
            simulation.set_planes(name, np.tile(planes, (1, self._copies)))
        if "i__valid" in fresh and self._has_ready:
            self._waits = self._shown["i__valid"] & ~simulation.get_planes("i__ready")[:, :self._words]

    def _random_planes(self, port: PortRegisters) -> Planes:
        """Return one cycle's inputs: resets are rare, stalls are not, and more so in some of the runs."""
        words = self._words
        if port.width > 1:
            planes, *others = self._generator.integers(0, 1 << 64, (_BIAS, port.width, words), dtype=np.uint64)
            few = np.bitwise_and.reduce(others)
            rare, often = self._biased[port.name]
            biased: Planes = planes & (few | ~rare) | ~few & often
            return biased
        chances = np.resize(np.full(1, _RESET_CHANCE) if port.name == "rst" else np.array(_CHANCES), words)
        bits: NDArray[np.uint8] = (self._generator.random((words, WORD_BITS)) < chances[:, None]).astype(np.uint8)
        return np.packbits(bits, axis=1, bitorder="little").view("<u8").reshape(1, words)


def random_codes(width: int, count: int, generator: np.random.Generator) -> Values:
    """Return so many uniform integers of so many bits."""
    codes = np.array([int.from_bytes(generator.bytes(-(-width // 8)), "little") for _ in range(count)], dtype=object)
    cut: Values = codes & ((1 << width) - 1)
    return cut
