"""Mixed precision, layer by layer: an Optuna study that many processes and machines can work on."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

from synth.console import Progress
from synth.explore.budget import Budget
from synth.explore.costing import Assignment, Axis, Costing
from synth.explore.evaluations import evaluate
from synth.explore.evaluator import Evaluator, Prepared, Task
from synth.explore.space import Choice
from synth.explore.storage import load_optuna, open_study
from synth.explore.time_left import TimeLeft
from synth.explore.workers import worker_pool

POPULATION = 24
"""Trials of a generation: small, for a study of a few hundred trials has to have several."""

_LAYER = "format of "
_TECHNIQUE = "technique"
_POLL = 0.5

_MOST_PLACES = 1009
"""Processes beyond which two samplers may have the same seed."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for the formats of each layer; can be pickled, to run in several processes.

    Parameters
    ----------
    evaluator : Evaluator
    folder : str
        Of the store that keeps the evaluations.
    prepared : mapping of int to Prepared
        The networks of the seeds that a trial is evaluated with.
    choices : tuple of Choice
        For every layer.
    techniques : tuple of str
        One of them for all layers.
    costing : Costing
        Of the second objective; the first is accuracy.
    budget : Budget
    storage : str
        URL of a database.
    study : str
        Name in it.
    identity : str
        What tells studies of different requests and versions apart: canonical JSON.
    seed : int
        Of the sampler.
    """

    evaluator: Evaluator
    folder: str
    prepared: Mapping[int, Prepared]
    choices: tuple[Choice, ...]
    techniques: tuple[str, ...]
    costing: Costing
    budget: Budget
    storage: str
    study: str
    identity: str
    seed: int

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that formats are chosen for."""
        return next(iter(self.prepared.values())).names

    def figures(self, assignment: Assignment) -> dict[str, float]:
        """Return the cost on the axis, and the costs that there are limits for."""
        found = {"cost": self.costing.cost(assignment).value}
        if self.budget.max_lut is not None:
            found["lut"] = self.costing.on(Axis.LUT).cost(assignment).value
        if self.budget.max_bytes is not None:
            found["bytes"] = self.costing.on(Axis.BYTES).cost(assignment).value
        return found

    def parameters(self, assignment: Assignment, technique: str) -> dict[str, str]:
        """Return the parameters of the trial that tries an assignment."""
        given = {f"{_LAYER}{layer}": choice.label for layer, choice in assignment}
        return {**given, _TECHNIQUE: technique} if len(self.techniques) > 1 else given


@dataclass(frozen=True, kw_only=True)
class Found:
    """A trial of a study.

    Parameters
    ----------
    number : int
    assignment : tuple of (str, Choice)
    technique : str
    accuracy : float
        Mean over the seeds of the search.
    cost : float
    excess : mapping of str to float
        By which share limits are exceeded.
    """

    number: int
    assignment: Assignment
    technique: str
    accuracy: float
    cost: float
    excess: Mapping[str, float]

    @property
    def is_feasible(self) -> bool:
        """Whether it is within the budget."""
        return all(value <= 0 for value in self.excess.values())


def search(spec: Search, *, trials: int, jobs: int, first: Sequence[tuple[Assignment, str]],
           progress: Progress) -> list[Found]:
    """Run a study until it has so many trials, and return all that it has.

    Parameters
    ----------
    spec : Search
    trials : int
        Complete trials to have in the end, those of earlier runs and of other processes included; several processes
        may each add the one they have begun.
    jobs : int
        Processes.
    first : sequence of (assignment, technique)
        What a study tries before it chooses by itself; what it has tried before is left out.
    progress : Progress
        Told of each trial.

    Raises
    ------
    UsageError
        If the study was made by another request or version, or the storage is not the URL of a database.
    ToolMissing
        If Optuna, or the database's driver, is not installed.
    StorageError
        If the database cannot be used.
    """
    with open_study(spec.storage, spec.study, identity=spec.identity) as study:
        study.sampler = _sampler(spec, study, 0)
        done = len(_complete(study))
        if done < trials:  # those that a study has already are not tried twice: one killed in between has some alone
            for assignment, technique in first:
                study.enqueue_trial(spec.parameters(assignment, technique), skip_if_exists=True)
        for _ in range(min(done, trials)):
            progress.advance()
        left = TimeLeft(max(0, trials - done))
        if done < trials and jobs == 1:
            _optimize(study, spec, trials, lambda: progress.advance(left.step("trials")))
        elif done < trials:
            _share(study, spec, trials, jobs, lambda: progress.advance(left.step("trials")))
        return [_found(spec, trial) for trial in _complete(study)]


def _share(study: Any, spec: Search, trials: int, jobs: int, step: Callable[[], None]) -> None:
    """Let processes work on a study, and count what they and others add to it."""
    counted = len(_complete(study))
    with worker_pool(jobs) as pool:
        running = {pool.submit(_work, spec, place, trials) for place in range(1, jobs + 1)}
        while running:
            finished, running = wait(running, timeout=_POLL)
            for future in finished:
                future.result()
            now = min(len(_complete(study)), trials)
            for _ in range(now - counted):
                step()
            counted = max(now, counted)


def _work(spec: Search, place: int, trials: int) -> None:
    """Take part in a study, in a process of its own."""
    with open_study(spec.storage, spec.study, identity=spec.identity) as study:
        study.sampler = _sampler(spec, study, place)
        _optimize(study, spec, trials, lambda: None)


def _sampler(spec: Search, study: Any, place: int) -> Any:
    """Return the sampler of one process; each has its own seed, or all would try the same.

    So has each run of a study: one that goes on would draw once more what it drew at its beginning.
    """
    begun = len(study.get_trials(deepcopy=False))
    return load_optuna().samplers.NSGAIISampler(population_size=POPULATION,
                                                seed=(spec.seed + place + _MOST_PLACES * begun) % (1 << 32))


def _complete(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    found: list[Any] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return found


def _optimize(study: Any, spec: Search, trials: int, step: Callable[[], None]) -> None:
    from optuna.study import MaxTrialsCallback

    if len(_complete(study)) >= trials:
        return

    def count(_study: Any, _trial: Any) -> None:
        step()

    study.optimize(lambda trial: _objective(spec, trial), callbacks=[MaxTrialsCallback(trials), count])


def _objective(spec: Search, trial: Any) -> tuple[float, float]:
    labels = {choice.label: choice for choice in spec.choices}
    assignment = tuple((layer, labels[trial.suggest_categorical(f"{_LAYER}{layer}", list(labels))])
                       for layer in spec.layers)
    technique = spec.techniques[0]
    if len(spec.techniques) > 1:
        technique = trial.suggest_categorical(_TECHNIQUE, list(spec.techniques))
    outcomes = [evaluate(spec.evaluator, spec.folder, prepared,
                         Task(seed=seed, assignment=assignment, technique=technique))
                for seed, prepared in spec.prepared.items()]
    accuracies = [0.0 if outcome.accuracy is None else outcome.accuracy for outcome in outcomes]
    figures = {**spec.figures(assignment), "accuracy": sum(accuracies) / len(accuracies)}
    # Kept in the trial: whoever reads the database, optuna-dashboard among them, sees what was found.
    trial.set_user_attr("accuracies", accuracies)
    trial.set_user_attr("figures", figures)
    for name, excess in spec.budget.excesses(figures).items():
        trial.set_constraint(name, excess)
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        trial.set_user_attr("error", errors[0])
    return figures["accuracy"], figures["cost"]


def _found(spec: Search, trial: Any) -> Found:
    labels = {choice.label: choice for choice in spec.choices}
    figures = trial.user_attrs["figures"]
    return Found(number=trial.number,
                 assignment=tuple((layer, labels[trial.params[f"{_LAYER}{layer}"]]) for layer in spec.layers),
                 technique=trial.params.get(_TECHNIQUE, spec.techniques[0]), accuracy=figures["accuracy"],
                 cost=figures["cost"], excess=spec.budget.excesses(figures))
