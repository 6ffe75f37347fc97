"""A study finds what an exhaustive search finds, goes on after a kill, and is shared by processes."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from synth.console import SilentProgress
from synth.explore.budget import Budget
from synth.explore.costing import Axis, Costing
from synth.explore.evaluator import Task
from synth.explore.front import pareto_front
from synth.explore.search import POPULATION, Search, search
from synth.explore.space import Choice
from synth.explore.storage import default_storage
from tests.support.cli import ROOT
from tests.support.exploration import LAYERS, BitsEvaluator, cost_of_bits, evaluations_in

optuna = pytest.importorskip("optuna", reason="optuna is not installed")

CHOICES = tuple(Choice(weight=f"int{bits}", activation=f"int{bits}") for bits in (3, 4, 6, 8))


def spec_in(folder, **changes):
    evaluator = changes.pop("evaluator", BitsEvaluator(log=str(folder / "log")))
    values = {"evaluator": evaluator, "folder": str(folder / "cache"), "prepared": {1: evaluator.prepare(1)},
              "choices": CHOICES, "techniques": ("plain",), "budget": Budget(), "study": "study", "seed": 1,
              "storage": default_storage(folder / "cache"), "identity": '{"version": "1"}',
              "costing": Costing(axis=Axis.LUT, target="ecp5", coster=cost_of_bits, layers=LAYERS,
                                 owners=("first", "last"), macs=8)}
    return Search(**{**values, **changes})


def run(spec, trials, jobs=1, first=()):
    return search(spec, trials=trials, jobs=jobs, first=first, progress=SilentProgress())


def best(entries):
    return {entry for entry, front in zip(entries, pareto_front(entries), strict=True) if front}


def test_the_front_of_a_small_space_is_found(tmp_path):
    spec = spec_in(tmp_path, choices=CHOICES[::3], techniques=("plain", "paper"))
    found = run(spec, 30)
    assert len(found) == 30
    every = []
    for assignment in itertools.product(spec.choices, repeat=2):
        for technique in spec.techniques:
            task = Task(seed=1, assignment=tuple(zip(("first", "last"), assignment, strict=True)), technique=technique)
            every.append((spec.figures(task.assignment)["cost"], -spec.evaluator.accuracy(task)))
    assert best([(trial.cost, -trial.accuracy) for trial in found]) == best(every)
    assert all(trial.is_feasible for trial in found)


def test_the_same_seed_searches_the_same(tmp_path):
    def trials(name, seed):
        return [(trial.assignment, trial.accuracy, trial.cost) for trial in run(
            dataclasses.replace(spec_in(tmp_path), study=name, seed=seed), 4)]

    assert trials("a", 1) == trials("b", 1)
    assert trials("c", 2) != trials("b", 1)


def test_what_was_found_beforehand_is_tried_first(tmp_path):
    spec = spec_in(tmp_path, techniques=("plain", "paper"))
    wanted = [(tuple((layer, choice) for layer in ("first", "last")), technique)
              for choice in CHOICES[:2] for technique in ("paper", "plain")]
    found = run(spec, 5, first=wanted)
    assert [(trial.assignment, trial.technique) for trial in found[:4]] == wanted
    assert len(run(spec, 6, first=wanted)) == 6


def test_what_a_kill_left_unsaid_is_tried_after_it(tmp_path, monkeypatch):
    spec = spec_in(tmp_path)
    wanted = [(tuple((layer, choice) for layer in ("first", "last")), "plain") for choice in CHOICES]
    enqueue, count = optuna.Study.enqueue_trial, itertools.count()

    def killed(study, *arguments, **options):
        if next(count) == 2:
            raise KeyboardInterrupt
        enqueue(study, *arguments, **options)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        run(spec, 5, first=wanted)
    found = run(spec, 5, first=wanted)
    assert [(trial.assignment, trial.technique) for trial in found[:4]] == wanted


def test_limits_steer_the_search(tmp_path):
    budget = Budget(max_lut=700, max_bytes=400, min_accuracy=0.9)
    found = run(spec_in(tmp_path, budget=budget), 44)
    for trial in found:
        lut, size = (spec_in(tmp_path).costing.on(axis).cost(trial.assignment).value for axis in (Axis.LUT, Axis.BYTES))
        assert trial.is_feasible == (lut <= 700 and size <= 400 and trial.accuracy >= 0.9)
    # The first generation is drawn at random, all later ones are bred from the best.
    early, late = (sum(sum(max(0.0, excess) for excess in trial.excess.values()) for trial in part) / len(part)
                   for part in (found[:POPULATION], found[POPULATION:]))
    assert late < 0.8 * early, (early, late)


def test_a_choice_that_cannot_be_quantized_has_no_accuracy(tmp_path):
    evaluator = BitsEvaluator(log=str(tmp_path / "log"), refused="int3")
    found = run(spec_in(tmp_path, evaluator=evaluator), 10)
    assert {dict(trial.assignment)["last"].weight for trial in found} > {"int3"}
    for trial in found:
        assert (trial.accuracy == 0) == (dict(trial.assignment)["last"].weight == "int3")


def test_a_study_goes_on_where_it_stopped(tmp_path):
    spec = spec_in(tmp_path)
    first = run(spec, 8)
    counted = []

    class Progress(SilentProgress):
        def advance(self, description=""):
            counted.append(description)

    again = search(spec, trials=12, jobs=1, first=(), progress=Progress())
    assert again[:8] == first
    assert len(again) == len(counted) == 12
    assert run(spec, 12) == again


def test_a_study_that_goes_on_does_not_try_the_same_again(tmp_path):
    spec = spec_in(tmp_path, choices=tuple(Choice(weight=f"int{weight}", activation=f"int{activation}")
                                           for weight in range(3, 9) for activation in range(3, 9)))
    run(spec, 6)
    found = run(spec, 12)
    assert [trial.assignment for trial in found[6:]] != [trial.assignment for trial in found[:6]]
    assert len({trial.assignment for trial in found}) >= 11  # of 1,296: two of twelve meet once in twenty times


def test_two_processes_share_one_study(tmp_path):
    wanted = [(tuple((layer, choice) for layer in ("first", "last")), "plain") for choice in CHOICES]
    found = run(spec_in(tmp_path), 10, jobs=2, first=wanted)
    assert 10 <= len(found) <= 11  # each may have begun one when the last was counted
    assert sorted(trial.number for trial in found) == list(range(len(found)))
    assert {trial.assignment for trial in found} >= {assignment for assignment, _ in wanted}


_CHILD = """
import sys
from pathlib import Path
from tests.support.exploration import BitsEvaluator
from tests.synth.explore.test_search import run, spec_in

folder = Path(sys.argv[1])
print(len(run(spec_in(folder, evaluator=BitsEvaluator(log=str(folder / "log"), delay=float(sys.argv[3]))),
              int(sys.argv[2]))))
"""


def child(folder, trials, delay):
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(folder), str(trials), str(delay)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_killed_study_goes_on(tmp_path):
    process = child(tmp_path, 1000, 0.01)
    deadline = time.monotonic() + 60
    while evaluations_in(tmp_path / "log") < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.communicate()
    spec = spec_in(tmp_path)
    study = optuna.load_study(storage=spec.storage, study_name="study")
    states = [trial.state.name for trial in study.trials]
    study._storage.remove_session()
    kept = states.count("COMPLETE")
    assert kept >= 1
    found = run(spec, kept + 4)
    assert len(found) == kept + 4
    # The killed trial stays as it was until it counts as dead; its evaluations are not made twice.
    assert states.count("RUNNING") <= 1


@pytest.mark.slow
def test_a_killed_trial_is_tried_again(tmp_path, monkeypatch):
    from synth.explore import storage

    monkeypatch.setattr(storage, "_HEARTBEAT", 1)
    monkeypatch.setattr(storage, "_GRACE", 2)
    process = child(tmp_path, 1000, 5.0)
    deadline = time.monotonic() + 60
    spec = spec_in(tmp_path)
    running = []
    while not running and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            study = optuna.load_study(storage=spec.storage, study_name="study")
        except KeyError:
            continue
        running = [trial for trial in study.trials if trial.params]
    process.kill()
    process.communicate()
    # The child wrote its first sign of life with its trial; two seconds later it counts as dead.
    time.sleep(3)
    found = run(spec, 3)
    tried = [trial.params for trial in optuna.load_study(storage=spec.storage, study_name="study").trials
             if trial.state.name == "COMPLETE"]
    assert len(found) == 3
    assert running[0].params in tried
