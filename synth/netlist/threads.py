"""Native code on several cores: blocks shared out among threads, which run without the interpreter's lock."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["available_cores", "check_threads", "share_blocks"]

_SHARES = 4
"""Shares a thread: a core that is busy with something else then holds the others up less."""


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None) -> int:
    """Return a number of threads: by default one a core.

    Raises
    ------
    ValueError
        If it is less than 1.
    """
    if threads is None:
        return available_cores()
    if operator.index(threads) < 1:
        raise ValueError(f"Threads must be at least 1, not {threads!r}")
    return operator.index(threads)


def share_blocks(work: Callable[[int, int], None], first: int, end: int, *, threads: int, least: int) -> None:
    """Call ``work(first, end)`` on shares of a range, side by side; return once all of them are done.

    Parameters
    ----------
    work : callable
        Releases the interpreter's lock; an exception of it is raised here.
    first, end : int
        The range.
    threads : int
    least : int
        Length of a share, at least, below which starting it would take longer than its work.
    """
    count = min(threads * _SHARES, (end - first) // max(least, 1))
    if threads == 1 or count < 2:
        if first < end:
            work(first, end)
        return
    bounds = [first + (end - first) * share // count for share in range(count + 1)]
    for _ in _pool(threads).map(work, bounds[:-1], bounds[1:]):
        pass


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the threads that all engines share: they run nothing that waits for another of them."""
    return ThreadPoolExecutor(threads, thread_name_prefix="netlist")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not live on in a child
