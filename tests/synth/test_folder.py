"""An output folder appears whole or not at all."""

import errno
import os
import threading

import pytest

from synth.errors import StorageError, UsageError
from synth.folder import MARKER, OutputFolder, check_output_folder, storage_errors


def build(folder, text):
    with OutputFolder(folder) as output:
        (output.work / MARKER).write_text(text)
        (output.work / "ice40").mkdir()
        output.commit()


def test_a_build_appears_whole(tmp_path):
    folder = tmp_path / "deep" / "er" / "out"
    build(folder, "one")
    assert (folder / MARKER).read_text() == "one"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]


def test_a_later_build_replaces_an_earlier_one(tmp_path):
    build(tmp_path / "out", "one")
    (tmp_path / "out" / "stale").write_text("from the first build")
    build(tmp_path / "out", "two")
    assert (tmp_path / "out" / MARKER).read_text() == "two"
    assert not (tmp_path / "out" / "stale").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_stopped_build_leaves_the_old_one(tmp_path, error):
    build(tmp_path / "out", "one")
    def stopped():
        with OutputFolder(tmp_path / "out") as output:
            (output.work / MARKER).write_text("half")
            raise error

    with pytest.raises(error):
        stopped()
    assert (tmp_path / "out" / MARKER).read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_failed_build_is_kept_beside_until_one_succeeds(tmp_path):
    build(tmp_path / "out", "one")
    for text in ("bad", "worse"):
        with OutputFolder(tmp_path / "out") as output:
            (output.work / "yosys.log").write_text(text)
            output.keep_failed()
    assert (tmp_path / "out.failed" / "yosys.log").read_text() == "worse"
    assert (tmp_path / "out" / MARKER).read_text() == "one"
    build(tmp_path / "out", "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    build(tmp_path / "out", "one")
    assert (tmp_path / "out" / MARKER).read_text() == "one"


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"Output folder must be empty or an earlier build, not .*, which holds "
                                         r"'thesis.tex'; name another with --out"):
        check_output_folder(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="Output folder must be a folder, not the file"):
        OutputFolder(tmp_path / "out")


def test_a_name_that_no_file_system_takes_is_refused(tmp_path):
    with pytest.raises(StorageError, match="Output folder must be readable"):
        OutputFolder(tmp_path / ("x" * 5000))


@pytest.mark.skipif(os.name == "nt", reason="a NUL byte is refused in another way on Windows")
def test_a_nul_byte_is_refused(tmp_path):
    with pytest.raises((StorageError, ValueError)), OutputFolder(tmp_path / "a\0b"):
        pass


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="must be (readable|writable)"), OutputFolder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(("number", "text"), [
    (errno.ENOSPC, "Disk must have room for .*, not be full; .*Earlier results are untouched"),
    (errno.EROFS, "Output folder must be writable, not .*Earlier results are untouched"),
])
def test_the_systems_errors_are_said_clearly(tmp_path, number, text):
    with pytest.raises(StorageError, match=text), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_move_that_fails_puts_the_old_build_back(tmp_path, monkeypatch):
    build(tmp_path / "out", "one")
    output = OutputFolder(tmp_path / "out")
    path_type = type(output.work)
    original = path_type.rename

    def rename(self, target):
        if ".partial-" in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(self, target)

    with output:
        (output.work / MARKER).write_text("two")
        monkeypatch.setattr(path_type, "rename", rename)
        with pytest.raises(StorageError):
            output.commit()
    assert (tmp_path / "out" / MARKER).read_text() == "one"


@pytest.mark.parametrize("name", ["with space", "quo'te\"s", "$(touch pwned)", "é中文🎈", "-rf", "a;b&c", "new\nline"])
def test_hostile_names_are_only_names(tmp_path, name):
    if os.name == "nt" and set(name) & set('<>:"/\\|?*\n'):
        pytest.skip("Windows has no such file names")
    build(tmp_path / name, "one")
    assert (tmp_path / name / MARKER).read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_build_that_goes_while_it_is_looked_at_is_in_nobodys_way(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "measurement.json").touch()
    path_type, look = type(folder), type(folder).iterdir

    def iterdir(path):
        if path == folder and folder.exists():
            folder.rename(tmp_path / "old")
        return look(path)

    monkeypatch.setattr(path_type, "iterdir", iterdir)
    check_output_folder(folder)
    assert not folder.exists()


def test_builds_of_the_same_thing_at_once_leave_one_whole_folder(tmp_path):
    errors = []

    def work(number):
        try:
            for _ in range(10):
                build(tmp_path / "out", f"{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "out" / MARKER).read_text() in "0123"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
