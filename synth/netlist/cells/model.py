"""What a cell model is, and the view of one instance that it expands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from synth.netlist.errors import NetlistError
from synth.netlist.network import (
    FALSE,
    TABLE_BUFFER,
    TRUE,
    Contents,
    FlipFlop,
    Lut,
    Network,
    Signal,
    WritePort,
)
from synth.netlist.read import Bit, Cell, Direction, Parameter


@dataclass(frozen=True)
class CellModel:
    """The model of one cell type.

    Parameters
    ----------
    ports : port name to width in bits, None where the cell's parameters choose it
        All ports that a netlist may connect.
    expand : function of a :class:`CellView`
        Writes the cell's behaviour into the network.
    parameters : parameter names that ``expand`` looks at
    ignored : parameter names without influence on the logic (electrical standards, timing)
    constants : output port to the value it always has, for ground and supply cells
    first : whether the cell is expanded before those that are not, because others ask for what it sets
    """

    ports: Mapping[str, int | None]
    expand: Callable[[CellView], None]
    parameters: Collection[str] = ()
    ignored: Collection[str] = ()
    constants: Mapping[str, bool] = field(default_factory=dict)
    first: bool = False

    def accepts(self, cell: Cell) -> bool:
        """Tell whether every connected port of ``cell`` is one of this model's, in its width."""
        return all((port in self.ports and self.ports[port] in (None, len(bits))) or not bits
                   for port, bits in cell.connections.items())


@dataclass(frozen=True)
class Controls:
    """The set and reset inputs of a flip-flop; FALSE is an absent one."""

    sync_set: Signal = FALSE
    sync_reset: Signal = FALSE
    async_set: Signal = FALSE
    async_reset: Signal = FALSE


NO_CONTROLS = Controls()


class CellView:
    """One instance being expanded: its pins as signals, its parameters as values."""

    def __init__(self, network: Network, cell: Cell, model: CellModel) -> None:
        self._network = network
        self._cell = cell
        self.title = f"cell {cell.name!r} ({cell.type})"
        unknown = set(cell.parameters) - set(model.parameters) - set(model.ignored)
        if unknown:
            name = min(unknown)
            raise self.error(f"Parameter {name} must be unset for the netlist engine", cell.parameters[name])

    def error(self, constraint: str, value: object) -> NetlistError:
        """Return an error that names this cell."""
        return NetlistError(f"{constraint}, not {value} ({self.title})")

    # Parameters

    def integer(self, name: str, default: int, width: int, undefined: bool | None = None) -> int:
        """Return a parameter as an unsigned number of ``width`` bits.

        A string is read as hexadecimal (``0x…``) or decimal. ``undefined`` is the value of ``x`` bits; by default
        they are an error.
        """
        parameter = self._cell.parameters.get(name)
        if parameter is None:
            return default
        if parameter.text is not None:
            try:
                value = int(parameter.text, 0)
            except ValueError:
                raise self.error(f"Parameter {name} must be a number", parameter) from None
        else:
            bits = parameter.bits or "0"
            if undefined is not None:
                bits = bits.replace("x", "1" if undefined else "0")
            if set(bits) - {"0", "1"}:
                raise self.error(f"Parameter {name} must be of bits 0 and 1", parameter)
            value = int(bits, 2)
        if value >> width:
            raise self.error(f"Parameter {name} must have at most {width} bits", parameter)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a one-bit parameter."""
        return bool(self.integer(name, int(default), 32))

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return a string parameter that must be one of ``allowed``."""
        parameter = self._cell.parameters.get(name)
        if parameter is None:
            return default
        text = _text(parameter)
        if text not in allowed:
            raise self.error(f"Parameter {name} must be one of {', '.join(sorted(allowed))}", parameter)
        return text

    # Pins

    def connected(self, port: str) -> bool:
        """Tell whether a port is connected to a net or a defined constant."""
        return bool([bit for bit in self._cell.connections.get(port, ()) if bit not in ("x", "z")])

    def input(self, port: str, index: int = 0, default: Signal | None = None) -> Signal:
        """Return the signal at a pin; ``default`` is what an unconnected pin means, by default undefined."""
        bits = self._cell.connections.get(port, ())
        if index >= len(bits) or (bits[index] == "z" and default is not None):
            if default is not None:
                return default
            return self._network.new_undefined(f"pin {port}[{index}] of {self.title} is unconnected")
        return self._network.net(bits[index], f"pin {port}[{index}] of {self.title}")

    def bus(self, port: str, width: int, default: Signal | None = None) -> list[Signal]:
        """Return the signals at a port, least significant first."""
        return [self.input(port, index, default) for index in range(width)]

    def constant(self, port: str, index: int = 0, default: Signal | None = None) -> bool:
        """Return a pin that must be constant."""
        signal = self.input(port, index, default)
        if signal not in (FALSE, TRUE):
            bits = self._cell.connections.get(port, ())
            value = f"net {self._network.netlist.net_name(bits[index])!r}" if index < len(bits) else "unconnected"
            raise self.error(f"Pin {port}[{index}] must be the constant 0 or 1", value)
        return signal == TRUE

    def output(self, port: str, signals: Signal | Sequence[Signal]) -> None:
        """Drive a port; pins beyond the connected ones are dropped."""
        if isinstance(signals, int):
            signals = [signals]
        for bit, signal in zip(self._cell.connections.get(port, ()), signals, strict=False):
            self._network.drive(bit, signal, self.title)

    def unsupported_output(self, port: str) -> None:
        """Leave an output without a value: whoever depends on it gets an error that names it."""
        for index, bit in enumerate(self._cell.connections.get(port, ())):
            self._network.drive(bit, self._network.new_undefined(
                f"output {port}[{index}] of {self.title} is not modelled"), self.title)

    def pin(self, port: str) -> Bit | None:
        """Return the net at a one-bit port, or None where it is unconnected."""
        bits = self._cell.connections.get(port, ())
        return bits[0] if bits and not isinstance(bits[0], str) else None

    def net_initial(self, port: str) -> bool:
        """Return the ``init`` attribute of the net at a one-bit port, False where it has none."""
        bit = self.pin(port)
        return isinstance(bit, int) and self._network.netlist.initial.get(bit, False)

    def drive_pad(self, port: str, data: Signal, enable: Signal = TRUE) -> None:
        """Drive a top-level port through a pad, while ``enable``."""
        bit = self.pin(port)
        if bit is None:
            return
        self._network.drive_pad(bit, data, enable, self.title)

    def pad_direction(self, port: str) -> Direction | None:
        """Return the direction of the top-level port at a pad's pin."""
        bit = self.pin(port)
        return None if bit is None else self._network.pad(bit, self.title)[2]

    # Functions

    def new_signal(self) -> Signal:
        """Return a signal to be given a value later by :meth:`define`: the state of a feedback loop."""
        return self._network.new_signal()

    def define(self, target: Signal, value: Signal) -> None:
        """Give a signal of :meth:`new_signal` its value."""
        self._network.luts[target] = Lut(TABLE_BUFFER, (value,), self.title)

    def undefined(self, reason: str) -> Signal:
        """Return a signal without a value; ``reason`` names what is missing."""
        return self._network.new_undefined(f"{reason} of {self.title}")

    def lut(self, table: int, operands: Sequence[Signal]) -> Signal:
        return self._network.lut(table, operands, self.title)

    def not_(self, a: Signal) -> Signal:
        return self._network.not_(a, self.title)

    def and_(self, a: Signal, b: Signal) -> Signal:
        return self._network.and_(a, b, self.title)

    def or_(self, a: Signal, b: Signal) -> Signal:
        return self._network.or_(a, b, self.title)

    def xor(self, a: Signal, b: Signal) -> Signal:
        return self._network.xor(a, b, self.title)

    def mux(self, select: Signal, if_false: Signal, if_true: Signal) -> Signal:
        return self._network.mux(select, if_false, if_true, self.title)

    def invert_if(self, condition: bool, signal: Signal) -> Signal:
        return self.not_(signal) if condition else signal

    def flip_flop(self, data: Signal, clock: Signal, *, enable: Signal = TRUE, rising: bool = True,
                  initial: bool = False, controls: Controls = NO_CONTROLS, enable_over_sync: bool = False) -> Signal:
        """Return the output of a new flip-flop.

        Priority, highest first: asynchronous reset, asynchronous set, synchronous reset, synchronous set, enable.
        With ``enable_over_sync`` the synchronous set and reset act only while enabled.
        """
        def controlled(signal: Signal, set_: Signal, reset: Signal) -> Signal:
            return self.mux(reset, self.mux(set_, signal, TRUE), FALSE)

        stored = self._network.new_signal()
        settled = controlled(stored, controls.async_set, controls.async_reset)
        if enable_over_sync:
            following = self.mux(enable, stored, controlled(data, controls.sync_set, controls.sync_reset))
        else:
            following = controlled(self.mux(enable, stored, data), controls.sync_set, controls.sync_reset)
        following = controlled(following, controls.async_set, controls.async_reset)
        self._network.flip_flops.append(FlipFlop(
            cell=self.title, stored=stored, settled=settled, data=following, clock=clock, rising=rising,
            initial=initial))
        return settled

    def memory(self, initial: Contents, writes: Sequence[WritePort], addresses: Sequence[Sequence[Signal]]
               ) -> list[list[Signal]]:
        """Return the words of a new memory at each of ``addresses``, as they are before a clock edge writes."""
        return self._network.memory(initial, writes, addresses, self.title)

    def set_global_reset(self, active: Signal) -> None:
        """Make ``active`` the design's global set/reset."""
        if self._network.global_reset is not None:
            raise self.error("Global set/reset must have one driver", f"also {self._network.global_reset[0]}")
        self._network.global_reset = (self.title, active)

    @property
    def global_reset(self) -> Signal:
        """The design's global set/reset, FALSE where it has none."""
        return FALSE if self._network.global_reset is None else self._network.global_reset[1]


def _text(parameter: Parameter) -> str:
    return parameter.text if parameter.text is not None else str(parameter.bits)
