"""Rounding with a gradient."""

import torch
from torch import Tensor


class _RoundHalfUp(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        # floor(x + 0.5) would round the number just below one half up: the sum is not exact, this difference is.
        below = torch.floor(x)
        return below + (x - below >= 0.5).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        pass

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def round_half_up(x: Tensor) -> Tensor:
    """Round every element to the nearest integer, ties upwards, as adding one half and shifting does in hardware.

    Gradient: straight through, everywhere (Bengio et al. 2013).
    """
    return _RoundHalfUp.apply(x)
