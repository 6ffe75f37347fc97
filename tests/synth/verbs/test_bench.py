"""``bench`` measures side by side, says what it could not measure, and never fails for a missing competitor."""

import importlib.util
import json

import pytest

from synth.errors import ExitCode
from tests.support.cli import call

pytest.importorskip("torch", reason="torch is not installed")


def test_bench_reports_ratios(capsys):
    result = call(capsys, "bench", "quantize", "--elements", "5000", "--fmt", "e4m3", "--fmt", "int8", "--quiet")
    assert result.code == 0
    assert "5,000 float32 elements" in result.out
    assert "float8_e4m3fn" in result.out
    assert "gfloat has no figure for int8 (gfloat has no format int8" in result.out


def test_bench_json_has_every_figure(capsys):
    document = json.loads(call(capsys, "bench", "--elements", "2000", "--fmt", "e5m2", "--json", "--quiet").out)
    assert document["bench"] == "quantize"
    row, = document["rows"]
    assert row["format"] == "float8_e5m2"
    assert row["ours_ms"] > 0
    assert row["copy_ms"] > 0
    assert set(row["competitors"]) == {"torch", "ml_dtypes", "gfloat", "brevitas"}
    for competitor in row["competitors"].values():
        assert (competitor["ms"] is None) == bool(competitor["reason"])


@pytest.mark.parametrize(("arguments", "text"), [
    (["--fmt", "e9m9"], "Format must have at most 16 bits"),
    (["--elements", "0"], "Elements must be a whole number of at least 1, not '0'"),
])
def test_a_wrong_bench_is_refused(capsys, arguments, text):
    result = call(capsys, "bench", "quantize", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err


def test_without_torch_the_pip_line_is_said(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    result = call(capsys, "bench")
    assert result.code == ExitCode.TOOL
    assert "Tool torch is not installed; it brings the quantizers: pip install 'narrowgauge[torch]'" in result.err
