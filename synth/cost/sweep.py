"""A sweep: what is missing is measured once, by many workers, in any number of sweeps at a time, whatever stops one."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from synth.console import Progress
from synth.cost.journal import Claims, Entry, Journal
from synth.cost.measure import Settings, Task, expected_conditions, key_of, measure
from synth.cost.point import Point
from synth.cost.table import Failed, Table
from synth.cost.workers import Workers
from synth.errors import SynthError
from synth.targets import Target

_POLL_SECONDS = 0.5
"""How often points that another sweep is measuring are looked after."""

_REPORT_SECONDS = 2.0
"""How often the progress is said in words at most."""


@dataclass(frozen=True)
class _Place:
    """A point on a target, and the key of its row."""

    point: Point
    target: str
    key: str


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

    def __init__(self, points: Iterable[Point], targets: Sequence[Target], settings: Settings, *, journal: Journal,
                 claims: Claims, retry: bool = False) -> None:
        self._settings, self._journal, self._claims = settings, journal, claims
        self._places = [
            _Place(point, target.name, key_of(point, target.name, expected_conditions(point, target, settings)))
            for point in dict.fromkeys(points) for target in targets]
        self._failed_before = {} if not retry else {
            place.key: entry for place in self._places
            if (entry := journal.get(place.key)) is not None and isinstance(entry.row, Failed)}
        self._missing = [place for place in self._places if not self._is_done(place)]
        self.measured: int = 0
        """How many rows this sweep has measured itself."""

    @property
    def total(self) -> int:
        """How many rows the sweep has in the end."""
        return len(self._places)

    @property
    def missing(self) -> int:
        """How many of them were not in the journal when it began."""
        return len(self._missing)

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
        waiting = deque(_by_point(self._missing))
        running: dict[Future[list[Entry]], list[_Place]] = {}
        report = _Report(progress, len(self._missing))
        try:
            while waiting or running:
                taken = self._take(waiting, 2 * workers.count - len(running), report)
                for places in taken:
                    task = Task(point=places[0].point, targets=tuple(place.target for place in places),
                                settings=self._settings)
                    with _lost_workers(workers):
                        running[workers.executor.submit(measure, task)] = places
                if not running:  # everything left is being measured by another sweep
                    time.sleep(_POLL_SECONDS)
                    continue
                done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    with _lost_workers(workers):
                        entries = future.result()
                    self._finish(running.pop(future), entries, report)
            self._claims.tidy(place.key for place in self._places)
        finally:
            self._claims.release_all()

    def _take(self, waiting: deque[list[_Place]], count: int, report: _Report) -> list[list[_Place]]:
        """Return up to ``count`` groups of places that are claimed now; what others measure goes to the end."""
        taken: list[list[_Place]] = []
        for _ in range(len(waiting)):
            if len(taken) >= count:
                break
            places = waiting.popleft()
            mine = [place for place in places if self._claims.take(place.key)]
            self._journal.refresh()  # after the claim: whoever had it before has written its row by now
            done = [place for place in places if self._is_done(place)]
            for place in done:
                report.found(place)
                if place in mine:
                    mine.remove(place)
                    self._claims.release(place.key, done=True)
            if mine:
                taken.append(mine)
            others = [place for place in places if place not in mine and place not in done]
            if others:
                waiting.append(others)
        return taken

    def _finish(self, places: list[_Place], entries: list[Entry], report: _Report) -> None:
        """Keep the rows of a point that has been measured."""
        for place, entry in zip(places, entries, strict=True):
            if entry.key != place.key:
                raise SynthError("Worker must have the same narrowgauge, Amaranth, Yosys and nextpnr as this machine, "
                                 f"not others: it measured {place.point.key()} on {place.target} with "
                                 f"{_tools(entry)}")
        self._journal.append(entries)
        self.measured += len(entries)
        for place in places:
            self._claims.release(place.key, done=True)
            report.measured(place)

    def _is_done(self, place: _Place) -> bool:
        entry = self._journal.get(place.key)
        return entry is not None and entry is not self._failed_before.get(place.key)


def _by_point(places: Iterable[_Place]) -> list[list[_Place]]:
    """Group places by their point, whose circuit is then made and its expected results computed once."""
    groups: dict[Point, list[_Place]] = {}
    for place in places:
        groups.setdefault(place.point, []).append(place)
    return list(groups.values())


@contextlib.contextmanager
def _lost_workers(workers: Workers) -> Iterator[None]:
    """Say what the loss of a worker means."""
    try:
        yield
    except workers.lost as error:
        raise SynthError("Worker must live until its point is measured, not be ended from outside, as the lack of "
                         f"memory does ({type(error).__name__}); everything before is kept: the same command goes on, "
                         "--jobs with a lower number takes less memory") from error


def _tools(entry: Entry) -> str:
    tools = ", ".join(f"{name} {version}" for name, version, _ in entry.conditions.tools)
    return f"{tools}, code {entry.conditions.sources[:12]}"


class _Report:
    """Says how many rows there are, at what rate they come, and how long the rest takes at that rate."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = self._measured = 0
        self._begin = time.monotonic()
        self._said = -_REPORT_SECONDS

    def found(self, place: _Place) -> None:
        """Count a row that another sweep has measured."""
        self._count(place)

    def measured(self, place: _Place) -> None:
        """Count a row that this sweep has measured."""
        self._measured += 1
        self._count(place)

    def _count(self, place: _Place) -> None:
        self._done += 1
        now = time.monotonic()
        last = self._done == self._total
        if now - self._said < _REPORT_SECONDS and not last:
            self._progress.advance()
            return
        self._said = now
        text = f"{self._done:,} of {self._total:,} rows"
        if self._measured:
            rate = self._measured / max(now - self._begin, 1e-3)
            text += f", {rate * 60:.3g} a minute"
            if not last:
                text += f", {duration((self._total - self._done) / rate)} left"
        self._progress.advance(f"{text}: {place.point.key()}, {place.target}")


def duration(seconds: float) -> str:
    """Return a time in words, such as ``1 h 05 min``."""
    minutes = int(seconds + 30) // 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
