import dataclasses
import json

import numpy as np
import pytest

from synth.cost import model as model_file
from synth.cost import table as table_file
from synth.cost.evaluate import fit_model
from synth.cost.model import MIN_ROWS, CostModel, fit_section, is_stale, load_model, read_model
from synth.cost.point import Point
from synth.cost.samples import Quantity, samples_of
from synth.cost.table import read_table
from synth.errors import StorageError, UsageError
from tests.support.measured import COEFFICIENTS, FORMATS, accumulators, law, lawful, row, table

OTHERS = ("minifloat_e2m4", "minifloat_e5m1", "int5", "int7", "posit<6,1>", "posit<7,0>", "float8_e3m4")


@pytest.fixture(scope="module")
def fitted():
    """Return a model of circuits that follow a law."""
    return fit_model(lawful(accumulators()))


def emac(fmt, **further):
    return Point(op="emac", fmt=fmt, out_fmt="exact", terms=4608, **further)


def test_law_is_found(fitted):
    section = fitted.section("emac", "ecp5")
    for fmt in OTHERS:
        point = emac(fmt)
        found, want = section.predict(point.operation())[Quantity.LUT], law(point)
        assert found.value == pytest.approx(want, rel=0.06), (fmt, found, want)
        assert found.low < found.value < found.high


@pytest.mark.parametrize(("op", "further", "formats", "others"), [
    ("mac", {"terms": 4608}, ("int3", "int4", "int5", "int7", "int8", "fixed<6,3>", "uint4", "uint8"), ("int6",)),
    ("dot", {"lanes": 8, "out_fmt": "exact"}, FORMATS, OTHERS),
    ("multiply", {"pipeline": 1}, FORMATS, OTHERS)])
def test_law_is_found_of_each_operation(op, further, formats, others):
    points = [Point(op=op, fmt=fmt, **further) for fmt in formats]
    section = fit_model(lawful(points)).section(op, "ecp5")
    for fmt in others:
        point = Point(op=op, fmt=fmt, **further)
        found, want = section.predict(point.operation())[Quantity.LUT].value, law(point)
        assert found == pytest.approx(want, rel=0.2), (fmt, found, want)


def test_measured_circuits_are_met_closely(fitted):
    section = fitted.section("emac", "ecp5")
    for point in accumulators():
        assert section.predict(point.operation())[Quantity.LUT].value == pytest.approx(law(point), rel=0.04)


def test_counts_and_periods_are_predicted(fitted):
    found = fitted.section("emac", "ecp5").predict(emac("int5").operation())
    assert found[Quantity.PERIOD].value == pytest.approx(10, rel=0.05)
    assert found[Quantity.CARRY].value == pytest.approx(5, rel=0.3)
    assert set(found) == set(Quantity)


def test_interval_is_wider_away_from_what_was_measured(fitted):
    section = fitted.section("emac", "ecp5")
    near, far = (section.predict(emac(fmt).operation())[Quantity.LUT] for fmt in ("minifloat_e3m3", "bfloat16"))
    assert near.high / near.low < far.high / far.low


def test_circuits_beyond_what_was_measured_are_named(fitted):
    section = fitted.section("emac", "ecp5")
    assert section.beyond(emac("minifloat_e2m4").operation()) == []
    assert section.beyond(emac("int12").operation()) == [
        "significand bits of the narrower operand: 12, not 2 to 8",
        "significand bits of the wider operand: 12, not 2 to 8"]
    said = section.beyond(emac("bfloat16").operation())
    assert any(text.startswith("exponent bits of both operands: 16, not 0 to 10") for text in said)
    assert any(text.startswith("bits of the sum: ") for text in said)
    assert section.beyond(emac("int8", pipeline=1).operation()) == ["pipeline stages: 1, not 0"]


def test_fmax_is_left_out_where_it_is_unknown():
    rows = [dataclasses.replace(item, fmax_mhz=None) for item in lawful(accumulators(), "xc7").rows]
    found = fit_model(table(*rows)).section("emac", "xc7").predict(emac("int5").operation())
    assert Quantity.PERIOD not in found


def test_nothing_takes_no_flip_flops():
    rows = [row(Point(op="multiply", fmt=fmt), lut=50 + index, ff=0)
            for index, fmt in enumerate(("int3", "int4", "int5", "int6", "int7", "int8", "minifloat_e3m2"))]
    section = fit_model(table(*rows)).section("multiply", "ecp5")
    found = section.predict(Point(op="multiply", fmt="minifloat_e2m3").operation())[Quantity.FF]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_hard_multipliers_are_predicted_from_their_threshold():
    soft = [row(emac(fmt), lut=60 + 10 * index) for index, fmt in enumerate(("int3", "int4", "int5", "int6", "int8"))]
    hard = [row(emac(fmt, dsp=True), lut=30, dsp=dsp) for fmt, dsp in (("int3", 0), ("int4", 1), ("int8", 1))]
    section = fit_model(table(*soft, *hard)).section("emac", "ecp5")
    assert section.hard_from == 8
    assert [section.hard(emac(fmt, dsp=True).operation()) for fmt in ("int3", "int7")] == [0, 1]
    assert section.hard(emac("int7").operation()) == 0
    lanes = Point(op="emac", fmt="int7", out_fmt="exact", terms=64, lanes=4, dsp=True)
    assert section.hard(lanes.operation()) == 4


def test_file_holds_the_whole_model(fitted, tmp_path):
    path = tmp_path / "data" / "model.json"
    fitted.save(path)
    again = load_model(path)
    assert path.read_bytes() == again.to_bytes()
    assert again.table_digest == fitted.table_digest
    assert again.errors == fitted.errors
    operation = emac("int7").operation()
    got, want = (item.section("emac", "ecp5").predict(operation) for item in (again, fitted))
    for quantity, prediction in want.items():
        for field in ("value", "low", "high"):
            assert getattr(got[quantity], field) == pytest.approx(getattr(prediction, field), rel=1e-5)


def test_unreadable_files_are_refused(fitted, tmp_path):
    with pytest.raises(StorageError, match=r"Model must be readable, not .* 'python -m synth cost --fit' fits it"):
        read_model(tmp_path / "none.json")
    for content in (b"{", b"[]", b'{"schema": 1}', b"3"):
        path = tmp_path / "bad.json"
        path.write_bytes(content)
        with pytest.raises(StorageError, match="Model must (be a file|have schema)"):
            read_model(path)
    document = json.loads(fitted.to_bytes())
    for change in ({"schema": 99}, {"coordinates": ["width"]}, {"terms": {}}):
        with pytest.raises(StorageError, match="Model must have schema 1 and the features of this version"):
            CostModel.from_bytes(json.dumps({**document, **change}).encode())


def test_missing_sections_are_named(fitted):
    with pytest.raises(UsageError, match="Operation must be one of multiply, mac, emac, dot to be predicted, not "
                                         "'add'"):
        fitted.section("add", "ecp5")
    with pytest.raises(UsageError, match=r"Target must be one with enough measured circuits of dot .* not 'ecp5', "
                                         "which has them of emac"):
        fitted.section("dot", "ecp5")
    with pytest.raises(UsageError, match="which has them of no operation"):
        fitted.section("emac", "ice40")


def test_too_few_circuits_are_not_fitted():
    with pytest.raises(UsageError, match=f"Table must have at least {MIN_ROWS} measured circuits"):
        fit_model(lawful(accumulators(["int3", "int4"])))


def test_shipped_model_was_fitted_to_the_shipped_table():
    shipped = load_model()
    assert not is_stale(shipped), "the table has changed since: run 'python -m synth cost --fit'"
    assert shipped.table_digest == read_table(table_file.SHIPPED).digest


def test_another_table_is_told_from_the_fitted_one(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "SHIPPED", tmp_path / "table.json")
    lawful(accumulators()).save(table_file.SHIPPED)
    assert not is_stale(fitted)
    lawful(accumulators()[:-1]).save(table_file.SHIPPED)
    assert is_stale(fitted)
    table_file.SHIPPED.unlink()
    with pytest.raises(StorageError, match="Table must be readable, not .*table.json"):
        is_stale(fitted)


def test_fit_of_the_shipped_table_is_the_shipped_model():
    shipped, measured = load_model(), read_table(table_file.SHIPPED)
    assert shipped.sections
    for (op, target), section in shipped.sections.items():
        quantiles = {quantity: fit.quantile for quantity, fit in section.fits.items()}
        again = fit_section(samples_of(measured, op=op, target=target), quantiles=quantiles)
        assert again.hard_from == section.hard_from
        assert again.counted_by == section.counted_by
        np.testing.assert_allclose(again.places, section.places, rtol=1e-6)
        assert set(again.fits) == set(section.fits)
        for quantity, fit in section.fits.items():
            got, where = again.fits[quantity], f"{quantity.value} of {op} on {target}"
            np.testing.assert_allclose(got.coefficients, fit.coefficients, rtol=1e-5, atol=1e-6, err_msg=where)
            np.testing.assert_allclose(got.weights, fit.weights, rtol=1e-4, atol=1e-5, err_msg=where)


def test_shipped_errors_are_those_of_the_shipped_table():
    shipped, measured = load_model(), read_table(table_file.SHIPPED)
    op, target = min(shipped.sections, key=lambda place: len(shipped.sections[place].places))
    again = fit_model(measured, wanted=lambda *place: place == (op, target))
    wanted = [item for item in shipped.errors if (item["op"], item["target"]) == (op, target)]
    assert len(again.errors) == len(wanted) > 0
    for got, want in zip(again.errors, wanted, strict=True):
        assert {name: got[name] for name in ("quantity", "rows", "formats", "counted_by")} == {
            name: want[name] for name in ("quantity", "rows", "formats", "counted_by")}
        for left_out, figures in want["left_out"].items():
            for name in ("median", "p95", "coverage", "predictions") if figures else ():
                assert got["left_out"][left_out][name] == pytest.approx(figures[name], abs=2e-3), (got, want)
    for quantity, fit in again.sections[op, target].fits.items():
        assert fit.quantile == pytest.approx(shipped.sections[op, target].fits[quantity].quantile, rel=1e-6)


def test_law_names_terms():
    assert set(COEFFICIENTS) <= set(Quantity.LUT.names)
    assert model_file.SHIPPED.name == "model.json"
