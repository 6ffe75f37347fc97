"""The peak of this process's memory, and where the figure comes from on each system."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from synth.bench.memory import peak_memory

MEBIBYTE = 1 << 20


def test_it_sees_memory_that_was_taken_and_given_back():
    before = peak_memory()
    if before is None:
        pytest.skip("this system does not tell")
    block = bytearray(64 * MEBIBYTE)
    block[::4096] = b"x" * len(block[::4096])
    del block
    after = peak_memory()
    assert after >= before
    assert after >= 64 * MEBIBYTE


@pytest.fixture
def no_proc(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)


@pytest.mark.parametrize(("platform", "want"), [("darwin", 5000), ("freebsd14", 5000 * 1024)])
def test_units_of_getrusage(platform, want, no_proc, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setitem(sys.modules, "resource", SimpleNamespace(
        RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=5000)))
    assert peak_memory() == want


def test_windows_asks_psutil_or_does_not_tell(no_proc, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert peak_memory() is None
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=77))))
    assert importlib.import_module("psutil")
    assert peak_memory() == 77
