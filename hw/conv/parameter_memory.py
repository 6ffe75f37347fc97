"""Parameters of a layer in memory: loaded word by word, read row by row."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import input_layout
from hw.conv.row_memory import RowMemory
from sw.reference.parameter_memory import ParameterMemory as ParameterMemoryModel

__all__ = ["ParameterMemory"]


class ParameterMemory(wiring.Component):
    """Rows of parameters that a datapath goes through again and again, one row a transfer.

    ``row`` shows the row of the current transfer without any delay: while one is taken, the next one is read. After a
    reset it is the first row, from the second cycle on; a word is in the row from the second cycle after its write on.
    The contents are zero at power-up and stay over a reset, which makes the next word the first one again.

    Parameters
    ----------
    rows : int
    fields : tuple of (name, Port)
        What a row holds.
    word : Port
        What is written in a cycle.

    Members
    -------
    write : In(1), word : In(bits of a word)
        The next word; the first word of the first row comes after the last word of the last one.
    last : Out(1)
        Whether the next word is the last one.
    take : In(1)
        Whether the row has been used, and the next cycle is for the next row; the first comes after the last.
    row : Out(layout of the fields)

    Raises
    ------
    TypeError, ValueError
        As the reference ``sw.reference.parameter_memory.ParameterMemory`` does.
    """

    def __init__(self, *, rows, fields, word):
        self._model = ParameterMemoryModel(rows=rows, fields=fields, word=word)
        super().__init__({"write": In(1), "word": In(word.bits), "last": Out(1), "take": In(1),
                          "row": Out(input_layout(dict(fields)))})

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model = self._model
        slot, written_row = Signal(range(model.row_words)), Signal(range(model.rows))
        row, next_row = Signal(range(model.rows)), Signal(range(model.rows))
        ends_row = Signal()
        m.d.comb += [ends_row.eq(slot == model.row_words - 1), self.last.eq(ends_row & (written_row == model.rows - 1)),
                     next_row.eq(Mux(self.take, _after(row, model.rows), row))]
        m.d.sync += row.eq(next_row)
        with m.If(self.write):
            m.d.sync += slot.eq(_after(slot, model.row_words))
            with m.If(ends_row):
                m.d.sync += written_row.eq(_after(written_row, model.rows))
        words = []
        for number in range(model.row_words):
            width = min(model.word.bits, model.row_bits - number * model.word.bits)
            m.submodules[f"words_{number}"] = memory = RowMemory(depth=model.rows, width=width)
            m.d.comb += [memory.write.eq(self.write & (slot == number)), memory.write_address.eq(written_row),
                         memory.write_word.eq(self.word[:width]), memory.read.eq(1), memory.read_address.eq(next_row)]
            words.append(memory.word)
        m.d.comb += self.row.eq(Cat(words))
        return m


def _after(counter, count):
    """Return what follows in a count from 0 to ``count - 1`` and round again."""
    return Mux(counter == count - 1, 0, counter + 1)
