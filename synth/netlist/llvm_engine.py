"""The engine that compiles a program to machine code: every look-up is one vector instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.engine import Engine
from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.netlist.llvm_codes import CodesFunction, can_run_codes
from synth.netlist.llvm_machine import LlvmMachine, MachineCode
from synth.netlist.machine import Machine
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Codes, check_codes, code_type
from synth.netlist.program import Program
from synth.netlist.threads import check_threads

__all__ = ["LlvmEngine"]

CodeArray = npt.NDArray[Any]

CONVERTED_VECTORS = 1 << 18
"""Vectors of a pass where codes are in another type than the narrowest, and are converted for the pass alone."""


class LlvmEngine(Engine):
    """Executes a program as native code.

    A program without clocks and memories, whose ports have at most 64 bits, runs from arrays of codes to arrays of
    codes in one call and needs no memory beside them (a few kilobytes a thread). Anything else runs on planes, of
    which it keeps two sizes: a bit of every input, output and memory address, and two of every flip-flop, a vector of
    a pass.

    Parameters
    ----------
    program : Program
    isa : InstructionSet, optional
        By default the one that the environment variable ``NARROWGAUGE_INSTRUCTION_SET`` names, or the widest that this
        machine has.
    threads : int, optional
        By default one for each core that this process may use. All engines of a process share their threads.
    covered : bool
        Whether time is taken to find few look-ups (:func:`~synth.netlist.logic.logic_of`). Without it code is there
        several times sooner, and runs up to two times slower: right for a netlist that is run once.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    ValueError
        If this machine does not have the instruction set.
    """

    def __init__(self, program: Program, *, isa: InstructionSet | None = None, threads: int | None = None,
                 covered: bool = True) -> None:
        super().__init__(program)
        self._isa = choose_instruction_set(isa)
        self._threads = check_threads(threads)
        self._covered = covered
        self._takes_codes = can_run_codes(program)
        self._functions: dict[tuple[tuple[str, ...], tuple[str, ...]], CodesFunction] = {}
        self._machine_code: MachineCode | None = None

    @property
    def name(self) -> str:
        return f"llvm {self._isa.value}"

    @property
    def isa(self) -> InstructionSet:
        """The instruction set it compiles for."""
        return self._isa

    @property
    def threads(self) -> int:
        """How many threads it runs on, at most."""
        return self._threads

    def make_machine(self, words: int) -> Machine:
        if self._machine_code is None:
            self._machine_code = MachineCode(self._program, self._isa, covered=self._covered)
        return LlvmMachine(self._machine_code, words, MemoryState(self._program, words), self._threads)

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, latency: int = 0, out: Mapping[str, Codes] | None = None
            ) -> dict[str, Codes]:
        if latency or not self._takes_codes:
            return super().run(inputs, latency=latency, out=out)
        vectors, arrays = self._columns(inputs)
        self._check_out(out, vectors, arrays)
        numbers = {port: int(check_codes(array.reshape(1), self._inputs[port])[0])
                   for port, array in arrays.items() if not array.ndim}
        columns = {port: check_codes(array, self._inputs[port]) for port, array in arrays.items() if array.ndim}
        outputs = self._new_outputs(vectors) if out is None else dict(out)
        function = self._function(tuple(numbers), ())
        types = {port: code_type(self._inputs[port]) for port in columns}
        direct = all(array.dtype == types[port] and array.flags.c_contiguous for port, array in columns.items())
        step = vectors if direct else CONVERTED_VECTORS
        for start in range(0, vectors, max(step, 1)):
            part = slice(start, min(start + step, vectors))
            given = {port: np.ascontiguousarray(array[part], types[port]) for port, array in columns.items()}
            self._run_codes(function, given, numbers, {port: codes[part] for port, codes in outputs.items()}, 0,
                            part.stop - start)
        return outputs

    def run_range(self, start: int, vectors: int, ports: Sequence[str] | None = None, *,
                  constants: Mapping[str, int] | None = None, latency: int = 0, out: Mapping[str, Codes] | None = None
                  ) -> dict[str, Codes]:
        if latency or not self._takes_codes:
            return super().run_range(start, vectors, ports, constants=constants, latency=latency, out=out)
        names = self._checked_range(start, vectors, ports, constants, out)
        numbers = {port: int(check_codes([code], self._inputs[port])[0]) for port, code in (constants or {}).items()}
        outputs = self._new_outputs(vectors) if out is None else dict(out)
        self._run_codes(self._function(tuple(numbers), tuple(names)), {}, numbers, outputs, start, vectors)
        return outputs

    def _new_outputs(self, vectors: int) -> dict[str, Codes]:
        return {port.name: np.empty(vectors, code_type(port.width)) for port in self._program.outputs}

    def _function(self, constants: tuple[str, ...], counted: tuple[str, ...]) -> CodesFunction:
        key = (constants, counted)
        with self._lock:
            if key not in self._functions:
                self._functions[key] = CodesFunction(self._program, self._isa, constants=constants, counted=counted,
                                                     covered=self._covered)
            return self._functions[key]

    def _run_codes(self, function: CodesFunction, inputs: Mapping[str, CodeArray], numbers: Mapping[str, int],
                   outputs: Mapping[str, CodeArray], start: int, vectors: int) -> None:
        """Run vectors ``start`` to ``start + vectors``: whole blocks on the arrays, others through padded copies."""
        lanes, end = function.lanes, start + vectors
        first, last = -(-start // lanes), end // lanes
        if first < last:
            whole = slice(first * lanes - start, last * lanes - start)
            function.run({port: codes[whole] for port, codes in inputs.items()}, numbers,
                         {port: codes[whole] for port, codes in outputs.items()}, first, last, threads=self._threads)
        for block in {start // lanes, last}:
            begin, stop = max(block * lanes, start), min((block + 1) * lanes, end)
            if begin < stop and stop - begin < lanes:
                part, place = slice(begin - start, stop - start), slice(begin % lanes, begin % lanes + stop - begin)
                padded = {port: _padded(codes[part], place, lanes) for port, codes in inputs.items()}
                results = {port: np.empty(lanes, codes.dtype) for port, codes in outputs.items()}
                function.run(padded, numbers, results, block, block + 1, threads=1)
                for port, codes in outputs.items():
                    codes[part] = results[port][place]


def _padded(codes: CodeArray, place: slice, lanes: int) -> CodeArray:
    padded = np.zeros(lanes, codes.dtype)
    padded[place] = codes
    return padded
