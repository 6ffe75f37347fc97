"""Means over seeds with Student's interval, and differences in pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

CONFIDENCE = 0.95
"""Share of repetitions whose interval holds the true mean."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and where the true one lies.

    Parameters
    ----------
    mean : float
    low, high : float or None
        Bounds of Student's interval; None for a single value, which says nothing about its spread.
    count : int
        Values that it was made of.
    """

    mean: float
    low: float | None
    high: float | None
    count: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the fields, ready for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "count": self.count}


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent values with Student's interval.

    Raises
    ------
    ValueError
        If there is no value, one is not finite, or ``confidence`` is not between 0 and 1.
    """
    if not values:
        raise ValueError("Values must be at least one, not none")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"Values must be finite, not {list(values)!r}")
    count = len(values)
    mean = math.fsum(values) / count
    half = student_quantile(0.5 + 0.5 * confidence, count - 1) if count > 1 else math.nan
    if count == 1:
        return Interval(mean=mean, low=None, high=None, count=1)
    if min(values) == max(values):  # the mean itself is rounded; equal values have no spread
        return Interval(mean=values[0], low=values[0], high=values[0], count=count)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half *= deviation / math.sqrt(count)
    return Interval(mean=mean, low=mean - half, high=mean + half, count=count)


def paired_difference(values: Sequence[float], others: Sequence[float], *,
                      confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of ``values - others`` with its interval; a place in both is one seed.

    What the seeds have in common cancels, so that the interval is narrower than those of the two means.

    Raises
    ------
    ValueError
        If the two are not of the same length, or as for :func:`mean_interval`.
    """
    if len(values) != len(others):
        raise ValueError(f"Values must be as many as those they are paired with ({len(others)}), not {len(values)}")
    return mean_interval([value - other for value, other in zip(values, others, strict=True)], confidence=confidence)


@cache
def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's distribution with whole ``degrees`` of freedom, for a probability above 1/2.

    By bisection of the closed form, which takes no library.

    Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if not 0.5 < probability < 1:
        raise ValueError(f"Probability must be above 1/2 and below 1, not {probability!r}")
    if degrees < 1:
        raise ValueError(f"Degrees of freedom must be at least 1, not {degrees!r}")
    inside = 2 * probability - 1
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(degrees)
    for _ in range(100):
        middle = (low + high) / 2
        if _within(middle, degrees) < inside:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """Return the probability of lying between -t and t, t = sqrt(degrees) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for place in range((degrees - 1) // 2 if odd else degrees // 2):
        total += term
        step = 2 * place + (2 if odd else 1)
        term *= cosine * cosine * step / (step + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
