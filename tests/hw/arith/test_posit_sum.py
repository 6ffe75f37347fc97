# amaranth: UnusedElaboratable=no
"""Adders of posits in two's complement against the exact reference, and their two structures against each other."""

import pytest

from hw.arith.add import Adder, AdderStructure
from hw.arith.posit_sum import suits_signed_significands
from sw.formats import RoundingMode, parse
from sw.reference import Addition
from tests.support.functions import assert_delayed, assert_right_on_all, assert_right_on_some
from tests.support.posits import POSITS

SIGNED, ALIGNED = AdderStructure.SIGNED_SIGNIFICANDS, AdderStructure.ALIGN_EXPONENTS
MODES = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]


def adder(name, result=None, *, structure=SIGNED, **parameters):
    """Return an adder of posits of one format."""
    fmt = parse(name)
    return Adder(fmt, fmt, fmt if result is None else parse(result), structure=structure, **parameters)


@pytest.mark.parametrize("name", ["posit<3,0>", "posit<4,1>", "posit<5,0>", "posit<5,2>"])
def test_small_posits_in_every_mode(name, tmp_path):
    assert_right_on_all([adder(name, rounding=mode, subtract=index % 2 == 1) for index, mode in enumerate(MODES)],
                        tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", [fmt for fmt in POSITS if fmt.width <= 6], ids=lambda fmt: fmt.name)
def test_every_small_posit_in_every_mode(fmt, tmp_path):
    assert_right_on_all([adder(fmt.name, rounding=mode, subtract=subtract)
                         for mode in MODES for subtract in (False, True)], tmp_path)


def test_every_pair_of_eight_bits(tmp_path):
    assert_right_on_all([adder("posit<8,0>"), adder("posit<8,1>"), adder("posit<8,2>"),
                         adder("posit<8,3>", subtract=True)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["posit<7,0>", "posit<7,2>", "posit<8,0>", "posit<8,1>", "posit<8,2>", "posit<8,3>"])
def test_every_pair_in_every_mode(name, tmp_path):
    assert_right_on_all([adder(name, rounding=mode) for mode in MODES], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["posit<9,0>", "posit<9,1>", "posit<10,0>", "posit<10,1>", "posit<10,2>"])
def test_every_pair_of_more_bits(name, tmp_path):
    assert_right_on_all([adder(name)], tmp_path)


@pytest.mark.parametrize("names", [("posit<5,1>", "posit<3,0>"), ("posit<4,0>", "posit<12,2>"),
                                   ("posit<6,0>", "posit<6,1>"), ("posit<6,3>", "posit<16,0>")], ids="-".join)
def test_sums_in_another_posit_format(names, tmp_path):
    assert_right_on_all([adder(*names, rounding=mode)
                         for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.UP, RoundingMode.TO_ODD)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["posit<3,0>", "posit<5,0>", "posit<5,2>", "posit<6,1>", "posit<7,0>"])
def test_sums_in_every_kind_of_posit_format(name, tmp_path):
    results = ("posit<3,0>", "posit<4,1>", "posit<5,2>", "posit<6,0>", "posit<9,1>", "posit<12,3>", "posit<16,0>")
    assert_right_on_all([adder(name, result, rounding=mode) for result in results if result != name
                         for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.DOWN, RoundingMode.TO_ODD)], tmp_path)


def test_sixteen_bits_on_corners_and_random_pairs(tmp_path):
    assert_right_on_some([adder("posit<16,1>"), adder("posit<16,0>"), adder("posit<16,2>", subtract=True),
                          adder("posit<15,3>", rounding=RoundingMode.UP)], tmp_path, vectors=10_000, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("width", [11, 13, 14, 15, 16])
def test_wide_posits_on_corners_and_random_pairs(width, tmp_path):
    assert_right_on_some([adder(f"posit<{width},{size}>", rounding=mode) for size in range(4)
                          for mode in (RoundingMode.NEAREST_EVEN, RoundingMode.DOWN)],
                         tmp_path, vectors=50_000, seed=width)


def test_posits_with_magnitudes_apart(tmp_path):
    """What adds posits of two formats, and rounds stochastically, adds those of one format as well."""
    modes = (RoundingMode.NEAREST_EVEN, RoundingMode.UP)
    assert_right_on_all([adder(name, structure=ALIGNED, rounding=mode)
                         for name in ("posit<4,0>", "posit<5,1>", "posit<6,2>") for mode in modes], tmp_path)


@pytest.mark.parametrize("pipeline", [1, 2, 3, 4, 6])
def test_pipeline_delays_every_sum_by_its_latency(pipeline, tmp_path):
    component = adder("posit<6,1>", pipeline=pipeline, subtract=pipeline % 2 == 0)
    assert component.latency == pipeline
    assert_delayed(component, tmp_path)


def test_sums_of_posits_of_one_format_take_it():
    fmt, wider, four = parse("posit<8,1>"), parse("posit<16,1>"), parse("posit<4,0>")
    assert Adder(fmt).structure is Adder(fmt, fmt, wider, subtract=True).structure is SIGNED
    assert Adder.structures(Adder(fmt).model) == (SIGNED, ALIGNED)
    assert Adder.structures(Adder(four).model) == (SIGNED, ALIGNED, AdderStructure.TRUTH_TABLE)
    assert Adder.structures(Adder(wider, fmt, fmt).model) == (ALIGNED,)


@pytest.mark.parametrize(("names", "parameters"), [
    (("posit<8,1>", "posit<8,0>", "posit<8,1>"), {}), (("posit<8,1>", "posit<8,1>", "float8_e4m3"), {}),
    (("float8_e4m3", "float8_e4m3", "posit<8,1>"), {}),
    (("posit<8,1>",) * 3, {"rounding": RoundingMode.STOCHASTIC, "random_bits": 2})])
def test_other_sums_do_not_take_it(names, parameters):
    formats = [parse(name) for name in names]
    assert not suits_signed_significands(Addition(**dict(zip(("a", "b", "result"), formats, strict=True)),
                                                  **parameters))
    assert SIGNED not in Adder.structures(Adder(*formats, **parameters).model)
    with pytest.raises(ValueError, match=r"Structure must be another one for .* and .* to .* with .* rounding, "
                                         r"not AdderStructure\.SIGNED_SIGNIFICANDS"):
        Adder(*formats, structure=SIGNED, **parameters)
