"""A small accumulator with its reference, right and in every way wrong: what the check of streams is tried on."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from sw.formats import FixedPointFormat
from sw.reference.accumulation import FLAG, AccumulatorRun
from sw.reference.model import Port

OPERAND, SUM = FixedPointFormat(width=3), FixedPointFormat(width=10)


@dataclass(frozen=True, kw_only=True)
class ProductSum:
    """Sum of products of 3-bit integers, modulo ``2**10``."""

    inputs = {"a": Port.of(OPERAND), "b": Port.of(OPERAND), "first": FLAG, "last": FLAG}  # noqa: RUF012
    outputs = {"o": Port.of(SUM)}  # noqa: RUF012

    def zero(self, sequences):
        return (np.zeros(sequences, dtype=np.int64),)

    def initial(self, inputs):
        return self.zero(len(inputs["a"]))

    def accumulate(self, state, inputs):
        a, b = (np.where(inputs[name] >= 4, inputs[name].astype(np.int64) - 8, inputs[name].astype(np.int64))
                for name in ("a", "b"))
        return (state[0] + a * b,)

    def finish(self, state, inputs):
        return {"o": (state[0] & 1023).astype(np.uint64)}

    def start(self, sequences):
        return AccumulatorRun(self, sequences)


class Defect(Enum):
    """What is wrong with a :class:`ProductSumStream`."""

    NONE = "none"
    WRONG_PRODUCT = "-4 times -4 is off by one"
    KEEPS_SUM_OVER_RESET = "a reset leaves the sum"
    IGNORES_FIRST = "sums never start anew"
    COUNTS_BUBBLES = "a cycle without a transfer adds a product"
    DROPS_RESULTS = "a result does not wait until it is taken"
    CHANGES_RESULTS = "a waiting result goes on accumulating"
    DOUBLES_RESULTS = "a result is offered once more"
    ONE_CYCLE_LATE = "the latency is one more than stated"
    NEVER_READY = "no transfer is accepted"
    OFFERS_OVER_RESET = "a result from before a reset comes out after it"


class _Core(wiring.Component):
    def __init__(self, defect):
        self._defect = defect
        super().__init__({"valid": In(1), "i": In(input_layout(ProductSum.inputs)), "o": Out(input_layout(
            ProductSum.outputs))})

    def elaborate(self, platform):
        m = Module()
        total = Signal(10, reset_less=self._defect is Defect.KEEPS_SUM_OVER_RESET)
        product = Signal(signed(6))
        m.d.comb += [product.eq(self.i.a.as_signed() * self.i.b.as_signed()), self.o.o.eq(total)]
        if self._defect is Defect.WRONG_PRODUCT:
            with m.If((self.i.a == 4) & (self.i.b == 4)):
                m.d.comb += product.eq(15)
        first = 0 if self._defect is Defect.IGNORES_FIRST else self.i.first
        enable = 1 if self._defect is Defect.COUNTS_BUBBLES else self.valid
        with m.If(enable):
            m.d.sync += total.eq(Mux(first, 0, total) + product)
        return m


class ProductSumStream(wiring.Component):
    """The accumulator as hardware, with a defect or none."""

    latency = 1
    model = ProductSum()

    def __init__(self, defect=Defect.NONE):
        self._defect = defect
        super().__init__(stream_members(self.model))

    def elaborate(self, platform):
        m = Module()
        core, defect = _Core(self._defect), self._defect
        o = self.o
        if defect in (Defect.DROPS_RESULTS, Defect.CHANGES_RESULTS, Defect.DOUBLES_RESULTS, Defect.ONE_CYCLE_LATE,
                      Defect.NEVER_READY, Defect.OFFERS_OVER_RESET):
            return self._by_hand(m, core)
        connect_streams(m, self.i, o, core=core, latency=1)
        return m

    def _by_hand(self, m, core):
        """The handshake again, with one thing wrong in it."""
        defect, i, o = self._defect, self.i, self.o
        advance, ended = Signal(), Signal(reset_less=defect is Defect.OFFERS_OVER_RESET)
        waits = ended & ~o.ready
        m.d.comb += [advance.eq(~waits), i.ready.eq(advance & (defect is not Defect.NEVER_READY)), o.valid.eq(ended),
                     core.i.eq(i.payload), core.valid.eq(i.valid & i.ready), o.payload.eq(core.o)]
        m.submodules.core = core
        if defect is Defect.DROPS_RESULTS:
            m.d.comb += advance.eq(1)
        if defect is Defect.CHANGES_RESULTS:
            m.d.comb += core.valid.eq(i.valid)
        with m.If(advance):
            m.d.sync += ended.eq(i.valid & i.payload.last & i.ready)
        if defect is Defect.DOUBLES_RESULTS:
            again = Signal()
            m.d.sync += again.eq(o.valid & o.ready & ~again)
            with m.If(again):
                m.d.comb += [o.valid.eq(1), i.ready.eq(0), core.valid.eq(0)]
                m.d.sync += ended.eq(0)
        if defect is Defect.ONE_CYCLE_LATE:
            late, kept = Signal(), Signal.like(core.o.as_value())
            m.d.comb += [advance.eq(~(late & ~o.ready)), o.valid.eq(late), o.payload.as_value().eq(kept)]
            with m.If(advance):
                m.d.sync += [late.eq(ended), kept.eq(core.o.as_value())]
        return m
