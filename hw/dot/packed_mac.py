"""Multiply-accumulators that share one DSP block: operands side by side in one factor, sums in one register."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.integer_product import multiply_integers
from hw.arith.multiply_add import MultiplyAdd
from hw.dot.packed_lanes import borrow_lanes, join_lanes, take_lanes_apart
from hw.pipeline import delay
from sw.formats.check import check_boolean
from sw.reference.packed_mac import PackedMultiplyAccumulate

__all__ = ["PackedMac"]


class PackedMac(wiring.Component):
    """Sums of the products of several operands with one that they share, on one multiplier, between two streams.

    Latency is 3 cycles of domain ``sync``, those of a DSP block; throughput is one transfer per cycle. The results are
    those of ``sw.reference.packed_mac.PackedMultiplyAccumulate``.

    DSP blocks / LUTs / flip-flops with yosys 0.70 and hard multipliers. Where a block does not hold the packed factor,
    the synthesizer takes several, and the sum is in the fabric:

    ======================  ===========  =============  ============  =============  ===========  ===========
    operands                iCE40        ECP5           Nexus         Gowin          Xilinx 7     UltraScale+
    ======================  ===========  =============  ============  =============  ===========  ===========
    int8 pair, 7 products   2 / 97 / 42  2 / 114 / 102  1 / 168 / 42  2 / 112 / 102  2 / 50 / 59  1 / 15 / 6
    int4 pair, 4 products   1 / 43 / 6   1 / 46 / 24    1 / 22 / 4    1 / 26 / 6     1 / 10 / 5   1 / 11 / 6
    ======================  ===========  =============  ============  =============  ===========  ===========

    Parameters
    ----------
    a, b : FixedPointFormat
        Of the operands side by side, and of the one that they share.
    lanes, terms, spacing : int
        As the reference has them.
    hard_multiplier : bool
        Take the platform's DSP block (:class:`hw.arith.multiply_add.MultiplyAdd`) rather than gates.

    Members
    -------
    i : In(stream)
        ``a`` (an array of codes), ``b``, and the flags ``first`` and ``last``.
    o : Out(stream)
        ``o``, the sum of each lane.

    Raises
    ------
    TypeError, ValueError
        As the reference does.
    """

    def __init__(self, a, b, *, lanes=2, terms=7, spacing=0, hard_multiplier=False):
        self._model = PackedMultiplyAccumulate(a=a, b=b, lanes=lanes, terms=terms, spacing=spacing)
        check_boolean("Hard multiplier", hard_multiplier)
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def hard_multiplier(self):
        """Whether there is a DSP block."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to its result."""
        return 3

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        connect_streams(m, self.i, self.o, core=_PackedMacCore(self._model, self._hard_multiplier),
                        latency=self.latency)
        return m


class _PackedMacCore(wiring.Component):
    """The sum without a handshake, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, hard_multiplier):
        self._model, self._hard_multiplier = model, hard_multiplier
        super().__init__({"valid": In(1), "enable": In(1), "i": In(input_layout(model.inputs)),
                          "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, packing = self._model, self._model.packing
        a = join_lanes(packing, borrow_lanes(m, [_signed(code, model.a) for code in self.i.a], name="packed"))
        # Where there is no transfer, a product of zero joins the sum; what stands in the register after a reset never
        # does.
        b = _signed(self.i.b & self.valid.replicate(len(self.i.b)), model.b)
        fresh = Signal(init=1)
        with m.If(self.valid):
            m.d.sync += fresh.eq(0)
        begin = self.valid & (self.i.first | fresh)
        total = self._slice(m, a, b, begin) if self._hard_multiplier else self._gates(m, a, b, begin, platform)
        for lane, value in enumerate(take_lanes_apart(m, packing, total, name="lane")):
            m.d.comb += self.o.o[lane].eq(value)
        return m

    def _slice(self, m, a, b, begin):
        """The sum in a DSP block."""
        packing = self._model.packing
        m.submodules.slice = slice_ = MultiplyAdd(a_width=len(a), b_width=len(b), width=packing.result_width,
                                                  start=packing.packed_bias, accumulate=True)
        m.d.comb += [slice_.enable.eq(self.enable), slice_.a.eq(a), slice_.b.eq(b), slice_.begin.eq(begin)]
        return slice_.o

    def _gates(self, m, a, b, begin, platform):
        """The sum of products built from gates, in as many cycles."""
        packing = self._model.packing
        a, b = delay(m, a, 1, name="a"), delay(m, b, 1, name="b")
        product = delay(m, multiply_integers(m, a, b, platform=platform), 1, name="product")
        total = Signal(packing.result_width, reset_less=True)
        m.d.sync += total.eq(product + Mux(delay(m, begin, 2, name="begin"), packing.packed_bias, total))
        return total


def _signed(code, fmt):
    return code.as_signed() if fmt.signed else Cat(code, C(0, 1)).as_signed()
