# amaranth: UnusedElaboratable=no
"""Adders against the exact reference: every pair of codes where that is affordable."""

import re

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.arith.add import Adder, AdderStructure
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Addition
from tests.support.functions import SMALL, assert_delayed, assert_right_on_all, assert_right_on_some, in_all_modes
from tests.support.sampling import sampled

E4M3 = parse("float8_e4m3fn")
TINY = ("float4_e2m1fn", "p3109_k4p2se", "posit<4,0>", "float4_e2m1fn:subnormals=flushed")


def adder(*names, **parameters):
    """Return an adder of formats given by name."""
    return Adder(*map(parse, names), **parameters)


@pytest.mark.slow
def test_tiny_formats_in_every_mode(tmp_path):
    adders = [component for index, name in enumerate(TINY)
              for component in in_all_modes(Adder, *[parse(name)] * 3, random_bits=1, subtract=index % 2 == 1)]
    assert_right_on_all(adders, tmp_path)


def test_truth_tables(tmp_path):
    adders = [adder(name, rounding=mode, structure=AdderStructure.TRUTH_TABLE)
              for name in ("p3109_k4p2se", "int3", "radix4_fp4_even")
              for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.TO_ODD)]
    stochastic = adder("int3", rounding=RoundingMode.STOCHASTIC, random_bits=3, structure=AdderStructure.TRUTH_TABLE)
    assert_right_on_all([*adders, stochastic], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["radix4_fp4_even", "int3", "posit<5,1>", "float4_e2m1fn:subnormals=absent"])
def test_more_tiny_formats_in_every_mode(name, tmp_path):
    for subtract in (False, True):
        assert_right_on_all(in_all_modes(Adder, *[parse(name)] * 3, subtract=subtract), tmp_path)


@pytest.mark.parametrize("name", ["float6_e3m2fn", pytest.param("fixed<6,2>", marks=pytest.mark.slow)])
def test_small_formats_in_every_mode(name, tmp_path):
    assert_right_on_all(in_all_modes(Adder, *[parse(name)] * 3, random_bits=1), tmp_path)


def test_every_pair_of_eight_bit_floats(tmp_path):
    assert_right_on_all([adder("float8_e4m3fn"), adder("float8_e4m3", overflow=OverflowPolicy.INFINITY),
                         adder("float8_e5m2", rounding=RoundingMode.TOWARD_ZERO, subtract=True)], tmp_path)


@pytest.mark.slow
def test_every_small_catalog_format_by_itself(tmp_path):
    modes = list(RoundingMode)[:-1]
    assert modes[-1] is not RoundingMode.STOCHASTIC
    assert_right_on_some([Adder(entry.format, rounding=modes[index % len(modes)], subtract=index % 5 == 0)
                          for index, entry in enumerate(SMALL)], tmp_path, vectors=2_000, seed=1)


@pytest.mark.parametrize("mode", [
    pytest.param(RoundingMode.NEAREST_EVEN, marks=pytest.mark.slow), RoundingMode.DOWN,
    pytest.param(RoundingMode.STOCHASTIC, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_mixed_formats(mode, tmp_path):
    formats = (
        ("float8_e4m3fn", "float4_e2m1fn", "float8_e5m2"), ("int4", "float6_e3m2fn", "fixed<8,3>"),
        ("fixed<6,2>", "fixed<5,4>", "float6_e3m2fn"), ("float6_e3m2fn", "float6_e2m3fn", "dlfloat8"),
        ("float8_e8m0fnu", "float4_e2m1fn", "bfloat16"), ("float8_e5m2", "int6", "float8_e4m3fnuz"),
        ("float6_e3m2fn", "float6_e3m2fn", "uint5"), ("radix4_fp4_even", "float6_e3m2fn", "radix4_fp4_odd"),
        ("posit<6,1>", "float6_e2m3fn", "posit<5,2>"), ("int4", "posit<5,0>", "float6_e3m2fn"),
        ("float6_e3m2fn", "posit<6,1>", "int6"), ("float4_e2m1fn", "float4_e2m1fn", "float8_e8m0fnu"))
    bits = 2 if mode is RoundingMode.STOCHASTIC else 0
    assert_right_on_all([adder(*names, rounding=mode, random_bits=bits, subtract=mode is RoundingMode.DOWN)
                         for names in formats], tmp_path)


@pytest.mark.parametrize("result", ["fixed<5,1>", *(pytest.param(name, marks=pytest.mark.slow)
                                                    for name in ("fixed<8,5>", "ufixed<4,-1>"))])
def test_fixed_point_in_every_ap_fixed_mode(result, tmp_path):
    assert_right_on_all(in_all_modes(Adder, parse("fixed<5,2>"), parse("ufixed<4,3>"), parse(result), random_bits=1),
                        tmp_path)


def test_wrapping_keeps_the_low_order_bits_of_far_apart_floats(tmp_path):
    adders = [adder("float8_e5m2", "float8_e5m2", "fixed<6,2>", overflow=policy)
              for policy in (OverflowPolicy.WRAP, OverflowPolicy.WRAP_SIGN_MAGNITUDE)]
    assert_right_on_all(adders, tmp_path)


@pytest.mark.slow
def test_wide_formats_on_corners_and_random_pairs(tmp_path):
    adders = [adder(name) for name in ("float16", "bfloat16", "fixed<16,8>", "dlfloat16")]
    adders += [adder("float16", "bfloat16", "tf32", rounding=RoundingMode.UP), adder("posit<16,1>"),
               adder("float16", "float16", "int16", rounding=RoundingMode.STOCHASTIC, random_bits=10),
               adder("bfloat16", "bfloat16", "bfloat16", rounding=RoundingMode.STOCHASTIC, random_bits=12),
               adder("int16", "float16", "float16", rounding=RoundingMode.TO_ODD),
               adder("float8_e4m3fn", "float16", "float16", rounding=RoundingMode.NEAREST_AWAY)]
    assert_right_on_some(adders, tmp_path, vectors=2_000, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
def test_every_small_catalog_format_in_every_mode(entry, tmp_path):
    assert_right_on_all(in_all_modes(Adder, *[entry.format] * 3, random_bits=2), tmp_path)


@pytest.mark.slow
def test_every_pair_of_small_catalog_formats(tmp_path):
    formats = [entry.format for entry in SMALL if entry.format.width <= 8]
    adders = [Adder(a, b, a) for a in formats for b in formats]
    for start in range(0, len(adders), 100):
        assert_right_on_some(adders[start:start + 100], tmp_path, vectors=8_000, seed=start)


@sampled(("names", "parameters"), [
    (("float8_e4m3fn",), {"pipeline": 1}), (("float8_e4m3fn",), {"pipeline": 4}), (("float8_e5m2",), {"pipeline": 6}),
    (("float8_e4m3fn", "int4", "float8_e5m2"), {"pipeline": 3, "rounding": RoundingMode.STOCHASTIC, "random_bits": 4}),
    (("int8", "int8", "fixed<8,-1>"), {"pipeline": 2, "rounding": RoundingMode.STOCHASTIC, "random_bits": 3}),
    (("float4_e2m1fn",), {"pipeline": 2, "structure": AdderStructure.TRUTH_TABLE}), (("posit<6,1>",), {"pipeline": 3}),
], 3)
def test_pipeline_delays_every_result_by_its_latency(names, parameters, tmp_path):
    component = adder(*names, **parameters)
    assert component.latency == parameters["pipeline"]
    assert_delayed(component, tmp_path)


def test_amaranth_simulator_agrees():
    component = adder("float8_e4m3fn", subtract=True)

    async def testbench(ctx):
        for a, b in ((x * 37 % 256, x * 101 % 256) for x in range(300)):
            ctx.set(component.a, a)
            ctx.set(component.b, b)
            await ctx.delay(1e-6)
            assert ctx.get(component.o) == component.model(a, b), (a, b)

    simulator = Simulator(component)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("pipeline", [0, 4])
def test_elaborating_twice_gives_the_same(pipeline):
    component = adder("float8_e4m3fn", "int4", "float8_e4m3fn", pipeline=pipeline)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second
    assert ("\\clk" in first) == (pipeline > 0)
    assert not re.search(r"(connect|switch|assign).*\\rst", first)


def test_properties_and_defaults():
    component = adder("float8_e4m3fn", "int4", "int8", rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP,
                      random_bits=3, subtract=True, pipeline=2)
    assert (component.pipeline, component.latency, component.structure) == (2, 2, AdderStructure.ALIGN_EXPONENTS)
    assert component.model == Addition(a=E4M3, b=parse("int4"), result=parse("int8"), subtract=True, random_bits=3,
                                       rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP)
    assert (len(component.a), len(component.b), len(component.random), len(component.o)) == (8, 4, 3, 8)
    assert Adder(E4M3).model == Addition(a=E4M3, b=E4M3, result=E4M3)
    assert not hasattr(Adder(E4M3), "random")


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    (("e4m3",), {}, TypeError, r"Format a must be a .* not 'e4m3'; write sw\.formats\.parse\("),
    ((E4M3, 8), {}, TypeError, r"Format b must be a .* not 8$"),
    ((E4M3, E4M3, 8.0), {}, TypeError, r"Result format must be a .* not 8\.0$"),
    ((E4M3, parse("int4")), {}, ValueError,
     "Result format must be given for operands of two formats, float8_e4m3fn and int4, not None"),
    ((E4M3,), {"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ((E4M3,), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8"),
    ((E4M3,), {"random_bits": 2}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 2"),
    ((E4M3,), {"subtract": 1}, TypeError, "Subtract must be True or False, not 1"),
    ((E4M3,), {"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ((E4M3,), {"structure": "rom"}, TypeError, "Structure must be an AdderStructure, not 'rom'"),
    ((E4M3,), {"structure": AdderStructure.TRUTH_TABLE}, ValueError,
     "Structure must be another one for more than 12 input bits, not .*TRUTH_TABLE for 16"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        Adder(*arguments, **parameters)
