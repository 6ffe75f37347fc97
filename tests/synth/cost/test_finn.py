import pytest

from synth.cost.finn import finn_lut
from synth.cost.point import Point


@pytest.mark.parametrize(("fmt", "lut"), [("int3", 6), ("int4", 24), ("int5", 30), ("int6", 36), ("int8", 80)])
def test_published_multipliers(fmt, lut):
    # papers/minifloat_ptq.md, "FINN integer LUT model, one multiplier"
    assert finn_lut(Point(op="multiply", fmt=fmt).operation()) == lut


def test_whole_accumulator():
    operation = Point(op="emac", fmt="int8", out_fmt="exact", terms=4608).operation()
    assert finn_lut(operation) == pytest.approx(1.1 * (80 + 16 + operation.model.width))
    fixed = Point(op="mac", fmt="int8", terms=4608).operation()
    assert finn_lut(fixed) == pytest.approx(1.1 * (80 + 16 + fixed.model.accumulator.width))


def test_lanes():
    assert finn_lut(Point(op="dot", fmt="int4", lanes=8, out_fmt="exact").operation()) == pytest.approx(
        1.1 * (8 * 24 + 8 * 15))


def test_formats_count_by_their_width_alone():
    assert finn_lut(Point(op="multiply", fmt="minifloat_e4m3").operation()) == 80
    assert finn_lut(Point(op="multiply", fmt="int4", fmt_b="int8", out_fmt="int8").operation()) == (2 * 2 - 1) * 12
