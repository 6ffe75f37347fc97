"""What the command line says: results on standard output, everything else on standard error."""

import contextlib
import json
import math
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any, Protocol


class Progress(Protocol):
    """Receives the steps of long work; several threads may call it."""

    def start(self, description: str) -> None:
        """Say what is being done now."""

    def advance(self, description: str = "") -> None:
        """Count one step as done."""


class SilentProgress:
    """Shows nothing."""

    def start(self, description: str) -> None:
        """Ignore the description."""

    def advance(self, description: str = "") -> None:
        """Ignore the step."""


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def start(self, description: str) -> None:
        self._bar.update(self._task, description=description)

    def advance(self, description: str = "") -> None:
        self._bar.advance(self._task)
        if description:
            self.start(description)


class _Lines:
    """One line for each thing said, where there is no terminal: what a log of a remote run shows."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def start(self, description: str) -> None:
        with self._lock:
            print(description, file=self._stream, flush=True)

    def advance(self, description: str = "") -> None:
        if description:
            self.start(description)


class Console:
    """Tables, lines and one JSON document.

    Parameters
    ----------
    as_json : bool
        Standard output carries one JSON document and nothing else; lines and tables are left out.
    color : bool
        Whether colours may be used; they never are off a terminal.
    quiet : bool
        Whether progress is left out where standard error is no terminal.
    """

    def __init__(self, *, as_json: bool = False, color: bool = True, quiet: bool = False) -> None:
        self._as_json, self._color, self._quiet = as_json, color, quiet

    def _rich(self, stream: IO[str]) -> Any:
        from rich.console import Console as RichConsole

        width = None if stream.isatty() else 160
        return RichConsole(file=stream, no_color=not self._color, highlight=False, width=width, emoji=False,
                           soft_wrap=not stream.isatty())

    def print(self, text: str = "") -> None:
        """Print a line of the result."""
        if not self._as_json:
            print(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; columns of numbers are aligned to the right."""
        if self._as_json:
            return
        from rich import box
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                      title_style="bold" if self._color else "")
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows]
            numeric = bool(cells) and all(isinstance(cell, (int, float)) or _is_number(str(cell)) for cell in cells)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        from rich.text import Text

        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._rich(sys.stdout).print(table)

    def json(self, document: object) -> None:
        """Print the one JSON document, if one was asked for; a number that JSON has not, such as infinity, is null."""
        if self._as_json:
            print(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False))

    def warn(self, text: str) -> None:
        """Say something on standard error that a user should know and that stops nothing."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        """Say on standard error why the command failed."""
        print(f"error: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def progress(self, description: str, total: int) -> Iterator[Progress]:
        """Show progress on standard error: a bar on a terminal, lines elsewhere, nothing if quiet."""
        if not sys.stderr.isatty():
            yield SilentProgress() if self._quiet else _Lines(sys.stderr)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with RichProgress(*columns, console=self._rich(sys.stderr), transient=True) as bar:
            yield _Bar(bar, bar.add_task(description, total=total))


def _finite(document: object) -> object:
    """Return a document for JSON with None in place of numbers that are not finite."""
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def _is_number(text: str) -> bool:
    """Whether a cell reads as a number, so that its column is aligned to the right."""
    if text in ("", "–", "unknown", "NaN", "+Inf", "-Inf"):
        return True
    return re.fullmatch(r"[-±]?[\d,]*\.?\d+(e[-+]?\d+)?(/\d+)?", text) is not None
