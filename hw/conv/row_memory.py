"""A memory that is either written or read."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.conv.line_memory import UNDEFINED_COLLISIONS, read_later

__all__ = ["RowMemory"]


class RowMemory(wiring.Component):
    """``depth`` words with a port for writing and one for reading, of which writing comes first.

    A word read is there one cycle later, and stays until another one is read. A word written can be read in the next
    cycle; in the cycle of a write nothing is read, so that it does not matter what a block memory would show then. The
    contents are zero at power-up and stay over a reset.

    Blocks / LUTs / flip-flops of 512 words of 40 bits with yosys 0.70, and in brackets those of a read port that shows
    the old word, as Amaranth's own does: iCE40 5 / 41 / 1 (5 / 54 / 91), ECP5 2 / 1 / 0 (2 / 54 / 91), Gowin 2 / 1 / 0
    (2 / 54 / 91); on Nexus and Xilinx a block or two and a LUT in both.

    Parameters
    ----------
    depth : int
        Words.
    width : int, bits
        Of a word.

    Members
    -------
    write : In(1), write_address : In(range(depth)), write_word : In(width)
    read : In(1), read_address : In(range(depth))
    word : Out(width)
    """

    def __init__(self, *, depth, width):
        self._depth, self._width = depth, width
        super().__init__({"write": In(1), "write_address": In(range(depth)), "write_word": In(width),
                          "read": In(1), "read_address": In(range(depth)), "word": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Memory(shape=self._width, depth=self._depth, init=[], attrs=UNDEFINED_COLLISIONS)
        writer = words.write_port()
        m.d.comb += [writer.en.eq(self.write), writer.addr.eq(self.write_address), writer.data.eq(self.write_word),
                     self.word.eq(read_later(m, words, self.read_address, self.read & ~self.write, name="read_word"))]
        return m
