"""Matrix products as native code: one copy of what matters of the circuit for each element of the result."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes
from synth.native.lanes import Lanes
from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine
from synth.native.matrix_ir import BLOCK_FIELDS, DRIVER, RUN_FIELDS, STEP, driver_function, step_function
from synth.native.schedule import Schedule
from synth.native.specialise import Plan, PortKind, Specialiser, Step
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_compile import NativeCode, compile_functions

__all__ = ["ACROSS_BYTES", "NativeProduct"]

ACROSS_BYTES = 1 << 25
"""Size up to which the operand across the lanes is laid out at a time; larger products go slice by slice."""

_CALL_LOOKUPS = 1 << 30
"""Vector instructions of one native call, a quarter of a second, so that an interrupt is heard."""

_SHARES = 4
"""Calls a thread, at least: a core that is busy with something else then holds the others up less."""

_KEPT_TABLES = 256
"""Numbers of terms whose runs are kept."""

_DRIVER_ARGUMENTS = (ctypes.c_void_p,) * 8 + (ctypes.c_int64,) * 7


@dataclass(frozen=True)
class _Runs:
    """The driver's table for a number of terms, what it tells the steps, and the look-ups of a block."""

    table: NDArray[np.int64]
    told: NDArray[np.uint8]
    lookups: int


class NativeProduct:
    """Computes matrix products by native code that is made of an operator's program.

    Parameters
    ----------
    interface : MacInterface
    machine : Machine
        Of the program.
    isa : InstructionSet
        One that this machine has.
    threads : int
    """

    def __init__(self, interface: MacInterface, machine: Machine, isa: InstructionSet, threads: int) -> None:
        self._interface, self._machine, self._isa, self._threads = interface, machine, isa, threads
        self._specialiser = Specialiser(machine, Schedule(machine, interface), isa.basis)
        self._lock = threading.RLock()
        self._plans: dict[int, Plan] = {}
        self._runs: dict[tuple[int, PortKind], _Runs] = {}
        self._code: dict[tuple[Step, PortKind], NativeCode] = {}
        self._driver_code = compile_functions(driver_function(), isa)
        self._driver = self._driver_code.function(DRIVER, *_DRIVER_ARGUMENTS)

    def plan(self, terms: int) -> Plan:
        """Return the steps that a sum of ``terms`` pairs takes."""
        with self._lock:
            if terms not in self._plans:
                if len(self._plans) >= _KEPT_TABLES:
                    self._plans.clear()
                self._plans[terms] = self._specialiser.plan(terms)
            return self._plans[terms]

    def instructions(self, terms: int) -> float:
        """Return the look-ups of a pair in a sum of ``terms`` pairs, on average."""
        return _lookups(self.plan(terms)) / terms

    def matmul(self, a: NDArray[Any], b: NDArray[Any]) -> Codes:
        """Return the codes of ``a @ b`` for codes of shapes ``(M, K)`` and ``(K, N)``, none of them 0."""
        straight = Lanes(len(a), b.shape[1], self._isa.words)
        turned = Lanes(b.shape[1], len(a), self._isa.words)
        # Where the lanes are filled alike, the longer side lies along them: its planes take less memory and time.
        if (round(turned.used, 2), turned.columns) > (round(straight.used, 2), straight.columns):
            return np.ascontiguousarray(self._product(b.T, a.T, turned, PortKind.A).T)
        return self._product(a, b, straight, PortKind.B)

    def _product(self, across: NDArray[Any], along: NDArray[Any], lanes: Lanes, side: PortKind) -> Codes:
        """Return the product whose rows are those of ``across``, its columns along the lanes."""
        fields, terms = self._interface.fields, len(along)
        runs = self._prepared(terms, side)
        planes = lanes.along(along, fields[side.value].width)
        row_bytes = terms * across.itemsize * 8 * max(1, lanes.row_words // lanes.words)
        slice_rows = max(lanes.words, ACROSS_BYTES // row_bytes)
        parts = []
        for start in range(0, lanes.rows, slice_rows):
            rows = across[start:start + slice_rows]
            part = Lanes(len(rows), lanes.columns, lanes.words)
            parts.append(part.codes(self._run(runs, part, part.across(rows), planes)))
        joined: Codes = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return joined

    def _run(self, runs: _Runs, lanes: Lanes, across: NDArray[np.uint8], planes: NDArray[np.uint64]
             ) -> NDArray[np.uint64]:
        """Return the planes of all results."""
        _, terms, width = across.shape
        size = self._isa.bytes
        bits = self._interface.result.bits
        results = np.empty((lanes.blocks, bits, lanes.words), np.uint64)
        groups, words = lanes.starts()
        order = np.argsort(words, kind="stable")         # blocks that share planes follow each other
        table = np.stack([groups * (terms * width), words * 8, np.arange(lanes.blocks) * (bits * size)], axis=1)
        blocks = np.ascontiguousarray(table[order])
        assert blocks.shape[1] == BLOCK_FIELDS
        row, pair = lanes.plane_words * 8, planes.strides[0]

        def run(first: int, end: int) -> None:
            half = len(self._machine.slots) * size
            state, address = _aligned(2 * half)
            self._driver(*(array.ctypes.data for array in (runs.table, blocks)), address, address + half,
                         *(array.ctypes.data for array in (across, planes, runs.told, results)),
                         len(runs.table), first, end, width, pair, row, runs.told.shape[1])
            del state                                    # which lives until here

        _in_threads(run, lanes.blocks, max(1, _CALL_LOOKUPS // max(1, runs.lookups)), self._threads)
        return results

    def _prepared(self, terms: int, along: PortKind) -> _Runs:
        with self._lock:
            key = terms, along
            if key not in self._runs:
                if len(self._runs) >= _KEPT_TABLES:
                    self._runs.clear()
                self._runs[key] = self._make_runs(self.plan(terms), along)
            return self._runs[key]

    def _make_runs(self, plan: Plan, along: PortKind) -> _Runs:
        addresses: dict[int, int] = {}
        for run in plan.runs:
            if id(run.step) not in addresses:
                addresses[id(run.step)] = self._compiled(run.step, along).address(STEP)
        table = np.array([(addresses[id(run.step)], run.repeats, run.advances) for run in plan.runs], np.int64)
        assert table.shape[1] == RUN_FIELDS
        return _Runs(table, np.ascontiguousarray(plan.told), _lookups(plan))

    def _compiled(self, step: Step, along: PortKind) -> NativeCode:
        key = step, along
        if key not in self._code:
            self._code[key] = compile_functions(step_function(step, self._isa, along=along), self._isa)
        return self._code[key]


def _lookups(plan: Plan) -> int:
    return sum(run.repeats * len(run.step.logic.lookups) for run in plan.runs)


def _aligned(size: int) -> tuple[NDArray[np.uint8], int]:
    """Return a buffer, and an address in it that starts a cache line."""
    buffer = np.zeros(size + 64, np.uint8)
    return buffer, buffer.ctypes.data + -buffer.ctypes.data % 64


def _in_threads(run: Callable[[int, int], None], count: int, most: int, threads: int) -> None:
    """Run pieces of ``range(count)``, none longer than ``most``, on so many threads."""
    pieces = max(-(-count // most), min(_SHARES * threads, count))
    calls = list(itertools.pairwise(count * piece // pieces for piece in range(pieces + 1)))
    if threads == 1 or pieces == 1:
        for first, end in calls:
            run(first, end)
        return
    pool = ThreadPoolExecutor(min(threads, pieces))
    try:
        list(pool.map(lambda call: run(*call), calls))
    finally:
        pool.shutdown(cancel_futures=True)
