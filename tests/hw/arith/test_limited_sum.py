# amaranth: UnusedElaboratable=no
"""Adders that end the count of leading zeros where the exponent does, against the exact reference."""

import pytest

from hw.arith.add import Adder, AdderStructure
from hw.arith.limited_sum import suits_limited_count
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Addition
from tests.support.functions import SMALL, assert_delayed, assert_right_on_all, assert_right_on_some, in_all_modes
from tests.support.sampling import sampled

LIMITED, ALIGNED = AdderStructure.LIMITED_COUNT, AdderStructure.ALIGN_EXPONENTS
SUITABLE = [entry.format for entry in SMALL if suits_limited_count(
    Addition(a=entry.format, b=entry.format, result=entry.format))]


def adder(name, **parameters):
    """Return an adder of one format."""
    return Adder(parse(name), structure=LIMITED, **parameters)


@sampled("name", ["float4_e2m1fn", "float6_e3m2fn",
                  *(pytest.param(name, marks=pytest.mark.slow)
                    for name in ("p3109_k4p2se", "float6_e2m3fn", "minifloat_e1m2", "minifloat_e3m1"))], 1)
def test_small_formats_in_every_mode(name, tmp_path):
    fmt = parse(name)
    for subtract in (False, True):
        assert_right_on_all(in_all_modes(Adder, fmt, fmt, fmt, random_bits=1, subtract=subtract, structure=LIMITED),
                            tmp_path)


def test_every_pair_of_eight_bit_floats(tmp_path):
    assert_right_on_all([adder("float8_e4m3fn"), adder("float8_e5m2", overflow=OverflowPolicy.INFINITY),
                         adder("float8_e5m2", rounding=RoundingMode.UP, subtract=True),
                         adder("float8_e4m3", rounding=RoundingMode.TO_ODD),
                         adder("float8_e3m4", overflow=OverflowPolicy.INFINITY)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", SUITABLE, ids=lambda fmt: fmt.name)
def test_every_small_catalog_format_in_every_mode(fmt, tmp_path):
    assert_right_on_all(in_all_modes(Adder, fmt, fmt, fmt, random_bits=2, structure=LIMITED), tmp_path)


def test_wide_formats_on_corners_and_random_pairs(tmp_path):
    assert_right_on_some([adder("float16"), adder("bfloat16", rounding=RoundingMode.DOWN, subtract=True),
                          adder("float16", rounding=RoundingMode.STOCHASTIC, random_bits=10),
                          adder("bfloat16", rounding=RoundingMode.STOCHASTIC, random_bits=12)],
                         tmp_path, vectors=10_000, seed=4)


@sampled("pipeline", [1, 2, 3, 4, 6], 2)
def test_pipeline_delays_every_sum_by_its_latency(pipeline, tmp_path):
    stochastic = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3} if pipeline % 2 else {}
    component = adder("float8_e4m3fn", pipeline=pipeline, **stochastic)
    assert component.latency == pipeline
    assert_delayed(component, tmp_path)


def test_sums_in_one_format_with_subnormal_numbers_can_have_it():
    fmt = parse("float8_e5m2")
    assert Adder.structures(Adder(fmt).model) == (ALIGNED, LIMITED)
    assert Adder(fmt, structure=LIMITED).structure is LIMITED


@pytest.mark.parametrize("names", [
    ("float8_e5m2:subnormals=flushed",) * 3, ("float8_e4m3fn:subnormals=absent",) * 3, ("posit<8,1>",) * 3,
    ("int8",) * 3, ("radix4_fp4_even",) * 3, ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fn"),
    ("float8_e4m3fn", "float8_e4m3fn", "float8_e5m2")], ids="-".join)
def test_other_sums_cannot(names):
    formats = [parse(name) for name in names]
    assert not suits_limited_count(Addition(**dict(zip(("a", "b", "result"), formats, strict=True))))
    assert LIMITED not in Adder.structures(Adder(*formats).model)
    with pytest.raises(ValueError, match=r"Structure must be another one for .* and .* to .* with .* rounding, "
                                         r"not AdderStructure\.LIMITED_COUNT"):
        Adder(*formats, structure=LIMITED)
