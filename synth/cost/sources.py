"""Which state of the package's own code a measurement belongs to."""

from functools import cache
from pathlib import Path

from synth.store import digest_of

_ROOT = Path(__file__).parent.parent.parent
_SOURCES = ("hw", "sw/formats", "sw/reference", "synth/netlist", "synth/operations", "synth/primitives",
            "synth/verify", "synth/build.py", "synth/flow.py", "synth/harness.py", "synth/targets.py")
"""Everything of the package that decides what a row of the table says."""


_RECORDS = "hw/recorded.json"
"""What decides how a circuit is built for which nothing is asked."""


@cache
def sources_digest(*, records: bool = True) -> str:
    """Return the SHA-256 of the package's own code that a row depends on.

    Parameters
    ----------
    records : bool
        Whether the table of recorded structures belongs to it.
    """
    parts: list[str | bytes] = []
    for name in _SOURCES:
        place = _ROOT / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            parts += [path.relative_to(_ROOT).as_posix(), path.read_bytes()]
    recorded = _ROOT / _RECORDS
    if records and recorded.exists():
        parts += [_RECORDS, recorded.read_bytes()]
    return digest_of(*parts)
