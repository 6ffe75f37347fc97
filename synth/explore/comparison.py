"""Accuracies of many choices, joined with their costs: what stands on the front, and what was left out and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from synth.explore.costing import Assignment, Cost
from synth.explore.evaluations import Outcome
from synth.explore.evaluator import Task
from synth.explore.front import Rated, Standing, gains, standings
from synth.explore.selection import held_out_choices
from synth.explore.statistics import Interval, mean_interval, paired_difference

BEST = "best"
"""View in which every choice has the technique that suits it."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An assignment of formats under one name.

    Parameters
    ----------
    label : str
    assignment : tuple of (str, Choice)
    """

    label: str
    assignment: Assignment

    @property
    def family(self) -> str:
        """Families of its formats."""
        return "/".join(dict.fromkeys(choice.family for _, choice in self.assignment))


Entry: TypeAlias = tuple[Candidate, Cost, str, tuple[float, ...]]
"""A candidate, its cost, by which technique it was quantized, and its accuracy for each seed."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A candidate in one view: accuracy, cost and standing.

    Parameters
    ----------
    candidate : Candidate
    technique : str
        By which it was quantized; in the best view, those chosen and how often.
    accuracies : tuple of float
        One a seed.
    accuracy, difference : Interval
        Of the accuracy, and of what it is above the float network's, in pairs.
    cost : Cost
    standing : Standing
    gain : Interval or None
        In accuracy over the next cheaper point of the front.
    """

    candidate: Candidate
    technique: str
    accuracies: tuple[float, ...]
    accuracy: Interval
    difference: Interval
    cost: Cost
    standing: Standing
    gain: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {"label": self.candidate.label, "family": self.candidate.family, "technique": self.technique,
                "formats": {layer: choice.to_json() for layer, choice in self.candidate.assignment},
                "accuracies": list(self.accuracies), "accuracy": self.accuracy.to_json(),
                "difference": self.difference.to_json(), "cost": self.cost.to_json(),
                "standing": self.standing.value, "gain": None if self.gain is None else self.gain.to_json()}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcome of an exploration.

    Parameters
    ----------
    views : mapping of str to sequence of Point
        By technique, and ``best`` first where there are several; points from the cheapest up.
    left_out : mapping of str to str
        Candidates without accuracy or cost, and why.
    """

    views: Mapping[str, Sequence[Point]]
    left_out: Mapping[str, str]

    @property
    def main(self) -> Sequence[Point]:
        """The points of the first view."""
        return next(iter(self.views.values()))


def compare(candidates: Sequence[Candidate], techniques: Sequence[str], *, seeds: Sequence[int],
            reference: Mapping[int, float], outcomes: Mapping[Task, Outcome],
            costs: Mapping[str, Cost | str]) -> Comparison:
    """Join accuracies and costs.

    Parameters
    ----------
    candidates : sequence of Candidate
    techniques : sequence of str
    seeds : sequence of int
    reference : mapping of int to float
        Accuracy of the float network of each seed.
    outcomes : mapping of Task to Outcome
        For every candidate, technique and seed.
    costs : mapping of str to Cost or str
        By label; a text says why there is none.
    """
    left_out: dict[str, str] = {}
    accuracies: dict[str, dict[str, tuple[float, ...]]] = {}
    for candidate in candidates:
        by_technique: dict[str, tuple[float, ...]] = {}
        for technique in techniques:
            found = [outcomes[Task(seed=seed, assignment=candidate.assignment, technique=technique)]
                     for seed in seeds]
            errors = [outcome.error for outcome in found if outcome.accuracy is None]
            if errors:
                left_out[f"{candidate.label}, {technique}"] = errors[0]
            else:
                by_technique[technique] = tuple(outcome.accuracy for outcome in found if outcome.accuracy is not None)
        cost = costs[candidate.label]
        if isinstance(cost, str):
            left_out[candidate.label] = cost
        elif by_technique:
            accuracies[candidate.label] = by_technique
    costed = [(candidate, cost) for candidate in candidates
              if candidate.label in accuracies and isinstance(cost := costs[candidate.label], Cost)]
    floats = [reference[seed] for seed in seeds]
    views: dict[str, Sequence[Point]] = {}
    if len(techniques) > 1:
        best = {label: best_of(by_technique) for label, by_technique in accuracies.items()}
        views[BEST] = points_of([(candidate, cost, *best[candidate.label]) for candidate, cost in costed], floats)
    for technique in techniques:
        views[technique] = points_of([(candidate, cost, technique, accuracies[candidate.label][technique])
                                    for candidate, cost in costed if technique in accuracies[candidate.label]], floats)
    return Comparison(views=views, left_out=left_out)


def best_of(by_technique: Mapping[str, tuple[float, ...]]) -> tuple[str, tuple[float, ...]]:
    """Return the techniques chosen and the accuracies with them.

    For each seed the technique is the one that is best on average over all other seeds: one chosen by the very
    accuracies that are then reported would be reported too high. With a single seed there are no others, and the
    first technique is taken.
    """
    chosen = held_out_choices(by_technique)
    counts = Counter(chosen).most_common()
    text = counts[0][0] if len(counts) == 1 else ", ".join(f"{name} ({count})" for name, count in counts)
    return text, tuple(by_technique[name][place] for place, name in enumerate(chosen))


def points_of(entries: Sequence[Entry], floats: Sequence[float]) -> list[Point]:
    """Return the points of a view, from the cheapest up; ``floats`` are the float networks' accuracies by seed."""
    rated = [Rated(accuracies=accuracies, cost=cost.value, low=cost.low, high=cost.high)
             for _, cost, _, accuracies in entries]
    points = [Point(candidate=candidate, technique=technique, accuracies=accuracies,
                    accuracy=bounded(mean_interval(accuracies)), difference=paired_difference(accuracies, floats),
                    cost=cost, standing=standing, gain=gain)
              for (candidate, cost, technique, accuracies), standing, gain
              in zip(entries, standings(rated), gains(rated), strict=True)]
    return sorted(points, key=lambda point: (point.cost.value, -point.accuracy.mean, point.candidate.label))


def bounded(interval: Interval) -> Interval:
    """Return the interval of a share: Student's, cut off at 0 and 1."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(mean=interval.mean, low=max(0.0, interval.low), high=min(1.0, interval.high),
                    count=interval.count)


def on_front(points: Sequence[Point]) -> list[Point]:
    """Return the points of the front, from the cheapest up."""
    return [point for point in points if point.standing is Standing.FRONT]
