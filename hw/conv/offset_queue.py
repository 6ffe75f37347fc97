"""Offsets that wait for the lines below theirs."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.conv.line_memory import UNDEFINED_COLLISIONS, read_later

__all__ = ["OffsetQueue"]


class OffsetQueue(wiring.Component):
    """A queue in a memory, whose first word is read a cycle ahead.

    Who uses it sees to it that no word is written into a full one or taken from an empty one.

    Parameters
    ----------
    width : int, bits
        Of a word.
    depth : int
        Words: 2 at least.

    Members
    -------
    write : In(1), write_word : In(width)
    read : In(1)
        Whether ``word`` becomes the first word at the end of this cycle.
    take : In(1)
        Whether the first word leaves the queue then.
    word : Out(width)
    """

    def __init__(self, *, width, depth):
        self._width, self._depth = width, depth
        super().__init__({"write": In(1), "write_word": In(width), "read": In(1), "take": In(1), "word": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._depth, init=[],
                                              attrs=UNDEFINED_COLLISIONS)
        first, end, writer = Signal(range(self._depth)), Signal(range(self._depth)), memory.write_port()
        for address, moves in ((end, self.write), (first, self.take)):
            with m.If(moves):
                m.d.sync += address.eq(Mux(address == self._depth - 1, 0, address + 1))
        m.d.comb += [writer.en.eq(self.write), writer.addr.eq(end), writer.data.eq(self.write_word),
                     self.word.eq(read_later(m, memory, first, self.read, name="word"))]
        return m
