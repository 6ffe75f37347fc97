import dataclasses

import pytest

from sw.formats import CATALOG, FixedPointFormat, FloatingPointFormat, Specials, parse
from synth.cost.fabric import FABRICS
from synth.cost.features import (
    MODELLED,
    lookup_terms,
    operand_bits,
    rounding_terms,
    special_flags,
    structure_of,
)
from synth.cost.point import OPERATIONS, Point
from synth.cost.terms import PRODUCT_TERMS, TERMS, times, total
from synth.operations import Request, find_operation


def operation(op, fmt, **further):
    return Point(op=op, fmt=fmt, **further).operation()


def terms(op, fmt, *, hard=0, target="nexus", **further):
    return terms_of(operation(op, fmt, **further), hard=hard, target=target)


def terms_of(circuit, *, hard=0, target="nexus"):
    return lookup_terms(circuit, fabric=FABRICS[target], hard=hard, structure=structure_of(circuit, None))


def test_every_tabulated_operation_is_modelled():
    assert MODELLED == OPERATIONS


@pytest.mark.parametrize("op", MODELLED)
@pytest.mark.parametrize("fmt", ["int8", "minifloat_e4m3", "posit<8,1>", "float8_e5m2"])
def test_terms_are_known_ones(op, fmt):
    if op == "mac" and fmt != "int8":
        return
    found = terms(op, fmt, terms=64 if op in ("mac", "emac") else None)
    assert set(found) <= set(TERMS)
    assert all(amount > 0 for amount in found.values())


@pytest.mark.parametrize("name", [*(entry.name for entry in CATALOG), "e4m3:subnormals=absent",
                                  "e3m2:bias=11,specials=none"])
def test_every_format_of_the_catalog_has_features(name):
    requests = [("multiply", {}), ("emac", {"terms": 64}), ("emac", {"terms": 64, "out_fmt": "exact", "lanes": 3}),
                ("dot", {"lanes": 5})]
    for op, further in requests:
        for other in (None, "int4", "posit<6,1>"):
            circuit = operation(op, name, fmt_b=other, **further)
            for target in FABRICS:
                found = terms_of(circuit, target=target)
                assert set(found) <= set(TERMS)
                assert all(amount > 0 for amount in found.values()), (op, other, found)


def test_features_come_from_fields_and_not_from_names():
    first = parse("minifloat_e4m3")
    same = FloatingPointFormat(exponent_bits=4, fraction_bits=3, bias=7, specials=Specials.NONE)
    other = dataclasses.replace(first, bias=3)
    assert first == same
    a, b, c = (Request(op="emac", fmt=fmt.name, terms=64, out_fmt="exact").operation(find_operation("emac"))
               for fmt in (first, same, other))
    # A bias moves every value, and the sum's grid with them: the circuit is the same.
    assert terms_of(a) == terms_of(b)
    assert terms_of(a) == terms_of(c)


def test_sum_is_the_register():
    model = operation("emac", "minifloat_e4m3", terms=4608).model
    assert terms("emac", "minifloat_e4m3", terms=4608)["sum"] == model.width == 49
    assert terms("emac", "minifloat_e4m3", terms=4608, accumulator_width=60)["sum"] == 60
    assert terms("mac", "int8", terms=4608)["sum"] == operation("mac", "int8", terms=4608).model.accumulator.width


def test_lanes_multiply_the_products():
    one, four = (terms("dot", "minifloat_e3m2", lanes=lanes, out_fmt="exact") for lanes in (2, 8))
    for name in ("rows", "shift", "unpack"):
        assert four[name] == 4 * one[name]
    assert four["tree"] > 4 * one["tree"]
    assert four["last"] == one["last"]


def test_hard_multipliers_take_the_product_away():
    soft, hard = (terms("emac", "int8", terms=64, out_fmt="exact", hard=count) for count in (0, 1))
    assert any(name in soft for name in PRODUCT_TERMS)
    assert not any(name in hard for name in PRODUCT_TERMS)
    assert hard["hard"] == 1


def test_exact_sums_are_not_rounded():
    exact, rounded = (terms("emac", "minifloat_e4m3", terms=64, out_fmt=out) for out in ("exact", None))
    names = {name for name in TERMS if name.startswith("round")}
    assert not names & set(exact)
    assert names & set(rounded)
    assert {name: amount for name, amount in rounded.items() if name in exact} == exact


@pytest.mark.parametrize(("fmt", "names"), [
    ("int8", {"round_above", "saturate"}), ("fixed<8,4>", {"round_below", "round_above", "round", "saturate"}),
    ("minifloat_e4m3", {"round_leading", "round_below", "round_above", "round_result", "round_negate"}),
    ("posit<8,1>", {"round_leading", "round_result", "round_negate", "string", "round_above"})])
def test_rounding_by_family(fmt, names):
    fmt = parse(fmt)
    exponent = -2 * fmt.fraction_bits if isinstance(fmt, FixedPointFormat) else -18
    found = rounding_terms(fmt, width=50, exponent=exponent)
    assert {name for name, amount in found.items() if amount} >= names - {"round_below"}


def test_flushed_results_are_normalised_whole():
    flushed = rounding_terms(parse("minifloat_e4m3:subnormals=flushed"), width=50, exponent=-18)
    assert flushed["round_negate"] == 50
    assert rounding_terms(parse("minifloat_e4m3"), width=50, exponent=-18)["round_negate"] == 4
    assert rounding_terms(None, width=50, exponent=-18) == {}


def test_flags_of_special_values():
    assert special_flags(parse("minifloat_e4m3"), parse("int8")) == 0
    assert special_flags(parse("float8_e4m3fn"), parse("int8")) == 1
    assert special_flags(parse("posit<8,1>")) == 1
    assert special_flags(parse("minifloat_e4m3"), parse("float8_e5m2")) == 3


def test_factors_of_a_product():
    assert operand_bits(operation("multiply", "minifloat_e4m3")) == 8
    assert operand_bits(operation("multiply", "int8", fmt_b="minifloat_e2m1", out_fmt="int8")) == 10


def test_sums_of_terms():
    assert total({"sum": 1}, {"sum": 2, "rows": 3}) == {"sum": 3, "rows": 3}
    assert times(3, {"sum": 2}) == {"sum": 6}


def test_expected_coefficients_know_the_tables_inputs():
    assert TERMS["shift"].expected(4) > TERMS["shift"].expected(6)
    assert TERMS["sum"].expected(4) == TERMS["sum"].four
