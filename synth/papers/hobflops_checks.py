"""Whether the code made of each format's multiply-accumulate computes what the reference says, and how much it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sw.formats import parse
from sw.reference.model import Codes, Port
from synth.bench.native_series import SERIES, operation
from synth.netlist.engine import Engine
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Logic, pieces_of
from synth.netlist.program import Program
from synth.operations import Operation
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand, Provenance, Row
from synth.verify.vectors import random_codes

TRIPLES = 10_000_000
"""Operands of a multiply-accumulate that are tried at least."""

EXHAUSTIVE_BITS = 9
"""Up to this width, every pair of factors is tried."""

BLOCK = 1 << 18


def instructions(program: Program, isa: InstructionSet) -> int:
    """Return how many of a processor's bitwise instructions a netlist's logic takes, loads and stores aside."""
    wanted = [register for port in program.outputs for register in port.registers]
    wanted += [register for bit in program.state for register in (bit.next, bit.settled)]
    return sum(len(piece.lookups) for piece in pieces_of(program, wanted, isa.basis) if isinstance(piece, Logic))


def equality(lab: Laboratory, *, series: Sequence[str] = tuple(SERIES), triples: int = TRIPLES) -> list[Row]:
    """Return how many results of each format's code differ from the reference.

    Parameters
    ----------
    lab : Laboratory
    series : sequence of str
        Names of formats.
    triples : int
        Operands that are tried at least. Up to 9 bits, these are all pairs of factors with several summands each (with
        all of them, where most would be needed); above, random ones, and as many that nearly cancel.
    """
    rows = []
    generator = np.random.default_rng(lab.seed)
    for name in series:
        step = operation("mac", parse(name))
        rows.append(_compared(step, lab.native_engine(step), generator, triples))
    return rows


def _compared(step: Operation, engine: Engine, generator: np.random.Generator, triples: int) -> Row:
    tried, wrong, first = 0, 0, ""
    for inputs in _operands(step, generator, triples):
        found, wanted = engine.run(inputs)["o"], step.model.evaluate(inputs)["o"]
        differs = np.flatnonzero(found != wanted)
        if len(differs) and not first:
            place = differs[0]
            given = ", ".join(f"{port} = {int(codes[place]):#x}" for port, codes in inputs.items())
            first = f"first at {given}: {int(found[place]):#x}, not {int(wanted[place]):#x}"
        tried, wrong = tried + len(found), wrong + len(differs)
    fmt = step.model.a
    return Row(quantity=f"{fmt.name}: wrong MACs of {tried:,}", unit="results", ours=wrong, paper=0,
               provenance=Provenance.DERIVED, demand=Demand.EQUAL,
               source="the routine is a netlist of the same function", note=first)


def _operands(step: Operation, generator: np.random.Generator, triples: int) -> Iterator[dict[str, Codes]]:
    """Yield blocks of operands a, b and c."""
    width: int = step.model.a.width
    if width > EXHAUSTIVE_BITS:
        cancelling = step.cancelling()
        assert cancelling is not None  # a product plus a summand has such operands
        for start in range(0, triples, BLOCK):
            count = min(BLOCK, triples - start)
            yield ({name: random_codes(port, generator, count) for name, port in step.model.inputs.items()}
                   if start // BLOCK % 2 else cancelling(generator, count))
        return
    pairs = 1 << 2 * width
    place = np.arange(min(BLOCK, pairs), dtype=np.uint64)
    summands = _summands(Port.of(step.model.c), generator, math.ceil(triples / pairs))
    for start in range(0, pairs, BLOCK):
        pair = place + np.uint64(start)
        for c in summands:
            yield {"a": pair >> np.uint64(width), "b": pair & np.uint64((1 << width) - 1), "c": np.full_like(pair, c)}


def _summands(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return that many different codes, all of them if those are most."""
    return generator.permutation(port.codes)[:port.codes if 2 * count > port.codes else count].astype(np.uint64)
