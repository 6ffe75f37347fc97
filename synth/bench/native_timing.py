"""Rates on a machine that does other things too: sides take turns, and the best turn of each counts."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

Action: TypeAlias = Callable[[int], object]
"""Does its work so many times."""


Clock: TypeAlias = Callable[[], float]
"""Tells seconds."""

WALL: Clock = time.perf_counter

CPU: Clock = time.perf_counter if sys.platform == "win32" else time.process_time
"""What this process computed, on all its threads together: for work on one thread, where it shows what a core of its
own would do, however busy the machine is. Windows counts that in steps of 16 ms, so there it is the time that passes.
"""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Parameters
    ----------
    rounds : int
        How often it is each side's turn.
    seconds : float
        What a turn takes at least: short enough to fall between what else the machine does, long enough for the clock
        and the start of threads not to count.
    slot : float, seconds
        A side takes turns until that much has passed, and at least one, before it is the next one's.
    """

    rounds: int = 7
    seconds: float = 0.003
    slot: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Side:
    """One thing to measure.

    Parameters
    ----------
    operations : float
        Operations of one repeat, of one worker.
    workers : sequence of Action
        What runs at the same time, each on a thread of its own.
    clock : Clock
        By which it is timed.
    """

    operations: float
    workers: Sequence[Action]
    clock: Clock = WALL

    @classmethod
    def of(cls, operations: float, action: Action, clock: Clock = WALL) -> "Side":
        """Return a side of one worker, on the calling thread."""
        return cls(operations=operations, workers=(action,), clock=clock)


def clocked(sides: Mapping[str, Side], threads: int) -> dict[str, Side]:
    """Return sides on the clock that suits so many threads: :data:`CPU` for one."""
    return {name: replace(side, clock=CPU if threads == 1 else WALL) for name, side in sides.items()}


def rates(sides: Mapping[str, Side], effort: Effort) -> dict[str, float]:
    """Return the operations a second of each side, all workers together.

    How often an action repeats within a turn is found out first. Then the sides take turns, so that a slow moment slows
    all of them; the fastest turn of each is what the machine can do.
    """
    threads = max((len(side.workers) for side in sides.values()), default=1)
    with ThreadPoolExecutor(threads) as pool:
        repeats = {name: _repeats(pool, side, effort.seconds) for name, side in sides.items()}
        best = dict.fromkeys(sides, math.inf)
        for _ in range(effort.rounds):
            for name, side in sides.items():
                end = time.perf_counter() + effort.slot
                while True:
                    best[name] = min(best[name], _turn(pool, side, repeats[name]))
                    if time.perf_counter() >= end:
                        break
    return {name: rate(side, repeats[name], best[name]) for name, side in sides.items()}


def rate(side: Side, repeats: int, seconds: float) -> float:
    """Return operations a second of all workers, where each repeated its action so often in that time."""
    return side.operations * len(side.workers) * repeats / seconds


def _repeats(pool: ThreadPoolExecutor, side: Side, seconds: float) -> int:
    """Return how many repeats take the time at least; the runs that find out warm the caches too."""
    repeats = 1
    while (taken := _quickest(pool, side, repeats, seconds)) < seconds:
        # Overshoot a little, and never trust a very short run by more than a factor of ten.
        repeats = max(repeats + 1, int(repeats * min(10.0, 1.2 * seconds / max(taken, 1e-9))))
    return repeats


def _quickest(pool: ThreadPoolExecutor, side: Side, repeats: int, enough: float) -> float:
    """Return the quickest of three turns: one that was held up says nothing of what a turn takes."""
    best = math.inf
    for _ in range(3):
        best = min(best, _turn(pool, side, repeats))
        if best >= 10 * enough:                          # nothing holds that up by so much
            break
    return best


def _turn(pool: ThreadPoolExecutor, side: Side, repeats: int) -> float:
    """Return how long one turn takes."""
    start = side.clock()
    if len(side.workers) == 1:
        side.workers[0](repeats)
    else:
        for running in [pool.submit(worker, repeats) for worker in side.workers]:
            running.result()
    return side.clock() - start
