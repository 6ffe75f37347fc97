import json

import pytest

from synth.cost.evaluate import fit_model
from synth.cost.explain import NEIGHBOURS, explain
from synth.cost.point import Point
from synth.cost.samples import Quantity
from synth.errors import UsageError
from tests.support.measured import accumulators, law, lawful


@pytest.fixture(scope="module")
def known():
    """Return a table of circuits that follow a law, and its model."""
    measured = lawful(accumulators())
    return {"table": measured, "model": fit_model(measured)}


def emac(fmt):
    return Point(op="emac", fmt=fmt, out_fmt="exact", terms=4608)


def test_neighbours_are_the_nearest(known):
    found = explain(emac("minifloat_e2m4"), "ecp5", **known).neighbours
    assert len(found) == NEIGHBOURS
    distances = [item.distance for item in found]
    assert distances == sorted(distances)
    assert {item.row.point.fmt for item in found[:2]} <= {"float6_e2m3fn", "minifloat_e2m5", "float7_e3m3fn"}


def test_a_circuit_is_no_neighbour_of_its_own(known):
    assert all(item.row.point != emac("int8") for item in explain(emac("int8"), "ecp5", **known).neighbours)


def test_shares_and_correction_make_the_prediction(known):
    point = emac("minifloat_e2m4")
    found = explain(point, "ecp5", **known)
    want = known["model"].section("emac", "ecp5").predict(point.operation())[Quantity.LUT].value
    assert found.predicted == pytest.approx(want)
    base = sum(share.lut for share in found.shares)
    assert (base + 1) * found.correction - 1 == pytest.approx(want)
    assert [share.lut for share in found.shares] == sorted((share.lut for share in found.shares), reverse=True)
    assert want == pytest.approx(law(point), rel=0.06)


def test_json(known):
    document = json.loads(json.dumps(explain(emac("int5"), "ecp5", **known).to_json()))
    assert {item["provenance"] for item in document["neighbours"]} == {"measured"}
    assert {"name", "text", "amount", "each", "lut"} == set(document["terms"][0])
    assert document["predicted_lut"] > 0


def test_nothing_is_explained_without_a_model(known):
    with pytest.raises(UsageError, match="Target must be one with enough measured circuits of emac"):
        explain(emac("int5"), "gowin", **known)
