"""Multiplication by a sum of at most K signed powers of two: shifts and additions in place of a multiplier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.cast import Cast
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.value_array import from_integers

WORD_BITS = 62
"""Width up to which products are formed in int64."""


@dataclass(frozen=True, kw_only=True)
class KHotMultiplication:
    """Product of a fixed-point ``x`` and a weight of ``hot`` signed powers of two, rounded once.

    The weight is the sum of ``(-1)**negative * 2**(shift - weight_fraction_bits)`` over the digits whose ``enable``
    is 1. Digits may share a shift: they add up.

    Parameters
    ----------
    x : FixedPointFormat
    hot : int
        How many digits a weight has at most, the K of K-hot; at most ``max_shift + 1``, as many as there are powers.
    max_shift : int
        Largest exponent of a digit, in units of the weight's last place.
    weight_fraction_bits : int
        The weight's last place is ``2**-weight_fraction_bits``.
    result : ScalarFormat, optional
        By default :attr:`exact`, in which no product is rounded.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a number is out of range, the exact product needs more than 64 bits, the overflow policy does not apply to
        the result, or the random bits do not suit the rounding mode.

    Source: Dai et al. 2024, Trainable Fixed-Point Quantization for Deep Learning Acceleration on FPGAs (QFX).
    """

    x: FixedPointFormat
    hot: int
    max_shift: int
    weight_fraction_bits: int = 0
    result: ScalarFormat | None = None
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.x, FixedPointFormat):
            raise TypeError(f"Format x must be a FixedPointFormat, not {self.x!r}")
        check_integer("Max shift", self.max_shift)
        if self.max_shift < 0:
            raise ValueError(f"Max shift must be at least 0, not {self.max_shift!r}")
        check_integer("Weight fraction bits", self.weight_fraction_bits)
        check_hot(self.hot, self.max_shift + 1)
        if self._max_product.bit_length() + 1 > 64:
            raise ValueError("Max shift must leave the exact product in 64 bits, not "
                             f"{self.max_shift!r}, with which {self.x.name} by {self.hot} digits needs "
                             f"{self._max_product.bit_length() + 1}")
        _ = self.exact, self.cast  # refuse what they refuse

    @property
    def _max_product(self) -> int:
        """Largest magnitude of a product, in units of its last place."""
        return max(self.x.max_integer, (1 << self.x.width) - 1 - self.x.max_integer) * self.hot << self.max_shift

    @cached_property
    def exact(self) -> FixedPointFormat:
        """The smallest format that holds every product."""
        return FixedPointFormat(width=self._max_product.bit_length() + 1,
                                fraction_bits=self.x.fraction_bits + self.weight_fraction_bits)

    @cached_property
    def cast(self) -> Cast:
        """The rounding at the end."""
        return Cast(result=self.exact if self.result is None else self.result, rounding=self.rounding,
                    overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> dict[str, Port]:
        """``x``, and for each digit a ``shift`` of at most ``max_shift``, ``negative`` and ``enable``."""
        flags = Port(width=1, lanes=self.hot)
        shift = Port(width=max(1, self.max_shift.bit_length()), lanes=self.hot, limit=self.max_shift + 1)
        return {"x": Port.of(self.x), "shift": shift, "negative": flags, "enable": flags} | self.cast.random_ports

    @property
    def outputs(self) -> dict[str, Port]:
        """``o``, the product."""
        return {"o": Port.of(self.cast.result)}

    def __call__(self, x: int, shift: Sequence[int], negative: Sequence[int], enable: Sequence[int],
                 random: int = 0) -> int:
        """Return the result's code for one code of ``x`` and the digits of one weight."""
        unit = Fraction(2) ** -self.weight_fraction_bits
        weight = sum((Fraction(-1) ** minus * 2 ** place * unit
                      for place, minus, present in zip(shift, negative, enable, strict=True) if present), Fraction(0))
        value = self.x.decode(x)
        assert isinstance(value, Fraction)
        return self.cast.encode(value * weight, random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of ``o`` for arrays of input codes.

        Raises
        ------
        TypeError, ValueError
            If the inputs do not fit the ports.
        """
        check_inputs(self.inputs, inputs)
        kind: Any = np.int64 if self.exact.width <= WORD_BITS else object
        x, shift, negative, enable = (inputs[name].astype(kind) for name in ("x", "shift", "negative", "enable"))
        if self.x.signed:
            x = x - ((x >> (self.x.width - 1)) << self.x.width)
        products: NDArray[Any] = x * ((1 - 2 * negative) * enable << shift).sum(axis=1)
        return {"o": self.cast.codes(from_integers(products, -self.exact.fraction_bits), inputs.get("random"))}


def check_hot(hot: int, digits: int) -> None:
    """Refuse a number of digits that no weight can have, or that a product needs nothing for.

    Raises
    ------
    TypeError, ValueError
        If ``hot`` is not an integer, or not between 1 and ``digits``.
    """
    check_integer("Hot digit count K", hot)
    if not 1 <= hot <= digits:
        raise ValueError(f"Hot digit count K must be between 1 and {digits}, the digits of a weight, not {hot!r}")
