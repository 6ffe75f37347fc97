import numpy as np
import pytest

from synth.cost.evaluate import (
    LeftOut,
    Residual,
    coverage_of,
    errors_of,
    fit_model,
    leave_out,
    quantile_of,
    sections_of,
)
from synth.cost.model import fit_section
from synth.cost.point import Point
from synth.cost.samples import Quantity, samples_of
from tests.support.measured import accumulators, law, lawful, row, table


@pytest.fixture(scope="module")
def samples():
    """Return circuits that follow a law, of two formats among them."""
    points = [*accumulators(), Point(op="emac", fmt="int4", fmt_b="int8", out_fmt="exact", terms=4608),
              Point(op="emac", fmt="minifloat_e2m1", fmt_b="int8", out_fmt="exact", terms=4608)]
    return samples_of(lawful(points), op="emac", target="ecp5")


def test_no_fit_sees_what_it_predicts(samples):
    residuals = leave_out(samples, Quantity.LUT, LeftOut.FORMAT)
    for group in ("int8", "float4_e2m1fn"):
        left = [item for item in residuals if item.group == group]
        assert sorted(item.sample.row.point.key() for item in left) == sorted(
            item.row.point.key() for item in samples if group in (item.row.point.fmt, item.row.point.fmt_b))
        rest = [item for item in samples if group not in item.formats]
        section = fit_section(rest, [Quantity.LUT])
        for item in left:
            assert item.predicted == pytest.approx(section.predict(item.sample.operation)[Quantity.LUT].value)


def test_circuits_of_two_formats_are_predicted_twice(samples):
    mixed = [item for item in leave_out(samples, Quantity.LUT, LeftOut.FORMAT) if len(item.sample.formats) == 2]
    assert sorted(item.group for item in mixed) == ["float4_e2m1fn", "int4", "int8", "int8"]


def test_families_are_left_out_whole(samples):
    residuals = leave_out(samples, Quantity.LUT, LeftOut.FAMILY)
    assert {item.group for item in residuals} == {"floating point", "fixed point", "posit"}
    assert all(item.group in {family.value for family in item.sample.families} for item in residuals)


def test_groups_that_leave_too_few_are_passed_over():
    few = samples_of(lawful(accumulators(["int3", "int4", "int5", "int6", "int7", "int8", "minifloat_e2m1"])),
                     op="emac", target="ecp5")
    residuals = leave_out(few, Quantity.LUT, LeftOut.FAMILY)
    assert {item.group for item in residuals} == {"floating point"}


def test_formats_of_one_circuit_are_one_group():
    points = accumulators(["int3", "int4", "int5", "int6", "int7", "int8", "fixed<8,4>", "minifloat_e2m1"])
    rows = samples_of(lawful(points), op="emac", target="ecp5")
    left = [item for item in leave_out(rows, Quantity.LUT, LeftOut.FORMAT) if item.group == "int8"]
    assert {item.sample.row.point.fmt for item in left} == {"int8", "fixed<8,4>"}


def test_law_is_met_by_what_was_left_out(samples):
    document, reach = errors_of(samples, Quantity.LUT)
    assert document["left_out"]["format"]["median"] < 0.04
    assert document["left_out"]["format"]["predictions"] == len(samples) + 2
    assert document["rows"] == len(samples)
    assert reach > 0
    worst = document["left_out"]["format"]["worst"]
    assert worst["measured"] in [item.row.lut for item in samples]
    assert worst["left_out"] in worst["point"]
    assert "finn" in document
    assert "finn" not in errors_of(samples, Quantity.CARRY)[0]


def test_error_of_a_prediction():
    point = accumulators(["int8"])[0]
    residual = Residual(sample=samples_of(table(*(row(item, lut=100) for item in accumulators())), op="emac",
                                          target="ecp5")[0], group="int8", predicted=80, measured=100, score=1)
    assert residual.error == pytest.approx(-0.2)
    assert law(point) > 0


def scored(*groups):
    return [Residual(sample=None, group=str(index), predicted=1, measured=1, score=score)
            for index, scores in enumerate(groups) for score in scores]


def test_coverage_is_counted_without_a_circuits_own_group():
    even = scored(*[[1.0]] * 20)
    assert quantile_of(even) == 1
    assert coverage_of(even) == 1
    odd = scored(*[[1.0]] * 19, [50.0])
    assert coverage_of(odd) == 19 / 20
    assert coverage_of(scored([1.0, 2.0])) == 0  # nothing is left to find a reach from


def test_coverage_of_many_is_as_promised():
    scores = np.random.default_rng(5).exponential(size=300)
    assert 0.87 < coverage_of(scored(*([score] for score in scores))) < 0.93


def test_model_has_a_section_for_each_operation_and_target():
    points = accumulators()
    rows = [*lawful(points).rows, *lawful(points, "xc7").rows,
            row(Point(op="multiply", fmt="int8"), "ice40", lut=100)]
    seen = []

    class Steps:
        """Counts what it is told."""

        def start(self, description):
            seen.append(description)

        def advance(self, description=""):
            seen.append(1)

    found = fit_model(table(*rows), progress=Steps())
    assert set(found.sections) == {("emac", "ecp5"), ("emac", "xc7")}
    assert seen.count(1) == sections_of(table(*rows)) == 3
    assert seen[0] == "emac on ecp5"
    luts = {item["target"]: item["rows"] for item in found.errors if item["quantity"] == "lut"}
    assert luts == {"ecp5": len(points), "xc7": len(points)}
    assert found.table_digest == table(*rows).digest
