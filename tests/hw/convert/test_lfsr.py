# amaranth: UnusedElaboratable=no
"""The shift register against its reference, state by state."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.sim import Simulator

from hw.convert.lfsr import Lfsr


@pytest.mark.parametrize(("width", "seed"), [(2, 1), (3, 5), (8, 0xA5), (16, 0xACE1), (37, 1), (64, (1 << 64) - 1)])
def test_states_follow_the_reference_and_wait_when_not_advanced(width, seed):
    lfsr, rng = Lfsr(width, seed=seed), random.Random(width)
    reset = Signal()

    async def testbench(ctx):
        state = seed
        for cycle in range(300):
            assert ctx.get(lfsr.state) == state, cycle
            advance, restart = rng.random() < 0.7, rng.random() < 0.02
            ctx.set(lfsr.advance, advance)
            ctx.set(reset, restart)
            await ctx.tick()
            state = seed if restart else lfsr.model.step(state) if advance else state

    simulator = Simulator(ResetInserter(reset)(lfsr))
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("width", [2, 9])
def test_the_whole_period(width):
    lfsr, seen = Lfsr(width), []

    async def testbench(ctx):
        ctx.set(lfsr.advance, 1)
        for _ in range(lfsr.model.period):
            seen.append(ctx.get(lfsr.state))
            await ctx.tick()
        assert ctx.get(lfsr.state) == lfsr.seed

    simulator = Simulator(lfsr)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert sorted(seen) == list(range(1, 1 << width))


def test_properties_and_elaboration():
    lfsr = Lfsr(12, seed=77)
    assert (lfsr.width, lfsr.seed, len(lfsr.state), lfsr.model.seed) == (12, 77, 12, 77)
    first, second = (rtlil.convert(lfsr, emit_src=False) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("width", "seed", "error", "message"), [
    (1, 1, ValueError, "LFSR width must be between 2 and 64 bits, not 1"),
    (8, 0, ValueError, "LFSR seed must be above 0, the state that it never leaves, not 0"),
    (8, 1.0, TypeError, "LFSR seed must be an integer, not 1.0"),
])
def test_wrong_parameters(width, seed, error, message):
    with pytest.raises(error, match=message):
        Lfsr(width, seed=seed)
