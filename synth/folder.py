"""Output folders: written beside their place and moved into it whole, so that a stopped build leaves the old one."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sw.files import write_whole
from synth.errors import StorageError, UsageError

MARKER = "measurement.json"
"""File that makes a folder recognizable as an earlier build, which a new one may replace."""


def check_output_folder(folder: Path, marker: str = MARKER) -> None:
    """Refuse a place where a build must not be written; ``marker`` is a file that every earlier one holds.

    Raises
    ------
    UsageError
        If it is a file, or a folder with something other than an earlier build in it.
    StorageError
        If it cannot be looked at.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"Output folder must be a folder, not the file {str(folder)!r}; name another with --out")
        # One look decides: a build that ends at this moment may take the folder away and put another in its place.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = sorted(path.name for path in folder.iterdir())
            if names and marker not in names:
                raise UsageError(f"Output folder must be empty or an earlier build, not {str(folder)!r}, which holds "
                                 f"{names[0]!r}; name another with --out")
    except (OSError, ValueError) as error:
        raise StorageError(f"Output folder must be readable, not {str(folder)!r} ({_reason(error)}); "
                           "name another with --out") from error


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


@contextlib.contextmanager
def storage_errors(what: Path) -> Iterator[None]:
    """Turn the system's errors on reading and writing into one clear :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageError(f"Disk must have room for {str(what)!r}, not be full; free some space, or name another "
                               "place with --out. Earlier results are untouched") from error
        raise StorageError(f"Output folder must be writable, not {str(what)!r} ({_reason(error)}); name another with "
                           "--out. Earlier results are untouched") from error


def save_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, in a folder that is made where it is missing.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


class OutputFolder:
    """A folder that appears whole or not at all.

    Use as a context manager: write into ``work``, then call ``commit``. Without ``commit`` the work is removed,
    or kept beside as ``<name>.failed`` after ``keep_failed``.

    Parameters
    ----------
    folder : Path
        Its final place.
    marker : str
        File that makes an earlier folder recognizable, which this one may then replace.

    Raises
    ------
    UsageError, StorageError
        If it must not, or cannot, be written.
    """

    def __init__(self, folder: Path, *, marker: str = MARKER) -> None:
        check_output_folder(folder, marker)
        self.folder = folder
        self._marker = marker
        self.failed = folder.with_name(folder.name + ".failed")
        self.work = folder.with_name(f".{folder.name}.partial-{os.getpid()}-{secrets.token_hex(3)}")
        self._keep_failed = False

    def __enter__(self) -> "OutputFolder":
        with storage_errors(self.folder):
            self.work.mkdir(parents=True)
        return self

    def keep_failed(self) -> None:
        """Leave what was written beside, for a look at the logs, if the work ends without ``commit``.

        An interruption removes it all the same: it leaves a clean state.
        """
        self._keep_failed = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.work.exists():
            return
        if self._keep_failed and kind is not KeyboardInterrupt:
            shutil.rmtree(self.failed, ignore_errors=True)
            with contextlib.suppress(OSError):  # the error under way is the one to report
                self.work.rename(self.failed)
        shutil.rmtree(self.work, ignore_errors=True)

    def commit(self) -> None:
        """Move the work into its place; an earlier build there is replaced in the same step."""
        from filelock import FileLock

        with storage_errors(self.folder):
            # The lock lies in the system's temporary folder, not beside the build, and stays: removing a lock that
            # another process may be waiting for would let two of them in.
            place = hashlib.sha256(str(self.folder.absolute()).encode(errors="surrogateescape")).hexdigest()[:24]
            with FileLock(Path(tempfile.gettempdir()) / f"narrowgauge-{place}.lock"):
                check_output_folder(self.folder, self._marker)
                old = self.folder.with_name(f".{self.folder.name}.old-{secrets.token_hex(3)}")
                if self.folder.exists():
                    self.folder.rename(old)
                try:
                    self.work.rename(self.folder)
                except OSError:
                    if old.exists():
                        old.rename(self.folder)
                    raise
                shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.failed, ignore_errors=True)
