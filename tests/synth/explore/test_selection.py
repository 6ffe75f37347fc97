import random
import statistics

import pytest

from synth.explore.selection import held_out_best, held_out_choices


def test_one_candidate_is_its_own_best():
    assert held_out_best({"a": [0.5, 0.7]}) == (0.5, 0.7)


def test_each_seed_is_chosen_for_by_the_others():
    both = {"a": [1.0, 0.0, 0.0], "b": [0.0, 0.5, 0.4]}
    # By the others, seed 0 takes the second, and seeds 1 and 2 the first, which is best where it is not measured.
    assert held_out_choices(both) == ("b", "a", "a")
    assert held_out_best(both) == (0.0, 0.0, 0.0)
    assert held_out_choices({"a": [0.9] * 3, "b": both["b"]}) == ("a", "a", "a")
    assert held_out_choices({"a": [0.5, 0.1], "b": [0.5, 0.2]}) == ("b", "a")  # a tie is the first one's


def test_a_single_seed_has_no_others_to_choose_by():
    assert held_out_choices({"a": [0.1], "b": [0.9]}) == ("a",)


def test_many_equal_candidates_gain_nothing_by_chance():
    generator = random.Random(1)
    held, largest = [], []
    for _ in range(300):
        candidates = {str(name): [generator.gauss(0, 1) for _ in range(10)] for name in range(8)}
        held.append(statistics.mean(held_out_best(candidates)))
        largest.append(max(statistics.mean(values) for values in candidates.values()))
    assert abs(statistics.mean(held)) < 0.06
    assert statistics.mean(largest) > 0.35


@pytest.mark.parametrize(("candidates", "message"), [
    ({}, "Candidates must be at least one, with the same seeds, not with \\[\\]"),
    ({"a": [1.0], "b": [1.0, 2.0]}, "Candidates must be at least one, with the same seeds, not with \\[1, 2\\]")])
def test_selection_wrong(candidates, message):
    with pytest.raises(ValueError, match=message):
        held_out_best(candidates)
