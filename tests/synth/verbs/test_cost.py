import json
import subprocess
import sys

import pytest

from synth.cost import point
from synth.cost import table as table_file
from synth.cost.evaluate import fit_model
from synth.cost.point import Point
from synth.verbs import cost
from tests.support.cli import call, environment
from tests.support.measured import accumulators, lawful, row, table


@pytest.fixture(scope="module")
def fitted():
    """Return a small table and its model."""
    points = accumulators()
    measured = table(*lawful(points).rows, *lawful(points, "xc7").rows)
    return measured, fit_model(measured)


@pytest.fixture
def files(fitted, tmp_path, monkeypatch):
    """Return the options that name a small table and its model, and keep the user's own rows away."""
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "cache"))
    measured, model = fitted
    measured.save(tmp_path / "table.json")
    model.save(tmp_path / "model.json")
    return ["--table", tmp_path / "table.json", "--model", tmp_path / "model.json"]


def emac(fmt, *more):
    return ["cost", "--op", "emac", "--fmt", fmt, "--out-fmt", "exact", "--terms", "4608", *more]


def test_measured_operator(files, capsys):
    result = call(capsys, *emac("int8"), "--target", "ecp5", *files)
    assert result.code == 0
    assert "measured" in result.out
    assert "predicted" not in result.out
    assert result.err == ""


def test_predicted_operator_is_marked(files, capsys):
    result = call(capsys, *emac("minifloat_e2m4"), "--target", "ecp5,xc7", *files)
    assert result.code == 0
    assert result.out.count("predicted") == 2
    assert "measured" not in result.out
    assert "90 % interval" in result.out
    document = json.loads(call(capsys, *emac("minifloat_e2m4"), "--target", "ecp5", *files, "--json").out)
    only, = document["targets"]
    assert only["provenance"] == "predicted"
    assert only["low"] < only["lut"] < only["high"]
    assert document["point"]["fmt"] == "float7_e2m4fn"


def test_targets_without_measurements_are_named_unless_asked_for(files, capsys):
    result = call(capsys, *emac("int8"), *files)
    assert result.code == 0
    assert "warning: ice40, nexus, gowin, xcup: left out, as too few circuits of emac were measured" in result.err
    result = call(capsys, *emac("int8"), "--target", "ice40", *files)
    assert result.code == 2
    assert "error: Target must be one with enough measured circuits of emac" in result.err
    result = call(capsys, "cost", "--op", "dot", "--fmt", "int8", *files)
    assert result.code == 2
    assert "error: Target must be one with enough measured circuits of dot" in result.err


def test_mac_of_other_formats_is_the_exact_one(files, capsys):
    note = ("costs of mac are tabulated in fixed point alone: for other formats the exact multiply-accumulate, emac, "
            "is meant, not the rounded step that build makes of mac")
    result = call(capsys, "cost", "--op", "mac", "--fmt", "e3m2", "--terms", "4608", "--target", "ecp5", *files)
    assert result.code == 0
    assert note in result.out
    document = json.loads(call(capsys, "cost", "--op", "mac", "--fmt", "int4", "--fmt-b", "e3m2", "--target", "ecp5",
                               *files, "--json").out)
    assert document["point"]["op"] == "emac"
    assert note in document["notes"]
    result = call(capsys, "cost", "--op", "mac", "--fmt", "e3m2", "--accumulator", "e4m3", "--target", "ecp5", *files)
    assert result.code == 2
    assert "error: Formats of mac must be fixed point to have tabulated costs, not 'float6_e3m2fn'" in result.err
    fixed = call(capsys, "cost", "--op", "mac", "--fmt", "int8", "--target", "ecp5", *files)
    assert "circuits of mac to predict others" in fixed.err  # mac itself is meant, of which this table has nothing


def test_extrapolation_is_warned_of(files, capsys):
    result = call(capsys, *emac("float16"), "--target", "ecp5", *files)
    assert result.code == 0
    assert "warning: ecp5: the prediction goes beyond what was measured" in result.err
    assert "exponent bits" not in call(capsys, *emac("minifloat_e2m4"), "--target", "ecp5", *files).err


def test_failures_are_named(files, capsys, tmp_path):
    failed = table_file.Failed(point=Point(op="emac", fmt="minifloat_e2m4", out_fmt="exact", terms=4608),
                               target="ecp5", reason=table_file.Reason.TIMEOUT, message="it took too long")
    measured = table_file.read_table(tmp_path / "table.json")
    way = measured.conditions(measured.rows[0])
    measured.overlaid(table_file.Table([(failed, way)])).save(tmp_path / "table.json")
    result = call(capsys, *emac("minifloat_e2m4"), "--target", "ecp5", *files)
    assert result.code == 0
    assert "warning: measuring it on ecp5 failed: it took too long" in result.err
    assert "predicted" in result.out


def test_explanation(files, capsys):
    result = call(capsys, *emac("minifloat_e2m4"), "--target", "ecp5", *files, "--explain")
    assert "ecp5: nearest measured operators" in result.out
    assert "bits of the sum" in result.out
    assert "corrected by" in result.out
    document = json.loads(call(capsys, *emac("int8"), "--target", "ecp5", *files, "--explain", "--json").out)
    explanation = document["targets"][0]["explanation"]
    assert document["targets"][0]["provenance"] == "measured"
    assert len(explanation["neighbours"]) == 5
    assert explanation["predicted_lut"] == pytest.approx(document["targets"][0]["lut"], rel=0.1)


def test_errors_stand_beside_the_published_formula(files, capsys):
    result = call(capsys, "cost", "--errors", *files)
    assert result.code == 0
    assert "FINN" in result.out
    assert "Other quantities" in result.out
    document = json.loads(call(capsys, "cost", "--errors", "--target", "xc7", *files, "--json").out)
    luts = [item for item in document["errors"] if item["quantity"] == "lut"]
    assert [(item["op"], item["target"]) for item in luts] == [("emac", "xc7")]
    assert luts[0]["left_out"]["format"]["median"] < document["median_target"]
    assert luts[0]["finn"]["median"] > luts[0]["left_out"]["format"]["median"]


def test_missed_targets_are_named(files, capsys, tmp_path):
    points = accumulators(["int3", "int4", "int5", "int6", "int7", "int8", "posit<5,1>", "minifloat_e2m1"])
    wild = table(*(row(point, lut=100 * (1 + index % 3)) for index, point in enumerate(points)))
    fit_model(wild).save(tmp_path / "wild.json")
    result = call(capsys, "cost", "--errors", "--model", tmp_path / "wild.json")
    assert "are missed by emac on ecp5 by format" in result.out


def test_fit_writes_a_model(files, capsys, tmp_path):
    path = tmp_path / "again.json"
    result = call(capsys, "cost", "--fit", *files[:2], "--model", path, "--json")
    assert result.code == 0
    assert json.loads(result.out)["sections"] == 2
    assert path.read_bytes() == (tmp_path / "model.json").read_bytes()


def test_fit_of_too_few_rows_is_refused(capsys, tmp_path):
    table(row(accumulators()[0], lut=5)).save(tmp_path / "few.json")
    result = call(capsys, "cost", "--fit", "--table", tmp_path / "few.json", "--model", tmp_path / "no.json")
    assert result.code == 2
    assert "Table must have at least" in result.err
    assert not (tmp_path / "no.json").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "Option --fmt must be given, unless --errors or --fit asks for something else, not left out"),
    (["--fmt", "int8", "--op", "ad"], "Operation must be one of"),
    (["--fmt", "int8", "--op", "add"], "Operation must be one of multiply, mac, emac, dot to have tabulated costs"),
    (["--fmt", "int8", "--terms", "4"], "Option --terms must be left out for multiply"),
    (["--fmt", "e9x", "--op", "mac"], "e9x"),
    (["--fmt", "int8", "--target", "ecp6"], "Target must be one of"),
    (["--fmt", "int8", "--terms", "0"], "Terms must be a whole number of at least 1, not '0'"),
    (["--fmt", "int8", "--table", "/none/table.json"], "Table must be readable"),
    (["--fmt", "int8", "--model", "/none/model.json"], "Model must be readable"),
    (["--errors", "--model", "/none/model.json"], "Model must be readable"),
])
def test_wrong_requests(arguments, message, capsys):
    result = call(capsys, "cost", *arguments)
    assert result.code in (2, 3)
    assert message in result.err


def test_model_and_table_that_do_not_belong_together_are_noticed(files, capsys, tmp_path, monkeypatch):
    warning = "warning: the model was fitted to another table than the package's"
    from synth.cost import model as model_file

    monkeypatch.setattr(table_file, "SHIPPED", tmp_path / "table.json")
    monkeypatch.setattr(model_file, "SHIPPED", tmp_path / "model.json")
    assert warning not in call(capsys, *emac("int8"), "--target", "ecp5").err
    lawful(accumulators()[:-1]).save(tmp_path / "table.json")
    assert warning in call(capsys, *emac("int8"), "--target", "ecp5").err
    assert warning in call(capsys, "cost", "--errors").err


def test_network_is_costed_with_the_same_table(files, capsys, tmp_path):
    layers = {"layers": [{"name": "fc", "channels": 10, "positions": 1, "terms": 64, "inputs": 64, "groups": 1}]}
    (tmp_path / "layers.json").write_text(json.dumps(layers))
    result = call(capsys, "cost", "--network", tmp_path / "layers.json", "--fmt", "int8", "--target", "ecp5", *files,
                  "--json")
    assert result.code == 0
    assert json.loads(result.out)["targets"][0]["lut"] > 0


def test_an_answer_loads_no_heavy_package(files, tmp_path):
    program = ("import sys; from synth.__main__ import main; code = main(sys.argv[1:]); "
               "heavy = {'torch', 'amaranth', 'scipy', 'sklearn'} & set(sys.modules); "
               "assert not heavy, heavy; sys.exit(code)")
    arguments = [str(item) for item in (*emac("minifloat_e2m4"), "--target", "ecp5", *files)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, text=True, capture_output=True,
                          env=environment(tmp_path / "cache"), timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "predicted" in done.stdout


def test_help_loads_nothing(tmp_path):
    program = ("import sys; from synth.__main__ import main\n"
               "try: main(['cost', '--help'])\n"
               "finally: assert not {'numpy', 'torch', 'amaranth', 'sw.formats'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, text=True, capture_output=True,
                          env=environment(tmp_path / "cache"), timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--explain" in done.stdout


def test_operations_of_the_help_are_those_of_the_table():
    assert cost.OPERATIONS == point.OPERATIONS
