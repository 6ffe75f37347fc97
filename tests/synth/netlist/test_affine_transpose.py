"""The networks between codes and planes that take GFNI, run where the machine has it, and what stands in elsewhere."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from synth.netlist import compile_netlist, llvm_codes, read_netlist
from synth.netlist.affine_transpose import (
    AFFINE,
    affine_index_words,
    emit_affine_codes,
    emit_affine_planes,
    suits_affine,
)
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import compile_functions
from synth.netlist.llvm_engine import LlvmEngine
from tests.synth.netlist.builders import design, lut4

AVX512 = InstructionSet.AVX512
GFNI = AVX512 in host_instruction_sets() and suits_affine(AVX512, 8)


def function(name, emit):
    """Return a function from eight registers in a row in memory to eight."""
    load, store, kind = [], [], "<16 x i32>"
    for index in range(8):
        load += [f"%p{index} = getelementptr i8, ptr %in, i64 {64 * index}",
                 f"%x{index} = load {kind}, ptr %p{index}, align 1"]
    network, values = emit([f"%x{index}" for index in range(8)], "n")
    for index, value in enumerate(values):
        store += [f"%q{index} = getelementptr i8, ptr %out, i64 {64 * index}",
                  f"store {kind} {value}, ptr %q{index}, align 1"]
    text = "\n".join([AFFINE, f"define void @{name}(ptr %in, ptr %out) {{", *load, *network, *store, "ret void", "}"])
    native = compile_functions(text, AVX512).function(name, ctypes.c_void_p, ctypes.c_void_p)

    def call(array):
        result = np.zeros_like(array)
        native(array.ctypes.data, result.ctypes.data)
        return result
    return call


@pytest.mark.skipif(not GFNI, reason="this machine has no GFNI with AVX-512")
def test_every_bit_goes_to_its_lane_and_back():
    codes = np.random.default_rng(1).integers(0, 256, 512, np.uint8)
    planes = function("planes", emit_affine_planes)(codes)
    order = sum(np.unpackbits(np.array(words, "<u8").view(np.uint8), bitorder="little").astype(int) << bit
                for bit, words in enumerate(affine_index_words()))
    assert sorted(order) == list(range(512))
    lanes = np.unpackbits(planes.reshape(8, 64), axis=1, bitorder="little")
    for bit in range(8):
        assert (lanes[bit] == codes[order] >> bit & 1).all(), bit
    assert (function("codes", emit_affine_codes)(planes) == codes).all()


def test_which_machines_and_codes_suit(monkeypatch):
    features = dict.fromkeys(("gfni", "avx512vbmi2"), True)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    asked = suits_affine.__wrapped__
    assert asked(AVX512, 8)
    assert not any((asked(AVX512, 16), asked(InstructionSet.AVX2, 8), asked(InstructionSet.WORD64, 8)))
    for name in ("gfni", "avx512vbmi2"):
        monkeypatch.setitem(features, name, False)
        assert not asked(AVX512, 8)
        monkeypatch.setitem(features, name, True)


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 3, 5), (1, 7, 2), (9, 8, 8)], ids=str)
@pytest.mark.parametrize("affine", [pytest.param(True, marks=pytest.mark.skipif(not GFNI, reason="no GFNI")), False])
def test_codes_go_through_a_program_either_way(affine, widths, monkeypatch):
    if not affine:
        monkeypatch.setattr(llvm_codes, "suits_affine", lambda isa, bits: False)
    a, b, o = widths
    tables = [0b0110, 0b1000, 0b1110, 0b0001, 0b1101]
    cells = {f"bit{index}": lut4(tables[index % 5] * 0x1111, [100 + index % a, 200 + (index * 5 + 1) % b], 300 + index)
             for index in range(o)}
    built = compile_netlist(read_netlist(design(
        {"a": ("input", [100 + bit for bit in range(a)]), "b": ("input", [200 + bit for bit in range(b)]),
         "o": ("output", [300 + bit for bit in range(o)])}, cells)))
    engine = LlvmEngine(built, isa=host_instruction_sets()[0], threads=1)
    rng = np.random.default_rng(2)
    given = {port: rng.integers(0, 1 << width, 1300) for port, width in (("a", a), ("b", b))}
    rows = [(given["a"] >> index % a & 1) + 2 * (given["b"] >> (index * 5 + 1) % b & 1) for index in range(o)]
    want = sum((tables[index % 5] >> row & 1) << index for index, row in enumerate(rows))
    assert (engine.run(given)["o"] == want).all()
    index = np.arange(1 << a + b)
    table = engine.run_exhaustive(["a", "b"])["o"]
    assert (engine.run({"a": index >> b, "b": index & (1 << b) - 1})["o"] == table).all()
