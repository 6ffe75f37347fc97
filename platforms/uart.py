"""A UART, 8N1: eight data bits, least significant first, no parity, one stop bit, the line high when idle."""

import operator

from amaranth.hdl import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

MINIMUM_DIVISOR = 4
"""Below four clock cycles a bit there is no middle to sample: the synchronizer alone jitters by one cycle."""


def checked_divisor(divisor: int) -> int:
    """Return ``divisor`` as an int.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 4.
    """
    value = operator.index(divisor)
    if value < MINIMUM_DIVISOR:
        raise ValueError(f"Divisor must be at least {MINIMUM_DIVISOR} clock cycles per bit, not {divisor!r}; "
                         "choose a lower baud rate or a faster clock")
    return value


def divisor_for(clock_hz: float, baud: int) -> int:
    """Return the clock cycles per bit nearest to ``clock_hz / baud``.

    Raises
    ------
    ValueError
        If the nearest whole number of cycles misses the baud rate by more than 2 %, half of what a UART survives: the
        other side may be off as well.
    """
    if baud <= 0:
        raise ValueError(f"Baud rate must be positive, not {baud!r}")
    divisor = checked_divisor(round(clock_hz / baud))
    actual = clock_hz / divisor
    if abs(actual / baud - 1) > 0.02:
        raise ValueError(f"Baud rate must be within 2 % of what {clock_hz / 1e6:g} MHz divides to, not {baud!r}; "
                         f"the nearest possible is {actual:.0f}")
    return divisor


class UARTReceiver(wiring.Component):
    """Bytes from a serial line.

    The line passes two flip-flops. A falling edge starts a byte; if the line is high again half a bit later it was a
    glitch and is forgotten. Each bit is sampled once, in its middle. A byte leaves in the middle of its stop bit; if
    the stop bit is low (a framing error: noise, a wrong baud rate or a break) the byte is dropped and nothing starts
    until the line was high. A line that is low from power-up is such a break.

    Latency is 9.5 bit times plus 2 cycles from the clock edge before the start bit. Throughput is the line's: the next
    start bit may follow the stop bit at once, and half a bit early.

    Parameters
    ----------
    divisor : int, clock cycles
        Length of a bit.

    Members
    -------
    rx : In(1)
        The serial line, asynchronous.
    o : Out(stream.Signature(8, always_ready=True))
        Bytes received; each is valid for one cycle, since a serial line cannot be made to wait.
    error : Out(1)
        High for one cycle when a byte is dropped.

    Raises
    ------
    ValueError
        If ``divisor`` is less than 4.
    """

    def __init__(self, *, divisor):
        self._divisor = checked_divisor(divisor)
        super().__init__({
            "rx": In(1, init=1),
            "o": Out(stream.Signature(8, always_ready=True)),
            "error": Out(1),
        })

    @property
    def divisor(self):
        return self._divisor

    def elaborate(self, platform):
        m = Module()
        # Both power up low, so that a line that is low while the device configures makes no falling edge.
        line = Signal()
        was_high = Signal()
        timer = Signal(range(self._divisor))
        bit = Signal(range(8))
        m.submodules.synchronizer = FFSynchronizer(self.rx, line)
        m.d.sync += was_high.eq(line)
        m.d.sync += timer.eq(timer - 1)
        middle = timer == 0

        with m.FSM():
            with m.State("IDLE"), m.If(was_high & ~line):
                m.d.sync += timer.eq(self._divisor // 2 - 1)
                m.next = "START"
            with m.State("START"), m.If(middle):
                m.d.sync += [timer.eq(self._divisor - 1), bit.eq(0)]
                with m.If(line):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(middle):
                m.d.sync += [
                    self.o.payload.eq(Cat(self.o.payload[1:], line)),
                    timer.eq(self._divisor - 1),
                    bit.eq(bit + 1),
                ]
                with m.If(bit == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(middle):
                m.d.comb += [self.o.valid.eq(line), self.error.eq(~line)]
                m.next = "IDLE"
        return m


class UARTTransmitter(wiring.Component):
    """Bytes to a serial line.

    Throughput is one byte in 10 bit times; bytes that wait follow one another without a gap. Latency is one cycle from
    the transfer to the falling edge of the start bit. The line comes straight from a flip-flop: it never glitches.

    Parameters
    ----------
    divisor : int, clock cycles
        Length of a bit.

    Members
    -------
    i : In(stream.Signature(8))
        Bytes to send.
    tx : Out(1)
        The serial line.

    Raises
    ------
    ValueError
        If ``divisor`` is less than 4.
    """

    def __init__(self, *, divisor):
        self._divisor = checked_divisor(divisor)
        super().__init__({
            "i": In(stream.Signature(8)),
            "tx": Out(1, init=1),
        })

    @property
    def divisor(self):
        return self._divisor

    def elaborate(self, platform):
        m = Module()
        # The bit on the line is bit 0; ones follow, so the stop bit and the idle line need no state of their own.
        shift = Signal(9, init=0x1FF)
        timer = Signal(range(self._divisor))
        left = Signal(range(10))
        m.d.comb += self.tx.eq(shift[0])
        m.d.comb += self.i.ready.eq((left == 0) & (timer == 0))

        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [shift.eq(Cat(shift[1:], 1)), left.eq(left - 1), timer.eq(self._divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [shift.eq(Cat(0, self.i.payload)), left.eq(9), timer.eq(self._divisor - 1)]
        return m
