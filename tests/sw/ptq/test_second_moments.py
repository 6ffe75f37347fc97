"""Second moments gathered in parts against the product of everything at once."""

import pytest
import torch

from sw.ptq import second_moments
from sw.ptq.second_moments import SecondMoments
from tests.sw.ptq.rounding_problems import random


@pytest.mark.parametrize("block", [512, 4, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_add_up_to_the_whole(block, dtype, monkeypatch):
    monkeypatch.setattr(second_moments, "_BLOCK", block)
    y, x = random(3, 50, 10).to(dtype), random(3, 50, 10, seed=1).to(dtype)
    moments = SecondMoments(3, 10, crossed=True)
    for part in (slice(0, 7), slice(7, 8), slice(8, 50)):
        moments.add(y[:, part], x[:, part])
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    y, x = y.double(), x.double()
    torch.testing.assert_close(moments.own(), y.mT @ y / 50, rtol=0, atol=tolerance)
    torch.testing.assert_close(moments.cross(), y.mT @ x / 50, rtol=0, atol=tolerance)
    assert torch.equal(moments.own(), moments.own().mT)
    assert moments.samples == 50


def test_half_precision_inputs_are_summed_in_float32():
    """A float16 square of 300 is infinite."""
    moments = SecondMoments(1, 1)
    moments.add(torch.full((1, 3, 1), 300, dtype=torch.float16))
    assert moments.own().item() == 300**2


def test_without_other_inputs_the_cross_moments_are_the_own_ones():
    moments = SecondMoments(1, 4)
    moments.add(random(1, 9, 4))
    assert torch.equal(moments.cross(), moments.own())


def added(y, x=None, *, crossed=False):
    moments = SecondMoments(2, 3, crossed=crossed)
    moments.add(y, x)
    return moments


@pytest.mark.parametrize(("call", "message"), [
    (lambda: added(torch.ones(2, 5, 4)), r"Inputs must be of shape \(2, samples, 3\), not \(2, 5, 4\)"),
    (lambda: added(torch.ones(5, 3)), r"Inputs must be of shape \(2, samples, 3\), not \(5, 3\)"),
    (lambda: added(torch.ones(2, 5, 3), crossed=True),
     "Other inputs must be given if and only if the moments are crossed, not without them"),
    (lambda: added(torch.ones(2, 5, 3), torch.ones(2, 5, 3)),
     "Other inputs must be given if and only if the moments are crossed, not with them"),
    (lambda: added(torch.ones(2, 5, 3), torch.ones(2, 4, 3), crossed=True),
     r"Other inputs must be of the same shape, \(2, 5, 3\), not \(2, 4, 3\)"),
    (lambda: SecondMoments(2, 3).own(), "Second moments must have samples, not 0; give them inputs with add"),
    (lambda: added(torch.full((2, 5, 3), torch.nan)).own(), "Inputs must be finite, not with an infinity or a NaN"),
    (lambda: added(torch.ones(2, 5, 3), torch.full((2, 5, 3), torch.inf), crossed=True).cross(),
     "Inputs must be finite, not with an infinity or a NaN"),
])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
