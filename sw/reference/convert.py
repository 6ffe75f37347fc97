"""Conversion of codes from one format to another."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.reference.cast import Cast
from sw.reference.function import call_on_arrays, check_format, evaluate_cast, operand_ports
from sw.reference.model import Codes, Port


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The value of a code of format ``a``, rounded to a code of ``result``.

    Parameters
    ----------
    a, result : ScalarFormat
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
    result: ScalarFormat
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Result format", self.result)):
            check_format(noun, fmt)
        _ = self._cast  # which checks the rest

    @cached_property
    def _cast(self) -> Cast:
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Operand ``a``; ``random`` where the rounding is stochastic."""
        return operand_ports(self._cast, a=self.a)

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The converted code ``o``."""
        return {"o": Port.of(self.result)}

    def __call__(self, a: int, random: int = 0) -> int:
        """Return the result's code for one code.

        ``random`` holds the random bits of a stochastic rounding.

        Raises
        ------
        TypeError, ValueError
            If the code is not an integer or does not fit its format, or ``random`` does not fit the random bits.
        """
        return self._cast.encode(self.a.decode(a), random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the output for arrays of input codes: see :class:`sw.reference.model.Function`."""
        return evaluate_cast(self._cast, self.inputs, inputs, lambda values: values)

    def codes(self, a: NDArray[Any], random: NDArray[Any] | None = None) -> NDArray[np.uint64]:
        """Return the results for an array of codes: the same function as calling the object on each.

        Parameters
        ----------
        a : integer array
            Operand codes.
        random : integer array of the same shape, optional
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
        return call_on_arrays(self, self.random_bits, {"a": a}, random)
