"""The check that everything else leans on: a mapped netlist against the exact reference and the torch quantizer."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import FloatingPointFormat, ScalarFormat, Special, as_float, is_zero
from sw.reference import Multiplication
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.verify.vectors import Codes, Vectors

Json = dict[str, Any]

_STREAM_CYCLES = 32
"""Cycles over which the vectors of a pipeline are spread; the rest are lanes beside each other."""

TORCH_MISSING = "torch is not installed: pip install 'narrowgauge[torch]'"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a circuit has to answer.

    Parameters
    ----------
    vectors : Vectors
    codes : uint64 array
        The exact reference's answers.
    against : tuple of str
        What gave these answers: the exact reference, and the torch quantizer if it was asked.
    differing : int
        Vectors on which the torch quantizer differs from the exact reference.
    skipped : str
        Why the torch quantizer was not asked; empty if it was.
    """

    vectors: Vectors
    codes: Codes
    against: tuple[str, ...]
    differing: int
    skipped: str


def expect(model: Multiplication, vectors: Vectors) -> Expectation:
    """Compute the exact reference's answers, and compare the torch quantizer's with them."""
    a, b = vectors.operands["a"], vectors.operands["b"]
    random = vectors.operands.get("random")
    codes = model.codes(a, b, random)
    skipped = "" if importlib.util.find_spec("torch") else TORCH_MISSING
    if not skipped:
        skipped = _inexact(model)
    if skipped:
        return Expectation(vectors=vectors, codes=codes, against=("exact reference",), differing=0, skipped=skipped)
    differing = int(np.count_nonzero(torch_codes(model, a, b, random) != codes))
    return Expectation(vectors=vectors, codes=codes, against=("torch quantizer", "exact reference"),
                       differing=differing, skipped="")


def _significant_bits(fmt: ScalarFormat) -> int:
    return fmt.fraction_bits + 1 if isinstance(fmt, FloatingPointFormat) else fmt.width


def _inexact(model: Multiplication) -> str:
    """Say why the torch quantizer, which takes products in float64, cannot be asked; empty if it can."""
    result = model.result
    if result.width > 32:
        return "results of more than 32 bits are beyond it"
    if isinstance(result, FloatingPointFormat) and (result.max_finite >= 2**1023
                                                    or result.smallest_normal < 2.0**-1000):
        return "results of this format leave float64's range"
    if _significant_bits(model.a) + _significant_bits(model.b) > 53:
        return "products of these operands have more than float64's 53 significant bits"
    largest = max(abs(model.a.max_finite), abs(model.a.min_finite)) * max(abs(model.b.max_finite),
                                                                         abs(model.b.min_finite))
    if largest >= 2**1023 or model.a.smallest_positive * model.b.smallest_positive < 2.0**-1000:
        return "products of these operands leave float64's range"
    return ""


def torch_codes(model: Multiplication, a: Codes, b: Codes, random: Codes | None) -> Codes:
    """Return the torch quantizer's codes for the exact float64 products of operand codes."""
    import torch

    from sw.quantize import to_codes

    with np.errstate(invalid="ignore"):  # infinity times zero is NaN, as it should be
        products = _values(model.a)[a] * _values(model.b)[b]
    values = torch.from_numpy(products)
    bits = None if random is None else torch.from_numpy(random.astype(np.int64))
    codes = to_codes(values, model.result, rounding=model.rounding, overflow=model.overflow, random=bits,
                     random_bits=model.random_bits or None)
    answer: Codes = codes.numpy().astype(np.uint64)
    return answer


def _values(fmt: ScalarFormat) -> NDArray[np.float64]:
    """Return the float64 value of every code; all of them are exact in float64 here."""
    return np.array([as_float(fmt.decode(code)) for code in range(1 << fmt.width)])


def check(netlist: Mapping[str, Any], expectation: Expectation, *, latency: int) -> Json:
    """Run a mapped netlist on every vector and count the answers that differ.

    A pipelined netlist is fed new operands every cycle, so that a stage that mixes one pair with the next is found.

    Returns
    -------
    dict
        ``method``, ``vectors``, ``mismatches``, ``against`` (the names of the references), ``skipped`` (why the
        torch quantizer was not asked, or empty) and ``first_mismatch`` (operands, got and want, or null).

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    """
    engine = NumpyEngine(compile_netlist(read_netlist(netlist)))
    vectors = expectation.vectors
    answers = _streamed(engine, vectors, latency) if latency else engine.run(vectors.operands)["o"]
    got = answers.astype(np.uint64)
    wrong = np.flatnonzero(got != expectation.codes)
    first = None
    if len(wrong):
        index = int(wrong[0])
        first = {name: int(codes[index]) for name, codes in vectors.operands.items()}
        first |= {"got": int(got[index]), "want": int(expectation.codes[index])}
    return {"method": vectors.method, "vectors": vectors.count, "mismatches": len(wrong) + expectation.differing,
            "against": list(expectation.against), "skipped": expectation.skipped, "first_mismatch": first}


def _streamed(engine: NumpyEngine, vectors: Vectors, latency: int) -> Codes:
    """Return a pipeline's answers, each lane fed a new vector every cycle."""
    lanes = -(-vectors.count // _STREAM_CYCLES)
    fed = {name: np.resize(codes, (_STREAM_CYCLES, lanes)) for name, codes in vectors.operands.items()}
    simulation = engine.simulation(lanes)
    answers = np.zeros((_STREAM_CYCLES, lanes), dtype=np.uint64)
    for cycle in range(_STREAM_CYCLES + latency):
        # The next operands are there before the answer is read, so that too few registers show as well.
        for name, codes in fed.items():
            simulation.set(name, codes[cycle % _STREAM_CYCLES])
        if cycle >= latency:
            answers[cycle - latency] = simulation.get("o")
        if engine.program.clocks:  # a netlist that lost its registers answers too early, and is found out below
            simulation.step()
    return answers.reshape(-1)[:vectors.count]


def describe_value(fmt: ScalarFormat, code: int) -> str:
    """Write a code and its value, for a message about a mismatch."""
    value = fmt.decode(code)
    text = value.value if isinstance(value, Special) else f"{float(value):g}"
    return f"0x{code:0{-(-fmt.width // 4)}x} ({'0' if value == 0 or (is_zero(value) and text == '0') else text})"
