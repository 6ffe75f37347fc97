"""Codes to planes in registers: networks that exchange bits of the register's number with bits of the place in it.

A stage exchanges one bit of the number of a register with one bit of the position in it: a pair of registers gives two
registers, by two shifts and two selections. The transposition of *K* registers of *K*-bit codes is log2(*K*) such
stages; it leaves the vectors of a block in another order, the same for every port, which a function from codes to
codes never sees. Where that order matters, log2(lanes) stages put them in their natural one. Every stage undoes
itself, so the inverse is the same stages backwards.

Source: H. Warren, Hacker's Delight, 2nd ed., section 7-3, for the exchange of bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import Lines, ternary_call, vector_constant, vector_type, word_type
from synth.netlist.lookup import Basis

__all__ = ["CODE_BITS", "emit_natural_codes", "emit_natural_planes", "emit_transpose", "natural_index_words",
           "transposed_index_words"]

CODE_BITS = (8, 16, 32, 64)
"""Widths of the codes that the networks take."""

_WORD = 64
_PLACES = 6
"""Bits of a place in a word."""

_ALL = (1 << _WORD) - 1
SELECT = 0b11001010
"""Of ``vpternlog``: the second operand where the first one has a 1, otherwise the third."""


def emit_transpose(isa: InstructionSet, bits: int, values: Sequence[str], prefix: str = "", *,
                   code_bits: int | None = None) -> tuple[Lines, list[str]]:
    """Return the lines that transpose registers of codes into planes, or planes into codes, and the values they make.

    Bit *b* of element *e* of result *i* is bit *i* of element *e* of value *b*. Results that nothing reads cost
    nothing: LLVM drops what leads to them alone.

    Parameters
    ----------
    isa : InstructionSet
    bits : int
        Width of an element: 8, 16, 32 or 64.
    values : sequence of str, ``bits`` of them
        LLVM values of :func:`~synth.netlist.llvm_ir.vector_type`. A constant zero may be among them, as
        ``vector_constant(isa, 0)`` writes it.
    prefix : str
        Keeps names apart from those of other networks.
    code_bits : int, optional
        How many low bits of each element may be other than 0, which saves work; by default all.
    """
    network = _Network(isa, bits, values, prefix, code_bits or bits)
    for place in reversed(range(bits.bit_length() - 1)):
        network.exchange(place, place)
    return network.lines, network.values


def emit_natural_planes(isa: InstructionSet, bits: int, values: Sequence[str], prefix: str = "", *,
                        code_bits: int | None = None) -> tuple[Lines, list[str]]:
    """Return the lines that make planes of consecutive registers of codes, with lane *k* for the *k*-th code."""
    network = _Network(isa, bits, values, prefix, code_bits or bits)
    for register, place in _natural_stages(isa, bits):
        network.exchange(register, place)
    return network.lines, [network.values[number] for number in _natural_registers(isa, bits)]


def emit_natural_codes(isa: InstructionSet, bits: int, planes: Sequence[str], prefix: str = ""
                       ) -> tuple[Lines, list[str]]:
    """Return the lines that make consecutive registers of codes of planes, with lane *k* for the *k*-th code."""
    values = [""] * bits
    for plane, number in zip(planes, _natural_registers(isa, bits), strict=True):
        values[number] = plane
    network = _Network(isa, bits, values, prefix, _WORD)
    for register, place in reversed(_natural_stages(isa, bits)):
        network.exchange(register, place)
    return network.lines, network.values


@functools.cache
def transposed_index_words(isa: InstructionSet, bits: int) -> list[list[int]]:
    """Return bit *i* of the number of each lane of a block after :func:`emit_transpose`, for each *i*, as words."""
    per_register = isa.lanes // bits
    return index_words(isa, [(lane % bits) * per_register + lane // bits for lane in range(isa.lanes)])


@functools.cache
def natural_index_words(isa: InstructionSet) -> list[list[int]]:
    """Return bit *i* of the number of each lane of a block in natural order, for each *i*, as words."""
    return index_words(isa, list(range(isa.lanes)))


def index_words(isa: InstructionSet, numbers: list[int]) -> list[list[int]]:
    return [[sum((numbers[word * _WORD + place] >> bit & 1) << place for place in range(_WORD))
             for word in range(isa.words)] for bit in range(isa.lanes.bit_length() - 1)]


def _natural_stages(isa: InstructionSet, bits: int) -> list[tuple[int, int]]:
    """Return which bit of the register's number is exchanged with which place, stage by stage.

    Places are taken from the highest down. The bit of the code's number that belongs there is in a register's number
    by then: either it was from the start, or an earlier stage has put it there.
    """
    places, code = isa.lanes.bit_length() - 1, bits.bit_length() - 1
    return [((place - places) % code, place) for place in reversed(range(places))]


def _natural_registers(isa: InstructionSet, bits: int) -> list[int]:
    """Return the register that holds each plane after the stages."""
    places, code = isa.lanes.bit_length() - 1, bits.bit_length() - 1
    return [sum((plane >> bit & 1) << (bit - places) % code for bit in range(code)) for plane in range(bits)]


class _Value(NamedTuple):
    """A register, and the bits of a word of it that may be other than 0."""

    name: str
    live: int


class _Network:
    """Registers on their way through the stages."""

    def __init__(self, isa: InstructionSet, bits: int, values: Sequence[str], prefix: str, code_bits: int) -> None:
        if bits not in CODE_BITS:
            raise ValueError(f"Code bits must be one of {', '.join(map(str, CODE_BITS))}, not {bits!r}")
        if len(values) != bits:
            raise ValueError(f"Values must be {bits}, one a bit of the codes, not {len(values)}")
        self._isa, self._prefix, self._type = isa, prefix, vector_type(isa)
        self._zero = vector_constant(isa, 0)
        self.lines: Lines = []
        live = _repeated((1 << min(code_bits, bits)) - 1, bits)
        self._values = [_Value(value, 0 if value == self._zero else live) for value in values]
        self._names = 0

    @property
    def values(self) -> list[str]:
        """The registers' names."""
        return [value.name for value in self._values]

    def exchange(self, register_bit: int, place: int) -> None:
        """Exchange a bit of the registers' numbers with a bit of the place in them: in a word, or of the word."""
        values = self._values
        for low in range(len(values)):
            high = low | 1 << register_bit
            if low == high:
                continue
            if place < _PLACES:
                values[low], values[high] = self._exchanged_bits(values[low], values[high], 1 << place)
            else:
                values[low], values[high] = self._exchanged_words(values[low], values[high], place - _PLACES)

    def _exchanged_bits(self, a: _Value, b: _Value, shift: int) -> tuple[_Value, _Value]:
        """Let ``a`` keep its even groups of ``shift`` bits and take those of ``b`` beside them, ``b`` the odd ones."""
        even = _repeated((1 << shift) - 1, 2 * shift)
        lives = (a.live & even | (b.live & even) << shift, (a.live & ~even) >> shift | b.live & ~even)
        if self._isa.basis is not Basis.TERNARY and all((a.live & even, a.live & ~even, b.live & even,
                                                         b.live & ~even)):
            names = self._exchanged_by_xor(a.name, b.name, shift, even)
        else:
            names = (self._merged(a, even, b, shift), self._merged(b, ~even & _ALL, a, -shift))
        return _Value(names[0], lives[0]), _Value(names[1], lives[1])

    def _exchanged_by_xor(self, a: str, b: str, shift: int, even: int) -> tuple[str, str]:
        difference = self._operation("and", self._operation("xor", self._shifted(a, -shift), b),
                                     vector_constant(self._isa, even))
        return self._operation("xor", a, self._shifted(difference, shift)), self._operation("xor", b, difference)

    def _merged(self, kept: _Value, mask: int, moved: _Value, shift: int) -> str:
        """Return ``kept`` under the mask, and elsewhere ``moved``, shifted to the left; what is 0 costs nothing."""
        rest = ~mask & _ALL
        shifted = (moved.live << shift if shift > 0 else moved.live >> -shift) & _ALL
        if not shifted & rest:
            return self._masked(kept, mask)
        arrived = _Value(self._shifted(moved.name, shift), shifted)
        if not kept.live & mask:
            return self._masked(arrived, rest)
        if not kept.live & rest and not arrived.live & mask:
            return self._operation("or", kept.name, arrived.name)
        return self._selected(mask, kept.name, arrived.name)

    def _masked(self, value: _Value, mask: int) -> str:
        if not value.live & mask:
            return self._zero
        if not value.live & ~mask:
            return value.name
        return self._operation("and", value.name, vector_constant(self._isa, mask))

    def _selected(self, mask: int, chosen: str, other: str) -> str:
        constant = vector_constant(self._isa, mask)
        if self._isa.basis is Basis.TERNARY:
            name = self._name()
            self.lines.append(ternary_call(name, SELECT, (constant, chosen, other)))
            return name
        rest = vector_constant(self._isa, ~mask)
        return self._operation("or", self._operation("and", chosen, constant), self._operation("and", other, rest))

    def _exchanged_words(self, a: _Value, b: _Value, bit: int) -> tuple[_Value, _Value]:
        words, live = self._isa.words, a.live | b.live
        if not live:
            return a, b
        first = [word if not word >> bit & 1 else words + (word ^ 1 << bit) for word in range(words)]
        second = [word | 1 << bit if not word >> bit & 1 else words + word for word in range(words)]
        kind, operands = word_type(self._isa), (self._as_words(a.name), self._as_words(b.name))
        names = []
        for order in (first, second):
            name = self._name()
            chosen = ", ".join(f"i32 {word}" for word in order)
            self.lines.append(f"{name} = shufflevector {kind} {operands[0]}, {kind} {operands[1]}, "
                              f"<{words} x i32> <{chosen}>")
            names.append(self._from_words(name))
        return _Value(names[0], live), _Value(names[1], live)

    def _shifted(self, value: str, shift: int) -> str:
        """Return a value shifted to the left, or to the right where negative.

        Bits that would cross from one 32-bit half of a word to the other are masked by whoever asks, but for a shift
        by 32, which therefore goes through words.
        """
        words = self._isa is InstructionSet.AVX512 and abs(shift) == 32
        kind, element, count = (self._type, "i64", self._isa.words)
        if words:
            value, kind = self._as_words(value), word_type(self._isa)
        elif self._isa is InstructionSet.AVX512:
            element, count = "i32", 2 * count
        by = str(abs(shift)) if count == 1 else f"<{', '.join([f'{element} {abs(shift)}'] * count)}>"
        name = self._name()
        self.lines.append(f"{name} = {'shl' if shift > 0 else 'lshr'} {kind} {value}, {by}")
        return self._from_words(name) if words else name

    def _as_words(self, value: str) -> str:
        return self._cast(value, vector_type(self._isa), word_type(self._isa))

    def _from_words(self, value: str) -> str:
        return self._cast(value, word_type(self._isa), vector_type(self._isa))

    def _cast(self, value: str, given: str, wanted: str) -> str:
        if given == wanted:
            return value
        name = self._name()
        self.lines.append(f"{name} = bitcast {given} {value} to {wanted}")
        return name

    def _operation(self, opcode: str, a: str, b: str) -> str:
        name = self._name()
        self.lines.append(f"{name} = {opcode} {self._type} {a}, {b}")
        return name

    def _name(self) -> str:
        self._names += 1
        return f"%{self._prefix}t{self._names}"


def _repeated(pattern: int, period: int) -> int:
    """Return a word of copies of a pattern."""
    return sum(pattern << place for place in range(0, _WORD, period))
