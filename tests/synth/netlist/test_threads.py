import os
import threading

import pytest

from synth.netlist.threads import available_cores, check_threads, share_blocks


@pytest.mark.parametrize(("first", "end", "threads", "least"), [
    (0, 0, 4, 1), (0, 1, 4, 1), (5, 105, 1, 1), (5, 105, 4, 1), (0, 7, 3, 2), (0, 1000, 2, 999), (0, 3, 8, 0)])
def test_every_block_has_one_share(first, end, threads, least):
    done, lock = [], threading.Lock()

    def work(start, stop):
        with lock:
            done.append((start, stop))

    share_blocks(work, first, end, threads=threads, least=least)
    done.sort()
    assert [block for start, stop in done for block in range(start, stop)] == list(range(first, end))
    assert all(stop - start >= min(least, end - first) for start, stop in done)
    assert len(done) <= 4 * threads


def test_shares_run_side_by_side():
    """Each of two waits for the other one."""
    meeting = threading.Barrier(2, timeout=30)
    share_blocks(lambda first, end: meeting.wait(), 0, 8, threads=8, least=4)


def test_what_a_share_raises_is_raised():
    with pytest.raises(RuntimeError, match="in a share"):
        share_blocks(lambda first, end: (_ for _ in ()).throw(RuntimeError("in a share")), 0, 100, threads=2, least=1)


def test_number_of_threads():
    assert check_threads(None) == available_cores() >= 1
    assert check_threads(3) == 3
    with pytest.raises(ValueError, match="Threads must be at least 1, not 0"):
        check_threads(0)
    with pytest.raises(TypeError):
        check_threads(1.5)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no such call")
def test_only_cores_that_may_be_used_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6})
    assert available_cores() == 3


def test_cores_where_nothing_says_which(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
