"""Public circuits of the same arithmetic, and our own reference points: recorded measurements, as citations."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

REFERENCES = ("naive", "tuned", "tuned2", "rom", "int8", "int4", "nm", "deform")
"""Sources that are reference points of our own, written to know what is possible; the others are published designs."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A circuit that was measured once; nothing of it is measured again here.

    Parameters
    ----------
    name : str
    source : str
        Key of its repository.
    repository : str
        Where it is published; empty for a reference point of our own.
    computes : str
        What circuits of this source compute, in one line.
    format, operation, latency : str
        As recorded.
    luts : mapping of column to int
        LUT4 or LUT6 by target and recipe: ``ice40``, ``ecp5`` (without wide multiplexers), ``ecp5-wide``, ``xc7``,
        ``gowin`` (without) and ``gowin-wide``. A column without a figure is left out.
    fmax_mhz : mapping of column to int
        Between registers, of ``ice40`` and ``ecp5``.
    """

    name: str
    source: str
    repository: str
    computes: str
    format: str
    operation: str
    latency: str
    luts: Mapping[str, int]
    fmax_mhz: Mapping[str, int]

    @property
    def is_reference(self) -> bool:
        """Whether it is a reference point of our own rather than a published design."""
        return self.source in REFERENCES


@cache
def _document() -> Json:
    document: Json = json.loads((Path(__file__).parent / "data" / "peers.json").read_text(encoding="utf-8"))
    return document


def measured() -> Json:
    """Return how the figures were measured: date, tools, method, and the Yosys command of each column."""
    return dict(_document()["measured"])


@cache
def peers() -> Mapping[str, Peer]:
    """Return every recorded circuit by its name."""
    document = _document()
    rows: dict[str, Peer] = {}
    for row in document["rows"]:
        source = document["sources"][row["source"]]
        rows[row["name"]] = Peer(**row, repository=source.get("repository", ""), computes=source["computes"])
    return rows
