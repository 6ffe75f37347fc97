"""What is printed of a comparison of LUTs and Fmax."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.bench.area_columns import COLUMNS
from synth.bench.area_table import Judgement
from synth.console import Console

Json = dict[str, Any]

__all__ = ["failures", "mismatches", "report"]


def mismatches(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each netlist of ours that is wrong."""
    lines = []
    for circuit in document["circuits"]:
        for column, figures in circuit["columns"].items():
            check = figures.get("verification", {})
            if check.get("mismatches"):
                lines.append(f"Netlist of {circuit['name']} must be its arithmetic on {COLUMNS[column].title}, not "
                             f"wrong on {check['mismatches']:,} of {check['vectors']:,} vectors, the first: "
                             f"{check['first_mismatch']}")
    return lines


def failures(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each circuit of ours that a tool failed on."""
    return [f"{circuit['name']} on {COLUMNS[column].title}: {figures['error']}"
            for circuit in document["circuits"] for column, figures in circuit["columns"].items() if "error" in figures]


def report(document: Mapping[str, Any], console: Console) -> None:
    """Print a table for each judgement, the means, what there is to say about rows, and what has no equal."""
    columns = list(document["recipes"])
    for judgement in Judgement:
        rows = [row for row in document["rows"] if row["judgement"] == judgement.name.lower()]
        if rows:
            limit = "" if judgement.limit is None else f": at most {judgement.limit:.2f} of the recorded LUTs"
            _table(f"{judgement.title}{limit}", rows, columns, console)
    for name, means in document["summary"].items():
        console.print(_means(name, means))
    notes: dict[str, list[str]] = {}
    for row in document["rows"]:
        if row["note"]:
            notes.setdefault(row["note"], []).append(row["row"])
    for note, names in notes.items():
        console.print(f"{', '.join(names)}: {note}")
    reasons: dict[str, list[str]] = {}
    for name, reason in document["no_equal"].items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        console.print(f"no equal of {', '.join(names)}: {reason}")
    checks = [figures["verification"] for circuit in document["circuits"] for figures in circuit["columns"].values()
              if "verification" in figures]
    console.print(f"{sum(check['vectors'] for check in checks):,} vectors of {len(checks)} mapped netlists of ours "
                  f"checked, {sum(check['mismatches'] for check in checks):,} wrong")
    recorded = document["recorded"]
    console.print(f"the others' figures are recorded, not measured here ({recorded['date']}, "
                  f"{', '.join(recorded['tools'])}); ours are made by the same recipes")


def _table(title: str, rows: Sequence[Json], columns: Sequence[str], console: Console) -> None:
    """Print rows: ours/theirs and the ratio of LUTs for each column, then MHz where there are any, and what is met."""
    placed = [column for column in columns if any(column in row["fmax_mhz"] for row in rows)]
    header = ["recorded circuit", "ours", *(part for column in columns for part in (COLUMNS[column].title, "×")),
              "LUTs", *(f"{COLUMNS[column].title} MHz" for column in placed), *(["MHz"] if placed else [])]
    table = []
    for row in rows:
        cells = [row["row"], row["circuit"]]
        for column in columns:
            cells += _pair(row["luts"].get(column), "ours", "theirs")
        cells.append(_verdict(row["met"]))
        cells += [_pair(row["fmax_mhz"].get(column), "ours", "theirs")[0] for column in placed]
        table.append([*cells, *([_verdict(row["fmax_met"])] if placed else [])])
    console.table(title, header, table)


def _pair(figures: Mapping[str, Any] | None, *names: str) -> list[str]:
    """Return ``ours/theirs`` and the ratio; dashes where one of them has no figure."""
    if figures is None:
        return ["–", "–"]
    return ["/".join(f"{figures[name]:.0f}" for name in names), f"{figures['ratio']:.2f}"]


def _verdict(met: bool | None) -> str:
    return "–" if met is None else "met" if met else "MISSED"


_TITLES = {"peers": "all published circuits", **{judgement.name.lower(): judgement.title for judgement in Judgement}}


def _means(name: str, means: Mapping[str, Any]) -> str:
    """Return the line of the geometric means of one judgement, or of all published circuits."""
    columns = ", ".join(f"{COLUMNS[column].title} {mean:.2f}" for column, mean in means["columns"].items())
    met = "" if name == "beside" else f", {means['met']} met"
    text = f"{_TITLES[name]}: {means['rows']} rows{met}; LUTs {means['ratio']:.3f} in the geometric mean ({columns})"
    if "best" in means:
        text += f", {means['best']:.3f} against the best of each kind"
    if means["fmax"]["rows"]:
        text += (f"; MHz at the same latency: {means['fmax']['rows']} rows, {means['fmax']['met']} met, "
                 f"{means['fmax']['ratio']:.2f} in the geometric mean")
    return text
