import json

import pytest

from synth.cost.checks import (
    WITH_CONVERSION,
    WITHOUT_CONVERSION,
    accumulator,
    minifloats,
    order,
    order_of_eight_bits,
    orders_within_widths,
    overheads,
)
from synth.cost.point import Point
from synth.cost.table import SHIPPED, read_table
from tests.support.measured import row, table


def emac(fmt, out="exact"):
    return Point(op="emac", fmt=fmt, out_fmt=out, terms=4608)


def of(**lut):
    return table(*(row(emac(name if name.startswith("int") else f"minifloat_{name}"), lut=value)
                   for name, value in lut.items()))


def test_minifloats_of_a_width():
    assert minifloats(8) == ["minifloat_e2m5", "minifloat_e3m4", "minifloat_e4m3", "minifloat_e5m2"]
    assert minifloats(4) == ["minifloat_e2m1"]
    assert sum(len(minifloats(bits)) for bits in range(3, 9)) == 14


@pytest.mark.parametrize(("luts", "holds"), [
    ((100, 120, 140), True), ((100, 100, 140), False), ((150, 120, 140), False)])
def test_order_of_eight_bits(luts, holds):
    found = order_of_eight_bits(of(e3m4=luts[0], e4m3=luts[1], e5m2=luts[2]), "ecp5")
    assert found.holds is holds
    assert found.lut == luts
    assert found.formats == ("minifloat_e3m4", "minifloat_e4m3", "minifloat_e5m2")
    assert json.loads(json.dumps(found.to_json()))["holds"] is holds


def test_what_was_not_measured_is_named():
    found = order_of_eight_bits(of(e3m4=10, e5m2=20), "ecp5")
    assert found.missing == ("minifloat_e4m3",)
    assert found.holds
    nothing = order(of(e3m4=10), ["minifloat_e3m4", "minifloat_e4m3"], "ecp5")
    assert nothing.holds is None
    assert order(of(e3m4=10), ["minifloat_e3m4"], "xc7").missing == ("minifloat_e3m4",)


def test_orders_within_widths():
    found = orders_within_widths(of(e2m2=10, e3m1=11, e2m3=20, e3m2=19, e4m1=30), "ecp5")
    assert [item.holds for item in found] == [True, False, None, None]
    assert found[0].formats == ("float5_e2m2fn", "float5_e3m1fn")


def test_overhead_over_the_integer_of_the_same_width():
    found = overheads(of(e2m1=60, int4=50, e2m2=70, e4m3=300, int8=100), "ecp5", converted=False)
    assert [(item.format, item.integer) for item in found] == [("float4_e2m1fn", "int4"), ("minifloat_e4m3", "int8")]
    assert [round(item.overhead, 3) for item in found] == [0.2, 2.0]
    assert [item.holds for item in found] == [True, False]
    assert (found[0].low_percent, found[0].high_percent) == WITHOUT_CONVERSION
    assert json.loads(json.dumps(found[0].to_json()))["overhead"] == 0.2


def test_conversion_counts_against_the_same_integer():
    rows = [row(emac("int8"), lut=100), row(emac("int8", None), lut=130), row(emac("minifloat_e4m3"), lut=150),
            row(emac("minifloat_e4m3", None), lut=260)]
    plain, converted = (overheads(table(*rows), "ecp5", converted=flag) for flag in (False, True))
    assert [item.lut for item in plain] == [150]
    assert [item.lut for item in converted] == [260]
    assert converted[0].integer_lut == 100
    assert converted[0].overhead == pytest.approx(1.6)
    assert (converted[0].low_percent, converted[0].high_percent) == WITH_CONVERSION


def test_accumulator_is_found_with_and_without_conversion():
    measured = table(row(emac("int8"), lut=100))
    assert accumulator(measured, "int8", "ecp5").lut == 100
    assert accumulator(measured, "int8", "ecp5", converted=True) is None


def test_shipped_table_answers():
    shipped = read_table(SHIPPED)
    targets = {item.target for item in shipped.rows if item.point.op == "emac"}
    assert targets
    for target in targets:
        found = order_of_eight_bits(shipped, target)
        assert found.holds is (sorted(set(found.lut)) == list(found.lut)) or found.missing
