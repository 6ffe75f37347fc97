"""Worker processes compute elsewhere, and end with the one that started them, however that ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from synth.errors import ToolError
from synth.explore.workers import worker_pool
from tests.support.cli import ROOT


def test_work_is_done_in_other_processes_with_one_thread():
    with worker_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_an_exception_stops_what_still_runs():
    def interrupted():
        with worker_pool(1) as pool:
            pool.submit(os.getpid).result()  # it has begun
            pool.submit(time.sleep, 60)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - start < 30


def test_a_worker_that_was_ended_from_outside_is_reported():
    with pytest.raises(ToolError, match="Worker process must live until its work is done, not be ended from outside, "
                                        "as for want of memory; give fewer --jobs. What was evaluated is kept"), \
            worker_pool(1) as pool:
        pool.submit(os._exit, 1).result()


_PARENT = """
import os, time
from synth.explore.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def is_alive(process):
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
    worker = int(parent.stdout.readline())
    assert is_alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
