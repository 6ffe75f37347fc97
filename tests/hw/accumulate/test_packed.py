"""Sums whose products share multipliers, cycle by cycle beside sums that have their own."""

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from amaranth.sim import Simulator

from hw.accumulate.exact import ExactSum
from hw.accumulate.packed import PackedSums
from hw.arith.packed_product import find_packing
from sw.formats import parse
from sw.reference.emac import ExactMultiplyAccumulate


@pytest.mark.parametrize(("lanes", "outputs", "operand_width", "registers"), [
    (None, 2, 18, 0), (3, 2, 16, 1), (2, 3, 27, 2), (1, 1, 18, 0)])
def test_sums_are_those_of_separate_products(lanes, outputs, operand_width, registers):
    model = ExactMultiplyAccumulate(a=parse("int8"), b=parse("int4"), result=None, terms=8, lanes=lanes,
                                    accumulator_width=16)
    packing = find_packing(4, 8, lanes=outputs, operand_width=operand_width)
    packed = PackedSums(model, packing, sum_registers=registers)
    apart = [ExactSum(model, grid_registers=registers) for _ in range(outputs)]
    assert packed.latency == apart[0].latency == 2 + registers
    rng, count = np.random.default_rng(registers), lanes or 1
    shown = []

    async def bench(ctx):
        for cycle in range(200):
            a, b = rng.integers(0, 256, count), rng.integers(0, 16, (outputs, count))
            if cycle % 5 == 0:
                a[:], b[:] = 0x80, rng.choice([8, 7])
            valid, first = bool(rng.random() < 0.7), bool(rng.random() < 0.2)
            ctx.set(packed.a, a.tolist())
            ctx.set(packed.b, b.reshape(-1).tolist())
            for component in (packed, *apart):
                ctx.set(component.valid, valid)
            ctx.set(packed.first, first)
            for component, weights in zip(apart, b, strict=True):
                ctx.set(Value.cast(component.i.a), sum(int(code) << 8 * lane for lane, code in enumerate(a)))
                ctx.set(Value.cast(component.i.b), sum(int(code) << 4 * lane for lane, code in enumerate(weights)))
                ctx.set(component.i.first, first)
            await ctx.tick()
            if cycle > packed.latency:
                got = [ctx.get(state.sum) for state in packed.state]
                assert got == [ctx.get(component.state.sum) for component in apart], cycle
                shown.extend(got)

    both = Module()
    both.submodules += [packed, *apart]
    simulator = Simulator(both)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(set(shown)) > 100
