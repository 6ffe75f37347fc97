"""The band of a circuit on a target: what it costs under each recipe, and whether each of them leaves it right."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from synth import flow
from synth.build import Builder, Outcome
from synth.store import Json


def band(builder: Builder, work: Path) -> list[Json]:
    """Return what came out under each recipe of each target of a plan that asked for all of them.

    Logs that errors name are given as they lie in ``work``, the folder that the builder has worked in.

    A target's band holds the default recipe's name, a row for each recipe, the best and the worst one that leaves the
    circuit right, and the ``spread``: LUTs of the worst over those of the best. LUTs are compared as the packer counts
    them, or, where a recipe's netlist could not be placed, as Yosys does.
    """
    targets: dict[str, list[Outcome]] = {}
    for outcome in builder.outcomes:
        targets.setdefault(outcome.target.name, []).append(outcome)
    return [_band(name, outcomes, work) for name, outcomes in targets.items()]


def _band(name: str, outcomes: Sequence[Outcome], work: Path) -> Json:
    default = next(outcome for outcome in outcomes if outcome.is_default)
    rows = [_row(outcome, default, work) for outcome in outcomes]
    right = [row for row in rows if row["verified"] and row["ratio"] is not None]
    best = min(right, key=lambda row: row["ratio"], default=None)
    worst = max(right, key=lambda row: row["ratio"], default=None)
    return {"target": name, "default": default.recipe.name, "recipes": rows,
            "best": best and best["recipe_name"], "worst": worst and worst["recipe_name"],
            "spread": best and worst and round(worst["ratio"] / best["ratio"], 4)}


def _row(outcome: Outcome, default: Outcome, work: Path) -> Json:
    """Return a recipe's row; without counts where Yosys itself failed."""
    row: Json = {"recipe_name": outcome.recipe.name, "reason": outcome.recipe.reason, "verified": False, "ratio": None,
                 "error": None if outcome.error is None else str(outcome.error).replace(f"{work}{os.sep}", "")}
    mapped = outcome.mapped
    if mapped is None:
        return row
    placed = outcome.placed if outcome.error is None else []
    counts = _counts(outcome, placed)
    rules = outcome.target.place_and_route
    verification = outcome.verification or {}
    return {**row, "recipe": mapped.script, "source": "nextpnr" if placed else "yosys", **counts,
            "ratio": _ratio(counts, outcome, default, is_placed=bool(placed)),
            "fmax_mhz": None if rules is None or rules.fmax_unknown else flow.fmax_summary(placed),
            "verified": verification.get("mismatches") == 0, "verification": verification,
            "netlist_sha256": mapped.digest, "tools": {"yosys": asdict(mapped.yosys)}}


def _counts(outcome: Outcome, placed: Sequence[flow.Placed]) -> dict[str, int]:
    assert outcome.mapped is not None  # those that were not mapped have no counts
    counts = flow.count_cells(outcome.target, outcome.mapped.cells)
    if placed:
        counts["lut"], counts["ff"] = placed[0].lut, placed[0].ff
    return counts


def _ratio(counts: dict[str, int], outcome: Outcome, default: Outcome, *, is_placed: bool) -> float | None:
    """Return LUTs over those of the default recipe, counted by the same tool; None where there are none to compare."""
    if default.mapped is None:
        return None
    same = default.placed if is_placed and default.error is None else []
    if is_placed and not same:
        counts = _counts(outcome, [])
    base = _counts(default, same)["lut"]
    return round(counts["lut"] / base, 4) if base else None
