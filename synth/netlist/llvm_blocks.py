"""Functions over blocks of vectors: as many vectors as a register has lanes, their planes side by side in memory.

Planes in long rows whose distance is a power of two evict each other from the first-level cache; the planes of one
block are a few kilobytes in one piece. So everything native works block by block: codes are turned into planes in a
*scratch* buffer, the logic runs from there and back to it, and results leave as codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import Lines, emit_block, vector_type
from synth.netlist.lookup import Logic, Lookup
from synth.netlist.program import Register

__all__ = ["ALIGNED_STACK", "CHUNK_LOOKUPS", "SCRATCH", "Place", "Step", "block_function", "emit_load",
           "emit_load_codes", "emit_store", "emit_store_codes", "logic_steps", "pointer_name"]

CHUNK_LOOKUPS = 1500
"""Look-ups of one basic block: LLVM's time grows faster than its size, and what crosses to the next goes through
memory."""

INLINE_LINES = 6000
"""Lines up to which a block is one basic block rather than a sequence of calls."""

ALIGNED_STACK = '"stackrealign"'
"""Attribute of every function: without it LLVM spills registers to where they cross the lines of the cache."""

SCRATCH = -1
"""The number of the pointer to the scratch buffer, which is one for all blocks."""


class Place(NamedTuple):
    """Where a plane of a block is: the number of a pointer, and bytes from there."""

    pointer: int
    offset: int


@dataclass(frozen=True)
class Step:
    """Lines of straight code, and the pointers that they read or write by."""

    pointers: frozenset[int]
    lines: Lines


def pointer_name(pointer: int) -> str:
    """Return the value that holds a pointer to the current block's share."""
    return "%scratch" if pointer == SCRATCH else f"%block{pointer}"


def emit_load(isa: InstructionSet, place: Place, name: str, *, aligned: bool = True) -> Lines:
    """Return the lines that load a plane of the block as value ``%name``; ``aligned`` to a register's size, or not."""
    return [f"%{name}p = getelementptr i8, ptr {pointer_name(place.pointer)}, i64 {place.offset}",
            f"%{name} = load {vector_type(isa)}, ptr %{name}p, align {isa.bytes if aligned else 8}"]


def emit_store(isa: InstructionSet, place: Place, value: str, name: str, *, aligned: bool = True) -> Lines:
    """Return the lines that store a plane of the block; ``name`` keeps the address apart from others."""
    return [f"%{name}p = getelementptr i8, ptr {pointer_name(place.pointer)}, i64 {place.offset}",
            f"store {vector_type(isa)} {value}, ptr %{name}p, align {isa.bytes if aligned else 8}"]


def emit_load_codes(isa: InstructionSet, bits: int, stored_bits: int, pointer: int, prefix: str
                    ) -> tuple[Lines, list[str]]:
    """Return the lines that load a block of codes of ``stored_bits`` as ``bits`` registers of elements that wide."""
    lines: Lines = []
    values = []
    count, kind = isa.lanes // bits, vector_type(isa)
    for register in range(bits):
        name, offset = f"%{prefix}c{register}", register * count * stored_bits // 8
        lines.append(f"{name}p = getelementptr i8, ptr {pointer_name(pointer)}, i64 {offset}")
        if stored_bits == bits:
            lines.append(f"{name} = load {kind}, ptr {name}p, align 1")
        elif isa.words == 1:
            lines += [f"{name}n = load i{count * stored_bits}, ptr {name}p, align 1",
                      f"{name}w = zext i{count * stored_bits} {name}n to i64"]
            spread, name = _spread(f"{name}w", bits, stored_bits)
            lines += spread
        else:
            lines += [f"{name}n = load <{count} x i{stored_bits}>, ptr {name}p, align 1",
                      f"{name}w = zext <{count} x i{stored_bits}> {name}n to <{count} x i{bits}>",
                      f"{name} = bitcast <{count} x i{bits}> {name}w to {kind}"]
        values.append(name)
    return lines, values


def emit_store_codes(isa: InstructionSet, bits: int, stored_bits: int, pointer: int, values: Sequence[str],
                     prefix: str) -> Lines:
    """Return the lines that store ``bits`` registers of elements that wide as a block of codes of ``stored_bits``."""
    lines: Lines = []
    count, kind = isa.lanes // bits, vector_type(isa)
    for register, value in enumerate(values):
        name, offset = f"%{prefix}c{register}", register * count * stored_bits // 8
        lines.append(f"{name}p = getelementptr i8, ptr {pointer_name(pointer)}, i64 {offset}")
        if stored_bits == bits:
            lines.append(f"store {kind} {value}, ptr {name}p, align 1")
        elif isa.words == 1:
            gathered, word = _gathered(name, value, bits, stored_bits)
            lines += [*gathered, f"{name}n = trunc i64 {word} to i{count * stored_bits}",
                      f"store i{count * stored_bits} {name}n, ptr {name}p, align 1"]
        else:
            lines += [f"{name}w = bitcast {kind} {value} to <{count} x i{bits}>",
                      f"{name}n = trunc <{count} x i{bits}> {name}w to <{count} x i{stored_bits}>",
                      f"store <{count} x i{stored_bits}> {name}n, ptr {name}p, align 1"]
    return lines


def _spread(value: str, bits: int, stored_bits: int) -> tuple[Lines, str]:
    """Return the lines that move the elements at the bottom of a word ``bits`` apart, and the word."""
    lines, apart, size = [], 64, 64 * stored_bits // bits
    while apart > bits:                                  # the upper half of each group to the middle of its room
        apart, size = apart // 2, size // 2
        name = f"{value}{apart}"
        lines += [f"{name}a = shl i64 {value}, {apart - size}", f"{name}b = or i64 {value}, {name}a",
                  f"{name} = and i64 {name}b, {_groups(size, apart)}"]
        value = name
    return lines, value


def _gathered(name: str, value: str, bits: int, stored_bits: int) -> tuple[Lines, str]:
    """Return the lines that move elements which are ``bits`` apart to the bottom of a word, and the word."""
    apart, size = bits, stored_bits
    lines = [f"{name}g{apart} = and i64 {value}, {_groups(size, apart)}"]
    while apart < 64:
        word, wider = f"{name}g{apart}", f"{name}g{2 * apart}"
        lines += [f"{wider}a = lshr i64 {word}, {apart - size}", f"{wider}b = or i64 {word}, {wider}a",
                  f"{wider} = and i64 {wider}b, {_groups(2 * size, 2 * apart)}"]
        apart, size = 2 * apart, 2 * size
    return lines, f"{name}g64"


def _groups(size: int, apart: int) -> int:
    """Return the word with ``size`` ones at the bottom of every ``apart`` bits."""
    return sum(((1 << size) - 1) << place for place in range(0, 64, apart))


def logic_steps(logic: Logic, isa: InstructionSet, sources: Mapping[Register, Place], wanted: Sequence[Place],
                first_free: int) -> tuple[list[Step], int]:
    """Return a piece of logic as steps of at most :data:`CHUNK_LOOKUPS` look-ups, and how far they use the scratch.

    Parameters
    ----------
    logic : Logic
    isa : InstructionSet
    sources : Register to Place
        Where each source is.
    wanted : sequence of Place
        Where each of ``logic.wanted`` goes; no source may be there.
    first_free : int
        Bytes of scratch that are taken; what steps hand on to each other follows.
    """
    chunks = [logic.lookups[start:start + CHUNK_LOOKUPS] for start in range(0, len(logic.lookups), CHUNK_LOOKUPS)]
    chunks = chunks or [()]
    places = _Places(isa, chunks, sources, first_free)
    targets: dict[Register, list[Place]] = {}
    for register, place in zip(logic.wanted, wanted, strict=True):
        targets.setdefault(register, []).append(place)
    steps = []
    for number, chunk in enumerate(chunks):
        made = [lookup.target for lookup in chunk]
        stores = [(register, place) for register in made for place in targets.pop(register, [])]
        stores += [(register, places.kept[register]) for register in made if register in places.kept]
        if number == len(chunks) - 1:                    # sources and constants that are wanted as they are
            stores += [(register, place) for register, several in targets.items() for place in several]
        steps.append(_step(chunk, stores, places.current, isa, f"s{number}"))
        places.pass_chunk(number)
    return steps, places.used


class _Places:
    """Where registers are that one chunk makes and a later one reads; a place is free again after its last reader."""

    def __init__(self, isa: InstructionSet, chunks: Sequence[Sequence[Lookup]], sources: Mapping[Register, Place],
                 first_free: int) -> None:
        self.current = dict(sources)
        self.kept: dict[Register, Place] = {}
        self.used = first_free
        made = {lookup.target: number for number, chunk in enumerate(chunks) for lookup in chunk}
        last: dict[Register, int] = {}
        for number, chunk in enumerate(chunks):
            for lookup in chunk:
                last.update((operand, number) for operand in lookup.operands if operand in made)
        ending: dict[int, list[Register]] = {}
        free: list[Place] = []
        for number, chunk in enumerate(chunks):
            for lookup in chunk:
                if last.get(lookup.target, number) > number:
                    if not free:
                        free.append(Place(SCRATCH, self.used))
                        self.used += isa.bytes
                    self.kept[lookup.target] = free.pop()
                    ending.setdefault(last[lookup.target], []).append(lookup.target)
            free += [self.kept[register] for register in ending.get(number, ())]
        self._made = [[lookup.target for lookup in chunk if lookup.target in self.kept] for chunk in chunks]

    def pass_chunk(self, number: int) -> None:
        """What this chunk makes can be read from now on."""
        self.current.update((register, self.kept[register]) for register in self._made[number])


def _step(lookups: Sequence[Lookup], stores: Sequence[tuple[Register, Place]], places: Mapping[Register, Place],
          isa: InstructionSet, prefix: str) -> Step:
    made = {lookup.target for lookup in lookups}
    read = [operand for lookup in lookups for operand in lookup.operands] + [register for register, _ in stores]
    sources = tuple(register for register in dict.fromkeys(read) if register not in made and register in places)
    logic = Logic(sources, tuple(register for register, _ in stores), tuple(lookups))

    def load(index: int) -> tuple[Lines, str]:
        name = f"{prefix}i{index}"
        return emit_load(isa, places[sources[index]], name), f"%{name}"

    def store(index: int, value: str) -> Lines:
        return emit_store(isa, stores[index][1], value, f"{prefix}o{index}")

    pointers = {places[register].pointer for register in sources} | {place.pointer for _, place in stores}
    return Step(frozenset(pointers), emit_block(logic, isa, load, store, prefix, reload=True))


def block_function(name: str, strides: Sequence[int], steps: Sequence[Step], prologue: Sequence[str] = ()) -> str:
    """Return a function ``void name(ptr pointers, ptr scratch, i64 first, i64 end)`` that runs steps for each block.

    Parameters
    ----------
    name : str
    strides : sequence of int, bytes
        By how much each of the ``pointers`` moves from one block to the next.
    steps : sequence of Step
        They read a pointer as ``%block<number>`` and the scratch as ``%scratch``. Few of them are put in a row, many
        become functions that are called.
    prologue : sequence of str
        What comes first in every block: lines that end where they began, and may hold branches. ``%i`` is the block.
    """
    inline = sum(len(step.lines) for step in steps) <= INLINE_LINES
    texts = [] if inline else [_step_function(f"{name}_{number}", step) for number, step in enumerate(steps)]
    body = [line for step in steps for line in step.lines] if inline else [
        f"call void @{name}_{number}({_parameters(step)})" for number, step in enumerate(steps)]
    entry = [line for number in range(len(strides))
             for line in (f"%slot{number} = getelementptr ptr, ptr %pointers, i64 {number}",
                          f"%base{number} = load ptr, ptr %slot{number}")]
    moves = [line for number, stride in enumerate(strides)
             for line in (f"%moved{number} = mul i64 %i, {stride}",
                          f"%block{number} = getelementptr i8, ptr %base{number}, i64 %moved{number}")]
    lines = [f"define void @{name}(ptr %pointers, ptr %scratch, i64 %first, i64 %end) {ALIGNED_STACK} {{",
             "entry:", *entry, "%empty = icmp sge i64 %first, %end", "br i1 %empty, label %exit, label %head", "head:",
             "%i = phi i64 [ %first, %entry ], [ %next, %body ]", *moves, *prologue, "br label %body", "body:", *body,
             "%next = add i64 %i, 1", "%done = icmp eq i64 %next, %end", "br i1 %done, label %exit, label %head",
             "exit:", "ret void", "}"]
    return "\n".join([*texts, *lines])


def _step_function(name: str, step: Step) -> str:
    head = f"define internal void @{name}({_parameters(step)}) {ALIGNED_STACK} {{"
    return "\n".join([head, *step.lines, "ret void", "}"])


def _parameters(step: Step) -> str:
    return ", ".join(f"ptr {pointer_name(pointer)}" for pointer in sorted(step.pointers))
