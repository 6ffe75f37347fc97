"""Weights, inputs that depend on each other, and grids: what the rounding techniques are tried on."""

import torch

from sw.formats import parse
from sw.ptq.grid import Grid

FORMATS = ["int3", "int4:narrow_range=true", "fixed<6,2>", "minifloat_e2m1", "minifloat_e3m2", "minifloat_e4m3",
           "posit<6,1>", "posit<8,0>"]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(groups, samples, columns, *, seed=0):
    """Inputs that depend on each other and differ in size, of shape (groups, samples, columns)."""
    mixing = torch.eye(columns) + 0.5 * random(groups, columns, columns, seed=seed + 1)
    return (random(groups, samples, columns, seed=seed) @ mixing).relu() * torch.logspace(-1, 0, columns)


def moments(y, x=None):
    """``Y^T X / n``, and ``Y^T Y / n`` without ``x``."""
    return y.mT @ (y if x is None else x) / y.shape[1]


def grid_of(weights, name, *, group=None):
    """A grid that each row of the weights, or each group of its columns, reaches the ends of. (Posits have no ends
    that weights should get near to.)"""
    fmt = parse(name)
    parts = weights.unflatten(-1, (-1, weights.shape[-1] if group is None else group))
    largest = 16.0 if name.startswith("posit") else float(fmt.max_finite)
    scale = (parts.abs().amax(-1, keepdim=True) / largest).expand(parts.shape).reshape(weights.shape)
    return Grid(format=fmt, scale=scale)


def output_error(weights, rounded, x, y=None):
    """Squared error of each output, (..., rows), of rounded weights on ``y`` against the weights on ``x``."""
    y = x if y is None else y
    return (x @ weights.mT - y @ rounded.to(y.dtype).mT).square().sum(-2)


def assert_on_grid(rounded, grid):
    off = grid.nearest(rounded) != rounded
    assert not off.any(), (grid.format.name, rounded[off][:5], grid.nearest(rounded)[off][:5])
