"""A program as one native function from arrays of codes to arrays of codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.affine_transpose import (
    AFFINE,
    affine_index_words,
    emit_affine_codes,
    emit_affine_planes,
    suits_affine,
)
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_blocks import (
    SCRATCH,
    Place,
    Step,
    block_function,
    emit_load,
    emit_load_codes,
    emit_store,
    emit_store_codes,
    logic_steps,
)
from synth.netlist.llvm_compile import BLOCK_ARGUMENTS, compile_functions
from synth.netlist.llvm_ir import Lines, vector_constant, vector_type, word_type
from synth.netlist.logic import Logic, pieces_of
from synth.netlist.packing import WORD_BITS, code_type
from synth.netlist.program import ONE, ZERO, PortRegisters, Program, Register
from synth.netlist.threads import share_blocks
from synth.netlist.transpose import emit_transpose, transposed_index_words

__all__ = ["SHARE_LOOKUPS", "CodesFunction", "aligned_words", "can_run_codes"]

SHARE_LOOKUPS = 1 << 18
"""Look-ups of a share of a thread: some 50 microseconds."""

_NUMBER_BITS = 63
"""Bits of a block's number: that of the last vector is no longer, see :meth:`synth.netlist.engine.Engine.run_range`."""

_ALWAYS_COUNTED = 3
"""Bits of the block's number whose planes are written for each block: one block in eight has more to write."""

CodeArrays = Mapping[str, npt.NDArray[np.unsignedinteger[Any]]]


def can_run_codes(program: Program) -> bool:
    """Return whether a program is what :class:`CodesFunction` takes: no clock, no memory, ports of at most 64 bits."""
    ports = (*program.inputs, *program.outputs)
    return not (program.edges or program.memories) and all(port.width <= WORD_BITS for port in ports)


class CodesFunction:
    """Compiled code that packs codes, runs the logic and unpacks the results, block by block.

    Within a block vectors are in the order in which the transposition leaves them; nothing outside sees it.

    Parameters
    ----------
    program : Program
        One that :func:`can_run_codes`.
    isa : InstructionSet
    constants : sequence of str
        Input ports that have the same code in all vectors.
    counted : sequence of str
        Input ports that go through all combinations of codes, the first in the most significant bits of the vector's
        number. The others are arrays.
    covered : bool
        Whether time is taken to find few look-ups.
    """

    def __init__(self, program: Program, isa: InstructionSet, *, constants: Sequence[str] = (),
                 counted: Sequence[str] = (), covered: bool = True) -> None:
        self._isa, self._lanes = isa, isa.lanes
        inputs = {port.name: port for port in program.inputs}
        self._counted = [inputs[name] for name in counted]
        self._constants = [inputs[name] for name in constants]
        self._given = [port for name, port in inputs.items() if name not in {*constants, *counted}]
        self._outputs = program.outputs
        self._stored = {port.name: 8 * code_type(port.width).itemsize for port in (*self._given, *self._outputs)}
        self._bits = max(self._stored.values(), default=8)
        self._affine = suits_affine(isa, self._bits)
        self._places: dict[Register, Place] = {}
        self._count_planes = sum(port.width for port in self._counted)
        self._used = 0
        self._place_inputs()
        steps = [self._packing(number, port) for number, port in enumerate(self._given)]
        steps += self._logic(program, covered)
        strides = [isa.lanes // 8 * self._stored[port.name] for port in (*self._given, *self._outputs)]
        self._text = block_function("codes", strides, steps, self._counting())
        if self._affine:
            self._text = f"{AFFINE}\n{self._text}"
        self._function = compile_functions(self._text, isa).function("codes", *BLOCK_ARGUMENTS)

    @property
    def text(self) -> str:
        """The function ``codes`` in LLVM's language."""
        return self._text

    @property
    def lanes(self) -> int:
        """Vectors of a block."""
        return self._lanes

    def run(self, inputs: CodeArrays, constants: Mapping[str, int], outputs: CodeArrays, first: int, end: int, *,
            threads: int) -> None:
        """Run blocks ``first`` to ``end`` of all vectors.

        Parameters
        ----------
        inputs, outputs : mapping of port name to contiguous array
            Of the smallest unsigned type that holds the port, :attr:`lanes` codes a block, the first of them those of
            block ``first``.
        constants : mapping of port name to code
        first, end : int
            The number of a block matters to ``counted`` ports alone.
        threads : int
        """
        arrays = [inputs[port.name] for port in self._given] + [outputs[port.name] for port in self._outputs]
        # Where block 0 would be: for numbers beyond the memory there is, modulo the size of an address.
        table = np.array([(array.ctypes.data - first * self._lanes * array.itemsize) % (1 << WORD_BITS)
                          for array in arrays], np.uint64)
        planes = self._fixed_planes(constants)

        def work(start: int, stop: int) -> None:
            scratch = aligned_words(self._used // 8)
            for place, plane in planes.items():
                scratch[place.offset // 8:][:self._isa.words] = plane
            self._function(table.ctypes.data, scratch.ctypes.data, start, stop)

        share_blocks(work, first, end, threads=threads, least=-(-SHARE_LOOKUPS // self._work))

    def _place_inputs(self) -> None:
        """Give every input bit a place in the scratch, counted bits first in the order of the vector's number."""
        order = [*reversed(self._counted), *self._constants, *self._given]
        for register in (register for port in order for register in port.registers):
            self._places[register] = self._new_place()

    def _new_place(self) -> Place:
        place = Place(SCRATCH, self._used)
        self._used += self._isa.bytes
        return place

    def _packing(self, number: int, port: PortRegisters) -> Step:
        isa, stored, prefix = self._isa, self._stored[port.name], f"in{number}"
        lines, values = emit_load_codes(isa, self._bits, stored, number, prefix)
        if self._affine:
            network, planes = emit_affine_planes(values, prefix)
        else:
            network, planes = emit_transpose(isa, self._bits, values, prefix, code_bits=stored)
        lines += network
        for index, register in enumerate(port.registers):
            lines += emit_store(isa, self._places[register], planes[index], f"{prefix}o{index}")
        return Step(frozenset({number, SCRATCH}), lines)

    def _logic(self, program: Program, covered: bool) -> list[Step]:
        """Return the steps of the logic and of what turns its results into codes."""
        registers = [register for port in self._outputs for register in port.registers]
        logic, = pieces_of(program, registers, self._isa.basis, covered=covered)
        assert isinstance(logic, Logic)                  # there is no memory that could cut it
        self._work = len(logic.lookups) + self._bits * len(self._stored)
        places = [self._new_place() for _ in registers]
        steps, self._used = logic_steps(logic, self._isa, self._places, places, self._used)
        position = 0
        for number, port in enumerate(self._outputs):
            steps.append(self._unpacking(number, port, places[position:position + port.width]))
            position += port.width
        return steps

    def _unpacking(self, number: int, port: PortRegisters, places: Sequence[Place]) -> Step:
        isa, prefix, pointer = self._isa, f"out{number}", len(self._given) + number
        lines: Lines = []
        planes = [vector_constant(isa, 0)] * self._bits
        for index, (register, place) in enumerate(zip(port.registers, places, strict=True)):
            if register not in (ZERO, ONE):
                lines += emit_load(isa, place, f"{prefix}i{index}")
                planes[index] = f"%{prefix}i{index}"
            elif register == ONE:
                planes[index] = vector_constant(isa, -1)
        if self._affine:
            network, codes = emit_affine_codes(planes, prefix)
        else:
            network, codes = emit_transpose(isa, self._bits, planes, prefix)
        lines += network
        lines += emit_store_codes(isa, self._bits, self._stored[port.name], pointer, codes, prefix)
        return Step(frozenset({pointer, SCRATCH}), lines)

    def _counting(self) -> Lines:
        """Return the lines that keep the planes of the block's number: those of the bits that changed are written.

        The lowest are written always, so that the processor seldom guesses wrongly how many there are.
        """
        lane_bits = self._isa.lanes.bit_length() - 1
        high = min(self._count_planes - lane_bits, _NUMBER_BITS)  # planes of bits beyond stay 0
        if high <= 0:
            return []
        always = min(_ALWAYS_COUNTED, high)
        lines = [line for bit in range(always) for line in self._counted_plane(str(bit), f"low{bit}", lane_bits)]
        if high == always:
            return lines
        return [*lines, "%fresh = icmp eq i64 %i, %first", "%negative = sub i64 0, %i",
                "%lowest = and i64 %i, %negative", "%below = sub i64 %lowest, 1",
                "%changed = select i1 %fresh, i64 -1, i64 %below", *self._is_set("changed", str(always - 1), "any"),
                "br i1 %any, label %count, label %counted", "count:",
                f"%m = phi i64 [ {always}, %head ], [ %further, %count ]",
                *self._counted_plane("%m", "high", lane_bits), "%further = add i64 %m, 1",
                *self._is_set("changed", "%m", "carried"), f"%inside = icmp ult i64 %further, {high}",
                "%more = and i1 %carried, %inside", "br i1 %more, label %count, label %counted", "counted:"]

    @staticmethod
    def _is_set(value: str, bit: str, name: str) -> Lines:
        return [f"%{name}s = lshr i64 %{value}, {bit}", f"%{name} = trunc i64 %{name}s to i1"]

    def _counted_plane(self, bit: str, name: str, lane_bits: int) -> Lines:
        """Return the lines that write the plane of a bit of the block's number, which is the same in all lanes."""
        isa, kind = self._isa, vector_type(self._isa)
        wide, count = word_type(isa), isa.words
        lines = [f"%{name}s = lshr i64 %i, {bit}", f"%{name}b = and i64 %{name}s, 1", f"%{name}w = sub i64 0, %{name}b"]
        if count > 1:
            lines += [f"%{name}e = insertelement {wide} zeroinitializer, i64 %{name}w, i64 0",
                      f"%{name}v = shufflevector {wide} %{name}e, {wide} zeroinitializer, "
                      f"<{count} x i32> zeroinitializer", f"%{name} = bitcast {wide} %{name}v to {kind}"]
        return [*lines, f"%{name}m = mul i64 {bit}, {isa.bytes}",
                f"%{name}o = add i64 %{name}m, {lane_bits * isa.bytes}",
                f"%{name}p = getelementptr i8, ptr %scratch, i64 %{name}o",
                f"store {kind} %{name if count > 1 else name + 'w'}, ptr %{name}p, align {isa.bytes}"]

    def _fixed_planes(self, constants: Mapping[str, int]) -> dict[Place, Any]:
        """Return what is in the scratch from the start: constants, and the vectors' numbers within a block."""
        planes: dict[Place, Any] = {}
        for port in self._constants:
            for index, register in enumerate(port.registers):
                planes[self._places[register]] = np.uint64(-(constants[port.name] >> index & 1) % (1 << WORD_BITS))
        lane_bits = self._isa.lanes.bit_length() - 1
        if self._counted:
            words = affine_index_words() if self._affine else transposed_index_words(self._isa, self._bits)
            for bit in range(min(lane_bits, self._count_planes)):
                planes[Place(SCRATCH, bit * self._isa.bytes)] = np.array(words[bit], np.uint64)
        return planes


def aligned_words(words: int) -> npt.NDArray[np.uint64]:
    """Return zeros at an address that every register may be loaded from."""
    room = np.zeros(words + 8, np.uint64)
    start = -room.ctypes.data % 64 // 8
    return room[start:start + words]
