"""Patterns against brute force over all masks, and against torch's own pruning."""

from itertools import accumulate, combinations, product

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sw.ptq import NM, MixedNM, NMBlocks, Unstructured, check_nm, whole_blocks

FLIGHTLLM = NMBlocks()
SMALL = NMBlocks(m=4, allowed=(0, 1, 2, 4), rows=2, columns=4)


def scores_of(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).abs()


@pytest.mark.parametrize("m", [1, 2, 4, 8])
def test_nm_keeps_the_best_of_all_choices_in_every_group(m):
    scores = scores_of(5, 16)
    for n in range(m + 1):
        mask = NM(n=n, m=m).mask(scores)
        assert mask.dtype == torch.bool
        groups, kept = scores.reshape(-1, m), mask.reshape(-1, m)
        assert (kept.sum(1) == n).all()
        for group, choice in zip(groups, kept, strict=True):
            best = max(sum(group[list(chosen)].tolist()) for chosen in combinations(range(m), n))
            assert sum(group[choice].tolist()) == pytest.approx(best, rel=1e-6)


def test_the_earlier_of_equal_scores_stays():
    assert NM(n=2, m=4).mask(torch.tensor([[1.0, 1, 1, 1, 0, 2, 0, 0]])).tolist() == [
        [True, True, False, False, True, True, False, False]]
    assert Unstructured(density=0.5).mask(torch.ones(2, 4)).tolist() == [[True] * 4, [False] * 4]
    assert Unstructured(density=0.5, per_row=True).mask(torch.ones(2, 4)).tolist() == [[True, True, False, False]] * 2


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.25, 0.5, 0.77, 1.0])
def test_unstructured_equals_torch(amount):
    layer = nn.Linear(40, 30)
    scores = layer.weight.detach().abs()
    prune.l1_unstructured(layer, "weight", amount=amount)
    assert torch.equal(Unstructured(density=1 - amount).mask(scores), layer.weight_mask.bool())


@pytest.mark.parametrize("dim", [0, 1])
def test_whole_rows_and_columns_equal_torch(dim):
    layer = nn.Linear(12, 20)
    scores = layer.weight.detach().abs()
    prune.ln_structured(layer, "weight", amount=0.25, n=2, dim=dim)
    pattern = whole_blocks(1, 12, 0.75) if dim == 0 else whole_blocks(20, 1, 0.75)
    assert torch.equal(pattern.mask(scores), layer.weight_mask.bool())


def test_unstructured_per_row_is_each_row_alone():
    scores = scores_of(6, 20)
    mask = Unstructured(density=0.3, per_row=True).mask(scores)
    for row, kept in zip(scores, mask, strict=True):
        assert set(kept.nonzero().flatten().tolist()) == set(row.topk(6).indices.tolist())


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.13, 0.5, 0.999, 1.0])
def test_steps_of_unstructured_keep_as_much_as_the_whole(per_row, density):
    scores, pattern = scores_of(7, 50), Unstructured(density=density, per_row=per_row)
    steps = pattern.steps(scores, 16)
    assert [(step.start, step.stop) for step in steps] == [(0, 16), (16, 32), (32, 48), (48, 50)]
    masks = [step.choose(scores[:, step.start:step.stop]) for step in steps]
    assert sum(int(mask.sum()) for mask in masks) == int(pattern.mask(scores).sum())
    for mask in masks:
        assert abs(float(mask.sum()) - density * mask.numel()) <= (7 if per_row else 1)


@pytest.mark.parametrize("pattern", [NM(n=2, m=4), MixedNM(density=0.4, blocks=SMALL), whole_blocks(2, 4, 0.5)])
def test_steps_of_groups_are_the_mask(pattern):
    scores = scores_of(6, 16)
    steps = pattern.steps(scores, 3)
    assert [step.start for step in steps] == [0, 4, 8, 12]
    assert torch.equal(torch.cat([step.choose(scores[:, step.start:step.stop]) for step in steps], 1),
                       pattern.mask(scores))


def kept_squares(scores, block, n):
    """What a block of two rows and four columns keeps at best with this N."""
    row, column = (place * size for place, size in zip(divmod(block, 2), (2, 4), strict=True))
    return sum(score**2 for line in scores[row:row + 2, column:column + 4].tolist()
               for score in sorted(line, reverse=True)[:n])


@pytest.mark.parametrize("seed", range(4))
def test_no_other_choice_of_n_keeps_more(seed):
    """All 256 ways to give four blocks an N each.

    Where the best steps fill the density exactly, their choice is the best of all. Elsewhere it lacks less than the
    step that did not fit is worth, for a part of that one would make it the best.
    """
    scores = scores_of(4, 8, seed=seed) * torch.tensor([3.0, 1, 2, 1, 1, 1, 0.1, 5])
    worth = [{n: kept_squares(scores, block, n) for n in SMALL.allowed} for block in range(4)]
    steps = sorted((((of[above] - of[below]) / (above - below), (above - below) * SMALL.groups)
                    for of in worth for below, above in ((0, 1), (1, 2), (2, 4))), reverse=True)
    filled = list(accumulate(cost for _, cost in steps))
    for wanted in range(33):
        chosen = MixedNM(density=wanted / 32, blocks=SMALL).counts(scores).flatten().tolist()
        assert sum(chosen) * SMALL.groups <= wanted
        got = sum(of[n] for of, n in zip(worth, chosen, strict=True))
        best = max(sum(of[n] for of, n in zip(worth, choice, strict=True))
                   for choice in product(SMALL.allowed, repeat=4) if sum(choice) * SMALL.groups <= wanted)
        rate, cost = next((step for step, total in zip(steps, filled, strict=True) if total > wanted), (0, 0))
        assert got >= best - (0 if wanted in filled else rate * cost) - 1e-9, (wanted, chosen)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.3, 0.35, 0.5, 0.9, 1.0])
def test_mixed_meets_the_density_to_less_than_a_step(density):
    scores = scores_of(64, 128) * torch.linspace(0.1, 3, 64)[:, None]
    pattern = MixedNM(density=density)
    mask, counts = pattern.mask(scores), pattern.counts(scores)
    assert set(counts.flatten().tolist()) <= set(FLIGHTLLM.allowed)
    kept = int(mask.sum())
    assert kept == int(counts.sum()) * FLIGHTLLM.groups
    assert 0 <= round(density * scores.numel()) - kept < 8 * FLIGHTLLM.groups
    nonzeros = mask.unflatten(1, (-1, 16)).sum(-1)
    assert torch.equal(nonzeros, counts.repeat_interleave(16, 0))


@pytest.mark.parametrize("value", [0.1, 0.9, 1.7, 1.8, 3.3])
def test_mixed_with_equal_scores_comes_as_close_as_it_can(value):
    """Steps of equal worth that rounding makes unequal are still taken in their order."""
    blocks = NMBlocks(m=8, allowed=(0, 1, 3, 5, 8), rows=3, columns=8)
    scores = torch.full((3, 8), value, dtype=torch.float64)
    for wanted in range(25):
        counts = MixedNM(density=wanted / 24, blocks=blocks).counts(scores)
        assert int(counts) == max(n for n in blocks.allowed if n * 3 <= wanted)


@pytest.mark.parametrize("seed", range(4))
def test_mixed_takes_no_step_without_the_one_before_it(seed):
    """A cheap step after a dear one: from N = 4 to 5, where 0 to 4 does not fit any more."""
    scores = scores_of(4, 16, seed=seed)
    blocks = NMBlocks(m=8, allowed=(0, 4, 5, 8), rows=1, columns=8)
    for wanted in range(65):
        assert int(MixedNM(density=wanted / 64, blocks=blocks).counts(scores).sum()) <= wanted


def test_mixed_by_rows_of_blocks():
    scores = scores_of(64, 64) * torch.tensor([1.0, 4, 0.1, 2]).repeat_interleave(16)[:, None]
    pattern = MixedNM(density=0.5, blocks=NMBlocks(columns=64))
    counts = pattern.counts(scores)
    assert counts.shape == (4, 1)
    assert counts[1] >= counts[3] >= counts[0] >= counts[2]
    nonzeros = pattern.mask(scores).unflatten(1, (4, 16)).sum(-1)
    assert torch.equal(nonzeros, counts.repeat_interleave(16, 0).expand(64, 4))


def test_mixed_gives_more_to_the_blocks_that_matter():
    scores = scores_of(32, 32)
    scores[:16, 16:] *= 10
    counts = MixedNM(density=0.5).counts(scores)
    assert counts[0, 1] == 16
    assert counts[0, 1] > counts.flatten()[[0, 2, 3]].max()


def test_mixed_keeps_nothing_that_is_zero_already():
    scores = torch.zeros(16, 32)
    scores[:, 3] = 1
    pattern = MixedNM(density=0.9)
    assert pattern.counts(scores).tolist() == [[1, 0]]
    assert torch.equal(pattern.mask(scores), scores > 0)


def test_mixed_without_a_choice():
    scores = scores_of(16, 32)
    assert torch.equal(MixedNM(density=0.25, blocks=NMBlocks(allowed=(4,))).mask(scores), NM(n=4, m=16).mask(scores))


def test_whole_blocks_stay_by_their_norm():
    scores = scores_of(6, 8)
    mask = whole_blocks(3, 2, 0.5).mask(scores)
    norms = {(row, column): scores[row:row + 3, column:column + 2].norm().item()
             for row in (0, 3) for column in (0, 2, 4, 6)}
    best = sorted(norms, key=norms.get, reverse=True)[:4]
    for row, column in norms:
        assert (mask[row:row + 3, column:column + 2] == ((row, column) in best)).all()


def test_blocks_take_the_least_n_that_holds_them():
    present = torch.zeros(32, 32, dtype=torch.bool)
    present[3, :3] = True
    present[20, 16:32] = True
    present[5, 20] = True
    assert FLIGHTLLM.counts(present).tolist() == [[4, 1], [0, 16]]


def test_check_nm_names_the_group():
    weights = torch.zeros(3, 8)
    weights[2, 4:7] = 1
    check_nm(weights, 3, 4)
    with pytest.raises(ValueError, match="Weights must have at most 2 nonzeros of every 4 consecutive inputs, "
                                         "not 3 in row 2, columns 4 to 7; prune them"):
        check_nm(weights, 2, 4)
    with pytest.raises(ValueError, match="at most 2 nonzeros of every 4 .* not 3 in row 2, columns 4 to 7"):
        NMBlocks(m=4, allowed=(1, 2), rows=3, columns=8).counts(weights != 0)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: NM(n=5, m=4), ValueError, "N must be between 0 and M = 4, not 5"),
    (lambda: NM(n=-1, m=4), ValueError, "N must be between 0 and M = 4, not -1"),
    (lambda: NM(n=2.0, m=4), TypeError, "N must be an integer, not 2.0"),
    (lambda: NM(n=0, m=0), ValueError, "M must be at least 1, not 0"),
    (lambda: NM(n=2, m=4).mask(torch.ones(2, 6)), ValueError, "M must divide the 6 inputs, not 4; pad the weights"),
    (lambda: NM(n=2, m=4).mask(torch.ones(8)), ValueError, r"Scores must be of shape \(outputs, inputs\)"),
    (lambda: check_nm(torch.ones(2, 6), 2, 4), ValueError, "M must divide the 6 inputs, not 4"),
    (lambda: check_nm(torch.ones(2, 4), 5, 4), ValueError, "N must be between 0 and M = 4, not 5"),
    (lambda: NMBlocks(allowed=[1, 2]), TypeError, r"Allowed N must be a tuple of integers, not \[1, 2\]"),
    (lambda: NMBlocks(allowed=()), ValueError, r"Allowed N must be at least one number, not \(\)"),
    (lambda: NMBlocks(allowed=(2, 17)), ValueError, "Allowed N must be between 0 and M = 16, not 17"),
    (lambda: NMBlocks(allowed=(2, 2)), ValueError, r"Allowed N must rise, not \(2, 2\)"),
    (lambda: NMBlocks(rows=0), ValueError, "Block rows must be at least 1, not 0"),
    (lambda: NMBlocks(columns=24), ValueError, "Block columns must be a multiple of M = 16, not 24"),
    (lambda: MixedNM(density=1.5), ValueError, "Density must be between 0 and 1, not 1.5"),
    (lambda: MixedNM(density="half"), TypeError, "Density must be a number, not 'half'"),
    (lambda: MixedNM(density=0.1, blocks=NMBlocks(allowed=(4, 8))), ValueError,
     "Density must be at least 4/16, what the least N allowed keeps, not 0.1"),
    (lambda: MixedNM(density=0.5, blocks=16), TypeError, "Blocks must be NMBlocks, not 16"),
    (lambda: MixedNM(density=0.5).mask(torch.ones(24, 32)), ValueError,
     "Block rows must divide the 24 outputs, not 16"),
    (lambda: MixedNM(density=0.5).mask(torch.ones(16, 40)), ValueError,
     "Block columns must divide the 40 inputs, not 16"),
    (lambda: whole_blocks(4, 0, 0.5), ValueError, "Block columns must be at least 1, not 0"),
    (lambda: whole_blocks(4, 4, 0.5).mask(torch.ones(6, 8)), ValueError, "Block rows must divide the 6 outputs, not 4"),
    (lambda: Unstructured(density=-0.1), ValueError, "Density must be between 0 and 1, not -0.1"),
    (lambda: Unstructured(density=0.5, per_row=1), TypeError, "Per row must be True or False, not 1"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
