"""Memories that hold a line of an image each."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["UNDEFINED_COLLISIONS", "LineMemory", "read_later", "select_word", "split_words"]


UNDEFINED_COLLISIONS = {"no_rw_check": 1}
"""Attribute of a memory for Yosys' ``memory_dff``: what is read while it is written may be anything.

Where block memories do not give the old word then, as those of iCE40, ECP5 and Gowin do not, Yosys 0.70 otherwise adds
a comparison of addresses, two registers and a multiplexer a bit to each read port. It looks at the attribute only
where it makes a read port of an asynchronous one and a register, hence :func:`read_later`.
"""


def read_later(m, memory, address, enable, *, name):
    """Return the word of a memory that stood at ``address`` in the last cycle in which ``enable`` was set."""
    port, word = memory.read_port(domain="comb"), Signal(memory.shape, name=name, reset_less=True)
    m.d.comb += port.addr.eq(address)
    with m.If(enable):
        m.d.sync += word.eq(port.data)
    return word


def split_words(value, count):
    """Return the ``count`` words of one width that stand side by side in a value.

    Members that hold several words are plain vectors here, not arrays: an array's second word has the name ``words[1]``
    in a netlist, which abc9 of Yosys 0.70 takes for the second bit of ``words`` where it meets both, so that it stops,
    or drives one bit twice.
    """
    value = Value.cast(value)
    width = len(value) // count
    return [value[index * width:(index + 1) * width] for index in range(count)]


def select_word(words, index):
    """Return the one of several words of the same width that ``index`` says, as an unsigned value."""
    return Cat(words).word_select(index, len(words[0]))


class LineMemory(wiring.Component):
    """``rows`` banks of ``depth`` words, one of which is written in a cycle while all of them are read.

    A word read is there one cycle after its address. Nothing is promised of a word that is written while it is read.
    The contents stay over a reset.

    Parameters
    ----------
    rows : int
        Number of banks.
    depth : int
        Words of a bank.
    width : int, bits
        Of a word.
    read_ports : int
        Words that a bank gives in a cycle: block memories have one port besides that for writing, so that each takes a
        copy of the contents.

    Members
    -------
    write : In(1), write_bank : In(range(rows)), write_address : In(range(depth)), write_word : In(width)
    read : In(1)
        Whether ``words`` change at the end of this cycle.
    addresses : In(rows * read_ports numbers)
        Of the first bank's ports, then those of the second.
    words : Out(rows * read_ports words)
        What they give.
    """

    def __init__(self, *, rows, depth, width, read_ports):
        self._rows, self._depth, self._width, self._read_ports = rows, depth, width, read_ports
        super().__init__({
            "write": In(1), "write_bank": In(range(rows)), "write_address": In(range(depth)), "write_word": In(width),
            "read": In(1), "addresses": In(rows * read_ports * (depth - 1).bit_length()),
            "words": Out(rows * read_ports * width)})

    def elaborate(self, platform):
        m, ports = Module(), self._rows * self._read_ports
        addresses, words = split_words(self.addresses, ports), []
        for row in range(self._rows):
            m.submodules[f"bank_{row}"] = bank = Memory(shape=self._width, depth=self._depth, init=[],
                                                        attrs=UNDEFINED_COLLISIONS)
            writer = bank.write_port()
            m.d.comb += [writer.en.eq(self.write & (self.write_bank == row)), writer.addr.eq(self.write_address),
                         writer.data.eq(self.write_word)]
            for port in range(self._read_ports):
                words.append(read_later(m, bank, addresses[len(words)], self.read, name=f"word_{row}_{port}"))
        m.d.comb += self.words.eq(Cat(words))
        return m
