"""Small operators that the link is tested with, and what they compute."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class Multiply(wiring.Component):
    """Middle of a product, after ``latency`` register stages."""

    def __init__(self, width=8, *, latency=0):
        self.latency = latency
        self._width = width
        super().__init__({"a": In(width), "b": In(width), "o": Out(width)})

    def model(self, a, b):
        return (a * b >> self._width // 2) & (1 << self._width) - 1

    def elaborate(self, platform):
        m = Module()
        value = (self.a * self.b >> self._width // 2)[:self._width]
        for _ in range(self.latency):
            stage = Signal(self._width)
            m.d.sync += stage.eq(value)
            value = stage
        m.d.comb += self.o.eq(value)
        return m


class Negate(wiring.Component):
    """One operand, signed both ways, of a width that is no whole number of bytes."""

    i: In(signed(5))
    o: Out(signed(5))
    latency = 1

    def model(self, i):
        return -i & 0x1F

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(-self.i)
        return m


class Mix(wiring.Component):
    """Three operands, one of them a structure, and a result wider than any."""

    a: In(5)
    b: In(data.StructLayout({"low": 4, "high": 12}))
    random: In(9)
    o: Out(20)
    latency = 3

    def model(self, a, b, random):
        return (a << 15 ^ (b >> 4) * 3 ^ (b & 15) ^ random << 4) & 0xFFFFF

    def elaborate(self, platform):
        m = Module()
        first, second = Signal(20), Signal(20)
        m.d.sync += [
            first.eq((self.a << 15) ^ (self.b.high * 3) ^ self.b.low ^ (self.random << 4)),
            second.eq(first),
            self.o.eq(second),
        ]
        return m


class Slow(wiring.Component):
    """A chain of additions too long for a board's clock."""

    a: In(16)
    b: In(16)
    o: Out(16)
    latency = 0

    def elaborate(self, platform):
        m = Module()
        value = self.a
        for _ in range(12):
            total = Signal(16)
            m.d.comb += total.eq((value + value.rotate_left(5)) ^ self.b)
            value = total
        m.d.comb += self.o.eq(value)
        return m


class Large(wiring.Component):
    """More flip-flops than a device of 5,280 logic cells has."""

    i: In(8)
    o: Out(8)
    latency = 700

    def elaborate(self, platform):
        m = Module()
        value = self.i
        for _ in range(self.latency):
            stage = Signal(8)
            m.d.sync += stage.eq(value)
            value = stage
        m.d.comb += self.o.eq(value)
        return m
