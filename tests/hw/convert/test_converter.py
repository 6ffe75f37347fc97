# amaranth: UnusedElaboratable=no
"""Converters against the exact reference: every code, in every mode."""

import re

import pytest
from amaranth.back import rtlil

from hw.convert.converter import Converter, ConverterStructure
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Conversion
from tests.support.functions import SMALL, assert_delayed, assert_right_on_all, assert_right_on_some, in_all_modes

E4M3 = parse("float8_e4m3fn")
STRUCTURES = [ConverterStructure.NORMALISE_OPERAND, ConverterStructure.NORMALISE_RESULT]


def converter(a, result, **parameters):
    """Return a converter between two formats given by name."""
    return Converter(parse(a), parse(result), **parameters)


EVERY_MODE = (("float8_e4m3fn", "float8_e5m2"), ("float8_e5m2", "float8_e4m3fn"), ("float8_e4m3fn", "int6"),
              ("int8", "float6_e3m2fn"), ("fixed<8,4>", "fixed<6,2>"), ("posit<8,1>", "float8_e4m3fn"),
              ("float8_e4m3fn", "posit<8,0>"), ("float6_e3m2fn", "radix4_fp4_odd"))


@pytest.mark.parametrize(("structure", "pairs"), [
    (STRUCTURES[0], EVERY_MODE[::4]), (STRUCTURES[1], EVERY_MODE[1::4]),
    pytest.param(STRUCTURES[0], EVERY_MODE, marks=pytest.mark.slow),
    pytest.param(STRUCTURES[1], EVERY_MODE, marks=pytest.mark.slow),
])
def test_every_code_in_every_mode(structure, pairs, tmp_path):
    assert_right_on_all([component for a, result in pairs for component in in_all_modes(
        Converter, parse(a), parse(result), random_bits=1, structure=structure)], tmp_path)


@pytest.mark.slow
def test_every_small_catalog_format(tmp_path):
    """Every format to itself and another one, in one mode each; the slow test has all pairs."""
    modes = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]
    pairs = [(entry.format, SMALL[(index + step) % len(SMALL)].format)
             for index, entry in enumerate(SMALL) for step in (0, 7)]
    assert_right_on_all([Converter(*pair, rounding=modes[index % len(modes)], structure=STRUCTURES[index % 2])
                         for index, pair in enumerate(pairs)], tmp_path)


@pytest.mark.slow
def test_every_pair_of_small_catalog_formats_and_structure(tmp_path):
    formats = [entry.format for entry in SMALL]
    components = [Converter(a, result, structure=structure) for a in formats for result in formats
                  for structure in STRUCTURES]
    for start in range(0, len(components), 200):
        assert_right_on_all(components[start:start + 200], tmp_path)


def test_truth_tables(tmp_path):
    assert_right_on_all([*in_all_modes(Converter, parse("float6_e3m2fn"), parse("int4"),
                                       structure=ConverterStructure.TRUTH_TABLE),
                         converter("float8_e5m2", "float8_e4m3fn", structure=ConverterStructure.TRUTH_TABLE)], tmp_path)


@pytest.mark.slow
def test_wide_formats(tmp_path):
    pairs = (("float16", "float8_e4m3fn"), ("bfloat16", "float8_e5m2"), ("float8_e4m3fn", "bfloat16"),
             ("float16", "bfloat16"), ("bfloat16", "int8"), ("int16", "float16"), ("fixed<16,8>", "float8_e4m3fn"),
             ("float16", "posit<16,1>"), ("posit<16,2>", "bfloat16"), ("uint16", "float8_e8m0fnu"),
             ("float32_e8m23", "float16"))
    components = [converter(*pair, structure=STRUCTURES[index % 2]) for index, pair in enumerate(pairs)]
    components += [converter("float32_e8m23", "bfloat16", rounding=RoundingMode.STOCHASTIC, random_bits=16),
                   converter("bfloat16", "fixed<8,4>", overflow=OverflowPolicy.WRAP, rounding=RoundingMode.TO_ODD)]
    assert_right_on_some(components, tmp_path, vectors=5_000, seed=1)


@pytest.mark.parametrize(("a", "result", "parameters"), [
    ("float8_e5m2", "float8_e4m3fn", {"pipeline": 1, "structure": STRUCTURES[0]}),
    ("float16", "float8_e4m3fn", {"pipeline": 3, "rounding": RoundingMode.STOCHASTIC, "random_bits": 5}),
    ("int8", "fixed<4,-3>", {"pipeline": 2, "rounding": RoundingMode.STOCHASTIC, "random_bits": 2}),
    ("float16", "posit<8,1>", {"pipeline": 5}), ("float6_e3m2fn", "int4", {"pipeline": 2}),
])
def test_pipeline_delays_every_result_by_its_latency(a, result, parameters, tmp_path):
    component = converter(a, result, **parameters)
    assert component.latency == parameters["pipeline"]
    assert_delayed(component, tmp_path)


@pytest.mark.parametrize("pipeline", [0, 4])
def test_elaborating_twice_gives_the_same(pipeline):
    component = converter("float16", "float8_e4m3fn", pipeline=pipeline)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second
    assert ("\\clk" in first) == (pipeline > 0)
    assert not re.search(r"(connect|switch|assign).*\\rst", first)


def test_properties():
    component = converter("float8_e4m3fn", "int8", rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP,
                          random_bits=3, pipeline=2)
    assert (component.pipeline, component.latency) == (2, 2)
    assert component.model == Conversion(a=E4M3, result=parse("int8"), rounding=RoundingMode.STOCHASTIC,
                                         overflow=OverflowPolicy.WRAP, random_bits=3)
    assert (len(component.a), len(component.random), len(component.o)) == (8, 3, 8)


@pytest.mark.parametrize(("a", "result", "random_bits", "structure"), [
    ("float8_e5m2", "float8_e4m3fn", 0, ConverterStructure.TRUTH_TABLE),
    ("float8_e5m2", "float8_e4m3fn", 2, ConverterStructure.NORMALISE_OPERAND),
    ("float8_e4m3fn", "float16", 0, ConverterStructure.NORMALISE_OPERAND),
    ("posit<5,1>", "float16", 0, ConverterStructure.TRUTH_TABLE),
    ("int8", "float8_e4m3fn", 0, ConverterStructure.NORMALISE_OPERAND),
    ("float16", "int8", 0, ConverterStructure.NORMALISE_RESULT),
    ("int4", "int3", 0, ConverterStructure.NORMALISE_RESULT),
])
def test_default_structure(a, result, random_bits, structure):
    mode = RoundingMode.STOCHASTIC if random_bits else RoundingMode.NEAREST_EVEN
    assert Converter.structures(converter(a, result, rounding=mode, random_bits=random_bits).model)[0] is structure


def test_structures_that_build_the_same_circuit_are_offered_once():
    offered = {names: set(Converter.structures(converter(*names).model)) for names in (
        ("int16", "int8"), ("posit<16,1>", "float16"), ("float16", "float8_e4m3fn"))}
    assert offered == {
        ("int16", "int8"): {ConverterStructure.NORMALISE_RESULT},
        ("posit<16,1>", "float16"): {ConverterStructure.NORMALISE_OPERAND},
        ("float16", "float8_e4m3fn"): {ConverterStructure.NORMALISE_OPERAND, ConverterStructure.NORMALISE_RESULT}}


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    (("e4m3", E4M3), {}, TypeError, r"Format a must be a .* not 'e4m3'; write sw\.formats\.parse\("),
    ((E4M3, 8), {}, TypeError, r"Result format must be a .* not 8$"),
    ((E4M3, E4M3), {"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ((E4M3, E4M3), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity"),
    ((E4M3, E4M3), {"pipeline": True}, TypeError, "Pipeline must be an integer, not True"),
    ((E4M3, E4M3), {"structure": "rom"}, TypeError, "Structure must be a ConverterStructure, not 'rom'"),
    ((parse("float16"), E4M3), {"structure": ConverterStructure.TRUTH_TABLE}, ValueError,
     "Structure must be another one for more than 12 input bits, not .*TRUTH_TABLE for 16"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        Converter(*arguments, **parameters)
