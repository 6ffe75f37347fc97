"""Each evaluation is made once, in whichever process, and found again by its content."""

import pytest

from synth.console import SilentProgress
from synth.explore.evaluations import Evaluations, Outcome, describe, task_key
from synth.explore.evaluator import Task, uniform
from synth.explore.space import Choice
from synth.store import Store
from tests.support.exploration import BitsEvaluator, evaluations_in

TASKS = [Task(seed=seed, assignment=uniform(Choice(weight=name, activation=name)), technique="plain")
         for seed in (1, 2) for name in ("int4", "int8")]


def evaluations(tmp_path, jobs=1, **changes):
    evaluator = BitsEvaluator(log=str(tmp_path / "log"), **changes)
    made = Evaluations(evaluator, folder=tmp_path / "cache", jobs=jobs, warn=pytest.fail)
    made.prepare([1, 2], SilentProgress())
    return made


@pytest.mark.parametrize("jobs", [1, 2])
def test_outcomes_are_those_of_the_evaluator_and_are_made_once(tmp_path, jobs):
    first = evaluations(tmp_path, jobs)
    outcomes = first.run([*TASKS, TASKS[0]], SilentProgress())
    assert list(outcomes) == TASKS
    evaluator = BitsEvaluator(log=str(tmp_path / "elsewhere"))
    assert [outcomes[task].accuracy for task in TASKS] == [evaluator.accuracy(task) for task in TASKS]
    assert (first.made, first.reused, evaluations_in(tmp_path / "log")) == (4, 0, 4)
    second = evaluations(tmp_path, jobs)
    assert second.run(TASKS, SilentProgress()) == outcomes
    assert (second.made, second.reused, evaluations_in(tmp_path / "log")) == (0, 4, 4)


def test_what_cannot_be_quantized_is_kept_with_its_reason(tmp_path):
    outcomes = evaluations(tmp_path, refused="int4").run(TASKS, SilentProgress())
    assert outcomes[TASKS[0]] == Outcome(accuracy=None, error="Layer 'last' must have another format, not 'int4'")
    assert outcomes[TASKS[1]].accuracy is not None
    assert evaluations(tmp_path, refused="int4").run(TASKS, SilentProgress()) == outcomes


def test_another_version_evaluates_anew(tmp_path):
    evaluations(tmp_path).run(TASKS, SilentProgress())
    evaluations(tmp_path, version="2").run(TASKS, SilentProgress())
    assert evaluations_in(tmp_path / "log") == 8


def test_keys_differ_in_all_that_an_accuracy_depends_on(tmp_path):
    evaluator = BitsEvaluator(log="x")
    prepared = evaluator.prepare(1)
    task = TASKS[0]
    others = [
        task_key(BitsEvaluator(log="x", version="2"), prepared, task),
        task_key(evaluator, evaluator.prepare(2), task),
        task_key(evaluator, prepared, Task(seed=1, assignment=task.assignment, technique="gptq")),
        task_key(evaluator, prepared, Task(seed=2, assignment=task.assignment, technique="plain")),
        *(task_key(evaluator, prepared, Task(seed=1, technique="plain", assignment=assignment)) for assignment in (
            (("first", task.assignment[0][1]),), uniform(Choice(weight="int4", activation="int8")),
            uniform(Choice(weight="int4", activation="int4", power_of_two=True)))),
        task_key(evaluator, prepared, task)]
    assert len(set(others)) == len(others)
    assert others[-1] == task_key(evaluator, prepared, task)


def test_a_damaged_outcome_is_made_again(tmp_path):
    import sqlite3

    first = evaluations(tmp_path)
    outcomes = first.run(TASKS, SilentProgress())
    database = sqlite3.connect(tmp_path / "cache" / "store.sqlite")
    database.execute("UPDATE records SET body = replace(body, '0.', '0.1') WHERE key = ?", (first.key(TASKS[0]),))
    database.commit()
    database.close()
    warnings = []
    second = Evaluations(BitsEvaluator(log=str(tmp_path / "log")), folder=tmp_path / "cache", jobs=1,
                         warn=warnings.append)
    second.prepare([1, 2], SilentProgress())
    assert second.run(TASKS, SilentProgress()) == outcomes
    assert second.made == 1
    assert "Store record must have the digest it was stored with" in warnings[0]


def test_an_outcome_that_another_process_made_meanwhile_is_taken(tmp_path):
    from synth.explore.evaluations import KIND, evaluate

    made = evaluations(tmp_path)
    store = Store(tmp_path / "cache", warn=pytest.fail)
    store.put(made.key(TASKS[0]), KIND, {"accuracy": 0.125, "error": ""})
    store.close()
    evaluator = BitsEvaluator(log=str(tmp_path / "log"))
    assert evaluate(evaluator, str(tmp_path / "cache"), evaluator.prepare(1), TASKS[0]).accuracy == 0.125
    assert evaluations_in(tmp_path / "log") == 0


def test_progress_names_the_task_and_the_time_left(tmp_path, monkeypatch):
    from synth.explore import time_left

    monkeypatch.setattr(time_left, "_PAUSE", 0.0)
    said = []

    class Progress(SilentProgress):
        def advance(self, description=""):
            said.append(description)

    evaluations(tmp_path).run(TASKS, Progress())
    assert said[0] == "int4, plain, seed 1: 1 of 4"
    assert said[1].startswith("int8, plain, seed 1: 2 of 4, about ")
    assert said[-1] == "int8, plain, seed 2: 4 of 4"


def test_tasks_are_described():
    mixed = Task(seed=3, technique="gptq", assignment=(("a", Choice(weight="int4", activation="int4")),
                                                       ("b", Choice(weight="int8", activation="int8"))))
    assert describe(mixed) == "2 formats mixed, gptq, seed 3"
