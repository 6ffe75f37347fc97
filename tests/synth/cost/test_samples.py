import numpy as np
import pytest

from sw.formats import parse
from synth.cost.coordinates import COORDINATES, coordinates, register_bits
from synth.cost.delays import DELAY_TERMS, delay_terms
from synth.cost.fabric import FABRICS
from synth.cost.point import Point
from synth.cost.samples import (
    Family,
    Quantity,
    circuit_name,
    hard_threshold,
    matrices,
    place_of,
    sample,
    samples_of,
)
from synth.targets import TARGETS
from tests.support.measured import accumulators, row, table


def operation(op, fmt, **further):
    return Point(op=op, fmt=fmt, **further).operation()


def test_every_target_has_a_fabric():
    assert set(FABRICS) == set(TARGETS)


def test_coordinates_say_where_a_circuit_stands():
    found = coordinates(operation("emac", "minifloat_e4m3", fmt_b="int4", out_fmt="exact", terms=64))
    assert set(found) == set(COORDINATES)
    assert (found["narrow_significand"], found["wide_significand"], found["exponent_bits"]) == (4, 4, 4)
    assert (found["integers"], found["posits"], found["result_bits"]) == (1, 0, 0)
    rounded = coordinates(operation("emac", "posit<8,1>", terms=64))
    assert (rounded["posits"], rounded["result_posit"], rounded["result_bits"]) == (2, 1, 8)
    assert coordinates(operation("dot", "int8", lanes=8))["lanes"] == 3
    assert coordinates(operation("multiply", "minifloat_e4m3", pipeline=2, dsp=True))["pipeline"] == 2


def test_order_of_operands_does_not_move_a_circuit():
    first, second = (operation("emac", a, fmt_b=b, out_fmt="exact", terms=64)
                     for a, b in (("minifloat_e2m1", "int8"), ("int8", "minifloat_e2m1")))
    np.testing.assert_array_equal(place_of(first), place_of(second))


@pytest.mark.parametrize(("op", "further", "bits"), [
    ("emac", {"terms": 4608, "out_fmt": "exact"}, 28), ("mac", {"terms": 4608}, 29), ("dot", {"lanes": 4}, 18),
    ("multiply", {}, 8)])
def test_register_of_each_operation(op, further, bits):
    model = operation(op, "int8", **further).model
    want = {"emac": lambda: model.width, "mac": lambda: model.accumulator.width, "dot": lambda: model.sum_grid.width,
            "multiply": lambda: model.result.width}[op]()
    assert register_bits(operation(op, "int8", **further)) == want
    assert abs(want - bits) <= 1


def test_delays_shrink_with_the_pipeline_where_it_cuts_them():
    paths = [delay_terms(operation("multiply", "posit<8,1>", pipeline=stages), carry=8, work=100) for stages in (0, 1)]
    assert set(paths[0]) <= set(DELAY_TERMS)
    assert paths[1]["product_depth"] == paths[0]["product_depth"] / 2
    assert paths[1]["path"] == paths[0]["path"] == 1
    assert paths[0]["distance"] == 10
    loops = [delay_terms(operation("emac", "posit<8,1>", terms=64, pipeline=stages), carry=40, work=100)
             for stages in (0, 1)]
    assert loops[0] == loops[1]
    assert loops[0]["rounding_depth"]
    exact = operation("emac", "posit<8,1>", terms=64, out_fmt="exact")
    assert "rounding_depth" not in delay_terms(exact, carry=40, work=100)


def test_quantities_of_a_row():
    point = accumulators(["int8"])[0]
    measured = row(point, lut=160, ff=76, carry=37, fmax_mhz=50.0)
    assert [quantity.of(measured) for quantity in Quantity] == [160, 76, 37, 20]
    assert Quantity.PERIOD.of(row(point, lut=160, fmax_mhz=None)) is None
    item = sample(measured)
    assert all(len(item.vectors[quantity]) == len(quantity.names) for quantity in Quantity)
    assert all(len(quantity.expected(4)) == len(quantity.names) for quantity in Quantity)


def test_formats_of_equal_circuits_share_a_name():
    assert circuit_name(parse("fixed<8,4>")) == circuit_name(parse("int8")) == "int8"
    assert circuit_name(parse("uint8")) != "int8"
    assert circuit_name(parse("float8_e4m3fn")) == "float8_e4m3fn"


def test_families():
    assert [Family.of(parse(name)) for name in ("e4m3", "fixed<8,4>", "posit<8,1>")] == list(Family)


def test_samples_are_counted_by_the_usual_tool():
    points = accumulators(["int3", "int4", "int5"])
    rows = [row(point, lut=50, counted_by=counter) for point, counter in zip(
        points, ("nextpnr", "yosys", "nextpnr"), strict=True)]
    other = row(points[0], "xc7", lut=20, counted_by="yosys")
    found = samples_of(table(*rows, other), op="emac", target="ecp5")
    assert sorted(item.row.point.fmt for item in found) == ["int3", "int5"]
    assert found[0].formats == {"int3"}
    assert found[0].families == {Family.FIXED_POINT}
    assert samples_of(table(*rows), op="dot", target="ecp5") == []


def test_threshold_of_hard_multipliers_contradicts_the_fewest():
    def items(*seen):
        points = {Point(op="multiply", fmt=fmt, dsp=True): dsp for fmt, dsp in seen}
        return [sample(row(point, lut=9, dsp=dsp)) for point, dsp in points.items()]

    assert hard_threshold(items(("int3", 0), ("int4", 0), ("int5", 1), ("int8", 1))) == 10
    assert hard_threshold(items(("int3", 0), ("int4", 1), ("int5", 1))) == 8
    assert hard_threshold(items(("int3", 0), ("int4", 0))) is None
    point = Point(op="multiply", fmt="int8")
    assert hard_threshold([sample(row(point, lut=9))]) is None


def test_unknown_values_are_left_out_of_a_fit():
    points = accumulators(["int3", "int4"])
    items = [sample(row(point, lut=9, fmax_mhz=fmax))
             for point, fmax in zip(points, (None, 100.0), strict=True)]
    matrix, values = matrices(items, Quantity.PERIOD)
    assert matrix.shape == (1, len(DELAY_TERMS))
    assert values.tolist() == [10.0]
    matrix, values = matrices(items[:1], Quantity.PERIOD)
    assert matrix.shape == (0, len(DELAY_TERMS))


def test_targets_of_like_cells_share_features():
    point = accumulators(["int8"])[0]
    ice40, gowin, ecp5, xc7, xcup = (sample(row(point, target, lut=9))
                                     for target in ("ice40", "gowin", "ecp5", "xc7", "xcup"))
    assert ice40.vectors is gowin.vectors
    assert len({id(one.vectors) for one in (ice40, ecp5, xc7, xcup)}) == 4  # blocks count too
