"""An operator behind a serial line: operand bytes in, result bytes out."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from platforms.protocol import IDLE_BITS, LinkProtocol, Port
from platforms.uart import UARTReceiver, UARTTransmitter, checked_divisor


def protocol_of(component, *, idle_bits=IDLE_BITS):
    """Return the :class:`LinkProtocol` of an operator: its ``In`` ports in declared order, and its ``Out`` port ``o``.

    Raises
    ------
    TypeError
        If ``component`` is no component, a member is no plain port, or it has no integer attribute ``latency``.
    ValueError
        If it has no operand, no port ``o``, a second output, or a port of width 0.
    """
    if not isinstance(component, wiring.Component):
        raise TypeError(f"Operator must be an amaranth.lib.wiring.Component, not {component!r}")
    latency = getattr(component, "latency", None)
    if not isinstance(latency, int) or latency < 0:
        raise TypeError(f"Operator must have an attribute latency, a number of cycles, not {latency!r}")
    operands, results = [], []
    for name, member in component.signature.members.items():
        if not member.is_port or member.dimensions:
            raise TypeError(f"Operator must have plain ports only, not {name!r}: {member!r}")
        ports = operands if member.flow == In else results
        ports.append(Port(name=name, width=Shape.cast(member.shape).width))
    if [port.name for port in results] != ["o"]:
        raise ValueError(f"Operator must have one output, 'o', not {[port.name for port in results]!r}")
    if not operands:
        raise ValueError("Operator must have at least one input port, not none")
    return LinkProtocol(operands=tuple(operands), result=results[0], idle_bits=idle_bits)


class OperatorLink(wiring.Component):
    """An operator behind a serial line, speaking :class:`~platforms.protocol.LinkProtocol`.

    The bytes of the operands are shifted into one register, whose slices are the operator's inputs. ``latency`` cycles
    after the last one the result is taken and sent. Bytes that arrive between the last operand byte and the moment
    when the last result byte is handed to the transmitter are dropped, as the host is told to wait; so is an operation
    within which the line was quiet for ``idle_bits`` bit times. A lost byte is therefore answered with silence, never
    with a wrong result.

    Parameters
    ----------
    operator : wiring.Component
        Any component with plain ``In`` ports, one ``Out`` port ``o``, and ``latency`` in cycles of ``sync``.
    divisor : int, clock cycles
        Length of a bit on the line.
    idle_bits : int, bit times
        Quiet time that ends a half-received operation.

    Members
    -------
    rx : In(1)
        Serial line from the host.
    tx : Out(1)
        Serial line to the host.

    Raises
    ------
    TypeError, ValueError
        As :func:`protocol_of`, and if ``divisor`` is less than 4.
    """

    def __init__(self, operator, *, divisor, idle_bits=IDLE_BITS):
        self._protocol = protocol_of(operator, idle_bits=idle_bits)
        self._operator = operator
        self._divisor = checked_divisor(divisor)
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
        })

    @property
    def protocol(self):
        return self._protocol

    @property
    def divisor(self):
        return self._divisor

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UARTReceiver(divisor=self._divisor)
        m.submodules.transmitter = transmitter = UARTTransmitter(divisor=self._divisor)
        m.submodules.operator = self._operator
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]

        request, answer = self._protocol.request_bytes, self._protocol.result.bytes
        operands = Signal(8 * request)
        received = Signal(range(request))
        result = Signal(8 * answer)
        unsent = Signal(range(answer + 1))
        # Counts down from the last operand byte to the cycle in which the result is there.
        waiting = Signal(range(self._operator.latency + 2))
        quiet = self._quiet(m, self.rx)

        self._spread(m, operands)
        with m.If(waiting != 0):
            m.d.sync += waiting.eq(waiting - 1)
        with m.If(receiver.o.valid & (waiting == 0) & (unsent == 0)):
            m.d.sync += operands.eq(Cat(operands[8:], receiver.o.payload))
            with m.If(received == request - 1):
                m.d.sync += [received.eq(0), waiting.eq(self._operator.latency + 1)]
            with m.Else():
                m.d.sync += received.eq(received + 1)
        with m.Elif(quiet):
            m.d.sync += received.eq(0)

        m.d.comb += [transmitter.i.payload.eq(result[:8]), transmitter.i.valid.eq(unsent != 0)]
        with m.If(waiting == 1):
            m.d.sync += [result.eq(Value.cast(self._operator.o).as_unsigned()), unsent.eq(answer)]
        with m.Elif(transmitter.i.valid & transmitter.i.ready):
            m.d.sync += [result.eq(result >> 8), unsent.eq(unsent - 1)]
        return m

    def _spread(self, m, operands):
        """Drive the operator's inputs from the register of received bytes, the first byte lowest."""
        first = 0
        for port in self._protocol.operands:
            m.d.comb += Value.cast(getattr(self._operator, port.name)).eq(operands[first:first + port.width])
            first += 8 * port.bytes

    def _quiet(self, m, line):
        """Return a signal that is high once ``line`` has been high for the idle time."""
        high = Signal()
        limit = self._divisor * self._protocol.idle_bits
        counter = Signal(range(limit + 1))
        m.submodules.quiet_synchronizer = FFSynchronizer(line, high)
        with m.If(~high):
            m.d.sync += counter.eq(0)
        with m.Elif(counter != limit):
            m.d.sync += counter.eq(counter + 1)
        return counter == limit
