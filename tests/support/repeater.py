"""A stream that answers one transfer with several results, at a pace: what the check of their timing is tried on."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import *
from amaranth.lib import wiring

from hw.accumulate.streamed import stream_members
from sw.reference.model import Port


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """``times`` copies of ``value``; a transfer whose value is ``illegal`` is a defect of whoever makes it."""

    illegal: int | None = None

    inputs = {"value": Port(width=4), "times": Port(width=2)}  # noqa: RUF012
    outputs = {"o": Port(width=4)}  # noqa: RUF012

    def start(self, sequences):
        return self

    def accept(self, inputs, accepted):
        if self.illegal is not None and np.any(inputs["value"][accepted] == self.illegal):
            raise ValueError("Value must be legal")
        return [(accepted & (inputs["times"] > copy), {"o": inputs["value"]}) for copy in range(3)]

    def reset(self, which):
        pass


class Repeater(wiring.Component):
    """The stream as hardware: a result every ``pace`` cycles at best, whatever it states."""

    latency = 1

    def __init__(self, *, pace=1, initiation_interval=1, constant_latency=True):
        self._pace = pace
        self.initiation_interval, self.constant_latency = initiation_interval, constant_latency
        super().__init__(stream_members(Repeated()))

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        left, value, rest = Signal(2), Signal(4), Signal(range(self._pace + 1))
        taken = o.valid & o.ready
        m.d.comb += [o.valid.eq((left != 0) & (rest == 0)), o.payload.o.eq(value),
                     i.ready.eq((left == 0) | ((left == 1) & taken))]
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), rest.eq(self._pace - 1)]
        with m.If(i.valid & i.ready):
            m.d.sync += [left.eq(i.payload.times), value.eq(i.payload.value)]
        return m
