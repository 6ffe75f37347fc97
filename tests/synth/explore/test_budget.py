"""Limits are kept or said to be out of reach, with the nearest that is not."""

import itertools

import pytest

from synth.errors import UsageError
from synth.explore.budget import Budget, check_reachable
from synth.explore.costing import Axis, Costing
from synth.explore.space import Choice
from tests.support.exploration import LAYERS, cost_of_bits

CHOICES = [Choice(weight=name, activation=name) for name in ("int8", "int3", "posit<6,1>")]
COSTING = Costing(axis=Axis.LUT, target="ecp5", coster=cost_of_bits, layers=LAYERS, owners=("first", "last"), macs=8)


def test_excesses_are_shares_of_the_limits():
    budget = Budget(max_lut=100, max_bytes=50, min_accuracy=0.9)
    assert budget.excesses({"lut": 150, "bytes": 50, "accuracy": 0.8}) == pytest.approx(
        {"lut": 0.5, "bytes": 0.0, "accuracy": 0.1})
    assert not budget.is_met({"lut": 150, "bytes": 50, "accuracy": 0.95})
    assert budget.is_met({"lut": 100, "bytes": 50, "accuracy": 0.9})
    assert Budget().is_met({})
    assert budget.limits() == {"--max-lut": 100, "--max-bytes": 50, "--min-accuracy": 0.9}


@pytest.mark.parametrize("value", [-0.1, 1.01, 97.0])
def test_an_accuracy_that_is_no_share_is_refused(value):
    with pytest.raises(UsageError, match=f"Minimum accuracy must be between 0 and 1, not {value}"):
        Budget(min_accuracy=value)


@pytest.mark.parametrize(("axis", "limit"), [(Axis.LUT, "max_lut"), (Axis.BYTES, "max_bytes")])
def test_the_least_limit_is_that_of_all_assignments(axis, limit):
    names = ["first", "last"]
    least = min(COSTING.on(axis).cost(tuple(zip(names, assignment, strict=True))).value
                for assignment in itertools.product(CHOICES, repeat=2))
    check_reachable(Budget(**{limit: int(least)}), names, CHOICES, COSTING)
    option = "--" + limit.replace("_", "-")
    with pytest.raises(UsageError, match=f"Budget {option} must be at least {least:,.0f}, which the cheapest formats "
                                         rf"take \(int3\), not {int(least) - 1:,}; raise it, or give fewer --bits"):
        check_reachable(Budget(**{limit: int(least) - 1}), names, CHOICES, COSTING)


def test_no_limit_is_no_obstacle():
    check_reachable(Budget(min_accuracy=1.0), ["first", "last"], CHOICES, COSTING)


def test_the_axes_with_a_limit():
    assert Budget(max_lut=1, min_accuracy=0.5).axes() == (Axis.LUT,)
    assert Budget(max_bytes=1, max_lut=1).axes() == (Axis.LUT, Axis.BYTES)
    assert Budget(min_accuracy=0.5).axes() == ()
