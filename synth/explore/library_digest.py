"""The digest of the code and the libraries that an accuracy depends on."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent

_CODE = ("sw/formats/**/*.py", "sw/quantize/**/*.py", "sw/ptq/**/*.py", "sw/nn/**/*.py", "sw/train/**/*.py",
         "synth/explore/techniques.py", "synth/explore/network_evaluator.py")
"""Files whose change makes earlier accuracies and studies another version's."""

_LIBRARIES = ("torch", "numpy", "scikit-learn")


@cache
def library_digest() -> str:
    """Return the SHA-256 of the source of everything that quantizes, trains or evaluates."""
    state = hashlib.sha256()
    for place in _CODE:
        for file in sorted(_ROOT.glob(place)):
            state.update(file.relative_to(_ROOT).as_posix().encode() + b"\0")
            state.update(hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).digest())
    return state.hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that an accuracy depends on; those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def own_version() -> str:
    """Return the version of narrowgauge; that of its source folder where it is not installed."""
    try:
        return version("narrowgauge")
    except PackageNotFoundError:
        return "source folder"
