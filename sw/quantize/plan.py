"""A format as plain numbers: what the tensor code needs to know of it, worked out once and exactly."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch

from sw.formats import (
    FixedPointFormat,
    FloatingPointFormat,
    OverflowPolicy,
    PositFormat,
    RoundingMode,
    ScalarFormat,
    Subnormals,
)

MAX_WIDTH = 32
"""Widest format, in bits: codes, and codes with their discarded bits, then fit 64-bit integers."""


@dataclass(frozen=True, kw_only=True)
class FloatDtype:
    """An IEEE 754 binary interchange type of torch (or bfloat16, built like one)."""

    precision: int
    """Significand bits, the hidden one included."""
    min_exponent: int
    """Exponent of the smallest normal number."""
    max_exponent: int
    """Exponent of the largest finite number."""
    integer: torch.dtype
    """Integer type of the same size, for a view of the bits."""

    @property
    def fraction_bits(self) -> int:
        """Width of the fraction field."""
        return self.precision - 1

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest subnormal number."""
        return self.min_exponent - self.fraction_bits


FLOAT_DTYPES = {
    torch.float16: FloatDtype(precision=11, min_exponent=-14, max_exponent=15, integer=torch.int16),
    torch.bfloat16: FloatDtype(precision=8, min_exponent=-126, max_exponent=127, integer=torch.int16),
    torch.float32: FloatDtype(precision=24, min_exponent=-126, max_exponent=127, integer=torch.int32),
    torch.float64: FloatDtype(precision=53, min_exponent=-1022, max_exponent=1023, integer=torch.int64),
}
"""The tensor types that can be quantized."""

DTYPE_NAMES = "torch.float16, torch.bfloat16, torch.float32 or torch.float64"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every format has, whatever its family. Exponents are powers of two."""

    format: ScalarFormat
    name: str
    precision: int
    """Significand bits of the longest value."""
    quantum_exponent: int
    """Every value is a multiple of two to this power."""
    max_exponent: int
    """Exponent of the value of largest magnitude."""
    minimum: float
    maximum: float
    has_nan: bool
    has_negative_zero: bool


# A function, because torch.compile follows no method of an object that it takes for a constant.
def fits(plan: Plan, dtype: torch.dtype) -> bool:
    """Whether ``dtype`` holds every value of the format."""
    target = FLOAT_DTYPES[dtype]
    return (plan.precision <= target.precision and plan.quantum_exponent >= target.quantum_exponent
            and plan.max_exponent <= target.max_exponent)


@dataclass(frozen=True, kw_only=True)
class FloatPlan(Plan):
    """A floating-point format. The codes are those of ``FloatingPointFormat``; None stands for "no such code"."""

    fraction_bits: int
    radix: int
    signed: bool
    has_zero: bool
    gradual: bool
    """Whether there are subnormal numbers."""
    min_exponent: int
    """Exponent of the lowest binade of normal numbers."""
    exponent_offset: int
    """Exponent of the binade (the lower one, in radix 4) with exponent field 0, were it a normal one."""
    sign_bit: int
    min_code: int
    max_code: int
    nan_code: int | None
    infinity_code: int | None
    nan_is_negative_zero: bool


@dataclass(frozen=True, kw_only=True)
class FixedPlan(Plan):
    """A fixed-point format: integers times ``2**-fraction_bits``."""

    fraction_bits: int
    width: int
    signed: bool
    min_integer: int
    max_integer: int


@dataclass(frozen=True, kw_only=True)
class PositPlan(Plan):
    """A posit format. The codes are those of ``PositFormat``."""

    width: int
    exponent_size: int


ScalarPlan: TypeAlias = FloatPlan | FixedPlan | PositPlan
"""The plan of a format of any family."""


@lru_cache(maxsize=256)
def plan_of(fmt: ScalarFormat) -> ScalarPlan:
    """Return the numbers of ``fmt``.

    Raises
    ------
    TypeError
        If ``fmt`` is not a scalar format.
    ValueError
        If it is wider than 32 bits, or has values that float64 does not hold as normal numbers.
    """
    if not isinstance(fmt, (FloatingPointFormat, FixedPointFormat, PositFormat)):
        raise TypeError("Format must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, as "
                        f"sw.formats.parse('e4m3') gives, not {fmt!r}")
    if fmt.width > MAX_WIDTH:
        raise ValueError(f"Format must have at most {MAX_WIDTH} bits to be quantized to, not {fmt.name!r} "
                         f"({fmt.width} bits)")
    if isinstance(fmt, PositFormat):
        return _posit_plan(fmt)
    return _fixed_plan(fmt) if isinstance(fmt, FixedPointFormat) else _float_plan(fmt)


def _fixed_plan(fmt: FixedPointFormat) -> FixedPlan:
    # The most negative code of a full range is a power of two, one binade above the largest value.
    magnitude = max(fmt.max_integer, -fmt.min_integer)
    return FixedPlan(
        format=fmt, name=fmt.name, precision=max(1, fmt.max_integer.bit_length()),
        quantum_exponent=-fmt.fraction_bits, max_exponent=magnitude.bit_length() - 1 - fmt.fraction_bits,
        minimum=float(fmt.min_finite), maximum=float(fmt.max_finite), has_nan=False, has_negative_zero=False,
        fraction_bits=fmt.fraction_bits, width=fmt.width, signed=fmt.signed, min_integer=fmt.min_integer,
        max_integer=fmt.max_integer)


def _float_plan(fmt: FloatingPointFormat) -> FloatPlan:
    gradual = fmt.subnormals is Subnormals.SUPPORTED
    largest = fmt.max_finite
    max_exponent = largest.numerator.bit_length() - largest.denominator.bit_length()
    # Without subnormals, numbers are rounded in the binades beyond both ends too, which must then be normal
    # numbers of float64.
    double, margin = FLOAT_DTYPES[torch.float64], 0 if gradual else 4
    lowest, highest = double.min_exponent + margin, double.max_exponent - margin
    if fmt.min_exponent < lowest or max_exponent > highest:
        raise ValueError(f"Format must have its normal numbers between 2**{lowest} and 2**{highest + 1} to be "
                         f"quantized to, not {fmt.name!r} (2**{fmt.min_exponent} to 2**{max_exponent + 1})")
    step = fmt.radix // 2
    return FloatPlan(
        format=fmt, name=fmt.name, precision=fmt.fraction_bits + 1,
        quantum_exponent=fmt.min_exponent - fmt.fraction_bits,
        max_exponent=max_exponent, minimum=float(fmt.min_finite), maximum=float(largest),
        has_nan=fmt.nan_code is not None, has_negative_zero=fmt.has_negative_zero,
        fraction_bits=fmt.fraction_bits, radix=fmt.radix, signed=fmt.signed, has_zero=fmt.has_zero, gradual=gradual,
        min_exponent=fmt.min_exponent, exponent_offset=-int(fmt.bias * step),
        sign_bit=1 << (fmt.exponent_bits + fmt.fraction_bits), min_code=fmt.min_code, max_code=fmt.max_code,
        nan_code=fmt.nan_code, infinity_code=fmt.infinity_code,
        nan_is_negative_zero=fmt.signed and fmt.has_zero and not fmt.has_negative_zero)


def _posit_plan(fmt: PositFormat) -> PositPlan:
    # The steps are finest around zero: where the regime takes all bits, every value is a multiple of the smallest.
    return PositPlan(
        format=fmt, name=fmt.name, precision=fmt.significand_bits, quantum_exponent=-fmt.max_exponent,
        max_exponent=fmt.max_exponent, minimum=float(fmt.min_finite), maximum=float(fmt.max_finite), has_nan=True,
        has_negative_zero=False, width=fmt.width, exponent_size=fmt.exponent_size)


def code_dtype(fmt: ScalarFormat) -> torch.dtype:
    """Return the integer type that holds the codes of ``fmt`` as nonnegative numbers.

    uint8 up to 8 bits, int16 up to 15, int32 up to 31, int64 beyond. (The unsigned types of torch wider than
    8 bits lack most operations.)
    """
    for width, dtype in ((8, torch.uint8), (15, torch.int16), (31, torch.int32)):
        if fmt.width <= width:
            return dtype
    return torch.int64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One way to quantize: a format and how to round to it."""

    plan: ScalarPlan
    rounding: RoundingMode
    overflow: OverflowPolicy
    random_bits: int
    """Random bits for each stochastic rounding; 0 in the other modes."""
    propagate_nan: bool
