"""The engine that compiles a program to machine code: every look-up is one vector instruction."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from synth.netlist.engine import Engine
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.kernel import Kernel, sources_of
from synth.netlist.llvm_compile import NativeCode, compile_functions
from synth.netlist.llvm_ir import plane_function
from synth.netlist.logic import Logic, pieces_of
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Planes
from synth.netlist.program import ONE, ZERO, Program, Read, Register

__all__ = ["LlvmEngine"]

_ARGUMENTS = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class LlvmEngine(Engine):
    """Executes a program as native code.

    Parameters
    ----------
    program : Program
    isa : InstructionSet, optional
        By default the widest that this machine has.
    threads : int, optional
        By default one for each core that this process may use.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    ValueError
        If this machine does not have the instruction set.
    """

    def __init__(self, program: Program, *, isa: InstructionSet | None = None, threads: int | None = None) -> None:
        super().__init__(program)
        known = host_instruction_sets()
        if isa is not None and isa not in known:
            raise ValueError(f"Instruction set must be one of {', '.join(each.value for each in known)} on this "
                             f"machine, not {isa.value!r}")
        self._isa = isa or known[0]
        self._threads = threads or available_cores()
        self._compiled: dict[tuple[Register, ...], CompiledPieces] = {}

    @property
    def isa(self) -> InstructionSet:
        """The instruction set it compiles for."""
        return self._isa

    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        key = tuple(wanted)
        if key not in self._compiled:
            self._compiled[key] = CompiledPieces(self._program, key, self._isa)
        return LlvmKernel(self._compiled[key], words, memory, self._threads)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CompiledPieces:
    """A program's pieces of logic as native functions, for one choice of wanted registers."""

    def __init__(self, program: Program, wanted: tuple[Register, ...], isa: InstructionSet) -> None:
        self.program, self.wanted, self.isa = program, wanted, isa
        self.pieces = pieces_of(program, wanted, isa.basis)
        logics = [piece for piece in self.pieces if isinstance(piece, Logic)]
        text = "\n".join(plane_function(f"piece{index}", logic, isa) for index, logic in enumerate(logics))
        self._code: NativeCode = compile_functions(text, isa)
        self.functions = [self._code.function(f"piece{index}", *_ARGUMENTS) for index in range(len(logics))]


class LlvmKernel:
    """Native code over rows of words, each plane a row that holds whole vector registers."""

    def __init__(self, compiled: CompiledPieces, words: int, memory: MemoryState, threads: int) -> None:
        step = compiled.isa.words
        self._words, self._blocks, self._threads = words, -(-words // step), threads
        self._sources = sources_of(compiled.program)
        self._wanted = compiled.wanted
        self._rows = _Rows(self._blocks * step)
        for register in self._sources:
            self._rows.add(register)
        self._steps: list[object] = []
        functions = iter(compiled.functions)
        for piece in compiled.pieces:
            if isinstance(piece, Read):
                self._steps.append((memory.reader(piece), piece))
                for _, _, register in piece.targets:
                    self._rows.add(register)
            else:
                for register in piece.wanted:
                    self._rows.add(register)
                self._steps.append((next(functions), piece))
        self._rows.allocate()
        # (completed by the table of addresses of each piece)
        self._tables = [(self._rows.addresses(piece.sources), self._rows.addresses(piece.wanted))
                        if isinstance(piece, Logic) else None for _, piece in self._steps]   # type: ignore[misc]

    def evaluate(self, sources: Sequence[npt.NDArray[np.uint64]]) -> list[npt.NDArray[np.uint64]]:
        for register, plane in zip(self._sources, sources, strict=True):
            self._rows[register][:self._words] = plane
        for (function, piece), tables in zip(self._steps, self._tables, strict=True):  # type: ignore[misc]
            if tables is None:
                address = [self._rows[register][:self._words] for register in piece.address]
                planes = function(np.stack(address) if address else np.zeros((0, self._words), np.uint64))
                for (_, _, register), plane in zip(piece.targets, planes, strict=True):
                    self._rows[register][:self._words] = plane
            else:
                self._run(function, *tables)
        return [self._rows[register][:self._words].copy() for register in self._wanted]

    def _run(self, function: object, sources: npt.NDArray[np.uintp], wanted: npt.NDArray[np.uintp]) -> None:
        shares = min(self._threads, max(1, self._blocks // 64))
        bounds = [self._blocks * share // shares for share in range(shares + 1)]
        calls = [(sources.ctypes.data, wanted.ctypes.data, first, end)
                 for first, end in zip(bounds[:-1], bounds[1:], strict=True)]
        if shares == 1:
            function(*calls[0])                          # type: ignore[operator]
            return
        with ThreadPoolExecutor(shares) as pool:
            list(pool.map(lambda call: function(*call), calls))   # type: ignore[operator]

    def from_planes(self, planes: Planes) -> list[npt.NDArray[np.uint64]]:
        return list(planes)

    def to_planes(self, planes: Sequence[npt.NDArray[np.uint64]]) -> Planes:
        return np.stack(planes) if planes else np.zeros((0, self._words), np.uint64)

    def constant(self, value: bool) -> npt.NDArray[np.uint64]:
        return np.full(self._words, ~np.uint64(0) if value else 0, np.uint64)


class _Rows:
    """The rows of registers, in one allocation; the constants' rows are there from the start."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._places: dict[Register, int] = {ZERO: 0, ONE: 1}
        self._table: npt.NDArray[np.uint64] = np.zeros((0, words), np.uint64)

    def add(self, register: Register) -> None:
        self._places.setdefault(register, len(self._places))

    def allocate(self) -> None:
        self._table = np.zeros((len(self._places), self._words), np.uint64)
        self._table[ONE] = ~np.uint64(0)

    def addresses(self, registers: Sequence[Register]) -> npt.NDArray[np.uintp]:
        return np.array([self[register].ctypes.data for register in registers], np.uintp)

    def __getitem__(self, register: Register) -> npt.NDArray[np.uint64]:
        row: npt.NDArray[np.uint64] = self._table[self._places[register]]
        return row
