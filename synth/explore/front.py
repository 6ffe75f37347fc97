"""The Pareto front of accuracy and cost: exact in the means, and honest about what the seeds cannot tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from synth.explore.statistics import Interval, paired_difference


class Standing(Enum):
    """Where a candidate stands."""

    FRONT = "front"
    """No other has a higher mean accuracy at no more cost, or less cost at no lower mean accuracy."""
    POSSIBLE = "possible"
    """Off the front in the means, but no other is better beyond the intervals: more seeds may put it there."""
    DOMINATED = "dominated"
    """Another is better, at 95 % confidence."""


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What the front needs to know of a candidate.

    Parameters
    ----------
    accuracies : tuple of float
        One a seed, 0 to 1; the same seeds in the same order for all candidates.
    cost : float
    low, high : float
        Interval of the cost; both equal to ``cost`` where it was measured.
    """

    accuracies: tuple[float, ...]
    cost: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return sum(self.accuracies) / len(self.accuracies)


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point whether no other is as low in every coordinate and lower in one.

    Points that are equal stand or fall together.

    Raises
    ------
    ValueError
        If the points have different numbers of coordinates, or one is not a number.
    """
    if len({len(point) for point in points}) > 1:
        raise ValueError(f"Points must have the same number of coordinates, not "
                         f"{sorted({len(point) for point in points})}")
    if any(value != value for point in points for value in point):
        raise ValueError("Coordinates must be numbers, not NaN")
    # A point is only ever dominated by one that precedes it in this order, and if by any, then by one of the front.
    members: list[Sequence[float]] = []
    on_front = [False] * len(points)
    for index in sorted(range(len(points)), key=lambda place: tuple(points[place])):
        point = points[index]
        if not any(_dominates(member, point) for member in members):
            members.append(point)
            on_front[index] = True
    return on_front


def _dominates(point: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(point, other, strict=True)) and tuple(point) != tuple(other)


def standings(candidates: Sequence[Rated]) -> list[Standing]:
    """Return where each candidate stands.

    Raises
    ------
    ValueError
        If the candidates have different numbers of seeds.
    """
    if len({len(candidate.accuracies) for candidate in candidates}) > 1:
        raise ValueError("Candidates must all have the same seeds, not "
                         f"{sorted({len(candidate.accuracies) for candidate in candidates})} of them")
    # Sums of the same numbers in another order differ in the last place, and a tie must be one: rounded means.
    on_front = pareto_front([(candidate.cost, -round(candidate.mean, 12)) for candidate in candidates])
    return [Standing.FRONT if front
            else Standing.DOMINATED if any(surely_better(other, candidate) for other in candidates)
            else Standing.POSSIBLE for candidate, front in zip(candidates, on_front, strict=True)]


def surely_better(candidate: Rated, other: Rated) -> bool:
    """Whether one dominates the other beyond the intervals of accuracy (paired, 95 %) and of cost (90 %)."""
    if candidate.high > other.low or candidate.mean < other.mean:
        return False
    low = paired_difference(candidate.accuracies, other.accuracies).low
    return low is not None and low >= 0 and (low > 0 or candidate.high < other.low)


def gains(candidates: Sequence[Rated]) -> list[Interval | None]:
    """Return what each member of the front gains in accuracy over the next cheaper one.

    None for those off the front, for the cheapest, and for members that equal another in both.
    """
    on_front = [place for place, standing in enumerate(standings(candidates)) if standing is Standing.FRONT]
    result: list[Interval | None] = [None] * len(candidates)
    ordered = sorted(on_front, key=lambda place: candidates[place].cost)
    cheaper: int | None = None
    for before, place in zip([None, *ordered], ordered, strict=False):
        if before is not None and candidates[before].cost < candidates[place].cost:
            cheaper = before
        if cheaper is not None:
            result[place] = paired_difference(candidates[place].accuracies, candidates[cheaper].accuracies)
    return result
