"""Measurements and their files, kept by content: what was measured once is not measured again.

A record's key is the SHA-256 of everything that its content depends on (RTLIL, recipe, tool identities, checker).
Records and files carry their own digest and are hashed again when read, so that a damaged one is measured anew
rather than believed.
"""

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sw.cache import cache_folder as cache_folder
from sw.cache import digest_of as digest_of
from synth.errors import StorageError

Json = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL,
                                    digest TEXT NOT NULL, created REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS files (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
"""


class Store:
    """A content-addressed SQLite store, safe under several processes and threads.

    Parameters
    ----------
    folder : Path
        Where ``store.sqlite`` lives; made if missing.
    warn : callable
        Receives one line when something damaged was set aside.

    Raises
    ------
    StorageError
        If the folder or the database cannot be used.
    """

    def __init__(self, folder: Path, *, warn: Callable[[str], None]) -> None:
        self.path = folder / "store.sqlite"
        self._warn = warn
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Store folder must be writable, not {str(folder)!r} ({error.strerror}); "
                               "NARROWGAUGE_CACHE names another") from error
        try:
            self._database = self._open()
        except sqlite3.OperationalError as error:
            raise StorageError(f"Store must be readable and writable, not {str(self.path)!r} ({error}); "
                               "NARROWGAUGE_CACHE names another folder") from error
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(_SCHEMA)
            database.execute("SELECT count(*) FROM records").fetchone()
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Rename a damaged database, so that nothing in it is lost and a new one can be made."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm", "-journal"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self._warn(f"Store must be a SQLite database, not {str(self.path)!r} ({error}); it was set aside as "
                   f"{aside.name} and a new one begun")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                raise StorageError(f"Store must be readable and writable, not {str(self.path)!r} ({error}); free some "
                                   "space, or name another folder in NARROWGAUGE_CACHE") from error
            except sqlite3.DatabaseError as error:
                self._database.close()
                self._set_aside(error)
                self._database = self._open()
                return self._database.execute(statement, values).fetchall()

    def get(self, key: str) -> Json | None:
        """Return a record, or None if there is none, or if it no longer has the digest it was stored with."""
        rows = self._execute("SELECT body, digest FROM records WHERE key = ?", (key,))
        if not rows:
            return None
        body, digest = rows[0]
        if digest_of(key, body) != digest:
            self._warn(f"Store record must have the digest it was stored with, not another: {key[:12]}; "
                       "it is measured again")
            return None
        record: Json = json.loads(body)
        return record

    def put(self, key: str, kind: str, record: Mapping[str, Any]) -> None:
        """Store a record, in place of any older one under this key."""
        body = json.dumps(record, sort_keys=True)
        self._execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
                      (key, kind, body, digest_of(key, body), time.time()))

    def get_file(self, digest: str) -> bytes | None:
        """Return a file by the digest of its content, or None if it is missing or damaged."""
        rows = self._execute("SELECT data FROM files WHERE digest = ?", (digest,))
        if not rows:
            return None
        try:
            data = zlib.decompress(rows[0][0])
        except zlib.error:
            data = b""
        if digest_of(data) != digest:
            self._warn(f"Store file must have the digest it was stored with, not another: {digest[:12]}; "
                       "it is made again")
            return None
        return data

    def put_file(self, data: bytes) -> str:
        """Store a file; return the digest of its content."""
        digest = digest_of(data)
        self._execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (digest, zlib.compress(data, 6)))
        return digest

    def statistics(self) -> dict[str, int]:
        """Return how many records, files and bytes there are."""
        (records,), = self._execute("SELECT count(*) FROM records")
        (files,), = self._execute("SELECT count(*) FROM files")
        return {"records": records, "files": files, "bytes": self.path.stat().st_size}
