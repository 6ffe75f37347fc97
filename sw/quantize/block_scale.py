"""The scales of blocks: cutting a tensor into blocks, and the code that each block's scale gets."""

import torch
from torch import Tensor

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode
from sw.quantize import exact
from sw.quantize.block_plan import BlockPlan, block_plan_of
from sw.quantize.checks import check_input
from sw.quantize.plan import Settings

_FRACTION_BITS = 52
_BIAS = 1023
_SMALLEST_TENSOR_SCALE = 2.0 ** -126


def block_tensor_scale(x: Tensor, fmt: BlockFormat) -> Tensor:
    """Return the tensor scale of ``x``: ``fmt.tensor_scale_for`` of its elements.

    Parameters
    ----------
    x : float16, bfloat16, float32 or float64 tensor, of any shape
        Infinities and NaNs do not count.
    fmt : BlockFormat

    Returns
    -------
    Tensor
        float32, of shape ``()``; 1 where all elements are zero, or for a format without tensor scale. No gradient.
        For a float64 input, the quotient that it is was rounded to float64 before.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the format is not one that can be quantized to.
    """
    check_input(x)
    return tensor_scale_of(x, block_plan_of(fmt, RoundingMode.NEAREST_EVEN, None))


def tensor_scale_of(x: Tensor, plan: BlockPlan) -> Tensor:
    """Return the tensor scale of ``x``, float32, of shape ``()``."""
    if not plan.has_tensor_scale or x.numel() == 0:
        return torch.ones((), dtype=torch.float32, device=x.device)
    x = x.detach()
    largest = torch.where(x.isfinite(), x, 0.0).abs().amax().to(torch.float64)
    scale = (largest / plan.tensor_limit).clamp(_SMALLEST_TENSOR_SCALE, torch.finfo(torch.float32).max)
    return torch.where(largest == 0, 1.0, scale).to(torch.float32)


def pieces(x: Tensor | None, dim: int, block_size: int) -> list[Tensor] | list[None]:
    """Cut into two views of shape (…, blocks, elements): the whole blocks, and the shorter last one if there is one."""
    if x is None:
        return [None, None]
    x = x.movedim(dim, -1)
    whole = x.shape[-1] // block_size * block_size
    rest = x.shape[-1] - whole
    return [x[..., :whole].unflatten(-1, (whole // block_size, block_size)),
            x[..., whole:].unflatten(-1, (int(rest > 0), rest))]


def scale_codes(x: Tensor, tensor_scale: Tensor, plan: BlockPlan) -> Tensor:
    """Return the scales' codes, int64, for blocks of shape (…, blocks, elements): ``BlockFormat.block_scale``.

    ``tensor_scale`` is float64 and broadcasts with (…, blocks).
    """
    if x.shape[-1] == 0:
        return torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device)
    if plan.scale.nan_code is None:
        x = torch.where(x.isnan(), 0.0, x)
    largest = torch.maximum(x.amax(-1), -x.amin(-1)).to(torch.float64)
    if plan.powers_of_two:
        wanted = _power_of_two(largest / tensor_scale if plan.has_tensor_scale else largest, plan)
    else:
        wanted = largest / (tensor_scale * plan.limit)
    settings = Settings(plan=plan.scale, rounding=RoundingMode.NEAREST_EVEN if plan.saturates else RoundingMode.UP,
                        overflow=OverflowPolicy.SATURATE, random_bits=0, propagate_nan=False)
    codes = exact.encode(wanted, settings, None)
    if not plan.saturates:
        codes = torch.where(wanted <= plan.scale_minimum, plan.scale.min_code, codes)
        codes = torch.where(wanted > plan.scale_maximum, plan.beyond, codes)
    codes = torch.where(largest == 0, 0, codes)
    return torch.where(largest < torch.inf, codes, plan.beyond)


def _power_of_two(largest: Tensor, plan: BlockPlan) -> Tensor:
    """Return two to the exponent that the largest magnitude counts with, less that of the largest element."""
    bits = largest.view(torch.int64)
    carried = bits & ((1 << _FRACTION_BITS) - 1) >= plan.carry
    exponent = (bits >> _FRACTION_BITS) + carried - plan.element_exponent
    return (exponent.clamp(1, 2 * _BIAS) << _FRACTION_BITS).view(torch.float64)


def factor_of(blocks: Tensor, tensor_scale: Tensor, plan: BlockPlan, dim: int, *, single: bool) -> Tensor:
    """Return the product of both scales of each block, in shape (…, blocks, 1), float64 or (``single``) float32.

    ``tensor_scale`` has as many dimensions as the tensor that was cut along ``dim``, and broadcasts with it.
    """
    scale = tensor_scale.to(torch.float64).movedim(dim, -1)
    factor = exact.decode(scale_codes(blocks, scale, plan), plan.scale)
    if plan.has_tensor_scale:
        factor = factor * scale
    return factor.unsqueeze(-1).to(torch.float32 if single else torch.float64)
