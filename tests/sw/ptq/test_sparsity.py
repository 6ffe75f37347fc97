"""Pruning against direct formulas, closed-form solutions, and every mask there is."""

from itertools import combinations

import pytest
import torch
from torch import nn

from sw.ptq import (
    NM,
    Calibration,
    MixedNM,
    NMBlocks,
    PruningMethod,
    Unstructured,
    calibrating,
    check_nm,
    output_error,
    prune_linear,
    prune_magnitude,
    prune_sparsegpt,
    prune_wanda,
    whole_blocks,
)

PATTERNS = [NM(n=2, m=4), NM(n=4, m=16), Unstructured(density=0.5), Unstructured(density=0.3, per_row=True),
            MixedNM(density=0.4), MixedNM(density=0.5, blocks=NMBlocks(m=4, allowed=(1, 2, 4), rows=8, columns=8)),
            whole_blocks(8, 4, 0.5)]


def problem(outputs=16, inputs=32, samples=200, seed=0, correlation=1.0):
    """Return weights and the calibration of inputs that depend on each other and differ in size."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(inputs) + correlation * torch.randn(inputs, inputs, generator=generator) / inputs**0.5
    scale = torch.logspace(-1, 1, inputs)[torch.randperm(inputs, generator=generator)]
    x = (torch.randn(samples, inputs, generator=generator) @ mixing * scale).to(torch.float64)
    calibration = Calibration(inputs)
    calibration.add(x)
    return torch.randn(outputs, inputs, generator=generator).to(torch.float64), calibration, x


def hessian_of(calibration, damping):
    moments = calibration.second_moments
    return moments + damping * moments.diagonal().mean() * torch.eye(len(moments), dtype=torch.float64)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_magnitude_keeps_weights_as_they_are(pattern):
    weights, _, _ = problem()
    pruned = prune_magnitude(weights, pattern)
    assert torch.equal(pruned.mask, pattern.mask(weights.abs()))
    assert torch.equal(pruned.weights, weights * pruned.mask)


def test_wanda_is_the_papers_formula():
    weights, calibration, x = problem()
    score = weights.abs() * x.norm(p=2, dim=0)
    pruned = prune_wanda(weights, NM(n=2, m=4), calibration)
    for row in range(16):
        for start in range(0, 32, 4):
            best = score[row, start:start + 4].topk(2).indices + start
            assert set(pruned.mask[row, start:start + 4].nonzero().flatten().tolist()) == set((best - start).tolist())
    halves = prune_wanda(weights, Unstructured(density=0.5, per_row=True), calibration)
    for row in range(16):
        assert set(halves.mask[row].nonzero().flatten().tolist()) == set(score[row].topk(16).indices.tolist())
    assert torch.equal(halves.weights, weights * halves.mask)
    assert not torch.equal(halves.mask, Unstructured(density=0.5, per_row=True).mask(weights.abs()))


def test_sparsegpt_of_one_column_is_the_optimal_brain_surgeon():
    """The loss of the first weight, for which all others may make up: w - w_0 [H^-1]_0 / [H^-1]_00."""
    weights, calibration, _ = problem(outputs=3, inputs=8)
    weights[:, 0] = 1e-3  # the least in every row
    pruned = prune_sparsegpt(weights, NM(n=7, m=8), calibration)
    assert (~pruned.mask).nonzero()[:, 1].tolist() == [0, 0, 0]
    inverse = hessian_of(calibration, 0.01).inverse()
    want = weights - weights[:, :1] * inverse[0] / inverse[0, 0]
    torch.testing.assert_close(pruned.weights, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_sparsegpt_solves_the_least_squares_of_the_rest_at_every_column(pattern):
    """With its mask given, each weight is what minimizes the error once all to its left are settled."""
    weights, calibration, _ = problem()
    pruned = prune_sparsegpt(weights, pattern, calibration, damping=0.02, block_size=8)
    hessian = hessian_of(calibration, 0.02)
    for row, mask, got in zip(weights, pruned.mask, pruned.weights, strict=True):
        settled = torch.zeros(0, dtype=torch.float64)
        for column in range(32):
            wanted = row[column:]
            if column:
                coupling = hessian[column:, :column] @ (settled - row[:column])
                wanted = row[column:] - torch.linalg.solve(hessian[column:, column:], coupling)
            settled = torch.cat([settled, wanted[:1] * mask[column]])
        torch.testing.assert_close(got, settled, rtol=1e-9, atol=1e-11)


def test_sparsegpt_chooses_by_the_error_of_each_loss():
    """The scores w^2 / [H^-1]_jj by direct inversion, of the weights as they are when their group is reached."""
    weights, calibration, _ = problem(outputs=8, inputs=16)
    pruned = prune_sparsegpt(weights, NM(n=2, m=4), calibration)
    hessian = hessian_of(calibration, 0.01)
    for row, mask in zip(weights, pruned.mask, strict=True):
        for start in range(0, 16, 4):
            current = row[start:].clone()
            if start:
                before = pruned.weights[(weights == row).all(1)][0, :start] - row[:start]
                current -= torch.linalg.solve(hessian[start:, start:], hessian[start:, :start] @ before)
            errors = [current[j] ** 2 / hessian[start + j:, start + j:].inverse()[0, 0] for j in range(4)]
            best = sorted(range(4), key=lambda j: errors[j], reverse=True)[:2]
            assert mask[start:start + 4].nonzero().flatten().tolist() == sorted(best)


def best_error(row, hessian, kept):
    """The least error of a row with these columns alone, all others zero."""
    kept = list(kept)
    weights = torch.zeros_like(row)
    weights[kept] = torch.linalg.solve(hessian[kept][:, kept], hessian[kept] @ row)
    difference = weights - row
    return float(difference @ hessian @ difference)


@pytest.mark.parametrize("seed", range(3))
def test_sparsegpt_against_every_mask_of_one_group(seed):
    """With inputs that do not depend on each other its choice is the best; otherwise it is not far from it."""
    weights, calibration, _ = problem(outputs=12, inputs=6, seed=seed)
    for diagonal in (True, False):
        moments = calibration.second_moments
        if diagonal:
            samples = torch.diag(moments.diagonal().sqrt())
            calibration_of = Calibration(6)
            calibration_of.add(samples)
        else:
            calibration_of = calibration
        pruned = prune_sparsegpt(weights, NM(n=3, m=6), calibration_of)
        hessian, masked = hessian_of(calibration_of, 0.01), prune_magnitude(weights, NM(n=3, m=6)).weights
        total = best_total = magnitude = 0.0
        for row, got, plain in zip(weights, pruned.weights, masked, strict=True):
            error = float((got - row) @ hessian @ (got - row))
            best = min(best_error(row, hessian, kept) for kept in combinations(range(6), 3))
            assert error >= best * (1 - 1e-9)
            if diagonal:
                assert error == pytest.approx(best, rel=1e-9)
            total, best_total = total + error, best_total + best
            magnitude += float((plain - row) @ hessian @ (plain - row))
        assert best_total * (1 - 1e-9) <= total < magnitude


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_sparsegpt_beats_wanda_beats_magnitude(pattern, seed):
    weights, calibration, x = problem(outputs=48, inputs=64, samples=300, seed=seed)
    errors = [output_error(weights, pruned.weights, calibration) for pruned in (
        prune_sparsegpt(weights, pattern, calibration), prune_wanda(weights, pattern, calibration),
        prune_magnitude(weights, pattern))]
    assert errors[0] < errors[1] < errors[2]
    difference = x @ (prune_magnitude(weights, pattern).weights - weights).T
    assert errors[2] == pytest.approx(float(difference.square().sum()), rel=1e-9)


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if not isinstance(pattern, Unstructured)])
def test_block_size_of_sparsegpt_has_no_influence_on_groups(pattern):
    weights, calibration, _ = problem()
    whole = prune_sparsegpt(weights, pattern, calibration, block_size=32)
    for block_size in (1, 5, 12, 128):
        other = prune_sparsegpt(weights, pattern, calibration, block_size=block_size)
        assert torch.equal(other.mask, whole.mask)
        torch.testing.assert_close(other.weights, whole.weights, rtol=1e-9, atol=1e-12)


def test_pruned_weights_are_of_their_pattern_and_type():
    weights, calibration, _ = problem()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for prune in (prune_wanda, prune_sparsegpt):
            pruned = prune(weights.to(dtype), NM(n=2, m=4), calibration)
            assert pruned.weights.dtype == dtype
            check_nm(pruned.weights, 2, 4)
            assert not bool(pruned.weights[~pruned.mask].any())


def test_an_input_that_is_never_used_goes_first():
    weights, _, x = problem(inputs=8)
    x[:, 3] = 0
    weights[:, 3] = 100
    calibration = Calibration(8)
    calibration.add(x)
    for prune in (prune_wanda, prune_sparsegpt):
        assert not bool(prune(weights, NM(n=7, m=8), calibration).mask[:, 3].any())
        assert torch.equal(prune(weights, NM(n=8, m=8), calibration).weights, weights)
    without = torch.cat([weights[:, :3], weights[:, 4:]], 1)
    alone = Calibration(7)
    alone.add(torch.cat([x[:, :3], x[:, 4:]], 1))
    rest = prune_sparsegpt(without, Unstructured(density=4 / 7, per_row=True), alone, damping=0)
    got = prune_sparsegpt(weights, Unstructured(density=0.5, per_row=True), calibration, damping=0).weights
    torch.testing.assert_close(torch.cat([got[:, :3], got[:, 4:]], 1), rest.weights, rtol=1e-9, atol=1e-11)


def test_nothing_pruned_changes_nothing():
    weights, calibration, _ = problem()
    assert torch.equal(prune_sparsegpt(weights, NM(n=4, m=4), calibration).weights, weights)
    assert not bool(prune_sparsegpt(weights, NM(n=0, m=4), calibration).weights.any())


def test_progress_rises_to_the_end():
    weights, calibration, _ = problem()
    calls = []
    prune_sparsegpt(weights, NM(n=2, m=4), calibration, block_size=10,
                    progress=lambda done, of: calls.append((done, of)))
    assert calls == [(8, 32), (16, 32), (24, 32), (32, 32)]


@pytest.mark.parametrize("method", PruningMethod)
def test_a_linear_layer_is_pruned_in_place(method):
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    before, layer = model[2].weight.detach().clone(), model[2]
    with calibrating(layer) as calibration:
        model(torch.randn(100, 16, generator=torch.Generator().manual_seed(1)))
    mask = prune_linear(layer, NM(n=2, m=4), method=method, calibration=calibration)
    check_nm(layer.weight, 2, 4)
    assert layer.weight.requires_grad
    want = {PruningMethod.MAGNITUDE: lambda: prune_magnitude(before, NM(n=2, m=4)),
            PruningMethod.WANDA: lambda: prune_wanda(before, NM(n=2, m=4), calibration),
            PruningMethod.SPARSEGPT: lambda: prune_sparsegpt(before, NM(n=2, m=4), calibration)}[method]()
    assert torch.equal(layer.weight, want.weights)
    assert torch.equal(mask, want.mask)


W = torch.ones(4, 8)
NO_SAMPLES, NORMS, ZEROS, OTHER, RIGHT = (Calibration(8), Calibration(8, second_moments=False), Calibration(8),
                                          Calibration(4), Calibration(8))
NORMS.add(torch.ones(1, 8))
ZEROS.add(torch.zeros(3, 8))
RIGHT.add(torch.ones(1, 8))
HALF = NM(n=2, m=4)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: prune_magnitude([[1.0]], HALF), TypeError, "Weights must be a torch.Tensor, not 'list'"),
    (lambda: prune_magnitude(torch.ones(2, 4, dtype=torch.int8), HALF), TypeError,
     "Weights must be of a floating-point dtype, not torch.int8"),
    (lambda: prune_magnitude(torch.ones(2, 4, 3, 3), HALF), ValueError,
     r"Weights must be of shape \(outputs, inputs\), both at least 1, not \(2, 4, 3, 3\); weights of a convolution"),
    (lambda: prune_magnitude(torch.ones(0, 4), HALF), ValueError, r"both at least 1, not \(0, 4\)"),
    (lambda: prune_magnitude(torch.tensor([[1.0, 2, 3, torch.nan]]), HALF), ValueError,
     "Weights must be finite, not nan in row 0, column 3"),
    (lambda: prune_magnitude(W, "2:4"), TypeError, "Pattern must be NM, MixedNM or Unstructured, not '2:4'"),
    (lambda: prune_wanda(W, 0.5, RIGHT), TypeError, "Pattern must be NM, MixedNM or Unstructured, not 0.5"),
    (lambda: prune_sparsegpt(W, None, RIGHT), TypeError, "Pattern must be NM, MixedNM or Unstructured, not None"),
    (lambda: prune_sparsegpt(torch.full((4, 8), torch.inf), HALF, RIGHT), ValueError,
     "Weights must be finite, not inf in row 0, column 0"),
    (lambda: prune_magnitude(torch.ones(2, 6), HALF), ValueError, "M must divide the 6 inputs, not 4"),
    (lambda: prune_wanda(W, HALF, None), ValueError, "Calibration must be given for Wanda, not None"),
    (lambda: prune_sparsegpt(W, HALF, None), ValueError, "Calibration must be given for SparseGPT, not None"),
    (lambda: prune_wanda(W, HALF, W), TypeError, "Calibration must be a Calibration, not tensor"),
    (lambda: prune_wanda(W, HALF, OTHER), ValueError,
     "Calibration must have as many features as the weights have inputs, 8, not 4"),
    (lambda: prune_wanda(W, HALF, NO_SAMPLES), ValueError, "Calibration must have samples, not 0"),
    (lambda: prune_sparsegpt(W, HALF, NORMS), ValueError, "Calibration must have second moments, not the norms alone"),
    (lambda: prune_sparsegpt(W, HALF, ZEROS), ValueError, "Calibration must have inputs other than zero"),
    (lambda: prune_sparsegpt(W, HALF, RIGHT, damping=0), ValueError,
     "Damping must be large enough to make the Hessian positive definite, not 0; give 0.01, or more samples"),
    (lambda: prune_sparsegpt(W, HALF, RIGHT, damping=-1.0), ValueError,
     "Damping must be at least 0 and finite, not -1.0"),
    (lambda: prune_sparsegpt(W, HALF, RIGHT, damping=True), TypeError, "Damping must be a number, not True"),
    (lambda: prune_sparsegpt(W, HALF, RIGHT, block_size=0), ValueError, "Block size must be at least 1, not 0"),
    (lambda: prune_linear(nn.Conv2d(1, 1, 1), HALF), TypeError, "Layer must be a torch.nn.Linear, not 'Conv2d'"),
    (lambda: prune_linear(nn.Linear(8, 4), HALF, method="wanda"), TypeError,
     "Pruning method must be a PruningMethod, not 'wanda'"),
    (lambda: prune_linear(nn.Linear(8, 4), HALF, method=PruningMethod.WANDA), ValueError,
     "Calibration must be given for Wanda, not None"),
    (lambda: output_error(W, W, None), ValueError, "Calibration must be given for an output error, not None"),
    (lambda: output_error(W, W[:2], RIGHT), ValueError,
     r"Other weights must be of the same shape, \(4, 8\), not \(2, 8\)"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
