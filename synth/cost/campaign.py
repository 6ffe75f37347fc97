"""A campaign: what a journal lacks is measured once, by many workers, in any number of campaigns, whatever ends one."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Generic, Protocol, TypeVar

from synth.console import Progress
from synth.cost.journal import Claims, Journal, Keyed
from synth.cost.workers import Workers
from synth.errors import SynthError

_POLL_SECONDS = 0.5
"""How often places that another campaign is measuring are looked after."""

_REPORT_SECONDS = 2.0
"""How often the progress is said in words at most."""


class Place(Protocol):
    """What there is one row of: a circuit on a target."""

    @property
    def key(self) -> str:
        """SHA-256 of everything that the row depends on."""

    @property
    def circuit(self) -> str:
        """What is measured, for the progress and for errors."""

    @property
    def target(self) -> str:
        """Name of the device family."""


P = TypeVar("P", bound=Place)
E = TypeVar("E", bound=Keyed)


class Campaign(Generic[P, E]):
    """Places in groups, each of which a worker measures at once; rows go to the journal group by group.

    Parameters
    ----------
    groups : iterable of list of Place
    measure : callable
        What a worker does: from a task to an entry for each of its places, in their order. Importable there.
    task_of : callable
        From places of a group to what ``measure`` takes; the others are another campaign's by then.
    has_failed : callable
        Whether an entry says that its place could not be measured.
    journal : Journal
    claims : Claims
    retry : bool
        Whether what failed before is tried again.
    """

    def __init__(self, groups: Iterable[list[P]], *, measure: Callable[[Any], list[E]],
                 task_of: Callable[[list[P]], Any], has_failed: Callable[[E], bool], journal: Journal[E],
                 claims: Claims, retry: bool = False) -> None:
        self._measure, self._task_of = measure, task_of
        self._journal, self._claims = journal, claims
        groups = list(groups)
        self._places: list[P] = [place for group in groups for place in group]
        self._failed_before: dict[str, E] = {} if not retry else {
            place.key: entry for place in self._places
            if (entry := journal.get(place.key)) is not None and has_failed(entry)}
        lacking = ([place for place in group if not self._is_done(place)] for group in groups)
        self._missing: list[list[P]] = [places for places in lacking if places]
        self.total: int = len(self._places)
        """How many rows the campaign has in the end."""
        self.missing: int = sum(map(len, self._missing))
        """How many of them were not in the journal when it began."""
        self.measured: int = 0
        """How many rows this campaign has measured itself."""

    def run(self, workers: Workers, progress: Progress) -> None:
        """Measure what is missing; each row is in the journal as soon as its group is measured.

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
        waiting = deque(self._missing)
        running: dict[Future[list[E]], list[P]] = {}
        report = _Report(progress, self.missing)
        try:
            while waiting or running:
                for places in self._take(waiting, 2 * workers.count - len(running), report):
                    with _lost_workers(workers):
                        running[workers.executor.submit(self._measure, self._task_of(places))] = places
                if not running:  # everything left is being measured by another campaign
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

    def entries(self) -> Iterator[E]:
        """Yield the entries that the journal has now."""
        return (entry for place in self._places if (entry := self._journal.get(place.key)) is not None)

    def _is_done(self, place: P) -> bool:
        entry = self._journal.get(place.key)
        return entry is not None and entry is not self._failed_before.get(place.key)

    def _take(self, waiting: deque[list[P]], count: int, report: _Report) -> list[list[P]]:
        """Return up to ``count`` groups of places that are claimed now; what others measure goes to the end."""
        taken: list[list[P]] = []
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

    def _finish(self, places: list[P], entries: list[E], report: _Report) -> None:
        """Keep the rows of a group that has been measured."""
        for place, entry in zip(places, entries, strict=True):
            if entry.key != place.key:
                raise SynthError("Worker must have the same narrowgauge, Amaranth, Yosys and nextpnr as this machine, "
                                 f"not others: it measured {place.circuit} on {place.target} with {_tools(entry)}")
        self._journal.append(entries)
        self.measured += len(entries)
        for place in places:
            self._claims.release(place.key, done=True)
            report.measured(place)


@contextlib.contextmanager
def _lost_workers(workers: Workers) -> Iterator[None]:
    """Say what the loss of a worker means."""
    try:
        yield
    except workers.lost as error:
        raise SynthError("Worker must live until its point is measured, not be ended from outside, as the lack of "
                         f"memory does ({type(error).__name__}); everything before is kept: the same command goes on, "
                         "--jobs with a lower number takes less memory") from error


def _tools(entry: Keyed) -> str:
    tools = ", ".join(f"{name} {version}" for name, version, _ in entry.conditions.tools)
    return f"{tools}, code {entry.conditions.sources[:12]}"


class _Report:
    """Says how many rows there are, at what rate they come, and how long the rest takes at that rate."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = self._measured = 0
        self._begin = time.monotonic()
        self._said = -_REPORT_SECONDS

    def found(self, place: Place) -> None:
        """Count a row that another campaign has measured."""
        self._count(place)

    def measured(self, place: Place) -> None:
        """Count a row that this campaign has measured."""
        self._measured += 1
        self._count(place)

    def _count(self, place: Place) -> None:
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
        self._progress.advance(f"{text}: {place.circuit}, {place.target}")


def duration(seconds: float) -> str:
    """Return a time in words, such as ``1 h 05 min``."""
    minutes = int(seconds + 30) // 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
