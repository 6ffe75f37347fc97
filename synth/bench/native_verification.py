"""Running every operand through a mapped netlist: as native code, and by simulators; and all of binary16."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sw.formats import ScalarFormat, parse
from synth import flow
from synth.bench.native_others import repeated
from synth.bench.native_part import Document, Progress, Settings, ratio, target
from synth.bench.native_simulators import Simulator, Table, amaranth, icarus, verilator
from synth.bench.native_timing import CPU, Effort, Side, rates
from synth.bench.quantize import NotMeasured
from synth.bench.softfloat16 import Halves, is_nan, same_codes
from synth.console import Console
from synth.native.operator import operator
from synth.netlist import Program, compile_netlist, read_netlist
from synth.netlist.llvm_engine import LlvmEngine
from synth.operations import Operation
from synth.store import Store, cache_folder
from synth.targets import TARGETS

FORMAT, TARGET = "float8_e4m3fn", "ice40"
"""Operands of the exhaustive check, and the family whose netlist is run."""

AMARANTH_VECTORS, QUICK_AMARANTH_VECTORS = 1024, 64

SIMULATOR_EFFORT, QUICK_SIMULATOR_EFFORT = Effort(rounds=3), Effort(rounds=1, seconds=0.001, slot=0.0)

SPEED_TARGET, SECONDS_TARGET = 10_000.0, 120.0

MAGNITUDES = 1 << 15
"""Codes of binary16 without their sign."""

ROWS = 16
"""Magnitudes of a step: with both signs and all second operands, 2 million products."""

QUICK_STRIDE = 64
"""Of so many steps, a quick run does one."""

SAMPLE = 1 << 22

_SIGN, _NAN = np.uint16(0x8000), np.uint16(0x7E00)


def run(settings: Settings, progress: Progress) -> Document:
    """Measure both checks, and return one document.

    Returns
    -------
    dict
        ``instruction_set``, ``threads``, ``target`` (the family whose netlists are run);
        ``exhaustive``: ``format``, ``vectors``; ``sides``: for each of ``native``, ``amaranth``, ``icarus``,
        ``verilator`` ``vectors_per_second`` with the comparison in it (by CPU time; other processes by the wall
        clock), ``seconds`` for all vectors (for Amaranth's simulator by its rate), ``compile_seconds``,
        ``measured_vectors`` and ``ratio`` (native to it), or ``reason``;
        ``binary16``: ``pairs`` (that were run), ``seconds``, ``threads``, ``different`` (pairs whose results do not
        agree), ``first_difference`` (operands, wanted, got; or null), ``reference_seconds`` (CPU time of numpy alone),
        ``sample`` (random pairs that numpy multiplied with their signs), ``complete``;
        ``targets``.

    Raises
    ------
    AssertionError
        If a netlist of the exhaustive check gives a wrong result.
    ToolError
        If Yosys fails, or is missing.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="narrowgauge-")))
        store = stack.enter_context(closing(Store(cache_folder(), warn=Console().warn)))
        progress(f"verification: netlists for {TARGETS[TARGET].title}")
        work = _Work(store, folder)
        exhaustive = _exhaustive(work, settings, progress)
        program = work.program(operator("multiply", fmt="float16", overflow="infinity"))
    binary16 = check_binary16(program, range(0, MAGNITUDES, ROWS)[::QUICK_STRIDE if settings.quick else 1], settings,
                              progress)
    native = exhaustive["sides"]["amaranth"]["ratio"]
    made = [target(f"exhaustive check of {FORMAT} multiplication, times Amaranth's simulator, one thread",
                   SPEED_TARGET, native),
            {"name": "binary16 multiplication, all pairs, at most so many seconds", "target": SECONDS_TARGET,
             "found": binary16["seconds"], "met": None if settings.quick else
             binary16["seconds"] <= SECONDS_TARGET and not binary16["different"]}]
    return {"instruction_set": settings.isa.value, "threads": settings.threads, "target": TARGET,
            "exhaustive": exhaustive, "binary16": binary16, "targets": made}


class _Work:
    """Netlists and Verilog, kept in the store."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder, self._count = store, folder, 0

    def new_folder(self) -> Path:
        """Return an empty folder."""
        self._count += 1
        made = self._folder / str(self._count)
        made.mkdir()
        return made

    def program(self, operation: Operation) -> Program:
        """Return the operation's netlist for the family."""
        mapped = flow.synthesize(flow.elaborate(operation.component()), TARGETS[TARGET], store=self._store,
                                 folder=self.new_folder(), dsp=False, timeout=None)
        return compile_netlist(read_netlist(mapped.document()))

    def verilog(self, operation: Operation) -> str:
        """Return the operation as Verilog."""
        return flow.verilog(flow.elaborate(operation.component()), store=self._store, folder=self.new_folder(),
                            timeout=None)


def _exhaustive(work: _Work, settings: Settings, progress: Progress) -> Document:
    operation = operator("multiply", fmt=FORMAT, overflow="infinity")
    fmt = parse(FORMAT)
    table = Table(want=all_products(operation, fmt), result_bits=fmt.width)
    engine = LlvmEngine(work.program(operation), isa=settings.isa, threads=1)
    want = table.want.reshape(-1)

    def check() -> None:
        if not np.array_equal(engine.run_exhaustive()["o"], want):
            raise AssertionError(f"Netlist of {FORMAT} multiplication must give every product right")

    makers: dict[str, Callable[[], Simulator]] = {
        "amaranth": lambda: amaranth(operation.component(), table,
                                     QUICK_AMARANTH_VECTORS if settings.quick else AMARANTH_VECTORS),
        "icarus": lambda: icarus(work.verilog(operation), table, work.new_folder()),
        "verilator": lambda: verilator(work.verilog(operation), table, work.new_folder())}
    start = time.perf_counter()
    check()
    made = {"native": Simulator(side=Side.of(want.size, repeated(check), CPU), vectors=want.size,
                                compile_seconds=time.perf_counter() - start)}
    reasons = {}
    for name, make in makers.items():
        progress(f"verification: {name} is compiling")
        try:
            made[name] = make()
        except NotMeasured as reason:
            reasons[name] = str(reason)
    progress(f"verification: all {want.size:,} products of {FORMAT}")
    found = rates({name: each.side for name, each in made.items()},
                  QUICK_SIMULATOR_EFFORT if settings.quick else SIMULATOR_EFFORT)
    sides: Document = {name: {"vectors_per_second": found[name], "seconds": want.size / found[name],
                              "compile_seconds": each.compile_seconds, "measured_vectors": each.vectors,
                              "ratio": ratio(found["native"], found[name])} for name, each in made.items()}
    return {"format": FORMAT, "vectors": want.size,
            "sides": sides | {name: {"reason": reason} for name, reason in reasons.items()}}


def all_products(operation: Operation, fmt: ScalarFormat) -> npt.NDArray[Any]:
    """Return the codes of all products of an operation, by its exact reference, as a table ``[a, b]``."""
    codes = np.arange(1 << fmt.width)
    table: npt.NDArray[Any] = operation.model.codes(np.repeat(codes, codes.size), np.tile(codes, codes.size))
    return table.reshape(codes.size, codes.size)


def check_binary16(program: Program, steps: Sequence[int], settings: Settings, progress: Progress) -> Document:
    """Multiply codes of binary16, with both signs, by all codes, and compare with numpy's float16.

    numpy multiplies the magnitudes; the sign of a product is that of its factors (IEEE 754-2019 §6.3), which halves
    the rows and the columns of what it has to do. Random pairs with their signs are compared as they are. Every NaN is
    as good as another.

    Parameters
    ----------
    program : Program
        A netlist of binary16 multiplication: ports ``a``, ``b`` and ``o``.
    steps : sequence of int
        The first of the :data:`ROWS` magnitudes of each step.
    """
    checkers = [_Checker(LlvmEngine(program, isa=settings.isa, threads=1)) for _ in range(settings.threads)]
    start = time.perf_counter()
    lock, done = threading.Lock(), 0

    def work(checker: _Checker, share: Sequence[int]) -> None:
        nonlocal done
        for first in share:
            checker.check(first)
            with lock:
                done += 1
                if done * 10 // len(steps) > (done - 1) * 10 // len(steps):
                    progress(f"verification: binary16, {done * ROWS << 17:,} of {len(steps) * ROWS << 17:,} pairs")

    with ThreadPoolExecutor(len(checkers)) as pool:
        for each in [pool.submit(work, checker, steps[index::len(checkers)]) for index, checker in
                     enumerate(checkers)]:
            each.result()
    sample = checkers[0].check_sample(settings.seed)
    return {"pairs": len(steps) * ROWS << 17, "seconds": time.perf_counter() - start, "threads": settings.threads,
            "different": sum(checker.different for checker in checkers),
            "first_difference": next((checker.first for checker in checkers if checker.first), None),
            "reference_seconds": sum(checker.reference_seconds for checker in checkers), "sample": sample,
            "complete": sorted(steps) == list(range(0, MAGNITUDES, ROWS))}


class _Checker:
    """Compares rows of products with numpy's, on one thread."""

    def __init__(self, engine: LlvmEngine) -> None:
        self._engine = engine
        self._columns = np.arange(MAGNITUDES, dtype=np.uint16)
        self._products = np.empty((ROWS, 2, MAGNITUDES), np.uint16)
        self.different, self.reference_seconds = 0, 0.0
        self.first: dict[str, str] | None = None

    def check(self, first: int) -> None:
        """Multiply so many magnitudes, with both signs, by every code."""
        magnitudes = self._columns[first:first + ROWS, None]
        start = time.thread_time()
        with np.errstate(all="ignore"):
            same = np.multiply(magnitudes.view(np.float16), self._columns.view(np.float16)).view(np.uint16)
        self.reference_seconds += time.thread_time() - start
        nan = is_nan(same)
        opposite = same | _SIGN
        same[nan] = opposite[nan] = _NAN                 # what the circuit gives, so that most rows compare at once
        for sign in (0, int(_SIGN)):
            self._engine.run_range((first | sign) << 16, ROWS << 16, ("a", "b"),
                                   out={"o": self._products.reshape(-1)})
            for column_sign, want in ((sign, same), (sign ^ int(_SIGN), opposite)):
                got = self._products[:, column_sign >> 15]
                if not np.array_equal(got, want):
                    self._compare(got, want, magnitudes | np.uint16(sign), self._columns | np.uint16(column_sign))

    def check_sample(self, seed: int) -> int:
        """Multiply random pairs; return how many."""
        a, b = np.random.default_rng(seed).integers(0, 1 << 16, (2, SAMPLE)).astype(np.uint16)
        with np.errstate(all="ignore"):
            want = (a.view(np.float16) * b.view(np.float16)).view(np.uint16)
        self._compare(self._engine.run({"a": a, "b": b})["o"].astype(np.uint16), want, a, b)
        return SAMPLE

    def _compare(self, got: Halves, want: Halves, a: Halves, b: Halves) -> None:
        wrong = np.flatnonzero(~same_codes(got, want))
        self.different += wrong.size
        if wrong.size and self.first is None:
            named = {"a": a, "b": b, "want": want, "got": got}
            self.first = {name: f"{int(np.broadcast_to(codes, want.shape).reshape(-1)[wrong[0]]):#06x}"
                          for name, codes in named.items()}
