import random
import statistics

import pytest

from synth.explore.selection import held_out_best


def test_one_candidate_is_its_own_best():
    assert held_out_best([[0.5, 0.7]]) == (0.5, 0.7)


def test_each_seed_is_chosen_for_by_the_others():
    first, second = [1.0, 0.0, 0.0], [0.0, 0.5, 0.4]
    # By the others, seed 0 takes the second, and seeds 1 and 2 the first, which is best where it is not measured.
    assert held_out_best([first, second]) == (0.0, 0.0, 0.0)
    assert held_out_best([[0.9, 0.9, 0.9], second]) == (0.9, 0.9, 0.9)
    assert held_out_best([[0.5, 0.1], [0.5, 0.2]]) == (0.5, 0.1)


def test_many_equal_candidates_gain_nothing_by_chance():
    generator = random.Random(1)
    held, largest = [], []
    for _ in range(300):
        candidates = [[generator.gauss(0, 1) for _ in range(10)] for _ in range(8)]
        held.append(statistics.mean(held_out_best(candidates)))
        largest.append(max(statistics.mean(values) for values in candidates))
    assert abs(statistics.mean(held)) < 0.06
    assert statistics.mean(largest) > 0.35


@pytest.mark.parametrize(("candidates", "message"), [
    ([], "Candidates must be at least one, with the same seeds, not with \\[\\]"),
    ([[1.0], [1.0, 2.0]], "Candidates must be at least one, with the same seeds, not with \\[1, 2\\]"),
    ([[1.0], [2.0]], "Seeds must be at least 2 to choose by the others, not 1")])
def test_selection_wrong(candidates, message):
    with pytest.raises(ValueError, match=message):
        held_out_best(candidates)
