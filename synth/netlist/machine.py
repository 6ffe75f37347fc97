"""What holds a running design: its inputs, its state, and the results of its logic, a bit a lane.

A machine knows nothing of clocks and their order, which is :class:`~synth.netlist.simulation.Simulation`'s part. It
settles (evaluates the logic, and lets asynchronous controls act on the state), and takes next states over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from synth.netlist.kernel import KernelMaker, Plane
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Planes
from synth.netlist.program import Program, Register

__all__ = ["KernelMachine", "Machine", "MachineMaker", "asynchronous_bits", "output_registers", "write_registers"]


class Machine(Protocol):
    """A design in a fixed number of words of lanes."""

    @property
    def memory(self) -> MemoryState:
        """The contents of the memories."""

    def reset(self) -> None:
        """Put every flip-flop and memory back to its initial value."""

    def set_number(self, port: str, number: int) -> None:
        """Set an input port to one code in all lanes."""

    def set_planes(self, port: str, planes: Planes) -> None:
        """Set an input port to planes."""

    def set_bit(self, port: str, index: int, value: bool) -> None:
        """Set one bit of an input port in all lanes."""

    def settle(self) -> None:
        """Evaluate the logic for the inputs and the state, and let asynchronous controls act on the state."""

    def take(self, bits: Sequence[int]) -> None:
        """Let some of the program's state bits take their next value, which :meth:`settle` has found."""

    def output(self, port: str) -> Planes:
        """Return the planes of an output port, as it was when the logic settled."""

    def write_planes(self, registers: Sequence[Register]) -> Planes:
        """Return the planes of registers that the memories' write ports look at, as they were then."""


MachineMaker = Callable[[int], Machine]
"""From a number of words of lanes to a machine."""


def output_registers(program: Program) -> list[Register]:
    """Return the register of every bit of every output port."""
    return [register for port in program.outputs for register in port.registers]


def asynchronous_bits(program: Program) -> list[int]:
    """Return which state bits have an asynchronous set or reset."""
    return [index for index, bit in enumerate(program.state) if bit.settled != bit.stored]


def write_registers(program: Program) -> list[Register]:
    """Return every register that a write port looks at, once."""
    return list(dict.fromkeys(register for memory in program.memories for write in memory.writes
                              for register in (*write.address, write.enable, *write.data)))


class KernelMachine:
    """A machine that is made of an engine's kernel: every plane is a value of its own."""

    def __init__(self, program: Program, words: int, kernel_maker: KernelMaker, memory: MemoryState) -> None:
        self._program, self._memory = program, memory
        self._asynchronous = asynchronous_bits(program)
        # What a step needs besides the outputs: every next state, and where an asynchronous control acts its result.
        wanted = [*output_registers(program), *(bit.next for bit in program.state),
                  *(program.state[index].settled for index in self._asynchronous)]
        written = write_registers(program)
        self._write_place = {register: len(wanted) + place for place, register in enumerate(written)}
        self._kernel = kernel_maker([*wanted, *written], words, memory)
        self._inputs: dict[str, list[Plane]] = {
            port.name: [self._kernel.constant(False)] * port.width for port in program.inputs}
        self._outputs: dict[str, slice] = {}
        self._output_count = 0
        for port in program.outputs:
            self._outputs[port.name] = slice(self._output_count, self._output_count + port.width)
            self._output_count += port.width
        self._results: list[Plane] = []
        self._state: list[Plane] = []
        self._next: list[Plane] = []

    @property
    def memory(self) -> MemoryState:
        return self._memory

    def reset(self) -> None:
        self._memory.reset()
        self._state = [self._kernel.constant(bit.initial) for bit in self._program.state]

    def set_number(self, port: str, number: int) -> None:
        self._inputs[port] = [self._kernel.constant(bool(number >> index & 1))
                              for index in range(len(self._inputs[port]))]

    def set_planes(self, port: str, planes: Planes) -> None:
        self._inputs[port] = self._kernel.from_planes(planes)

    def set_bit(self, port: str, index: int, value: bool) -> None:
        self._inputs[port][index] = self._kernel.constant(value)

    def settle(self) -> None:
        results = self._kernel.evaluate([*(plane for planes in self._inputs.values() for plane in planes),
                                         *self._state])
        state_start, asynchronous_start = self._output_count, self._output_count + len(self._state)
        self._results = results
        self._next = results[state_start:asynchronous_start]
        for place, index in enumerate(self._asynchronous, asynchronous_start):
            self._state[index] = results[place]

    def take(self, bits: Sequence[int]) -> None:
        for index in bits:
            self._state[index] = self._next[index]

    def output(self, port: str) -> Planes:
        return self._kernel.to_planes(self._results[self._outputs[port]])

    def write_planes(self, registers: Sequence[Register]) -> Planes:
        return self._kernel.to_planes([self._results[self._write_place[register]] for register in registers])
