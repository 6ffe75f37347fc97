"""The handshake around an accumulator: a stream of pairs in, a stream of results out."""

from amaranth.hdl import *
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

__all__ = ["connect_streams", "input_layout", "stream_members"]


def input_layout(ports):
    """Return the layout of a transfer with these ports: the first one in the lowest bits, as in every netlist.

    Parameters
    ----------
    ports : mapping of name to sw.reference.model.Port

    Returns
    -------
    amaranth.lib.data.StructLayout
        A port without lanes is a field of plain bits, one with lanes an array.
    """
    return data.StructLayout({
        name: unsigned(port.width) if port.lanes is None else data.ArrayLayout(unsigned(port.width), port.lanes)
        for name, port in ports.items()})


def stream_members(model):
    """Return the members ``i`` and ``o`` of a component that does what a stream reference describes."""
    return {"i": In(stream.Signature(input_layout(model.inputs))),
            "o": Out(stream.Signature(input_layout(model.outputs)))}


def connect_streams(m, i, o, *, core, latency):
    """Let a pipeline that knows no handshake serve two streams, and stand still whenever its result has to wait.

    No transfer is lost, doubled or reordered. ``o.valid`` does not depend on ``o.ready``, and a result stays until it
    is taken, as the rules of streams ask (Amaranth, Data streams).

    Parameters
    ----------
    m : Module
        Gets ``core`` as the submodule ``core``.
    i : stream interface
        A field ``last`` of its payload marks the transfers that have a result; without such a field each has one.
    o : stream interface
    core : Component
        Members ``valid`` (1 bit, whether there is a transfer in this cycle), ``i`` (the payload) and ``o`` (the result
        of the transfer ``latency`` cycles ago). Its registers are of domain ``sync``. Where it holds DSP blocks
        (:class:`hw.arith.multiply_add.MultiplyAdd`), a member ``enable`` tells them when to stand still.
    latency : int, cycles
    """
    advance = Signal()
    m.submodules.core = EnableInserter(advance)(core)
    m.d.comb += [
        advance.eq(~o.valid | o.ready), i.ready.eq(advance),
        core.valid.eq(i.valid), core.i.eq(i.payload), o.payload.eq(core.o),
    ]
    if "enable" in core.signature.members:
        m.d.comb += core.enable.eq(advance)
    ended = i.valid & i.payload.last if "last" in i.payload.shape().members else i.valid
    for cycle in range(latency):
        stage = Signal(name=f"ended_{cycle + 1}")
        with m.If(advance):
            m.d.sync += stage.eq(ended)
        ended = stage
    m.d.comb += o.valid.eq(ended)
