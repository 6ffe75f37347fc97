"""Which structures an exact product can have."""

import pytest

from hw.arith.exact_structure import ExactStructure, exact_structures, require_exact_structure
from sw.formats import parse

ALL = {"invert-early", "gate-exponents", "select-blocks", "invert-late", "tables", "digits", "shifted-digits"}
OF_DIGITS = {"digits", "shifted-digits"}


@pytest.mark.parametrize(("a", "b", "alone", "left_out"), [
    ("float8_e4m3fn", "float8_e4m3fn", True, OF_DIGITS),
    ("float8_e4m3fn", "float8_e4m3fn", False, {"select-blocks", *OF_DIGITS}),
    ("float16", "float8_e4m3fn", True, {"tables", *OF_DIGITS}), ("float4_e2m1fn", "int4", True, OF_DIGITS),
    ("float4_e2m1fn", "int5", True, {"tables", *OF_DIGITS}), ("posit<8,2>", "posit<8,2>", True, OF_DIGITS),
    ("posit<8,1>", "float4_e2m1fn", False, {"tables", "select-blocks", *OF_DIGITS}),
    ("float4_e2m1fn", "float4_e2m1fn", True, set()),
    ("float4_e2m1fn", "float4_e2m1fn", False, {"select-blocks", "shifted-digits"}),
    ("minifloat_e3m1", "float4_e2m1fn", True, {"shifted-digits"}), ("int2", "float4_e2m1fn", True, {"shifted-digits"}),
    ("int8", "uint4", True, ALL - {"invert-late"}), ("int8", "uint4", False, ALL - {"invert-late"})])
def test_structures_of_two_formats(a, b, alone, left_out):
    structures = exact_structures(parse(a), parse(b), alone=alone)
    assert {structure.value for structure in structures} == ALL - left_out
    assert len(structures) == 1 or structures[0] is ExactStructure.INVERT_EARLY


@pytest.mark.parametrize(("name", "first"), [
    ("float4_e2m1fn", "tables"), ("float8_e4m3fn", "tables"), ("minifloat_e3m5", "invert-late"),
    ("posit<8,1>", "invert-late")])
def test_lookup_tables_of_six_inputs_invert_late(name, first):
    structures = exact_structures(parse(name), parse(name), alone=True)
    for family in ("xc7", "xcup"):
        ordered = ExactStructure.ordered(structures, family)
        assert ordered[0].value == first
        assert set(ordered) == set(structures)
    for family in ("ice40", "ecp5", None):
        assert ExactStructure.ordered(structures, family) == structures
    assert ExactStructure.ordered((ExactStructure.PAIRS,), "xc7") == (ExactStructure.PAIRS,)


@pytest.mark.parametrize(("name", "first"), [
    ("float4_e3m0fn", "invert-late"), ("posit<5,2>", "invert-late"), ("float6_e3m2fn", "invert-early")])
def test_significands_of_one_bit_invert_late(name, first):
    assert exact_structures(parse(name), parse(name), alone=False)[0].value == first


def test_products_of_fixed_point_are_paired_where_there_are_two():
    assert exact_structures(parse("int8"), parse("uint5"), alone=False, lanes=2) == (
        ExactStructure.INVERT_LATE, ExactStructure.PAIRS)
    assert exact_structures(parse("int8"), parse("uint4"), alone=False, lanes=2) == (ExactStructure.PAIRS,)
    assert ExactStructure.PAIRS not in exact_structures(parse("int8"), parse("e4m3"), alone=False, lanes=2)


def test_which_structures_invert_early():
    assert {structure.value for structure in ExactStructure if structure.early} == {
        "invert-early", "gate-exponents", "select-blocks", *OF_DIGITS}


def test_wrong_structures():
    suitable = exact_structures(parse("int8"), parse("int8"), alone=False)
    assert require_exact_structure(None, suitable) is None
    assert require_exact_structure(ExactStructure.INVERT_LATE, suitable) is ExactStructure.INVERT_LATE
    with pytest.raises(TypeError, match="Structure must be an ExactStructure, not 'tables'"):
        require_exact_structure("tables", suitable)
    with pytest.raises(ValueError, match=r"Structure must be one that suits the operands, .*INVERT_LATE, not .*TABLES"):
        require_exact_structure(ExactStructure.TABLES, suitable)
