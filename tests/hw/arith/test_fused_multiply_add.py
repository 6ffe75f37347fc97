# amaranth: UnusedElaboratable=no
"""Fused multiply-adds against the exact reference: every triple of codes where that is affordable."""

import re

import pytest
from amaranth.back import rtlil

from hw.arith.fused_multiply_add import FusedMultiplyAdd, FusedStructure
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import FusedMultiplyAdd as Reference
from tests.support import gates
from tests.support.functions import SMALL, assert_delayed, assert_right_on_all, assert_right_on_some, in_all_modes
from tests.support.sampling import sampled

E4M3 = parse("float8_e4m3fn")
STRUCTURES = [FusedStructure.NORMALISE_OPERANDS, FusedStructure.NORMALISE_SUM]


def fused(*names, **parameters):
    """Return a fused multiply-add of formats given by name."""
    return FusedMultiplyAdd(*map(parse, names), **parameters)


@sampled("structure", STRUCTURES, 1, ids=lambda structure: structure.value)
def test_every_triple_of_tiny_formats(structure, tmp_path):
    components = in_all_modes(FusedMultiplyAdd, *[parse("float4_e2m1fn")] * 4, random_bits=1, structure=structure)
    components += [fused("p3109_k4p2se", "int3", "posit<4,1>", "float6_e2m3fn", structure=structure, rounding=mode)
                   for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.DOWN, RoundingMode.TO_ODD)]
    assert_right_on_all(components, tmp_path)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.value)
def test_every_triple_of_six_bit_floats(structure, tmp_path):
    assert_right_on_all([fused("float6_e3m2fn", structure=structure), fused("float6_e2m3fn", structure=structure)],
                        tmp_path)


@pytest.mark.slow
def test_mixed_formats(tmp_path):
    formats = (("float8_e4m3fn", "int4", "float8_e5m2", "float16"), ("int4", "float4_e2m1fn", "fixed<6,3>", "int8"),
               ("int8", "int8", "float8_e4m3fn", "float8_e4m3fn"), ("int8", "uint4", "fixed<6,3>", "float8_e5m2"),
               ("float8_e4m3fn", "posit<6,1>", "radix4_fp4_odd", "posit<8,0>"),
               ("float8_e5m2", "float8_e5m2", "float8_e4m3fnuz", "radix4_fp4_even"), ("p3109_k6p3se",) * 4,
               ("float8_e4m3b11fnuz",) * 4, ("float8_e5m2",) * 4, ("dlfloat8",) * 4, ("radix4_fp4_even",) * 4)
    modes = list(RoundingMode)
    assert_right_on_some([
        fused(*names, rounding=modes[index % len(modes)], structure=STRUCTURES[index % 2],
              random_bits=3 if modes[index % len(modes)] is RoundingMode.STOCHASTIC else 0)
        for index, names in enumerate(formats, start=5)], tmp_path, vectors=4_000, seed=4)


def test_fixed_point_in_every_ap_fixed_mode(tmp_path):
    formats = [parse(name) for name in ("fixed<4,2>", "ufixed<3,1>", "fixed<5,4>", "fixed<5,1>")]
    components = in_all_modes(FusedMultiplyAdd, *formats, random_bits=1)
    assert_right_on_all([*components, FusedMultiplyAdd(*formats, hard_multiplier=True),
                         fused("int3", structure=FusedStructure.TRUTH_TABLE)], tmp_path)


@pytest.mark.slow
def test_wide_formats_on_corners_and_random_triples(tmp_path):
    components = [fused("float16"), fused("bfloat16"), fused("int16"), fused("posit<10,1>"),
                   fused("float16", "float16", "float16", "fixed<16,8>", rounding=RoundingMode.STOCHASTIC,
                         random_bits=8)]
    assert_right_on_some(components, tmp_path, vectors=3_000, seed=5)


@pytest.mark.slow
def test_wider_formats_on_corners_and_random_triples(tmp_path):
    components = [fused(name, structure=structure) for name in ("float16", "bfloat16", "tf32")
                  for structure in STRUCTURES]
    components += [fused("posit<16,1>"), fused("float16", hard_multiplier=True), fused("fixed<16,8>"),
                   fused("bfloat16", "bfloat16", "float32_e8m23", "float32_e8m23")]
    assert_right_on_some(components, tmp_path, vectors=50_000, seed=8)


def test_wrapping_keeps_the_low_order_bits_of_far_apart_numbers(tmp_path):
    components = [fused("float6_e3m2fn", "float8_e4m3fn", "float6_e3m2fn", "fixed<6,2>", overflow=policy)
                  for policy in (OverflowPolicy.WRAP, OverflowPolicy.WRAP_SIGN_MAGNITUDE)]
    assert_right_on_some(components, tmp_path, vectors=20_000, seed=6)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.value)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3", "posit<8,1>"])
def test_every_triple_of_eight_bit_formats(name, structure, tmp_path):
    gates.assert_right_on_every_triple(fused(name, structure=structure), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.value)
@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
def test_every_small_catalog_format_in_every_mode(entry, structure, tmp_path):
    assert_right_on_some(in_all_modes(FusedMultiplyAdd, *[entry.format] * 4, structure=structure), tmp_path,
                         vectors=30_000, seed=7)


@sampled(("names", "parameters"), [
    (("float8_e4m3fn",), {"pipeline": 1}), (("float8_e4m3fn",), {"pipeline": 3}), (("float8_e5m2",), {"pipeline": 8}),
    (("float6_e3m2fn",), {"pipeline": 6, "rounding": RoundingMode.STOCHASTIC, "random_bits": 4}),
    (("int8", "int4", "int8", "fixed<8,-3>"), {"pipeline": 3, "rounding": RoundingMode.STOCHASTIC, "random_bits": 3}),
    (("int3",), {"pipeline": 2, "structure": FusedStructure.TRUTH_TABLE}),
], 3)
def test_pipeline_delays_every_result_by_its_latency(names, parameters, tmp_path):
    component = fused(*names, **parameters)
    assert component.latency == parameters["pipeline"]
    assert_delayed(component, tmp_path)


@pytest.mark.parametrize("pipeline", [0, 6])
def test_elaborating_twice_gives_the_same(pipeline):
    component = fused("float8_e4m3fn", "int4", "float8_e5m2", "float8_e4m3fn", pipeline=pipeline)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second
    assert ("\\clk" in first) == (pipeline > 0)
    assert not re.search(r"(connect|switch|assign).*\\rst", first)


def test_properties_and_defaults():
    component = fused("float8_e4m3fn", "int4", "float8_e5m2", "int8", rounding=RoundingMode.STOCHASTIC, random_bits=3,
                      overflow=OverflowPolicy.WRAP, pipeline=2, hard_multiplier=True)
    assert (component.pipeline, component.latency, component.hard_multiplier) == (2, 2, True)
    assert component.model == Reference(a=E4M3, b=parse("int4"), c=parse("float8_e5m2"), result=parse("int8"),
                                        rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP, random_bits=3)
    assert (len(component.a), len(component.b), len(component.c), len(component.random), len(component.o)) == (
        8, 4, 8, 3, 8)
    assert FusedMultiplyAdd(E4M3).model == Reference(a=E4M3, b=E4M3, c=E4M3, result=E4M3)


@pytest.mark.parametrize(("name", "structure"), [
    ("float8_e4m3fn", FusedStructure.NORMALISE_FACTORS), ("float8_e5m2", FusedStructure.NORMALISE_FACTORS),
    ("float6_e2m3fn", FusedStructure.NORMALISE_SUM), ("float4_e2m1fn", FusedStructure.NORMALISE_FACTORS),
    ("float16", FusedStructure.NORMALISE_FACTORS),
    ("float8_e4m3fn:subnormals=flushed", FusedStructure.NORMALISE_OPERANDS),
    ("posit<8,1>", FusedStructure.NORMALISE_OPERANDS), ("int8", FusedStructure.NORMALISE_OPERANDS),
])
def test_default_structure(name, structure):
    assert FusedMultiplyAdd.structures(fused(name).model)[0] is structure


def test_structures_that_build_the_same_circuit_are_offered_once():
    offered = {name: FusedMultiplyAdd.structures(fused(name).model) for name in (
        "int8", "posit<8,1>", "float8_e4m3fn:subnormals=flushed", "float16", "float4_e2m1fn")}
    assert offered == {
        "int8": (FusedStructure.NORMALISE_OPERANDS,), "posit<8,1>": (FusedStructure.NORMALISE_OPERANDS,),
        "float8_e4m3fn:subnormals=flushed": (FusedStructure.NORMALISE_OPERANDS,),
        "float16": (FusedStructure.NORMALISE_FACTORS, FusedStructure.NORMALISE_OPERANDS, FusedStructure.NORMALISE_SUM),
        "float4_e2m1fn": (FusedStructure.NORMALISE_FACTORS, FusedStructure.NORMALISE_OPERANDS,
                          FusedStructure.NORMALISE_SUM, FusedStructure.TRUTH_TABLE)}


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    (("e4m3",), {}, TypeError, r"Format a must be a .* not 'e4m3'; write sw\.formats\.parse\("),
    ((E4M3, 8), {}, TypeError, r"Format b must be a .* not 8$"),
    ((E4M3, E4M3, 8), {}, TypeError, r"Format c must be a .* not 8$"),
    ((E4M3, E4M3, E4M3, 8.0), {}, TypeError, r"Result format must be a .* not 8\.0$"),
    ((E4M3, E4M3, parse("int4")), {}, ValueError, "Result format must be given for operands of several formats, "
     "float8_e4m3fn, float8_e4m3fn and int4, not None"),
    ((E4M3,), {"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ((E4M3,), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8"),
    ((E4M3,), {"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ((E4M3,), {"structure": "rom"}, TypeError, "Structure must be a FusedStructure, not 'rom'"),
    ((E4M3,), {"structure": FusedStructure.TRUTH_TABLE}, ValueError,
     "Structure must be another one for more than 12 input bits, not .*TRUTH_TABLE for 24"),
    ((E4M3,), {"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        FusedMultiplyAdd(*arguments, **parameters)
