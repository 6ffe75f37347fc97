"""Gradients past what has none: an output computed elsewhere, differentiated as a function that resembles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def straight_through(output: Tensor, function: Callable[..., Tensor], *operands: Tensor | None) -> Tensor:
    """Return ``output``, whose gradients are those of ``function(*operands)``.

    The function is computed in the backward pass alone. The gradients are not differentiable themselves.

    Parameters
    ----------
    output : Tensor
        Of the shape and type of ``function(*operands)``, without a gradient of its own.
    function : callable
        Of tensors, and None in the places of operands that are None, to a tensor.
    operands : Tensor or None
    """
    result: Tensor = _StraightThrough.apply(output, function, *operands)  # type: ignore[no-untyped-call]  # of torch
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, function: Callable[..., Tensor], *operands: Tensor | None) -> Tensor:
        ctx.save_for_backward(*operands)
        ctx.function = function
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        operands: list[Tensor | None] = [None if x is None else x.detach().requires_grad_(wanted)
                                         for x, wanted in zip(ctx.saved_tensors, needed, strict=True)]
        with torch.enable_grad():
            output = ctx.function(*operands)
        found = iter(torch.autograd.grad(output, [x for x in operands if x is not None and x.requires_grad], gradient))
        return None, None, *(next(found) if wanted else None for wanted in needed)
