"""Evaluations in several processes, each kept by content, so that none is made twice and a kill loses none."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.console import Progress
from synth.explore.evaluator import Evaluator, Prepared, Task, canonical
from synth.explore.time_left import TimeLeft
from synth.explore.workers import worker_pool
from synth.store import Store, digest_of

KIND = "accuracy"
"""Kind of the records in the store."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task: its accuracy, or why there is none.

    Parameters
    ----------
    accuracy : float or None
        0 to 1.
    error : str
        Why the network cannot be quantized so; empty if it can.
    """

    accuracy: float | None
    error: str = ""


class Evaluations:
    """Evaluates tasks, or finds their earlier outcomes in the store.

    Parameters
    ----------
    evaluator : Evaluator
    folder : Path
        Of the store.
    jobs : int
        Processes; with one, all is done in this one.
    warn : callable
        Receives a line when the store holds something damaged.
    """

    def __init__(self, evaluator: Evaluator, *, folder: Path, jobs: int, warn: Callable[[str], None]) -> None:
        self._evaluator, self._warn = evaluator, warn
        self.folder, self.jobs = folder, jobs
        self._prepared: dict[int, Prepared] = {}
        self.reused = 0
        """Tasks whose outcome was in the store."""
        self.made = 0
        """Tasks that were evaluated."""

    def prepare(self, seeds: Iterable[int], progress: Progress) -> dict[int, Prepared]:
        """Return the float networks of the seeds."""
        missing = [seed for seed in dict.fromkeys(seeds) if seed not in self._prepared]
        left = TimeLeft(len(missing))

        def keep(index: int, prepared: Prepared) -> None:
            self._prepared[missing[index]] = prepared
            progress.advance(left.step(f"network of seed {missing[index]}"))

        self._each(_prepare, [(self._evaluator, seed) for seed in missing], keep)
        return {seed: self._prepared[seed] for seed in seeds}

    def key(self, task: Task) -> str:
        """Return the digest of everything that a task's accuracy depends on; its seed must be prepared."""
        return task_key(self._evaluator, self._prepared[task.seed], task)

    def run(self, tasks: Sequence[Task], progress: Progress) -> dict[Task, Outcome]:
        """Return the outcome of every task; ``progress`` is told of each."""
        outcomes: dict[Task, Outcome] = {}
        store = Store(self.folder, warn=self._warn)
        try:
            for task in dict.fromkeys(tasks):
                if (record := store.get(self.key(task))) is not None:
                    outcomes[task] = Outcome(**record)
                    progress.advance()
        finally:
            store.close()
        missing = [task for task in dict.fromkeys(tasks) if task not in outcomes]
        self.reused += len(outcomes)
        left = TimeLeft(len(missing))

        def keep(index: int, outcome: Outcome) -> None:
            task = missing[index]
            outcomes[task] = outcome
            self.made += 1
            progress.advance(left.step(describe(task)))

        self._each(evaluate, [(self._evaluator, str(self.folder), self._prepared[task.seed], task)
                              for task in missing], keep)
        return {task: outcomes[task] for task in tasks}

    def _each(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]],
              keep: Callable[[int, Any], None]) -> None:
        if self.jobs == 1 or len(calls) < 2:
            for index, call in enumerate(calls):
                keep(index, function(*call))
            return
        with worker_pool(min(self.jobs, len(calls))) as pool:
            places = {pool.submit(function, *call): index for index, call in enumerate(calls)}
            for future in as_completed(places):
                keep(places[future], future.result())


def task_key(evaluator: Evaluator, prepared: Prepared, task: Task) -> str:
    """Return the digest of everything that a task's accuracy depends on."""
    return digest_of(KIND, canonical(evaluator.identity()), prepared.digest, canonical(task.to_json()))


def describe(task: Task) -> str:
    """Name a task for a line of progress."""
    labels = list(dict.fromkeys(choice.label for _, choice in task.assignment))
    formats = labels[0] if len(labels) == 1 else f"{len(labels)} formats mixed"
    return f"{formats}, {task.technique}, seed {task.seed}"


def evaluate(evaluator: Evaluator, folder: str, prepared: Prepared, task: Task) -> Outcome:
    """Evaluate one task, in whichever process this is, and store its outcome at once."""
    key = task_key(evaluator, prepared, task)
    store = Store(Path(folder), warn=lambda _text: None)
    try:
        # Another process may have been faster.
        if (record := store.get(key)) is not None:
            return Outcome(**record)
        try:
            outcome = Outcome(accuracy=evaluator.accuracy(task))
        except (ValueError, TypeError) as error:  # a format that a layer cannot have, in the words of sw.ptq
            outcome = Outcome(accuracy=None, error=str(error))
        store.put(key, KIND, {"accuracy": outcome.accuracy, "error": outcome.error})
        return outcome
    finally:
        store.close()


def _prepare(evaluator: Evaluator, seed: int) -> Prepared:
    return evaluator.prepare(seed)
