"""What every engine offers: a program run on arrays of codes, on packed planes, on all inputs, and by clock cycles."""

from __future__ import annotations

import operator
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.kernel import Kernel
from synth.netlist.machine import KernelMachine, Machine
from synth.netlist.memory_state import MemoryState, bytes_per_vector
from synth.netlist.packing import (
    WORD_BITS,
    Codes,
    Planes,
    code_type,
    exhaustive_planes,
    pack_codes,
    unpack_codes,
    words_for,
)
from synth.netlist.program import Program, Register
from synth.netlist.simulation import Simulation

__all__ = ["Engine", "KernelEngine"]

BLOCK_VECTORS = 1 << 16
"""Vectors of one pass: 8 KiB a register, so that the live registers of a unit stay in the second-level cache."""

BLOCK_MEMORY = 1 << 28
"""Bytes that the memories of one pass may take; where a design has large ones, a pass has fewer vectors."""

KEPT_SIMULATIONS = 2
"""Sizes whose arrays are kept for the next run: that of a whole pass, and that of what is left over."""

MAXIMUM_TABLE_BITS = 32
"""Input bits of a table of all results; beyond it there are blocks."""

MAXIMUM_RANGE_BITS = 63
"""Bits of the number of a vector, where inputs have more: a machine's integers hold these."""


class Engine(ABC):
    """Executes a program on any number of vectors.

    An engine is a way of making a :class:`~synth.netlist.machine.Machine`; the rest is common to all.

    Clocked designs are run as pipelines: the state starts at its initial values, inputs are held for ``latency``
    cycles, and the outputs are read then. For anything else see :meth:`simulation`.

    One engine may be used by several threads at a time.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._inputs = {port.name: port.width for port in program.data_inputs}
        per_word = 64 * max(bytes_per_vector(program), 1)
        self._block = 64 * max(1, min(BLOCK_VECTORS // 64, BLOCK_MEMORY // per_word))
        # What was made for a number of words, so that repeated runs of one size only run.
        self._simulations: OrderedDict[int, Simulation] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def program(self) -> Program:
        """The program it runs."""
        return self._program

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a record: ``numpy``, or ``llvm avx512``."""

    @abstractmethod
    def make_machine(self, words: int) -> Machine:
        """Return the program with that many words of lanes, in its initial state."""

    def simulation(self, lanes: int = 1) -> Simulation:
        """Return a fresh clocked simulation of ``lanes`` independent copies."""
        return Simulation(self._program, lanes, self.make_machine)

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, latency: int = 0, out: Mapping[str, Codes] | None = None
            ) -> dict[str, Codes]:
        """Return every output port for every vector.

        Parameters
        ----------
        inputs : port name to codes
            One unsigned integer a vector (any integer type, all of one length), or one integer for all vectors. All
            input ports but clocks must be there.
        latency : int, cycles
            How long inputs are held before the outputs are read; the design must have exactly one clock if not 0.
        out : port name to array, optional
            Where the results are written, as for :meth:`run_range`; one may be the array of an input.

        Returns
        -------
        Port name to codes, in the smallest unsigned type that holds the port (``object`` above 64 bits).

        Raises
        ------
        ValueError, TypeError
            If a port is missing, unknown, of another length, or a code does not fit; or the arrays of results are not
            as said, or overlap an input.
        """
        vectors, arrays = self._columns(inputs)
        self._check_out(out, vectors, arrays)
        columns = {port: array if array.ndim else np.full(vectors, array) for port, array in arrays.items()}
        parts: dict[str, list[Codes]] = {port.name: [] for port in self._program.outputs}
        for start in range(0, vectors, self._block) or (0,):
            count = min(self._block, vectors - start)
            planes = {port: pack_codes(codes[start:start + count], self._inputs[port])
                      for port, codes in columns.items()}
            for port, result in self.run_packed(planes, words=words_for(count), latency=latency).items():
                codes = unpack_codes(result, count)
                if out is None:
                    parts[port].append(codes)
                else:
                    out[port][start:start + count] = codes
        return dict(out) if out is not None else {port: _joined(codes) for port, codes in parts.items()}

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
        cycles = operator.index(latency)
        if self._program.clocks:
            if cycles < 0:
                raise ValueError(f"Latency must be at least 0 cycles, not {latency!r}")
        elif cycles:
            raise ValueError(f"Latency must be 0 for a design without a clock, not {latency!r}")
        if not words:
            return {port.name: np.zeros((port.width, 0), np.uint64) for port in self._program.outputs}
        with self._lock:
            simulation = self._simulation(words)
            simulation.reset()
            for port, array in planes.items():
                simulation.set_planes(port, array)
            if cycles:
                simulation.step(cycles=cycles)
            return {port.name: simulation.get_planes(port.name) for port in self._program.outputs}

    def run_exhaustive(self, ports: Sequence[str] | None = None, *, constants: Mapping[str, int] | None = None,
                       latency: int = 0) -> dict[str, Codes]:
        """Return every output port for all combinations of codes of ``ports``.

        Parameters
        ----------
        ports : names, by default all data inputs that are not in ``constants``
            Vector *k* holds their codes side by side, the first in the most significant bits: ``result.reshape(2**a,
            2**b)[code_a, code_b]``. At most 32 bits together; the results of 32 bits take 4 GiB a byte of code.
        constants : port name to its code in all vectors

        Raises
        ------
        ValueError
            If there are more combinations, or a port is missing or unknown.
        """
        names = self._exhaustive_ports(ports, constants)
        bits = sum(self._inputs[name] for name in names)
        if bits > MAXIMUM_TABLE_BITS:
            raise ValueError(f"Exhaustive ports must have at most {MAXIMUM_TABLE_BITS} bits together, not {bits}; "
                             f"exhaustive_blocks() has no such limit")
        if all(port.width <= WORD_BITS for port in self._program.outputs):
            results: dict[str, Codes] = {port.name: np.empty(1 << bits, code_type(port.width))
                                         for port in self._program.outputs}
            self.run_range(0, 1 << bits, names, constants=constants, latency=latency, out=results)
            return results
        return self.run_range(0, 1 << bits, names, constants=constants, latency=latency)

    def exhaustive_blocks(self, ports: Sequence[str] | None = None, *, constants: Mapping[str, int] | None = None,
                          latency: int = 0, vectors: int = 0) -> Iterator[dict[str, Codes]]:
        """Yield the results of :meth:`run_exhaustive` in consecutive blocks, so that memory stays small.

        Parameters
        ----------
        vectors : int
            Length of a block, a multiple of 64; by default what a pass has.
        """
        names = self._exhaustive_ports(ports, constants)
        total = 1 << sum(self._inputs[name] for name in names)
        step = vectors or self._block
        for start in range(0, total, step):
            yield self.run_range(start, min(step, total - start), names, constants=constants, latency=latency)

    def run_range(self, start: int, vectors: int, ports: Sequence[str] | None = None, *,
                  constants: Mapping[str, int] | None = None, latency: int = 0, out: Mapping[str, Codes] | None = None
                  ) -> dict[str, Codes]:
        """Return some consecutive results of :meth:`run_exhaustive`, whose ports may have more bits here.

        Parameters
        ----------
        start : int
            Number of the first vector, a multiple of 64.
        vectors : int
            How many.
        out : port name to array, optional
            Where the results are written: for every output port a contiguous, writable array of ``vectors`` codes, in
            the smallest unsigned type that holds the port.

        Raises
        ------
        ValueError
            If the range is not within the combinations or the first 2^63 of them, or the arrays are not as said.
        """
        names = self._checked_range(start, vectors, ports, constants, out)
        results: dict[str, list[Codes]] = {port.name: [] for port in self._program.outputs}
        fixed = dict(constants or {})
        widths = {port: self._inputs[port] for port in names}
        for first in range(start, start + vectors, self._block):
            count = min(self._block, start + vectors - first)
            planes = exhaustive_planes(widths, first, count)
            for port, value in fixed.items():
                planes[port] = pack_codes(np.full(count, value), self._inputs[port])
            for port, result in self.run_packed(planes, words=words_for(count), latency=latency).items():
                codes = unpack_codes(result, count)
                if out is None:
                    results[port].append(codes)
                else:
                    out[port][first - start:first - start + count] = codes
        return dict(out) if out is not None else {port: _joined(parts) for port, parts in results.items()}

    def _checked_range(self, start: int, vectors: int, ports: Sequence[str] | None,
                       constants: Mapping[str, int] | None, out: Mapping[str, Codes] | None) -> list[str]:
        """Return the names of the ports of a range, once it and the arrays are as they should be."""
        names = self._exhaustive_ports(ports, constants)
        total = 1 << sum(self._inputs[name] for name in names)
        if operator.index(start) % WORD_BITS:
            raise ValueError(f"Start of a range must be a multiple of {WORD_BITS}, not {start}")
        if start < 0 or operator.index(vectors) < 1 or start + vectors > total:
            raise ValueError(f"Range must be within the {total} combinations, not {vectors} from {start} on")
        if start + vectors > 1 << MAXIMUM_RANGE_BITS:
            raise ValueError(f"Range must end within the first 2^{MAXIMUM_RANGE_BITS} combinations, not after "
                             f"{start + vectors}; constants leave fewer")
        self._check_out(out, vectors, {})
        return names

    def _check_out(self, out: Mapping[str, Codes] | None, vectors: int, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        for port in self._program.outputs if out is not None else ():
            array = (out or {}).get(port.name)
            wanted = code_type(port.width)
            if (not isinstance(array, np.ndarray) or array.shape != (vectors,) or array.dtype != wanted
                    or not array.flags.c_contiguous):
                raise ValueError(f"Output array of {port.name} must be contiguous, of {vectors} codes of {wanted}")
            if not array.flags.writeable:
                raise ValueError(f"Output array of {port.name} must be writable, not read-only")
            for name, codes in inputs.items():
                # Vectors are not done one after another: what comes first may not change what comes later.
                if not _is_same(codes, array) and np.shares_memory(codes, array):
                    raise ValueError(f"Output array of {port.name} must be apart from the codes of {name}, or be the "
                                     "same array, not overlap it")

    def _exhaustive_ports(self, ports: Sequence[str] | None, constants: Mapping[str, int] | None) -> list[str]:
        fixed = constants or {}
        names = [port for port in self._inputs if port not in fixed] if ports is None else list(ports)
        if len({*names, *fixed}) < len(names) + len(fixed):
            raise ValueError(f"Exhaustive ports and constants must name a port once, not {', '.join([*names, *fixed])}")
        self._check_ports({**dict.fromkeys(names), **fixed})
        return names

    def _columns(self, inputs: Mapping[str, npt.ArrayLike]) -> tuple[int, dict[str, npt.NDArray[Any]]]:
        """Return the number of vectors and the inputs as arrays: of that length, or without an axis."""
        self._check_ports(inputs)
        arrays = {port: np.asarray(codes) for port, codes in inputs.items()}
        lengths = {port: len(array) for port, array in arrays.items() if array.ndim}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Inputs must have one length, not {lengths}")
        return next(iter(lengths.values()), 1), arrays

    def _check_ports(self, given: Mapping[str, object]) -> None:
        for port in given:
            if port not in self._inputs:
                raise ValueError(f"Input must be one of {', '.join(self._inputs) or 'none'}, not {port!r}")
        missing = [port for port in self._inputs if port not in given]
        if missing:
            raise ValueError(f"Inputs must include every port of the design, not lack {', '.join(missing)}")

    def _simulation(self, words: int) -> Simulation:
        """Return a simulation of that size; those that were used last are kept."""
        simulation = self._simulations.pop(words, None) or self.simulation(64 * words)
        self._simulations[words] = simulation
        while len(self._simulations) > KEPT_SIMULATIONS:
            self._simulations.popitem(last=False)
        return simulation


class KernelEngine(Engine):
    """An engine whose machines are made of kernels, which take and return a plane a register."""

    @abstractmethod
    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        """Return the program for that many words of vectors, which returns the planes of ``wanted``."""

    def make_memory(self, words: int) -> MemoryState:
        """Return the contents of the program's memories for that many words of vectors."""
        return MemoryState(self._program, words)

    def make_machine(self, words: int) -> Machine:
        return KernelMachine(self._program, words, self.make_kernel, self.make_memory(words))


def _is_same(codes: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Return whether two arrays are the same elements of memory, each at the same place."""
    return bool(codes.ctypes.data == other.ctypes.data and codes.dtype == other.dtype and codes.shape == other.shape
                and codes.strides == other.strides)


def _joined(parts: list[Codes]) -> Codes:
    if len(parts) == 1:
        return parts[0]
    joined: npt.NDArray[Any] = np.concatenate(parts)
    return joined
