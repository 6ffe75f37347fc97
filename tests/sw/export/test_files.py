"""Missing packages, and paths."""

import pytest
from torch import nn

from sw.export.files import check_module, checked_path, required


def test_an_installed_package_is_returned():
    assert required("json", "to read JSON").loads("1") == 1


def test_a_missing_package_is_named_with_the_line_that_mends_it():
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package must be installed to read files; "
                                                  r"pip install 'narrowgauge\[export\]'"):
        required("no_such_package.part", "to read files")


def test_what_an_installed_package_misses_is_not_taken_for_the_package(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_dependency'"):
        required("half_installed", "to read files")


def test_a_path_is_checked_before_anything_is_computed(tmp_path):
    assert checked_path(str(tmp_path / "a.onnx"), ".onnx") == tmp_path / "a.onnx"
    with pytest.raises(TypeError, match="Path must be a string or a path, not 3"):
        checked_path(3, ".onnx")
    with pytest.raises(ValueError, match="Path must end in '.onnx', not 'a.pt'"):
        checked_path(tmp_path / "a.pt", ".onnx")
    with pytest.raises(FileNotFoundError, match="Folder must exist, not .*missing"):
        checked_path(tmp_path / "missing" / "a.onnx", ".onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ValueError, match="Path must be that of a file, not of the folder"):
        checked_path(tmp_path / "folder.onnx", ".onnx")


def test_only_modules_are_exported():
    check_module(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="Model must be a torch.nn.Module, not 'dict'"):
        check_module({})
