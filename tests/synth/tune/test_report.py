"""What is said of a table: a row a choice, by what it was taken, and means over an operation's."""

import pytest

from synth.tune.records import Choice, Way
from synth.tune.report import listing, summaries, summary
from synth.tune.subject import Subject

WAY = Way(recipe="default", recipe_sha256="0" * 64, tools=(("yosys", "0.70", "ab"),), samples=100, vector_seed=1)
E2M1, INT4 = Subject.of("multiply", fmt="e2m1"), Subject.of("multiply", fmt="int4")
SUM = Subject.of("add", fmt="e2m1")


def choice(subject=E2M1, target="ice40", mhz=None, **luts):
    return Choice(subject=subject, target=target, way=WAY, luts=luts, mhz=mhz or {})


MANY = [choice(late=9, early=4), choice(target="xc7", late=3, early="timeout"), choice(INT4, late="mismatch", early=7),
        choice(INT4, "ecp5", late="timeout", early="tool"), choice(SUM, "ecp5", late=5, early=5)]

FASTER = choice(late=105, early=100, mhz={"late": 75.0, "early": 50.0})
SMALLER = choice(late=105, early=100, mhz={"late": 51.0, "early": 50.0})
UNPLACED = choice(late=105, early=100, mhz={"late": 75.0, "early": "timeout"})


def test_a_listing_has_a_row_a_choice():
    assert listing(MANY) == [
        ["multiply fmt=e2m1", "ice40", "early", "4", "", "LUTs", "", "late", "9", "0.444"],
        ["multiply fmt=e2m1", "xc7", "late", "3", "", "LUTs", "", "", "", ""],
        ["multiply fmt=int4", "ice40", "early", "7", "", "LUTs", "", "late", "mismatch", ""],
        ["multiply fmt=int4", "ecp5", "none", "–", "", "", "", "late", "timeout", ""],
        ["add fmt=e2m1", "ecp5", "late", "5", "", "LUTs, not timed", "", "", "", ""]]


def test_a_listing_says_by_what_a_winner_was_taken_and_over_which_one():
    assert listing([FASTER, SMALLER, UNPLACED]) == [
        ["multiply fmt=e2m1", "ice40", "late", "105", "75.0", "LUTs x period", "early: 100, 50.0 MHz", "", "", ""],
        ["multiply fmt=e2m1", "ice40", "early", "100", "50.0", "LUTs x period", "", "late", "105", "0.952"],
        ["multiply fmt=e2m1", "ice40", "early", "100", "timeout", "LUTs, not placed", "", "late", "105", "0.952"]]


NOTHING_CLOCKED = {"clocked": 0, "unplaced": 0, "faster": 0, "mhz_ratio": None, "lut_ratio": None}


def test_a_summary_has_geometric_means():
    found = summary([choice(late=8, early=2), choice(late=2, early=2), choice(late=2, early=4)])
    assert found == {"choices": 3, "differ": 1, "failed": 0, "ratio": pytest.approx(0.25 ** (1 / 3)),
                     "ratio_where_different": pytest.approx(0.25), **NOTHING_CLOCKED}
    assert summary([]) == {"choices": 0, "differ": 0, "failed": 0, "ratio": None, "ratio_where_different": None,
                           **NOTHING_CLOCKED}
    assert summary(MANY[3:4])["failed"] == 1
    assert summary([choice(late=1, early=0)])["ratio"] is None  # wires alone


def test_a_summary_counts_what_the_clock_decided():
    wires = choice(late=0, early=0, mhz={"late": 300.0, "early": 300.0})
    other = choice(late=110, early=100, mhz={"late": 100.0, "early": 50.0})
    found = summary([FASTER, SMALLER, UNPLACED, other, wires, *MANY])
    assert {name: found[name] for name in NOTHING_CLOCKED} == {
        "clocked": 4, "unplaced": 1, "faster": 2, "mhz_ratio": pytest.approx(3.0 ** 0.5),
        "lut_ratio": pytest.approx((1.05 * 1.1) ** 0.5)}


def test_operations_have_summaries_and_all_together_one():
    names = [item["operation"] for item in summaries(MANY)]
    assert names == ["multiply", "add", "all"]
    assert summaries(MANY)[-1]["choices"] == 5
    assert [item["operation"] for item in summaries(MANY[:2])] == ["multiply"]
    assert summaries([]) == []
