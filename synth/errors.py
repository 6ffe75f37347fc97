"""The exit codes of the command line, and the errors that carry them."""

import contextlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What a finished command tells the shell."""

    DONE = 0
    MISMATCH = 1
    """A mismatch, or a proof that failed."""
    USAGE = 2
    TOOL = 3
    """A tool is missing or failed, or a file could not be read or written."""
    TARGET = 4
    """The design does not fit the device, or misses its clock."""
    INTERRUPTED = 130


class SynthError(Exception):
    """An error that the command line reports in one line, without a traceback."""

    exit_code = ExitCode.TOOL


class UsageError(SynthError):
    """A request that cannot be meant."""

    exit_code = ExitCode.USAGE


class Mismatch(SynthError):
    """A circuit that does not do what its reference does."""

    exit_code = ExitCode.MISMATCH


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Report the ``ValueError`` and ``TypeError`` of what a user named as a :class:`UsageError`.

    Only where arguments are read: elsewhere such an error is a defect, and must not pass for a wrong request.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, SynthError):
            raise
        raise UsageError(str(error)) from error


class StorageError(SynthError):
    """A file, folder or database that cannot be read or written."""


class ToolError(SynthError):
    """A tool that failed.

    Parameters
    ----------
    tool : str
        Name of the tool.
    message : str
        What happened, with the tool's own last error line where it has one.
    log : Path, optional
        Its full log.
    """

    def __init__(self, tool: str, message: str, log: Path | None = None) -> None:
        super().__init__(f"{message}; the full log is {log}" if log else message)
        self.tool = tool
        self.log = log


class ToolMissing(ToolError):
    """A tool that is not installed."""


class ToolTimeout(ToolError):
    """A tool that was stopped at its time limit."""


class DoesNotFit(SynthError):
    """A design larger than its device."""

    exit_code = ExitCode.TARGET
