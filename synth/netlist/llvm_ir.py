"""Logic as LLVM's intermediate language: one vector register a plane, in the order of the look-ups."""

from __future__ import annotations

from collections.abc import Callable

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Logic, Lookup
from synth.netlist.program import ONE, ZERO, Register

__all__ = ["Block", "emit_block", "plane_function", "vector_type"]

Load = Callable[[int], tuple[list[str], str]]
"""From the index of a source to the lines that load it and the value's name."""

Store = Callable[[int, str], list[str]]
"""From the index of a wanted register and a value to the lines that store it."""

TERNARY = ("declare <16 x i32> @llvm.x86.avx512.pternlog.d.512(<16 x i32>, <16 x i32>, <16 x i32>, i32 immarg)")


def vector_type(isa: InstructionSet) -> str:
    """Return LLVM's type of a register."""
    if isa is InstructionSet.AVX512:
        return "<16 x i32>"                              # what the intrinsic takes
    return "i64" if isa is InstructionSet.WORD64 else f"<{isa.words} x i64>"


class Block:
    """The look-ups of a piece of logic as LLVM instructions: each source loaded where it is first read, each wanted
    register stored as soon as it is there."""

    def __init__(self, logic: Logic, isa: InstructionSet, load: Load, store: Store, prefix: str = "") -> None:
        self._isa, self._load, self._store, self._prefix = isa, load, store, prefix
        self._type = vector_type(isa)
        self.lines: list[str] = []
        self._places = {register: index for index, register in enumerate(logic.sources)}
        self._values: dict[Register, str] = {ZERO: self._constant(False), ONE: self._constant(True)}
        places: dict[Register, list[int]] = {}
        for index, register in enumerate(logic.wanted):
            places.setdefault(register, []).append(index)
        for lookup in logic.lookups:
            self._lookup(lookup)
            for index in places.pop(lookup.target, ()):
                self.lines += store(index, self._values[lookup.target])
        for register, indices in places.items():
            value = self._value(register)
            for index in indices:
                self.lines += store(index, value)

    def _constant(self, value: bool) -> str:
        if self._isa is InstructionSet.WORD64:
            return "-1" if value else "0"
        count, element = (16, "i32") if self._isa is InstructionSet.AVX512 else (self._isa.words, "i64")
        return f"<{', '.join([f'{element} -1'] * count)}>" if value else "zeroinitializer"

    def _value(self, register: Register) -> str:
        if register not in self._values:
            lines, self._values[register] = self._load(self._places[register])
            self.lines += lines
        return self._values[register]

    def _lookup(self, lookup: Lookup) -> None:
        values = [self._value(operand) for operand in lookup.operands]
        name = self._values[lookup.target] = f"%{self._prefix}v{lookup.target}"
        if self._isa is InstructionSet.AVX512:
            self._ternary(name, lookup, values)
        else:
            self._binary(name, lookup, values)

    def _ternary(self, name: str, lookup: Lookup, values: list[str]) -> None:
        count, table = len(values), 0
        for k in range(8):                               # the instruction's first operand is its index' highest bit
            index = sum((k >> (2 - place) & 1) << place for place in range(count))
            table |= (lookup.table >> index & 1) << k
        values = [*values, *[values[0]] * (3 - count)]
        operands = ", ".join(f"{self._type} {value}" for value in values)
        self.lines.append(f"{name} = call {self._type} @llvm.x86.avx512.pternlog.d.512({operands}, i32 {table})")

    def _binary(self, name: str, lookup: Lookup, values: list[str]) -> None:
        kind, ones = self._type, self._constant(True)
        if len(values) == 1:
            self.lines.append(f"{name} = xor {kind} {values[0]}, {ones}")
            return
        a, b = values
        opcode = {0b1000: "and", 0b1110: "or", 0b0110: "xor"}.get(lookup.table)
        if opcode is None:
            opcode = "and"
            if lookup.table == 0b0010:
                a, b = b, a                              # not the second, and the first
            elif lookup.table != 0b0100:
                raise ValueError(f"Table must be a function of the basis, not {lookup.table:#06b}")
            self.lines.append(f"{name}n = xor {kind} {a}, {ones}")
            a = f"{name}n"
        self.lines.append(f"{name} = {opcode} {kind} {a}, {b}")


def emit_block(logic: Logic, isa: InstructionSet, load: Load, store: Store, prefix: str = "") -> list[str]:
    """Return the lines of a piece of logic; ``prefix`` keeps its names apart from those of other pieces."""
    return Block(logic, isa, load, store, prefix).lines


def plane_function(name: str, logic: Logic, isa: InstructionSet) -> str:
    """Return a function ``void name(ptr sources, ptr wanted, i64 first, i64 end)`` over planes.

    Both tables hold the address of each plane; ``first`` and ``end`` count registers' worths of words. Planes need no
    alignment.
    """
    kind, size = vector_type(isa), isa.lanes // 8

    def load(index: int) -> tuple[list[str], str]:
        return [f"%sa{index} = getelementptr ptr, ptr %sources, i64 {index}", f"%sb{index} = load ptr, ptr %sa{index}",
                f"%sc{index} = getelementptr i8, ptr %sb{index}, i64 %offset",
                f"%s{index} = load {kind}, ptr %sc{index}, align 8"], f"%s{index}"

    def store(index: int, value: str) -> list[str]:
        return [f"%wa{index} = getelementptr ptr, ptr %wanted, i64 {index}", f"%wb{index} = load ptr, ptr %wa{index}",
                f"%wc{index} = getelementptr i8, ptr %wb{index}, i64 %offset",
                f"store {kind} {value}, ptr %wc{index}, align 8"]

    body = emit_block(logic, isa, load, store)
    lines = [f"define void @{name}(ptr noalias %sources, ptr noalias %wanted, i64 %first, i64 %end) {{", "entry:",
             "%empty = icmp sge i64 %first, %end", "br i1 %empty, label %exit, label %loop", "loop:",
             "%i = phi i64 [ %first, %entry ], [ %next, %loop ]", f"%offset = mul i64 %i, {size}", *body,
             "%next = add i64 %i, 1", "%done = icmp eq i64 %next, %end", "br i1 %done, label %exit, label %loop",
             "exit:", "ret void", "}"]
    return "\n".join(lines)
