"""One structure of one operator on one target: what a worker measures, and what the journal keeps of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from synth import flow
from synth.build import Builder, Outcome, Plan
from synth.console import Console, SilentProgress
from synth.cost.journal import Codec
from synth.cost.measure import Settings, conditions_of, reason_of
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Reason
from synth.errors import StorageError, SynthError, ToolMissing
from synth.store import Store, cache_folder, digest_of
from synth.targets import TARGETS
from synth.tune.subject import Subject

Json = dict[str, Any]

_LOG_NOTE = "; the full log is "
"""What the toolchain's errors end with; a row outlives the log."""

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A structure of a subject on a target.

    Parameters
    ----------
    subject : Subject
    structure, target : str
    """

    subject: Subject
    structure: str
    target: str

    @property
    def circuit(self) -> str:
        """What is measured, in words."""
        return f"{self.subject}, {self.structure}"

    def key_of(self, conditions: Conditions) -> str:
        """Return SHA-256 of the trial and of how it is going to be measured."""
        return digest_of("structure 1", json.dumps(self.subject.to_json()), self.structure, self.target,
                         json.dumps(dataclasses.asdict(conditions)))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of a trial; either LUTs, of a netlist that has been run without a mismatch, or a reason.

    Parameters
    ----------
    key : str
        See :meth:`Trial.key_of`.
    trial : Trial
    lut : int or None
        As Yosys counts.
    reason : Reason or None
        Why there is no count.
    message : str
        One line about the failure, in the words of the tool where it is the tool's.
    vectors : int
        How many results of the netlist were compared with the reference.
    method : str
        How they were chosen: ``exhaustive``, ``corners+random`` or ``sequences``.
    conditions : Conditions
    """

    key: str
    trial: Trial
    lut: int | None = None
    reason: Reason | None = None
    message: str = ""
    vectors: int = 0
    method: str = ""
    conditions: Conditions

    @property
    def count(self) -> int | str:
        """LUTs, or the reason why there is no count."""
        if self.lut is not None:
            return self.lut
        assert self.reason is not None  # a result has one of the two
        return self.reason.value


def _to_json(result: Result) -> Json:
    trial = result.trial
    return {**vars(result), "reason": None if result.reason is None else result.reason.value,
            "trial": {**vars(trial), "subject": trial.subject.to_json()},
            "conditions": dataclasses.asdict(result.conditions)}


def _from_json(document: Json) -> Result:
    trial, reason = document["trial"], document["reason"]
    return Result(**{**document, "reason": None if reason is None else Reason(reason),
                     "conditions": Conditions.from_json(document["conditions"]),
                     "trial": Trial(**{**trial, "subject": Subject.from_json(trial["subject"])})})


RESULTS = Codec(to_json=_to_json, from_json=_from_json)
"""Of the journal that trials are kept in."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Trials of one subject, and how they are measured; one may have been measured by another campaign meanwhile."""

    trials: tuple[Trial, ...]
    settings: Settings


def expected_conditions(target: str, settings: Settings) -> Conditions:
    """Return how trials are going to be measured on a target, with the tools that are installed here.

    The table that is being made does not belong to it: the structure of every trial is asked for.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    return conditions_of(target, settings, dsp=False, sources=sources_digest(records=False))


def measure(task: Task) -> list[Result]:
    """Measure trials of a subject, with what the store of this machine already holds.

    A failure that says something of the circuit (a tool gives up on it or takes too long, its netlist is wrong) is a
    result. What the circuits have to answer is computed once for all of them.

    Raises
    ------
    SynthError
        For what says something of this machine: a tool is not installed, the store cannot be written. It has no
        parts but its message, so that it can come back from another process.
    """
    return run_trials(task, _result, check=True)


def run_trials(task: Task, result_of: Callable[[Trial, Outcome, Settings], R], *, check: bool) -> list[R]:
    """Build the circuits of a task with what the store of this machine already holds; return a result for each trial.

    Parameters
    ----------
    task : Task
    result_of : callable
        From a trial, what a build made of it, and how it was to be measured.
    check : bool
        Whether the netlists are run. What they have to answer is computed once for all of them.

    Raises
    ------
    SynthError
        As :func:`measure` does.
    """
    found: dict[Trial, R] = {}
    try:
        store = Store(cache_folder(), warn=Console().warn)
        try:
            first: Builder | None = None
            for structure in dict.fromkeys(trial.structure for trial in task.trials):
                trials = [trial for trial in task.trials if trial.structure == structure]
                builder = Builder(_plan(trials, task.settings, check=check), store=store, like=first)
                first = first or (builder if check else None)
                with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
                    outcomes = builder.run(Path(folder), SilentProgress())
                found |= {trial: result_of(trial, outcome, task.settings)
                          for trial, outcome in zip(trials, outcomes, strict=True)}
        finally:
            store.close()
    except (StorageError, ToolMissing) as error:
        raise SynthError(str(error)) from None
    return [found[trial] for trial in task.trials]


def _plan(trials: list[Trial], settings: Settings, *, check: bool) -> Plan:
    """Return the plan of trials of one structure."""
    return Plan(operation=trials[0].subject.operation(trials[0].structure), device=None, seeds=settings.seeds, jobs=1,
                targets=[TARGETS[trial.target] for trial in trials], vector_seed=settings.vector_seed,
                timeout=settings.timeout, samples=settings.samples, check=check)


def message_of(error: SynthError) -> str:
    """Return what a failure's row says."""
    return str(error).split(_LOG_NOTE)[0]


def _result(trial: Trial, outcome: Outcome, settings: Settings) -> Result:
    conditions = expected_conditions(trial.target, settings)
    key = trial.key_of(conditions)
    if outcome.error is not None:
        return Result(key=key, trial=trial, reason=reason_of(outcome.error), conditions=conditions,
                      message=message_of(outcome.error))
    assert outcome.mapped is not None  # what is not mapped has an error
    check = outcome.verification or {}
    if check["mismatches"]:
        return Result(key=key, trial=trial, reason=Reason.MISMATCH, conditions=conditions,
                      message=f"{check['mismatches']:,} of {check['vectors']:,} results of the mapped netlist are "
                              f"wrong, the first: {json.dumps(check['first_mismatch'])}")
    counts = flow.count_cells(outcome.target, outcome.mapped.cells)
    return Result(key=key, trial=trial, lut=counts["lut"], vectors=check["vectors"], method=check["method"],
                  conditions=conditions)
