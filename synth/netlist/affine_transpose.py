"""Codes of a byte to planes and back by GFNI: what :mod:`synth.netlist.transpose` does, in two thirds of its steps.

``vgf2p8affineqb`` multiplies bit matrices of eight by eight: with a suitable one in place of the other, it transposes
eight codes at once. Then the first byte of every word belongs to one plane, the second to another, and what is left is
to exchange the registers' numbers with the places of bytes. Where codes become planes, the bytes of each register come
out in an order of its own, such that this takes no shuffles: of two registers one result is a blend, and the other
funnels the upper half of each element of one and the lower half of the other's into one element (``vpshld``).

The vectors of a block are left in another order than by the networks of shifts: :func:`affine_index_words`.

Source: Intel, "Galois Field New Instructions (GFNI) Technology Guide", 2021, on affine transforms; ``vpshld`` is of
AVX512_VBMI2, which every processor with GFNI and AVX-512 has, but is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import Lines, ternary_call, vector_constant
from synth.netlist.transpose import SELECT, index_words

__all__ = ["AFFINE", "affine_index_words", "emit_affine_codes", "emit_affine_planes", "suits_affine"]

_BITS, _REGISTER_BYTES = 8, 64
_STAGES = range(3)
_TYPE, _BYTES_TYPE = "<16 x i32>", "<64 x i8>"


def _swapped(stage: int) -> str:
    """Return the places of bytes that exchange the halves of each element of twice 8, 16 or 32 bits."""
    return ", ".join(f"i8 {byte % 16 ^ 1 << stage}" for byte in range(_REGISTER_BYTES))


def _places(stage: int, upper: bool) -> int:
    """Return a bit for each byte: whether it is in the upper half of its element, or in the lower one."""
    return sum(1 << byte for byte in range(_REGISTER_BYTES) if (byte >> stage & 1) == upper)


AFFINE = "\n".join((
    "declare <64 x i8> @llvm.x86.vgf2p8affineqb.512(<64 x i8>, <64 x i8>, i8 immarg)",
    "declare <64 x i8> @llvm.x86.avx512.pshuf.b.512(<64 x i8>, <64 x i8>)",
    *(f"declare <{32 >> stage} x i{16 << stage}> @llvm.fshl.v{32 >> stage}i{16 << stage}"
      f"({', '.join([f'<{32 >> stage} x i{16 << stage}>'] * 3)})" for stage in _STAGES),
    *(f"@swapped{stage} = private constant {_BYTES_TYPE} <{_swapped(stage)}>, align 64" for stage in _STAGES),
    *(f"@places{stage}{upper:d} = private constant i64 {_places(stage, upper)}" for stage in _STAGES
      for upper in (False, True))))
"""What a text that holds these networks has to declare, once."""


@functools.cache
def suits_affine(isa: InstructionSet, bits: int) -> bool:
    """Return whether this machine has what the networks take for codes of so many bits.

    Raises
    ------
    ImportError
        If llvmlite, which knows the machine, is not installed.
    """
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return isa is InstructionSet.AVX512 and bits == _BITS and all(features.get(name)
                                                                  for name in ("gfni", "avx512vbmi2"))


def emit_affine_planes(values: Sequence[str], prefix: str) -> tuple[Lines, list[str]]:
    """Return the lines that make planes of eight registers of codes, and the planes.

    Parameters
    ----------
    values : sequence of str
        LLVM values of :func:`~synth.netlist.llvm_ir.vector_type`.
    prefix : str
        Keeps names apart from those of other networks.
    """
    network = _Network(prefix)
    registers = [network.affine(value, [byte ^ number for byte in range(_BITS)]) for number, value in enumerate(values)]
    for stage in _STAGES:
        for low, high in _pairs(stage):
            registers[low], registers[high] = (network.blended(registers[low], registers[high], stage),
                                               network.funnelled(registers[low], registers[high], stage))
    return network.lines, registers


def emit_affine_codes(planes: Sequence[str], prefix: str) -> tuple[Lines, list[str]]:
    """Return the lines that make eight registers of codes of planes, and the registers."""
    network = _Network(prefix)
    registers = list(planes[::-1])                       # the instruction takes the bytes of a matrix backwards
    for stage in _STAGES:
        merged = network.merged if stage < _STAGES[-1] else network.merged_by_shifts
        for low, high in _pairs(stage):
            registers[low], registers[high] = (merged(registers[low], registers[high], stage, True),
                                               merged(registers[high], registers[low], stage, False))
    codes = [network.affine(register, range(_BITS - 1, -1, -1)) for register in registers]
    return network.lines, codes


@functools.cache
def affine_index_words() -> list[list[int]]:
    """Return bit *i* of the number of each lane of a block after :func:`emit_affine_planes`, for each *i*, as words."""
    isa, numbers = InstructionSet.AVX512, []
    for lane in range(isa.lanes):
        word, register, code = lane // 64, lane // 8 % 8, 7 - lane % 8
        numbers.append(register * _REGISTER_BYTES + 8 * word + code)
    return index_words(isa, numbers)


def _pairs(stage: int) -> list[tuple[int, int]]:
    return [(low, low | 1 << stage) for low in range(_BITS) if not low >> stage & 1]


class _Network:
    """The lines so far."""

    def __init__(self, prefix: str) -> None:
        self.lines: Lines = []
        self._prefix, self._names = prefix, 0
        self._loaded: set[int] = set()

    def affine(self, matrices: str, chosen: Sequence[int]) -> str:
        """Return the transposed matrices, their bits backwards: byte *j* of each word is bit ``chosen[j]`` of all."""
        word = sum(1 << 8 * byte + bit for byte, bit in enumerate(chosen))
        bytes_ = ", ".join(f"i8 {word >> 8 * (byte % 8) & 255}" for byte in range(_REGISTER_BYTES))
        given = self._line(f"bitcast {_TYPE} {matrices} to {_BYTES_TYPE}")
        made = self._line(f"call {_BYTES_TYPE} @llvm.x86.vgf2p8affineqb.512({_BYTES_TYPE} <{bytes_}>, "
                          f"{_BYTES_TYPE} {given}, i8 0)")
        return self._line(f"bitcast {_BYTES_TYPE} {made} to {_TYPE}")

    def blended(self, low: str, high: str, stage: int) -> str:
        """Return the lower halves of the elements of ``low`` and the upper ones of ``high``."""
        half = 8 << stage
        word = sum(((1 << half) - 1) << place for place in range(0, 64, 2 * half))
        name = self._name()
        self.lines.append(ternary_call(name, SELECT, (vector_constant(InstructionSet.AVX512, word), low, high)))
        return name

    def funnelled(self, low: str, high: str, stage: int) -> str:
        """Return the upper halves of ``low`` as the lower ones, and the lower halves of ``high`` as the upper ones."""
        if stage == _STAGES[-1]:                         # as many shuffles as keep both ports busy
            chosen = ", ".join(f"i32 {place}" for pair in range(0, 16, 2) for place in (pair + 1, pair + 16))
            return self._line(f"shufflevector {_TYPE} {low}, {_TYPE} {high}, <16 x i32> <{chosen}>")
        size, count = 16 << stage, 32 >> stage
        kind = f"<{count} x i{size}>"
        high, low = (self._line(f"bitcast {_TYPE} {value} to {kind}") for value in (high, low))
        by = ", ".join([f"i{size} {size // 2}"] * count)
        made = self._line(f"call {kind} @llvm.fshl.v{count}i{size}({kind} {high}, {kind} {low}, {kind} <{by}>)")
        return self._line(f"bitcast {kind} {made} to {_TYPE}")

    def merged(self, kept: str, moved: str, stage: int, upper: bool) -> str:
        """Return ``kept`` with one half of each element replaced: by the other half of ``moved``."""
        if stage not in self._loaded:
            self._load(stage)
        kept, moved = (self._line(f"bitcast {_TYPE} {value} to {_BYTES_TYPE}") for value in (kept, moved))
        swapped = self._line(f"call {_BYTES_TYPE} @llvm.x86.avx512.pshuf.b.512({_BYTES_TYPE} {moved}, "
                             f"{_BYTES_TYPE} %{self._prefix}swapped{stage})")
        made = self._line(f"select <64 x i1> %{self._prefix}places{stage}{upper:d}, {_BYTES_TYPE} {swapped}, "
                          f"{_BYTES_TYPE} {kept}")
        return self._line(f"bitcast {_BYTES_TYPE} {made} to {_TYPE}")

    def merged_by_shifts(self, kept: str, moved: str, stage: int, upper: bool) -> str:
        """Return what :meth:`merged` does, of the last stage; shifts and selections run where shuffles do not."""
        words, opcode = "<8 x i64>", "shl" if upper else "lshr"
        given = self._line(f"bitcast {_TYPE} {moved} to {words}")
        made = self._line(f"{opcode} {words} {given}, <{', '.join(['i64 32'] * 8)}>")
        arrived = self._line(f"bitcast {words} {made} to {_TYPE}")
        return self.blended(*((kept, arrived) if upper else (arrived, kept)), stage)

    def _load(self, stage: int) -> None:
        """Load what :meth:`merged` takes: from memory, or LLVM would make more instructions of what it knows."""
        self._loaded.add(stage)
        self.lines.append(f"%{self._prefix}swapped{stage} = load volatile {_BYTES_TYPE}, ptr @swapped{stage}, align 64")
        for upper in (0, 1):
            name = f"%{self._prefix}places{stage}{upper}"
            self.lines += [f"{name}w = load volatile i64, ptr @places{stage}{upper}",
                           f"{name} = bitcast i64 {name}w to <64 x i1>"]

    def _line(self, text: str) -> str:
        name = self._name()
        self.lines.append(f"{name} = {text}")
        return name

    def _name(self) -> str:
        self._names += 1
        return f"%{self._prefix}a{self._names}"
