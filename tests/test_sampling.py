"""A sample of a test's cases runs by default: as many as asked, evenly spread, whatever the cases look like."""

import pytest

from tests.support.sampling import sampled

SLOW = pytest.mark.slow


def quick(mark):
    return [case.values for case in mark.args[1] if not case.marks]


@pytest.mark.parametrize(("count", "want"), [(1, [3]), (2, [1, 4]), (3, [1, 3, 5]), (6, range(6)), (9, range(6))])
def test_the_sample_is_evenly_spread(count, want):
    mark = sampled("x", range(6), count).mark
    assert quick(mark) == [(x,) for x in want]
    assert [case.values for case in mark.args[1]] == [(x,) for x in range(6)]


def test_what_is_slow_stays_slow_and_is_not_counted():
    mark = sampled("x", [0, *(pytest.param(x, marks=SLOW) for x in (1, 2, 3)), 4], 2).mark
    assert quick(mark) == [(0,), (4,)]


def test_a_single_name_takes_tuples_whole():
    assert quick(sampled("pair", [(1, 2)], 1).mark) == quick(sampled(("pair",), [(1, 2)], 1).mark) == [((1, 2),)]
    assert quick(sampled("a, b", [(1, 2)], 1).mark) == quick(sampled(("a", "b"), [(1, 2)], 1).mark) == [(1, 2)]


def test_names_of_cases_and_other_options_are_kept():
    mark = sampled("x", [pytest.param(1, id="one"), 2], 1, ids=str).mark
    assert [case.id for case in mark.args[1]] == ["one", None]
    assert mark.kwargs == {"ids": str}
