"""Writing and reading lines at the same time: where each of them is, and which of them has to wait."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.conv.raster import RasterPosition, map_shape

__all__ = ["LineSchedule", "fewest_rows", "queued_positions"]


def fewest_rows(model):
    """Return how many rows writing that never waits for reading takes.

    While windows of row r are read, which reach from row ``r - back`` to row ``r + reach``, the one after that is being
    written at most, since its begin overlaps the end of row r.
    """
    return max(model.back + model.reach + 2, model.stride)


def queued_positions(model, lookahead):
    """Return how many positions with a window ``lookahead + 1`` rows that follow each other have at most."""
    has_windows = [y % model.stride == 0 for y in range(model.height)]
    rows = max(sum(has_windows[(first + row) % model.height] for row in range(lookahead + 1))
               for first in range(model.height))
    return rows * -(-model.width // model.stride) * model.channel_groups


class LineSchedule(wiring.Component):
    """The position that is written next, and that whose window is read next.

    The two go on independently of each other, across the borders of maps too. A window has to wait until everything
    is written that any offset could ask for; writing has to wait until the windows that may need a row are read before
    it replaces that row.

    Parameters
    ----------
    model : sw.reference.map_windows.MapWindows
        Its shape and stride are the largest that occur.
    rows : int
        Number of banks; no less than the stride.
    lookahead : int
        How many rows further than the first one that is not released the row that is written may be. What is read is
        right with ``rows - back - 1`` at most; there is no end to the waiting below ``reach``; from ``reach + 1`` up,
        writing does not wait for reading that keeps pace.
    depth : int
        Words of a bank.

    Members
    -------
    shape : In(map_shape(model))
        To be changed in a reset only.
    write : In(1), may_write : Out(1)
        Whether a transfer is written in this cycle, and whether one may be.
    wanted : Out(1)
        Whether the position that is written has a window.
    written : Out(StructLayout)
        ``bank`` and ``address`` of the position that is written.
    take : In(1), available : Out(1)
        Whether the window that is next is taken in this cycle, and whether everything that it needs has been written.
    position : Out(StructLayout)
        ``y``, ``x``, ``bank`` and ``address`` of the position of that window.
    leaves : Out
        How many rows are no longer needed once the window that is taken in this cycle has been read; 0 without one.
    released : In
        How many rows are released at the end of this cycle: ``leaves``, some cycles later.
    """

    def __init__(self, model, *, rows, lookahead, depth):
        self._model, self._rows, self._lookahead, self._depth = model, rows, lookahead, depth
        place = {"bank": range(rows), "address": range(depth)}
        advance = range(model.stride + 1)
        super().__init__({
            "shape": In(map_shape(model)), "write": In(1), "may_write": Out(1), "wanted": Out(1),
            "written": Out(data.StructLayout(place)), "take": In(1), "available": Out(1),
            "position": Out(data.StructLayout({"y": range(model.height), "x": range(model.width), **place})),
            "leaves": Out(advance), "released": In(advance)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.writing = writing = RasterPosition(self._model, rows=self._rows, depth=self._depth)
        m.submodules.reading = reading = RasterPosition(self._model, rows=self._rows, depth=self._depth)
        m.d.comb += [
            writing.shape.eq(self.shape), writing.shape.stride.eq(1), writing.step.eq(self.write),
            reading.shape.eq(self.shape), reading.step.eq(self.take),
            *(self.written[name].eq(getattr(writing, name)) for name in self.written.shape().members),
            *(self.position[name].eq(getattr(reading, name)) for name in self.position.shape().members),
            self.leaves.eq(Mux(self.take & reading.ends_row, reading.advance, 0)),
            self.wanted.eq(self._has_window(m, writing)),
        ]
        reach, span = self._model.reach, self._rows + self._model.stride + 1
        # Rows from that of the next window, and from the first that is not released, to that being written.
        ahead, occupied = Signal(range(-span, span)), Signal(range(-span, span))
        completed = self.write & writing.ends_row
        m.d.sync += [ahead.eq(ahead + completed - self.leaves), occupied.eq(occupied + completed - self.released)]
        needed, below = Signal(range(reach + 1)), self.shape.height - 1 - reading.y
        m.d.comb += [
            self.may_write.eq(occupied <= self._lookahead),
            needed.eq(Mux(below < reach, below, reach)),
            self.available.eq((ahead > needed) | ((ahead == needed) & (writing.x > reading.x + reach))),
        ]
        return m

    def _has_window(self, m, writing):
        """Whether row and column of the position that is written are multiples of the stride."""
        if self._model.stride == 1:
            return C(1)
        row, column = (Signal(range(self._model.stride), name=name) for name in ("row_phase", "column_phase"))
        for phase, moves, last in ((column, writing.last_group, writing.last_column),
                                   (row, writing.ends_row, writing.last_row)):
            with m.If(writing.step & moves):
                m.d.sync += phase.eq(Mux(last | (phase + 1 == self.shape.stride), 0, phase + 1))
        return (row == 0) & (column == 0)
