# amaranth: UnusedElaboratable=no
import warnings

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.arith.multiply import Multiplier, Structure
from sw.formats import RoundingMode, parse
from tests.support import gates
from tests.support.multipliers import all_modes, assert_exhaustively_right, assert_right_on
from tests.support.posits import POSITS, SoftPosit
from tests.support.sampling import sampled


def test_every_posit_of_eight_bits_on_all_pairs(tmp_path):
    assert_exhaustively_right([Multiplier(fmt) for fmt in POSITS if fmt.width == 8], tmp_path)


@pytest.mark.parametrize(("width", "random_bits"), [(3, 1), (3, 3), (4, 2), (5, 2)])
def test_every_small_posit_in_all_modes(width, random_bits, tmp_path):
    assert_exhaustively_right([multiplier for fmt in POSITS if fmt.width == width
                               for multiplier in all_modes(fmt, random_bits=random_bits)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("exponent_size", range(4))
def test_every_posit_of_six_to_eight_bits_in_all_modes(exponent_size, tmp_path):
    for width in (6, 7, 8):
        assert_exhaustively_right(all_modes(parse(f"posit<{width},{exponent_size}>"), random_bits=3), tmp_path)


def test_wide_posits_on_corners_and_random_pairs(tmp_path):
    names = ("posit<9,0>", "posit<13,2>", "posit<16,1>")
    multipliers = [Multiplier(parse(name)) for name in names]
    multipliers.append(Multiplier(parse("posit<16,0>"), rounding=RoundingMode.UP))
    multipliers.append(Multiplier(parse("posit<16,2>"), rounding=RoundingMode.STOCHASTIC, random_bits=9))
    assert_right_on(multipliers, tmp_path, vectors=1_000, seed=4)


@sampled(("a", "b", "result"), [
    ("posit<8,1>", "posit<8,1>", "float16"), ("posit<8,2>", "float8_e4m3fn", "bfloat16"),
    ("posit<8,0>", "posit<6,2>", "int8"), ("posit<7,1>", "int4", "fixed<12,4>"),
    ("float8_e4m3fn", "float8_e5m2", "posit<8,2>"), ("int8", "int8", "posit<8,1>"), ("uint8", "int4", "posit<9,0>"),
    ("float8_e5m2", "posit<8,1>", "posit<16,2>"), ("float8_e8m0fnu", "float8_e8m0fnu", "posit<8,2>"),
    ("float8_e8m0fnu", "posit<8,1>", "posit<8,1>"), ("posit<8,0>", "posit<8,3>", "posit<5,1>"),
    ("posit<8,2>", "posit<8,2>", "float8_e4m3fn:signed=false"), ("radix4_fp4_odd", "posit<5,0>", "posit<6,1>"),
    ("float4_e2m1fn", "float4_e2m1fn", "posit<16,0>"), ("float8_e5m2", "float8_e5m2", "posit<3,0>"),
    ("posit<6,0>", "posit<8,1>", "float8_e5m2:subnormals=flushed"), ("fixed<8,12>", "posit<6,1>", "posit<6,1>"),
], 6)
def test_posits_and_other_formats_on_all_pairs(a, b, result, tmp_path):
    a, b, result = parse(a), parse(b), parse(result)
    assert_exhaustively_right([Multiplier(a, b, result, structure=structure) for structure in (
        Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT)], tmp_path)


@sampled(("a", "b", "result"), [
    ("float4_e2m1fn", "int5", "posit<6,1>"), ("posit<5,1>", "float4_e1m2fn", "posit<7,0>"),
    ("posit<5,2>", "posit<4,0>", "float6_e3m2fn"), ("posit<3,0>", "posit<4,1>", "fixed<5,2>"),
    ("float4_e2m1fn", "uint4", "posit<3,0>"),
], 2)
@pytest.mark.parametrize("structure", [pytest.param(Structure.NORMALISE_OPERANDS, marks=pytest.mark.slow),
                                       Structure.NORMALISE_PRODUCT])
def test_mixed_formats_in_all_modes_and_structures(a, b, result, structure, tmp_path):
    assert_exhaustively_right(all_modes(parse(a), parse(b), parse(result), structure=structure, random_bits=1),
                              tmp_path)


@pytest.mark.parametrize("name", ["posit<8,0>", "posit<8,2>"])
def test_all_pairs_multiply_as_in_softposit(name, tmp_path):
    fmt = parse(name)
    oracle, (circuit,) = SoftPosit(fmt), gates.build([Multiplier(fmt)], tmp_path)
    a, b = np.divmod(np.arange(1 << 16), 256)
    want = np.array([oracle.operate("mul", *pair) for pair in zip(a.tolist(), b.tolist(), strict=True)])
    wrong = np.flatnonzero(circuit.run(a=a, b=b) != want)
    assert not len(wrong), [(hex(a[i]), hex(b[i]), hex(want[i])) for i in wrong[:5]]


@pytest.mark.parametrize("pipeline", [1, 2, 3, 4, 6])
def test_pipeline_delays_every_result_by_its_latency(pipeline, tmp_path):
    multiplier = Multiplier(parse("posit<8,1>"), parse("float8_e4m3fn"), parse("posit<8,1>"), pipeline=pipeline,
                            rounding=RoundingMode.STOCHASTIC, random_bits=4)
    rng, cycles = np.random.default_rng(pipeline), 200
    codes = {"a": rng.integers(0, 256, cycles), "b": rng.integers(0, 256, cycles),
             "random": rng.integers(0, 16, cycles)}
    circuit, = gates.build([multiplier], tmp_path)
    got = circuit.run(cycles, **codes)[pipeline:]
    want = multiplier.model.codes(codes["a"], codes["b"], codes["random"])[:cycles - pipeline]
    assert np.array_equal(got, want), np.flatnonzero(got != want)[:5]
    assert circuit.register_count > 0


@pytest.mark.parametrize("width", [3, 8, 16])
def test_elaborating_twice_gives_the_same_circuit_without_a_warning(width):
    multiplier = Multiplier(parse(f"posit<{width},0>"), pipeline=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rtlil.convert(multiplier, emit_src=False) == rtlil.convert(multiplier, emit_src=False)


def test_no_truth_table_for_posits():
    """Tables of posits took more LUT4 than the circuit at every width."""
    multipliers = Multiplier(parse("posit<3,0>")), Multiplier(parse("posit<8,1>"), parse("int8"), parse("int8"))
    assert [Multiplier.structures(multiplier.model)[0] for multiplier in multipliers] == [
        Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT]
