"""Exact addition and subtraction on codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, Special, Value, is_negative, is_zero
from sw.formats.check import check_boolean
from sw.reference.cast import Cast
from sw.reference.function import call_on_arrays, check_format, evaluate_cast, operand_ports
from sw.reference.model import Codes, Port
from sw.reference.value_array import ValueArray, add_arrays, negated_array


def total(x: Value, y: Value, rounding: RoundingMode) -> Value:
    """Return the exact sum of two values, with IEEE 754's rules for special values and signs of zeros.

    NaN plus anything, and the difference of two infinities, is NaN. The sum of two zeros of one sign keeps it; any
    other sum that is zero is positive, or negative if it is going to be rounded down (IEEE 754-2019 §6.2, §6.3, §7.2).

    Parameters
    ----------
    rounding : RoundingMode
        How the sum is going to be rounded.
    """
    if x is Special.NAN or y is Special.NAN:
        return Special.NAN
    infinite = [value for value in (x, y) if isinstance(value, Special) and value.is_infinity]
    if infinite:
        return infinite[0] if len(set(infinite)) == 1 else Special.NAN
    number = sum((value for value in (x, y) if isinstance(value, Fraction)), Fraction(0))
    if number:
        return number
    if is_zero(x) and is_zero(y) and is_negative(x) == is_negative(y):
        return x
    return Special.NEGATIVE_ZERO if rounding is RoundingMode.DOWN else Fraction(0)


def negated(value: Value) -> Value:
    """Return a value with the other sign, of zeros and infinities too; NaN has none (IEEE 754-2019 §5.5.1)."""
    if isinstance(value, Special):
        return _NEGATED[value]
    return -value if value else Special.NEGATIVE_ZERO


_NEGATED: dict[Special, Value] = {
    Special.NAN: Special.NAN, Special.NEGATIVE_ZERO: Fraction(0),
    Special.POSITIVE_INFINITY: Special.NEGATIVE_INFINITY, Special.NEGATIVE_INFINITY: Special.POSITIVE_INFINITY,
}


@dataclass(frozen=True, kw_only=True)
class Addition:
    """Sum, or difference, of a code of format ``a`` and one of format ``b``, rounded once to a code of ``result``.

    Parameters
    ----------
    a, b, result : ScalarFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.
    subtract : bool
        Whether ``b`` is subtracted. Operands without a negative zero follow the same rules: 0 - 0 is the sum of 0
        and -0.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the overflow policy does not apply to ``result``, or the random bits do not suit the rounding mode.
    """

    a: ScalarFormat
    b: ScalarFormat
    result: ScalarFormat
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0
    subtract: bool = False

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b), ("Result format", self.result)):
            check_format(noun, fmt)
        check_boolean("Subtract", self.subtract)
        _ = self._cast  # which checks the rest

    @cached_property
    def _cast(self) -> Cast:
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Operands ``a`` and ``b``; ``random`` where the rounding is stochastic."""
        return operand_ports(self._cast, a=self.a, b=self.b)

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The sum ``o``."""
        return {"o": Port.of(self.result)}

    def __call__(self, a: int, b: int, random: int = 0) -> int:
        """Return the result's code for one pair of operand codes.

        ``random`` holds the random bits of a stochastic rounding.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or ``random`` does not fit the random bits.
        """
        x, y = self.a.decode(a), self.b.decode(b)
        return self._cast.encode(total(x, negated(y) if self.subtract else y, self.rounding), random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the output for arrays of input codes: see :class:`sw.reference.model.Function`."""
        return evaluate_cast(self._cast, self.inputs, inputs, self._sum)

    def _sum(self, x: ValueArray, y: ValueArray) -> ValueArray:
        return add_arrays(x, negated_array(y) if self.subtract else y,
                          toward_negative=self.rounding is RoundingMode.DOWN, exact=self._cast.needs_exact)

    def codes(self, a: NDArray[Any], b: NDArray[Any], random: NDArray[Any] | None = None) -> NDArray[np.uint64]:
        """Return the results for arrays of operand codes: the same function as calling the object on each pair.

        Parameters
        ----------
        a, b : integer arrays of one shape
            Operand codes.
        random : integer array of that shape, optional
            Random bits; needed when the rounding is stochastic, and without meaning otherwise.

        Returns
        -------
        uint64 array of that shape

        Raises
        ------
        TypeError
            If an array does not hold integers.
        ValueError
            If a code does not fit its format, ``random`` is missing or does not fit the random bits, or the shapes
            differ.
        """
        return call_on_arrays(self, self.random_bits, {"a": a, "b": b}, random)
