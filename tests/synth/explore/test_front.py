"""The front is exact, ties included, and says what the seeds cannot tell apart."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.explore.front import Rated, Standing, gains, pareto_front, standings, surely_better


def by_definition(points):
    return [not any(all(a <= b for a, b in zip(other, point, strict=True)) and other != point for other in points)
            for point in points]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@given(data=st.data())
def test_the_front_is_the_one_of_the_definition(dimensions, data):
    # Few different values, so that there are ties in one coordinate and in all of them.
    points = data.draw(st.lists(st.tuples(*[st.integers(0, 5)] * dimensions), max_size=25))
    assert pareto_front(points) == by_definition(points)


def test_the_front_of_many_random_points():
    generator = random.Random(7)
    points = [(generator.randrange(60), generator.random()) for _ in range(600)]
    assert pareto_front(points) == by_definition(points)


def test_equal_points_stand_together():
    assert pareto_front([(1, 2), (1, 2), (2, 1), (2, 2)]) == [True, True, True, False]
    assert pareto_front([]) == []


@pytest.mark.parametrize(("points", "message"), [
    ([(1, 2), (1,)], r"Points must have the same number of coordinates, not \[1, 2\]"),
    ([(1, float("nan"))], "Coordinates must be numbers, not NaN"),
])
def test_points_that_cannot_be_compared_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        pareto_front(points)


def rated(*accuracies, cost, low=None, high=None):
    return Rated(accuracies=accuracies, cost=cost, low=cost if low is None else low,
                 high=cost if high is None else high)


def test_standings_tell_noise_from_domination():
    cheap = rated(0.90, 0.92, 0.91, cost=10)
    same_within_noise = rated(0.92, 0.89, 0.91, cost=20)  # lower on average by 0.003, better with one seed
    surely_worse = rated(0.80, 0.82, 0.81, cost=20)
    good = rated(0.95, 0.97, 0.96, cost=30)
    assert standings([cheap, same_within_noise, surely_worse, good]) == [
        Standing.FRONT, Standing.POSSIBLE, Standing.DOMINATED, Standing.FRONT]


def test_a_cost_that_may_be_lower_leaves_a_point_possible():
    measured = rated(0.95, 0.96, 0.97, cost=20)
    predicted = rated(0.90, 0.91, 0.92, cost=22, low=18, high=26)
    assert standings([measured, predicted])[1] is Standing.POSSIBLE
    assert standings([measured, rated(0.90, 0.91, 0.92, cost=22, low=21, high=26)])[1] is Standing.DOMINATED


def test_the_same_accuracy_at_less_cost_is_better_for_sure():
    one, other = rated(0.9, 0.8, cost=10), rated(0.9, 0.8, cost=11)
    assert surely_better(one, other)
    assert not surely_better(other, one)
    assert not surely_better(one, one)
    assert standings([one, other, one]) == [Standing.FRONT, Standing.DOMINATED, Standing.FRONT]


def test_a_single_seed_tells_nothing():
    assert standings([rated(0.9, cost=1), rated(0.5, cost=2)]) == [Standing.FRONT, Standing.POSSIBLE]


def test_a_tie_in_the_mean_is_one_whatever_the_order_of_the_sum():
    assert sum([0.1, 0.2, 0.3]) != sum([0.3, 0.2, 0.1])
    assert standings([rated(0.1, 0.2, 0.3, cost=1), rated(0.3, 0.2, 0.1, cost=1)]) == [Standing.FRONT] * 2


def test_different_seeds_are_refused():
    with pytest.raises(ValueError, match=r"Candidates must all have the same seeds, not \[1, 2\] of them"):
        standings([rated(0.9, cost=1), rated(0.9, 0.8, cost=1)])


def test_gains_are_over_the_next_cheaper_of_the_front():
    candidates = [rated(0.97, 0.99, cost=30), rated(0.90, 0.90, cost=10), rated(0.5, 0.5, cost=15),
                  rated(0.95, 0.96, cost=20), rated(0.95, 0.96, cost=20)]
    got = gains(candidates)
    assert got[1] is None
    assert got[2] is None
    assert got[0].mean == pytest.approx(0.025)
    assert got[3].mean == got[4].mean == pytest.approx(0.055)
