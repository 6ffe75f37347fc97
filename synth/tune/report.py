"""What a table of recorded structures says: the winners, and how much smaller they are than what the rules take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from synth.tune.records import Choice

Json = dict[str, Any]


def listing(choices: Iterable[Choice]) -> list[list[str]]:
    """Return a row a choice: operator, target, winner, its LUTs, what the rule takes, its LUTs, the ratio."""
    rows = []
    for choice in choices:
        least = "–" if choice.winner is None else str(choice.luts[choice.winner])
        same = choice.winner == choice.rule
        ratio = "" if same or choice.gain is None else f"{choice.gain:.3f}"
        rows.append([str(choice.subject), choice.target, choice.winner or "none", least,
                     "" if same else choice.rule, "" if same else str(choice.luts[choice.rule]), ratio])
    return rows


def summaries(choices: Iterable[Choice]) -> list[Json]:
    """Return a summary for each operation, and one of all: see :func:`summary`."""
    by_operation: dict[str, list[Choice]] = {}
    for choice in choices:
        by_operation.setdefault(choice.subject.op, []).append(choice)
    everything = [choice for each in by_operation.values() for choice in each]
    parts = {**by_operation, **({"all": everything} if len(by_operation) > 1 else {})}
    return [{"operation": name, **summary(each)} for name, each in parts.items()]


def summary(choices: Sequence[Choice]) -> Json:
    """Return how many ``choices`` there are, how many ``differ`` from the rule, how many have ``failed`` outright.

    ``ratio`` is the geometric mean, over all that have both counts, of the winner's LUTs over those of the structure
    that the component's own rule takes, and ``ratio_where_different`` that over those where the two differ; None for a
    mean of nothing.
    """
    gains = [choice.gain for choice in choices if choice.gain is not None]
    different = [choice for choice in choices if choice.winner not in (None, choice.rule)]
    return {"choices": len(choices), "differ": len(different),
            "failed": sum(choice.winner is None for choice in choices), "ratio": _mean(gains),
            "ratio_where_different": _mean([choice.gain for choice in different if choice.gain is not None])}


def _mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean; circuits that became wires alone are left out, since no ratio holds them."""
    logarithms = [math.log(ratio) for ratio in ratios if ratio > 0]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None
