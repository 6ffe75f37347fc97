"""What a table of recorded structures says: the winners, by what they won, and how they compare with the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.tune.records import Basis, Choice

Json = dict[str, Any]


def listing(choices: Iterable[Choice]) -> list[list[str]]:
    """Return a row a choice: operator, target, winner, its LUTs, its MHz, by what it won; then what it won against.

    That is the structure with the fewest LUTs in words, where it is another one; and the structure that the
    component's own rule takes, its LUTs, and the winner's over them, where it is another one.
    """
    rows = []
    for choice in choices:
        least = "–" if choice.winner is None else str(choice.luts[choice.winner])
        same = choice.winner == choice.rule
        ratio = "" if same or choice.gain is None else f"{choice.gain:.3f}"
        passed = choice.fewest if choice.fewest not in (None, choice.winner) else None
        rows.append([str(choice.subject), choice.target, choice.winner or "none", least, _mhz(choice, choice.winner),
                     "" if choice.basis is None else choice.basis.value,
                     "" if passed is None else f"{passed}: {choice.luts[passed]}, {_mhz(choice, passed)} MHz",
                     "" if same else choice.rule, "" if same else str(choice.luts[choice.rule]), ratio])
    return rows


def _mhz(choice: Choice, structure: str | None) -> str:
    clock = choice.mhz.get(structure or "", "")
    return f"{clock:.1f}" if isinstance(clock, float) else clock


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

    ``clocked`` choices were taken by the product of LUTs and period, of which ``faster`` have another structure than
    the one with the fewest LUTs; ``mhz_ratio`` and ``lut_ratio`` are the geometric means, over these, of the winner's
    MHz and LUTs over those of that one. Of ``unplaced`` choices not every structure could be placed that was to be.
    """
    gains = [choice.gain for choice in choices if choice.gain is not None]
    different = [choice for choice in choices if choice.winner not in (None, choice.rule)]
    faster = [choice for choice in choices if choice.winner != choice.fewest]
    bases = [choice.basis for choice in choices]
    return {"choices": len(choices), "differ": len(different),
            "failed": sum(choice.winner is None for choice in choices), "ratio": _mean(gains),
            "ratio_where_different": _mean([choice.gain for choice in different if choice.gain is not None]),
            "clocked": bases.count(Basis.CLOCK), "unplaced": bases.count(Basis.UNPLACED), "faster": len(faster),
            "mhz_ratio": _mean([_over_fewest(choice, choice.mhz) for choice in faster]),
            "lut_ratio": _mean([_over_fewest(choice, choice.luts) for choice in faster])}


def _over_fewest(choice: Choice, figures: Mapping[str, Any]) -> float:
    """Return the winner's figure over that of the structure with the fewest LUTs; 0 over wires alone."""
    of_fewest = figures[choice.fewest or ""]
    return float(figures[choice.winner or ""] / of_fewest) if of_fewest else 0.0


def _mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean; circuits that became wires alone are left out, since no ratio holds them."""
    logarithms = [math.log(ratio) for ratio in ratios if ratio > 0]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None
