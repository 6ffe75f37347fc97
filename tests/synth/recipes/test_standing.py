"""How default recipes stand: by LUTs times clock period, clocks of other families where there are none, in time."""

from dataclasses import replace

import pytest

from synth.recipes.evidence import overlaid
from synth.recipes.recipe import Recipe
from synth.recipes.standing import PATIENCE, standing, winner
from synth.targets import TARGETS
from tests.support.recipe_evidence import ICE40, clocked, made, row


def judged(monkeypatch, ratio, *, mhz=None, seconds=2.0, **others):
    found = made({"int4": [row("abc9", 100, 1.0), row("abc", round(100 * ratio), ratio, seconds=seconds, **others)]},
                 monkeypatch)
    return found if mhz is None else clocked(found, {"int4": {"abc9": 100.0, "abc": mhz}}, monkeypatch)


@pytest.mark.parametrize(("ratio", "mhz", "seconds", "best"), [
    (0.9, 95.0, 2.0, "abc"), (0.9, 91.0, 2.0, "abc9"),            # within the noise of placements
    (0.9, 80.0, 2.0, "abc9"), (0.9, 95.0, 2.0 * PATIENCE, "abc"), (0.9, 95.0, 2.02 * PATIENCE, "abc9"),
    (0.9, None, 2.0, "abc"), (0.99, None, 2.0, "abc9"), (1.2, None, 2.0, "abc9"),
])
def test_the_winner_has_the_least_product_of_luts_and_period(ratio, mhz, seconds, best, monkeypatch):
    assert winner(ICE40, judged(monkeypatch, ratio, mhz=mhz, seconds=seconds)) == best


def test_what_is_wrong_cannot_win(monkeypatch):
    assert winner(ICE40, judged(monkeypatch, 0.5, verified=False)) == "abc9"
    unplaced = judged(monkeypatch, 0.9, mhz=95.0)
    unplaced["targets"]["ice40"]["recipes"]["abc"]["clock"] = None
    assert winner(ICE40, unplaced) == "abc9"


def test_standing_says_what_the_default_is_worth(monkeypatch):
    over = "over 1 operator with Yosys 0.70"
    assert standing(ICE40, judged(monkeypatch, 0.95)) == (
        f"abc9; abc takes 0.950 of its LUTs, 1.0 times its synthesis time {over}")
    assert standing(ICE40, judged(monkeypatch, 0.9, mhz=95.0)) == (
        f"abc9; abc takes 0.900 of its LUTs at 0.950 of its clock, 1.0 times its synthesis time {over}")
    assert standing(ICE40, judged(monkeypatch, 1.05)) == f"abc9, the one with the fewest LUTs {over}"
    assert standing(ICE40, judged(monkeypatch, 0.5, verified=False)) == f"abc9, the one with the fewest LUTs {over}"
    assert standing(ICE40, judged(monkeypatch, 0.9, mhz=80.0, seconds=5.0)) == (
        f"abc9, the one with the least LUTs times clock period {over}; the smallest, abc: 0.900 of its LUTs at 0.800 "
        "of its clock, 2.5 times its synthesis time")


@pytest.mark.parametrize(("mhz", "best", "said"), [
    (80.0, "abc9", "abc9, the one with the least LUTs times clock period over 1 operator with Yosys 0.70; the "
                   "smallest, abc: 0.900 of its LUTs at 0.800 of its clock (timed on other families), 1.0 times its "
                   "synthesis time"),
    (99.0, "abc", "abc9; abc takes 0.900 of its LUTs at 0.990 of its clock (timed on other families), 1.0 times "
                  "its synthesis time over 1 operator with Yosys 0.70"),
])
def test_where_nothing_is_timed_the_clocks_of_other_families_count(mhz, best, said, monkeypatch):
    xc7 = replace(TARGETS["xc7"], recipes=ICE40.recipes)
    untimed = made({"int4": [row("abc9", 100, 1.0), row("abc", 90, 0.9)]}, monkeypatch, xc7)
    found = overlaid(judged(monkeypatch, 0.9, mhz=mhz), untimed)
    assert (winner(xc7, found), standing(xc7, found)) == (best, said)
    assert winner(xc7, untimed) == "abc"


def test_standing_is_silent_about_other_recipes(monkeypatch):
    found = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch)
    changed = replace(ICE40, recipes={**ICE40.recipes, "abc": Recipe(name="abc", synth="synth_ice40 -x", reason="new")})
    for target in (changed, TARGETS["xc7"]):
        assert standing(target, found) == ("abc9; its recipes have changed since they were compared: "
                                           "'python -m synth tune --recipes'")
