"""Intervals are Student's, and hold what they promise."""

import math
import random

import pytest

from synth.explore.statistics import Interval, mean_interval, paired_difference, student_quantile


@pytest.mark.parametrize(("degrees", "want"), [
    (1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (10, 2.22814), (30, 2.04227),
    (120, 1.97993)])
def test_quantiles_are_those_of_the_tables(degrees, want):
    # Abramowitz & Stegun 1964, table 26.10, to as many digits as printed there or in common extensions of it.
    assert student_quantile(0.975, degrees) == pytest.approx(want, rel=3e-6)


def test_quantiles_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for degrees in (*range(1, 40), 99, 1000):
        for probability in (0.51, 0.75, 0.9, 0.95, 0.975, 0.995, 0.9999):
            want = stats.t.ppf(probability, degrees)
            got = student_quantile(probability, degrees)
            assert got == pytest.approx(want, rel=1e-9), (degrees, probability, got, want)


@pytest.mark.parametrize(("probability", "degrees", "message"), [
    (0.5, 3, "Probability must be above 1/2 and below 1, not 0.5"),
    (1.0, 3, "Probability must be above 1/2 and below 1, not 1.0"),
    (0.9, 0, "Degrees of freedom must be at least 1, not 0"),
])
def test_a_quantile_out_of_range_is_refused(probability, degrees, message):
    with pytest.raises(ValueError, match=message):
        student_quantile(probability, degrees)


def test_interval_of_known_values():
    got = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446305284263 * math.sqrt(5 / 3) / 2
    assert got.mean == 2.5
    assert got.low == pytest.approx(2.5 - half)
    assert got.high == pytest.approx(2.5 + half)
    assert got.count == 4


def test_one_value_has_no_interval():
    assert mean_interval([0.5]) == Interval(mean=0.5, low=None, high=None, count=1)


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([0.1] * 7) == Interval(mean=0.1, low=0.1, high=0.1, count=7)


@pytest.mark.parametrize(("values", "message"), [
    ([], "Values must be at least one, not none"),
    ([1.0, math.nan], r"Values must be finite, not \[1.0, nan\]"),
    ([math.inf], r"Values must be finite, not \[inf\]"),
])
def test_values_without_a_mean_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(values)


def test_the_interval_holds_the_mean_as_often_as_promised():
    generator = random.Random(1)
    runs = 4000
    held = sum(interval.low <= 0.3 <= interval.high for interval in (
        mean_interval([generator.gauss(0.3, 2.0) for _ in range(10)]) for _ in range(runs)))
    # Three standard deviations of a binomial count around 95 %.
    assert abs(held / runs - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs), held


def test_pairs_cancel_what_the_seeds_share():
    shared = [0.1, 0.5, 0.9, 0.3]
    other = [value - 0.01 for value in shared]
    got = paired_difference(shared, other)
    assert got.mean == pytest.approx(0.01)
    assert got.high - got.low < 1e-9
    assert mean_interval(shared).low < mean_interval(other).high


def test_pairs_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"Values must be as many as those they are paired with \(1\), not 2"):
        paired_difference([1.0, 2.0], [1.0])
