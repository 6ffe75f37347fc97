"""A sweep: what is missing is measured once, by many workers, in any number of sweeps at a time, whatever stops one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synth.console import Progress
from synth.cost.campaign import Campaign
from synth.cost.journal import Claims, Entry, Journal
from synth.cost.measure import Settings, Task, expected_conditions, key_of, measure
from synth.cost.point import Point
from synth.cost.table import Failed, Table
from synth.cost.workers import Workers
from synth.targets import Target


@dataclass(frozen=True)
class _Place:
    """A point on a target, and the key of its row."""

    point: Point
    target: str
    key: str

    @property
    def circuit(self) -> str:
        return self.point.key()


class Sweep:
    """Points on targets, of which those that the journal lacks are measured.

    Parameters
    ----------
    points : iterable of Point
    targets : sequence of Target
    settings : Settings
    journal : Journal
    claims : Claims
    retry : bool
        Whether points that failed before are tried again.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """

    def __init__(self, points: Iterable[Point], targets: Sequence[Target], settings: Settings, *,
                 journal: Journal[Entry], claims: Claims, retry: bool = False) -> None:
        self._settings, self._journal = settings, journal
        self._places = [
            _Place(point, target.name, key_of(point, target.name, expected_conditions(point, target, settings)))
            for point in dict.fromkeys(points) for target in targets]
        self._failed_before = {} if not retry else {
            place.key: entry for place in self._places
            if (entry := journal.get(place.key)) is not None and isinstance(entry.row, Failed)}
        self._campaign = Campaign(_by_point(self._places), task_of=self._task, is_done=self._is_done,
                                  journal=journal, claims=claims)

    @property
    def total(self) -> int:
        """How many rows the sweep has in the end."""
        return self._campaign.total

    @property
    def missing(self) -> int:
        """How many of them were not in the journal when it began."""
        return self._campaign.missing

    @property
    def measured(self) -> int:
        """How many rows this sweep has measured itself."""
        return self._campaign.measured

    def table(self) -> Table:
        """Return those of the rows that the journal has now."""
        entries = [entry for place in self._places if (entry := self._journal.get(place.key)) is not None]
        return Table((entry.row, entry.conditions) for entry in entries)

    def run(self, workers: Workers, progress: Progress) -> None:
        """Measure what is missing; each row is in the journal as soon as its point is measured.

        Parameters
        ----------
        workers : Workers
        progress : Progress
            Advanced by each row.

        Raises
        ------
        SynthError
            If the journal or a worker's store cannot be written, a worker is lost, or works with other tools or code.
        KeyboardInterrupt
            On Ctrl-C.
        """
        self._campaign.run(measure, workers, progress)

    def _task(self, places: list[_Place]) -> Task:
        return Task(point=places[0].point, targets=tuple(place.target for place in places), settings=self._settings)

    def _is_done(self, place: _Place) -> bool:
        entry = self._journal.get(place.key)
        return entry is not None and entry is not self._failed_before.get(place.key)


def _by_point(places: Iterable[_Place]) -> list[list[_Place]]:
    """Group places by their point, whose circuit is then made and its expected results computed once."""
    groups: dict[Point, list[_Place]] = {}
    for place in places:
        groups.setdefault(place.point, []).append(place)
    return list(groups.values())
