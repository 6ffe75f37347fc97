"""``bench`` measures side by side, says what it could not measure, and never fails for a missing competitor."""

import importlib.util
import json

import pytest

from synth.bench import native, ptq
from synth.errors import ExitCode
from synth.netlist.instruction_set import choose_instruction_set
from tests.support.cli import call
from tests.synth.bench.native_documents import DOCUMENTS

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


def row(reason=None):
    """Return what the bench would have measured; without Brevitas if there is a reason."""
    figures = {"ours_s": 2.0, "ours_cpu_s": 4.0, "brevitas_s": None if reason else 3.0,
               "brevitas_cpu_s": None if reason else 6.0, "ratio": None if reason else 1.5}
    sides = ("ours",) if reason else ("ours", "brevitas")
    return {"format": "int8", "first_last_format": "int8", "images": 4, "size": 32, "batch_size": 64, "repeats": 1,
            "threads": 2, "steps": {"GPTQ": figures, "total": figures}, "versions": dict.fromkeys(sides, "1"),
            "memory": {side: {"start_mib": 100.0, "peak_mib": 1234.0} for side in sides},
            "sqnr_db": {**dict.fromkeys(sides, 20.0), "between": None if reason else 25.0}, "reason": reason}


@pytest.fixture
def measured(monkeypatch):
    """The requests that reach the bench, which answers without measuring."""
    requests = []
    reasons = [None]

    def run(**request):
        requests.append(request)
        return [row(reasons[-1])]

    monkeypatch.setattr(ptq, "run", run)
    return requests, reasons


def test_ptq_reports_steps_memory_and_agreement(capsys, measured):
    result = call(capsys, "bench", "ptq", "--images", "4", "--size", "32", "--repeats", "1", "--quiet")
    assert result.code == 0
    assert "ResNet-18 in int8 (first and last layer int8), 4 images of 32×32, 2 threads" in result.out
    assert "peak memory: ours 1,234 MiB (100 before the first step); brevitas 1,234 MiB (100" in result.out
    assert "outputs against float: ours 20.0 dB; brevitas 20.0 dB; against each other 25.0 dB" in result.out
    request, = measured[0]
    assert {name: request[name] for name in ("formats", "images", "size", "repeats", "seed")} == {
        "formats": list(ptq.FORMATS), "images": 4, "size": 32, "repeats": 1, "seed": 1}


def test_ptq_json_and_defaults(capsys, measured):
    document = json.loads(call(capsys, "bench", "ptq", "--fmt", "int4", "--json", "--quiet").out)
    assert document == {"bench": "ptq", "rows": [row()]}
    request, = measured[0]
    assert (request["formats"], request["images"], request["size"], request["repeats"]) == (["int4"], 256, 64, 3)


def test_ptq_without_brevitas_says_so(capsys, measured):
    measured[1].append("brevitas is not installed: pip install brevitas")
    result = call(capsys, "bench", "ptq", "--quiet")
    assert result.code == 0
    assert "no figures of Brevitas: brevitas is not installed: pip install brevitas" in result.out


@pytest.mark.parametrize(("arguments", "text"), [
    (["ptq", "--fmt", "uint8"], "Format must be a signed integer or an all-finite minifloat of at most 8 bits"),
    (["ptq", "--size", "16"], "Image size must be at least 32, not 16"),
    (["ptq", "--repeats", "0"], "Repeats must be a whole number of at least 1, not '0'"),
    (["ptq", "--elements", "5"], "Option --elements must be left out of the bench ptq, not given; it is for quantize"),
    (["quantize", "--images", "5"], "Option --images must be left out of the bench quantize, not given; it is for ptq"),
    (["speed"], "Bench must be one of quantize, ptq, native, area, not 'speed'"),
])
def test_wrong_requests_are_refused(capsys, measured, arguments, text):
    result = call(capsys, "bench", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert measured[0] == []


@pytest.fixture
def measured_native(monkeypatch):
    """The requests that reach the bench of native code, which answers without measuring."""
    requests = []

    def run(*, parts, **request):
        requests.append({"parts": parts, **request})
        return {part: DOCUMENTS[part] for part in parts}

    monkeypatch.setattr(native, "run", run)
    return requests


def test_native_measures_every_part_by_default(capsys, measured_native):
    document = json.loads(call(capsys, "bench", "native", "--json", "--quiet").out)
    assert document == {"bench": "native", "parts": DOCUMENTS}
    request, = measured_native
    assert request["parts"] == list(native.PARTS)
    assert (request["isa"], request["quick"], request["formats"]) == (choose_instruction_set().value, False, None)
    assert request["threads"] >= 1


def test_native_measures_the_parts_that_are_named(capsys, measured_native):
    result = call(capsys, "bench", "native", "--part", "packing", "--part", "series", "--part", "packing", "--quick",
                  "--isa", "word64", "--threads", "3", "--fmt", "e5m3", "--timeout", "50", "--seed", "4", "--quiet")
    assert result.code == 0
    assert result.out.index("codes to planes and back") < result.out.index("414 against 50 million")
    request, = measured_native
    assert request["parts"] == ["packing", "series"]
    assert {name: request[name] for name in ("isa", "quick", "formats", "threads", "timeout", "seed")} == {
        "isa": "word64", "quick": True, "formats": ["e5m3"], "threads": 3, "timeout": 50.0, "seed": 4}


@pytest.mark.parametrize(("arguments", "text"), [
    (["native", "--part", "speed"], "Part must be one of series, matmul, verification, packing, not 'speed'"),
    (["native", "--isa", "sse"], "Instruction set must be one of avx512, avx2, neon, word64, not 'sse'"),
    (["native", "--fmt", "int8"], "Format of the series must be floating point, such as e5m10, not 'int8'"),
    (["native", "--fmt", "e9"], "Format must be a known name, not 'e9'"),
    (["native", "--part", "packing", "--fmt", "e5m2"], "Option --fmt must be left out of the parts packing, not given; "
                                                       "it is for series"),
    (["native", "--images", "5"], "Option --images must be left out of the bench native, not given; it is for ptq"),
    (["ptq", "--quick"], "Option --quick must be left out of the bench ptq, not given; it is for native and area"),
    (["quantize", "--threads", "2"], "Option --threads must be left out of the bench quantize, not given; it is for "
                                     "native"),
])
def test_wrong_requests_for_native_are_refused(capsys, measured_native, arguments, text):
    result = call(capsys, "bench", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert measured_native == []


@pytest.mark.parametrize(("missing", "text"), [
    ("llvmlite", "Tool llvmlite is not installed; it compiles netlists to native code: pip install "
                 "'narrowgauge[native]'"),
    ("torch", "Tool torch is not installed; it brings the emulation that a matrix product is compared with: pip "
              "install 'narrowgauge[torch]', or another --part")])
def test_native_says_what_is_missing(capsys, monkeypatch, measured_native, missing, text):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    result = call(capsys, "bench", "native")
    assert result.code == ExitCode.TOOL
    assert text in result.err
    assert measured_native == []
