"""Logic as LLVM's intermediate language: one vector register a plane, in the order of the look-ups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.lookup import Basis, Logic, Lookup
from synth.netlist.polarity import SELECT_TABLE
from synth.netlist.program import ONE, ZERO, Register
from synth.netlist.spilling import Move, assign_slots, plan_spills

__all__ = ["STACK", "TERNARY", "Lines", "Load", "Store", "emit_block", "ternary_call", "vector_constant", "vector_type",
           "word_type"]

Lines = list[str]

Load = Callable[[int], tuple[Lines, str]]
"""From the index of a source to the lines that load it and the value's name."""

Store = Callable[[int, str], Lines]
"""From the index of a wanted register and a value to the lines that store it."""

STACK = "declare ptr @llvm.stacksave()\ndeclare void @llvm.stackrestore(ptr)"
"""What a text that holds :func:`emit_block` has to declare, once."""

TERNARY = "declare <16 x i32> @llvm.x86.avx512.pternlog.d.512(<16 x i32>, <16 x i32>, <16 x i32>, i32 immarg)"
"""What a text that holds :func:`ternary_call` has to declare, once."""

_WORD_MASK = (1 << 64) - 1

# By table: the opcode, which operand is inverted before it (or None).
_BINARY: dict[int, tuple[str, int | None]] = {
    0b1000: ("and", None), 0b1110: ("or", None), 0b0110: ("xor", None),
    0b0010: ("and", 1), 0b0100: ("and", 0), 0b1011: ("or", 1), 0b1101: ("or", 0),
}

_VALUES = {InstructionSet.AVX512: 28, InstructionSet.AVX2: 15, InstructionSet.NEON: 28, InstructionSet.WORD64: 1 << 30}
"""Values that are kept in registers at once, the others being for what is between; keep in step with ``logic``. In
general registers LLVM's own choice is the better one, which works on operands in memory."""

_MOVED = re.compile(r"^(\s*\S+ = load|\s*store)\b")
_NAME = re.compile(r"%[\w.$-]+")
_DEFINED = re.compile(r"^\s*(%[\w.$-]+) = ")


def vector_type(isa: InstructionSet) -> str:
    """Return LLVM's type of a register."""
    if isa is InstructionSet.AVX512:
        return "<16 x i32>"                              # what the intrinsic takes
    return word_type(isa)


def word_type(isa: InstructionSet) -> str:
    """Return LLVM's type of a register seen as 64-bit words."""
    return "i64" if isa.words == 1 else f"<{isa.words} x i64>"


def vector_constant(isa: InstructionSet, word: int) -> str:
    """Return the constant of :func:`vector_type` whose 64-bit words all equal ``word``."""
    word &= _WORD_MASK
    if isa.words == 1:
        return str(word)
    if not word:
        return "zeroinitializer"
    halves = [word & 0xFFFFFFFF, word >> 32]
    elements = [f"i32 {half}" for half in halves] if isa is InstructionSet.AVX512 else [f"i64 {word}"]
    return f"<{', '.join(elements * isa.words)}>"


def ternary_call(name: str, table: int, operands: Sequence[str]) -> str:
    """Return the line of one ``vpternlog``; the first operand is the highest bit of the table's index."""
    typed = ", ".join(f"<16 x i32> {operand}" for operand in operands)
    return f"{name} = call <16 x i32> @llvm.x86.avx512.pternlog.d.512({typed}, i32 {table})"


def emit_block(logic: Logic, isa: InstructionSet, load: Load, store: Store, prefix: str = "", *,
               reload: bool = False) -> Lines:
    """Return the lines of a piece of logic.

    Each source is loaded where it is first read, and each wanted register stored as soon as it is there: a place that
    is both must be loaded before it is stored, which the caller sees to by keeping them apart.

    Where the registers of the machine do not suffice, what is spilled is decided here, for the order of the look-ups
    that was chosen for it, and everything that moves is ``volatile``: LLVM would change the order, load early and
    spill several times as much. The spilled values are on the stack, which is given back at the end.

    Parameters
    ----------
    logic : Logic
        Look-ups of the instruction set's basis.
    isa : InstructionSet
    load, store : callable
        How sources and results are moved; they are told places in ``logic.sources`` and ``logic.wanted``.
    prefix : str
        Keeps names apart from those of other pieces in one function.
    reload : bool
        Whether a source is where it was until the last line, so that it can be loaded again; otherwise it is spilled
        like any other value.

    Raises
    ------
    ValueError
        If a look-up is none of the basis.
    """
    return _Block(logic, isa, load, store, prefix, reload).lines


class _Block:
    """The look-ups of a piece of logic as instructions, and the value of each register so far."""

    def __init__(self, logic: Logic, isa: InstructionSet, load: Load, store: Store, prefix: str, reload: bool) -> None:
        self._isa, self._load, self._prefix, self._type = isa, load, prefix, vector_type(isa)
        self.lines: Lines = []
        self._places = {register: index for index, register in enumerate(logic.sources)}
        self._values: dict[Register, str] = {ZERO: vector_constant(isa, 0), ONE: vector_constant(isa, -1)}
        steps = plan_spills(logic.lookups, _VALUES[isa], None if reload else ())
        moves = [step for step in steps if isinstance(step, Move)]
        self._volatile = len({move.register for move in moves}) < len(moves)
        self._slots = assign_slots(moves)
        places: dict[Register, list[int]] = {}
        for index, register in enumerate(logic.wanted):
            places.setdefault(register, []).append(index)
        for step in steps:
            if isinstance(step, Move):
                self._move(step)
                continue
            self._values[step.target] = self._lookup(step)
            for index in places.pop(step.target, ()):
                self._add(store(index, self._values[step.target]))
        for register, indices in places.items():
            if self._volatile and reload and register in self._places:
                self._load_source(register)              # what was loaded for look-ups may have been given up
            value = self._value(register)
            for index in indices:
                self._add(store(index, value))
        if self._slots:
            self._add_stack()

    def _add(self, lines: Lines) -> None:
        """Add lines that move something."""
        self.lines += [_MOVED.sub(r"\1 volatile", line) for line in lines] if self._volatile else lines

    def _value(self, register: Register) -> str:
        if register not in self._values:
            self._load_source(register)
        return self._values[register]

    def _load_source(self, register: Register) -> None:
        lines, value = self._load(self._places[register])
        if register in self._values:
            lines, value = _renamed(lines, value, f"r{len(self.lines)}")
        self._values[register] = value
        self._add(lines)

    def _move(self, move: Move) -> None:
        """Store a value in its slot, or load it from there or from where it comes from."""
        register = move.register
        if register not in self._slots or (move.load and register not in self._values):
            self._load_source(register)
            return
        name, kind = f"%{self._prefix}m{len(self.lines)}", self._type
        offset = self._slots[register] * self._isa.bytes
        self.lines.append(f"{name}p = getelementptr i8, ptr %{self._prefix}spills, i64 {offset}")
        if move.load:
            self._add([f"{name} = load {kind}, ptr {name}p, align {self._isa.bytes}"])
            self._values[register] = name
        else:
            self._add([f"store {kind} {self._values[register]}, ptr {name}p, align {self._isa.bytes}"])

    def _add_stack(self) -> None:
        """Put the slots on the stack for as long as the lines take: the block may be in a loop."""
        count, stack = 1 + max(self._slots.values()), f"%{self._prefix}stack"
        self.lines = [f"{stack} = call ptr @llvm.stacksave()",
                      f"%{self._prefix}spills = alloca [{count} x {self._type}], align {self._isa.bytes}",
                      *self.lines, f"call void @llvm.stackrestore(ptr {stack})"]

    def _lookup(self, lookup: Lookup) -> str:
        values = [self._value(operand) for operand in lookup.operands]
        if lookup.table == 0b1000 and lookup.operands[0] == lookup.operands[1]:
            return values[0]                             # a copy
        name = f"%{self._prefix}v{lookup.target}"
        if self._isa.basis is Basis.TERNARY:
            values = [*values, *[values[0]] * (3 - len(values))]
            self.lines.append(ternary_call(name, _ternary_table(lookup), values))
        elif len(values) == 1 and lookup.table == 0b01:
            self._inverted(name, values[0])
        elif len(values) == 2 and lookup.table in _BINARY:
            opcode, inverted = _BINARY[lookup.table]
            if inverted is not None:
                values[inverted] = self._inverted(f"{name}n", values[inverted])
            self.lines.append(f"{name} = {opcode} {self._type} {values[0]}, {values[1]}")
        elif len(values) == 3 and lookup.table == SELECT_TABLE and self._isa.basis is Basis.SELECT:
            self._selected(name, *values)
        else:
            raise ValueError(f"Table must be one of the basis {self._isa.basis.value}, "
                             f"not {lookup.table:#0{2 + (1 << len(values))}b}")
        return name

    def _inverted(self, name: str, value: str) -> str:
        self.lines.append(f"{name} = xor {self._type} {value}, {vector_constant(self._isa, -1)}")
        return name

    def _selected(self, name: str, otherwise: str, condition: str, then: str) -> None:
        inverted = self._inverted(f"{name}n", condition)
        self.lines += [f"{name}a = and {self._type} {condition}, {then}",
                       f"{name}b = and {self._type} {inverted}, {otherwise}",
                       f"{name} = or {self._type} {name}a, {name}b"]


def _renamed(lines: Lines, value: str, suffix: str) -> tuple[Lines, str]:
    """Return lines whose own values have other names, so that they can be there a second time, and their result."""
    own = {match[1] for line in lines if (match := _DEFINED.match(line))}

    def name(match: re.Match[str]) -> str:
        return f"{match[0]}{suffix}" if match[0] in own else match[0]

    return [_NAME.sub(name, line) for line in lines], f"{value}{suffix}" if value in own else value


def _ternary_table(lookup: Lookup) -> int:
    """Return a table in the instruction's order: its first operand is the highest bit of the index."""
    count, table = len(lookup.operands), 0
    for k in range(8):
        index = sum((k >> (2 - place) & 1) << place for place in range(count))
        table |= (lookup.table >> index & 1) << k
    return table
