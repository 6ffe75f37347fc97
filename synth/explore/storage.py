"""Studies in a database: found again after a kill, shared by processes, refused where another request made them."""

import contextlib
import json
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.errors import StorageError, ToolMissing, UsageError

IDENTITY = "narrowgauge"
"""Attribute of a study that says what made it."""

_HEARTBEAT = 10
"""Seconds between signs of life of a running trial."""

_GRACE = 45
"""Seconds after the last of them until a trial counts as killed, and is tried again."""


def load_optuna() -> Any:
    """Import Optuna and return it, quiet but for warnings.

    Raises
    ------
    ToolMissing
        If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ToolMissing("optuna", "Tool optuna is not installed; it searches the formats of each layer: "
                                    "pip install 'narrowgauge[explore]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def default_storage(folder: Path) -> str:
    """Return the URL of the SQLite database in the folder of the store, made if missing.

    Its journal is one that takes no wait for the disk at each of the dozen writes of a trial. A database that a user
    names may lie on a network's disk, where such a journal does not work, and keeps its own.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    path = folder / "studies.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"Database of studies must be readable and writable, not {str(path)!r} ({error}); name "
                           "another with --storage, or another folder with NARROWGAUGE_CACHE") from error
    return f"sqlite:///{path.absolute().as_posix()}"


@contextlib.contextmanager
def open_study(storage: str, name: str, *, identity: str) -> Iterator[Any]:
    """Open a study of accuracy, to be raised, and cost, to be lowered, or begin it; let go of its database at the end.

    Parameters
    ----------
    storage : str
        URL of a database.
    name : str
    identity : str
        JSON of an object; a study with another one is refused.

    Raises
    ------
    UsageError
        If the URL is none, or the study was made by another request or version, or not by narrowgauge.
    ToolMissing
        If Optuna, or the database's driver, is not installed.
    StorageError
        If the database cannot be used.
    """
    with _database(storage) as database:
        study = load_optuna().create_study(storage=database, study_name=name, load_if_exists=True,
                                           directions=["maximize", "minimize"])
        _check_identity(study, name, identity)
        yield study


def check_storage(storage: str) -> None:
    """Refuse a storage that no study can be kept in, before any work.

    Raises
    ------
    UsageError, ToolMissing, StorageError
        As for :func:`open_study`.
    """
    with _database(storage):
        pass


@contextlib.contextmanager
def _database(storage: str) -> Iterator[Any]:
    """Connect to a database; let go of it at the end."""
    optuna = load_optuna()
    with _storage_errors(storage):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the signs of life are one
            database = optuna.storages.RDBStorage(
                storage, heartbeat_interval=_HEARTBEAT, grace_period=_GRACE,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=3),
                engine_kwargs={"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else None)
        try:
            if storage.startswith("sqlite"):
                _serialize(database.engine)
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()


def _serialize(engine: Any) -> None:
    """Let SQLite take one transaction at a time, and wait for the disk no oftener than a killed process takes.

    By itself, Python's driver begins a transaction at its first write: two processes can both read that a trial
    waits, and both begin it.
    """
    from sqlalchemy import event

    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        connection.execute("PRAGMA synchronous=NORMAL")

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # the connections so far have not heard of it
    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)


def _check_identity(study: Any, name: str, identity: str) -> None:
    """Sign a new study; refuse one that was signed otherwise, or by nobody."""
    made_by = study.user_attrs.get(IDENTITY)
    if made_by is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(IDENTITY, identity)
        return
    if made_by is None:
        raise UsageError(f"Study must be one that narrowgauge made, not {name!r}; name another with --study")
    if made_by != identity:
        raise UsageError(f"Study must have been made by the same request and version, not {name!r}: "
                         f"{_differences(json.loads(made_by), json.loads(identity))}; name another with --study, or "
                         "leave --study out")


def _differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return "; ".join(f"its {name} was {_short(then.get(name))}, and is now {_short(now.get(name))}" for name in names)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


@contextlib.contextmanager
def _storage_errors(storage: str) -> Iterator[None]:
    """Say in one line what is wrong with a database."""
    from sqlalchemy import exc

    try:
        yield
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        raise UsageError(f"Storage must be the URL of a database such as sqlite:///study.sqlite, not {storage!r} "
                         f"({_first_line(error)})") from error
    except ImportError as error:
        cause = error.__cause__
        driver = (cause.name if isinstance(cause, ImportError) else error.name) or str(error)
        raise ToolMissing(driver, f"Tool {driver} is not installed; it speaks to the database {storage!r}: "
                                  f"pip install {driver}") from error
    except Exception as error:
        if not isinstance(error, (exc.SQLAlchemyError, _storage_internal_error())):
            raise
        cause = error.__cause__ or error
        raise StorageError(f"Storage must be a database that can be read and written, not {storage!r} "
                           f"({_first_line(cause)}); name another with --storage") from error


def _storage_internal_error() -> type[Exception]:
    kind: type[Exception] = load_optuna().exceptions.StorageInternalError
    return kind


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
