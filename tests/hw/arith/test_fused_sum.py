# amaranth: UnusedElaboratable=no
"""Fused multiply-adds whose sum is shifted step by step, against the exact reference."""

import pytest

from hw.arith.fused_multiply_add import FusedMultiplyAdd, FusedStructure
from hw.arith.fused_sum import suits_steps
from sw.formats import OverflowPolicy, RoundingMode, parse
from tests.support import gates
from tests.support.functions import SMALL, assert_delayed, assert_right_on_all, assert_right_on_some, in_all_modes
from tests.support.sampling import sampled

BY_STEPS = {"structure": FusedStructure.NORMALISE_FACTORS}


def fused(*names, **parameters):
    """Return a fused multiply-add of formats given by name, its sum shifted step by step."""
    return FusedMultiplyAdd(*map(parse, names), **parameters, **BY_STEPS)


def test_every_triple_of_tiny_formats_in_every_mode(tmp_path):
    assert_right_on_all(in_all_modes(FusedMultiplyAdd, *[parse("float4_e2m1fn")] * 4, random_bits=1, **BY_STEPS),
                        tmp_path)


def test_every_triple_of_six_bit_floats(tmp_path):
    assert_right_on_all([fused("float6_e3m2fn"), fused("float6_e2m3fn", rounding=RoundingMode.TO_ODD)], tmp_path)


@sampled("mode", RoundingMode, 3, ids=lambda mode: mode.value)
def test_mixed_formats(mode, tmp_path):
    random_bits = 3 if mode is RoundingMode.STOCHASTIC else 0
    assert_right_on_some([fused(*names, rounding=mode, random_bits=random_bits) for names in (
        ("float8_e5m2", "int4", "float8_e4m3fn", "float8_e4m3"),
        ("posit<6,1>", "float4_e2m1fn", "float8_e5m2", "float16"),
        ("float8_e4m3fn", "float8_e4m3fn:subnormals=flushed", "float16", "float8_e5m2"),
        ("int8", "uint4", "float6_e3m2fn:signed=false", "minifloat_e3m5"),
        ("minifloat_e4m3:subnormals=absent", "float8_e8m0fnu", "float8_e4m3fnuz:bias=7", "float8_e4m3fn"))],
        tmp_path, vectors=4_000, seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3", "p3109_k8p3se"])
def test_every_triple_of_eight_bit_formats(name, tmp_path):
    gates.assert_right_on_every_triple(fused(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in SMALL if suits_steps(entry.format, entry.format)],
                         ids=lambda entry: entry.name)
def test_every_small_catalog_format_in_every_mode(entry, tmp_path):
    assert_right_on_some(in_all_modes(FusedMultiplyAdd, *[entry.format] * 4, **BY_STEPS), tmp_path, vectors=30_000,
                         seed=7)


@pytest.mark.slow
def test_wide_formats_on_corners_and_random_triples(tmp_path):
    components = [fused(name) for name in ("float16", "bfloat16", "tf32")]
    components += [FusedMultiplyAdd(parse("float16"), hard_multiplier=True, **BY_STEPS),
                   fused("bfloat16", "bfloat16", "float32_e8m23", "float32_e8m23")]
    assert_right_on_some(components, tmp_path, vectors=50_000, seed=8)


@pytest.mark.parametrize(("name", "parameters"), [
    ("float8_e4m3fn", {"pipeline": 1}), ("float8_e4m3", {"pipeline": 4, "overflow": OverflowPolicy.INFINITY}),
    ("float6_e3m2fn", {"pipeline": 6, "rounding": RoundingMode.STOCHASTIC, "random_bits": 4}),
    ("float6_e3m2fn", {"pipeline": 8, "rounding": RoundingMode.DOWN})])
def test_pipeline_delays_every_result_by_its_latency(name, parameters, tmp_path):
    assert_delayed(fused(name, **parameters), tmp_path)


@pytest.mark.parametrize(("summand", "result", "suits"), [
    ("float8_e4m3fn", "float8_e4m3", True), ("float8_e5m2", "float16", True), ("bfloat16", "float32_e8m23", True),
    ("float8_e4m3fn", "float16", False), ("float8_e4m3fn:subnormals=flushed", "float8_e4m3fn", False),
    ("float8_e4m3fn", "float8_e4m3fn:subnormals=flushed", False), ("int8", "float8_e4m3fn", False),
    ("float8_e4m3fn", "posit<8,1>", False), ("radix4_fp4_odd", "radix4_fp4_odd", False),
    ("float4_e3m0fn", "float4_e3m0fn", False)])
def test_which_formats_suit(summand, result, suits):
    formats = [parse(name) for name in ("float8_e4m3fn", "float8_e4m3fn", summand, result)]
    assert suits_steps(*formats[2:]) is suits
    model = FusedMultiplyAdd(*formats).model
    assert (FusedStructure.NORMALISE_FACTORS in FusedMultiplyAdd.structures(model)) is suits
    if not suits:
        with pytest.raises(ValueError, match=rf"Structure must be another one for a summand of {formats[2].name} and a "
                                             rf"result of {formats[3].name}, not .*NORMALISE_FACTORS"):
            FusedMultiplyAdd(*formats, **BY_STEPS)
