"""Runs the command line in this process, or as a child where signals matter."""

import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synth import toolchain
from synth.__main__ import main

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Result:
    """Exit code and both streams of a finished command."""

    code: int
    out: str
    err: str

    def check_clean(self):
        """Assert that nothing looks like a crash."""
        assert "Traceback" not in self.err + self.out
        return self


def call(capsys, *arguments):
    """Run a verb in this process."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    return Result(int(code or 0), captured.out, captured.err).check_clean()


@contextmanager
def empty_workplace(folder, monkeypatch):
    """Work in ``work`` of a test's folder, with an empty store in its ``cache`` and tools that nobody has stopped."""
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(folder / "cache"))
    monkeypatch.setattr(toolchain, "_stopping", threading.Event())
    forget_tools()
    yield folder / "work"
    forget_tools()


def environment(cache, **more):
    """Return the environment of a child that keeps its store in ``cache``."""
    return {**os.environ, "NARROWGAUGE_CACHE": str(cache), "PYTHONPATH": str(ROOT), **more}


def start(cwd, cache, *arguments, **more):
    """Start a verb as a child process, which an interruption reaches even where the tests run in the background."""
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
    return subprocess.Popen([sys.executable, "-m", "synth", *map(str, arguments)], cwd=cwd, text=True,
                            env=environment(cache, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **heed)


def finish(process, timeout=120):
    """Wait for a child; return its result."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err).check_clean()


def fake_tool(path, source):
    """Write an executable Python program that stands in for a tool."""
    path.write_text(f"#!{sys.executable}\nimport sys, time, os, pathlib\n{source}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def forget_tools():
    """Let the toolchain look for its tools anew."""
    toolchain.command.cache_clear()
    toolchain.identity.cache_clear()
