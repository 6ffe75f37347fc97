"""GPFQ on matrices: against the paper's path through the samples, and against closed forms."""

import pytest
import torch

from sw.formats import parse
from sw.ptq.gpfq import GPFQ, quantize_gpfq
from sw.ptq.grid import Grid
from tests.sw.ptq.rounding_problems import FORMATS, assert_on_grid, grid_of, inputs, moments, output_error, random


def papers_algorithm(weights, x, y, grid):
    """The path that Lybrand and Saab follow, with rounded inputs, on the samples of one group themselves."""
    rounded = torch.zeros_like(weights)
    missing = torch.zeros(len(weights), len(x))
    for column in range(weights.shape[1]):
        missing = missing + weights[:, column, None] * x[:, column]
        direction = y[:, column]
        if direction.any():
            value = missing @ direction / (direction @ direction)
            rounded[:, column] = Grid(format=grid.format, scale=grid.scale[:, column]).nearest(value)
        missing = missing - rounded[:, column, None] * direction
    return rounded


def problem(groups, rows, columns, samples=100):
    x = inputs(groups, samples, columns)
    return random(groups, rows, columns, seed=5), x, x + 0.1 * random(groups, samples, columns, seed=6)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("block_size", [128, 7, 1])
def test_it_is_the_papers_algorithm(name, block_size):
    weights, x, y = (each[0] for each in problem(1, 12, 40))
    y[:, [3, 17]] = 0
    grid = grid_of(weights, name, group=10)
    got = quantize_gpfq(weights, y.T @ y, y.T @ x, grid, GPFQ(block_size=block_size))
    torch.testing.assert_close(got, papers_algorithm(weights, x, y, grid), rtol=0, atol=0)
    assert_on_grid(got, grid)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("act_order", [False, True])
def test_outputs_follow_the_float_ones_better_than_with_nearest_rounding(name, act_order):
    weights, x, y = problem(2, 24, 32)
    grid = grid_of(weights, name)
    rounded = quantize_gpfq(weights, moments(y), moments(y, x), grid, GPFQ(act_order=act_order))
    error = output_error(weights, rounded, x, y).sum()
    nearest = output_error(weights, grid.nearest(weights), x, y).sum()
    assert error < nearest, (name, error, nearest)


@pytest.mark.parametrize("name", FORMATS)
def test_orthogonal_inputs_leave_nearest_rounding(name):
    weights, x = random(10, 20).to(torch.float32), torch.linalg.qr(random(50, 20))[0] * 4
    own = (x.T @ x).diagonal().diag()
    grid = grid_of(weights, name)
    assert torch.equal(quantize_gpfq(weights, own, own, grid), grid.nearest(weights))


def test_inputs_that_are_twice_as_large_need_half_the_weights():
    weights, x = random(6, 8), inputs(1, 40, 8)[0]
    grid = Grid(format=parse("int8"), scale=torch.full((6, 8), 2.0 ** -12))
    wide = Grid(format=parse("fixed<24,12>"), scale=torch.ones(6, 8))
    got = quantize_gpfq(weights, 4 * x.T @ x, 2 * x.T @ x, wide)
    torch.testing.assert_close(got, weights / 2, rtol=0, atol=0.02)
    assert grid.nearest(weights).abs().max() < 0.1  # and a grid that is too small saturates
    assert_on_grid(quantize_gpfq(weights, 4 * x.T @ x, 2 * x.T @ x, grid), grid)


def test_activation_order_is_that_of_sorted_inputs_and_undone_afterwards():
    weights, x, y = (each[0] for each in problem(1, 8, 12))
    own, cross, grid = y.T @ y, y.T @ x, grid_of(weights, "minifloat_e2m2", group=3)
    order = sorted(range(12), key=lambda column: -own[column, column].item())
    part = Grid(format=grid.format, scale=grid.scale[:, order])
    want = quantize_gpfq(weights[:, order], own[order][:, order], cross[order][:, order], part)
    assert torch.equal(quantize_gpfq(weights, own, cross, grid, GPFQ(act_order=True))[:, order], want)


def test_groups_do_not_see_each_other():
    weights, x, y = problem(3, 5, 9)
    own, cross, grid = moments(y), moments(y, x), grid_of(weights, "int4")
    together = quantize_gpfq(weights, own, cross, grid)
    for group in range(3):
        part = Grid(format=grid.format, scale=grid.scale[group])
        assert torch.equal(together[group], quantize_gpfq(weights[group], own[group], cross[group], part))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: GPFQ(block_size=2.0), TypeError, "Block size must be an integer, not 2.0"),
    (lambda: GPFQ(act_order="yes"), TypeError, "Activation order must be True or False, not 'yes'"),
    (lambda: GPFQ(quantized_inputs=1), TypeError, "Quantized inputs must be True or False, not 1"),
    (lambda: quantize_gpfq(torch.ones(2, 3), torch.eye(3), torch.eye(3), Grid(format=parse("int4"),
                                                                              scale=torch.ones(2, 3)), "fast"),
     TypeError, "Options must be a GPFQ or None, not 'fast'"),
    (lambda: quantize_gpfq(torch.ones(2, 3), torch.eye(2), torch.eye(3), Grid(format=parse("int4"),
                                                                              scale=torch.ones(2, 3))),
     ValueError, r"Moments must be of shape \(3, 3\) for weights of 3 columns in 1 group, not \(2, 2\)"),
    (lambda: quantize_gpfq(torch.ones(2, 3), torch.eye(3), torch.eye(2), Grid(format=parse("int4"),
                                                                              scale=torch.ones(2, 3))),
     ValueError, r"Cross moments must be of shape \(3, 3\) for weights of 3 columns in 1 group, not \(2, 2\)"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
