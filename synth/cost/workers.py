"""Where a sweep's points are measured: processes of this machine, or a Dask cluster behind the same interface."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from synth.cost.memory import available_memory
from synth.errors import SynthError, ToolMissing, UsageError
from synth.toolchain import stop_all

MEMORY_PER_JOB = 1 << 30
"""Bytes to have for each point that is measured at a time: Python takes 0.3 GB and after hundreds of points 0.5, and
beside it runs Yosys with 0.24 GB or nextpnr with 0.2 (resident, the most seen in the default space)."""

CONNECT_SECONDS = 10.0
"""How long a cluster has to answer."""

_PATIENCE_SECONDS = 30.0
"""How long an orphaned worker has for what no tool does, such as removing its folder."""

_working = threading.Lock()
_stopped = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Workers:
    """An executor, how many tasks it works on at a time, and the errors of its futures that mean a lost worker."""

    executor: Executor
    count: int
    lost: tuple[type[BaseException], ...]


def fitting_jobs(wanted: int) -> int:
    """Return how many of the wanted jobs have room in memory now; at least one."""
    available = available_memory()
    return wanted if available is None else max(1, min(wanted, available // MEMORY_PER_JOB))


class _Pool(ProcessPoolExecutor):
    """Processes that end their tools and themselves when this process is no more, however it ended."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_work, fn, *args, **kwargs)


@contextlib.contextmanager
def local_workers(jobs: int) -> Iterator[Workers]:
    """Provide processes of this machine; on an error, an interruption among them, they stop at once.

    Parameters
    ----------
    jobs : int
        How many.
    """
    # Fresh processes, the same way on every system: they inherit no thread, no lock and no end of this pipe but theirs.
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = _Pool(jobs, mp_context=context, initializer=_watch, initargs=(reader,))
    try:
        yield Workers(executor=pool, count=jobs, lost=(BrokenExecutor,))
    except BaseException:
        writer.close()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    else:
        pool.shutdown(wait=True)
    finally:
        writer.close()
        reader.close()


def _watch(reader: Connection) -> None:
    """Begin a worker: from now on it stops when the other end of the pipe is closed, by its parent or its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all processes of a terminal; the parent acts on it
    threading.Thread(target=_stop_after, args=(reader,), daemon=True).start()


def _stop_after(reader: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        reader.recv()  # nothing is ever sent
    _stopped.set()
    stop_all()
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    # Now nobody will end this process; it waits for its next task for ever.
    _working.acquire(timeout=_PATIENCE_SECONDS)
    os._exit(1)


def _work(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with _working:
        if _stopped.is_set():
            raise KeyboardInterrupt
        return function(*arguments, **options)


@contextlib.contextmanager
def dask_workers(address: str) -> Iterator[Workers]:
    """Provide the workers of a Dask cluster, each of which has narrowgauge installed.

    Parameters
    ----------
    address : str
        Of its scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ToolMissing
        If Dask is not installed.
    UsageError
        If there is no scheduler at the address.
    SynthError
        If it has no workers.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError:
        raise ToolMissing("dask", "Tool dask is not installed; it brings sweeps on a cluster: "
                                  "pip install 'narrowgauge[cluster]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a wrong address, nobody there, no answer in time
        raise UsageError(f"Scheduler must be the address of a running Dask scheduler, such as tcp://10.0.0.1:8786, "
                         f"not {address!r} ({error})") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SynthError(f"Scheduler must have workers, not none: 'dask worker {address}' starts one")
        executor = client.get_executor(pure=False)
        try:
            yield Workers(executor=executor, count=threads, lost=(KilledWorker, CancelledError, CommClosedError))
        finally:
            executor.shutdown(wait=False)  # cancels what has not begun
