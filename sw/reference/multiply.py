"""Exact multiplication on codes: the value every circuit and every quantizer is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, Special, Value, is_negative, is_zero
from sw.reference.cast import Cast
from sw.reference.function import call_on_arrays, check_format, evaluate_cast, operand_ports
from sw.reference.model import Codes, Port
from sw.reference.value_array import multiply_arrays


def product(a: Value, b: Value) -> Value:
    """Return the exact product of two decoded values, with IEEE 754's rules for special values and signs.

    NaN times anything, and infinity times zero, is NaN; the sign of any other product is the exclusive or of the
    operands' signs, for zeros and infinities too (IEEE 754-2019 §6.2, §6.3, §7.2).
    """
    if a is Special.NAN or b is Special.NAN:
        return Special.NAN
    negative = is_negative(a) != is_negative(b)
    infinite = any(isinstance(x, Special) and x.is_infinity for x in (a, b))
    if is_zero(a) or is_zero(b):
        if infinite:
            return Special.NAN
        return Special.NEGATIVE_ZERO if negative else Fraction(0)
    if infinite:
        return Special.NEGATIVE_INFINITY if negative else Special.POSITIVE_INFINITY
    assert isinstance(a, Fraction)
    assert isinstance(b, Fraction)
    return a * b


@dataclass(frozen=True, kw_only=True)
class Multiplication:
    """Multiplication of a code of format ``a`` by one of format ``b``, rounded once to a code of ``result``.

    Parameters
    ----------
    a, b, result : ScalarFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

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

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b), ("Result format", self.result)):
            check_format(noun, fmt)
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
        """The product ``o``."""
        return {"o": Port.of(self.result)}

    def __call__(self, a: int, b: int, random: int = 0) -> int:
        """Return the result's code for one pair of operand codes.

        ``random`` holds the random bits of a stochastic rounding.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or ``random`` does not fit the random bits.
        """
        return self._cast.encode(product(self.a.decode(a), self.b.decode(b)), random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the output for arrays of input codes: see :class:`sw.reference.model.Function`."""
        return evaluate_cast(self._cast, self.inputs, inputs, multiply_arrays)

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
