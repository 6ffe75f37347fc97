"""How much memory there is for more work."""

import os
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that can be taken now without swapping; None where the system does not say.

    Linux' own figure, or what is left of a container's limit where that is less; elsewhere the memory that is
    installed.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` lie.
    """
    found = [size for size in (_free(root), _left_of_limit(root)) if size is not None]
    if found:
        return min(found)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _free(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return sizes[0] * 1024 if sizes else None


def _left_of_limit(root: Path) -> int | None:
    """Return what a control group (version 2, then 1) leaves; None if it has no limit."""
    groups = root / "sys/fs/cgroup"
    for limit, used in (("memory.max", "memory.current"),
                        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            return max(0, int((groups / limit).read_text()) - int((groups / used).read_text()))
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return None
