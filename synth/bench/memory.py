"""How much memory this process has taken at most, tensors included, which Python's own counters do not see."""

import importlib
import sys
from pathlib import Path


def peak_memory() -> int | None:
    """Return the largest resident set of this process so far, in bytes; None where the system does not tell.

    On Linux that is ``VmHWM`` rather than ``getrusage``, whose figure starts from that of the process that started
    this one. On Windows it takes the package psutil.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return _peak_working_set()
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others kibibytes


def _peak_working_set() -> int | None:
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return None
    return int(psutil.Process().memory_info().peak_wset)
