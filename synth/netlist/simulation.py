"""Clocked simulation of a program: many independent lanes, cycle by cycle."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from synth.netlist.kernel import Kernel, KernelMaker, Plane, make_kernel
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Codes, Planes, pack_codes, unpack_codes, words_for
from synth.netlist.program import Clock, Program, Register, Write


@dataclass(frozen=True)
class _Edge:
    """An edge of a clock: the state bits that it loads, and the write ports (with their memory) that it lets act."""

    state: tuple[int, ...]
    writes: tuple[tuple[int, Write], ...]

    @classmethod
    def of(cls, program: Program, clock: Clock) -> _Edge:
        return cls(tuple(index for index, bit in enumerate(program.state) if bit.clock == clock),
                   tuple((index, write) for index, memory in enumerate(program.memories)
                         for write in memory.writes if write.clock == clock))

    def __bool__(self) -> bool:
        return bool(self.state or self.writes)


@dataclass(frozen=True)
class _Edges:
    """A clock: the input bit it is, and its two edges."""

    port: str
    index: int
    rising: _Edge
    falling: _Edge

    @classmethod
    def of(cls, program: Program, name: str) -> _Edges:
        clock = next(clock for clock in program.edges if clock.name == name)
        rising, falling = (_Edge.of(program, replace(clock, rising=rising)) for rising in (True, False))
        return cls(clock.port, max(clock.index, 0), rising, falling)


class Simulation:
    """A running design: ``lanes`` independent copies that share nothing but their clock edges.

    Time stands still but for :meth:`step`. Between steps every clock is low and the logic is settled: :meth:`get`
    shows what the pins show then. All inputs start at 0, all flip-flops and memories at their initial values.
    Asynchronous sets and resets act when the logic settles, which :meth:`get` and :meth:`step` make it do; an input
    that was set and set back in between was never seen.

    Parameters
    ----------
    program : Program
    lanes : int
        Number of copies, at least 1.
    kernel_maker : callable, optional
        An engine's ``make_kernel``, which executes the logic. By default numpy's: up to 8192 lanes run on Python
        integers, more on arrays.
    """

    def __init__(self, program: Program, lanes: int = 1, kernel_maker: KernelMaker | None = None) -> None:
        self._lanes = operator.index(lanes)
        if self._lanes < 1:
            raise ValueError(f"Number of lanes must be at least 1, not {lanes!r}")
        self._program = program
        outputs = [register for port in program.outputs for register in port.registers]
        # What a step needs besides the outputs: every next state, and where an asynchronous control acts its result.
        self._asynchronous = [index for index, bit in enumerate(program.state) if bit.settled != bit.stored]
        wanted = [*outputs, *(bit.next for bit in program.state),
                  *(program.state[index].settled for index in self._asynchronous)]
        self._write_place = {register: len(wanted) + place for place, register in enumerate(_write_registers(program))}
        self._memory = MemoryState(program, words_for(self._lanes))
        maker = kernel_maker or partial(make_kernel, program)
        self._kernel: Kernel = maker([*wanted, *self._write_place], words_for(self._lanes), self._memory)
        self._inputs: dict[str, list[Plane]] = {
            port.name: [self._kernel.constant(False)] * port.width for port in program.inputs}
        self._widths = {port.name: port.width for port in program.inputs}
        self._outputs: dict[str, slice] = {}
        self._output_count = 0
        for port in program.outputs:
            self._outputs[port.name] = slice(self._output_count, self._output_count + port.width)
            self._output_count += port.width
        self._results: list[Plane] = []
        self._clock_ports = {clock.port for clock in program.edges}
        self._edges = {name: _Edges.of(program, name) for name in program.clocks}
        self._state: list[Plane] = []
        self._next: list[Plane] = []
        self._settled = False
        self.reset()

    @property
    def lanes(self) -> int:
        """Number of independent copies."""
        return self._lanes

    @property
    def memory_bytes(self) -> int:
        """Size of the memories' contents, all copies together."""
        return self._memory.bytes

    def reset(self) -> None:
        """Put every flip-flop and memory back to its initial value, as after configuration; inputs stay."""
        self._memory.reset()
        self._state = [self._kernel.constant(bit.initial) for bit in self._program.state]
        self._settled = False

    def set(self, port: str, value: int | npt.ArrayLike) -> None:
        """Set an input port: one integer for all lanes, or one a lane.

        Raises
        ------
        KeyError
            If there is no such input.
        ValueError
            If the port is a clock, the value does not fit, or there is not one a lane.
        """
        width = self._width(port)
        if isinstance(value, int | np.integer):
            number = int(value)
            if number < 0 or number >> width:
                raise ValueError(f"Value of {port} must be 0 to {(1 << width) - 1}, not {number}")
            planes = [self._kernel.constant(bool(number >> index & 1)) for index in range(width)]
        else:
            codes = np.asarray(value)
            if codes.shape != (self._lanes,):
                raise ValueError(f"Values of {port} must be one a lane, of shape ({self._lanes},), "
                                 f"not {codes.shape}")
            planes = self._kernel.from_planes(pack_codes(codes, width))
        self._inputs[port] = planes
        self._settled = False

    def set_planes(self, port: str, planes: Planes) -> None:
        """Set an input port to packed planes of shape ``(width, words)``."""
        shape = (self._width(port), words_for(self._lanes))
        if planes.shape != shape:
            raise ValueError(f"Planes of {port} must be of shape {shape}, not {planes.shape}")
        self._inputs[port] = self._kernel.from_planes(planes)
        self._settled = False

    def get(self, port: str) -> Codes:
        """Return an output port, one unsigned integer a lane.

        Raises
        ------
        KeyError
            If there is no such output.
        """
        return unpack_codes(self.get_planes(port), self._lanes)

    def get_planes(self, port: str) -> Planes:
        """Return an output port as packed planes of shape ``(width, words)``."""
        if not self._settled:
            self._settle()
        if port not in self._outputs:
            raise KeyError(f"Output must be one of {', '.join(self._outputs)}, not {port!r}")
        return self._kernel.to_planes(self._results[self._outputs[port]])

    def step(self, clock: str | None = None, cycles: int = 1) -> None:
        """Run whole cycles of one clock: its rising edge, then its falling edge.

        All flip-flops and memories of an edge take their next state at once. Other clocks stand still.

        Raises
        ------
        ValueError
            If there is no such clock, or several and none is named.
        """
        edges = self._edges[self._clock(clock)]
        for _ in range(cycles):
            if not self._settled:
                self._settle()
            self._take(edges.rising)
            if edges.falling or self._asynchronous:      # otherwise nothing happens while the clock is high
                self._set_clock(edges, True)
                self._settle()
                self._take(edges.falling)
                self._set_clock(edges, False)
            self._settled = False

    def _clock(self, clock: str | None) -> str:
        clocks = self._program.clocks
        if clock is None and len(clocks) == 1:
            return clocks[0]
        if clock not in clocks:
            raise ValueError(f"Clock must be one of {', '.join(clocks) or 'none (the design has no flip-flop)'}, "
                             f"not {clock!r}")
        return clock

    def _width(self, port: str) -> int:
        if port not in self._widths:
            raise KeyError(f"Input must be one of {', '.join(self._widths)}, not {port!r}")
        if port in self._clock_ports:
            raise ValueError(f"Input must not be the clock {port!r}, which step() drives")
        return self._widths[port]

    def _set_clock(self, edges: _Edges, value: bool) -> None:
        self._inputs[edges.port][edges.index] = self._kernel.constant(value)

    def _take(self, edge: _Edge) -> None:
        for index in edge.state:
            self._state[index] = self._next[index]
        if edge.writes:
            self._memory.write(edge.writes, self._write_planes)

    def _write_planes(self, registers: Sequence[Register]) -> Planes:
        return self._kernel.to_planes([self._results[self._write_place[register]] for register in registers])

    def _settle(self) -> None:
        """Evaluate the logic; latch what asynchronous controls do to the state."""
        results = self._kernel.evaluate([*(plane for planes in self._inputs.values() for plane in planes),
                                         *self._state])
        state_start, asynchronous_start = self._output_count, self._output_count + len(self._state)
        self._results = results
        self._next = results[state_start:asynchronous_start]
        for place, index in enumerate(self._asynchronous, asynchronous_start):
            self._state[index] = results[place]
        self._settled = True


def _write_registers(program: Program) -> list[Register]:
    """Return every register that a write port looks at, once."""
    return list(dict.fromkeys(register for memory in program.memories for write in memory.writes
                              for register in (*write.address, write.enable, *write.data)))
