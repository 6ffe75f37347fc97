"""More values than registers: what :func:`emit_block` puts on the stack comes back as it was."""

import ctypes
import random
import re

import numpy as np
import pytest

from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import compile_functions
from synth.netlist.llvm_ir import emit_block, vector_type
from synth.netlist.logic import logic_of
from synth.netlist.lookup import COPY, Logic, Lookup
from synth.netlist.program import ONE, ZERO
from tests.synth.netlist.logic_cases import FIRST, random_instructions, run_lookups
from tests.synth.netlist.test_instruction_order import shuffled

SETS = pytest.mark.parametrize("isa", host_instruction_sets(), ids=lambda isa: isa.value)
RELOAD = pytest.mark.parametrize("reload", [True, False])
REPEATS = 20_000


def wide_logic(seed, isa, count=400):
    """Return logic with many live values: in random order, sources among the results."""
    instructions = random_instructions(seed, 40, count, local=120)
    last = FIRST + 40 + count
    wanted = [*range(last - 30, last), FIRST, FIRST + 7, FIRST, last - 30, ZERO, ONE]
    logic = logic_of(instructions, range(FIRST, FIRST + 40), wanted, isa.basis)
    return Logic(logic.sources, logic.wanted, tuple(shuffled(logic.lookups, seed)))


def block_lines(logic, isa, reload):
    kind, size = vector_type(isa), isa.bytes

    def load(index):
        return [f"%p{index} = getelementptr i8, ptr %in, i64 {index * size}",
                f"%x{index} = load {kind}, ptr %p{index}, align 8"], f"%x{index}"

    def store(index, value):
        return [f"%q{index} = getelementptr i8, ptr %out, i64 {index * size}",
                f"store {kind} {value}, ptr %q{index}, align 8"]

    return emit_block(logic, isa, load, store, reload=reload)


def run(logic, isa, reload, given):
    """Run a block many times in one call, so that a stack that grows is noticed."""
    text = "\n".join(["define void @f(ptr %in, ptr %out) {", "entry:", "br label %loop", "loop:",
                      "%i = phi i64 [0, %entry], [%n, %loop]", *block_lines(logic, isa, reload), "%n = add i64 %i, 1",
                      f"%d = icmp eq i64 %n, {REPEATS}", "br i1 %d, label %exit, label %loop", "exit:", "ret void",
                      "}"])
    result = np.zeros((len(logic.wanted), isa.words), np.uint64)
    compile_functions(text, isa).function("f", ctypes.c_void_p, ctypes.c_void_p)(given.ctypes.data, result.ctypes.data)
    return result


@SETS
@RELOAD
@pytest.mark.parametrize("seed", range(3))
def test_results_are_those_of_the_lookups(seed, isa, reload):
    logic = wide_logic(seed, isa)
    rng = random.Random(seed)
    given = np.array([[rng.getrandbits(64) for _ in range(isa.words)] for _ in logic.sources], np.uint64)
    planes = {register: int.from_bytes(row.tobytes(), "little")
              for register, row in zip(logic.sources, given, strict=True)}
    want = run_lookups(logic.lookups, planes, (1 << isa.lanes) - 1)
    got = run(logic, isa, reload, given)
    for register, row in zip(logic.wanted, got, strict=True):
        plane = int.from_bytes(row.tobytes(), "little")
        assert plane == want[register], f"{isa} register {register}: got {plane:#x}, want {want[register]:#x}"


@pytest.mark.parametrize("isa", [InstructionSet.AVX512, InstructionSet.AVX2, InstructionSet.NEON])
def test_sources_are_stored_only_where_they_cannot_be_loaded_again(isa):
    """Every source is read twice, in the same order, with all others between."""
    pairs = [(2 + index, 2 + (index + 1) % 40) for index in range(40)]
    lookups = [Lookup(0b0110, 100 + index, pair) for index, pair in enumerate([*pairs, *pairs])]
    logic = Logic(tuple(range(2, 42)), tuple(range(100, 180)), tuple(lookups))
    text = {reload: "\n".join(block_lines(logic, isa, reload)) for reload in (True, False)}
    assert "alloca" not in text[True]
    assert "stacksave" not in text[True]
    assert text[False].count("alloca") == text[False].count("stacksave()") == text[False].count("stackrestore(") == 1
    assert text[True].count(" = load volatile ") > 40
    assert text[False].count(" = load volatile ") > 40
    for each in text.values():
        names = re.findall(r"^(%\S+) = ", each, re.MULTILINE)
        assert len(set(names)) == len(names)


def test_enough_registers_leave_moves_to_llvm():
    logic = Logic((2, 3), (10,), (Lookup(0b1000, 10, (2, 3)),))
    text = "\n".join(block_lines(logic, InstructionSet.AVX512, True))
    assert "volatile" not in text
    assert "alloca" not in text


def test_copies_are_no_instructions():
    logic = Logic((2,), (10, 11, 12), (Lookup(COPY, 10, (2, 2)), Lookup(COPY, 11, (ONE, ONE)),
                                       Lookup(COPY, 12, (10, 10))))
    text = "\n".join(block_lines(logic, InstructionSet.AVX512, True))
    assert text.count("load") == 1
    assert text.count("store") == 3
    assert "ternlog" not in text
