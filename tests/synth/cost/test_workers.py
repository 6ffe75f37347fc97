"""Workers: processes that end with their parent, and a cluster behind the same interface."""

import os
import time

import pytest
from distributed import LocalCluster

from synth.cost import workers
from synth.cost.workers import dask_workers, fitting_jobs, local_workers
from synth.errors import SynthError, ToolMissing, UsageError
from tests.support.cli import fake_tool
from tests.support.worker_tasks import end_process, long_tool, process_number


def test_tasks_run_in_other_processes():
    with local_workers(1) as found:
        numbers = {found.executor.submit(process_number).result(timeout=60) for _ in range(3)}
    assert found.count == 1
    assert len(numbers) == 1
    assert os.getpid() not in numbers


@pytest.mark.skipif(os.name == "nt", reason="stand-in programs work otherwise on Windows")
def test_an_error_ends_the_tools_of_the_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_YOSYS", str(fake_tool(tmp_path / "yosys", "time.sleep(120)")))
    begin = time.monotonic()
    pool = local_workers(1)
    found = pool.__enter__()
    future = found.executor.submit(long_tool, str(tmp_path))
    waiting = found.executor.submit(long_tool, str(tmp_path))
    while not (tmp_path / "log").exists():
        time.sleep(0.05)
        assert not future.done(), future.exception()
    error = LookupError("something went wrong")
    assert not pool.__exit__(LookupError, error, None)  # the error goes on
    assert time.monotonic() - begin < 100
    assert isinstance(future.exception(), KeyboardInterrupt)
    assert waiting.cancelled() or isinstance(waiting.exception(), KeyboardInterrupt)


def test_a_lost_worker_is_one_of_the_errors_that_say_so():
    with local_workers(1) as found:
        future = found.executor.submit(end_process)
        assert isinstance(future.exception(timeout=60), found.lost)


@pytest.mark.parametrize(("memory", "wanted", "jobs"), [
    (None, 16, 16), (64 << 30, 16, 16), (5 << 30, 16, 5), (100, 16, 1), (5 << 30, 2, 2)])
def test_jobs_have_room_in_memory(monkeypatch, memory, wanted, jobs):
    monkeypatch.setattr(workers, "available_memory", lambda: memory)
    assert fitting_jobs(wanted) == jobs


# A cluster


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    def start(count):
        cluster = LocalCluster(n_workers=count, threads_per_worker=2, processes=False, dashboard_address=None,
                               local_directory=str(tmp_path), protocol="tcp")
        started.append(cluster)
        return cluster.scheduler_address

    started = []
    yield start
    for cluster in started:
        cluster.close()


def test_a_cluster_works(cluster):
    with dask_workers(cluster(1)) as found:
        assert found.count == 2
        assert found.executor.submit(process_number).result(timeout=60) == os.getpid()  # threads, in this test


def test_a_cluster_without_workers_is_refused(cluster):
    address = cluster(0)
    message = f"Scheduler must have workers, not none: 'dask worker {address}' starts one"
    with pytest.raises(SynthError, match=message), dask_workers(address):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "ftp://127.0.0.1:9"])
def test_an_address_where_nobody_is_is_refused(monkeypatch, address):
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.3)
    with pytest.raises(UsageError, match="Scheduler must be the address of a running Dask scheduler, such as "
                                         f"tcp://10.0.0.1:8786, not '{address}'"), dask_workers(address):
        pass


def test_without_dask_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ToolMissing, match="Tool dask is not installed; it brings sweeps on a cluster: "
                                          r"pip install 'narrowgauge\[cluster\]'"), dask_workers("tcp://127.0.0.1:9"):
        pass
