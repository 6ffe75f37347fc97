"""A block format as plain numbers: what the tensor code needs to know of it, worked out once and exactly."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, ScaleRule
from sw.quantize.checks import settings_of
from sw.quantize.plan import FLOAT_DTYPES, FloatPlan, PositPlan, Settings, fits, plan_of

_FRACTION_BITS = 52
_REACH = 896  # binades: with a tensor scale, which float32 holds, a value stays a normal number of float64


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """A block format, and how its elements are rounded.

    Its own fields are no members of enums: torch.compile guards those by where they come from, and cannot find its
    way back into a result that it was told to assume constant.
    """

    name: str
    block_size: int
    element: Settings
    scale: FloatPlan
    powers_of_two: bool
    """Whether the rule asks for a power of two; otherwise for a quotient."""
    saturates: bool
    """Whether what is too large gets the largest scale by the rule, and what is too small the nearest."""
    element_exponent: int
    """Exponent of the largest element."""
    carry: int
    """Fraction of a float64, as an integer, from which a magnitude counts as the next power of two."""
    limit: float
    """Largest quotient of a magnitude and its scale, for the rules that divide by it."""
    has_tensor_scale: bool
    tensor_limit: float
    """Largest magnitude that a tensor keeps under a tensor scale of 1."""
    beyond: int
    """Code of the scale of what is too large for every scale."""
    scale_maximum: float
    scale_minimum: float
    """Smallest scale above zero."""
    single: bool
    """Whether float32 is exact for inputs of up to that precision: the scales are its powers of two, and the elements
    are so coarse that none of them, times a scale, falls between its subnormal numbers."""


# A compiler takes the answer as it is: it need not trace through rational arithmetic.
@torch.compiler.assume_constant_result
def block_plan_of(fmt: BlockFormat, rounding: RoundingMode, random_bits: int | None) -> BlockPlan:
    """Check one way to quantize to blocks, and return it.

    Raises
    ------
    TypeError
        If ``fmt`` is not a block format, or another argument of the wrong type.
    ValueError
        If the random bits do not suit the rounding, or the format is too wide or reaches too far for float64.
    """
    if not isinstance(fmt, BlockFormat):
        raise TypeError(f"Block format must be a BlockFormat, as sw.formats.parse_block('mxfp8_e4m3') gives, "
                        f"not {fmt!r}")
    return _block_plan(fmt, settings_of(fmt.element, rounding, OverflowPolicy.SATURATE, random_bits, False, None))


@lru_cache(maxsize=256)
def _block_plan(fmt: BlockFormat, element: Settings) -> BlockPlan:
    scale = plan_of(fmt.scale)
    assert isinstance(scale, FloatPlan)
    for part in (fmt, fmt.scale):
        if part.smallest_positive < 2 ** -_REACH or part.max_finite > 2 ** _REACH:
            raise ValueError(f"Block format must have its scales and values between 2**-{_REACH} and 2**{_REACH} to "
                             f"be quantized to, not {fmt.name!r}")
    carry = 1 << _FRACTION_BITS
    if fmt.scale_rule is ScaleRule.CEIL:
        carry = 1
    elif fmt.scale_rule is ScaleRule.EVEN:
        carry -= carry >> (fmt.element_fraction_bits + 1)
    unit = fmt.scale_rule is ScaleRule.UNIT
    return BlockPlan(
        name=fmt.name, block_size=fmt.block_size, element=element, scale=scale,
        powers_of_two=fmt.scale_rule in (ScaleRule.FLOOR, ScaleRule.CEIL, ScaleRule.EVEN),
        saturates=fmt.scale_rule is ScaleRule.ABSMAX, element_exponent=fmt.element_exponent, carry=carry,
        limit=1.0 if unit else float(fmt.element.max_finite), has_tensor_scale=fmt.tensor_scale,
        tensor_limit=float(fmt.tensor_limit),
        beyond=fmt.scale.max_code if fmt.scale.nan_code is None else fmt.scale.nan_code,
        scale_maximum=float(fmt.scale.max_finite), scale_minimum=float(fmt.scale.smallest_positive),
        single=_single(fmt, element, scale))


def _single(fmt: BlockFormat, element: Settings, scale: FloatPlan) -> bool:
    float32 = FLOAT_DTYPES[torch.float32]
    if fmt.tensor_scale or scale.fraction_bits or element.rounding is not RoundingMode.NEAREST_EVEN:
        return False
    # A quotient that float32 rounds must be far below the smallest element, and vanish; posits never do.
    return (not isinstance(element.plan, PositPlan) and fits(element.plan, torch.float32) and fits(scale, torch.float32)
            and element.plan.quantum_exponent >= float32.min_exponent + 2
            and element.plan.quantum_exponent + scale.quantum_exponent >= float32.quantum_exponent)
