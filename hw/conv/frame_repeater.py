"""Frames of a stream, each given out several times."""

from amaranth.hdl import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.conv.row_memory import RowMemory
from sw.formats.check import check_integer

__all__ = ["FrameRepeater"]


class FrameRepeater(wiring.Component):
    """Give out each frame of ``length`` words ``repeats`` times, while the next one comes in.

    Two banks of memory change places: throughput is one word a cycle at both sides, so that a frame takes
    ``length * repeats`` cycles in steady state, without a gap between frames. The first word of a frame leaves
    ``latency`` cycles after the last one has come.

    Parameters
    ----------
    width : int, bits
        Of a word.
    length : int
        Words of a frame.
    repeats : int
        How often it is given out.

    Members
    -------
    i : In(stream)
        Words.
    o : Out(stream)
        ``word``, and ``first`` and ``last``, set on the first and last word of each repetition.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer, or less than 1.
    """

    def __init__(self, *, width, length, repeats):
        for noun, number in (("Word width", width), ("Frame length", length), ("Repeats", repeats)):
            check_integer(noun, number)
            if number < 1:
                raise ValueError(f"{noun} must be at least 1, not {number!r}")
        self._width, self._length, self._repeats = width, length, repeats
        super().__init__({
            "i": In(stream.Signature(unsigned(width))),
            "o": Out(stream.Signature(data.StructLayout({"word": width, "first": 1, "last": 1})))})

    @property
    def latency(self):
        """Cycles from the last word of a frame to the first one of its first repetition."""
        return 2

    def elaborate(self, platform):
        m = Module()
        length, repeats = self._length, self._repeats
        advance, chosen = Signal(), Signal(reset_less=True)
        written, read, full = Signal(), Signal(), Signal(2)  # banks that are written and read next, and which are full
        write_place, place, repeat = Signal(range(length)), Signal(range(length)), Signal(range(repeats))
        accepted, issued, completes, empties = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~full.bit_select(written, 1)), accepted.eq(self.i.valid & self.i.ready),
            issued.eq(advance & full.bit_select(read, 1)),
            completes.eq(accepted & (write_place == length - 1)),
            empties.eq(issued & (place == length - 1) & (repeat == repeats - 1)),
        ]
        with m.If(accepted):
            m.d.sync += write_place.eq(Mux(completes, 0, write_place + 1))
        with m.If(issued):
            m.d.sync += place.eq(Mux(place == length - 1, 0, place + 1))
            with m.If(place == length - 1):
                m.d.sync += repeat.eq(Mux(repeat == repeats - 1, 0, repeat + 1))
        m.d.sync += [written.eq(written ^ completes), read.eq(read ^ empties),
                     full.eq((full | completes << written) & ~(empties << read)[:2])]
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(issued), chosen.eq(read), self.o.payload.first.eq(place == 0),
                         self.o.payload.last.eq(place == length - 1)]
        words = []
        for index in range(2):
            m.submodules[f"bank_{index}"] = bank = RowMemory(depth=length, width=self._width)
            m.d.comb += [bank.write.eq(accepted & (written == index)), bank.write_address.eq(write_place),
                         bank.write_word.eq(self.i.payload), bank.read.eq(advance & (read == index)),
                         bank.read_address.eq(place)]
            words.append(bank.word)
        m.d.comb += self.o.payload.word.eq(Mux(chosen, words[1], words[0]))
        return m
