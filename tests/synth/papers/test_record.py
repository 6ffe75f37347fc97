"""Rows of a reproduction: when a figure counts as reproduced, and what is said of it."""

import pytest

from synth.papers.record import Demand, Provenance, Row


def row(ours, paper, demand, tolerance=0.0):
    return Row(quantity="results a cycle", unit="1", ours=ours, paper=paper, provenance=Provenance.PUBLISHED,
               source="table 1", demand=demand, tolerance=tolerance, note="of a chain")


@pytest.mark.parametrize(("ours", "paper", "demand", "tolerance", "holds"), [
    (272, 272, Demand.EQUAL, 0, True), (271, 272, Demand.EQUAL, 0, False),
    (272, 360, Demand.AT_MOST, 0, True), (361, 360, Demand.AT_MOST, 0, False), (360, 360, Demand.AT_MOST, 0, True),
    (2.0, 1.9, Demand.AT_LEAST, 0, True), (1.8, 1.9, Demand.AT_LEAST, 0, False),
    (1.91, 2.0, Demand.CLOSE, 0.05, True), (1.89, 2.0, Demand.CLOSE, 0.05, False),
    (2.11, 2.0, Demand.CLOSE, 0.05, False),
    (7, 1000, Demand.COMPARED, 0, True),
])
def test_a_figure_holds_when_its_demand_is_met(ours, paper, demand, tolerance, holds):
    assert row(ours, paper, demand, tolerance).holds is holds


def test_the_ratio_is_ours_by_theirs():
    assert row(272, 360, Demand.AT_MOST).ratio == 272 / 360
    assert row(1, 0, Demand.COMPARED).ratio is None


def unpublished(paper=None, demand=Demand.COMPARED, provenance=Provenance.UNPUBLISHED):
    return Row(quantity="images a second", unit="1/s", ours=4000, paper=paper, provenance=provenance, source="none",
               demand=demand)


def test_a_figure_that_the_paper_does_not_have_is_shown_alone():
    assert unpublished().holds
    assert unpublished().ratio is None
    assert unpublished().to_json()["paper"] is None


@pytest.mark.parametrize(("paper", "demand", "provenance", "said"), [
    (None, Demand.COMPARED, Provenance.PUBLISHED, "not None, published and compared"),
    (3000, Demand.COMPARED, Provenance.UNPUBLISHED, "not 3000, unpublished and compared"),
    (None, Demand.AT_LEAST, Provenance.UNPUBLISHED, "not None, unpublished and at least"),
])
def test_an_unpublished_figure_cannot_be_demanded(paper, demand, provenance, said):
    with pytest.raises(ValueError, match="Paper's figure must be None where it is unpublished, and there alone, and "
                                         f"then only compared, {said}"):
        unpublished(paper, demand, provenance)


def test_a_row_as_json():
    assert row(272, 360, Demand.AT_MOST).to_json() == {
        "quantity": "results a cycle", "unit": "1", "ours": 272, "paper": 360, "ratio": 272 / 360,
        "provenance": "published", "source": "table 1", "demand": "at most", "tolerance": 0.0, "holds": True,
        "note": "of a chain"}
