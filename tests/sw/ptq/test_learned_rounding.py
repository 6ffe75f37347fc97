"""Learned rounding on matrices: where it starts, what it descends, and how close to the best choice it ends."""

from itertools import product

import pytest
import torch

from sw.formats import parse
from sw.ptq.grid import Grid
from sw.ptq.learned_rounding import LearnedRounding, _gradient, initial_position, quantize_learned
from sw.quantize import from_codes
from tests.sw.ptq.rounding_problems import FORMATS, assert_on_grid, grid_of, inputs, moments, output_error, random


def problem(groups, rows, columns, samples=100, noise=0.1):
    x = inputs(groups, samples, columns)
    return random(groups, rows, columns, seed=5), x, x + noise * random(groups, samples, columns, seed=6)


# Where it starts

@pytest.mark.parametrize("name", FORMATS)
def test_hard_rounding_of_the_first_positions_is_rounding_to_nearest(name):
    """For every value of the format, the middle between each and the next, and what lies about them."""
    fmt = parse(name)
    codes = torch.arange(1 << fmt.width)
    values = from_codes(codes, fmt, torch.float64)
    values = values[values.isfinite()].unique()
    middles = (values[1:] + values[:-1]) / 2
    x = torch.cat([values, middles, middles * (1 + 1e-9), middles * (1 - 1e-9), random(500) * 4, values * 2])
    grid = Grid(format=fmt, scale=torch.full_like(x, 0.25))
    x = x * 0.25
    nearest, (down, up) = grid.nearest(x), grid.neighbours(x)
    position = initial_position(x, down, up, nearest)
    rounded = torch.where(position > 0.5, up, down)
    assert torch.equal(rounded, nearest), (x[rounded != nearest], rounded[rounded != nearest])
    assert bool((position != 0.5).all())


def test_the_first_position_of_brevitas_is_that_of_nearest_rounding_for_integers_alone():
    """It is the fraction of the weight in units of the scale, whatever the step of the format is there."""
    weights = random(4000) * 3

    def wrong(name):
        grid = Grid(format=parse(name), scale=torch.ones(4000, dtype=torch.float64))
        x = weights.clamp(float(grid.format.min_finite), float(grid.format.max_finite))
        down, up = grid.neighbours(x)
        by_fraction = torch.where(x - x.floor() > 0.5, up, down)
        ours = torch.where(initial_position(x, down, up, grid.nearest(x)) > 0.5, up, down)
        return (int((by_fraction != grid.nearest(x)).sum()), int((ours != grid.nearest(x)).sum()))

    assert wrong("int4") == (0, 0)
    by_fraction, ours = wrong("minifloat_e3m2")
    assert by_fraction > 1000
    assert ours == 0


def test_positions_are_those_between_the_neighbours():
    """Steps of 0.5 below 2, of 1 below 4 and of 2 beyond: e2m1."""
    x = torch.tensor([0.1, 1.6, 2.25, 3.0, 4.5, -2.25, 7.0, 1.0])
    grid = Grid(format=parse("minifloat_e2m1"), scale=torch.ones(8))
    position = initial_position(x, *grid.neighbours(x), grid.nearest(x))
    torch.testing.assert_close(position, torch.tensor([0.2, 0.2, 0.25, 0.0, 0.25, 0.75, 0.0, 0.0]))


# What it descends

@pytest.mark.parametrize("exponent", [None, 20.0, 2.5])
def test_the_gradient_is_that_of_the_loss(exponent):
    weights, x, y = (each[0] for each in problem(1, 6, 10))
    grid = grid_of(weights, "minifloat_e2m1")
    down, up = grid.neighbours(weights)
    variables = (random(6, 10, seed=3) * 2).requires_grad_()
    h = (1.2 * torch.sigmoid(variables) - 0.1).clamp(0, 1)
    loss = (x @ weights.T - y @ (down + (up - down) * h).T).square().sum(1).mean()
    if exponent is not None:
        loss = loss + 0.3 * (1 - (2 * h - 1).abs() ** exponent).sum()
    want, = torch.autograd.grad(loss, variables)
    own, cross = moments(y[None])[0], moments(y[None], x[None])[0]
    got = _gradient(variables.detach(), down - weights, up - down, own, weights @ (own - cross.T), 0.3, exponent)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FORMATS)
def test_outputs_follow_the_float_ones_better_than_with_nearest_rounding(name):
    weights, x, y = problem(2, 16, 24)
    weights = weights.to(torch.float32)
    grid = grid_of(weights, name)
    rounded = quantize_learned(weights, moments(y), moments(y, x), grid, LearnedRounding(iterations=500))
    assert rounded.dtype == torch.float32
    assert_on_grid(rounded, grid)
    down, up = grid.neighbours(weights)
    assert bool(((rounded == down) | (rounded == up)).all())
    error = output_error(weights.double(), rounded, x, y)
    nearest = output_error(weights.double(), grid.nearest(weights), x, y)
    assert bool((error <= nearest * (1 + 1e-6)).all()), (name, (error / nearest).max())
    assert error.sum() < nearest.sum()


@pytest.mark.parametrize("name", ["int3", "minifloat_e2m1", "posit<6,1>"])
def test_it_comes_close_to_the_best_of_all_choices(name):
    weights, x, y = (each[0] for each in problem(1, 12, 8))
    grid = grid_of(weights, name)
    down, up = grid.neighbours(weights)
    errors = torch.stack([output_error(weights, torch.where(torch.tensor(choice), up, down), x, y)
                          for choice in product((False, True), repeat=8)])
    learned = output_error(weights, quantize_learned(weights, moments(y[None])[0], moments(y[None], x[None])[0], grid),
                           x, y)
    best, nearest = errors.amin(0), output_error(weights, grid.nearest(weights), x, y)
    # Of what nearest rounding loses against the best choice, more than half is won back.
    assert (learned - best).sum() < 0.5 * (nearest - best).sum(), (learned / best, nearest / best)


def test_a_row_that_nothing_is_won_for_stays_at_nearest():
    """Orthogonal inputs: nearest rounding is the best there is, and one step of descent from it too little."""
    weights = random(6, 10).to(torch.float32)
    grid = grid_of(weights, "minifloat_e2m1")
    own = torch.eye(10, dtype=torch.float64)
    for iterations in (1, 300):
        got = quantize_learned(weights, own, own, grid, LearnedRounding(iterations=iterations))
        assert torch.equal(got, grid.nearest(weights))


def test_groups_do_not_see_each_other():
    weights, x, y = problem(3, 5, 9)
    own, cross, grid = moments(y), moments(y, x), grid_of(weights, "int4")
    options = LearnedRounding(iterations=100)
    together = quantize_learned(weights, own, cross, grid, options)
    for group in range(3):
        part = Grid(format=grid.format, scale=grid.scale[group])
        assert torch.equal(together[group], quantize_learned(weights[group], own[group], cross[group], part, options))


def test_progress_is_reported_every_hundred_iterations():
    seen = []
    weights = random(2, 3)
    quantize_learned(weights, torch.eye(3), torch.eye(3), grid_of(weights, "int4"), LearnedRounding(iterations=250),
                     progress=lambda *counts: seen.append(counts))
    assert seen == [(100, 250), (200, 250), (250, 250)]


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"iterations": 0}, ValueError, "Iteration count must be at least 1, not 0"),
    ({"learning_rate": 0}, ValueError, "Learning rate must be more than 0 and finite, not 0"),
    ({"learning_rate": "fast"}, TypeError, "Learning rate must be a number, not 'fast'"),
    ({"first_exponent": 1}, ValueError, "First exponent must be more than 1 and finite, not 1"),
    ({"last_exponent": float("inf")}, ValueError, "Last exponent must be more than 1 and finite, not inf"),
    ({"regularization": -1}, ValueError, "Regularization must be at least 0 and finite, not -1"),
    ({"regularization": None}, TypeError, "Regularization must be a number, not None"),
    ({"warm_up": 1.5}, ValueError, "Warm-up must be between 0 and 1, not 1.5"),
    ({"warm_up": True}, TypeError, "Warm-up must be a number, not True"),
    ({"quantized_inputs": 0}, TypeError, "Quantized inputs must be True or False, not 0"),
])
def test_wrong_options(fields, error, message):
    with pytest.raises(error, match=message):
        LearnedRounding(**fields)


def test_wrong_arguments():
    weights = torch.ones(2, 3)
    grid = Grid(format=parse("int4"), scale=torch.ones(2, 3))
    with pytest.raises(TypeError, match="Options must be a LearnedRounding or None, not 3"):
        quantize_learned(weights, torch.eye(3), torch.eye(3), grid, 3)
    with pytest.raises(ValueError, match=r"Moments must be of shape \(3, 3\)"):
        quantize_learned(weights, torch.eye(2), torch.eye(3), grid)
    with pytest.raises(ValueError, match=r"Cross moments must be of shape \(3, 3\)"):
        quantize_learned(weights, torch.eye(3), torch.eye(2), grid)
