# amaranth: UnusedElaboratable=no
"""The link around small operators, in Amaranth's simulator."""

import random

import pytest
from amaranth.hdl import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from platforms.link import OperatorLink, protocol_of
from platforms.protocol import Port
from tests.support.link_operators import Mix, Multiply, Negate

DIVISOR = 4


class Host:
    """The other end of the line: sends bytes, and collects what comes back."""

    def __init__(self, dut, divisor):
        self.dut, self.divisor, self.received = dut, divisor, bytearray()

    async def send(self, ctx, data, *, stop=1):
        for byte in data:
            for bit in (0, *((byte >> index) & 1 for index in range(8)), stop):
                ctx.set(self.dut.rx, bit)
                await ctx.tick().repeat(self.divisor)
            ctx.set(self.dut.rx, 1)

    async def listen(self, ctx):
        while True:
            await ctx.negedge(self.dut.tx)
            await ctx.tick().repeat(self.divisor + self.divisor // 2)
            byte = 0
            for index in range(8):
                byte |= ctx.get(self.dut.tx) << index
                await ctx.tick().repeat(self.divisor)
            assert ctx.get(self.dut.tx) == 1, "stop bit"
            self.received.append(byte)

    async def answer(self, ctx, count, limit=2000):
        for _ in range(limit):
            if len(self.received) >= count:
                break
            await ctx.tick()
        got = bytes(self.received)
        self.received.clear()
        return got


def run(operator, script, *, divisor=DIVISOR, idle_bits=64):
    """Run ``script(ctx, host)`` against a link around ``operator``."""
    dut = OperatorLink(operator, divisor=divisor, idle_bits=idle_bits)
    host = Host(dut, divisor)

    async def testbench(ctx):
        await script(ctx, host)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host.listen, background=True)
    simulator.add_testbench(testbench)
    simulator.run()


def idle(divisor=DIVISOR, idle_bits=64):
    return divisor * idle_bits


@pytest.mark.parametrize("operator", [Multiply(), Multiply(latency=5), Multiply(16), Multiply(3),
                                      Multiply(9, latency=2), Negate(), Mix()],
                         ids=["comb", "pipeline", "16_bit", "3_bit", "9_bit", "signed_5_bit", "three_operands"])
def test_round_trips(operator):
    protocol = protocol_of(operator)
    generator = random.Random(1)

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        for _ in range(12):
            codes = [generator.getrandbits(port.width) for port in protocol.operands]
            await host.send(ctx, protocol.encode(codes))
            answer = await host.answer(ctx, protocol.result.bytes)
            assert len(answer) == protocol.result.bytes, (codes, answer)
            assert protocol.decode(answer) == operator.model(*codes), codes

    run(operator, script)


def test_latency_longer_than_a_byte():
    # The operands stay in place, and what the host sends too early is dropped.
    operator = Multiply(latency=100)

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0x35, 0x99, 0xEE]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0x35, 0x99)])
        await host.send(ctx, bytes([0x12, 0x34]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0x12, 0x34)])

    run(operator, script)


def test_bytes_before_the_answer_is_handed_over_are_dropped():
    # A request of one byte and an answer of two, the next request sent while the first answer byte is on the line.
    class Square(wiring.Component):
        i: In(8)
        o: Out(16)
        latency = 0

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(self.i * self.i)
            return m

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([7]))
        await ctx.tick().repeat(2)
        await host.send(ctx, bytes([9]))
        assert await host.answer(ctx, 4, limit=DIVISOR * 60) == (49).to_bytes(2, "little")
        await host.send(ctx, bytes([200]))
        assert await host.answer(ctx, 2) == (40000).to_bytes(2, "little")

    run(Square(), script)


def test_padding_bits_are_ignored():
    operator = Negate()

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0xE0 | 3]))
        assert await host.answer(ctx, 1) == bytes([operator.model(3)])

    run(operator, script)


def test_idle_line_ends_a_half_received_operation():
    operator = Multiply()

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0x77]))  # the second byte is lost
        await ctx.tick().repeat(idle() + 3 * DIVISOR)
        await host.send(ctx, bytes([0x35, 0x99]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0x35, 0x99)])

    run(operator, script)


def test_a_shorter_pause_is_no_end():
    operator = Multiply()

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0x35]))
        await ctx.tick().repeat(idle() - 3 * DIVISOR)
        await host.send(ctx, bytes([0x99]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0x35, 0x99)])

    run(operator, script)


def test_a_byte_of_ones_is_no_idle_line():
    operator = Multiply()

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0xFF, 0xFF]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0xFF, 0xFF)])

    run(operator, script, idle_bits=16)


def test_framing_error_is_answered_with_silence():
    operator = Multiply()

    async def script(ctx, host):
        ctx.set(host.dut.rx, 1)
        await ctx.tick().repeat(5)
        await host.send(ctx, bytes([0x35]), stop=0)
        await host.send(ctx, bytes([0x99]))
        assert await host.answer(ctx, 1, limit=idle() + 3 * DIVISOR) == b""
        await host.send(ctx, bytes([0x35, 0x99]))
        assert await host.answer(ctx, 1) == bytes([operator.model(0x35, 0x99)])

    run(operator, script)


def test_protocol_of():
    protocol = protocol_of(Mix(), idle_bits=99)
    assert protocol.operands == (Port(name="a", width=5), Port(name="b", width=16), Port(name="random", width=9))
    assert protocol.result == Port(name="o", width=20)
    assert protocol.idle_bits == OperatorLink(Mix(), divisor=9, idle_bits=99).protocol.idle_bits == 99


def test_divisor():
    assert OperatorLink(Negate(), divisor=9).divisor == 9
    with pytest.raises(ValueError, match=r"^Divisor must be at least 4"):
        OperatorLink(Negate(), divisor=2)


def component(members, latency=0):
    class Any(wiring.Component):
        def __init__(self):
            super().__init__(members)

    result = Any()
    if latency is not None:
        result.latency = latency
    return result


def test_protocol_of_wrong():
    with pytest.raises(TypeError, match=r"^Operator must be an amaranth.lib.wiring.Component, not 3$"):
        protocol_of(3)
    for latency in (None, -1, 1.5):
        with pytest.raises(TypeError, match=rf"^Operator must have an attribute latency, a number of cycles, "
                                            rf"not {latency}$"):
            protocol_of(component({"a": In(1), "o": Out(1)}, latency))
    with pytest.raises(TypeError, match=r"^Operator must have plain ports only, not 'i': "):
        protocol_of(component({"i": In(stream.Signature(8)), "o": Out(1)}))
    with pytest.raises(TypeError, match=r"^Operator must have plain ports only, not 'i': "):
        protocol_of(component({"i": In(8).array(2), "o": Out(1)}))
    for outputs in ({}, {"q": Out(1)}, {"o": Out(1), "flag": Out(1)}):
        with pytest.raises(ValueError, match=r"^Operator must have one output, 'o', not \["):
            protocol_of(component({"a": In(1), **outputs}))
    with pytest.raises(ValueError, match=r"^Operator must have at least one input port, not none$"):
        protocol_of(component({"o": Out(1)}))
    with pytest.raises(ValueError, match=r"^Width of port 'a' must be at least 1 bit, not 0$"):
        protocol_of(component({"a": In(0), "o": Out(1)}))


def test_elaborating_twice_gives_the_same():
    from amaranth.back import rtlil

    dut = OperatorLink(Mix(), divisor=9)
    assert rtlil.convert(dut, emit_src=False) == rtlil.convert(dut, emit_src=False)
