"""How much memory there is, as the system and a container's limit say."""

import os

import pytest

from synth.cost.memory import available_memory

KIB = 1024


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_linux_says_what_is_available(tmp_path):
    write(tmp_path, proc__meminfo="MemTotal:  9000 kB\nMemFree:  100 kB\nMemAvailable:  4000 kB\n")
    assert available_memory(tmp_path) == 4000 * KIB


@pytest.mark.parametrize(("limit", "used", "want"), [
    ("3000000", "1000000", 2_000_000), ("max", "1000000", 4000 * KIB), ("9000000", "1000", 4000 * KIB),
    ("1000", "2000", 0)])
def test_a_containers_limit_counts_where_it_is_less(tmp_path, limit, used, want):
    write(tmp_path, proc__meminfo="MemAvailable:  4000 kB\n", sys__fs__cgroup__memory_dot_max=limit,
          sys__fs__cgroup__memory_dot_current=used)
    assert available_memory(tmp_path) == want


def test_the_first_version_of_control_groups_is_read_too(tmp_path):
    groups = tmp_path / "sys/fs/cgroup/memory"
    groups.mkdir(parents=True)
    (groups / "memory.limit_in_bytes").write_text("5000\n")
    (groups / "memory.usage_in_bytes").write_text("2000\n")
    assert available_memory(tmp_path) == 3000


def test_elsewhere_it_is_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
    assert available_memory(tmp_path) == 4_096_000


def test_a_system_that_does_not_say_has_no_figure(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert available_memory(tmp_path) is None
