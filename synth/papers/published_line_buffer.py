"""The line buffer as CoDeNet's authors released it, in its size: what the recipe shows to be too small."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring

from hw.accumulate.streamed import stream_members
from hw.conv.line_buffer import LineBufferCore

LINES, LOOKAHEAD = 15, 8
"""Image lines, and how many rows ahead of reading it writes (github.com/hqjenny/CoDeNet)."""


class PublishedLineBuffer(wiring.Component):  # type: ignore[misc]
    """Our buffer with the released one's number of lines, which :class:`hw.conv.line_buffer.DeformableLineBuffer`
    refuses for offsets above 6.

    Parameters
    ----------
    model : sw.reference.line_buffer.DeformableLineBuffer
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        super().__init__(stream_members(model))

    @property
    def latency(self) -> int:
        """Cycles from a transfer to the first window that it causes."""
        return 5

    def elaborate(self, platform: Any) -> Any:
        m, model = Module(), self.model
        m.submodules.core = core = LineBufferCore(model, rows=LINES, lookahead=LOOKAHEAD, read_ports=3,
                                                  depth=model.width * model.channel_groups)
        wiring.connect(m, core.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), core.o)
        m.d.comb += [core.shape[name].eq(getattr(model, name)) for name in core.shape.shape().members]
        return m
