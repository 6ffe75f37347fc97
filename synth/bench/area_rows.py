"""Ratios: a circuit of ours held against a recorded one, and what that comes to over many."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.bench.area_columns import FMAX_COLUMNS
from synth.bench.area_table import EQUALS, Judgement
from synth.bench.peers import Peer, peers

Json = dict[str, Any]

__all__ = ["compare", "geometric_mean", "summarise"]


def compare(row: str, circuit: Mapping[str, Any], columns: Sequence[str]) -> Json:
    """Return a recorded circuit's figures beside ours.

    Parameters
    ----------
    row : str
        Name of the recorded circuit.
    circuit : mapping
        Our figures, as :func:`synth.bench.area.run` has them.
    columns : sequence of str

    Returns
    -------
    dict
        ``met`` is None where nothing is judged; ``fmax_met`` also where the latencies differ or nothing was placed.
    """
    equal, peer = EQUALS[row], peers()[row]
    limit = equal.judgement.limit
    luts: dict[str, Json] = {}
    for column in columns:
        ours, theirs = circuit["columns"][column].get("lut"), peer.luts.get(column)
        if ours is not None and theirs is not None:
            ratio = ours / theirs
            luts[column] = {"ours": ours, "theirs": theirs, "ratio": round(ratio, 4),
                            "met": None if limit is None else ratio <= limit}
    fmax = _fmax(peer, circuit, columns)
    comparable = same_latency(peer, circuit.get("latency"))
    return {"row": row, "repository": peer.repository, "format": peer.format, "operation": peer.operation,
            "judgement": equal.judgement.name.lower(), "limit": limit, "circuit": circuit["name"], "note": equal.note,
            "latency": {"ours": circuit.get("latency"), "theirs": peer.latency}, "luts": luts,
            "met": _all(figures["met"] for figures in luts.values()), "fmax_mhz": fmax,
            "fmax_met": _all(figures["met"] for figures in fmax.values()) if comparable and limit else None}


def _fmax(peer: Peer, circuit: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Json]:
    figures: dict[str, Json] = {}
    for column in columns:
        placed, theirs = circuit["columns"][column].get("fmax_mhz"), peer.fmax_mhz.get(column)
        if column in FMAX_COLUMNS and placed is not None and theirs is not None:
            ours = placed["median"]
            # They are recorded in whole MHz.
            figures[column] = {"ours": ours, "theirs": theirs, "ratio": round(ours / theirs, 4),
                               "met": round(ours) >= theirs}
    return figures


def same_latency(peer: Peer, latency: int | None) -> bool:
    """Whether our cycles are those of a recorded circuit; of one whose cycles are not recorded, ours were chosen so."""
    if latency is None:
        return False
    cycles = re.fullmatch(r"(\d+)(?:-(\d+))?", peer.latency)
    return cycles is None or int(cycles[1]) <= latency <= int(cycles[2] or cycles[1])


def _all(met: Iterable[bool | None]) -> bool | None:
    """Return whether all are met; None where nothing is judged."""
    known = [value for value in met if value is not None]
    return all(known) if known else None


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean, None of nothing."""
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 4) if ratios else None


def summarise(rows: Sequence[Json]) -> Json:
    """Return for each judgement how many rows are met and the geometric mean of the ratios of LUTs.

    Published circuits together are under ``peers``, once against every one of them and once, ``best``, against the
    smallest for each of our circuits and columns.
    """
    summary: Json = {}
    for judgement in Judgement:
        name = judgement.name.lower()
        chosen = [row for row in rows if row["judgement"] == name and row["luts"]]
        if chosen:
            summary[name] = {"limit": judgement.limit, **_means(chosen)}
    published = [row for row in rows if row["judgement"] in ("kept", "elsewhere") and row["luts"]]
    if published:
        summary["peers"] = {"limit": None, **_means(published), "best": geometric_mean(_against_best(published))}
    return summary


def _means(rows: Sequence[Json]) -> Json:
    columns = dict.fromkeys(column for row in rows for column in row["luts"])
    fmax = [_ratio(figures) for row in rows for figures in row["fmax_mhz"].values() if row["fmax_met"] is not None]
    return {"rows": len(rows), "met": sum(row["met"] is True for row in rows),
            "ratio": geometric_mean([_ratio(figures) for row in rows for figures in row["luts"].values()]),
            "columns": {column: geometric_mean([_ratio(row["luts"][column]) for row in rows if column in row["luts"]])
                        for column in columns},
            "fmax": {"rows": sum(row["fmax_met"] is not None for row in rows),
                     "met": sum(row["fmax_met"] is True for row in rows), "ratio": geometric_mean(fmax)}}


def _ratio(figures: Mapping[str, float]) -> float:
    return figures["ours"] / figures["theirs"]


def _against_best(rows: Sequence[Json]) -> list[float]:
    """Return our ratios against the smallest of the circuits that one of ours is compared with."""
    worst: dict[tuple[str, str], float] = {}
    for row in rows:
        for column, figures in row["luts"].items():
            key = row["circuit"], column
            worst[key] = max(worst.get(key, 0.0), _ratio(figures))
    return list(worst.values())
