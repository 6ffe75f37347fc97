# amaranth: UnusedElaboratable=no
# A design that is refused half-way was never meant to be used.
"""The complete design of a board: its clock and reset, its UART pins, the link and the operator."""

from amaranth.hdl import *
from amaranth.lib import io

from platforms.link import OperatorLink
from platforms.protocol import IDLE_BITS
from platforms.uart import divisor_for


class BoardTop(Elaboratable):
    """An operator behind the UART of a board.

    Clock and power-on reset are those of the amaranth platform. Only the pins named here are used; all others stay
    as the device's configuration leaves them.

    Parameters
    ----------
    operator : wiring.Component
        As :class:`~platforms.link.OperatorLink` takes it.
    board : Board
    baud : int, optional
        Baud rate, by default the board's.
    idle_bits : int, bit times
        Quiet time that ends a half-received operation.

    Raises
    ------
    TypeError, ValueError
        As :class:`~platforms.link.OperatorLink`, and if the board's clock cannot make the baud rate.
    """

    def __init__(self, operator, board, *, baud=None, idle_bits=IDLE_BITS):
        self._board = board
        self._link = OperatorLink(operator, divisor=divisor_for(board.clock_hz, board.baud if baud is None else baud),
                                  idle_bits=idle_bits)

    @property
    def board(self):
        return self._board

    @property
    def protocol(self):
        return self._link.protocol

    @property
    def divisor(self):
        return self._link.divisor

    def elaborate(self, platform):
        m = Module()
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.link = self._link
        m.d.comb += [self._link.rx.eq(rx.i), tx.o.eq(self._link.tx)]
        for index, pin in enumerate(self._board.held):
            port = platform.request(pin.resource, pin.number, dir="-")
            port = getattr(port, pin.subsignal) if pin.subsignal else port
            m.submodules[f"held{index}"] = held = io.Buffer("o", port)
            m.d.comb += held.o.eq(int(pin.high))
        return m
