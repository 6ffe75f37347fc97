"""Values that a code can stand for and that no rational number is."""

import math
from enum import Enum
from fractions import Fraction
from typing import TypeAlias


class Special(Enum):
    """A decoded value outside the rational numbers.

    The negative zero counts as one: it equals zero, but it carries a sign that a product inherits.
    """

    NAN = "NaN"
    POSITIVE_INFINITY = "+Inf"
    NEGATIVE_INFINITY = "-Inf"
    NEGATIVE_ZERO = "-0"

    @property
    def is_infinity(self) -> bool:
        """Whether this is one of the two infinities."""
        return self in (Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY)


Value: TypeAlias = Fraction | Special
"""What ``decode`` returns: an exact rational, or a special value."""


def exact_value(value: "Value | int | float") -> Value:
    """Convert a Python number to a :data:`Value` without rounding.

    Raises
    ------
    TypeError
        If ``value`` is not a number or a :class:`Special`.
    """
    if isinstance(value, (Fraction, Special)):
        return value
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        if math.isnan(value):
            return Special.NAN
        if math.isinf(value):
            return Special.POSITIVE_INFINITY if value > 0 else Special.NEGATIVE_INFINITY
        if value == 0 and math.copysign(1.0, value) < 0:
            return Special.NEGATIVE_ZERO
        return Fraction(value)
    raise TypeError(f"Value must be a Fraction, an int, a float or a Special, not {value!r}")


def as_float(value: Value) -> float:
    """Return the float64 nearest to ``value`` (specials to NaN, infinities and ``-0.0``).

    Raises
    ------
    OverflowError
        If a rational lies beyond float64.
    """
    if isinstance(value, Fraction):
        return float(value)
    return {
        Special.NAN: math.nan,
        Special.POSITIVE_INFINITY: math.inf,
        Special.NEGATIVE_INFINITY: -math.inf,
        Special.NEGATIVE_ZERO: -0.0,
    }[value]


def is_negative(value: Value) -> bool:
    """Whether ``value`` carries a minus sign; NaN does not."""
    if isinstance(value, Fraction):
        return value < 0
    return value in (Special.NEGATIVE_INFINITY, Special.NEGATIVE_ZERO)


def is_zero(value: Value) -> bool:
    """Whether ``value`` is one of the two zeros."""
    return value == 0 or value is Special.NEGATIVE_ZERO
