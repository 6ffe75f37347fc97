import sys

import pytest

from synth.netlist.instruction_set import (
    INSTRUCTION_SET_VARIABLE,
    InstructionSet,
    choose_instruction_set,
    find_instruction_set,
    host_instruction_sets,
)
from synth.netlist.lookup import Basis


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine of these features."""
    import llvmlite.binding as llvm

    def pretend(triple, **features):
        host_instruction_sets.cache_clear()
        monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
        monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
        return host_instruction_sets()

    yield pretend
    monkeypatch.undo()
    host_instruction_sets.cache_clear()


AVX512 = dict.fromkeys(("avx512f", "avx512bw", "avx512vl", "avx512dq"), True)


@pytest.mark.parametrize(("triple", "features", "want"), [
    ("x86_64-unknown-linux-gnu", {"avx2": True, **AVX512}, ["avx512", "avx2", "word64"]),
    ("x86_64-pc-windows-msvc", {"avx2": True, **AVX512, "avx512bw": False}, ["avx2", "word64"]),
    ("x86_64-apple-darwin", {"avx2": False}, ["word64"]),
    ("arm64-apple-darwin23", {"neon": True}, ["neon", "word64"]),
    ("aarch64-unknown-linux-gnu", {}, ["neon", "word64"]),
    ("riscv64-unknown-linux-gnu", {}, ["word64"])])
def test_the_widest_comes_first(machine, triple, features, want):
    assert [isa.value for isa in machine(triple, **features)] == want


def test_what_is_chosen(machine, monkeypatch):
    monkeypatch.delenv(INSTRUCTION_SET_VARIABLE, raising=False)
    machine("x86_64-unknown-linux-gnu", avx2=True)
    assert choose_instruction_set() is InstructionSet.AVX2
    assert choose_instruction_set("word64") is InstructionSet.WORD64
    monkeypatch.setenv(INSTRUCTION_SET_VARIABLE, "word64")
    assert choose_instruction_set() is InstructionSet.WORD64
    assert choose_instruction_set(InstructionSet.AVX2) is InstructionSet.AVX2
    monkeypatch.setenv(INSTRUCTION_SET_VARIABLE, "avx512")
    with pytest.raises(ValueError, match="Instruction set must be one of avx2, word64 on this machine, not 'avx512'"):
        choose_instruction_set()
    monkeypatch.setenv(INSTRUCTION_SET_VARIABLE, "sse9")
    with pytest.raises(ValueError, match="Instruction set must be one of avx512, avx2, neon, word64, not 'sse9'"):
        choose_instruction_set()


def test_names_are_found():
    assert [find_instruction_set(isa.value) for isa in InstructionSet] == list(InstructionSet)


@pytest.mark.parametrize(("name", "lanes", "basis"), [
    ("avx512", 512, Basis.TERNARY), ("avx2", 256, Basis.BINARY), ("neon", 128, Basis.SELECT),
    ("word64", 64, Basis.BINARY)])
def test_what_a_register_is(name, lanes, basis):
    isa = InstructionSet(name)
    assert (isa.lanes, isa.words, isa.bytes, isa.basis) == (lanes, lanes // 64, lanes // 8, basis)


def test_this_machine_has_general_registers():
    assert host_instruction_sets()[-1] is InstructionSet.WORD64
    assert "llvmlite" in sys.modules
