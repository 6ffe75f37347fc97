"""The design space: everything of 3 to 8 bits, and what a selection leaves of it."""

from collections import Counter

import pytest

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, Specials, parse
from synth.cost.point import Point
from synth.cost.space import BITS, Family, Selection, scalar_formats, splits
from synth.errors import UsageError


@pytest.mark.parametrize("bits", BITS)
def test_every_split_is_there(bits):
    formats = [parse(name) for name in splits(bits)]
    assert all(fmt.width == bits and fmt.specials is Specials.NONE and fmt.signed for fmt in formats)
    assert {(fmt.exponent_bits, fmt.fraction_bits) for fmt in formats} == {
        (exponent, bits - 1 - exponent) for exponent in range(1, bits)}


def test_two_bits_have_no_split():
    assert splits(2) == []


def test_formats_of_every_family_and_width():
    formats = [parse(name) for name in scalar_formats()]
    assert len(set(formats)) == len(formats) == 62
    assert {fmt.width for fmt in formats} == set(BITS)
    assert Counter(type(fmt) for fmt in formats) == {
        FloatingPointFormat: 2 + 3 + 4 + 5 + 6 + 7 + 5 + 6, FixedPointFormat: 6 + 3, PositFormat: 1 + 2 + 3 * 4}


def test_the_default_space():
    points = Selection().points()
    assert len(points) == len({point.key() for point in points})
    assert Counter(point.op for point in points) == {
        # all formats (emac twice: exact and rounded), mixed pairs, variants of nine formats, and further ones
        "emac": 62 * 2 + 28 + 9 * (2 + 2 + 1) + 9 * (2 + 1) + 3 + 5, "dot": 62 + 28 + 9 * (3 + 1),
        "multiply": 62 + 28 + 9 * (2 + 1) + 5 + 3, "mac": 9 + 3 + 3 + 6}
    for point in (Point(op="emac", fmt="minifloat_e4m3", out_fmt="exact", terms=4608),
                  Point(op="emac", fmt="minifloat_e4m3", terms=4608),
                  Point(op="emac", fmt="int8", out_fmt="exact", terms=4608, pipeline=2),
                  Point(op="multiply", fmt="e2m1", fmt_b="minifloat_e4m3", out_fmt="minifloat_e4m3"),
                  Point(op="multiply", fmt="posit<8,1>", dsp=True),
                  Point(op="dot", fmt="int4", fmt_b="int8", out_fmt="exact", lanes=8),
                  Point(op="mac", fmt="fixed<6,3>", terms=4608), Point(op="mac", fmt="uint8", terms=4608),
                  Point(op="emac", fmt="int8", out_fmt="exact", terms=4608, lanes=4),
                  Point(op="multiply", fmt="minifloat_e4m3", out_fmt="int8")):
        assert point in points


def test_a_selection_leaves_what_it_does_not_hold():
    everything = Selection().points()
    for selection, wanted in (
            (Selection(ops=("dot", "mac")), lambda point: point.op in ("dot", "mac")),
            (Selection(bits=range(4, 5)), lambda point: {parse(point.fmt).width, parse(point.fmt_b).width} == {4}),
            (Selection(families=(Family.POSIT,)),
             lambda point: point.fmt.startswith("posit") and point.fmt_b.startswith("posit"))):
        assert selection.points() == [point for point in everything if wanted(point)]


def test_families_that_are_named_together_may_meet():
    points = Selection(families=(Family.FIXED, Family.POSIT)).points()
    assert Point(op="emac", fmt="int8", fmt_b="posit<8,1>", out_fmt="exact", terms=4608) in points
    assert not any(isinstance(parse(point.fmt), FloatingPointFormat) for point in points)


def test_named_formats_make_a_space_of_their_own():
    points = Selection(formats=("e4m3", "int4"), second_formats=("int8", "int5"), terms=(64, 128), lanes=(2,)).points()
    assert {(point.fmt, point.fmt_b) for point in points} == {
        (a, b) for a in ("float8_e4m3fn", "int4") for b in ("int8", "int5")}
    assert {point.terms for point in points if point.op in ("mac", "emac")} == {64, 128}
    assert {point.lanes for point in points if point.op == "dot"} == {2}
    assert {point.out_fmt for point in points if point.op == "multiply"} == {"int8", "int5"}
    assert {point.fmt for point in points if point.op == "mac"} == {"int4"}
    # emac exact and rounded, twice the terms; multiply; dot; and mac where both are integers
    assert len(points) == 4 * (2 * 2 + 1 + 1) + 2 * 2


def test_micro_architectures_alone_keep_all_formats():
    points = Selection(ops=("multiply",), pipelines=(0, 1, 3), dsp=(False, True)).points()
    assert len(points) == len(scalar_formats()) * 6
    assert {(point.pipeline, point.dsp) for point in points} == {(p, d) for p in (0, 1, 3) for d in (False, True)}


def test_the_same_point_comes_once():
    assert len(Selection(ops=("multiply",), formats=("fp4_e2m1", "float4_e2m1fn", "e2m1")).points()) == 1


@pytest.mark.parametrize(("options", "text"), [
    ({"ops": ("add",)}, "Operation must be one of multiply, mac, emac, dot to have tabulated costs, not 'add'"),
    ({"ops": ("multiply", "dot"), "terms": (4, 8)},
     "Terms must be left out without mac or emac among the operations, not 4, 8"),
    ({"ops": ("mac",), "lanes": (4,)}, "Lanes must be left out without dot among the operations, not 4"),
])
def test_a_wrong_selection_is_refused(options, text):
    with pytest.raises(UsageError, match=text):
        Selection(**options)


def test_a_wrong_format_is_refused():
    with pytest.raises(UsageError, match="Format must have at most 16 bits"):
        Selection(formats=("e9m9",)).points()
