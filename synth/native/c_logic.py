"""Logic as C: one local variable a look-up, by the intrinsics of an instruction set or by operators on words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Logic, Lookup
from synth.netlist.program import ONE, ZERO, Register

__all__ = ["DIALECTS", "Dialect", "statements"]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How C says what an instruction set does.

    Parameters
    ----------
    condition : str
        Of the preprocessor; empty for what every compiler knows.
    header : str
        What declares the intrinsics; empty for none.
    type : str
        Of a register.
    load, store : str
        Format strings of an address, and of an address and a value.
    zero, ones : str
        Constants.
    tables : mapping of a look-up's table to a format string of its operands
        By number of operands and table.
    any_table : str
        Format string of three operands and an immediate, for a set that computes every function of three inputs.
    """

    condition: str
    header: str
    type: str
    load: str
    store: str
    zero: str
    ones: str
    tables: Mapping[tuple[int, int], str]
    any_table: str = ""

    def expression(self, lookup: Lookup, operands: Sequence[str]) -> str:
        """Return a look-up of operands as an expression."""
        if self.any_table:
            padded = [*operands, *[operands[0]] * (3 - len(operands))]
            return self.any_table.format(*padded, _immediate(lookup.table, len(operands)))
        return self.tables[len(operands), lookup.table].format(*operands)


def _immediate(table: int, count: int) -> int:
    """Return a table in the instruction's order, in which the first operand is the highest bit of the index."""
    return sum((table >> sum((k >> (2 - place) & 1) << place for place in range(count)) & 1) << k for k in range(8))


def _gates(both: str, either: str, differ: str, and_not: str, invert: str) -> dict[tuple[int, int], str]:
    """Return the tables of gates; ``and_not`` is of the operand that is taken as it is, and the inverted one."""
    return {(1, 0b01): invert, (2, 0b1000): both, (2, 0b1110): either, (2, 0b0110): differ,
            (2, 0b0010): and_not, (2, 0b0100): _swapped(and_not)}


def _swapped(text: str) -> str:
    return text.replace("{0}", "{2}").replace("{1}", "{0}").replace("{2}", "{1}")


_OR_NOT = "vornq_u64({0}, {1})"

DIALECTS: Mapping[InstructionSet, Dialect] = {
    InstructionSet.AVX512: Dialect(
        condition="defined(__AVX512F__)", header="immintrin.h", type="__m512i",
        load="_mm512_loadu_si512({0})", store="_mm512_storeu_si512({0}, {1});",
        zero="_mm512_setzero_si512()", ones="_mm512_set1_epi64(-1)", tables={},
        any_table="_mm512_ternarylogic_epi64({0}, {1}, {2}, 0x{3:02x})"),
    InstructionSet.AVX2: Dialect(
        condition="defined(__AVX2__)", header="immintrin.h", type="__m256i",
        load="_mm256_loadu_si256((const __m256i *)({0}))", store="_mm256_storeu_si256((__m256i *)({0}), {1});",
        zero="_mm256_setzero_si256()", ones="_mm256_set1_epi64x(-1)",
        tables=_gates("_mm256_and_si256({0}, {1})", "_mm256_or_si256({0}, {1})", "_mm256_xor_si256({0}, {1})",
                      "_mm256_andnot_si256({1}, {0})", "_mm256_xor_si256({0}, _mm256_set1_epi64x(-1))")),
    InstructionSet.NEON: Dialect(
        condition="defined(__ARM_NEON)", header="arm_neon.h", type="uint64x2_t",
        load="vld1q_u64({0})", store="vst1q_u64({0}, {1});", zero="vdupq_n_u64(0)", ones="vdupq_n_u64(UINT64_MAX)",
        tables=_gates("vandq_u64({0}, {1})", "vorrq_u64({0}, {1})", "veorq_u64({0}, {1})", "vbicq_u64({0}, {1})",
                      "vreinterpretq_u64_u8(vmvnq_u8(vreinterpretq_u8_u64({0})))")
        | {(2, 0b1011): _OR_NOT, (2, 0b1101): _swapped(_OR_NOT), (3, 0b11100010): "vbslq_u64({1}, {2}, {0})"}),
    InstructionSet.WORD64: Dialect(
        condition="", header="", type="uint64_t", load="*({0})", store="*({0}) = {1};", zero="UINT64_C(0)",
        ones="UINT64_MAX", tables=_gates("{0} & {1}", "{0} | {1}", "{0} ^ {1}", "{0} & ~{1}", "~{0}")),
}
"""Each needs the compiler to target the instruction set, but for the last one."""


def statements(logic: Logic, isa: InstructionSet, sources: Sequence[str | None], wanted: Sequence[str]) -> list[str]:
    """Return a piece of logic as statements, in its order.

    A source is loaded where it is first read. A result is stored as soon as it is there, but not before the source at
    the same address has been loaded: so a state's next value may take the place of its old one.

    Parameters
    ----------
    sources, wanted : sequence of str
        Addresses, as C expressions; None for a source that is always 0, as a clock is between its edges.
    """
    return _Statements(logic, DIALECTS[isa], sources, wanted).lines


class _Statements:
    def __init__(self, logic: Logic, dialect: Dialect, sources: Sequence[str | None],
                 wanted: Sequence[str]) -> None:
        self._dialect = dialect
        self.lines: list[str] = []
        self._values: dict[Register, str] = {ZERO: dialect.zero, ONE: dialect.ones}
        places_of = dict(zip(logic.sources, sources, strict=True))
        self._values |= {register: dialect.zero for register, address in places_of.items() if address is None}
        self._addresses = {register: address for register, address in places_of.items() if address is not None}
        read = {operand for lookup in logic.lookups for operand in lookup.operands} | set(logic.wanted)
        self._unread = {address for register, address in self._addresses.items() if register in read}
        self._waiting: dict[str, str] = {}               # by address: values whose place is still to be read
        places: dict[Register, list[str]] = {}
        for register, address in zip(logic.wanted, wanted, strict=True):
            places.setdefault(register, []).append(address)
        for lookup in logic.lookups:
            operands = [self._value(operand) for operand in lookup.operands]
            self._define(lookup.target, dialect.expression(lookup, operands))
            self._store(lookup.target, places.pop(lookup.target, ()))
        for register in places:
            self._value(register)                        # all sources are read before any of their places is written
        for register, addresses in places.items():
            self._store(register, addresses)

    def _define(self, register: Register, expression: str) -> None:
        self._values[register] = f"t{register}_"
        self.lines.append(f"const {self._dialect.type} t{register}_ = {expression};")

    def _value(self, register: Register) -> str:
        if register not in self._values:
            address = self._addresses[register]
            self._define(register, self._dialect.load.format(address))
            self._unread.discard(address)
            if address in self._waiting:
                self.lines.append(self._dialect.store.format(address, self._waiting.pop(address)))
        return self._values[register]

    def _store(self, register: Register, addresses: Sequence[str]) -> None:
        for address in addresses:
            if address in self._unread:
                self._waiting[address] = self._values[register]
            else:
                self.lines.append(self._dialect.store.format(address, self._values[register]))
