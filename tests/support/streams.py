"""A component between two streams in Amaranth's simulator: what comes out, and in which cycles."""

from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from tests.support.clocked_gates import pack_payload


@dataclass
class StreamRun:
    """What a simulation saw: cycles in which transfers were accepted, and results with theirs."""

    accepted: list = field(default_factory=list)
    results: list = field(default_factory=list)
    left: list = field(default_factory=list)
    cycles: int = 0


def simulate_stream(component, transfers, *, results, offers=1.0, takes=1.0, seed=0, limit=100_000, settings=()):
    """Offer transfers, and take results until there are as many as wanted.

    Parameters
    ----------
    component : Component
        With streams ``i`` and ``o`` and a model.
    transfers : list of dict of field name to code or codes
    results : int
    offers, takes : float
        Probabilities that a transfer is offered, and a result taken, in a cycle.
    limit : int
        Cycles after which the simulation is a failure.
    settings : iterable of (signal, value)
        Further input ports, and what they are throughout.

    Returns
    -------
    StreamRun
    """
    run, rng, packed = StreamRun(), np.random.default_rng(seed), [_pack(component.model, one) for one in transfers]

    async def bench(ctx):
        offered, number = False, 0
        for signal, value in settings:
            ctx.set(signal, value)
        while len(run.results) < results or number < len(transfers):
            assert run.cycles < limit, f"{component}: {len(run.results)} of {results} results in {run.cycles} cycles"
            offered = number < len(transfers) and (offered or rng.random() < offers)
            takes_one = rng.random() < takes
            if offered:
                ctx.set(component.i.payload.as_value(), packed[number])
            ctx.set(component.i.valid, offered)
            ctx.set(component.o.ready, takes_one)
            accepted = offered and ctx.get(component.i.ready)
            if takes_one and ctx.get(component.o.valid):
                run.results.append(_unpack(component.model, ctx.get(component.o.payload.as_value())))
                run.left.append(run.cycles)
            if accepted:
                run.accepted.append(run.cycles)
                offered, number = False, number + 1
            run.cycles += 1
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return run


def _pack(model, transfer):
    codes = {name: np.array([transfer[name]], dtype=np.uint64) for name in model.inputs}
    return sum(int(plane[0]) << bit for bit, plane in enumerate(pack_payload(model.inputs, codes)))


def _unpack(model, word):
    codes = {}
    for name, port in model.outputs.items():
        mask = (1 << port.width) - 1
        lanes = [word >> port.width * lane & mask for lane in range(port.lanes or 1)]
        codes[name], word = lanes if port.lanes else lanes[0], word >> port.bits
    return codes
