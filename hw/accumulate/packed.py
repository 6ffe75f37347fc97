"""Exact sums of several outputs whose products share hard multipliers."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.exact import register_sum, state_layout
from hw.arith.exact_product import NO_FLAGS
from hw.arith.integer_sum import sum_addends
from hw.arith.packed_product import multiply_packed
from hw.pipeline import delay, require_pipeline

__all__ = ["PackedSums"]


class PackedSums(wiring.Component):
    """Registers of the exact sums of some outputs, which take the same activations, without rounding and handshake.

    Throughput is one transfer per cycle; ``latency`` cycles later its sums stand in ``state``. They are those of an
    :class:`hw.accumulate.exact.ExactSum` of every output. One multiplication makes a product of each output; what its
    lanes borrow from each other, the adders of the sums take along as carries.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate
        The arithmetic of an output, of signed fixed-point operands and without a preload; result and rounding do not
        matter here.
    packing : sw.reference.packing.Packing
        Of a weight of each output.
    sum_registers : int
        Registers behind the sum of a transfer's products.

    Members
    -------
    valid : In(1)
        Whether there is a transfer in this cycle.
    first : In(1)
        Whether it starts a sum.
    a : In(ArrayLayout)
        Activations, one for each lane of the model.
    b : In(ArrayLayout)
        Weights: that of lane i and output j is at ``j * lanes + i``.
    state : Out(ArrayLayout)
        For each output what an ``ExactSum`` has there.
    """

    def __init__(self, model, packing, *, sum_registers=0):
        self._model, self._packing = model, packing
        self._sum_registers = require_pipeline(sum_registers)
        self._layout, self._inputs = state_layout(model), model.lanes or 1
        super().__init__({
            "valid": In(1), "first": In(1), "a": In(data.ArrayLayout(model.a.width, self._inputs)),
            "b": In(data.ArrayLayout(model.b.width, self._inputs * packing.lanes)),
            "state": Out(data.ArrayLayout(self._layout, packing.lanes))})

    @property
    def latency(self):
        """Cycles from a transfer to its sums."""
        return 2 + self._sum_registers

    def elaborate(self, platform):
        m = Module()
        outputs, registers = range(self._packing.lanes), self._sum_registers
        products = [
            multiply_packed(m, self._packing, [self.b[output * self._inputs + lane].as_signed() for output in outputs],
                            self.a[lane].as_signed(), product_cycles=1, name=f"lane_{lane}")
            for lane in range(self._inputs)]
        valid, first = self.valid, delay(m, self.first, registers, name="first")
        for cycle in range(registers):
            stage = Signal(name=f"valid_{cycle + 1}")  # with a reset: what stands here at power-up is no transfer
            m.d.sync += stage.eq(valid)
            valid = stage
        for output in outputs:
            total = sum_addends(m, [lanes[output] for lanes in products], platform=platform,
                                name=f"products_{output}")
            m.d.comb += self.state[output].eq(register_sum(
                m, self._layout, total.delayed(m, registers), NO_FLAGS, valid=valid, first=first))
        return m
