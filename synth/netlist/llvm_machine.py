"""A running design in native code: all planes of a block of lanes lie side by side, and a step copies nothing.

A block's *record* holds the planes of the inputs, of what is wanted of the logic, and of what passes from logic to
memory reads and on. The state is two arrays of records: the logic reads one and writes all next states into the other,
and where a clock edge concerns all of them they change places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_blocks import Place, block_function, logic_steps
from synth.netlist.llvm_codes import SHARE_LOOKUPS, aligned_words
from synth.netlist.llvm_compile import BLOCK_ARGUMENTS, NativeFunction, compile_functions
from synth.netlist.logic import Logic, pieces_of
from synth.netlist.machine import asynchronous_bits, output_registers, write_registers
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import Planes
from synth.netlist.program import ONE, ZERO, Program, Read, Register
from synth.netlist.threads import share_blocks

__all__ = ["LlvmMachine", "MachineCode"]

_RECORD, _STATE, _NEXT = range(3)                        # the pointers of a block

_INITIAL, _FULL = np.uint64(0), ~np.uint64(0)


class MachineCode:
    """The native code of a design's logic, and where it finds every register; for any number of lanes.

    Parameters
    ----------
    program : Program
    isa : InstructionSet
    covered : bool
        Whether time is taken to find few look-ups.
    """

    def __init__(self, program: Program, isa: InstructionSet, *, covered: bool = True) -> None:
        self.program, self.isa = program, isa
        self.slots: dict[Register, int] = {}
        for register in [*(register for port in program.inputs for register in port.registers), ZERO, ONE]:
            self.slots.setdefault(register, len(self.slots))
        asynchronous = [program.state[index].settled for index in asynchronous_bits(program)]
        self.wanted = [*output_registers(program), *asynchronous, *write_registers(program)]
        self.wanted_slot = len(self.slots)
        self.record_planes = self.wanted_slot + len(self.wanted)
        final = [*self.wanted, *(bit.next for bit in program.state)]
        pieces = self._joined(pieces_of(program, final, isa.basis, covered=covered), final)
        self._sources = {bit.stored: Place(_STATE, isa.bytes * index) for index, bit in enumerate(program.state)}
        self._sources |= {register: Place(_RECORD, isa.bytes * slot) for register, slot in self.slots.items()}
        self._final = [Place(_RECORD, isa.bytes * (self.wanted_slot + index)) for index in range(len(self.wanted))]
        self._final += [Place(_NEXT, isa.bytes * index) for index in range(len(program.state))]
        self.scratch_bytes = self.lookups = 0
        self.steps: list[Read | NativeFunction] = self._compiled(pieces)

    def place(self, register: Register) -> Place:
        """Return where a register is that is an input, a state bit, a constant or what a memory read takes or gives."""
        return self._sources[register]

    def _joined(self, pieces: Sequence[Logic | Read], final: Sequence[Register]) -> list[Logic | Read]:
        """Return the pieces with slots for what passes between them, and at the end one that moves what is wanted.

        Without memory reads there is one piece, and it is that one.
        """
        if len(pieces) == 1 and isinstance(pieces[0], Logic) and pieces[0].wanted == tuple(final):
            return list(pieces)
        for piece in pieces:
            made = piece.wanted if isinstance(piece, Logic) else [register for _, _, register in piece.targets]
            for register in made:
                if register not in self.slots:
                    self.slots[register] = self.record_planes
                    self.record_planes += 1
        return [*pieces, Logic(tuple(dict.fromkeys(final)), tuple(final), ())]

    def _compiled(self, pieces: Sequence[Logic | Read]) -> list[Read | NativeFunction]:
        strides = [self.isa.bytes * planes for planes in (self.record_planes, len(self.program.state),
                                                          len(self.program.state))]
        texts, names = [], []
        for number, piece in enumerate(pieces):
            if isinstance(piece, Logic):
                last = number == len(pieces) - 1
                places = self._final if last else [self._sources[register] for register in piece.wanted]
                steps, used = logic_steps(piece, self.isa, self._sources, places, 0)
                self.scratch_bytes, self.lookups = max(self.scratch_bytes, used), self.lookups + len(piece.lookups)
                names.append(f"logic{number}")
                texts.append(block_function(names[-1], strides, steps))
        code = compile_functions("\n".join(texts), self.isa)
        functions = iter([code.function(name, *BLOCK_ARGUMENTS) for name in names])
        return [next(functions) if isinstance(piece, Logic) else piece for piece in pieces]


class LlvmMachine:
    """A machine that runs native code.

    Parameters
    ----------
    code : MachineCode
    words : int
        Words of lanes.
    memory : MemoryState
    threads : int
    """

    def __init__(self, code: MachineCode, words: int, memory: MemoryState, threads: int) -> None:
        self._code, self._memory, self._threads = code, memory, threads
        self._words, step = words, code.isa.words
        self._blocks = -(-words // step)
        program = code.program
        self._record = self._planes_of_blocks(code.record_planes)
        self._record[:, code.slots[ONE]] = _FULL
        self._state, self._next = (self._planes_of_blocks(len(program.state)) for _ in range(2))
        self._asynchronous = asynchronous_bits(program)
        self._inputs = {port.name: [code.slots[register] for register in port.registers] for port in program.inputs}
        self._outputs, start = {}, code.wanted_slot
        for port in program.outputs:
            self._outputs[port.name] = range(start, start + port.width)
            start += port.width
        self._settled = range(start, start + len(self._asynchronous))
        start += len(self._asynchronous)
        self._written = {register: start + index for index, register in enumerate(write_registers(program))}
        self._steps: list[Callable[[], None]] = [
            self._reading(each) if isinstance(each, Read) else self._running(each) for each in code.steps]

    @property
    def memory(self) -> MemoryState:
        return self._memory

    def reset(self) -> None:
        self._memory.reset()
        for index, bit in enumerate(self._code.program.state):
            self._state[:, index] = _FULL if bit.initial else _INITIAL

    def set_number(self, port: str, number: int) -> None:
        for index, slot in enumerate(self._inputs[port]):
            self._record[:, slot] = _FULL if number >> index & 1 else _INITIAL

    def set_planes(self, port: str, planes: Planes) -> None:
        self._put(self._inputs[port], planes)

    def set_bit(self, port: str, index: int, value: bool) -> None:
        self._record[:, self._inputs[port][index]] = _FULL if value else _INITIAL

    def settle(self) -> None:
        for step in self._steps:
            step()
        if self._asynchronous:
            self._state[:, self._asynchronous] = self._record[:, self._settled.start:self._settled.stop]

    def take(self, bits: Sequence[int]) -> None:
        if len(bits) == self._state.shape[1]:
            self._state, self._next = self._next, self._state
        else:
            self._state[:, bits] = self._next[:, bits]

    def output(self, port: str) -> Planes:
        return self._get(self._outputs[port])

    def write_planes(self, registers: Sequence[Register]) -> Planes:
        return self._get([self._written[register] for register in registers])

    def _planes_of_blocks(self, planes: int) -> npt.NDArray[np.uint64]:
        words = self._code.isa.words
        return aligned_words(self._blocks * planes * words).reshape(self._blocks, planes, words)

    def _put(self, slots: Sequence[int], planes: Planes) -> None:
        """Copy rows of words into the records; what is left of the last block keeps whatever it held."""
        step = self._code.isa.words
        whole = self._words // step
        for slot, row in zip(slots, planes, strict=True):
            self._record[:whole, slot] = row[:whole * step].reshape(whole, step)
            if whole < self._blocks:
                self._record[whole, slot, :self._words - whole * step] = row[whole * step:]

    def _get(self, slots: Sequence[int]) -> Planes:
        """Return planes of the records as rows of words."""
        rows: Planes = np.empty((len(slots), self._blocks, self._code.isa.words), np.uint64)
        for row, slot in zip(rows, slots, strict=True):
            row[:] = self._record[:, slot]
        return rows.reshape(len(slots), -1)[:, :self._words]

    def _running(self, function: NativeFunction) -> Callable[[], None]:
        code = self._code
        least = -(-SHARE_LOOKUPS // max(code.lookups, 1))

        def work(first: int, end: int) -> None:
            table = np.array([array.ctypes.data for array in (self._record, self._state, self._next)], np.intp)
            scratch = aligned_words(code.scratch_bytes // 8)
            function(table.ctypes.data, scratch.ctypes.data, first, end)

        return lambda: share_blocks(work, 0, self._blocks, threads=self._threads, least=least)

    def _reading(self, read: Read) -> Callable[[], None]:
        reader = self._memory.reader(read)
        targets = [self._code.slots[register] for _, _, register in read.targets]

        def step() -> None:
            self._put(targets, reader(self._address(read.address)))

        return step

    def _address(self, registers: Sequence[Register]) -> Planes:
        rows: Planes = np.empty((len(registers), self._blocks, self._code.isa.words), np.uint64)
        for row, register in zip(rows, registers, strict=True):
            pointer, offset = self._code.place(register)
            row[:] = (self._state if pointer == _STATE else self._record)[:, offset // self._code.isa.bytes]
        return rows.reshape(len(registers), -1)[:, :self._words]
