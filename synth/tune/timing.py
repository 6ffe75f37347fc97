"""A campaign of placements: the clocks of the structures between which a count of LUTs does not decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from hw.recorded import contenders
from synth.cost.campaign import Campaign
from synth.cost.journal import Claims, Journal
from synth.cost.measure import Settings
from synth.cost.table import Conditions
from synth.tune.clock import Clock, clock_conditions, clock_key, measure_clocks
from synth.tune.records import Choice, Records
from synth.tune.trial import Task, Trial
from synth.tune.tuning import Place


class Timing(Campaign[Place, Clock]):
    """Choices by LUTs alone, of whose contenders those that the journal lacks are placed.

    A structure that has no other one near it is not placed, nor is any where the target's placements cannot be timed.

    Parameters
    ----------
    choices : iterable of Choice
        With the LUTs of every structure.
    settings : Settings
        With the seeds of placement.
    journal : Journal
        Of clocks.
    claims : Claims
    retry : bool
        Whether placements that failed before are tried again.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """

    def __init__(self, choices: Iterable[Choice], settings: Settings, *, journal: Journal[Clock], claims: Claims,
                 retry: bool = False) -> None:
        choices = list(choices)
        self._conditions: dict[str, Conditions] = {
            target: conditions for target in dict.fromkeys(choice.target for choice in choices)
            if (conditions := clock_conditions(target, settings)) is not None}
        self._contests = [(choice, self._contest(choice)) for choice in choices]
        super().__init__([places for _, places in self._contests if places], measure=measure_clocks,
                         task_of=lambda places: Task(trials=tuple(place.trial for place in places), settings=settings),
                         journal=journal, claims=claims, has_failed=lambda clock: clock.reason is not None, retry=retry)

    def places_on(self, target: str) -> bool:
        """Whether structures are placed on a target."""
        return target in self._conditions

    def records(self) -> Records:
        """Return the table of those choices for which every clock that is wanted is measured now."""
        return Records(found for choice, places in self._contests
                       if (found := self._decided(choice, places)) is not None)

    def _decided(self, choice: Choice, places: list[Place]) -> Choice | None:
        if not places:
            return choice
        found = [clock for place in places if (clock := self._journal.get(place.key)) is not None]
        if len(found) < len(places):
            return None
        return dataclasses.replace(choice, mhz={clock.trial.structure: clock.value for clock in found},
                                   way=choice.way.timed(self._conditions[choice.target]))

    def _contest(self, choice: Choice) -> list[Place]:
        """Return the placements between which the clocks have to decide; none where the LUTs do."""
        conditions, names = self._conditions.get(choice.target), contenders(choice.luts)
        if conditions is None or len(names) < 2:
            return []
        trials = [Trial(subject=choice.subject, structure=name, target=choice.target) for name in names]
        return [Place(trial, clock_key(trial, conditions)) for trial in trials]
