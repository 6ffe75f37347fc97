"""Logic in steps, and codes in elements of any width."""

import re

import numpy as np
import pytest

from synth.netlist import Program, llvm_blocks
from synth.netlist.engine import Engine
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_blocks import SCRATCH, Place, logic_steps
from synth.netlist.llvm_codes import CodesFunction
from synth.netlist.llvm_compile import assembly_of
from synth.netlist.llvm_engine import LlvmEngine
from synth.netlist.logic import logic_of
from synth.netlist.lookup import Basis, Logic
from synth.netlist.numpy_engine import NumpyEngine
from synth.netlist.program import Instruction, Operation, PortRegisters
from tests.synth.netlist.logic_cases import FIRST, random_instructions

SETS = host_instruction_sets()


def random_program(seed, *, inputs=(8, 8), outputs=(8,), gates=400):
    """Return a program of random gates; its outputs are the last results."""
    instructions = random_instructions(seed, sum(inputs), gates)
    registers, ports = iter(range(FIRST, FIRST + sum(inputs))), []
    for index, width in enumerate(inputs):
        ports.append(PortRegisters(f"i{index}", tuple(next(registers) for _ in range(width))))
    last, results = FIRST + sum(inputs) + gates, []
    for index, width in enumerate(outputs):
        results.append(PortRegisters(f"o{index}", tuple(range(last - width, last))))
        last -= width
    return Program("random", tuple(ports), tuple(results), (), tuple(instructions), FIRST + sum(inputs) + gates)


def random_inputs(program, vectors=1300):
    rng = np.random.default_rng(7)
    return {port.name: rng.integers(0, 1 << port.width, vectors, dtype=np.uint64) for port in program.inputs}


def assert_same(program, engine: Engine):
    inputs = random_inputs(program)
    want, got = NumpyEngine(program).run(inputs), engine.run(inputs)
    for port, codes in want.items():
        assert got[port].dtype == codes.dtype
        wrong = np.flatnonzero(got[port] != codes)
        assert not wrong.size, (port, {name: each[wrong[0]] for name, each in inputs.items()}, got[port][wrong[0]],
                                codes[wrong[0]])


@pytest.mark.parametrize("covered", [True, False])
@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
@pytest.mark.parametrize(("chunk", "inline"), [(7, 1 << 20), (7, 0), (1 << 20, 0)])
def test_logic_in_any_number_of_steps(isa, chunk, inline, covered, monkeypatch):
    monkeypatch.setattr(llvm_blocks, "CHUNK_LOOKUPS", chunk)
    monkeypatch.setattr(llvm_blocks, "INLINE_LINES", inline)
    for seed in range(3):
        program = random_program(seed, outputs=(8, 3))
        assert_same(program, LlvmEngine(program, isa=isa, threads=1, covered=covered))


@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
@pytest.mark.parametrize(("inputs", "outputs"), [
    ((8, 16), (5,)), ((3, 33), (9, 1)), ((16, 20), (8,)), ((4,), (40,)), ((7, 7), (17,)), ((64,), (64, 8))])
def test_codes_of_different_widths_meet(isa, inputs, outputs):
    program = random_program(sum(inputs), inputs=inputs, outputs=outputs, gates=200)
    assert_same(program, LlvmEngine(program, isa=isa, threads=1))


def test_arm_is_compiled_and_its_code_runs_on_any_machine():
    """The same text with registers of 128 bits; the machine's own instructions differ, what it computes does not."""
    program = random_program(5, inputs=(8, 16), outputs=(8, 9))
    function = CodesFunction(program, InstructionSet.NEON)
    inputs = {port.name: codes[:1280] for port, codes in zip(program.inputs, random_inputs(program).values(),
                                                             strict=True)}
    given = {"i0": inputs["i0"].astype(np.uint8), "i1": inputs["i1"].astype(np.uint16)}
    results = {"o0": np.zeros(1280, np.uint8), "o1": np.zeros(1280, np.uint16)}
    function.run(given, {}, results, 0, 10, threads=2)
    want = NumpyEngine(program).run(inputs)
    assert all((results[port] == want[port]).all() for port in want)
    assembly = assembly_of(function.text, InstructionSet.NEON, "aarch64-linux-gnu")
    assert "bsl" in assembly or "bif" in assembly or "bit" in assembly


def test_plain_words_pack_without_vector_registers():
    program = random_program(6, inputs=(8, 33), outputs=(8, 9))
    text = CodesFunction(program, InstructionSet.WORD64).text
    assert not re.search(r"%[xyz]mm|\bv\d+\.", assembly_of(text, InstructionSet.WORD64))


def test_a_step_keeps_what_a_later_one_reads(monkeypatch):
    """And gives the room back: a chain needs one place, whatever its length."""
    monkeypatch.setattr(llvm_blocks, "CHUNK_LOOKUPS", 1)
    isa, count = InstructionSet.WORD64, 12
    chain = []
    for index in range(count):
        previous = FIRST if not index else 9 + index
        chain.append(Instruction(Operation.XOR, 10 + index, previous, FIRST + 1))
    logic = logic_of(chain, (FIRST, FIRST + 1), (9 + count,), Basis.BINARY, covered=False)
    places = {FIRST: Place(0, 0), FIRST + 1: Place(0, 8)}
    steps, used = logic_steps(logic, isa, places, [Place(1, 0)], 64)
    assert len(steps) == count
    assert used == 64 + 2 * isa.bytes                    # one is read while the other is written
    assert steps[0].pointers == {0, SCRATCH}
    assert steps[-1].pointers == {0, 1, SCRATCH}


def test_logic_without_lookups_is_a_step():
    steps, used = logic_steps(Logic((2,), (2, 0, 1), ()), InstructionSet.WORD64, {2: Place(0, 0)},
                              [Place(1, 8 * index) for index in range(3)], 0)
    assert len(steps) == 1
    assert used == 0
    assert sum("store" in line for line in steps[0].lines) == 3
