"""The networks between codes and planes, run as native code of every instruction set of this machine."""

import ctypes

import numpy as np
import pytest

from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import compile_functions
from synth.netlist.llvm_ir import vector_constant, vector_type
from synth.netlist.transpose import (
    CODE_BITS,
    emit_natural_codes,
    emit_natural_planes,
    emit_transpose,
    natural_index_words,
    transposed_index_words,
)

SETS = host_instruction_sets()
EMITTERS = {"transpose": emit_transpose, "planes": emit_natural_planes, "codes": emit_natural_codes}


def function_text(name, emit, isa, bits, **options):
    """Return a function from registers in a row in memory to registers in a row."""
    kind, lines = vector_type(isa), []
    for index in range(bits):
        lines += [f"%p{index} = getelementptr i8, ptr %in, i64 {index * isa.bytes}",
                  f"%x{index} = load {kind}, ptr %p{index}, align 8"]
    network, values = emit(isa, bits, [f"%x{index}" for index in range(bits)], "n", **options)
    for index, value in enumerate(values):
        network += [f"%q{index} = getelementptr i8, ptr %out, i64 {index * isa.bytes}",
                    f"store {kind} {value}, ptr %q{index}, align 8"]
    return "\n".join([f"define void @{name}(ptr %in, ptr %out) {{", *lines, *network, "ret void", "}"])


def functions(isa, bits, **options):
    text = "\n".join(function_text(name, emit, isa, bits, **(options if name != "codes" else {}))
                     for name, emit in EMITTERS.items())
    code = compile_functions(text, isa)

    def caller(name):
        function = code.function(name, ctypes.c_void_p, ctypes.c_void_p)

        def call(array):
            result = np.zeros_like(array)
            function(array.ctypes.data, result.ctypes.data)
            return result
        return call
    return {name: caller(name) for name in EMITTERS}


def bits_of(codes):
    """Return bit *i* of code *k* at ``[i, k]``."""
    return np.unpackbits(codes.view(np.uint8).reshape(len(codes), -1), axis=1, bitorder="little").T


def random_codes(isa, bits, limit=None):
    return np.random.default_rng(bits).integers(0, 1 << (limit or bits), isa.lanes, dtype=f"u{bits // 8}")


@pytest.mark.parametrize("bits", CODE_BITS)
@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_networks_move_every_bit_to_its_place(isa, bits):
    codes, call = random_codes(isa, bits), functions(isa, bits)
    planes = call["planes"](codes)
    lanes = np.unpackbits(planes.view(np.uint8).reshape(bits, -1), axis=1, bitorder="little")
    assert (lanes == bits_of(codes)).all()
    assert (call["codes"](planes) == codes).all()
    transposed = call["transpose"](codes)
    assert (call["transpose"](transposed) == codes).all()
    order = sum(np.unpackbits(np.array(words, "<u8").view(np.uint8), bitorder="little").astype(int) << bit
                for bit, words in enumerate(transposed_index_words(isa, bits)))
    assert sorted(order) == list(range(isa.lanes))
    lanes = np.unpackbits(transposed.view(np.uint8).reshape(bits, -1), axis=1, bitorder="little")
    assert (lanes == bits_of(codes[order])).all()


@pytest.mark.parametrize(("code_bits", "bits"), [(8, 16), (8, 32), (16, 32), (8, 64), (32, 64)])
@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_narrow_codes_in_wide_elements(isa, bits, code_bits):
    codes, shortened = random_codes(isa, bits, code_bits), functions(isa, bits, code_bits=code_bits)
    whole = functions(isa, bits)
    for name in ("transpose", "planes"):
        assert (shortened[name](codes) == whole[name](codes)).all(), name
    values = [f"%x{index}" for index in range(bits)]
    fewer, all_ = (emit_transpose(isa, bits, values, code_bits=each)[0] for each in (code_bits, None))
    assert len(fewer) < len(all_)


@pytest.mark.parametrize("isa", InstructionSet)
def test_planes_of_zeros_cost_little(isa):
    zero = vector_constant(isa, 0)
    assert emit_transpose(isa, 16, [zero] * 16) == ([], [zero] * 16)
    lines, values = emit_transpose(isa, 8, ["%a"] + [zero] * 7)
    assert len(lines) < len(emit_transpose(isa, 8, ["%a"] * 8)[0]) / 2
    assert zero not in values


@pytest.mark.parametrize(("isa", "bits", "count"), [("avx512", 8, 48), ("avx512", 16, 128), ("avx2", 8, 72)])
def test_instructions_of_a_transposition(isa, bits, count):
    lines, _ = emit_transpose(InstructionSet(isa), bits, [f"%x{index}" for index in range(bits)])
    assert len(lines) == count


def test_numbers_of_lanes_in_natural_order():
    assert natural_index_words(InstructionSet.NEON)[5:] == [[0xFFFFFFFF00000000] * 2, [0, (1 << 64) - 1]]


def test_networks_wrong():
    with pytest.raises(ValueError, match="Code bits must be one of 8, 16, 32, 64, not 12"):
        emit_transpose(InstructionSet.WORD64, 12, ["%x"] * 12)
    with pytest.raises(ValueError, match="Values must be 8, one a bit of the codes, not 7"):
        emit_transpose(InstructionSet.WORD64, 8, ["%x"] * 7)
