"""Positions of a feature map one after the other, and where memories that hold a row each keep them."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RasterPosition", "map_shape", "wrap"]


def map_shape(model):
    """Return the layout of a map's shape: numbers up to those of a reference.

    Parameters
    ----------
    model : sw.reference.map_windows.MapWindows

    Returns
    -------
    amaranth.lib.data.StructLayout
        ``height``, ``width``, ``channel_groups`` and ``stride``, each 1 at least.
    """
    return data.StructLayout({name: range(getattr(model, name) + 1)
                              for name in ("height", "width", "channel_groups", "stride")})


def wrap(value, limit):
    """Return ``value`` modulo ``limit``, for a value of at least ``-limit`` and below ``2 * limit``."""
    value = Value.cast(value)
    wrapped = Mux(value >= limit, value - limit, value)
    if value.shape().signed:
        wrapped = Mux(value < 0, value + limit, wrapped)
    return wrapped[:(limit - 1).bit_length()]


class RasterPosition(wiring.Component):
    """The position of a transfer in a map, in raster order: rows, then columns, then groups of channels.

    Row y of all maps together, counted on from one to the next, lies in bank ``y mod rows``, and in there group c of
    column x at address ``x * channel_groups + c``.

    Parameters
    ----------
    model : sw.reference.map_windows.MapWindows
        Whose numbers are the largest that a shape may have.
    rows : int
        Number of banks; no less than the stride.
    depth : int
        Words of a bank; no less than a row takes.

    Members
    -------
    shape : In(map_shape(model))
        To be changed in a reset only.
    step : In(1)
        Whether the next cycle is for the next position.
    y, x, group : Out
        Position.
    bank : Out(range(rows)), address : Out(range(depth))
    last_group, last_column, last_row : Out(1)
        Whether no further group, column, row follows: column and row being multiples of the stride.
    ends_row : Out(1)
        Whether the next position lies in another row, or in another map.
    advance : Out
        How many rows further the next row is, the next map's first one coming after all rows of this one.
    """

    def __init__(self, model, *, rows, depth):
        self._rows = rows
        super().__init__({
            "shape": In(map_shape(model)), "step": In(1), "y": Out(range(model.height)), "x": Out(range(model.width)),
            "group": Out(range(model.channel_groups)), "bank": Out(range(rows)), "address": Out(range(depth)),
            "last_group": Out(1), "last_column": Out(1), "last_row": Out(1), "ends_row": Out(1),
            "advance": Out(range(model.stride + 1))})

    def elaborate(self, platform):
        m = Module()
        shape = self.shape
        next_y, next_x = self.y + shape.stride, self.x + shape.stride
        m.d.comb += [
            self.last_group.eq(self.group + 1 == shape.channel_groups),
            self.last_column.eq(next_x >= shape.width),
            self.last_row.eq(next_y >= shape.height),
            self.ends_row.eq(self.last_group & self.last_column),
            self.advance.eq(Mux(self.last_row, shape.height - self.y, shape.stride)),
        ]
        with m.If(self.step):
            m.d.sync += [self.group.eq(self.group + 1), self.address.eq(self.address + 1)]
            with m.If(self.last_group):
                m.d.sync += [self.group.eq(0), self.x.eq(next_x),
                             self.address.eq(self.address + 1 + (shape.stride - 1) * shape.channel_groups)]
            with m.If(self.ends_row):
                m.d.sync += [self.x.eq(0), self.address.eq(0), self.bank.eq(wrap(self.bank + self.advance, self._rows)),
                             self.y.eq(Mux(self.last_row, 0, next_y))]
        return m
