# amaranth: UnusedElaboratable=no
"""Multipliers that count leading zeros in their operands, beside the product."""

import random

import pytest

from hw.arith.anticipated_product import suits_anticipation
from hw.arith.multiply import Multiplier, Structure
from sw.formats import OverflowPolicy, RoundingMode, parse
from tests.support.multipliers import all_modes, assert_exhaustively_right, assert_right_on, policies
from tests.support.sampling import sampled

COUNTED = {"structure": Structure.COUNT_IN_OPERANDS}


@sampled("name", [
    "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "p3109_k6p3se", "float6_e3m2fn:signed=false", "minifloat_e4m1",
    pytest.param("float8_e4m3fn", marks=pytest.mark.slow), pytest.param("float8_e5m2", marks=pytest.mark.slow),
    pytest.param("float8_e4m3fnuz", marks=pytest.mark.slow), pytest.param("float8_e3m4", marks=pytest.mark.slow)], 2)
def test_all_rounding_modes_and_overflow_policies(name, tmp_path):
    assert_exhaustively_right(all_modes(parse(name), **COUNTED), tmp_path)


OPERANDS = ["float4_e2m1fn", "float6_e3m2fn", "float6_e2m3fn", "float8_e8m0fnu", "p3109_k4p2se", "float8_e5m2",
            "float6_e2m3fn:subnormals=flushed", "float4_e3m0fn", "minifloat_e1m2", "float6_e3m2fn:signed=false"]

RESULTS = ["float16", "bfloat16", "float4_e2m1fn", "float8_e8m0fnu", "float8_e4m3fn", "float8_e5m2:subnormals=flushed",
           "p3109_k6p3se", "dlfloat8", "float4_e3m0fn", "float8_e4m3fn:signed=false", "float6_e2m3fn"]


@sampled("result", RESULTS, 2)
def test_mixed_operands_to_every_kind_of_result(result, tmp_path):
    target, rng = parse(result), random.Random(result)
    multipliers = []
    for mode in RoundingMode:
        for policy in policies(target):
            models = [Multiplier(*map(parse, rng.sample(OPERANDS, 2)), target).model for _ in range(20)]
            model = next(model for model in models if suits_anticipation(model.a, model.b, model.result)
                         and model.a.width + model.b.width <= 13)
            multipliers.append(Multiplier(model.a, model.b, target, rounding=mode, overflow=policy,
                                          random_bits=2 if mode is RoundingMode.STOCHASTIC else 0, **COUNTED))
    assert_exhaustively_right(multipliers, tmp_path)


@pytest.mark.slow
def test_wide_formats_on_corners_and_random_pairs(tmp_path):
    names = ("float16", "bfloat16", "tf32", "float16_e6m9", "minifloat_e5m9", "minifloat_e2m9")
    multipliers = [Multiplier(parse(name), overflow=OverflowPolicy.SATURATE, **COUNTED) for name in names]
    multipliers += [
        Multiplier(*map(parse, formats), rounding=mode, random_bits=bits, **COUNTED) for *formats, mode, bits in (
            ("float16", "bfloat16", "tf32", RoundingMode.UP, 0),
            ("float8_e5m2", "float16", "float16", RoundingMode.DOWN, 0),
            ("float16", "float16", "float16", RoundingMode.STOCHASTIC, 12),
            ("bfloat16", "float6_e2m3fn", "bfloat16", RoundingMode.TO_ODD, 0))]
    assert_right_on(multipliers, tmp_path, vectors=20_000, seed=1)


@pytest.mark.parametrize("hard_multiplier", [False, True])
def test_the_product_may_be_left_to_the_synthesizer(hard_multiplier, tmp_path):
    fmt = parse("float6_e3m2fn")
    assert_exhaustively_right([Multiplier(fmt, hard_multiplier=hard_multiplier, **COUNTED)], tmp_path)


def test_it_is_offered_where_floats_have_leading_zeros():
    names = {"float16": True, "float8_e4m3fn": True, "float16:subnormals=flushed": False, "posit<16,1>": False,
             "int8": False, "float8_e8m0fnu": False, "radix4_fp4_even": False}
    assert {name: Structure.COUNT_IN_OPERANDS in Multiplier.structures(Multiplier(parse(name)).model)
            for name in names} == names
    to_int = Multiplier(parse("float16"), parse("float16"), parse("int8")).model
    assert Structure.COUNT_IN_OPERANDS not in Multiplier.structures(to_int)


def test_it_is_refused_elsewhere():
    with pytest.raises(ValueError, match=r"Structure must be another one for int8 by int8 to int8 with nearest-even "
                                         r"rounding, not Structure\.COUNT_IN_OPERANDS"):
        Multiplier(parse("int8"), **COUNTED)
