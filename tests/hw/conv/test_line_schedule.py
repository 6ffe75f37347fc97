# amaranth: UnusedElaboratable=no
"""How far writing and reading get without each other."""

import pytest
from amaranth.sim import Simulator

from hw.conv.line_schedule import LineSchedule, fewest_rows, queued_positions
from sw.formats import parse
from sw.reference.bounded_line_buffer import BoundedLineBuffer
from sw.reference.line_buffer import DeformableLineBuffer

INT8 = parse("int8")


def square(height, width, groups=1, stride=1, reach=1):
    return DeformableLineBuffer(element=INT8, lanes=1, height=height, width=width, channel_groups=groups,
                                stride=stride, max_offset=reach)


@pytest.mark.parametrize(("model", "rows"), [
    (square(9, 9, reach=7), 16), (square(9, 9, reach=8), 18), (square(9, 9, reach=0), 2), (square(9, 9, stride=7), 7),
    (BoundedLineBuffer(element=INT8, lanes=1, height=9, width=9), 11),
    (BoundedLineBuffer(element=INT8, lanes=1, height=9, width=9, min_offset=-7), 18)])
def test_fewest_rows(model, rows):
    assert fewest_rows(model) == rows


@pytest.mark.parametrize("model", [square(9, 4, 2), square(3, 2, 1, 2), square(1, 3, 2, 2, 2), square(5, 3, 1, 3),
                                   square(2, 2, 1, 1, 3)])
def test_writing_stops_after_the_rows_ahead(model):
    """With the windows of one row taken at a time, ``lookahead + 1`` rows are written and their offsets are waiting."""
    rows = fewest_rows(model)
    lookahead = rows - model.back - 1
    component = LineSchedule(model, rows=rows, lookahead=lookahead, depth=16)
    written, waiting, most = 0, 0, []

    async def bench(ctx):
        nonlocal written, waiting
        ctx.set(component.shape, {name: getattr(model, name) for name in component.shape.shape().members})
        released = 0
        for _ in range(2 * model.height):
            ctx.set(component.write, 1)
            while ctx.get(component.may_write):
                written, waiting = written + 1, waiting + ctx.get(component.wanted)
                await ctx.tick()
            assert written == (released + lookahead + 1) * model.width * model.channel_groups
            most.append(waiting)
            ctx.set(component.write, 0)
            ctx.set(component.take, 1)
            leaves = 0
            while not leaves:
                assert ctx.get(component.available)
                leaves, waiting = ctx.get(component.leaves), waiting - 1
                ctx.set(component.released, leaves)
                await ctx.tick()
            ctx.set(component.take, 0)
            ctx.set(component.released, 0)
            released += leaves

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert max(most) == queued_positions(model, lookahead)
