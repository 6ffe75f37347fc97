"""The journal of sweeps loses no row, believes no damaged one, and no point is claimed twice."""

import json
import os
import signal
import subprocess
import sys

import pytest

from synth.cost.journal import Claims, Entry, Journal, user_entries
from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Failed, Measured, Reason
from synth.errors import StorageError
from tests.support.cli import environment

WAY = Conditions(device="hx8k", recipe="synth", sources="0" * 64, seeds=(1, 2), samples=100, vector_seed=1,
                 tools=(("amaranth", "0.5.10", ""),))


def entry(key, lut=10, **changes):
    row = Measured(point=Point(op="dot", fmt="int3", lanes=2), target="ice40", lut=lut, ff=0, carry=1, dsp=0, bram=0,
                   fmax_mhz=None, counted_by="yosys", latency=0, vectors=64, method="exhaustive",
                   rtlil_sha256="0" * 64)
    return Entry(key=key, row=row, conditions=Conditions(**{**vars(WAY), **changes}))


def failure(key):
    row = Failed(point=Point(op="dot", fmt="int4", lanes=2), target="ice40", reason=Reason.DOES_NOT_FIT, message="no")
    return Entry(key=key, row=row, conditions=WAY)


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def journal(tmp_path, warnings):
    return Journal(tmp_path / "cache" / "costs.jsonl", warn=warnings.append)


def reread(journal):
    return Journal(journal.path, warn=pytest.fail)


def test_rows_come_back(journal):
    journal.append([entry("a"), failure("b")])
    journal.append([entry("c", lut=3)])
    for again in (journal, reread(journal)):
        assert list(again) == [entry("a"), failure("b"), entry("c", lut=3)]
        assert again.get("b") == failure("b")
        assert again.get("d") is None


def test_a_later_row_replaces_an_earlier_one(journal):
    journal.append([failure("a"), entry("b"), entry("a", lut=5)])
    assert list(reread(journal)) == [entry("b"), entry("a", lut=5)]


def test_rows_of_other_processes_are_seen(journal):
    other = Journal(journal.path, warn=pytest.fail)
    journal.append([entry("a")])
    assert other.get("a") is None
    other.append([entry("b")])
    assert (other.get("a"), other.get("b")) == (entry("a"), entry("b"))
    assert journal.get("b") is None
    journal.refresh()
    assert journal.get("b") == entry("b")


@pytest.mark.parametrize("cut", [2, 40, 400])
def test_a_line_that_was_cut_short_is_left_out(journal, warnings, cut):
    journal.append([entry("a"), entry("b")])
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    again = Journal(journal.path, warn=pytest.fail)
    assert list(again) == [entry("a")]
    again._warn = warnings.append
    again.append([entry("c")])  # ends the cut line, which then is seen to be damaged
    assert [item.key for item in again] == ["a", "c"]
    assert len(warnings) == 1
    assert "Journal lines must have the digest they were written with, not another: 1 in " in warnings[0]
    assert [item.key for item in Journal(journal.path, warn=warnings.append)] == ["a", "c"]


def test_a_line_without_its_end_is_a_row_once_it_has_one(journal):
    journal.append([entry("a"), entry("b")])
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    again = reread(journal)
    assert list(again) == [entry("a")]
    again.append([entry("c")])
    assert list(again) == list(reread(journal)) == [entry("a"), entry("b"), entry("c")]


def test_an_altered_line_is_measured_again(journal):
    journal.append([entry("a", lut=41), entry("b")])
    journal.path.write_text(journal.path.read_text().replace('\\"lut\\": 41', '\\"lut\\": 14'))
    warnings = []
    assert list(Journal(journal.path, warn=warnings.append)) == [entry("b")]
    assert len(warnings) == 1


@pytest.mark.parametrize("line", ["[]", "{}", "no json", json.dumps({"digest": "", "body": "{}"})])
def test_another_line_is_no_row(journal, line):
    journal.path.parent.mkdir()
    journal.path.write_text(line + "\n")
    warnings = []
    assert list(Journal(journal.path, warn=warnings.append)) == []
    assert len(warnings) == 1


def test_a_journal_that_cannot_be_read_or_written_is_refused(tmp_path, warnings):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="Journal must be readable, not '.*folder'"):
        Journal(tmp_path / "folder", warn=warnings.append)
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "costs.jsonl", warn=warnings.append)
    message = "Cache must be writable, not '.*costs.jsonl' \\(.*\\); NARROWGAUGE_CACHE names another folder"
    with pytest.raises(StorageError, match=message):
        journal.append([entry("a")])


def test_the_users_entries_are_those_of_the_present_code(tmp_path, monkeypatch, warnings):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    assert user_entries() == []
    present = entry("b", sources=sources_digest())
    Journal(tmp_path / "costs.jsonl", warn=warnings.append).append([entry("a"), present])
    assert user_entries() == [(present.row, present.conditions)]


# Claims


def test_a_claim_keeps_others_out_until_it_is_given_up(tmp_path):
    mine, other = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert mine.take("a" * 64)
    assert not other.take("a" * 64)
    assert other.take("b" * 64)
    mine.release("a" * 64, done=False)
    assert other.take("a" * 64)
    other.release_all()
    assert mine.take("a" * 64)
    assert mine.take("b" * 64)


def test_the_file_of_a_claim_goes_when_its_row_is_there(tmp_path):
    claims = Claims(tmp_path / "claims")
    for key in ("a" * 64, "b" * 64):
        assert claims.take(key)
    claims.release("a" * 64, done=True)
    claims.release("b" * 64, done=True)
    assert list((tmp_path / "claims").iterdir()) == []
    assert claims.take("a" * 64)


def test_what_killed_processes_have_left_is_tidied_up(tmp_path):
    mine, other = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    mine.tidy(["a" * 64])  # no folder yet
    for letter in "abc":
        assert other.take(letter * 64)
    other.release("a" * 64, done=False)
    other.release("c" * 64, done=False)
    mine.tidy([letter * 64 for letter in "abd"])  # b is still claimed, c not done
    assert sorted(path.name[0] for path in (tmp_path / "claims").iterdir()) == ["b", "c"]
    assert mine.take("a" * 64)


def test_claims_that_cannot_be_kept_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cache must be writable, not '.*claims'"):
        Claims(tmp_path / "file" / "claims").take("a" * 64)


@pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")
def test_a_claim_ends_with_its_process(tmp_path):
    program = ("import sys, time, pathlib; from synth.cost.journal import Claims; "
               f"claims = Claims(pathlib.Path({str(tmp_path)!r})); "
               "print(claims.take('a' * 64), flush=True); time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                             env=environment(tmp_path))
    assert child.stdout.readline().strip() == "True"
    claims = Claims(tmp_path)
    assert not claims.take("a" * 64)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert claims.take("a" * 64)
