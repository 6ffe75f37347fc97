"""The clock of one structure of one operator on one target, by placement, and what the journal keeps of it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from synth import flow
from synth.build import Outcome
from synth.cost.journal import Codec
from synth.cost.measure import Settings, reason_of
from synth.cost.table import Conditions, Reason
from synth.store import digest_of
from synth.targets import TARGETS
from synth.tune.subject import Subject
from synth.tune.trial import Task, Trial, expected_conditions, message_of, run_trials

Json = dict[str, Any]

NO_PATH = "no path"
"""What is recorded where nextpnr names no clock: nothing leads from a register to another one."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What came out of the placements of a trial; without a number of MHz there is no path to time, or a reason.

    Parameters
    ----------
    key : str
        See :func:`clock_key`.
    trial : Trial
    mhz : float or None
        Median Fmax over the seeds, between registers, as :mod:`synth.bench.area` has it.
    reason : Reason or None
        Why the circuit could not be placed.
    message : str
        One line about the failure, in the words of the tool where it is the tool's.
    conditions : Conditions
        Without vectors: nothing is run.
    """

    key: str
    trial: Trial
    mhz: float | None = None
    reason: Reason | None = None
    message: str = ""
    conditions: Conditions

    @property
    def value(self) -> float | str:
        """The clock in MHz, or why there is none."""
        if self.mhz is not None:
            return self.mhz
        return NO_PATH if self.reason is None else self.reason.value


def _to_json(clock: Clock) -> Json:
    return {**vars(clock), "reason": None if clock.reason is None else clock.reason.value,
            "trial": {**vars(clock.trial), "subject": clock.trial.subject.to_json()},
            "conditions": dataclasses.asdict(clock.conditions)}


def _from_json(document: Json) -> Clock:
    trial, reason = document["trial"], document["reason"]
    return Clock(**{**document, "reason": None if reason is None else Reason(reason),
                    "conditions": Conditions.from_json(document["conditions"]),
                    "trial": Trial(**{**trial, "subject": Subject.from_json(trial["subject"])})})


CLOCKS = Codec(to_json=_to_json, from_json=_from_json)
"""Of the journal that clocks are kept in."""


def is_timed(target: str) -> bool:
    """Whether there is a placer for a family, and its Fmax can be trusted."""
    rules = TARGETS[target].place_and_route
    return rules is not None and not rules.fmax_unknown


def clock_conditions(target: str, settings: Settings) -> Conditions | None:
    """Return how clocks are going to be measured on a target; None if they cannot be, with the tools installed here.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    if not is_timed(target):
        return None
    settings = dataclasses.replace(settings, vector_seed=0, samples=0)  # a clock depends on no vectors
    conditions = expected_conditions(target, settings)
    return None if conditions.device is None else conditions


def clock_key(trial: Trial, conditions: Conditions) -> str:
    """Return SHA-256 of a trial and of how its clock is going to be measured."""
    return digest_of("clock 1", json.dumps(trial.subject.to_json()), trial.structure, trial.target,
                     json.dumps(dataclasses.asdict(conditions)))


def measure_clocks(task: Task) -> list[Clock]:
    """Place the circuits of trials with each of the settings' seeds, with what the store of this machine already holds.

    A failure that says something of the circuit (it does not fit, a tool gives up on it or takes too long) is a result.
    The circuits are those that :func:`synth.tune.trial.measure` has checked.

    Raises
    ------
    SynthError
        As there.
    """
    return run_trials(task, _clock, check=False)


def _clock(trial: Trial, outcome: Outcome, settings: Settings) -> Clock:
    # Where this machine has no placer, a Clock without a device: the campaign refuses it as that of another machine.
    conditions = clock_conditions(trial.target, settings) or expected_conditions(trial.target, settings)
    key = clock_key(trial, conditions)
    if outcome.error is not None:
        return Clock(key=key, trial=trial, reason=reason_of(outcome.error), conditions=conditions,
                     message=message_of(outcome.error))
    fmax = flow.fmax_summary(outcome.placed)
    return Clock(key=key, trial=trial, mhz=None if fmax is None else fmax["median"], conditions=conditions)
