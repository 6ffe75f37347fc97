# amaranth: UnusedElaboratable=no
"""Positions in raster order against nested loops."""

import pytest
from amaranth.hdl import *
from amaranth.sim import Simulator

from hw.conv.raster import RasterPosition, wrap
from sw.formats import parse
from sw.reference.line_buffer import DeformableLineBuffer

LARGEST = DeformableLineBuffer(element=parse("int8"), lanes=1, height=6, width=5, channel_groups=3, stride=3)


def expected(shape, rows, maps):
    """Return y, x, group, bank, address, ends_row and advance of each position, in order."""
    height, width, groups, stride = shape
    positions = []
    for first in range(0, maps * height, height):
        for y in range(0, height, stride):
            for x in range(0, width, stride):
                for group in range(groups):
                    ends = x + stride >= width and group == groups - 1
                    positions.append((y, x, group, (first + y) % rows, x * groups + group, ends,
                                      min(stride, height - y)))
    return positions


@pytest.mark.parametrize("shape", [(6, 5, 3, 1), (1, 1, 1, 1), (1, 5, 2, 2), (5, 1, 3, 1), (4, 5, 1, 3), (6, 4, 2, 2)])
@pytest.mark.parametrize("rows", [4, 7])
def test_positions_follow_each_other_over_maps(shape, rows):
    component, wanted = RasterPosition(LARGEST, rows=rows, depth=15), expected(shape, rows, maps=4)

    async def bench(ctx):
        ctx.set(component.shape, dict(zip(("height", "width", "channel_groups", "stride"), shape, strict=True)))
        for number, position in enumerate(wanted):
            for step in (0, 1) if number % 3 == 0 else (1,):  # without a step, nothing moves
                ctx.set(component.step, step)
                got = tuple(ctx.get(signal) for signal in (
                    component.y, component.x, component.group, component.bank, component.address, component.ends_row,
                    component.advance))
                assert got == position, f"position {number}: got {got}, want {position}"
                await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("limit", [2, 7, 8])
def test_wrap_is_the_remainder(limit):
    positive, negative = Signal(range(2 * limit)), Signal(range(-limit, limit))
    outputs, m = [Signal(8), Signal(8)], Module()
    m.d.comb += [outputs[0].eq(wrap(positive, limit)), outputs[1].eq(wrap(negative, limit))]

    async def bench(ctx):
        for value in range(2 * limit):
            ctx.set(positive, value)
            assert ctx.get(outputs[0]) == value % limit
        for value in range(-limit, limit):
            ctx.set(negative, value)
            assert ctx.get(outputs[1]) == value % limit

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
