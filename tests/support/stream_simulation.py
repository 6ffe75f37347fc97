"""A component between two streams, simulated with random stalls at both sides: by Amaranth, or as a netlist."""

import numpy as np
from amaranth.hdl import Value
from amaranth.sim import Simulator

from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.verify.ports import pack_fields, unpack_fields


def simulate(component, payloads, count, *, offer=1.0, take=1.0, seed=0, limit=100_000):
    """Return the results of transfers, and when they went.

    Parameters
    ----------
    component : Component
        With streams ``i`` and ``o``.
    payloads : iterable of int
        The bits of each transfer.
    count : int
        How many results to wait for.
    offer, take : float
        How often a transfer is offered, and a result taken, in a cycle.
    limit : int, cycles

    Returns
    -------
    tuple of list
        Bits of the results; cycles in which transfers were accepted, and results taken, from 0 up.
    """
    rng, payloads = np.random.default_rng(seed), list(payloads)
    results, accepted, taken = [], [], []
    i, o = component.i, component.o

    async def bench(ctx):
        place, offered = 0, False
        for cycle in range(limit):
            offered = place < len(payloads) and (offered or rng.random() < offer)
            ctx.set(i.valid, offered)
            if offered:
                ctx.set(Value.cast(i.payload), payloads[place])
            ready = rng.random() < take
            ctx.set(o.ready, ready)
            if offered and ctx.get(i.ready):
                place, offered = place + 1, False
                accepted.append(cycle)
            if ready and ctx.get(o.valid):
                results.append(ctx.get(Value.cast(o.payload)))
                taken.append(cycle)
            if len(results) == count:
                return
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(results) == count, f"seed {seed}: {len(results)} of {count} results in {limit} cycles"
    return results, accepted, taken


def run_netlist(document, model, transfers, count, *, seed=0, patience=2000):
    """Run several sequences of transfers through the netlist of a component between streams, with random stalls.

    Parameters
    ----------
    document : Yosys' JSON object
    model : Stream
    transfers : dict of field name to codes, ``(transfers, sequences)`` or with lanes
    count : int
        Results of each sequence.
    seed : int
        Sequence s stalls by a chance of its own at either side, sequence 0 never.
    patience : int, cycles
        Without any transfer before the netlist counts as stuck.

    Returns
    -------
    dict of field name to codes, ``(results, sequences)`` or with lanes
    """
    rng = np.random.default_rng(seed)
    total, sequences = next(iter(transfers.values())).shape[:2]
    every = np.arange(sequences)
    rates = np.where(every == 0, 1.0, rng.uniform(0.2, 1.0, (2, sequences)))
    simulation = NumpyEngine(compile_netlist(read_netlist(document))).simulation(sequences)
    place, came, idle = np.zeros(sequences, int), np.zeros(sequences, int), 0
    offered = np.zeros(sequences, dtype=bool)
    results = {name: np.zeros((count, sequences) if port.lanes is None else (count, sequences, port.lanes), np.uint64)
               for name, port in model.outputs.items()}
    while (came < count).any():
        offered = (offered | (rng.random(sequences) < rates[0])) & (place < total)
        takes = rng.random(sequences) < rates[1]
        number = np.minimum(place, total - 1)
        simulation.set("rst", 0)
        simulation.set("i__valid", offered)
        simulation.set("o__ready", takes)
        simulation.set_planes("i__payload", pack_fields(model.inputs, {
            name: codes[number, every] for name, codes in transfers.items()}))
        accepted = offered & simulation.get("i__ready").astype(bool)
        arrived = np.flatnonzero(takes & simulation.get("o__valid").astype(bool))
        got = unpack_fields(model.outputs, simulation.get_planes("o__payload"), sequences)
        assert (came[arrived] < count).all(), "more results than there should be"
        for name, codes in got.items():
            results[name][came[arrived], arrived] = codes[arrived]
        came[arrived] += 1
        place += accepted
        offered &= ~accepted
        idle = 0 if len(arrived) or accepted.any() else idle + 1
        assert idle < patience, f"stuck after {place.tolist()} of {total} transfers, {came.tolist()} of {count} results"
        simulation.step("clk")
    return results
