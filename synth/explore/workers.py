"""Processes for the evaluations, which end with the one that started them, however that ends."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

from synth.errors import ToolError


@contextlib.contextmanager
def worker_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Start up to ``jobs`` processes, one thread each; stop them at once when the block is left by an exception.

    Raises
    ------
    ToolError
        If a process was ended from outside, as for want of memory.
    """
    before = set(multiprocessing.active_children())
    # Spawned on every system: a fork copies torch's locks as they happen to be.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException as error:
        # Nobody waits for what still runs: what is done is stored, and a task leaves nothing half-written.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        if isinstance(error, BrokenExecutor):
            raise ToolError("python", "Worker process must live until its work is done, not be ended from outside, as "
                                      "for want of memory; give fewer --jobs. What was evaluated is kept") from error
        raise
    else:
        pool.shutdown()


def _begin() -> None:
    """Prepare a worker: one thread, deaf to Ctrl-C, which its parent handles, and gone when the parent is."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
