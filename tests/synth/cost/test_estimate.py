import dataclasses

import pytest

from synth.cost.estimate import Estimate, Provenance, default_model, default_table, estimate, measured, predict
from synth.cost.evaluate import fit_model
from synth.cost.model import CostModel
from synth.cost.point import Point
from synth.cost.table import Failed, Reason, Table
from synth.errors import UsageError
from synth.flow import elaborate
from synth.primitives import platform_of
from tests.support.measured import CONDITIONS, accumulators, law, lawful, row, table


@pytest.fixture(scope="module")
def known():
    """Return a table of circuits that follow a law, and its model."""
    measured_table = lawful(accumulators())
    return measured_table, fit_model(measured_table)


def emac(fmt, **further):
    return Point(**{"op": "emac", "fmt": fmt, "out_fmt": "exact", "terms": 4608, **further})


def test_measured_where_it_was(known):
    measured_table, model = known
    found = estimate(emac("int8"), "ecp5", table=measured_table, model=model)
    assert found.provenance is Provenance.MEASURED
    assert found.is_measured
    assert found.lut == found.low == found.high == round(law(emac("int8")))
    assert (found.ff, found.carry, found.dsp, found.bram, found.counted_by) == (10, 5, 0, 0, "nextpnr")
    assert found.fmax_mhz == found.fmax_low_mhz == found.fmax_high_mhz == 100
    assert found.extrapolates == ()


def test_predicted_where_it_was_not(known):
    measured_table, model = known
    point = emac("minifloat_e2m4")
    found = estimate(point, "ecp5", table=measured_table, model=model)
    assert found.provenance is Provenance.PREDICTED
    assert not found.is_measured
    assert found.lut == pytest.approx(law(point), rel=0.06)
    assert found.low < found.lut < found.high
    assert found.fmax_low_mhz <= found.fmax_mhz <= found.fmax_high_mhz
    assert found.counted_by == "nextpnr"
    assert all(isinstance(getattr(found, name), int) for name in ("lut", "ff", "carry", "dsp", "bram", "low", "high"))


def test_same_register_is_the_same_circuit(known):
    measured_table, model = known
    assert emac("int8", terms=4600).width() == emac("int8").width()
    assert estimate(emac("int8", terms=4600), "ecp5", table=measured_table, model=model).is_measured
    assert not estimate(emac("int8", terms=64), "ecp5", table=measured_table, model=model).is_measured


def test_a_failure_is_predicted_and_named(known):
    _, model = known
    point = emac("minifloat_e2m4")
    failed = Table([(Failed(point=point, target="ecp5", reason=Reason.TIMEOUT, message="yosys ran too long"),
                     CONDITIONS)])
    found = estimate(point, "ecp5", table=failed, model=model)
    assert found.provenance is Provenance.PREDICTED
    assert found.failure == "yosys ran too long"
    assert estimate(emac("int5"), "ecp5", table=failed, model=model).failure == ""


def test_prediction_beyond_what_was_measured_says_so(known):
    measured_table, model = known
    found = estimate(emac("float16"), "ecp5", table=measured_table, model=model)
    assert found.extrapolates
    assert found.lut > 400
    assert found.low < found.lut < found.high


def test_json_marks_predictions(known):
    measured_table, model = known
    documents = {fmt: estimate(emac(fmt), "ecp5", table=measured_table, model=model).to_json()
                 for fmt in ("int8", "minifloat_e2m4")}
    assert documents["int8"]["provenance"] == "measured"
    assert documents["minifloat_e2m4"]["provenance"] == "predicted"
    assert set(documents["int8"]) == {field.name for field in dataclasses.fields(Estimate)}
    assert documents["int8"]["point"]["fmt"] == "int8"


def test_rows_become_estimates():
    item = row(emac("int8"), lut=7, dsp=1, fmax_mhz=None)
    found = measured(item)
    assert (found.lut, found.dsp, found.fmax_mhz, found.fmax_low_mhz) == (7, 1, None, None)


def test_prediction_can_be_had_of_what_was_measured(known):
    _, model = known
    found = predict(emac("int8"), "ecp5", model=model)
    assert found.provenance is Provenance.PREDICTED
    assert found.lut == pytest.approx(law(emac("int8")), rel=0.05)


def test_unknown_requests(known):
    measured_table, model = known
    with pytest.raises(UsageError, match=r"Target must be one of .*, not 'ecp6'; did you mean ecp5\?"):
        estimate(emac("int8"), "ecp6", table=measured_table, model=model)
    with pytest.raises(UsageError, match="Target must be one with enough measured circuits of emac"):
        estimate(emac("int8"), "nexus", table=measured_table, model=model)
    with pytest.raises(UsageError, match="Option --dsp must be left out for emac on ecp5, of whose circuits none with "
                                         "hard multipliers was measured; .* build --dsp"):
        estimate(emac("int8", dsp=True), "ecp5", table=measured_table, model=model)


def test_hard_multipliers_are_counted():
    points = [*accumulators(["int3", "int4", "int5", "int6"]), emac("int6", dsp=True), emac("int7", dsp=True)]
    rows = [row(point, lut=40 if point.dsp else 90 + index, dsp=int(point.dsp)) for index, point in enumerate(points)]
    found = estimate(emac("int8", dsp=True), "ecp5", table=Table(), model=fit_model(table(*rows)))
    assert found.dsp == 1
    assert found.provenance is Provenance.PREDICTED


def test_package_answers_for_every_target_that_it_has():
    default_table.cache_clear()
    default_model.cache_clear()
    model = default_model()
    assert isinstance(model, CostModel)
    for op, target in model.sections:
        extra = {"emac": {"terms": 300, "out_fmt": "exact"}, "mac": {"terms": 300}, "dot": {"lanes": 6}}.get(op, {})
        found = estimate(Point(op=op, fmt="int7", **extra), target)
        assert 5 < found.low <= found.lut <= found.high < 2500, found


def test_a_circuit_that_is_built_otherwise_today_was_measured_earlier():
    point = Point(op="emac", fmt="int4", out_fmt="exact", terms=64)
    old = dataclasses.replace(CONDITIONS, sources="0" * 64)
    today = elaborate(point.operation().component(), platform_of("ecp5", dsp=False)).digest
    for digest, wanted in ((today, Provenance.MEASURED), ("12" * 32, Provenance.EARLIER)):
        measured_row = dataclasses.replace(row(point, lut=50), rtlil_sha256=digest)
        found = estimate(point, "ecp5", table=Table([(measured_row, old)]))
        assert (found.provenance, found.lut, found.low, found.high) == (wanted, 50, 50, 50)
    assert found.is_measured
    assert found.to_json()["provenance"] == "measured earlier"
