"""Settings of the whole test run."""

import os

from hypothesis import settings

# The same examples in every run, so that a failure is one for everybody; and no deadline for a single example, which
# a busy machine misses.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")


def pytest_configure(config):
    """Let the WebAssembly tools compile themselves once, before workers that each would, and tests with time limits.

    A worker gets one thread for torch, whose threads would wait for those of the other workers.
    """
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, here and in processes of tests
        return  # the session that started the workers has done the rest
    import tempfile
    from pathlib import Path

    from synth.toolchain import TOOLS, is_installed, needs_compiling, run_tool

    slow_to_compile = [name for name in TOOLS if "pack" not in name]  # the packers take a second
    for name in slow_to_compile:
        if is_installed(name) and needs_compiling(name):
            print(f"{name}: compiling itself for this machine, this once", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                run_tool(name, ["--version"], cwd=Path(folder), log=Path(folder) / "log")
