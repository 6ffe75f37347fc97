"""Packing between codes and planes in their natural order, in native code.

It moves about as much as memory lets it: a block of 512 8-bit codes takes 120 vector instructions, one of 16-bit codes
240. :mod:`synth.netlist.packing` uses it for large arrays wherever the llvm engine can be used.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.netlist.llvm_blocks import (
    Place,
    Step,
    block_function,
    emit_load,
    emit_load_codes,
    emit_store,
    emit_store_codes,
)
from synth.netlist.llvm_compile import BLOCK_ARGUMENTS, NativeFunction, compile_functions
from synth.netlist.llvm_ir import Lines, vector_constant
from synth.netlist.packing import Codes, Planes, code_type, words_for
from synth.netlist.threads import available_cores, share_blocks
from synth.netlist.transpose import emit_natural_codes, emit_natural_planes

__all__ = ["pack_codes_native", "unpack_codes_native"]

_SHARE_CODES = 1 << 17
"""Codes of a share of a thread: some tens of microseconds."""


def pack_codes_native(codes: npt.NDArray[Any], width: int, *, isa: InstructionSet | None = None) -> Planes:
    """Return what :func:`synth.netlist.packing.pack_codes` does, of codes that have been checked.

    Parameters
    ----------
    codes : array of integers below ``2**width``
    width : int
        1 to 64.
    isa : InstructionSet, optional
        By default as :func:`~synth.netlist.instruction_set.choose_instruction_set` has it.
    """
    isa = choose_instruction_set(isa)
    array = np.ascontiguousarray(codes, code_type(width))
    planes: Planes = np.zeros((width, words_for(array.size)), np.uint64)
    whole = array.size // isa.lanes
    _run(_packing(isa, width), array, planes, whole, isa)
    rest = array[whole * isa.lanes:]
    if rest.size:
        padded, block = np.zeros(isa.lanes, array.dtype), np.empty((width, isa.words), np.uint64)
        padded[:rest.size] = rest
        _run(_packing(isa, width), padded, block, 1, isa)
        planes[:, whole * isa.words:] = block[:, :words_for(rest.size)]
    return planes


def unpack_codes_native(planes: Planes, vectors: int, *, isa: InstructionSet | None = None) -> Codes:
    """Return what :func:`synth.netlist.packing.unpack_codes` does, for 1 to 64 planes."""
    isa = choose_instruction_set(isa)
    width = len(planes)
    rows = planes if planes.strides[1] == planes.itemsize else np.ascontiguousarray(planes)
    codes = np.empty(vectors, code_type(width))
    whole = vectors // isa.lanes
    _run(_unpacking(isa, width), codes, rows, whole, isa)
    rest = codes[whole * isa.lanes:]
    if rest.size:
        block, unpacked = np.zeros((width, isa.words), np.uint64), np.empty(isa.lanes, codes.dtype)
        block[:, :words_for(rest.size)] = rows[:, whole * isa.words:][:, :words_for(rest.size)]
        _run(_unpacking(isa, width), unpacked, block, 1, isa)
        rest[:] = unpacked[:rest.size]
    return codes


def _run(function: NativeFunction, codes: npt.NDArray[Any], planes: Planes, blocks: int, isa: InstructionSet) -> None:
    rows = planes.ctypes.data + np.arange(len(planes), dtype=np.intp) * planes.strides[0]
    table = np.concatenate([np.array([codes.ctypes.data], np.intp), rows])

    def work(first: int, end: int) -> None:
        function(table.ctypes.data, 0, first, end)

    share_blocks(work, 0, blocks, threads=available_cores(), least=_SHARE_CODES // isa.lanes)


@functools.cache
def _packing(isa: InstructionSet, width: int) -> NativeFunction:
    """Return the function from a block of codes, the first pointer, to a row of each plane, the others."""
    bits = 8 * code_type(width).itemsize
    lines, values = emit_load_codes(isa, bits, bits, 0, "in")
    network, planes = emit_natural_planes(isa, bits, values, "net")
    lines += network
    for index in range(width):
        lines += emit_store(isa, Place(1 + index, 0), planes[index], f"o{index}", aligned=False)
    return _compiled(isa, bits, width, lines)


@functools.cache
def _unpacking(isa: InstructionSet, width: int) -> NativeFunction:
    """Return the function from rows of planes to codes, with the same pointers."""
    bits = 8 * code_type(width).itemsize
    lines: Lines = []
    planes = [vector_constant(isa, 0)] * bits
    for index in range(width):
        lines += emit_load(isa, Place(1 + index, 0), f"i{index}", aligned=False)
        planes[index] = f"%i{index}"
    network, values = emit_natural_codes(isa, bits, planes, "net")
    lines += network
    lines += emit_store_codes(isa, bits, bits, 0, values, "out")
    return _compiled(isa, bits, width, lines)


def _compiled(isa: InstructionSet, bits: int, width: int, lines: Lines) -> NativeFunction:
    step = Step(frozenset(range(width + 1)), lines)
    text = block_function("packing", [isa.bytes * bits] + [isa.bytes] * width, [step])
    return compile_functions(text, isa).function("packing", *BLOCK_ARGUMENTS)
