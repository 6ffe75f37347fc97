"""Bit-sliced multiplication and accumulation in every format of the HOBFLOPS series, beside what others do.

Paper: arXiv 2007.06563 (HOBFLOPS: bit-sliced floating point on general-purpose processors).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sw.formats import OverflowPolicy, ScalarFormat, parse
from synth.bench.native_others import OTHERS, array_sides, repeated, scalar_sides, torch_threads
from synth.bench.native_part import Document, Progress, Settings, ratio, target
from synth.bench.native_timing import Side, clocked, rates
from synth.bench.quantize import NotMeasured
from synth.bench.softfloat16 import ScalarHalf, check
from synth.native.operator import operator
from synth.native.recipe import native_program
from synth.native.throughput import BoundLoop, TileLoop
from synth.netlist.instruction_order import live_registers
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_engine import LlvmEngine
from synth.netlist.packing import Codes, code_type
from synth.operations import Operation
from synth.operations.operation import applies

SERIES = {"float8_e5m2": 8, "float8_e4m3fn": 8, "float8_e4m3": 8, **{
    parse(f"e5m{fraction_bits}").name: fraction_bits + 6 for fraction_bits in range(3, 11)}}
"""Formats, and the number that HOBFLOPS has in its name for each. Which format a number stands for is our assignment:
what we have of the paper gives the numbers alone. Of e4m3 there are the one without infinities and IEEE 754's kind."""

PAPER = {"scalar_macs": 50e6, "hobflops16_macs": 414e6, "ratio": 8.0,
         "source": "arXiv 2007.06563, abstract of version 2: AVX-512, HOBFLOPS16 against SoftFP16"}
"""What the paper says."""

KINDS = ("multiply", "mac")

TERMS = 8
"""Length of the dot products: tiles that stay in the first-level cache."""

CODES = 1 << 20
"""Vectors of one call from codes to codes."""

BOUND_TARGET, SCALAR_TARGETS, ML_DTYPES_TARGET = 0.6, {"float16": 12.0, "float8_e5m2": 50.0}, 100.0


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """An operator as native code, ready to be timed."""

    loop: TileLoop
    engines: Mapping[int, LlvmEngine]
    model: Any
    lanes: int

    @property
    def vectors(self) -> int:
        """Vectors of all tiles."""
        return TERMS * self.lanes


def run(settings: Settings, progress: Progress) -> Document:
    """Measure the series, and return one document.

    Every rate is the best of several turns, which all sides take one after the other; that of one thread is by CPU
    time, which a busy machine does not change. *Planes* are the operator on bit
    planes that stay in the first-level cache, as in the inner loop of a convolution; *codes* is one call from arrays
    of codes to an array of codes, with the packing in it. Before anything is timed, both are compared with the exact
    reference, and the scalar code with numpy.

    The MAC is ``acc = round(a * b + acc)``, rounded once; the scalar one rounds the product too, as do numpy's and
    ml_dtypes'. Others get normal random numbers, which spares them the slow ways of special values.

    Returns
    -------
    dict
        ``instruction_set``, ``lanes``, ``threads``;
        ``bound``: vector instructions a second, for ``one_thread`` and ``all_threads``, the best of all that was
        measured between the formats;
        ``rows``: for each format ``format``, ``hobflops``, ``multiply`` and ``mac``, each with ``instructions``
        (look-ups of the netlist), ``live`` (registers at once at most), ``one_thread`` and ``all_threads``: each with
        ``planes`` and ``codes`` (operations a second), ``bound_fraction`` (part of the bound that the planes' look-ups
        are),
        ``others`` (operations a second of each of :data:`~synth.bench.native_others.OTHERS`, or null) and ``ratios``
        (to each: of ``codes`` for the multiplication, and of ``planes`` for the MAC);
        ``others``: what they are; ``reasons``: for each format, why there are no figures of some;
        ``compiler``: of the scalar code, or null; ``paper``: what is published; ``targets``.

    Raises
    ------
    AssertionError
        If something computes what it should not: then nothing is timed.
    """
    formats = [parse(name) for name in settings.formats or tuple(SERIES)]
    with ExitStack() as stack:
        scalar, missing = None, {}
        try:
            scalar = stack.enter_context(ScalarHalf())
            check(scalar, settings.seed)
        except NotMeasured as error:
            missing["scalar"] = str(error)
        bound, rows, reasons = BoundLoop(settings.isa), [], {}
        best: dict[str, float] = {}
        for fmt in formats:
            progress(f"series: {fmt.name}")
            row, lacking = _row(fmt, scalar, bound, settings, best)
            rows.append(row)
            reasons[fmt.name] = {**missing, **lacking}
    add_fractions(rows, best, settings.isa.lanes)
    return {"instruction_set": settings.isa.value, "lanes": settings.isa.lanes, "threads": settings.threads,
            "bound": best, "rows": rows, "others": OTHERS, "reasons": reasons,
            "compiler": scalar.compiler if scalar else None, "paper": PAPER, "targets": targets(rows, settings.isa)}


def add_fractions(rows: list[Document], bound: Mapping[str, float], lanes: int) -> None:
    """Note what part of the bound the look-ups of each rate on planes are."""
    for row in rows:
        for kind in KINDS:
            for key, limit in bound.items():
                instructions = row[kind][key]["planes"] * row[kind]["instructions"] / lanes
                row[kind][key]["bound_fraction"] = instructions / limit


def targets(rows: list[Document], isa: InstructionSet) -> list[Document]:
    """Return the targets for one thread of a core with AVX-512, beside what was found."""
    applies = isa is InstructionSet.AVX512
    found = {row["format"]: row for row in rows}
    made = [target(f"{name} MAC, times the scalar binary16 MAC", wanted,
                   found[name]["mac"]["one_thread"]["ratios"]["scalar"], applies=applies)
            for name, wanted in SCALAR_TARGETS.items() if name in found]
    if "float8_e4m3fn" in found:
        multiply = found["float8_e4m3fn"]["multiply"]["one_thread"]
        made.append(target("float8_e4m3fn multiplication from codes to codes, times ml_dtypes", ML_DTYPES_TARGET,
                           multiply["ratios"]["ml_dtypes"], applies=applies))
    fractions = {(row["format"], kind): row[kind]["one_thread"]["bound_fraction"] for row in rows for kind in KINDS}
    for kind in KINDS:
        name, fraction = min(((name, value) for (name, each), value in fractions.items() if each == kind),
                             key=lambda pair: pair[1])
        made.append(target(f"part of the bound, lowest {kind} ({name})", BOUND_TARGET, fraction, applies=applies))
    return made


def operation(kind: str, fmt: ScalarFormat) -> Operation:
    """Return the operator that is measured: overflow as IEEE 754 has it, where the format can, as others do."""
    overflow = OverflowPolicy.INFINITY if applies(fmt, OverflowPolicy.INFINITY) else OverflowPolicy.SATURATE
    return operator(kind, fmt=fmt.name, overflow=overflow.value)


def _row(fmt: ScalarFormat, scalar: ScalarHalf | None, bound: BoundLoop, settings: Settings, best: dict[str, float]
         ) -> tuple[Document, dict[str, str]]:
    """Return the figures of one format, and why some are lacking; ``best`` keeps the bound's best rates."""
    random = np.random.default_rng(settings.seed)
    a, b, c = random.integers(0, 1 << fmt.width, (3, CODES)).astype(code_type(fmt.width))
    values = random.standard_normal((2, CODES)).astype(np.float32)
    units = {kind: _unit(kind, fmt, settings) for kind in KINDS}
    row: Document = {"format": fmt.name, "hobflops": SERIES.get(fmt.name)}
    for kind, unit in units.items():
        _check(kind, unit, a, b, c)
        row[kind] = {"instructions": unit.loop.instructions, "live": live_registers(unit.loop.logic)}
    lacking: dict[str, str] = {}
    for key, threads in (("one_thread", 1), ("all_threads", settings.threads)):
        sides = {"bound": Side(operations=bound.instructions, workers=[bound.run] * threads)}
        for kind, unit in units.items():
            sides |= _sides(kind, unit, a, b, c, threads)
        arrays, lacking = array_sides(fmt, values, threads)
        sides |= arrays
        if scalar is not None:
            sides |= scalar_sides(scalar, values, threads)
        with torch_threads(threads):
            found = rates(clocked(sides, threads), settings.effort)
        best[key] = max(best.get(key, 0.0), found["bound"])
        for kind in KINDS:
            row[kind][key] = _figures(kind, found)
    return row, lacking


def _unit(kind: str, fmt: ScalarFormat, settings: Settings) -> _Unit:
    made = operation(kind, fmt)
    program = native_program(made, settings.isa)
    loop = TileLoop(program, settings.isa, feedback={"o": "c"} if kind == "mac" else None)
    engines = {threads: LlvmEngine(program, isa=settings.isa, threads=threads) for threads in {1, settings.threads}}
    return _Unit(loop=loop, engines=engines, model=made.model, lanes=settings.isa.lanes)


def _check(kind: str, unit: _Unit, a: Codes, b: Codes, c: Codes) -> None:
    """Compare both forms with the exact reference, on random codes: special values and subnormals are among them."""
    tiles = unit.loop.prepared({"a": a[:unit.vectors], "b": b[:unit.vectors]})
    tiles.run()
    if kind == "multiply":
        want = unit.model.codes(a[:unit.vectors], b[:unit.vectors])
        given = {"a": a[:unit.vectors], "b": b[:unit.vectors]}
    else:
        want = np.zeros(unit.lanes, np.uint64)
        for k in range(0, unit.vectors, unit.lanes):
            want = unit.model.codes(a[k:k + unit.lanes], b[k:k + unit.lanes], want)
        given = {"a": a[:unit.vectors], "b": b[:unit.vectors], "c": c[:unit.vectors]}
    codes = unit.engines[1].run(given)["o"]
    for got, wanted in ((tiles.output("o"), want), (codes, unit.model.codes(*given.values()))):
        wrong = np.flatnonzero(got != wanted)
        if wrong.size:
            raise AssertionError(f"{kind} in {unit.model.a.name} must be {wanted[wrong[0]]:#x} for vector {wrong[0]}, "
                                 f"not {got[wrong[0]]:#x}")


def _sides(kind: str, unit: _Unit, a: Codes, b: Codes, c: Codes, threads: int) -> dict[str, Side]:
    tiles = [unit.loop.prepared({"a": a[:unit.vectors], "b": b[:unit.vectors]}) for _ in range(threads)]
    inputs = {"a": a, "b": b, "c": c} if kind == "mac" else {"a": a, "b": b}
    return {f"{kind} planes": Side(operations=unit.vectors, workers=[each.run for each in tiles]),
            f"{kind} codes": Side.of(CODES, repeated(partial(unit.engines[threads].run, inputs)))}


def _figures(kind: str, found: Mapping[str, float]) -> Document:
    """Return what one thread or all came to."""
    planes, codes = found[f"{kind} planes"], found[f"{kind} codes"]
    compared = {name: found.get(f"{kind} {name}") for name in OTHERS}
    return {"planes": planes, "codes": codes, "others": compared,
            "ratios": {name: ratio(codes if kind == "multiply" else planes, rate) for name, rate in compared.items()}}
