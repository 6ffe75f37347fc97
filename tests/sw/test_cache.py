"""Where the cache is."""

from pathlib import Path

import platformdirs

from sw.cache import cache_folder


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_otherwise_it_is_the_users(monkeypatch):
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("NARROWGAUGE_CACHE", raising=False)
        else:
            monkeypatch.setenv("NARROWGAUGE_CACHE", value)
        assert cache_folder() == Path(platformdirs.user_cache_dir("narrowgauge", appauthor=False))
