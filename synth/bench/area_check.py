"""The check of a circuit without a handshake: its mapped netlist, cycle by cycle, against the exact reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes, Stream
from synth.netlist import compile_netlist, make_engine_for, read_netlist
from synth.verify.ports import pack_fields, unpack_fields
from synth.verify.vectors import random_codes, random_corners

Json = dict[str, Any]

LANES = 4096
"""Simulations side by side."""

CYCLES = 96
"""Clock cycles of each in which a transfer may come."""

_VALID, _FIRST = 0.85, 0.15
"""Parts of the cycles in which there is a transfer, and of the transfers that start a sum."""

_MAX_PAIR_BITS = 16
"""Operand bits up to which every pair of codes occurs."""


def check_unstreamed(netlist: Mapping[str, Any], model: Stream, *, latency: int, seed: int) -> Json:
    """Run a circuit of :class:`synth.bench.area_circuits.Unstreamed` and compare each of its sums.

    Every transfer asks for its result. Sums start at random, from what the reference starts them from, and from the
    state after power-up; half of the simulations are reset once. Every pair of operands of up to 16 bits together
    occurs.

    Parameters
    ----------
    netlist : mapping
        Yosys' JSON.
    model : Stream
        An accumulator's reference: it gives a result to each transfer with ``last``.
    latency : int, cycles
    seed : int

    Returns
    -------
    dict
        ``method``, ``vectors``, ``mismatches`` and ``first_mismatch``, as :func:`synth.verify.check` has them.

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    """
    generator = np.random.default_rng(seed)
    simulation = make_engine_for(compile_netlist(read_netlist(netlist)), lanes=LANES,
                                 passes=CYCLES + latency).simulation(LANES)
    inputs, valid, resets = _stimulus(model, generator)
    wanted, expected = _expected(model, inputs, valid, resets, latency)
    compared = mismatches = 0
    first: Json | None = None
    for cycle in range(CYCLES + latency):
        now = min(cycle, CYCLES - 1)
        simulation.set("rst", resets[now] & (cycle < CYCLES))
        simulation.set("i__valid", valid[now] & (cycle < CYCLES))
        simulation.set_planes("i__payload", pack_fields(model.inputs, {
            name: codes[now] for name, codes in inputs.items()}))
        if cycle >= latency:
            start = cycle - latency
            got = unpack_fields(model.outputs, simulation.get_planes("o"), LANES)["o"]
            wrong = np.flatnonzero(expected[start] & (got != wanted[start]))
            compared += int(np.count_nonzero(expected[start]))
            mismatches += len(wrong)
            if len(wrong) and first is None:
                lane = int(wrong[0])
                first = {"sequence": lane, "transfer": start, "got": int(got[lane]),
                         "want": int(wanted[start][lane]),
                         "inputs": {name: codes[start, lane].tolist() for name, codes in inputs.items()}}
        simulation.step("clk")
    return {"method": "cycles", "vectors": compared, "mismatches": mismatches, "first_mismatch": first}


def _stimulus(model: Stream, generator: np.random.Generator) -> tuple[
        dict[str, Codes], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the codes of every field, when there is a transfer, and when a reset, by cycle and simulation."""
    count = CYCLES * LANES
    inputs: dict[str, Codes] = {}
    for name, port in model.inputs.items():
        codes, corners = random_codes(port, generator, count), random_corners(port, generator, count)
        chosen = generator.random(count) < 0.25
        codes[chosen] = corners[chosen]
        inputs[name] = codes
    a, b = (model.inputs[name] for name in ("a", "b"))
    if a.lanes is None and a.width + b.width <= _MAX_PAIR_BITS:
        pairs = generator.permutation(np.resize(np.arange(a.codes * b.codes, dtype=np.uint64), count))
        inputs["a"], inputs["b"] = pairs % np.uint64(a.codes), pairs // np.uint64(a.codes)
    inputs["first"] = (generator.random(count) < _FIRST).astype(np.uint64)
    inputs["last"] = np.ones(count, dtype=np.uint64)
    resets = np.zeros((CYCLES, LANES), dtype=bool)
    resets[CYCLES // 2, generator.random(LANES) < 0.5] = True
    valid = (generator.random((CYCLES, LANES)) < _VALID) & ~resets
    return {name: codes.reshape(CYCLES, LANES, *codes.shape[1:]) for name, codes in inputs.items()}, valid, resets


def _expected(model: Stream, inputs: Mapping[str, Codes], valid: NDArray[np.bool_], resets: NDArray[np.bool_],
              latency: int) -> tuple[list[Codes], NDArray[np.bool_]]:
    """Return each transfer's result, and which of them come out: a reset takes what is on its way."""
    run = model.start(LANES)
    wanted: list[Codes] = []
    expected = valid.copy()
    for cycle in range(CYCLES):
        if resets[cycle].any():
            run.reset(resets[cycle])
            expected[max(0, cycle - latency):cycle, resets[cycle]] = False
        results = run.accept({name: codes[cycle] for name, codes in inputs.items()}, valid[cycle])
        wanted.append(results[0][1]["o"] if results else np.zeros(LANES, dtype=np.uint64))
    return wanted, expected
