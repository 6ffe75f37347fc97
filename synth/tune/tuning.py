"""A campaign of trials: the LUTs of every structure of every subject on every target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hw.recorded import by_rule
from synth.cost.campaign import Campaign
from synth.cost.journal import Claims, Journal
from synth.cost.measure import Settings
from synth.operations.structures import structures_of
from synth.targets import Target
from synth.tune.records import Choice, Records, Way
from synth.tune.subject import Subject
from synth.tune.trial import Result, Task, Trial, expected_conditions, measure


@dataclass(frozen=True)
class Place:
    """A trial, and the key of its result.

    Parameters
    ----------
    trial : Trial
    key : str
    """

    trial: Trial
    key: str

    @property
    def circuit(self) -> str:
        """What is measured, in words."""
        return self.trial.circuit

    @property
    def target(self) -> str:
        """Name of the device family."""
        return self.trial.target


class Tuning(Campaign[Place, Result]):
    """Subjects on targets, of whose structures those that the journal lacks are measured.

    Parameters
    ----------
    subjects : iterable of Subject
    targets : sequence of Target
    settings : Settings
        Without seeds: LUTs are what Yosys counts.
    journal : Journal
    claims : Claims
    retry : bool
        Whether trials that failed before are tried again.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """

    def __init__(self, subjects: Iterable[Subject], targets: Sequence[Target], settings: Settings, *,
                 journal: Journal[Result], claims: Claims, retry: bool = False) -> None:
        self._ways = {target.name: expected_conditions(target.name, settings) for target in targets}
        self._by_subject = {subject: list(self._trials(subject)) for subject in subjects}
        super().__init__(self._by_subject.values(), measure=measure, task_of=partial(_task, settings), journal=journal,
                         claims=claims, has_failed=lambda result: result.reason is not None, retry=retry)

    def records(self) -> Records:
        """Return the table, without clocks, of the subjects and targets of which every structure is measured now."""
        ways = {target: Way.of(target, conditions) for target, conditions in self._ways.items()}
        return Records(
            choice for subject, places in self._by_subject.items() for target in self._ways
            if (choice := self._choice(subject, target, places, ways[target])) is not None)

    def _choice(self, subject: Subject, target: str, places: Sequence[Place], way: Way) -> Choice | None:
        results = [self._journal.get(place.key) for place in places if place.target == target]
        found = [result for result in results if result is not None]
        if len(found) < len(results):
            return None
        order = [structure.value for structure in by_rule(structures_of(subject.operation().model), target)]
        found.sort(key=lambda result: order.index(result.trial.structure))
        luts = {result.trial.structure: result.count for result in found}
        return Choice(subject=subject, target=target, luts=luts, way=way)

    def _trials(self, subject: Subject) -> Iterator[Place]:
        for structure in structures_of(subject.operation().model):
            for target, conditions in self._ways.items():
                trial = Trial(subject=subject, structure=structure.value, target=target)
                yield Place(trial, trial.key_of(conditions))


def _task(settings: Settings, places: list[Place]) -> Task:
    return Task(trials=tuple(place.trial for place in places), settings=settings)
