"""Where the nine samples of a square deformable convolution are: three banks, three addresses, and what is outside."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.conv.raster import map_shape, wrap
from hw.pipeline import delay

__all__ = ["DeformableAddressGenerator"]


class DeformableAddressGenerator(wiring.Component):
    """Banks and addresses of the samples at ``(y + ky * d, x + kx * d)``, for ky and kx of -1, 0 and 1.

    All nine lie in three rows, which different banks hold as long as there are more than ``2 * d`` of them, and in
    three columns, which have the same addresses in each of these banks: memories that give three words a cycle, wanted
    at the same three addresses in every bank, serve them at once. That is what square offsets are for.

    Latency is 1 cycle; throughput is one position per cycle.

    Parameters
    ----------
    model : sw.reference.line_buffer.DeformableLineBuffer
        Its shape and stride are the largest that occur, its reach the largest offset.
    rows : int
        Number of banks; above the largest offset.
    depth : int
        Words of a bank.

    Members
    -------
    enable : In(1)
        Whether the outputs change at the end of this cycle.
    shape : In(map_shape(model))
    y, x, bank, address : In
        Position, its row's bank, and where its word is in there: see :class:`hw.conv.raster.RasterPosition`.
    offset : In(range(reach + 1))
        The distance d.
    banks, addresses : Out(3 numbers)
        Of the rows and columns -d, 0, +d. What lies outside the map means nothing.
    row_inside, column_inside : Out(3)
        Whether these rows and columns lie in the map.

    Source: CoDeNet (arXiv 2006.08357), the addressing of its line buffer.
    """

    latency = 1

    def __init__(self, model, *, rows, depth):
        self._rows, self._depth = rows, depth
        super().__init__({
            "enable": In(1), "shape": In(map_shape(model)), "y": In(range(model.height)), "x": In(range(model.width)),
            "bank": In(range(rows)), "address": In(range(depth)), "offset": In(range(model.reach + 1)),
            "banks": Out(3 * (rows - 1).bit_length()), "addresses": Out(3 * (depth - 1).bit_length()),
            "row_inside": Out(3), "column_inside": Out(3)})

    def elaborate(self, platform):
        m = Module()
        shape, d = self.shape, self.offset
        distance = Signal(range(self._depth))  # further than a row is long only for columns outside
        m.d.comb += distance.eq(d * shape.channel_groups)
        computed = {
            "banks": Cat(wrap(self.bank - d, self._rows), self.bank, wrap(self.bank + d, self._rows)),
            "addresses": Cat(wide[:len(self.address)] for wide in (
                self.address - distance, self.address, self.address + distance)),
            "row_inside": Cat(self.y >= d, C(1), self.y + d < shape.height),
            "column_inside": Cat(self.x >= d, C(1), self.x + d < shape.width),
        }
        for name, value in computed.items():
            with m.If(self.enable):
                value = delay(m, value, 1, name=f"{name}_1")
            m.d.comb += getattr(self, name).eq(value)
        return m
