# amaranth: UnusedElaboratable=no
import random
import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.arith.multiply import Multiplier, Structure
from sw.formats import CATALOG, FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference import Multiplication
from tests.support import gates
from tests.support.multipliers import all_modes, assert_exhaustively_right, assert_right_on, corners, policies
from tests.support.sampling import sampled

E4M3 = parse("float8_e4m3fn")


@pytest.mark.slow
def test_every_small_catalog_format_by_itself(tmp_path):
    assert_exhaustively_right([Multiplier(entry.format) for entry in CATALOG if entry.format.width <= 8], tmp_path)


@sampled("name", [
    "float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "float8_e4m3fnuz", "p3109_k8p3se", "p3109_k6p3se",
    "float8_e4m3fn:subnormals=flushed", "float6_e2m3fn:subnormals=flushed", "dlfloat8", "float8_e8m0fnu",
    "radix4_fp4_odd", "radix4_fp4_even", "float4_e3m0fn", "int4", "uint4", "fixed<6,3>", "ufixed<5,2>",
    "fixed<5,7>", "fixed<4,-1>", "int1", "uint1", "int6:narrow_range=true", "float6_e3m2fn:signed=false",
], 4)
def test_all_rounding_modes_and_overflow_policies(name, tmp_path):
    assert_exhaustively_right(all_modes(parse(name)), tmp_path)


@sampled("structure", [Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT,
                       Structure.TRUTH_TABLE], 1)
def test_every_structure_in_all_modes(structure, tmp_path):
    names = ("float4_e2m1fn", "p3109_k4p2se", "fixed<4,2>", "float4_e1m2fn:subnormals=flushed")
    multipliers = [multiplier for name in names
                   for multiplier in all_modes(parse(name), structure=structure, random_bits=1)]
    assert_exhaustively_right(multipliers, tmp_path)


NORMALISING = [Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT]

OPERANDS = ["float4_e2m1fn", "int4", "uint3", "fixed<5,2>", "float6_e3m2fn", "float8_e8m0fnu", "p3109_k4p2se",
            "float6_e2m3fn:subnormals=flushed", "radix4_fp4_even", "float8_e5m2"]

RESULTS = ["float16", "bfloat16", "int8", "float4_e2m1fn", "float8_e8m0fnu", "float8_e4m3fn",
           "float8_e5m2:subnormals=flushed", "radix4_fp4_odd", "p3109_k6p3se", "fixed<4,-2>", "ufixed<7,9>", "dlfloat8",
           "int6:narrow_range=true", "float4_e3m0fn", "float8_e4m3fn:signed=false", "float8_e4m3fnuz"]


def mixed_operands(result, structures):
    """Return a multiplier of two formats for every mode of a result, in any of the structures."""
    target, rng = parse(result), random.Random(result)
    multipliers = []
    for mode in RoundingMode:
        for policy in policies(target):
            a, b = (parse(name) for name in rng.sample(OPERANDS, 2))
            multipliers.append(Multiplier(a, b, target, rounding=mode, overflow=policy,
                                          structure=rng.choice(structures),
                                          random_bits=2 if mode is RoundingMode.STOCHASTIC else 0))
    return [each for each in multipliers if each.a_format.width + each.b_format.width <= 14]


@sampled("result", RESULTS, 3)
def test_mixed_operands_to_every_kind_of_result(result, tmp_path):
    assert_exhaustively_right(mixed_operands(result, NORMALISING), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("structure", NORMALISING)
@pytest.mark.parametrize("result", RESULTS)
def test_mixed_operands_to_every_kind_of_result_in_every_structure(result, structure, tmp_path):
    assert_exhaustively_right(mixed_operands(result, [structure]), tmp_path)


@sampled(("a", "b", "result"), [
    ("float8_e4m3fn", "int4", "float8_e4m3fn"), ("float8_e4m3fn", "float8_e5m2", "float16"),
    ("float8_e4m3fn", "float8_e4m3fn", "bfloat16"), ("float8_e4m3fn", "float8_e4m3fn", "int8"),
    ("float8_e5m2", "float8_e5m2", "fixed<16,8>"), ("int8", "int8", "float8_e4m3fn"), ("int8", "uint8", "float16"),
    ("float8_e8m0fnu", "float8_e4m3fn", "bfloat16"), ("int8", "int8", "int16"), ("uint8", "int8", "fixed<8,-4>"),
    ("float4_e2m1fn", "float8_e4m3fn", "float4_e2m1fn"), ("float8_e4m3fn", "float8_e4m3fn", "float8_e8m0fnu"),
], 5)
def test_pairs_of_formats(a, b, result, tmp_path):
    a, b, result = parse(a), parse(b), parse(result)
    assert_exhaustively_right([Multiplier(a, b, result), Multiplier(a, b, result, hard_multiplier=True)], tmp_path)


@pytest.mark.slow
@sampled("result", [
    "int8", "fixed<8,4>", *(pytest.param(name, marks=pytest.mark.slow)
                            for name in ("int16", "ufixed<8,-6>", "fixed<10,-5>"))], 1)
def test_integers_in_every_ap_fixed_mode(result, tmp_path):
    int8 = parse("int8")
    assert_exhaustively_right(all_modes(int8, int8, parse(result), random_bits=1), tmp_path)


@pytest.mark.slow
def test_wide_formats_on_corners_and_random_pairs(tmp_path):
    names = ("float16", "bfloat16", "tf32", "int16", "uint16", "dlfloat16", "float16_e6m9", "fixed<16,8>")
    multipliers = [Multiplier(parse(name)) for name in names]
    assert_right_on(multipliers, tmp_path, vectors=20_000, seed=1)
    multipliers = [Multiplier(parse(a), parse(b), parse(result), rounding=mode, random_bits=bits)
                   for a, b, result, mode, bits in (
                        ("float16", "bfloat16", "tf32", RoundingMode.UP, 0),
                        ("int16", "int16", "float16", RoundingMode.NEAREST_AWAY, 0),
                        ("float16", "float16", "int16", RoundingMode.STOCHASTIC, 10),
                        ("bfloat16", "bfloat16", "bfloat16", RoundingMode.STOCHASTIC, 12),
                        ("float8_e4m3fn", "float8_e4m3fn", "float8_e4m3fn", RoundingMode.STOCHASTIC, 12),
                        ("fixed<16,8>", "fixed<16,8>", "fixed<16,8>", RoundingMode.STOCHASTIC, 4))]
    assert_right_on(multipliers, tmp_path, vectors=4_000, seed=2)


@pytest.mark.slow
def test_widest_formats_on_corners_and_random_pairs(tmp_path):
    double, int64 = parse("float16:exponent_bits=11,fraction_bits=52,bias=1023"), FixedPointFormat(width=64)
    multipliers = [Multiplier(double), Multiplier(int64), Multiplier(double, int64, double)]
    rng = np.random.default_rng(3)
    for multiplier, circuit in zip(multipliers, gates.build(multipliers, tmp_path), strict=True):
        points = corners(63).astype(np.uint64) << np.uint64(1)
        a, b = (np.concatenate([rng.permutation(points)[:200], rng.integers(0, 1 << 64, 200, np.uint64)]) for _ in "ab")
        want = [multiplier.model(int(x), int(y)) for x, y in zip(a, b, strict=True)]
        assert circuit.run(a=a, b=b).tolist() == want


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(
    entry.name for entry in CATALOG if entry.format.width <= 8 and not entry.name.startswith(("int", "uint"))))
def test_every_small_float_in_all_modes_and_structures(name, tmp_path):
    fmt = parse(name)
    assert_exhaustively_right([multiplier for structure in NORMALISING
                               for multiplier in all_modes(fmt, structure=structure, random_bits=3)], tmp_path)


@pytest.mark.slow
def test_every_pair_of_small_catalog_formats(tmp_path):
    formats = [entry.format for entry in CATALOG if entry.format.width <= 8]
    multipliers = [Multiplier(a, b, a) for a in formats for b in formats]
    for start in range(0, len(multipliers), 100):
        assert_exhaustively_right(multipliers[start:start + 100], tmp_path)


@sampled("pipeline", [1, 2, 3, 4, 5, 9], 2)
@pytest.mark.parametrize(("a", "b", "result", "parameters"), [
    ("float8_e4m3fn", "float8_e4m3fn", "float8_e4m3fn", {}),
    ("float8_e4m3fn", "int4", "float8_e5m2", {"rounding": RoundingMode.STOCHASTIC, "random_bits": 4}),
    ("int8", "int8", "fixed<8,-4>", {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}),
    ("float4_e2m1fn", "float4_e2m1fn", "float4_e2m1fn", {}),
    ("float6_e2m3fn", "float6_e2m3fn", "int6", {"overflow": OverflowPolicy.WRAP}),
    ("float8_e3m4", "float8_e4m3fn:subnormals=flushed", "float8_e4m3fn", {
        "structure": Structure.COUNT_IN_OPERANDS, "rounding": RoundingMode.STOCHASTIC, "random_bits": 3}),
])
def test_pipeline_delays_every_result_by_its_latency(a, b, result, parameters, pipeline, tmp_path):
    multiplier = Multiplier(parse(a), parse(b), parse(result), pipeline=pipeline, **parameters)
    assert multiplier.latency == pipeline
    rng, cycles = np.random.default_rng(pipeline), 200
    codes = {"a": rng.integers(0, 1 << multiplier.a_format.width, cycles),
             "b": rng.integers(0, 1 << multiplier.b_format.width, cycles)}
    if multiplier.random_bits:
        codes["random"] = rng.integers(0, 1 << multiplier.random_bits, cycles)
    circuit, = gates.build([multiplier], tmp_path)
    got = circuit.run(cycles, **codes)[pipeline:]
    want = multiplier.model.codes(codes["a"], codes["b"], codes.get("random"))[:cycles - pipeline]
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), [(cycle + pipeline, codes["a"][cycle], codes["b"][cycle], got[cycle], want[cycle])
                            for cycle in wrong[:5]]
    assert circuit.register_count > 0


@pytest.mark.parametrize("pipeline", [0, 3])
def test_amaranth_simulator_agrees(pipeline):
    multiplier = Multiplier(E4M3, pipeline=pipeline)
    rng = random.Random(pipeline)
    pairs = [(rng.randrange(256), rng.randrange(256)) for _ in range(500)]

    async def testbench(ctx):
        for cycle, (a, b) in enumerate(pairs):
            ctx.set(multiplier.a, a)
            ctx.set(multiplier.b, b)
            if cycle >= pipeline:
                given = pairs[cycle - pipeline]
                assert ctx.get(multiplier.o) == multiplier.model(*given), (cycle, given)
            await (ctx.tick() if pipeline else ctx.delay(1e-6))

    simulator = Simulator(multiplier)
    if pipeline:
        simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("pipeline", [0, 1, 5])
def test_elaborating_twice_gives_the_same(pipeline):
    multiplier = Multiplier(E4M3, parse("int4"), E4M3, pipeline=pipeline)
    first, second = (rtlil.convert(multiplier, emit_src=False) for _ in range(2))
    assert first == second


def test_registers_have_no_reset():
    text = rtlil.convert(Multiplier(E4M3, pipeline=5), emit_src=False)
    assert "cell $dff " in text
    assert "connect \\CLK \\clk" in text
    assert not re.search(r"(connect|switch|assign).*\\rst", text)  # the domain's reset is a port that nothing reads


def test_combinational_has_no_clock():
    assert "clk" not in rtlil.convert(Multiplier(E4M3), emit_src=False)


def test_properties():
    int4, int8 = parse("int4"), parse("int8")
    multiplier = Multiplier(E4M3, int4, int8, rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP,
                            random_bits=3, pipeline=2, structure=Structure.NORMALISE_PRODUCT, hard_multiplier=True)
    assert (multiplier.a_format, multiplier.b_format, multiplier.result_format) == (E4M3, int4, int8)
    assert (multiplier.rounding, multiplier.overflow) == (RoundingMode.STOCHASTIC, OverflowPolicy.WRAP)
    assert (multiplier.random_bits, multiplier.pipeline, multiplier.latency) == (3, 2, 2)
    assert (multiplier.structure, multiplier.hard_multiplier) == (Structure.NORMALISE_PRODUCT, True)
    assert multiplier.model == Multiplication(a=E4M3, b=int4, result=int8, rounding=RoundingMode.STOCHASTIC,
                                              overflow=OverflowPolicy.WRAP, random_bits=3)
    assert (len(multiplier.a), len(multiplier.b), len(multiplier.o), len(multiplier.random)) == (8, 4, 8, 3)


def test_operand_b_and_result_default_to_a():
    multiplier = Multiplier(E4M3)
    assert multiplier.a_format == multiplier.b_format == multiplier.result_format == E4M3
    assert not hasattr(multiplier, "random")


@pytest.mark.parametrize(("name", "structure"), [
    ("float4_e2m1fn", Structure.TRUTH_TABLE), ("int3", Structure.TRUTH_TABLE), ("int4", Structure.NORMALISE_PRODUCT),
    ("float6_e2m3fn", Structure.NORMALISE_PRODUCT), ("float16", Structure.COUNT_IN_OPERANDS),
    ("float8_e4m3fn", Structure.NORMALISE_OPERANDS), ("bfloat16", Structure.COUNT_IN_OPERANDS),
    ("float8_e5m2", Structure.SIGNIFICAND_TABLES), ("float8_e4m3fn:subnormals=flushed", Structure.SIGNIFICAND_TABLES),
    ("float6_e2m3fn:subnormals=flushed", Structure.SIGNIFICAND_TABLES),
])
def test_default_structure(name, structure):
    assert Multiplier.structures(Multiplier(parse(name)).model)[0] is structure


def test_structures_that_build_the_same_circuit_are_offered_once():
    offered = {name: set(Multiplier.structures(Multiplier(parse(name)).model)) for name in (
        "int4", "int8", "posit<6,1>", "posit<16,1>", "float8_e8m0fnu", "float8_e4m3fn:subnormals=flushed",
        "float16:subnormals=flushed", "float8_e3m4")}
    assert offered == {
        "int4": {Structure.NORMALISE_PRODUCT, Structure.TRUTH_TABLE},
        "int8": {Structure.NORMALISE_PRODUCT, Structure.BALANCED},
        "posit<6,1>": {Structure.NORMALISE_OPERANDS, Structure.TRUTH_TABLE},
        "posit<16,1>": {Structure.NORMALISE_OPERANDS, Structure.BALANCED},
        "float8_e8m0fnu": {Structure.NORMALISE_OPERANDS},
        "float8_e4m3fn:subnormals=flushed": {Structure.NORMALISE_OPERANDS, Structure.SIGNIFICAND_TABLES},
        "float16:subnormals=flushed": {Structure.NORMALISE_OPERANDS, Structure.BALANCED},
        "float8_e3m4": {Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT, Structure.COUNT_IN_OPERANDS}}


class Ice40:
    """A platform that names its family alone, whose products are made of gated rows."""

    narrowgauge_family = "ice40"


@sampled("structure", [Structure.BALANCED, Structure.NORMALISE_OPERANDS], 1)
def test_balanced_products_on_a_family_that_gates_sums(structure, tmp_path):
    names = ("int5", "uint6", "minifloat_e2m4:subnormals=flushed", "posit<8,1>", "fixed<7,3>")
    multipliers = [Multiplier(parse(name), structure=structure) for name in names]
    multipliers.append(Multiplier(parse("int5"), parse("uint6"), parse("float8_e4m3fn"), structure=structure))
    assert_exhaustively_right(multipliers, tmp_path, platform=Ice40())
    wide = [Multiplier(parse(name), structure=structure) for name in ("float16:subnormals=flushed", "posit<16,1>")]
    assert_right_on(wide, tmp_path, vectors=4_000, seed=4, platform=Ice40())


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    (("float8_e4m3fn",), {}, TypeError, r"Format a must be a .* not 'float8_e4m3fn'; write sw\.formats\.parse\("),
    ((E4M3, 8), {}, TypeError, r"Format b must be a .* not 8$"),
    ((E4M3, E4M3, 8.0), {}, TypeError, r"Result format must be a .* not 8\.0$"),
    ((E4M3, parse("int4")), {}, ValueError,
     "Result format must be given for operands of two formats, float8_e4m3fn and int4, not None"),
    ((E4M3,), {"rounding": "up"}, TypeError, "Rounding mode must be of type RoundingMode, not 'up'"),
    ((E4M3,), {"overflow": "wrap"}, TypeError, "Overflow policy must be of type OverflowPolicy, not 'wrap'"),
    ((E4M3,), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8"),
    ((parse("int8"),), {"overflow": OverflowPolicy.INFINITY}, ValueError, "has no infinity and no NaN, not 'infinity'"),
    ((E4M3,), {"random_bits": 2}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 2"),
    ((E4M3,), {"rounding": RoundingMode.STOCHASTIC}, ValueError,
     "Random bit count must be between 1 and 64 for stochastic rounding, not 0"),
    ((E4M3,), {"random_bits": 1.5}, TypeError, r"Random bit count must be an integer, not 1\.5"),
    ((E4M3,), {"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ((E4M3,), {"pipeline": 10**9}, ValueError, "Pipeline must be between 0 and 64 register stages, not 1000000000"),
    ((E4M3,), {"pipeline": "two"}, TypeError, "Pipeline must be an integer, not 'two'"),
    ((E4M3,), {"pipeline": True}, TypeError, "Pipeline must be an integer, not True"),
    ((E4M3,), {"structure": "rom"}, TypeError, "Structure must be a Structure, not 'rom'"),
    ((E4M3,), {"structure": Structure.TRUTH_TABLE}, ValueError,
     "Structure must be another one for more than 12 input bits, not .*TRUTH_TABLE for 16"),
    ((E4M3,), {"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        Multiplier(*arguments, **parameters)
