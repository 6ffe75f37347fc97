"""How fast a netlist is as native code: timed on planes in the first-level cache, beside what the processor can do."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_compile import NativeCode, compile_functions
from synth.netlist.llvm_ir import emit_block, ternary_call, vector_constant, vector_type
from synth.netlist.logic import Basis, Logic, pieces_of
from synth.netlist.packing import Codes, pack_codes, unpack_codes
from synth.netlist.program import PortRegisters, Program

__all__ = ["BoundLoop", "TileLoop"]

_ALIGNMENT = 64
_MIXED = np.uint64(0x9E3779B97F4A7C15)
"""Whose multiples have bits of both kinds everywhere: 2**64 by the golden ratio."""

_ROUNDS = 16
"""Instructions on each register in a turn of the bound's loop, so that counting the turns costs nothing."""


class BoundLoop:
    """The instruction that look-ups become, over and over on registers alone: no program can be faster.

    The instruction is ``vpternlog`` for AVX-512, and ``and``, ``or`` and ``xor`` in turn otherwise.

    Parameters
    ----------
    isa : InstructionSet
    """

    _REGISTERS: Mapping[InstructionSet, int] = {  # enough to hide the latency, and a few fewer than there are
        InstructionSet.AVX512: 12, InstructionSet.AVX2: 12, InstructionSet.NEON: 24, InstructionSet.WORD64: 8}

    def __init__(self, isa: InstructionSet) -> None:
        self._isa, self._count = isa, self._REGISTERS[isa]
        self._code = compile_functions(self._text(), isa)
        self._function = self._code.function("bound", ctypes.c_void_p, ctypes.c_int64)

    @property
    def instructions(self) -> int:
        """How many of them one turn of the loop executes."""
        return _ROUNDS * self._count

    def run(self, turns: int) -> None:
        """Run the loop on registers of this call's own; it holds no lock of the interpreter."""
        values = _aligned(self._count * self._isa.words)
        values[:] = np.arange(1, values.size + 1, dtype=np.uint64) * _MIXED
        self._function(values.ctypes.data, turns)

    def _text(self) -> str:
        kind, count, size = vector_type(self._isa), self._count, self._isa.bytes
        lines = ["define void @bound(ptr %values, i64 %turns) {", "entry:"]
        for index in range(count):
            lines += [f"%p{index} = getelementptr i8, ptr %values, i64 {index * size}",
                      f"%first{index} = load {kind}, ptr %p{index}, align {size}"]
        lines += ["br label %loop", "loop:", "%turn = phi i64 [ 0, %entry ], [ %next, %loop ]"]
        lines += [f"%v0_{index} = phi {kind} [ %first{index}, %entry ], [ %v{_ROUNDS}_{index}, %loop ]"
                  for index in range(count)]
        for step in range(_ROUNDS):
            for index in range(count):
                name = f"%v{step + 1}_{index}"
                operands = [f"%v{step}_{(index + place) % count}" for place in range(3)]
                if self._isa.basis is Basis.TERNARY:
                    # Tables that depend on every operand, no two neighbours alike.
                    table = 2 + (37 * step + 11 * index) % 251
                    lines.append(ternary_call(name, table, operands))
                else:
                    opcode = ("xor", "and", "xor", "or")[(step + index) % 4]
                    lines.append(f"{name} = {opcode} {kind} {operands[0]}, {operands[1]}")
        lines += ["%next = add i64 %turn, 1", "%done = icmp sge i64 %next, %turns",
                  "br i1 %done, label %exit, label %loop", "exit:"]
        lines += [f"store {kind} %v{_ROUNDS}_{index}, ptr %p{index}, align {size}" for index in range(count)]
        return "\n".join([*lines, "ret void", "}"])


class TileLoop:
    """A program over tiles of planes, the whole repeated inside the native code.

    A *tile* holds one register of every plane, side by side, for as many vectors as a register has lanes: so a few
    tiles stay in the first-level cache, and what is timed is the logic. The state of a clocked program goes from each
    tile to the next, and so does what an output feeds back to an input.

    Parameters
    ----------
    program : Program
        Without memories, asynchronous resets and falling edges.
    isa : InstructionSet
    feedback : mapping of output port to input port
        Outputs that are the next tile's inputs, as an accumulator's; of equal width.

    Raises
    ------
    ValueError
        If the program has such state, or a port of the feedback is unknown or of another width.
    """

    def __init__(self, program: Program, isa: InstructionSet, *, feedback: Mapping[str, str] | None = None) -> None:
        self._program, self._isa = program, isa
        self._feedback = dict(feedback or {})
        self._check()
        fed_back = {self._input(name): self._output(result) for result, name in self._feedback.items()}
        self._inputs = [port for port in program.data_inputs if port not in fed_back]
        self._outputs = [port for port in program.outputs if port.name not in self._feedback]
        pairs = [pair for port, result in fed_back.items()
                 for pair in zip(port.registers, result.registers, strict=True)]
        pairs += [(bit.stored, bit.next) for bit in program.state]
        self._state = pairs
        wanted = [register for port in self._outputs for register in port.registers] + [after for _, after in pairs]
        (logic,) = pieces_of(program, wanted, isa.basis)
        assert isinstance(logic, Logic)  # _check let no memory through
        self._logic = logic
        self._input_places = _places(self._inputs)
        self._output_places = _places(self._outputs)
        self._code: NativeCode = compile_functions(self._text(), isa)
        self._function = self._code.function("tiles", *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2)

    @property
    def instructions(self) -> int:
        """Look-ups of one tile: the vector instructions that the logic takes at least."""
        return len(self._logic.lookups)

    @property
    def logic(self) -> Logic:
        """The look-ups in order."""
        return self._logic

    @property
    def object_code(self) -> bytes:
        """The machine code, as an object file."""
        return self._code.object_code

    @property
    def tile_bytes(self) -> int:
        """Input planes of one tile."""
        return max(1, len(self._input_places)) * self._isa.bytes

    def prepared(self, inputs: Mapping[str, npt.ArrayLike]) -> PreparedTiles:
        """Return tiles of codes, ready to run.

        Parameters
        ----------
        inputs : port name to codes
            All input ports but clocks and those that are fed back; as many codes each, a multiple of the lanes.
        """
        arrays = {name: np.asarray(codes) for name, codes in inputs.items()}
        if set(arrays) != {port.name for port in self._inputs}:
            raise ValueError(f"Inputs must be {', '.join(port.name for port in self._inputs) or 'none'}, not "
                             f"{', '.join(arrays) or 'none'}")
        lengths = {len(array) for array in arrays.values()}
        count = lengths.pop() if lengths else self._isa.lanes
        if lengths or not count or count % self._isa.lanes:
            raise ValueError(f"Inputs must have one length, a multiple of {self._isa.lanes} vectors, not "
                             f"{', '.join(f'{name}: {len(array)}' for name, array in arrays.items())}")
        return PreparedTiles(self, arrays, count // self._isa.lanes)

    def _check(self) -> None:
        if self._program.memories:
            raise ValueError(f"Program must have no memory, not {len(self._program.memories)}: a tile holds none")
        if any(bit.settled != bit.stored or not bit.clock.rising for bit in self._program.state):
            raise ValueError("Program must change its state at rising edges alone, not by an asynchronous reset or at "
                             "a falling edge")
        for result, name in self._feedback.items():
            if self._output(result).width != self._input(name).width:
                raise ValueError(f"Feedback must be from an output to an input of its width, not from {result}, "
                                 f"{self._output(result).width} bits, to {name}, {self._input(name).width} bits")

    def _input(self, name: str) -> PortRegisters:
        return _named(self._program.data_inputs, name, "input")

    def _output(self, name: str) -> PortRegisters:
        return _named(self._program.outputs, name, "output")

    def _text(self) -> str:
        kind, size, logic = vector_type(self._isa), self._isa.bytes, self._logic
        state = {before: index for index, (before, _) in enumerate(self._state)}
        inputs = {register: index for index, register in enumerate(self._input_places)}
        outputs = len(self._output_places)

        def load(index: int) -> tuple[list[str], str]:
            register = logic.sources[index]
            if register in state:
                base, place = "%before", state[register]
            elif register in inputs:
                base, place = "%input", inputs[register]
            else:
                return [], vector_constant(self._isa, 0)  # a clock, low between its edges
            return [f"%s{index}p = getelementptr i8, ptr {base}, i64 {place * size}",
                    f"%s{index} = load {kind}, ptr %s{index}p, align {size}"], f"%s{index}"

        def store(index: int, value: str) -> list[str]:
            base, place = ("%output", index) if index < outputs else ("%after", index - outputs)
            return [f"%w{index}p = getelementptr i8, ptr {base}, i64 {place * size}",
                    f"store {kind} {value}, ptr %w{index}p, align {size}"]

        # The state has two places, read and written in turn, so that no bit is overwritten before it is read.
        # Without "stackrealign" LLVM spills to a stack that is not aligned to registers, at half the speed.
        lines = ["define void @tiles(ptr noalias %inputs, ptr noalias %outputs, ptr %state, ptr %other, i64 %count, "
                 'i64 %repeats) "stackrealign" {', "entry:", "br label %repeat", "repeat:",
                 "%r = phi i64 [ 0, %entry ], [ %r1, %end ]",
                 "%kept = phi ptr [ %state, %entry ], [ %after, %end ]",
                 "%free = phi ptr [ %other, %entry ], [ %before, %end ]", "br label %loop", "loop:",
                 "%i = phi i64 [ 0, %repeat ], [ %i1, %loop ]",
                 "%before = phi ptr [ %kept, %repeat ], [ %after, %loop ]",
                 "%after = phi ptr [ %free, %repeat ], [ %before, %loop ]",
                 f"%io = mul i64 %i, {len(self._input_places) * size}", f"%oo = mul i64 %i, {outputs * size}",
                 "%input = getelementptr i8, ptr %inputs, i64 %io", "%output = getelementptr i8, ptr %outputs, i64 %oo",
                 *emit_block(logic, self._isa, load, store, reload=True),
                 "%i1 = add i64 %i, 1", "%last = icmp eq i64 %i1, %count", "br i1 %last, label %end, label %loop",
                 "end:", "%r1 = add i64 %r, 1", "%done = icmp sge i64 %r1, %repeats",
                 "br i1 %done, label %exit, label %repeat", "exit:", "ret void", "}"]
        return "\n".join(lines)


class PreparedTiles:
    """Inputs, outputs and state of a :class:`TileLoop`, for one thread at a time."""

    def __init__(self, loop: TileLoop, inputs: Mapping[str, npt.NDArray[Any]], tiles: int) -> None:
        self._loop, self._tiles = loop, tiles
        self._words = loop._isa.words
        planes = [pack_codes(inputs[port.name], port.width) for port in loop._inputs]
        self._inputs = _aligned(tiles * len(loop._input_places) * self._words)
        if planes:
            shaped = self._inputs.reshape(tiles, -1, self._words)
            shaped[:] = np.concatenate(planes).reshape(-1, tiles, self._words).transpose(1, 0, 2)
        self._outputs = _aligned(tiles * len(loop._output_places) * self._words)
        initial = {bit.stored: bit.initial for bit in loop._program.state}
        self._state, self._other = (_aligned(len(loop._state) * self._words) for _ in range(2))
        for row, (before, _) in zip(self._state.reshape(-1, self._words), loop._state, strict=True):
            row[:] = ~np.uint64(0) if initial.get(before) else 0

    @property
    def vectors(self) -> int:
        """Vectors of all tiles: what one repeat computes."""
        return self._tiles * self._loop._isa.lanes

    def run(self, repeats: int = 1) -> None:
        """Run all tiles in order, the whole so many times; it holds no lock of the interpreter meanwhile.

        The state starts where the last run left it, at first at its initial values and with inputs that are fed back
        at 0.
        """
        self._loop._function(self._inputs.ctypes.data, self._outputs.ctypes.data, self._state.ctypes.data,
                             self._other.ctypes.data, self._tiles, repeats)
        if self._tiles * repeats % 2:
            self._state, self._other = self._other, self._state

    def output(self, port: str) -> Codes:
        """Return the codes of an output: all vectors of the last repeat, or, where it is fed back, what the last tile
        left."""
        loop = self._loop
        result = loop._output(port)
        if port in loop._feedback:
            befores = [before for before, _ in loop._state]
            start = befores.index(loop._input(loop._feedback[port]).registers[0])
            return unpack_codes(self._state.reshape(-1, self._words)[start:start + result.width], loop._isa.lanes)
        start = sum(other.width for other in loop._outputs[:loop._outputs.index(result)])
        shaped = self._outputs.reshape(self._tiles, -1, self._words)[:, start:start + result.width]
        return unpack_codes(np.ascontiguousarray(shaped.transpose(1, 0, 2)).reshape(result.width, -1), self.vectors)


def _named(ports: tuple[PortRegisters, ...], name: str, noun: str) -> PortRegisters:
    for port in ports:
        if port.name == name:
            return port
    raise ValueError(f"Feedback must be from an output to an input of the program, not with the {noun} {name!r}; it "
                     f"has {', '.join(port.name for port in ports) or 'none'}")


def _places(ports: list[PortRegisters]) -> list[int]:
    return [register for port in ports for register in port.registers]


def _aligned(words: int) -> npt.NDArray[np.uint64]:
    """Return words at the start of a cache line, all 0."""
    space = np.zeros(max(words, 1) + _ALIGNMENT // 8, np.uint64)
    start = -space.ctypes.data % _ALIGNMENT // 8
    return space[start:start + words]
