"""What a run of mutation testing says: a line a target, and a line for each fault that was missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from synth.mutate.verdict import Verdict
from synth.targets import TARGETS

SHOWN = 20
"""Missed faults of a target that are listed; ``--json`` has all."""


def mutation_passed(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every target reaches the score that it needs."""
    return all(record["score"] >= record["needed"] for record in records)


def mutation_lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a user is told of :func:`synth.mutate.mutation_run`."""
    return [line for record in records for line in _lines(record)]


def _lines(record: Mapping[str, Any]) -> list[str]:
    title, total = TARGETS[record["target"]].title, record["population"]["total"]
    planted = f"{record['planted']:,} of {total:,} faults" if record["planted"] < total else f"all {total:,} faults"
    parts = [f"{record['killed']:,} found by the check"]
    methods = Counter(_short(survivor["method"]) for survivor in record["survivors"]
                      if survivor["verdict"] == Verdict.EQUIVALENT.value)
    if record["equivalent"]:
        parts.append(f"{record['equivalent']:,} change nothing "
                     f"({', '.join(f'{count:,} by {method}' for method, count in methods.items())})")
    parts += [f"{record[name]:,} {text}" for name, text in (
        ("not_equivalent", "missed"), ("unknown", "missed or without effect: not known which")) if record[name]]
    verdict = "" if record["score"] >= record["needed"] else f", below the {record['needed']:.0%} that it needs"
    lines = [f"{title}: {planted} planted one by one (seed {record['seed']}): {', '.join(parts)}; score "
             f"{_percent(record['score'])}{verdict}, in {record['seconds']:.1f} s"]
    missed = [survivor for survivor in record["survivors"] if survivor["verdict"] != Verdict.EQUIVALENT.value]
    lines += [f"  {survivor['verdict']}: {survivor['kind']}, {survivor['what']} of {survivor['type']} "
              f"{survivor['cell']} ({survivor['method']})" for survivor in missed[:SHOWN]]
    if len(missed) > SHOWN:
        lines.append(f"  and {len(missed) - SHOWN:,} more, which --json lists")
    return lines


def _percent(score: float) -> str:
    """Return a score in percent, rounded down: 100 % is all of them."""
    return f"{int(score * 10000) / 100:g} %"


def _short(method: str) -> str:
    """Return a method without the number of bits, so that equal ones count together."""
    return "enumeration" if "all combinations" in method and "induction" not in method else \
        "induction" if "induction" in method else method
