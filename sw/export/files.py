"""Packages that only an export needs, and the files that it may write."""

import importlib
import os
from pathlib import Path
from types import ModuleType

from torch import nn


def required(package: str, purpose: str) -> ModuleType:
    """Return a package that is not one of narrowgauge's own requirements.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise
        raise ModuleNotFoundError(f"{package.partition('.')[0]} must be installed {purpose}; "
                                  "pip install 'narrowgauge[export]'", name=error.name) from error


def checked_path(path: str | os.PathLike[str], suffix: str) -> Path:
    """Return the path of a file to write, whose folder exists.

    Raises
    ------
    TypeError, ValueError
        If it is no path, has another suffix, or is a folder.
    FileNotFoundError
        If its folder does not exist.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Path must be a string or a path, not {path!r}")
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"Path must end in {suffix!r}, not {path.name!r}")
    if path.is_dir():
        raise ValueError(f"Path must be that of a file, not of the folder {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Folder must exist, not {str(path.parent)!r}; make it with mkdir")
    return path


def check_module(model: nn.Module) -> None:
    """Raise TypeError unless ``model`` is a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"Model must be a torch.nn.Module, not {type(model).__name__!r}")
