# amaranth: UnusedElaboratable=no
import itertools

import pytest

from hw.arith.multiply import NARROW_SIGNIFICAND, Multiplier, Structure
from sw.formats import parse
from sw.reference import Multiplication
from synth.cost import multiplier
from synth.cost.fabric import FABRICS
from synth.cost.multiplier import multiplier_terms, truth_tables

NAMES = ("minifloat_e2m1", "minifloat_e1m2", "minifloat_e3m0", "minifloat_e2m5", "minifloat_e4m3", "float8_e5m2",
         "float16", "int3", "int4", "int8", "fixed<8,4>", "posit<3,0>", "posit<8,1>")


def model(a, b=None, result=None):
    a = parse(a)
    return Multiplication(a=a, b=a if b is None else parse(b), result=a if result is None else parse(result))


def terms_of(circuit, target="nexus"):
    return multiplier_terms(circuit, fabric=FABRICS[target], structure=Multiplier.structures(circuit)[0].value)


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations_with_replacement(NAMES, 2)))
def test_terms_are_those_of_the_structure(a, b):
    circuit = model(a, b, b)
    for structure in Multiplier.structures(circuit):
        terms = multiplier_terms(circuit, fabric=FABRICS["ice40"], structure=structure.value)
        assert (set(terms) == {"table"}) == (structure is Structure.TRUTH_TABLE)
        assert bool({"significand_table", "subnormal_table"} & set(terms)) == (
            structure is Structure.SIGNIFICAND_TABLES)
        if structure is Structure.SIGNIFICAND_TABLES:
            assert not {"align", "late_align", "round"} & set(terms)


def test_an_exact_product_of_fractions_is_no_table():
    terms = multiplier_terms(model("float8_e4m3", None, "bfloat16"), fabric=FABRICS["xc7"],
                             structure="significand-tables")
    assert "significand_table" not in terms
    assert terms["columns"]


def test_tables_grow_with_the_fractions():
    small, large = (multiplier_terms(model(name), fabric=FABRICS["xc7"], structure="significand-tables")
                    for name in ("float8_e5m2", "float8_e4m3"))
    assert (small["significand_table"], large["significand_table"]) == (3, 4)
    assert (small["subnormal_table"], large["subnormal_table"]) == (2, 12)
    assert "subnormal_table" not in multiplier_terms(model("e4m3:subnormals=flushed"), fabric=FABRICS["xc7"],
                                                     structure="significand-tables")


@pytest.mark.parametrize(("name", "lut"), [
    # Measured on Xilinx 7 with yosys 0.70, whose lookup tables have six inputs: `python -m synth build --target xc7`.
    ("minifloat_e2m0", 3), ("minifloat_e1m1", 3), ("minifloat_e2m1", 4), ("minifloat_e1m2", 4), ("minifloat_e3m0", 4),
    ("int3", 3), ("minifloat_e2m1:subnormals=flushed", 4)])
def test_tables_of_six_inputs_are_those_measured(name, lut):
    assert truth_tables(model(name), 6) == lut


def test_more_inputs_need_fewer_tables():
    for name in ("minifloat_e2m1", "int3", "minifloat_e3m0"):
        assert truth_tables(model(name), 4) > truth_tables(model(name), 6)


def test_terms_grow_with_significand_and_range():
    def luts(name, **further):
        return sum(terms_of(model(name, **further)).values())

    for x in range(2, 5):
        assert luts(f"minifloat_e{x}m2") < luts(f"minifloat_e{x}m4") < luts(f"minifloat_e{x}m7")
    assert luts("int4") < luts("int6") < luts("int8")
    assert luts("posit<5,1>") < luts("posit<7,1>") < luts("posit<9,1>")
    assert luts("minifloat_e4m3:subnormals=flushed") < luts("minifloat_e4m3")


def test_result_decides_what_rounds():
    terms = {result: terms_of(model("minifloat_e4m3", "int4", result))
             for result in ("int8", "posit<8,1>", "minifloat_e4m3")}
    assert terms["int8"]["saturate"]
    assert "string" not in terms["int8"]
    assert terms["posit<8,1>"]["string"]
    assert terms["minifloat_e4m3"]["align"]
    assert "saturate" not in terms["minifloat_e4m3"]


def test_flushed_results_are_not_aligned():
    assert "align" not in terms_of(model("minifloat_e4m3:subnormals=flushed"))


def test_cut_places_are_rounded():
    assert terms_of(model("fixed<8,4>"))["round"] == 12
    assert "round" not in {name for name, value in terms_of(model("int8")).items() if value}


def test_narrow_significands_take_the_form_that_suits_any_family():
    assert multiplier.NARROW_SIGNIFICAND == NARROW_SIGNIFICAND
    narrow, wide = (multiplier_terms(model(name), fabric=FABRICS["ecp5"], structure="normalise-operands")
                    for name in ("float8_e4m3", "float8_e3m4"))
    assert "gated" not in narrow
    assert wide["gated"] == 16
