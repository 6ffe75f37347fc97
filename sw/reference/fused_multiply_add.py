"""Exact fused multiply-add on codes: a product and a sum, and one rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.reference.add import total
from sw.reference.cast import Cast
from sw.reference.function import call_on_arrays, check_format, evaluate_cast, operand_ports
from sw.reference.model import Codes, Port
from sw.reference.multiply import product
from sw.reference.value_array import ValueArray, add_arrays, multiply_arrays


@dataclass(frozen=True, kw_only=True)
class FusedMultiplyAdd:
    """``a * b + c`` for codes of three formats, rounded once to a code of ``result`` (IEEE 754-2019 §5.4.1).

    Parameters
    ----------
    a, b, c, result : ScalarFormat
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
    c: ScalarFormat
    result: ScalarFormat
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b), ("Format c", self.c),
                          ("Result format", self.result)):
            check_format(noun, fmt)
        _ = self._cast  # which checks the rest

    @cached_property
    def _cast(self) -> Cast:
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Factors ``a`` and ``b``, summand ``c``; ``random`` where the rounding is stochastic."""
        return operand_ports(self._cast, a=self.a, b=self.b, c=self.c)

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result ``o``."""
        return {"o": Port.of(self.result)}

    def __call__(self, a: int, b: int, c: int, random: int = 0) -> int:
        """Return the result's code for three operand codes.

        ``random`` holds the random bits of a stochastic rounding.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or ``random`` does not fit the random bits.
        """
        exact = product(self.a.decode(a), self.b.decode(b))
        return self._cast.encode(total(exact, self.c.decode(c), self.rounding), random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the output for arrays of input codes: see :class:`sw.reference.model.Function`."""
        return evaluate_cast(self._cast, self.inputs, inputs, self._fused)

    def _fused(self, x: ValueArray, y: ValueArray, z: ValueArray) -> ValueArray:
        return add_arrays(multiply_arrays(x, y), z, toward_negative=self.rounding is RoundingMode.DOWN,
                          exact=self._cast.needs_exact)

    def codes(self, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any],
              random: NDArray[Any] | None = None) -> NDArray[np.uint64]:
        """Return the results for arrays of operand codes: the same function as calling the object on each triple.

        Parameters
        ----------
        a, b, c : integer arrays of one shape
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
        return call_on_arrays(self, self.random_bits, {"a": a, "b": b, "c": c}, random)
