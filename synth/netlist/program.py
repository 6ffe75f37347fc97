"""A netlist as a straight-line program of bit operations, independent of any engine.

Registers are numbered; 0 holds the constant 0 and 1 the constant 1; each other register is written once: by an input
bit, by a state bit, or by one instruction, which comes before its readers. Memories are read by instructions of their
own and written at clock edges. An engine gives every register one bit a
vector and runs the instructions in order; how the bits are packed is its own affair.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

Register = int
ZERO: Register = 0
ONE: Register = 1


class Operation(enum.IntEnum):
    """What an instruction computes."""

    NOT = 0
    """``~a``; operand ``b`` equals ``a``."""
    AND = 1
    OR = 2
    XOR = 3


@dataclass(frozen=True, slots=True)
class Instruction:
    """``target = operation(a, b)``."""

    operation: Operation
    target: Register
    a: Register
    b: Register


@dataclass(frozen=True, slots=True)
class Read:
    """An instruction that reads memories at one address.

    ``targets`` lists, for every bit that is wanted, the memory (an index of :attr:`Program.memories`), the bit in its
    word and the register. The address has its least significant bit first; it may be empty: the only word.
    """

    address: tuple[Register, ...]
    targets: tuple[tuple[int, int, Register], ...]


@dataclass(frozen=True, slots=True)
class PortRegisters:
    """A port and the register of each bit, least significant first."""

    name: str
    registers: tuple[Register, ...]

    @property
    def width(self) -> int:
        """Width in bits."""
        return len(self.registers)


@dataclass(frozen=True, slots=True)
class Clock:
    """An edge of one bit of an input port."""

    port: str
    index: int
    rising: bool

    @property
    def name(self) -> str:
        """The port's name, with the index where the port is wider than one bit: ``clk`` or ``clks[1]``."""
        return self.port if self.index < 0 else f"{self.port}[{self.index}]"


@dataclass(frozen=True, slots=True)
class StateBit:
    """A flip-flop: its cell, what it holds and takes next, its initial value and its clock.

    ``stored`` is an input of the program. ``settled`` is what the flip-flop holds once the logic has settled: it is
    ``stored`` except where an asynchronous set or reset acts. ``next`` is what it takes at its clock edge.
    """

    cell: str
    stored: Register
    settled: Register
    next: Register
    initial: bool
    clock: Clock


@dataclass(frozen=True, slots=True)
class Write:
    """A write port of a memory: at the clock's edge, the word at ``address`` takes ``data`` while ``enable``."""

    clock: Clock
    address: tuple[Register, ...]
    enable: Register
    data: tuple[Register, ...]


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """A memory: bits of the netlist's memory cells that are written together, however many cells they are in.

    ``initial`` holds the words in turn, each in whole bytes, least significant first. Where several ``writes`` meet at
    one address, the last wins.
    """

    cells: tuple[str, ...]
    words: int
    width: int
    initial: bytes
    writes: tuple[Write, ...]


@dataclass(frozen=True)
class Program:
    """A compiled netlist.

    An inout port appears under ``inputs``, ``outputs`` or both. A port that is driven through a tristate buffer has a
    second output ``<port>.oe`` that tells, per bit, whether the design drives it.
    """

    name: str
    inputs: tuple[PortRegisters, ...]
    outputs: tuple[PortRegisters, ...]
    state: tuple[StateBit, ...]
    instructions: tuple[Instruction | Read, ...]
    register_count: int
    memories: tuple[MemoryBlock, ...] = ()

    @property
    def edges(self) -> tuple[Clock, ...]:
        """The clock of every state bit, then of every write port of a memory."""
        return (*(bit.clock for bit in self.state),
                *(write.clock for memory in self.memories for write in memory.writes))

    @property
    def clocks(self) -> tuple[str, ...]:
        """Names of the clocks, in order of first use."""
        return tuple(dict.fromkeys(clock.name for clock in self.edges))

    @property
    def data_inputs(self) -> tuple[PortRegisters, ...]:
        """Input ports that are not clocks."""
        clocks = {clock.port for clock in self.edges}
        return tuple(port for port in self.inputs if port.name not in clocks)
