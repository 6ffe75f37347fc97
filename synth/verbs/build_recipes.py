"""What ``build --recipes`` says: the band of an operator on each target."""

from collections.abc import Sequence
from typing import Any

from synth.console import Console
from synth.targets import TARGETS


def report_band(console: Console, bands: Sequence[dict[str, Any]]) -> None:
    """Print each target's recipes with what came out under them, its best and worst, and how its default stands."""
    from synth.recipes.evidence import read_evidence
    from synth.recipes.standing import standing

    evidence = read_evidence() if bands else {}
    for band in bands:
        target = TARGETS[band["target"]]
        rows = [[f"{row['recipe_name']} (default)" if row["recipe_name"] == band["default"] else row["recipe_name"],
                 row.get("source", ""), *(row.get(key, "") for key in ("lut", "ff", "carry")),
                 fmax(row.get("fmax_mhz")), _ratio(row["ratio"]), _verified(row)] for row in band["recipes"]]
        console.table(f"{target.title}, by recipe",
                      ["recipe", "counted by", "LUT", "FF", "carry", "Fmax MHz", "LUT / default's", "verified"], rows)
        if band["best"] is not None:
            console.print(f"{target.title}: {band['best']} is the smallest, {band['worst']} the largest, "
                          f"{band['spread']:.2f} times as large")
        for row in band["recipes"]:
            if row["error"]:
                console.print(f"{target.title}, {row['recipe_name']}: {row['error']}")
        console.print(f"{target.title}: the default is {standing(target, evidence)}")


def fmax(figures: dict[str, Any] | None, unit: str = "") -> str:
    """Return median, range and number of seeds of an Fmax, ``unknown`` for None."""
    if figures is None:
        return "unknown"
    seeds = f"{figures['seeds']} seeds" if figures["seeds"] > 1 else "1 seed"
    return f"{figures['median']:.1f}{unit} ({figures['min']:.1f}–{figures['max']:.1f}, {seeds})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


def _verified(row: dict[str, Any]) -> str:
    """Say whether the netlist is the operator's arithmetic, and how often it is not."""
    check = row.get("verification")
    if not check:
        return "not run"
    return "yes" if row["verified"] else f"no: {check['mismatches']:,} of {check['vectors']:,}"
