"""A matrix product with a narrow accumulator, exact as the hardware does it, beside emulation with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.formats import FloatingPointFormat, parse
from synth.bench.native_emulation import Round, Ties, by_bits, by_library, chunked_matmul
from synth.bench.native_others import repeated, torch_threads
from synth.bench.native_part import Document, Progress, Settings, ratio, target
from synth.bench.native_timing import Effort, Side, clocked, rates
from synth.native.matrix import MatrixUnit
from synth.native.operator import operator
from synth.native.throughput import BoundLoop

OPERAND, ACCUMULATOR, CHUNK = "float8_e4m3fn", "float16_e6m9", 64

SHAPE, QUICK_SHAPE = (256, 512, 256), (64, 128, 64)
"""(M, K, N)."""

TARGET = 100.0

EFFORT = Effort(rounds=5, seconds=0.0)
"""A product takes longer than the clock needs."""

BOUND_TURNS = 1 << 16
"""Turns of the bound's loop in one repeat: milliseconds, as a product."""

EMULATIONS: dict[str, Callable[[FloatingPointFormat], Round]] = {
    "torch": by_library,
    "bits": lambda fmt: by_bits(fmt, Ties.EVEN),
    "QPyTorch": lambda fmt: by_bits(fmt, Ties.AWAY),
}
"""``torch``: rounded by this library's ``fake_quantize``; ``bits``: on the bits of float32; ``QPyTorch``: so too, with
ties away from zero, as that library does."""


def run(settings: Settings, progress: Progress) -> Document:
    """Measure the product, and return one document.

    Returns
    -------
    dict
        ``shape`` (M, K, N), ``operand``, ``accumulator``, ``chunk``, ``instruction_set``, ``lanes``, ``threads``;
        ``instructions``: of a pair, for as many elements as a register has lanes;
        ``one_thread``, ``all_threads``: each with ``ms`` of ours, ``macs`` (a second), ``bound`` (vector instructions
        a second), ``bound_ms`` (what the product would take at that) and ``bound_fraction`` (part of the bound that is
        reached), and ``emulations``: for each ``ms`` and ``ratio`` (to ours);
        ``differences``: for each emulation the elements whose code is not that of the circuit, of ``elements``;
        ``explanation``: of those; ``targets``.

    Raises
    ------
    AssertionError
        If an emulation that rounds as the circuit does gives other codes.
    """
    import torch

    from sw.quantize import from_codes, to_codes

    shape = QUICK_SHAPE if settings.quick else SHAPE
    m, k, n = shape
    operand, accumulator = parse(OPERAND), parse(ACCUMULATOR)
    assert isinstance(accumulator, FloatingPointFormat)
    progress(f"matmul: {m}×{k}×{n}, circuit and emulations against each other")
    generator = torch.Generator().manual_seed(settings.seed)
    codes = [to_codes(torch.randn(size, generator=generator), operand) for size in ((m, k), (k, n))]
    x, y = (from_codes(each, operand) for each in codes)
    a, b = (each.numpy() for each in codes)
    operation = operator("chunked_mac", fmt=OPERAND, accumulator=ACCUMULATOR, chunk=CHUNK)
    units = {threads: MatrixUnit(operation, isa=settings.isa, threads=threads) for threads in {1, settings.threads}}
    rounds = {name: make(accumulator) for name, make in EMULATIONS.items()}
    product = units[1].matmul(a, b)
    differences = {name: int((to_codes(chunked_matmul(x, y, CHUNK, rounded), accumulator).numpy()
                              != product).sum()) for name, rounded in rounds.items()}
    for name in ("torch", "bits"):
        if differences[name]:
            raise AssertionError(f"Emulation {name} must agree with the circuit in all {product.size} elements, not "
                                 f"differ in {differences[name]}")
    document: Document = {
        "shape": list(shape), "operand": OPERAND, "accumulator": ACCUMULATOR, "chunk": CHUNK,
        "instruction_set": settings.isa.value, "lanes": settings.isa.lanes, "threads": settings.threads,
        "instructions": units[1].instructions(k), "elements": product.size, "differences": differences,
        "explanation": EXPLANATION}
    for key, threads in (("one_thread", 1), ("all_threads", settings.threads)):
        progress(f"matmul: {m}×{k}×{n}, {threads} thread{'s' * (threads > 1)}")
        document[key] = _measured(units[threads], (a, b), (x, y), rounds, threads, settings)
    # Of one thread: on a busy machine torch's threads wait for each other, which flatters the circuit.
    document["targets"] = [target("matrix product, times its emulation with torch, one thread", TARGET,
                                  document["one_thread"]["emulations"]["torch"]["ratio"], applies=shape == SHAPE)]
    return document


EXPLANATION = ("Rounding twice, to float32 and then to the accumulator, is rounding once here: float32 has more than "
               "twice its digits. QPyTorch's rounding to nearest takes ties away from zero, the circuit to even: that "
               "alone makes the differences, since the same rounding with ties to even has none.")


def _measured(unit: MatrixUnit, codes: tuple[Any, Any], values: tuple[Any, Any], rounds: dict[str, Round],
              threads: int, settings: Settings) -> Document:
    (m, k), n = codes[0].shape, codes[1].shape[1]
    macs, instructions, bound = m * k * n, unit.instructions(k), BoundLoop(settings.isa)
    assert instructions is not None  # it is native code that is measured
    sides = {"ours": Side.of(macs, repeated(lambda: unit.matmul(*codes))),
             "bound": Side(operations=bound.instructions * BOUND_TURNS, workers=[
                 lambda repeats: bound.run(BOUND_TURNS * repeats)] * threads)}
    for name, rounded in rounds.items():
        sides[name] = Side.of(macs, repeated(_emulating(values, rounded)))
    with torch_threads(threads):
        found = rates(clocked(sides, threads), EFFORT)
    at_bound = found["bound"] * settings.isa.lanes / instructions
    return {"ms": macs / found["ours"] * 1e3, "macs": found["ours"], "bound": found["bound"],
            "bound_ms": macs / at_bound * 1e3, "bound_fraction": found["ours"] / at_bound,
            "emulations": {name: {"ms": macs / found[name] * 1e3, "ratio": ratio(found["ours"], found[name])}
                           for name in rounds}}


def _emulating(values: tuple[Any, Any], rounded: Round) -> Callable[[], np.ndarray[Any, Any]]:
    return lambda: chunked_matmul(*values, CHUNK, rounded)
