"""Studies are found again, and those of another request or version, or no databases, are refused with the mend."""

import json
import sys
import threading
import time

import pytest

from synth.errors import ExitCode, StorageError, ToolMissing, UsageError
from synth.explore.storage import _database, check_storage, default_storage, load_optuna, open_study

optuna = pytest.importorskip("optuna", reason="optuna is not installed")


@pytest.fixture
def url(tmp_path):
    return default_storage(tmp_path / "cache")


def identity(**changes):
    return json.dumps({"version": "1.0", "formats": ["int4", "int8"], **changes}, sort_keys=True)


def test_a_study_is_found_again(url):
    with open_study(url, "mine", identity=identity()) as study:
        study.add_trial(optuna.trial.create_trial(values=[0.9, 100.0]))
    with open_study(url, "mine", identity=identity()) as study:
        assert [trial.values for trial in study.trials] == [[0.9, 100.0]]
        assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    with open_study(url, "another", identity=identity(version="2.0")) as study:
        assert study.trials == []


def test_a_study_of_another_version_is_refused(url):
    with open_study(url, "mine", identity=identity()):
        pass
    with pytest.raises(UsageError, match="Study must have been made by the same request and version, not 'mine': its "
                                         "version was 1.0, and is now 2.0; name another with --study"), \
            open_study(url, "mine", identity=identity(version="2.0")):
        pass


def test_a_study_of_other_formats_is_refused(url):
    with open_study(url, "mine", identity=identity()):
        pass
    with pytest.raises(UsageError, match=r'its formats was \["int4", "int8"\], and is now \["int3"\]'), \
            open_study(url, "mine", identity=identity(formats=["int3"])):
        pass


def test_long_differences_are_cut(url):
    with open_study(url, "mine", identity=identity()):
        pass
    with pytest.raises(UsageError, match="int100.*…") as caught, \
            open_study(url, "mine", identity=identity(formats=[f"int{n}" for n in range(100, 400)])):
        pass
    assert len(str(caught.value)) < 400


def test_a_study_that_others_made_is_refused(url):
    study = optuna.create_study(storage=url, study_name="theirs", directions=["maximize", "minimize"])
    study.add_trial(optuna.trial.create_trial(values=[0.9, 100.0]))
    study._storage.remove_session()
    with pytest.raises(UsageError, match="Study must be one that narrowgauge made, not 'theirs'; name another with "
                                         "--study"), open_study(url, "theirs", identity=identity()):
        pass


@pytest.mark.parametrize("bad", ["studies", "nothing:///x", "sqlite", "://", ""])
def test_what_is_no_url_is_refused(bad):
    with pytest.raises(UsageError, match="Storage must be the URL of a database such as sqlite:///study.sqlite, not"), \
            open_study(bad, "mine", identity=identity()):
        pass
    with pytest.raises(UsageError, match="Storage must be the URL of a database"):
        check_storage(bad)


def test_a_storage_is_checked_without_a_study(url):
    check_storage(url)
    assert optuna.get_all_study_names(url) == []


def test_sqlite_takes_one_transaction_at_a_time(url):
    # Two processes that both read that a trial waits would both begin it.
    order = []
    with _database(url) as one, _database(url) as other:
        def second():
            with other.engine.begin():
                order.append("second")

        thread = threading.Thread(target=second)
        with one.engine.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM trials")
            thread.start()
            time.sleep(0.3)
            order.append("first")
        thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="Database of studies must be readable and writable, not '.*studies.sqlite' "
                                           r"\(.*\); name another with --storage, or another folder with "
                                           "NARROWGAUGE_CACHE"):
        default_storage(tmp_path / "cache")


def test_a_database_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(StorageError, match="Storage must be a database that can be read and written, not .*unable to "
                                           "open database file.*; name another with --storage") as caught, \
            open_study(f"sqlite:///{(tmp_path / 'missing' / 'x.sqlite').as_posix()}", "mine", identity=identity()):
        pass
    assert caught.value.exit_code is ExitCode.TOOL


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(StorageError, match="file is not a database"), \
            open_study(f"sqlite:///{path.as_posix()}", "mine", identity=identity()):
        pass
    assert path.read_text() == "these are my notes\n" * 100


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(ToolMissing, match="Tool psycopg2 is not installed; it speaks to the database "
                                          "'postgresql.psycopg2://host/studies': pip install psycopg2"), \
            open_study("postgresql+psycopg2://host/studies", "mine", identity=identity()):
        pass


def test_without_optuna_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ToolMissing, match="Tool optuna is not installed; it searches the formats of each layer: "
                                          r"pip install 'narrowgauge\[explore\]'"):
        load_optuna()


def test_an_error_of_ours_inside_passes_through(url):
    with pytest.raises(KeyError, match="ours"), open_study(url, "mine", identity=identity()):
        raise KeyError("ours")
