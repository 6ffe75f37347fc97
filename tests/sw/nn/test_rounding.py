"""Rounding with a straight-through gradient."""

import math

import numpy as np
import pytest
import torch

from sw.formats import RoundingMode, parse
from sw.nn import round_half_up
from sw.quantize import fake_quantize


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rounding_is_that_of_the_formats(dtype):
    halves = np.arange(-20, 21, dtype=str(dtype).removeprefix("torch.")) / 2
    x = torch.from_numpy(np.concatenate([halves, np.nextafter(halves, math.inf, dtype=halves.dtype),
                                         np.nextafter(halves, -math.inf, dtype=halves.dtype)]))
    want = fake_quantize(x, parse("int8"), rounding=RoundingMode.NEAREST_UP)
    assert torch.equal(round_half_up(x), want)
    assert round_half_up(x).dtype == dtype


def test_the_number_below_one_half_is_not_rounded_up():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert np.floor(below + np.float32(0.5)) == 1  # what adding one half comes to
    assert round_half_up(torch.tensor(below)).item() == 0


def test_large_and_special_values_stay():
    x = torch.tensor([2.0**40 + 1, -(2.0**24) - 2, torch.inf, -torch.inf])
    assert torch.equal(round_half_up(x)[:2], x[:2])
    assert round_half_up(torch.tensor(torch.nan)).isnan()


def test_gradient_passes_straight_through():
    x = torch.tensor([-1.5, 0.2, 0.5, 7.9], requires_grad=True)
    gradient = torch.tensor([1.0, -2.0, 3.0, 4.0])
    round_half_up(x).backward(gradient)
    assert torch.equal(x.grad, gradient)
    assert torch.equal(torch.func.vmap(torch.func.grad(round_half_up))(x.detach()), torch.ones(4))
