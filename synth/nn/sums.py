"""What layers do around a circuit: numbers go in, and codes of sums come out as values under the operands' scales."""

from __future__ import annotations

import torch
from torch import Tensor

from sw.quantize import from_codes
from sw.quantize.plan import fits, plan_of
from synth.nn.unit import Unit


def check_numbers(noun: str, x: Tensor, label: str) -> None:
    """Raise ValueError if a tensor of floats has a NaN, which not every format can hold."""
    if isinstance(x, Tensor) and x.is_floating_point() and bool(torch.isnan(x).any()):
        raise ValueError(f"{noun} must be numbers to go through a circuit, not NaN, at {label}")


def values_of(codes: Tensor, unit: Unit, a_scale: Tensor, b_scale: Tensor, *dtypes: torch.dtype) -> Tensor:
    """Return ``value of the sum * (a_scale * b_scale)`` for codes of sums.

    Parameters
    ----------
    codes : integer tensor
        Of ``unit.result``.
    unit : Unit
    a_scale, b_scale : Tensor
        Those of the operands, in shapes that broadcast with that of the codes.
    *dtypes
        Types of the operands.

    Returns
    -------
    Tensor
        float32, each operation rounded to it; float64 where an operand is, or float32 does not hold the sums' format.
    """
    assert unit.result is not None  # or tensors had not held the codes
    wide = torch.float64 in dtypes or not fits(plan_of(unit.result), torch.float32)
    work = torch.float64 if wide else torch.float32
    values: Tensor = from_codes(codes, unit.result, work) * (a_scale.to(work) * b_scale.to(work))
    return values
