"""What every engine offers: a program run on arrays of codes, on packed planes, on all inputs, and by clock cycles."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.kernel import Kernel
from synth.netlist.memory_state import MemoryState, bytes_per_vector
from synth.netlist.packing import Codes, Planes, exhaustive_planes, pack_codes, unpack_codes, words_for
from synth.netlist.program import Program, Register
from synth.netlist.simulation import Simulation

BLOCK_VECTORS = 1 << 16
"""Vectors of one pass: 8 KiB a register, so that the live registers of a unit stay in the second-level cache."""


BLOCK_MEMORY = 1 << 28
"""Bytes that the memories of one pass may take; where a design has large ones, a pass has fewer vectors."""


class Engine(ABC):
    """Executes a program on any number of vectors.

    An engine is a way of making a :class:`~synth.netlist.kernel.Kernel`; the rest is common to all.

    Clocked designs are run as pipelines: the state starts at its initial values, inputs are held for ``latency``
    cycles, and the outputs are read then. For anything else see :meth:`simulation`.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._inputs = {port.name: port.width for port in program.data_inputs}
        per_word = 64 * max(bytes_per_vector(program), 1)
        self._block = 64 * max(1, min(BLOCK_VECTORS // 64, BLOCK_MEMORY // per_word))
        # What was made for a number of words, so that repeated runs of one size only run.
        self._kernels: dict[int, Kernel] = {}
        self._simulations: dict[int, Simulation] = {}

    @property
    def program(self) -> Program:
        """The program it runs."""
        return self._program

    def simulation(self, lanes: int = 1) -> Simulation:
        """Return a fresh clocked simulation of ``lanes`` independent copies."""
        return Simulation(self._program, lanes, self.make_kernel)

    @abstractmethod
    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        """Return the program for that many words of vectors; it returns the planes of ``wanted`` and reads ``memory``."""

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, latency: int = 0) -> dict[str, Codes]:
        """Return every output port for every vector.

        Parameters
        ----------
        inputs : port name to codes
            One unsigned integer a vector (any integer type, all of one length), or one integer for all vectors. All
            input ports but clocks must be there.
        latency : int, cycles
            How long inputs are held before the outputs are read; the design must have exactly one clock if not 0.

        Returns
        -------
        Port name to codes, in the smallest unsigned type that holds the port (``object`` above 64 bits).

        Raises
        ------
        ValueError, TypeError
            If a port is missing, unknown, of another length, or a code does not fit.
        """
        vectors, columns = self._columns(inputs)
        parts: dict[str, list[Codes]] = {port.name: [] for port in self._program.outputs}
        for start in range(0, vectors, self._block) or (0,):
            count = min(self._block, vectors - start)
            planes = {port: pack_codes(codes[start:start + count], self._inputs[port])
                      for port, codes in columns.items()}
            for port, result in self.run_packed(planes, words=words_for(count), latency=latency).items():
                parts[port].append(unpack_codes(result, count))
        return {port: _joined(codes) for port, codes in parts.items()}

    def run_packed(self, planes: Mapping[str, Planes], *, words: int | None = None, latency: int = 0
                   ) -> dict[str, Planes]:
        """Return the planes of every output port for packed inputs, in one pass over all words.

        Parameters
        ----------
        planes : port name to ``uint64`` array of shape ``(width, words)``; bit *k* of word *j* is vector ``64 j + k``
        words : int, needed only where the design has no data input
        """
        self._check_ports(planes)
        shapes = {port: array.shape for port, array in planes.items()}
        if words is None:
            if not shapes:
                raise ValueError("Number of words must be given for a design without inputs")
            words = next(iter(shapes.values()))[-1]
        for name, shape in shapes.items():
            if shape != (self._inputs[name], words):
                raise ValueError(f"Planes of {name} must be of shape {(self._inputs[name], words)}, not {shape}")
        if self._program.clocks:
            return self._run_clocked(planes, words, latency)
        if latency:
            raise ValueError(f"Latency must be 0 for a design without a clock, not {latency!r}")
        kernel = self._kernel(words)
        sources = [plane for port in self._program.inputs for plane in kernel.from_planes(planes[port.name])]
        results = kernel.evaluate(sources)
        outputs, position = {}, 0
        for port in self._program.outputs:
            outputs[port.name] = kernel.to_planes(results[position:position + port.width])
            position += port.width
        return outputs

    def run_exhaustive(self, ports: Sequence[str] | None = None, *, constants: Mapping[str, int] | None = None,
                       latency: int = 0) -> dict[str, Codes]:
        """Return every output port for all combinations of codes of ``ports``.

        Parameters
        ----------
        ports : names, by default all data inputs that are not in ``constants``
            Vector *k* holds their codes side by side, the first in the most significant bits: ``result.reshape(2**a,
            2**b)[code_a, code_b]``. At most 24 bits together.
        constants : port name to its code in all vectors
        """
        parts: dict[str, list[Codes]] = {port.name: [] for port in self._program.outputs}
        for outputs in self.exhaustive_blocks(ports, constants=constants, latency=latency):
            for port, codes in outputs.items():
                parts[port].append(codes)
        return {port: _joined(codes) for port, codes in parts.items()}

    def exhaustive_blocks(self, ports: Sequence[str] | None = None, *, constants: Mapping[str, int] | None = None,
                          latency: int = 0) -> Iterator[dict[str, Codes]]:
        """Yield the results of :meth:`run_exhaustive` in consecutive blocks, so that memory stays small."""
        fixed = dict(constants or {})
        names = [port for port in self._inputs if port not in fixed] if ports is None else list(ports)
        self._check_ports({**dict.fromkeys(names), **fixed})
        widths = {port: self._inputs[port] for port in names}
        vectors = 1 << sum(widths.values())
        for start in range(0, vectors, self._block):
            count = min(self._block, vectors - start)
            planes = exhaustive_planes(widths, start, count)
            for port, value in fixed.items():
                planes[port] = pack_codes(np.full(count, value), self._inputs[port])
            results = self.run_packed(planes, words=words_for(count), latency=latency)
            yield {port: unpack_codes(result, count) for port, result in results.items()}

    def _columns(self, inputs: Mapping[str, npt.ArrayLike]) -> tuple[int, dict[str, npt.NDArray[Any]]]:
        """Return the number of vectors and the inputs as arrays of that length."""
        self._check_ports(inputs)
        arrays = {port: np.asarray(codes) for port, codes in inputs.items()}
        lengths = {port: len(array) for port, array in arrays.items() if array.ndim}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Inputs must have one length, not {lengths}")
        vectors = next(iter(lengths.values()), 1)
        return vectors, {port: array if array.ndim else np.full(vectors, array) for port, array in arrays.items()}

    def _check_ports(self, given: Mapping[str, object]) -> None:
        for port in given:
            if port not in self._inputs:
                raise ValueError(f"Input must be one of {', '.join(self._inputs) or 'none'}, not {port!r}")
        missing = [port for port in self._inputs if port not in given]
        if missing:
            raise ValueError(f"Inputs must include every port of the design, not lack {', '.join(missing)}")

    def _kernel(self, words: int) -> Kernel:
        if words not in self._kernels:
            outputs = [register for port in self._program.outputs for register in port.registers]
            self._kernels[words] = self.make_kernel(outputs, words, MemoryState(self._program, words))
        return self._kernels[words]

    def _run_clocked(self, planes: Mapping[str, Planes], words: int, latency: int) -> dict[str, Planes]:
        cycles = operator.index(latency)
        if cycles < 0:
            raise ValueError(f"Latency must be at least 0 cycles, not {latency!r}")
        if words not in self._simulations:
            self._simulations[words] = self.simulation(64 * words)
        simulation = self._simulations[words]
        simulation.reset()
        for port, array in planes.items():
            simulation.set_planes(port, array)
        if cycles:
            simulation.step(cycles=cycles)
        return {port.name: simulation.get_planes(port.name) for port in self._program.outputs}


def _joined(parts: list[Codes]) -> Codes:
    if len(parts) == 1:
        return parts[0]
    joined: npt.NDArray[Any] = np.concatenate(parts)
    return joined
