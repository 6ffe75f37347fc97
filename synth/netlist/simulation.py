"""Clocked simulation of a program: many independent lanes, cycle by cycle."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from synth.netlist.kernel import make_kernel
from synth.netlist.machine import KernelMachine, Machine, MachineMaker, asynchronous_bits
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Codes, Planes, pack_codes, unpack_codes, words_for
from synth.netlist.program import Clock, Program, Write


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
    machine_maker : callable, optional
        An engine's ``make_machine``, which holds and executes the design. By default numpy's: up to 8192 lanes run on
        Python integers, more on arrays.
    """

    def __init__(self, program: Program, lanes: int = 1, machine_maker: MachineMaker | None = None) -> None:
        self._lanes = operator.index(lanes)
        if self._lanes < 1:
            raise ValueError(f"Number of lanes must be at least 1, not {lanes!r}")
        self._program = program
        self._machine = (machine_maker or partial(_numpy_machine, program))(words_for(self._lanes))
        self._widths = {port.name: port.width for port in program.inputs}
        self._outputs = [port.name for port in program.outputs]
        self._clock_ports = {clock.port for clock in program.edges}
        self._edges = {name: _Edges.of(program, name) for name in program.clocks}
        self._asynchronous = bool(asynchronous_bits(program))
        self._settled = False
        self.reset()

    @property
    def program(self) -> Program:
        """What it runs."""
        return self._program

    @property
    def lanes(self) -> int:
        """Number of independent copies."""
        return self._lanes

    @property
    def memory_bytes(self) -> int:
        """Size of the memories' contents, all copies together."""
        return self._machine.memory.bytes

    def reset(self) -> None:
        """Put every flip-flop and memory back to its initial value, as after configuration; inputs stay."""
        self._machine.reset()
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
            self._machine.set_number(port, number)
        else:
            codes = np.asarray(value)
            if codes.shape != (self._lanes,):
                raise ValueError(f"Values of {port} must be one a lane, of shape ({self._lanes},), "
                                 f"not {codes.shape}")
            self._machine.set_planes(port, pack_codes(codes, width))
        self._settled = False

    def set_planes(self, port: str, planes: Planes) -> None:
        """Set an input port to packed planes of shape ``(width, words)``."""
        shape = (self._width(port), words_for(self._lanes))
        if planes.shape != shape:
            raise ValueError(f"Planes of {port} must be of shape {shape}, not {planes.shape}")
        self._machine.set_planes(port, planes)
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
        if port not in self._outputs:
            raise KeyError(f"Output must be one of {', '.join(self._outputs)}, not {port!r}")
        self._settle()
        return self._machine.output(port)

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
            self._settle()
            self._take(edges.rising)
            if edges.falling or self._asynchronous:      # otherwise nothing happens while the clock is high
                self._set_clock(edges, True)
                self._settle()
                self._take(edges.falling)
                self._set_clock(edges, False)

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
        self._machine.set_bit(edges.port, edges.index, value)
        self._settled = False

    def _take(self, edge: _Edge) -> None:
        self._machine.take(edge.state)
        if edge.writes:
            self._machine.memory.write(edge.writes, self._machine.write_planes)
        self._settled = False

    def _settle(self) -> None:
        if not self._settled:
            self._machine.settle()
            self._settled = True


def _numpy_machine(program: Program, words: int) -> Machine:
    return KernelMachine(program, words, partial(make_kernel, program), MemoryState(program, words))
