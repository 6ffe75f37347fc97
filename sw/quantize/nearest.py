"""The fast roads to nearest-even: a few floating-point operations, exact for the formats that they admit.

Each returns the same values as ``sw.quantize.exact``; ``road`` says which of them suits.
"""

from enum import Enum

import torch
from torch import Tensor

from sw.formats import OverflowPolicy, RoundingMode
from sw.quantize.blocks import Workspace
from sw.quantize.plan import FLOAT_DTYPES, FixedPlan, FloatPlan, PositPlan, Settings, fits


class Road(Enum):
    """How a tensor is quantized."""

    EXACT = "exact"
    """By the integer arithmetic of ``sw.quantize.exact``: every format, every mode."""
    SHIFTER = "shifter"
    """Floating point, by adding and subtracting a power of two at which the last place is the format's."""
    FIXED_SHIFTER = "fixed-shifter"
    """Fixed point, likewise: one and the same constant for all elements."""
    BITS = "bits"
    """A format with the exponents of the tensor's type, by integer rounding of the bits."""
    CAST = "cast"
    """A format that torch casts to, by that cast."""


# The casts that are faster than the shifter: those to torch's other 8-bit types are not, or do not come back fast.
_CASTS = {
    # precision, lowest normal exponent, highest exponent
    (11, -14, 15): torch.float16,
    (8, -126, 127): torch.bfloat16,
    (3, -14, 15): torch.float8_e5m2,
}


def road(settings: Settings, dtype: torch.dtype, *, casts: bool) -> Road:
    """Return the fastest road for tensors of ``dtype``, float32 or float64.

    ``casts`` permits ``Road.CAST``: a compiler may drop a cast to a smaller type and back.
    """
    plan, work = settings.plan, FLOAT_DTYPES[dtype]
    # The roads below clamp to the format's range.
    if settings.overflow.wraps or settings.overflow is OverflowPolicy.SATURATE_ZERO:
        return Road.EXACT
    if settings.rounding is not RoundingMode.NEAREST_EVEN:
        return Road.EXACT
    if isinstance(plan, PositPlan):
        return Road.EXACT  # the last place moves with the regime
    if not fits(plan, dtype):
        return Road.EXACT
    room = work.fraction_bits - 2  # bits of an integer that 1.5 * 2**fraction_bits shifts out
    if isinstance(plan, FixedPlan):
        shifter = work.fraction_bits - plan.fraction_bits
        suits = plan.width <= room and work.min_exponent <= shifter < work.max_exponent
        return Road.FIXED_SHIFTER if suits else Road.EXACT
    if not plan.gradual or (not plan.signed and settings.overflow is OverflowPolicy.INFINITY):
        return Road.EXACT
    if plan.fraction_bits == 0:
        return Road.EXACT  # in the middle, the even code need not be the even multiple of the power of two below
    # torch narrows float64 to the smaller types through float32, which rounds twice.
    if casts and dtype == torch.float32 and _cast_dtype(plan) is not None:
        return Road.CAST
    if plan.min_exponent == work.min_exponent and plan.signed and plan.has_negative_zero:
        return Road.BITS
    reach = plan.max_exponent + 2 + work.fraction_bits - plan.fraction_bits
    if plan.min_exponent > work.min_exponent and plan.fraction_bits <= room and reach <= work.max_exponent:
        return Road.SHIFTER
    return Road.EXACT


def _cast_dtype(plan: FloatPlan) -> torch.dtype | None:
    dtype = _CASTS.get((plan.precision, plan.min_exponent, plan.max_exponent))
    if dtype is None or not plan.signed or not plan.has_negative_zero:
        return None
    return dtype if plan.maximum == torch.finfo(dtype).max else None


def quantize(x: Tensor, settings: Settings, way: Road, out: Tensor | None = None,
             space: Workspace | None = None) -> Tensor:
    """Return the values of a float32 or float64 tensor, of its type, or write them to ``out``.

    With a workspace, intermediate results go there; without one, nothing is done in place, as compilers like it.
    """
    plan = settings.plan
    first = _first(space, x, out)
    if not plan.has_nan and not settings.propagate_nan:
        x = torch.nan_to_num(x, nan=0.0, posinf=torch.inf, neginf=-torch.inf, out=first)
    if isinstance(plan, FixedPlan):
        return _fixed_shifter(x, plan, settings, out, space)
    if settings.overflow is not OverflowPolicy.INFINITY:
        x = torch.clamp(x, plan.minimum, plan.maximum, out=first)
    match way:
        case Road.CAST:
            y = x.to(_cast_dtype(plan))
            return y.to(x.dtype) if out is None else out.copy_(y)
        case Road.BITS:
            y = _bits(x, plan)
            return y if out is None else out.copy_(y)
        case _:
            return _shifter(x, plan, settings, out, space)


def cast_whole(x: Tensor, settings: Settings, out: Tensor) -> bool:
    """Write the values to ``out`` by an 8-bit cast of the whole tensor, unless that overflows; return whether it did.

    Two passes over large memory, and two over a quarter of it, take less time than a clamp does on the way.
    """
    plan = settings.plan
    if not isinstance(plan, FloatPlan) or x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    dtype = _cast_dtype(plan)
    if dtype is None or dtype.itemsize > 1:
        return False
    y = x.to(dtype)
    if settings.overflow is not OverflowPolicy.INFINITY and y.numel():
        # The largest negative and the largest positive code: beyond them are infinity and NaN.
        negative, positive = y.view(torch.uint8).max(), y.view(torch.int8).max()
        if int(negative) > plan.sign_bit + plan.max_code or int(positive) > plan.max_code:
            return False
    out.copy_(y)
    return True


def _first(space: Workspace | None, x: Tensor, out: Tensor | None) -> Tensor | None:
    """Memory for ``x`` brought into range: that of the result, which then is in the cache when it is written again."""
    return out if space is not None and out is not None and out.dtype == x.dtype else _memory(space, 0, x)


def _memory(space: Workspace | None, index: int, x: Tensor, dtype: torch.dtype | None = None) -> Tensor | None:
    return None if space is None else space(index, x.shape, x.dtype if dtype is None else dtype)


def _fixed_shifter(x: Tensor, plan: FixedPlan, settings: Settings, out: Tensor | None,
                   space: Workspace | None) -> Tensor:
    """Add a constant so large that the sum has no places below the format's; the difference is the result, with +0."""
    symmetric = settings.overflow is OverflowPolicy.SATURATE_SYMMETRIC and plan.signed
    minimum = -plan.maximum if symmetric else plan.minimum
    memory = _first(space, x, out)
    shifter = 1.5 * 2.0 ** (FLOAT_DTYPES[x.dtype].fraction_bits - plan.fraction_bits)
    shifted = torch.add(torch.clamp(x, minimum, plan.maximum, out=memory), shifter, out=memory)
    return torch.sub(shifted, shifter, out=out)


def _shifter(x: Tensor, plan: FloatPlan, settings: Settings, out: Tensor | None, space: Workspace | None) -> Tensor:
    """Do the same with a constant for each binade, made of the element's own exponent bits.

    The power of two, ``power``, is at least that of the lowest binade, where the spacing stays. Its multiple by
    ``scale`` is exact, so that a fused multiply-add changes nothing.
    """
    work = FLOAT_DTYPES[x.dtype]
    infinite = settings.overflow is OverflowPolicy.INFINITY
    if infinite:
        limit = 2.0 ** (plan.max_exponent + 1)
        x = torch.clamp(x, -limit, limit, out=_first(space, x, out))
    memory = _memory(space, 1, x, work.integer)
    exponents = work.max_exponent + work.max_exponent + 1 << work.fraction_bits
    lowest = plan.min_exponent - work.min_exponent + 1 << work.fraction_bits
    fields = torch.clamp(torch.bitwise_and(x.view(work.integer), exponents, out=memory), min=lowest, out=memory)
    power = fields.view(x.dtype)
    scale = 1.5 * 2.0 ** (work.fraction_bits - plan.fraction_bits)
    memory = _memory(space, 2, x)
    shifted = torch.add(x, power, alpha=scale, out=memory)
    last = not infinite and not plan.has_negative_zero
    y = torch.sub(shifted, power, alpha=scale, out=out if last else memory)
    if infinite:
        y = torch.where(y.abs() > plan.maximum, torch.nan if plan.infinity_code is None else y * torch.inf, y)
    if plan.has_negative_zero:
        # A difference of equals is +0, whatever the sign of x.
        return torch.copysign(y, x, out=out)
    return y if last or out is None else out.copy_(y)


def _bits(x: Tensor, plan: FloatPlan) -> Tensor:
    """Round the bits, read as an integer, to a multiple of the format's last place; a carry moves the exponent."""
    work = FLOAT_DTYPES[x.dtype]
    discarded = work.fraction_bits - plan.fraction_bits
    if discarded == 0:
        return x
    bits = x.view(work.integer)
    half = (1 << (discarded - 1)) - 1
    rounded = (bits + half + ((bits >> discarded) & 1)) & -(1 << discarded)
    return torch.where(torch.isnan(x), x, rounded.view(x.dtype))
