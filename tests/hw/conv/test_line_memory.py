# amaranth: UnusedElaboratable=no
"""Memories of lines, and the queue of offsets, against lists."""

from collections import deque

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.sim import Simulator

from hw.conv.line_memory import LineMemory
from hw.conv.offset_queue import OffsetQueue


def packed(numbers, limit):
    """Return numbers below a limit side by side, the first one lowest."""
    width = (limit - 1).bit_length()
    return sum(int(number) << width * index for index, number in enumerate(numbers.flat))


def simulate(component, bench):
    simulator = Simulator(ResetInserter(component.reset)(component) if hasattr(component, "reset") else component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("rows", "depth", "read_ports"), [(4, 5, 3), (3, 8, 1), (2, 2, 2)])
def test_words_are_read_a_cycle_later_and_stay_over_a_reset(rows, depth, read_ports):
    component, rng = LineMemory(rows=rows, depth=depth, width=9, read_ports=read_ports), np.random.default_rng(rows)
    component.reset = Signal()
    contents = np.zeros((rows, depth), dtype=int)

    async def bench(ctx):
        held = np.zeros((rows, read_ports), dtype=int)
        for cycle in range(300):
            ctx.set(component.reset, cycle == 150)
            write, read = rng.random(2) < (0.6, 0.7)
            bank, address, word = (int(rng.integers(limit)) for limit in (rows, depth, 512))
            places = rng.integers(0, depth, (rows, read_ports))
            if write:  # what is read while it is written may be anything
                places[bank] = np.where(places[bank] == address, (address + 1) % depth, places[bank])
            for signal, value in ((component.write, write), (component.write_bank, bank),
                                  (component.write_address, address), (component.write_word, word),
                                  (component.read, read), (component.addresses, packed(places, depth))):
                ctx.set(signal, int(value))
            assert ctx.get(component.words) == packed(held, 512), f"cycle {cycle}"
            if read:
                held = np.take_along_axis(contents, places, axis=1)
            if write:
                contents[bank, address] = word
            await ctx.tick()

    simulate(component, bench)


def test_yosys_is_told_that_collisions_do_not_matter():
    text = rtlil.convert(LineMemory(rows=2, depth=4, width=3, read_ports=1), emit_src=False)
    assert text.count("attribute \\no_rw_check") == 2


@pytest.mark.parametrize("depth", [2, 5, 8])
def test_a_queue_gives_its_words_in_order(depth):
    component, rng, waiting = OffsetQueue(width=4, depth=depth), np.random.default_rng(depth), deque()

    async def bench(ctx):
        expected = None
        for cycle in range(400):
            write, read, take = rng.random(3) < (0.6, 0.7, 0.6)
            write &= len(waiting) < depth
            take &= read and len(waiting) > 0
            word = int(rng.integers(16))
            for signal, value in ((component.write, write), (component.write_word, word), (component.read, read),
                                  (component.take, take)):
                ctx.set(signal, int(value))
            if expected is not None:
                assert ctx.get(component.word) == expected, f"cycle {cycle}"
            if read:
                expected = waiting[0] if waiting else None
            if take:
                waiting.popleft()
            if write:
                waiting.append(word)
            await ctx.tick()

    simulate(component, bench)
