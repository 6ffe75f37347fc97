# amaranth: UnusedElaboratable=no
"""Multipliers whose exponents mark in the product how far to shift it at most."""

import pytest

from hw.arith.multiply import Multiplier, Structure
from sw.formats import RoundingMode, parse
from tests.support.multipliers import all_modes, assert_exhaustively_right, assert_right_on
from tests.support.sampling import sampled

MARKED = {"structure": Structure.MARK_PRODUCT}


@sampled("name", ["float4_e2m1fn", "float6_e2m3fn", "minifloat_e1m2", "float6_e2m3fn:signed=false",
                  pytest.param("minifloat_e2m5", marks=pytest.mark.slow)], 2)
def test_all_rounding_modes_and_overflow_policies(name, tmp_path):
    assert_exhaustively_right(all_modes(parse(name), **MARKED), tmp_path)


@sampled(("a", "b", "result"), [
    ("float4_e2m1fn", "float6_e2m3fn:subnormals=flushed", "float4_e2m1fn"),
    ("float6_e2m3fn", "float4_e2m1fn", "float16"), ("float6_e3m2fn", "float4_e2m1fn", "float8_e4m3fn"),
    ("minifloat_e1m2", "float4_e3m0fn", "float6_e3m2fn"),
    ("float6_e3m2fn", "minifloat_e3m2:subnormals=absent", "float8_e5m2"),
    ("float6_e2m3fn", "minifloat_e2m3:subnormals=flushed", "float8_e4m3fn:signed=false")], 2)
def test_mixed_formats(a, b, result, tmp_path):
    formats = [parse(name) for name in (a, b, result)]
    assert_exhaustively_right(all_modes(*formats, **MARKED), tmp_path)


def test_wide_fractions_on_corners_and_random_pairs(tmp_path):
    multipliers = [Multiplier(parse("minifloat_e2m9"), **MARKED),
                   Multiplier(parse("float16"), result=parse("bfloat16"), rounding=RoundingMode.UP, **MARKED)]
    assert_right_on(multipliers, tmp_path, vectors=20_000, seed=1)


@pytest.mark.parametrize("pipeline", [1, 4])
@pytest.mark.parametrize("hard_multiplier", [False, True])
def test_registers_and_hard_multipliers_keep_the_model(pipeline, hard_multiplier):
    fmt = parse("float6_e2m3fn")
    multiplier = Multiplier(fmt, pipeline=pipeline, hard_multiplier=hard_multiplier, **MARKED)
    assert (multiplier.latency, multiplier.structure) == (pipeline, Structure.MARK_PRODUCT)
    assert multiplier.model == Multiplier(fmt).model


def test_it_is_offered_where_no_product_lies_below_the_grid():
    names = {"float6_e2m3fn": True, "float4_e2m1fn": True, "float6_e3m2fn": False, "float16": False, "int8": False,
             "float6_e2m3fn:subnormals=flushed": False}
    assert {name: Structure.MARK_PRODUCT in Multiplier.structures(Multiplier(parse(name)).model)
            for name in names} == names


def test_it_is_refused_elsewhere():
    with pytest.raises(ValueError, match=r"Structure must be another one for float8_e4m3fn by .* with nearest-even "
                                         r"rounding, not Structure\.MARK_PRODUCT"):
        Multiplier(parse("float8_e4m3fn"), **MARKED)
