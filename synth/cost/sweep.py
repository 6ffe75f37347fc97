"""A sweep: what is missing is measured once, by many workers, in any number of sweeps at a time, whatever stops one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from synth.cost.campaign import Campaign
from synth.cost.journal import Claims, Entry, Journal
from synth.cost.measure import Settings, Task, expected_conditions, key_of, measure
from synth.cost.point import Point
from synth.cost.table import Failed, Measured, Table
from synth.targets import TARGETS, Target


@dataclass(frozen=True)
class _Place:
    """A point on a target, and the key of its row."""

    point: Point
    target: str
    key: str

    @property
    def circuit(self) -> str:
        return self.point.key()


class Sweep(Campaign[_Place, Entry]):
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
        places = [_Place(point, target.name, key_of(point, target.name, expected_conditions(point, target, settings)))
                  for point in dict.fromkeys(points) for target in targets]
        super().__init__(_by_point(places), measure=measure, task_of=partial(_task, settings), journal=journal,
                         claims=claims, has_failed=lambda entry: isinstance(entry.row, Failed), retry=retry)

    def table(self) -> Table:
        """Return those of the rows that the journal has now."""
        return Table((entry.row, entry.conditions) for entry in self.entries())


def present_entries(table: Table, settings: Settings) -> Iterator[Entry]:
    """Yield a table's measured rows that a sweep would measure in the same way: with this code, these tools, so many.

    Parameters
    ----------
    table : Table
    settings : Settings
        Of the sweep.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    for row, conditions in table:
        target = TARGETS.get(row.target)
        if target is None or not isinstance(row, Measured):
            continue
        expected = expected_conditions(row.point, target, settings)
        hidden = target.script(dsp=row.point.dsp, hide_names=True)  # taken where Yosys mistakes the design's names
        if conditions in (expected, dataclasses.replace(expected, recipe=hidden)):
            yield Entry(key=key_of(row.point, row.target, expected), row=row, conditions=conditions)


def _task(settings: Settings, places: list[_Place]) -> Task:
    return Task(point=places[0].point, targets=tuple(place.target for place in places), settings=settings)


def _by_point(places: Iterable[_Place]) -> list[list[_Place]]:
    """Group places by their point, whose circuit is then made and its expected results computed once."""
    groups: dict[Point, list[_Place]] = {}
    for place in places:
        groups.setdefault(place.point, []).append(place)
    return list(groups.values())
