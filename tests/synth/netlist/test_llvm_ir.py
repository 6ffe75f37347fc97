"""Look-ups as instructions: every table of every basis, and that only the basis' own instructions come out."""

import ctypes
import re

import numpy as np
import pytest

from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import assembly_of, compile_functions
from synth.netlist.llvm_ir import emit_block, vector_constant, vector_type, word_type
from synth.netlist.lookup import Logic, Lookup
from synth.netlist.program import ONE, ZERO
from tests.synth.netlist.logic_cases import TABLES

SETS = host_instruction_sets()
SOURCES = (2, 3, 4)
PLANES = (0b10101010, 0b11001100, 0b11110000)            # all combinations of three


def function_text(logic, isa):
    kind = vector_type(isa)

    def load(index):
        return [f"%p{index} = getelementptr i8, ptr %in, i64 {index * isa.bytes}",
                f"%x{index} = load {kind}, ptr %p{index}, align 8"], f"%x{index}"

    def store(index, value):
        return [f"%q{index} = getelementptr i8, ptr %out, i64 {index * isa.bytes}",
                f"store {kind} {value}, ptr %q{index}, align 8"]

    return "\n".join(["define void @f(ptr %in, ptr %out) {", *emit_block(logic, isa, load, store), "ret void", "}"])


def run(logic, isa):
    """Return the low byte of every word of each wanted register."""
    given = np.repeat(np.array(PLANES, np.uint64), isa.words)
    result = np.zeros(len(logic.wanted) * isa.words, np.uint64)
    function = compile_functions(function_text(logic, isa), isa).function("f", ctypes.c_void_p, ctypes.c_void_p)
    function(given.ctypes.data, result.ctypes.data)
    low = result.reshape(-1, isa.words) & np.uint64(0xFF)
    assert (low == low[:, :1]).all()
    return [int(row[0]) for row in low]


def all_lookups(isa):
    """Return a look-up of every table that the basis has, over the first sources."""
    tables = [(count, table) for count, each in TABLES[isa.basis].items() for table in sorted(each)]
    return [(Lookup(table, 10 + index, SOURCES[:count]), count, table) for index, (count, table) in enumerate(tables)]


def expected(count, table):
    return sum((table >> (k & (1 << count) - 1) & 1) << k for k in range(8))


@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_every_table_of_the_basis(isa):
    cases = all_lookups(isa)
    logic = Logic(SOURCES, tuple(lookup.target for lookup, _, _ in cases), tuple(lookup for lookup, _, _ in cases))
    got = run(logic, isa)
    for (_, count, table), byte in zip(cases, got, strict=True):
        assert byte == expected(count, table), (count, bin(table))


@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_sources_constants_and_copies_may_be_wanted(isa):
    copies = (Lookup(0b1000, 9, (3, 3)), Lookup(0b1000, 10, (ONE, ONE)), Lookup(0b1000, 11, (ZERO, ZERO)))
    logic = Logic(SOURCES, (ZERO, 2, ONE, 9, 10, 11, 2), copies)
    assert run(logic, isa) == [0, PLANES[0], 0xFF, PLANES[1], 0xFF, 0, PLANES[0]]


def test_arm_has_one_instruction_for_every_table():
    """It is compiled for, not run: this machine is another."""
    isa = InstructionSet.NEON
    for lookup, count, table in all_lookups(isa):
        assembly = assembly_of(function_text(Logic(SOURCES, (lookup.target,), (lookup,)), isa), isa,
                               "aarch64-linux-gnu")
        body = re.findall(r"^\t([a-z]\w*)", assembly, re.MULTILINE)
        logical = [name for name in body if name not in {"ldr", "ldp", "str", "stp", "ret"}]
        assert len(logical) == 1, (count, bin(table), body)
        assert logical[0] in {"and", "orr", "eor", "bic", "orn", "mvn", "bsl", "bit", "bif"}, logical


def test_plain_words_use_no_vector_register():
    if not any(isa is InstructionSet.AVX2 for isa in SETS):
        pytest.skip("no x86 machine")
    cases = [lookup for lookup, _, _ in all_lookups(InstructionSet.WORD64)]
    logic = Logic(SOURCES, tuple(lookup.target for lookup in cases), tuple(cases))
    assert not re.search(r"%[xyz]mm", assembly_of(function_text(logic, InstructionSet.WORD64), InstructionSet.WORD64))
    assert re.search(r"%ymm", assembly_of(function_text(logic, InstructionSet.AVX2), InstructionSet.AVX2))


def test_avx512_takes_one_instruction_a_lookup():
    if InstructionSet.AVX512 not in SETS:
        pytest.skip("no AVX-512 on this machine")
    lookups, previous = [], 4
    for target in range(10, 40):
        lookups.append(Lookup(0b10010110, target, (2, 3, previous)))
        previous = target
    assembly = assembly_of(function_text(Logic(SOURCES, (previous,), tuple(lookups)), InstructionSet.AVX512),
                           InstructionSet.AVX512)
    assert len(re.findall("vpternlog", assembly)) == len(lookups)


def test_constants_of_every_set():
    for isa in InstructionSet:
        assert vector_constant(isa, 0) in ("0", "zeroinitializer")
        assert vector_constant(isa, -1) == vector_constant(isa, (1 << 64) - 1)
    assert vector_constant(InstructionSet.NEON, 5) == "<i64 5, i64 5>"
    assert vector_constant(InstructionSet.AVX512, 3 << 32 | 5).startswith("<i32 5, i32 3, i32 5")
    assert word_type(InstructionSet.AVX512) == "<8 x i64>"
    assert vector_type(InstructionSet.WORD64) == "i64"


@pytest.mark.parametrize(("isa", "lookup", "written"), [
    ("avx2", Lookup(0b0111, 9, (2, 3)), "basis binary, not 0b0111"),
    ("word64", Lookup(0b11100010, 9, SOURCES), "basis binary, not 0b11100010"),
    ("neon", Lookup(0b10010110, 9, SOURCES), "basis select, not 0b10010110")])
def test_lookups_of_another_basis(isa, lookup, written):
    with pytest.raises(ValueError, match=f"Table must be one of the {written}"):
        function_text(Logic(SOURCES, (9,), (lookup,)), InstructionSet(isa))
