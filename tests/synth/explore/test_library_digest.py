"""The digest changes with the code that an accuracy depends on, and with nothing else."""

import importlib.metadata

from synth.explore import library_digest as module


def digest_in(root, monkeypatch):
    module.library_digest.cache_clear()
    monkeypatch.setattr(module, "_ROOT", root)
    try:
        return module.library_digest()
    finally:
        module.library_digest.cache_clear()


def test_the_digest_follows_the_code(tmp_path, monkeypatch):
    (tmp_path / "sw" / "ptq").mkdir(parents=True)
    (tmp_path / "synth" / "explore").mkdir(parents=True)
    for name in ("techniques.py", "network_evaluator.py", "front.py"):
        (tmp_path / "synth" / "explore" / name).write_text("a = 1\n")
    code = tmp_path / "sw" / "ptq" / "gptq.py"
    code.write_text("x = 1\n")
    first = digest_in(tmp_path, monkeypatch)
    assert digest_in(tmp_path, monkeypatch) == first
    code.write_bytes(b"x = 1\r\n")  # as git writes it out on Windows
    assert digest_in(tmp_path, monkeypatch) == first
    (tmp_path / "synth" / "explore" / "front.py").write_text("a = 2\n")
    (tmp_path / "sw" / "README.md").write_text("words")
    (tmp_path / "sw" / "export").mkdir()
    (tmp_path / "sw" / "export" / "qonnx.py").write_text("a = 2\n")
    assert digest_in(tmp_path, monkeypatch) == first
    seen = {first}
    code.write_text("x = 2\n")
    seen.add(digest_in(tmp_path, monkeypatch))
    code.rename(code.with_name("gpfq.py"))
    seen.add(digest_in(tmp_path, monkeypatch))
    (tmp_path / "synth" / "explore" / "techniques.py").write_text("a = 2\n")
    seen.add(digest_in(tmp_path, monkeypatch))
    assert len(seen) == 4


def test_every_pattern_finds_code():
    assert all(list(module._ROOT.glob(place)) for place in module._CODE)


def test_versions_of_what_is_installed(monkeypatch):
    def version(name):
        if name in ("narrowgauge", "torch"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(module, "version", version)
    assert module.library_versions() == {"numpy": "1.2", "scikit-learn": "1.2"}
    assert module.own_version() == "source folder"
