"""Points: one name for all requests of the same circuit."""

import pytest

from sw.formats import parse, resolve
from sw.reference.accumulator_width import sum_grid
from synth import flow
from synth.cost.point import OPERATIONS, Point
from synth.cost.space import Selection
from synth.errors import UsageError
from synth.operations import Request, find_operation


def operation(**options):
    request = Request(**options)
    return request.operation(find_operation(request.op))


@pytest.mark.parametrize("name", ["fp4_e2m1", "float4_e2m1fn", "minifloat_e2m1"])
def test_names_of_the_same_format_make_the_same_point(name):
    point = Point(op="multiply", fmt=name)
    assert point == Point(op="multiply", fmt="float4_e2m1fn", fmt_b="e2m1", out_fmt=name)
    assert hash(point) == hash(Point(op="multiply", fmt="e2m1"))
    assert point.key() == ("multiply fmt=float4_e2m1fn fmt_b=float4_e2m1fn out_fmt=float4_e2m1fn pipeline=0")


def test_what_is_left_out_is_filled_in():
    assert Point(op="emac", fmt="int4") == Point(op="emac", fmt="int4", fmt_b="int4", out_fmt="int4", terms=256)
    assert Point(op="dot", fmt="int4", fmt_b="int8", out_fmt="exact").lanes == 4
    assert Point(op="mac", fmt="int8").terms == 256


def test_a_register_is_named_only_where_it_is_not_the_default_one():
    assert Point(op="mac", fmt="int8", terms=256, accumulator="int24") == Point(op="mac", fmt="int8", terms=256)
    assert Point(op="mac", fmt="int8", terms=256, accumulator="int32").accumulator == "int32"
    assert Point(op="mac", fmt="int8", accumulator="int24").terms is None
    width = Point(op="emac", fmt="e3m2", terms=64).width()
    assert Point(op="emac", fmt="e3m2", terms=64, accumulator_width=width) == Point(op="emac", fmt="e3m2", terms=64)
    assert Point(op="emac", fmt="e3m2", terms=64, accumulator_width=width + 3).accumulator_width == width + 3


@pytest.mark.parametrize(("fmt", "terms"), [("int8", 4608), ("e4m3", 64), ("posit<8,1>", 512)])
def test_the_width_is_that_of_the_law_of_sums(fmt, terms):
    want = sum_grid(parse(fmt), parse(fmt), terms=terms, c=None).width
    assert Point(op="emac", fmt=fmt, terms=terms).width() == want
    assert Point(op="multiply", fmt=fmt).width() is None


def test_points_and_operations_lead_to_each_other():
    for point in Selection(bits=range(3, 5)).points():
        again = point.operation()
        assert Point.of(again) == point, point.key()
        assert Point.from_json(point.to_json()) == point, point.key()
        want = operation(op=point.op, fmt=point.fmt, fmt_b=point.fmt_b, out_fmt=point.out_fmt, terms=point.terms,
                         lanes=point.lanes, pipeline=point.pipeline, dsp=point.dsp)
        assert again.parameters() == want.parameters(), point.key()


def test_the_key_tells_everything_apart():
    base = {"op": "emac", "fmt": "int8", "terms": 64}
    points = {Point(**base), Point(**base, pipeline=1), Point(**base, dsp=True), Point(**base, fmt_b="int4"),
              Point(**base, out_fmt="exact"), Point(**base, accumulator_width=40), Point(**base, lanes=2),
              Point(op="dot", fmt="int8"), Point(op="mac", fmt="int8", terms=64),
              Point(op="mac", fmt="int8", terms=64, accumulator="int40")}
    assert len(points) == len({point.key() for point in points}) == 10
    assert Point(**base, dsp=True).key().endswith(" terms=64 pipeline=0 dsp")


@pytest.mark.parametrize(("op", "fmt"), [("emac", "e3m2"), ("mac", "int4")])
def test_registers_of_the_same_width_are_the_same_circuit(op, fmt):
    few, many = (Point(op=op, fmt=fmt, terms=terms) for terms in (4100, 4608))
    assert few.width() == many.width()
    first, second = (flow.elaborate(point.operation().component()) for point in (few, many))
    assert first.rtlil == second.rtlil


def test_every_operation_has_points():
    assert {point.op for point in Selection(bits=range(4, 5)).points()} == set(OPERATIONS)


@pytest.mark.parametrize(("options", "text"), [
    ({"op": "convert", "fmt": "e4m3"},
     "Operation must be one of multiply, mac, emac, dot to have tabulated costs, not 'convert'"),
    ({"op": "dot", "fmt": "e4m3", "terms": 4}, "Option --terms must be left out for dot, which takes"),
    ({"op": "mac", "fmt": "e4m3"}, "Formats of mac must be fixed point to have tabulated costs, not 'float8_e4m3fn'"),
    ({"op": "multiply", "fmt": "e40m3"}, "Format must have at most 16 bits"),
])
def test_a_wrong_point_is_refused(options, text):
    with pytest.raises(UsageError, match=text):
        Point(**options)


def test_the_flag_of_hard_multipliers_is_no_count():
    with pytest.raises(TypeError, match="Hard multipliers must be True or False, not 0"):
        Point(op="multiply", fmt="int8", dsp=0)


@pytest.mark.parametrize(("options", "text"), [
    ({"op": "add"}, "Operation must be one of multiply, mac, emac, dot to have tabulated costs, not 'add'"),
    ({"rounding": "toward-zero"}, "Rounding mode must be nearest-even to have tabulated costs, not 'toward-zero'"),
    ({"overflow": "wrap"}, "Overflow policy must be saturate to have tabulated costs, not 'wrap'"),
    ({"op": "emac", "fmt_c": "int8"},
     "Preload format must be left out for an operation with tabulated costs, not 'int8'"),
])
def test_an_operation_of_another_kind_has_no_point(options, text):
    with pytest.raises(UsageError, match=text):
        Point.of(operation(**{"op": "multiply", "fmt": "int8", **options}))


@pytest.mark.parametrize("document", [{"op": "dot"}, {"op": "dot", "fmt": "int8", "colour": "red"}])
def test_another_document_is_no_point(document):
    with pytest.raises(UsageError, match="Point must have op, fmt and any of accumulator, accumulator_width, dsp"):
        Point.from_json(document)


def test_names_are_those_of_the_formats():
    for point in Selection(bits=range(3, 6)).points():
        assert resolve(point.fmt).format.name == point.fmt
