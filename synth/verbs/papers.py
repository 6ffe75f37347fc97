"""``papers``: the figures of a published system, beside ours from this run."""

import argparse
import functools
import tempfile
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode
from synth.papers.catalog import PAPERS, find_paper, find_parts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    width = max(map(len, PAPERS))
    parser.epilog = "papers:\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in PAPERS.items())
    parser.add_argument("paper", nargs="?", metavar="NAME", help="paper to reproduce (default: list them)")
    parser.add_argument("--part", metavar="NAME", help="part of the paper (default: all of them)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Reproduce, or list; return the exit code: 1 if a figure is not reproduced."""
    if arguments.paper is None:
        return _list(console)
    paper = find_paper(arguments.paper)
    parts = find_parts(paper, arguments.part)
    from synth.papers.laboratory import Laboratory
    from synth.store import Store, cache_folder

    warn = functools.cache(console.warn)                 # each thing once, however many parts and operators it is about
    store = Store(cache_folder(), warn=warn)
    rows = {}
    try:
        for part in parts:
            with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder, \
                    console.progress(f"{paper.name}, {part.name}", part.steps) as progress:
                rows[part.name] = part.run(Laboratory(
                    store=store, folder=Path(folder), progress=progress, seed=arguments.seed,
                    timeout=arguments.timeout, jobs=arguments.jobs, warn=warn))
    finally:
        store.close()
    console.json({"paper": paper.name, "citation": paper.citation,
                  "rows": [{"part": name, **row.to_json()} for name, found in rows.items() for row in found]})
    console.print(f"{paper.title} ({paper.citation})")
    for part in parts:
        _report(part.summary, rows[part.name], console)
    every = [row for found in rows.values() for row in found]
    return ExitCode.DONE if all(row.holds for row in every) else ExitCode.MISMATCH


def _report(summary: str, rows: list[Any], console: Console) -> None:
    console.table(summary, ["quantity", "unit", "ours", "paper", "ratio", "demand", "", "provenance", "source"], [
        [row.quantity, row.unit, _number(row.ours), _number(row.paper), _number(row.ratio), _demand(row),
         "holds" if row.holds else "FAILS", row.provenance.value, row.source] for row in rows])
    for row in rows:
        if row.note:
            console.print(f"{row.quantity}: {row.note}")


def _list(console: Console) -> int:
    papers = [find_paper(name) for name in PAPERS]
    console.json({"papers": [{"name": paper.name, "title": paper.title, "citation": paper.citation,
                              "parts": {part.name: part.summary for part in paper.parts.values()}}
                             for paper in papers]})
    console.table("", ["paper", "part", "what is reproduced"],
                  [[paper.name, part.name, part.summary] for paper in papers for part in paper.parts.values()])
    return ExitCode.DONE


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _demand(row: Any) -> str:
    from synth.papers.record import Demand

    return f"within {row.tolerance:.0%}" if row.demand is Demand.CLOSE else str(row.demand.value)
