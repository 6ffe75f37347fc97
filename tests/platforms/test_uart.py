# amaranth: UnusedElaboratable=no
"""The UART against a serial line whose bit time is no multiple of the clock period, as on a real board."""

import random

import pytest
from amaranth.hdl import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from platforms.uart import UARTReceiver, UARTTransmitter, divisor_for

CLOCK = 1e-6  # seconds; every figure below is relative to it


async def send(ctx, line, data, bit_time, *, stop=1, gap=0.0):
    """Send bytes on a line, in real time rather than in clock cycles; ``stop`` is the level of the stop bit."""
    for byte in data:
        for bit in (0, *((byte >> index) & 1 for index in range(8)), stop):
            ctx.set(line, bit)
            await ctx.delay(bit_time)
        ctx.set(line, 1)
        if gap:
            await ctx.delay(gap)


def receive(divisor, drive, cycles):
    """Return the bytes and the number of errors a receiver sees while ``drive(ctx, line)`` runs."""
    dut = UARTReceiver(divisor=divisor)
    received, errors = [], 0

    async def watch(ctx):
        nonlocal errors
        for _ in range(cycles):
            _, _, valid, byte, error = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.error)
            if valid:
                received.append(byte)
            errors += error

    async def line(ctx):
        ctx.set(dut.rx, 1)
        await ctx.delay(4.3 * CLOCK)  # no whole number of cycles: the line is asynchronous
        await drive(ctx, dut.rx)

    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(line, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    return bytes(received), errors


@pytest.mark.parametrize("divisor", [4, 5, 8, 104])
def test_receiver_back_to_back_bytes(divisor):
    data = bytes(random.Random(divisor).choices(range(256), k=8)) + b"\x00\xff\x55\xaa"
    got = receive(divisor, lambda ctx, line: send(ctx, line, data, divisor * CLOCK), divisor * 10 * 13)
    assert got == (data, 0)


@pytest.mark.parametrize("mismatch", [0.98, 1.02])
@pytest.mark.parametrize("divisor", [16, 104, 217])
def test_receiver_tolerates_two_percent(divisor, mismatch):
    data = b"\x00\xff\x55\x80\x01\xc3"
    got = receive(divisor, lambda ctx, line: send(ctx, line, data, divisor * CLOCK * mismatch), divisor * 10 * 7)
    assert got == (data, 0)


@pytest.mark.parametrize("mismatch", [0.9, 1.1])
def test_receiver_does_not_read_another_baud_rate(mismatch):
    # The figure above is no accident of the test: ten percent is past what sampling in the middle survives.
    data = b"\x00\xff\x55\x80\x01\xc3"
    got, _ = receive(16, lambda ctx, line: send(ctx, line, data, 16 * CLOCK * mismatch), 16 * 10 * 8)
    assert got != data


@pytest.mark.parametrize("width", [0.1, 0.25, 0.4])
def test_receiver_forgets_a_glitch(width):
    async def drive(ctx, line):
        for _ in range(3):
            ctx.set(line, 0)
            await ctx.delay(16 * CLOCK * width)
            ctx.set(line, 1)
            await ctx.delay(16 * CLOCK * 2)
        await send(ctx, line, b"\x3c", 16 * CLOCK)

    assert receive(16, drive, 16 * 25) == (b"\x3c", 0)


def test_receiver_drops_a_byte_with_a_framing_error():
    async def drive(ctx, line):
        await send(ctx, line, b"\x12", 16 * CLOCK)
        await send(ctx, line, b"\x34", 16 * CLOCK, stop=0)
        await ctx.delay(16 * CLOCK)
        await send(ctx, line, b"\x56", 16 * CLOCK)

    assert receive(16, drive, 16 * 35) == (b"\x12\x56", 1)


def test_receiver_takes_a_break_for_one_error():
    async def drive(ctx, line):
        ctx.set(line, 0)
        await ctx.delay(16 * CLOCK * 50)
        ctx.set(line, 1)
        await ctx.delay(16 * CLOCK * 2)
        await send(ctx, line, b"\x9a", 16 * CLOCK)

    assert receive(16, drive, 16 * 65) == (b"\x9a", 1)


def test_receiver_ignores_a_line_low_from_power_up():
    dut = UARTReceiver(divisor=8)
    seen = []

    async def watch(ctx):
        ctx.set(dut.rx, 0)
        for cycle in range(8 * 40):
            if cycle == 8 * 20:
                ctx.set(dut.rx, 1)
            await ctx.tick()
            if ctx.get(dut.o.valid) or ctx.get(dut.error):
                seen.append(cycle)

    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(watch)
    simulator.run()
    assert seen == []


def test_receiver_latency():
    # The figure of the docstring.
    divisor, dut, arrived = 16, UARTReceiver(divisor=16), []

    async def line(ctx):
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(20)
        for bit in (0, 1, 0, 1, 0, 1, 0, 1, 0, 1):
            ctx.set(dut.rx, bit)
            await ctx.tick().repeat(divisor)

    async def watch(ctx):
        for cycle in range(20 + divisor * 12):
            if ctx.get(dut.o.valid):
                arrived.append(cycle - 20)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(line, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    assert arrived == [divisor * 9 + divisor // 2 + 2]


@pytest.mark.parametrize("divisor", [4, 5, 104])
def test_transmitter_waveform(divisor):
    """Every cycle of the line, for bytes that wait and for one that comes after a pause."""
    dut, levels = UARTTransmitter(divisor=divisor), []
    data, pause = [0x00, 0xFF, 0xA5], 3 * divisor

    async def give(ctx):
        for index, byte in enumerate(data):
            if index == 2:
                await ctx.tick().repeat(10 * divisor + pause)
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        for _ in range(divisor * 30 + pause + 3):
            levels.append(ctx.get(dut.tx))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(give, background=True)
    simulator.add_testbench(watch)
    simulator.run()

    def frame(byte):
        return [bit for bit in (0, *((byte >> i) & 1 for i in range(8)), 1) for _ in range(divisor)]

    first = 1 + len(frame(0)) * 2
    assert levels[:first] == [1, *frame(data[0]), *frame(data[1])]  # one cycle of latency, then no gap
    rest = levels[first:]
    start = rest.index(0)
    assert rest[:start] == [1] * start
    assert rest[start:start + 10 * divisor] == frame(data[2])
    assert set(rest[start + 10 * divisor:]) == {1}


class Loopback(wiring.Component):
    i: In(stream.Signature(8))
    o: Out(stream.Signature(8, always_ready=True))

    def __init__(self, divisor):
        self._divisor = divisor
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = UARTTransmitter(divisor=self._divisor)
        m.submodules.receiver = receiver = UARTReceiver(divisor=self._divisor)
        m.d.comb += receiver.rx.eq(transmitter.tx)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("divisor", [4, 7])
def test_loopback_of_every_byte(divisor):
    dut, received = Loopback(divisor), []

    async def give(ctx):
        ctx.set(dut.i.valid, 1)
        for byte in range(256):
            ctx.set(dut.i.payload, byte)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def take(ctx):
        for _ in range(256):
            received.append(*await ctx.tick().sample(dut.o.payload).until(dut.o.valid))

    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(give, background=True)
    simulator.add_testbench(take)
    simulator.run_until(CLOCK * divisor * 10 * 260)
    assert received == list(range(256))


def test_elaborating_twice_gives_the_same():
    from amaranth.back import rtlil

    receiver, transmitter = UARTReceiver(divisor=9), UARTTransmitter(divisor=9)
    # Ports by hand: amaranth takes no constant (the ready of an always_ready stream) for a port.
    i, o = transmitter.i, receiver.o
    for dut, ports in ((receiver, [receiver.rx, o.payload, o.valid, receiver.error]),
                       (transmitter, [i.payload, i.valid, i.ready, transmitter.tx])):
        first, second = (rtlil.convert(dut, ports=ports, emit_src=False) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("component", [UARTReceiver, UARTTransmitter])
def test_divisor(component):
    assert component(divisor=4).divisor == 4


@pytest.mark.parametrize("component", [UARTReceiver, UARTTransmitter])
def test_divisor_wrong(component):
    with pytest.raises(ValueError, match=r"^Divisor must be at least 4 clock cycles per bit, not 3; choose a lower"):
        component(divisor=3)
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
        component(divisor="8")


def test_divisor_for():
    assert divisor_for(12e6, 115_200) == 104
    assert divisor_for(25e6, 115_200) == 217
    assert divisor_for(12e6, 3_000_000) == 4


def test_divisor_for_wrong():
    with pytest.raises(ValueError, match=r"^Baud rate must be positive, not 0$"):
        divisor_for(12e6, 0)
    with pytest.raises(ValueError, match=r"^Baud rate must be within 2 % of what 12 MHz divides to, not 2200000; "
                                         r"the nearest possible is 2400000$"):
        divisor_for(12e6, 2_200_000)
    with pytest.raises(ValueError, match=r"^Divisor must be at least 4"):
        divisor_for(12e6, 6_000_000)
