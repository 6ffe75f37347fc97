"""GPTQ on matrices: against the algorithm as the paper writes it down, and against closed forms."""

import pytest
import torch

from sw.formats import parse
from sw.ptq.gptq import GPTQ, quantize_gptq
from sw.ptq.grid import Grid
from tests.sw.ptq.rounding_problems import (
    FORMATS,
    assert_on_grid,
    grid_of,
    inputs,
    moments,
    output_error,
    random,
)


def papers_algorithm(weights, hessian, grid, damping):
    """Algorithm 1 of the paper for one group, without blocks: all columns to the right are updated at once."""
    work, hessian = weights.clone(), hessian.clone()
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    work[:, dead] = 0
    hessian += damping * hessian.diagonal().mean() * torch.eye(len(hessian))
    upper = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    rounded = torch.empty_like(work)
    for column in range(work.shape[1]):
        part = Grid(format=grid.format, scale=grid.scale[:, column])
        rounded[:, column] = part.nearest(work[:, column])
        error = (work[:, column] - rounded[:, column]) / upper[column, column]
        work[:, column:] -= error[:, None] * upper[column, column:]
    return rounded


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("damping", "block_size"), [(0.01, 128), (0.01, 7), (0.2, 1)])
def test_it_is_the_papers_algorithm(name, damping, block_size):
    weights, x = random(12, 40), inputs(1, 100, 40)
    x[..., [3, 17]] = 0
    hessian, grid = 2 * moments(x)[0], grid_of(weights, name, group=10)
    got = quantize_gptq(weights, hessian, grid, GPTQ(damping=damping, block_size=block_size))
    want = papers_algorithm(weights, hessian, grid, damping)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert_on_grid(got, grid)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("act_order", [False, True])
def test_outputs_on_the_calibration_inputs_are_better_than_with_nearest_rounding(name, act_order):
    weights, x = random(2, 24, 32), inputs(2, 200, 32)
    grid = grid_of(weights, name)
    rounded = quantize_gptq(weights, 2 * moments(x), grid, GPTQ(act_order=act_order))
    error = output_error(weights, rounded, x).sum()
    nearest = output_error(weights, grid.nearest(weights), x).sum()
    assert error < nearest, (name, error, nearest)


@pytest.mark.parametrize("name", FORMATS)
def test_inputs_that_do_not_depend_on_each_other_leave_nearest_rounding(name):
    weights = random(3, 10, 20).to(torch.float32)
    grid, hessian = grid_of(weights, name), torch.diag_embed(random(3, 20, seed=1).square() + 0.1)
    assert torch.equal(quantize_gptq(weights, hessian, grid), grid.nearest(weights))
    assert torch.equal(quantize_gptq(weights, hessian, grid, GPTQ(act_order=True)), grid.nearest(weights))


def test_a_single_column_is_rounded_to_nearest():
    weights = random(9, 1)
    grid = grid_of(weights, "int3")
    assert torch.equal(quantize_gptq(weights, torch.tensor([[5.0]]), grid), grid.nearest(weights))


def test_of_two_equal_inputs_the_second_makes_up_for_the_first():
    weights = torch.tensor([[0.3, 0.3], [0.4, 0.4], [-0.4, 0.3]])
    grid = Grid(format=parse("int4"), scale=torch.ones(3, 2))
    got = quantize_gptq(weights, torch.ones(2, 2), grid, GPTQ(damping=1e-9))
    assert got.tolist() == [[0, 1], [0, 1], [0, 0]]


def test_inputs_that_are_always_zero_get_zero_weights():
    x = inputs(1, 50, 6)
    x[..., [1, 4]] = 0
    weights = random(5, 6)
    got = quantize_gptq(weights, 2 * moments(x)[0], grid_of(weights, "minifloat_e2m1"))
    assert not got[:, [1, 4]].any()
    assert got[:, [0, 2, 3, 5]].any()


def test_activation_order_is_that_of_sorted_inputs_and_undone_afterwards():
    weights, x = random(2, 8, 12), inputs(2, 60, 12)
    hessian, grid = 2 * moments(x), grid_of(weights, "minifloat_e2m2", group=3)
    got = quantize_gptq(weights, hessian, grid, GPTQ(act_order=True, block_size=5))
    for group in range(2):
        order = sorted(range(12), key=lambda column: -hessian[group, column, column].item())
        part = Grid(format=grid.format, scale=grid.scale[group][:, order])
        want = quantize_gptq(weights[group][:, order], hessian[group][order][:, order], part)
        assert torch.equal(got[group][:, order], want)


def test_groups_do_not_see_each_other():
    weights, x = random(3, 5, 9), inputs(3, 40, 9)
    hessian, grid = 2 * moments(x), grid_of(weights, "int4")
    together = quantize_gptq(weights, hessian, grid)
    for group in range(3):
        part = Grid(format=grid.format, scale=grid.scale[group])
        assert torch.equal(together[group], quantize_gptq(weights[group], hessian[group], part))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_weights_keep_their_type_and_end_on_their_grid(dtype):
    weights, x = random(6, 20).to(dtype), inputs(1, 60, 20)
    grid = grid_of(weights.to(torch.float32), "minifloat_e3m2")
    got = quantize_gptq(weights, 2 * moments(x)[0], grid)
    assert got.dtype == dtype
    assert_on_grid(got, grid)


def test_progress_is_reported_after_each_block():
    seen = []
    weights = random(2, 10)
    quantize_gptq(weights, torch.eye(10), grid_of(weights, "int4"), GPTQ(block_size=4),
                  progress=lambda *counts: seen.append(counts))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_more_inputs_than_samples_need_damping():
    weights, x = random(4, 20), inputs(1, 5, 20)
    hessian, grid = 2 * moments(x)[0], grid_of(weights, "int4")
    assert_on_grid(quantize_gptq(weights, hessian, grid), grid)
    with pytest.raises(ValueError, match="Damping must be large enough to make the Hessian positive definite, not 0; "
                                         "give 0.01, or more samples than inputs"):
        quantize_gptq(weights, hessian - 1e-6 * torch.eye(20), grid, GPTQ(damping=0))


WEIGHTS = torch.ones(2, 3)
GRID = Grid(format=parse("int4"), scale=torch.ones(2, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: GPTQ(damping="1"), TypeError, "Damping must be a number, not '1'"),
    (lambda: GPTQ(damping=-0.1), ValueError, "Damping must be at least 0 and finite, not -0.1"),
    (lambda: GPTQ(block_size=0), ValueError, "Block size must be at least 1, not 0"),
    (lambda: GPTQ(act_order=1), TypeError, "Activation order must be True or False, not 1"),
    (lambda: GPTQ(quantized_inputs=None), TypeError, "Quantized inputs must be True or False, not None"),
    (lambda: quantize_gptq(WEIGHTS, torch.eye(3), GRID, 0.01), TypeError, "Options must be a GPTQ or None, not 0.01"),
    (lambda: quantize_gptq([1.0], torch.eye(3), GRID), TypeError, "Weights must be a torch.Tensor, not 'list'"),
    (lambda: quantize_gptq(WEIGHTS.int(), torch.eye(3), GRID), TypeError,
     "Weights must be of a floating-point dtype, not torch.int32"),
    (lambda: quantize_gptq(torch.ones(3), torch.eye(3), GRID), ValueError,
     r"Weights must be of shape \(rows, columns\) or \(groups, rows, columns\), all at least 1, not \(3,\)"),
    (lambda: quantize_gptq(torch.ones(0, 3), torch.eye(3), GRID), ValueError, r"all at least 1, not \(0, 3\)"),
    (lambda: quantize_gptq(WEIGHTS * torch.inf, torch.eye(3), GRID), ValueError,
     r"Weights must be finite, not inf at \(0, 0\)"),
    (lambda: quantize_gptq(WEIGHTS, torch.eye(3), parse("int4")), TypeError, "Grid must be a Grid, not FixedPoint"),
    (lambda: quantize_gptq(torch.ones(4, 3), torch.eye(3), GRID), ValueError,
     r"Grid scale must be of the shape of the weights, \(4, 3\), not \(2, 3\); see Tensor.expand"),
    (lambda: quantize_gptq(WEIGHTS, None, GRID), TypeError, "Hessian must be a floating-point tensor, not None"),
    (lambda: quantize_gptq(WEIGHTS, torch.eye(4), GRID), ValueError,
     r"Hessian must be of shape \(3, 3\) for weights of 3 columns in 1 group, not \(4, 4\)"),
    (lambda: quantize_gptq(torch.ones(2, 2, 3), torch.eye(3), Grid(format=parse("int4"), scale=torch.ones(2, 2, 3))),
     ValueError, r"Hessian must be of shape \(2, 3, 3\) for weights of 3 columns in 2 groups, not \(3, 3\)"),
    (lambda: quantize_gptq(WEIGHTS, torch.eye(3) * torch.nan, GRID), ValueError,
     "Hessian must be finite, not with an infinity or a NaN"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
