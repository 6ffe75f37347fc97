"""Accuracies and costs are joined in views; nothing is lost without a reason."""

import pytest

from synth.explore.comparison import BEST, Candidate, best_of, bounded, compare, on_front
from synth.explore.costing import Cost
from synth.explore.evaluations import Outcome
from synth.explore.evaluator import Task, uniform
from synth.explore.front import Standing
from synth.explore.space import Choice
from synth.explore.statistics import Interval

INT4, INT8 = (Candidate(label=name, assignment=uniform(Choice(weight=name, activation=name)))
              for name in ("int4", "int8"))


def cost(value):
    return Cost(value=value, low=value, high=value, provenance="measured", detail={})


def outcomes(candidate, technique, *accuracies):
    return {Task(seed=seed, assignment=candidate.assignment, technique=technique):
            Outcome(accuracy=None, error=accuracy) if isinstance(accuracy, str) else Outcome(accuracy=accuracy)
            for seed, accuracy in enumerate(accuracies)}


def test_views_hold_points_from_the_cheapest_up():
    comparison = compare([INT8, INT4], ["plain"], seeds=[0, 1], reference={0: 0.9, 1: 0.8},
                         outcomes={**outcomes(INT4, "plain", 0.7, 0.6), **outcomes(INT8, "plain", 0.9, 0.79)},
                         costs={"int4": cost(5), "int8": cost(9)})
    assert list(comparison.views) == ["plain"]
    four, eight = comparison.main
    assert (four.candidate, eight.candidate) == (INT4, INT8)
    assert four.accuracies == (0.7, 0.6)
    assert four.difference.mean == pytest.approx(-0.2)
    assert eight.difference.mean == pytest.approx(-0.005)
    assert eight.gain.mean == pytest.approx(0.195)
    assert on_front(comparison.main) == [four, eight]
    assert comparison.left_out == {}
    document = eight.to_json()
    assert document["formats"] == {"*": {"weight": "int8", "activation": "int8", "power_of_two": False}}
    assert (document["label"], document["family"], document["standing"]) == ("int8", "int", "front")


def test_several_techniques_have_a_view_of_the_best():
    comparison = compare([INT4], ["plain", "gptq"], seeds=[0, 1, 2], reference=dict.fromkeys(range(3), 0.9),
                         outcomes={**outcomes(INT4, "plain", 0.7, 0.7, 0.7), **outcomes(INT4, "gptq", 0.8, 0.8, 0.75)},
                         costs={"int4": cost(5)})
    assert list(comparison.views) == [BEST, "plain", "gptq"]
    point, = comparison.views[BEST]
    assert (point.technique, point.accuracies) == ("gptq", (0.8, 0.8, 0.75))


def test_the_best_technique_is_chosen_without_the_seed_it_is_reported_for():
    # One lucky seed: chosen by all accuracies, 'lucky' would be reported at its own stroke of luck.
    by_technique = {"steady": (0.80, 0.80, 0.80), "lucky": (0.99, 0.75, 0.75)}
    text, accuracies = best_of(by_technique)
    assert accuracies == (0.80, 0.75, 0.75)
    assert text == "lucky (2), steady (1)"
    assert best_of({"first": (0.1,), "second": (0.9,)}) == ("first", (0.1,))


def test_what_has_no_accuracy_or_no_cost_is_left_out_with_its_reason():
    comparison = compare([INT4, INT8], ["plain", "gptq"], seeds=[0, 1], reference={0: 0.9, 1: 0.8}, outcomes={
        **outcomes(INT4, "plain", 0.7, 0.6), **outcomes(INT4, "gptq", 0.7, "Layer 'x' must be otherwise"),
        **outcomes(INT8, "plain", 0.9, 0.8), **outcomes(INT8, "gptq", 0.9, 0.8)},
        costs={"int4": cost(5), "int8": "no circuit"})
    assert {name: len(points) for name, points in comparison.views.items()} == {BEST: 1, "plain": 1, "gptq": 0}
    assert comparison.left_out == {"int4, gptq": "Layer 'x' must be otherwise", "int8": "no circuit"}


def test_intervals_of_shares_end_at_0_and_1():
    assert bounded(Interval(mean=0.99, low=0.95, high=1.03, count=3)).high == 1.0
    assert bounded(Interval(mean=0.01, low=-0.02, high=0.04, count=3)).low == 0.0
    one = Interval(mean=0.5, low=None, high=None, count=1)
    assert bounded(one) is one


def test_standings_are_those_of_each_view():
    comparison = compare([INT4, INT8], ["plain"], seeds=[0, 1, 2], reference=dict.fromkeys(range(3), 0.9), outcomes={
        **outcomes(INT4, "plain", 0.9, 0.91, 0.92), **outcomes(INT8, "plain", 0.5, 0.51, 0.52)},
        costs={"int4": cost(5), "int8": cost(9)})
    assert [point.standing for point in comparison.main] == [Standing.FRONT, Standing.DOMINATED]
