"""A netlist expanded to bit level: truth tables, flip-flops, memories and pads over numbered signals.

Cell models write into a :class:`Network`; ``program`` orders and compiles it. Signals 0 and 1 are the constants. A
signal may be *undefined* (constant ``x`` or ``z``, undriven net, unconnected pin): that is no error as long as no
output and no live flip-flop depends on it, which the compiler finds out by folding constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synth.netlist.errors import NetlistError
from synth.netlist.read import Bit, Direction, Netlist

Signal = int
FALSE: Signal = 0
TRUE: Signal = 1

# Truth tables: bit k is the value where operand i has bit i of k.
TABLE_BUFFER, TABLE_NOT = 0b10, 0b01
TABLE_AND, TABLE_OR, TABLE_XOR = 0b1000, 0b1110, 0b0110
TABLE_MUX = 0b11001010          # operands: if_false, if_true, select
MAXIMUM_LUT_INPUTS = 9


@dataclass(frozen=True, slots=True)
class Lut:
    """A function of a few signals; ``cell`` names the instance it comes from."""

    table: int
    operands: tuple[Signal, ...]
    cell: str


@dataclass(frozen=True, slots=True)
class FlipFlop:
    """One bit of state.

    ``stored`` is what the flip-flop holds and ``settled`` what it drives: they differ while an asynchronous set or
    reset is active. ``data`` is taken at the rising (or falling) edge of ``clock``.
    """

    cell: str
    stored: Signal
    settled: Signal
    data: Signal
    clock: Signal
    rising: bool
    initial: bool


Contents = npt.NDArray[np.bool_]
"""Contents of a memory, of shape ``(words, width)``: row *k* is the word at address *k*, its lowest bit first."""


@dataclass(frozen=True, slots=True)
class ReadPort:
    """An asynchronous read port: ``data`` is the word at ``address``. A clocked one is followed by flip-flops."""

    address: tuple[Signal, ...]
    data: tuple[Signal, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WritePort:
    """A write port: at the edge, those bits of the word at ``address`` that have their ``enable`` take ``data``."""

    clock: Signal
    rising: bool
    address: tuple[Signal, ...]
    enable: tuple[Signal, ...]
    data: tuple[Signal, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """``2**n`` words behind ports of *n* address bits; where several ports write one bit, the last of them wins."""

    cell: str
    initial: Contents
    reads: tuple[ReadPort, ...]
    writes: tuple[WritePort, ...]


@dataclass(frozen=True, slots=True)
class Driver:
    """A pad's driver of a top-level port bit: ``data`` while ``enable``."""

    cell: str
    data: Signal
    enable: Signal


class Network:
    """The bit-level network of a netlist, filled by the cell models."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self.luts: dict[Signal, Lut] = {}
        self.flip_flops: list[FlipFlop] = []
        self.memories: list[Memory] = []
        self.read_addresses: dict[Signal, tuple[Signal, ...]] = {}
        """Data of every memory's read ports, to the address that it depends on."""
        self.undefined: dict[Signal, str] = {}
        self.inputs: dict[Signal, tuple[str, int]] = {}
        self.pad_drivers: dict[Bit, Driver] = {}
        self.global_reset: tuple[str, Signal] | None = None
        self._signal_count = 2
        self._constants: dict[Bit, Signal] = {"0": FALSE, "1": TRUE}
        self._nets: dict[Bit, Signal] = {}
        self._net_driver: dict[Bit, str] = {}
        self._pad_bits: dict[Bit, tuple[str, int, Direction]] = {}
        for port in netlist.ports:
            for index, bit in enumerate(port.bits):
                if port.direction is Direction.INPUT:
                    if isinstance(bit, str):
                        raise NetlistError(f"Input port {port.name}[{index}] must be a net, not the constant {bit!r}")
                    self._claim(bit, f"input port {port.name!r}")
                    self.inputs[self._signal_of(bit)] = (port.name, index)
        for port in sorted(netlist.ports, key=lambda port: port.direction is not Direction.INOUT):
            for index, bit in enumerate(port.bits):
                # An output may share the net of an inout port, whose pad it then shows.
                if port.direction is not Direction.INPUT and isinstance(bit, int):
                    self._pad_bits.setdefault(bit, (port.name, index, port.direction))

    # Signals and nets

    def new_signal(self) -> Signal:
        """Return a signal that nothing defines yet."""
        self._signal_count += 1
        return self._signal_count - 1

    def new_undefined(self, reason: str) -> Signal:
        """Return a signal without a value; ``reason`` goes into the message if it matters."""
        signal = self.new_signal()
        self.undefined[signal] = reason
        return signal

    def declare_constant(self, bit: Bit, value: bool, cell: str) -> None:
        """Make a net constant (ground and supply cells), before any other cell is expanded."""
        self._claim(bit, cell)
        self._constants[bit] = TRUE if value else FALSE

    def net(self, bit: Bit, reader: str) -> Signal:
        """Return the signal of a net or constant that ``reader`` reads."""
        if bit in self._constants:
            return self._constants[bit]
        if isinstance(bit, str):
            return self.new_undefined(f"{reader} is the constant {bit}")
        return self._signal_of(bit)

    def drive(self, bit: Bit, signal: Signal, cell: str) -> None:
        """Let ``cell`` drive a net with ``signal``."""
        if isinstance(bit, str):
            raise NetlistError(f"Output of {cell} must drive a net, not the constant {bit!r}")
        self._claim(bit, cell)
        self.luts[self._signal_of(bit)] = Lut(TABLE_BUFFER, (signal,), cell)

    def pad(self, bit: Bit, cell: str) -> tuple[str, int, Direction]:
        """Return the top-level port, index and direction behind a pad's pin."""
        if bit not in self._pad_bits:
            raise NetlistError(f"Pin of {cell} must be an output or inout port of the top module, "
                               f"not net {self.netlist.net_name(bit)!r}")
        return self._pad_bits[bit]

    def pad_driver(self, port: str, bit: Bit) -> Driver | None:
        """Return what drives a bit of a top-level port through a pad."""
        owner = self._pad_bits.get(bit)
        return self.pad_drivers.get(bit) if owner is not None and owner[0] == port else None

    def drive_pad(self, bit: Bit, data: Signal, enable: Signal, cell: str) -> None:
        """Let a pad drive a port bit of the top module with ``data`` while ``enable``."""
        self.pad(bit, cell)
        self._claim(bit, cell)
        self.pad_drivers[bit] = Driver(cell, data, enable)

    def define_pads(self) -> None:
        """Give port bits that are driven from outside their input; call once, after all cells are expanded."""
        for bit, (port, index, direction) in self._pad_bits.items():
            driver = self.pad_drivers.get(bit)
            signal = self._signal_of(bit)
            if driver is None:
                if direction is Direction.INOUT and bit not in self._net_driver:
                    self._claim(bit, f"inout port {port!r}")
                    self.inputs[signal] = (port, index)
                continue
            if driver.enable == TRUE or direction is Direction.OUTPUT:
                self.luts[signal] = Lut(TABLE_BUFFER, (driver.data,), driver.cell)
            else:
                external = self.new_signal()
                self.inputs[external] = (port, index)
                self.luts[signal] = Lut(TABLE_MUX, (external, driver.data, driver.enable), driver.cell)

    def define_undriven(self) -> None:
        """Mark every net that nothing drives as undefined; call once, after :meth:`define_pads`."""
        for bit, signal in self._nets.items():
            if bit not in self._net_driver:
                self.undefined[signal] = f"net {self.netlist.net_name(bit)!r} is driven by nothing"

    def _signal_of(self, bit: Bit) -> Signal:
        signal = self._nets.get(bit)
        if signal is None:
            signal = self._nets[bit] = self.new_signal()
        return signal

    def _claim(self, bit: Bit, driver: str) -> None:
        if bit in self._net_driver:
            raise NetlistError(f"Net {self.netlist.net_name(bit)!r} must have one driver, "
                               f"not both {self._net_driver[bit]} and {driver}")
        self._net_driver[bit] = driver

    def memory(self, initial: Contents, writes: Sequence[WritePort], addresses: Sequence[Sequence[Signal]], cell: str
               ) -> list[list[Signal]]:
        """Add a memory; return the data of a read port for each of ``addresses``."""
        width = initial.shape[1]
        reads = tuple(ReadPort(tuple(address), tuple(self.new_signal() for _ in range(width)))
                      for address in addresses)
        for read in reads:
            self.read_addresses.update(dict.fromkeys(read.data, read.address))
        self.memories.append(Memory(cell, initial, reads, tuple(writes)))
        return [list(read.data) for read in reads]

    # Functions; these fold constants so that unused parts of a hard block cost nothing

    def lut(self, table: int, operands: Sequence[Signal], cell: str) -> Signal:
        """Return a new signal: ``table`` of ``operands`` (operand 0 is the least significant index bit)."""
        signal = self.new_signal()
        self.luts[signal] = Lut(table, tuple(operands), cell)
        return signal

    def not_(self, a: Signal, cell: str) -> Signal:
        if a <= TRUE:
            return TRUE - a
        return self.lut(TABLE_NOT, (a,), cell)

    def and_(self, a: Signal, b: Signal, cell: str) -> Signal:
        if a == FALSE or b == FALSE:
            return FALSE
        if a in (TRUE, b):
            return b
        return a if b == TRUE else self.lut(TABLE_AND, (a, b), cell)

    def or_(self, a: Signal, b: Signal, cell: str) -> Signal:
        if a == TRUE or b == TRUE:
            return TRUE
        if a in (FALSE, b):
            return b
        return a if b == FALSE else self.lut(TABLE_OR, (a, b), cell)

    def xor(self, a: Signal, b: Signal, cell: str) -> Signal:
        if a <= TRUE or b <= TRUE:
            low, high = sorted((a, b))
            return high if low == FALSE else self.not_(high, cell)
        return self.lut(TABLE_XOR, (a, b), cell)

    def mux(self, select: Signal, if_false: Signal, if_true: Signal, cell: str) -> Signal:
        if select <= TRUE:
            return if_true if select == TRUE else if_false
        if if_false == if_true:
            return if_true
        return self.lut(TABLE_MUX, (if_false, if_true, select), cell)

    def cells_of(self, signals: Iterable[Signal]) -> list[str]:
        """Return the distinct cells that make ``signals``, in order."""
        cells = {signal: memory.cell for memory in self.memories for read in memory.reads for signal in read.data}
        cells.update((signal, self.luts[signal].cell) for signal in signals if signal in self.luts)
        return list(dict.fromkeys(cells[signal] for signal in signals if signal in cells))
