"""How long a run of similar steps will still take."""

import time
from collections.abc import Callable

_PAUSE = 2.0
"""Seconds between two lines of a log."""


class TimeLeft:
    """Estimates the remaining time from the steps done so far, and says so every few seconds.

    Parameters
    ----------
    total : int
        Steps.
    clock : callable
        Seconds, for a test.
    """

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._first, self._done = 0.0, 0
        self._said = clock()

    def step(self, what: str) -> str:
        """Count a step; return what to say, such as ``int4, seed 1: 3 of 40, about 2 min left``.

        It is nothing where the last word was less than two seconds ago, but for the last step.
        """
        self._done += 1
        now = self._clock()
        if self._done == 1:
            self._first = now  # what the first took has the start of the processes in it
        if now - self._said < _PAUSE and self._done < self._total:
            return ""
        self._said = now
        rest = ""
        if 1 < self._done < self._total:
            left = (now - self._first) / (self._done - 1) * (self._total - self._done)
            rest = f", about {duration(left)} left"
        return f"{what}: {self._done} of {self._total}{rest}"


def duration(seconds: float) -> str:
    """Write a time for a reader: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
