"""The store keeps what was measured, and believes nothing that was damaged."""

import sqlite3
import threading

import pytest

from synth.errors import StorageError
from synth.store import Store, cache_folder, digest_of


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def store(tmp_path, warnings):
    store = Store(tmp_path / "cache", warn=warnings.append)
    yield store
    store.close()


def test_records_and_files_come_back(store, warnings):
    digest = store.put_file(b"netlist" * 1000)
    store.put("k", "synthesis", {"netlist": digest, "lut": 3})
    assert store.get("k") == {"netlist": digest, "lut": 3}
    assert store.get_file(digest) == b"netlist" * 1000
    assert digest == digest_of(b"netlist" * 1000)
    assert store.get("other") is None
    assert store.get_file("0" * 64) is None
    assert warnings == []


def test_a_newer_record_replaces_an_older_one(store):
    store.put("k", "synthesis", {"lut": 3})
    store.put("k", "synthesis", {"lut": 4})
    assert store.get("k") == {"lut": 4}


def test_digest_separates_its_parts():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("a") == digest_of(b"a")


def test_an_altered_record_is_measured_again(store, warnings):
    store.put("k", "synthesis", {"lut": 30})
    other = sqlite3.connect(store.path)
    other.execute("UPDATE records SET body = replace(body, '30', '20')")
    other.commit()
    other.close()
    assert store.get("k") is None
    assert len(warnings) == 1
    assert "Store record must have the digest it was stored with, not another" in warnings[0]


@pytest.mark.parametrize("damage", [b"not compressed", None])
def test_an_altered_file_is_made_again(store, warnings, damage):
    import zlib

    digest = store.put_file(b"netlist")
    other = sqlite3.connect(store.path)
    other.execute("UPDATE files SET data = ?", (damage or zlib.compress(b"another"),))
    other.commit()
    other.close()
    assert store.get_file(digest) is None
    assert "Store file must have the digest it was stored with, not another" in warnings[0]


def test_a_corrupt_database_is_set_aside_and_kept(tmp_path, warnings):
    (tmp_path / "store.sqlite").write_bytes(b"this is no database at all, whatever its name says" * 50)
    store = Store(tmp_path, warn=warnings.append)
    store.put("k", "x", {"a": 1})
    assert store.get("k") == {"a": 1}
    store.close()
    assert (tmp_path / "store.sqlite.damaged-1").read_bytes().startswith(b"this is no database")
    assert "Store must be a SQLite database, not" in warnings[0]
    assert "set aside as store.sqlite.damaged-1" in warnings[0]


def test_a_second_corrupt_database_does_not_overwrite_the_first(tmp_path, warnings):
    for content in (b"first" * 500, b"second" * 500):
        (tmp_path / "store.sqlite").write_bytes(content)
        Store(tmp_path, warn=warnings.append).close()
        (tmp_path / "store.sqlite").unlink()
    assert (tmp_path / "store.sqlite.damaged-1").read_bytes().startswith(b"first")
    assert (tmp_path / "store.sqlite.damaged-2").read_bytes().startswith(b"second")


def test_a_database_torn_while_open_is_set_aside(tmp_path, warnings):
    store = Store(tmp_path, warn=warnings.append)
    for number in range(200):
        store.put(f"k{number}", "x", {"text": "y" * 500})
    store.close()
    data = bytearray((tmp_path / "store.sqlite").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)  # the header and the schema survive, everything else does not
    (tmp_path / "store.sqlite").write_bytes(data)
    store = Store(tmp_path, warn=warnings.append)
    assert [store.get(f"k{number}") for number in range(200)] == [None] * 200
    store.put("k", "x", {"a": 1})
    assert store.get("k") == {"a": 1}
    store.close()
    assert any("Store must be a SQLite database" in warning for warning in warnings)


def test_a_store_in_place_of_a_file_is_refused(tmp_path, warnings):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="Store folder must be writable, not .*; NARROWGAUGE_CACHE names another"):
        Store(tmp_path / "cache", warn=warnings.append)


def test_a_store_that_cannot_be_opened_is_refused(tmp_path, warnings):
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(StorageError, match="Store must be readable and writable, not"):
        Store(tmp_path, warn=warnings.append)


def test_a_full_disk_is_said(store, monkeypatch):
    class Full:
        def execute(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    monkeypatch.setattr(store, "_database", Full())
    with pytest.raises(StorageError, match="Store must be readable and writable, .*disk is full.*free some space"):
        store.put("k", "x", {})


def test_threads_and_processes_share_it(tmp_path, warnings):
    stores = [Store(tmp_path, warn=warnings.append) for _ in range(2)]

    def work(store, offset):
        for number in range(50):
            store.put(f"k{offset + number}", "x", {"n": offset + number})

    threads = [threading.Thread(target=work, args=(store, 1000 * place)) for place, store in enumerate(stores * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stores[0].get(f"k{offset + number}") == {"n": offset + number}
               for offset in (0, 1000, 2000, 3000) for number in range(50))
    assert stores[1].statistics()["records"] == 200
    for store in stores:
        store.close()


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NARROWGAUGE_CACHE")
    assert "narrowgauge" in str(cache_folder())
