"""The journal of sweeps: every row at once, a line each, behind whatever was there; safe under several processes.

That of ``sweep`` is one; ``tune`` keeps one of its own, of other rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Failed, Measured, Reason, Row
from synth.errors import StorageError
from synth.store import cache_folder, digest_of

Json = dict[str, Any]


_NAME_LENGTH = 40
"""Digits of a key that name the file of its claim."""


class Keyed(Protocol):
    """A row with how it was measured, under the key of everything that it depends on."""

    @property
    def key(self) -> str: ...

    @property
    def conditions(self) -> Conditions: ...


E = TypeVar("E", bound=Keyed)


@dataclass(frozen=True, kw_only=True)
class Codec(Generic[E]):
    """How a journal's entries become JSON objects and come back.

    Parameters
    ----------
    to_json : callable
    from_json : callable
        Raises ValueError, LookupError or TypeError for what is no entry.
    """

    to_json: Callable[[E], Json]
    from_json: Callable[[Json], E]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of a sweep with how it was measured, under the key of everything that it depends on."""

    key: str
    row: Row
    conditions: Conditions


def _entry_to_json(entry: Entry) -> Json:
    row = {**entry.row.to_json(), "point": dataclasses.asdict(entry.row.point)}  # in full: it is read without a look
    return {"key": entry.key, "row": row, "conditions": dataclasses.asdict(entry.conditions)}


def _entry_from_json(document: Json) -> Entry:
    values = document["row"]
    values["point"] = Point.trusted(values["point"])
    row: Row = (Measured(**values) if "lut" in values
                else Failed(**{**values, "reason": Reason(values["reason"])}))
    return Entry(key=document["key"], row=row, conditions=Conditions.from_json(document["conditions"]))


COSTS = Codec(to_json=_entry_to_json, from_json=_entry_from_json)
"""Of the rows of sweeps."""


def journal_path() -> Path:
    """Return the place of this user's journal."""
    return cache_folder() / "costs.jsonl"


@contextlib.contextmanager
def _cache_errors(place: Path) -> Iterator[None]:
    """Turn the system's errors on writing into one clear :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cache must be writable, not {str(place)!r} ({error.strerror}); NARROWGAUGE_CACHE names "
                           "another folder. Earlier rows are untouched") from error


@contextlib.contextmanager
def sole_writer() -> Iterator[None]:
    """Be the only one of this user's sweeps that extends the file of a table, waiting for another one's end.

    Raises
    ------
    StorageError
        If the cache cannot be written.
    """
    from filelock import FileLock

    place = journal_path().with_name("tables.lock")
    with _cache_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Journal(Generic[E]):
    """The rows that this user's sweeps have finished, by key; a later row of a key replaces an earlier one.

    A line that was cut short, as by a power failure, or altered is left out, and its row measured again.

    Parameters
    ----------
    path : Path
        Made with the first row.
    warn : callable
        Receives one line when there were such lines.
    codec : Codec
        Of the entries.

    Raises
    ------
    StorageError
        If it cannot be read.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None], codec: Codec[Any] = COSTS) -> None:
        self.path = path
        self._warn, self._codec = warn, codec
        self._position = 0
        self._entries: dict[str, E] = {}
        self.refresh()

    def get(self, key: str) -> E | None:
        """Return the entry of a key, as of the last :meth:`refresh` or :meth:`append`."""
        return self._entries.get(key)

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries.values())

    def refresh(self) -> None:
        """Read what other processes have added.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._position)
                data = stream.read()
        except OSError as error:
            raise StorageError(f"Journal must be readable, not {str(self.path)!r} ({error.strerror}); "
                               "NARROWGAUGE_CACHE names another folder") from error
        whole = data[:data.rfind(b"\n") + 1]  # the rest is being written, or never will be
        self._position += len(whole)
        damaged = 0
        for line in whole.splitlines():
            entry: E | None = self._read(line) if line else None
            if entry is not None:
                self._entries.pop(entry.key, None)  # a later row comes later in the order too
                self._entries[entry.key] = entry
            elif line:
                damaged += 1
        if damaged:
            self._warn(f"Journal lines must have the digest they were written with, not another: {damaged} in "
                       f"{self.path}; their rows are measured again")

    def adopt(self, entries: Iterable[E]) -> None:
        """Take over rows whose keys this journal lacks; they are not written, and give way to its own."""
        for entry in entries:
            self._entries.setdefault(entry.key, entry)

    def append(self, entries: Iterable[E]) -> None:
        """Add rows, on the disk when this returns.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        from filelock import FileLock

        text = b"".join(self._line(entry) for entry in entries)
        with _cache_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(self.path.name + ".lock")), self.path.open("ab+") as stream:
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b"\n":  # a line that was cut short ends here
                        text = b"\n" + text
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
        self.refresh()

    def _line(self, entry: E) -> bytes:
        body = json.dumps(self._codec.to_json(entry))
        return json.dumps({"digest": digest_of(body), "body": body}).encode() + b"\n"

    def _read(self, line: bytes) -> Any:
        """Return a line's entry; None if the line is damaged."""
        try:
            outer = json.loads(line)
            if digest_of(outer["body"]) != outer["digest"]:
                return None
            return self._codec.from_json(json.loads(outer["body"]))
        except (ValueError, LookupError, TypeError):
            return None


class Claims:
    """What this process is measuring, so that no other measures it too; the claims of a process end with it.

    Parameters
    ----------
    folder : Path
        A file each lies there meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, Any] = {}

    def take(self, key: str) -> bool:
        """Claim a key; return whether that is possible now.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        with _cache_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / f"{key[:_NAME_LENGTH]}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return False
        self._locks[key] = lock
        return True

    def release(self, key: str, *, done: bool) -> None:
        """Give a claim up.

        Parameters
        ----------
        key : str
        done : bool
            Whether the journal has its row, which whoever takes the claim next will see: only then may the file go,
            since another process may have it open already.
        """
        lock = self._locks.pop(key)
        if done:
            with contextlib.suppress(OSError):  # Windows removes no open file, and the next sweep no needed one
                Path(lock.lock_file).unlink()
        lock.release()

    def tidy(self, keys: Iterable[str]) -> None:
        """Remove the files that killed processes have left for keys whose rows the journal has."""
        with contextlib.suppress(OSError):  # there is no such folder: nothing was ever claimed
            left = {path.stem for path in self._folder.iterdir()}
            for key in keys:
                if key[:_NAME_LENGTH] in left and self.take(key):
                    self.release(key, done=True)

    def release_all(self) -> None:
        """Give all claims up, their rows not done."""
        for key in list(self._locks):
            self.release(key, done=False)


def user_entries() -> list[tuple[Row, Conditions]]:
    """Return what this user's sweeps have measured with the present code, in their order.

    Raises
    ------
    StorageError
        If the journal cannot be read.
    """
    # The sweep that measures damaged rows again says so.
    journal: Journal[Entry] = Journal(journal_path(), warn=lambda _: None)
    return [(entry.row, entry.conditions) for entry in journal if entry.conditions.sources == sources_digest()]
