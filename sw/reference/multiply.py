"""Exact multiplication on codes: the value every circuit and every quantizer is compared with."""

import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from sw.formats import (
    OverflowPolicy,
    RandomBits,
    RoundingMode,
    ScalarFormat,
    Special,
    Value,
    is_negative,
    is_zero,
)
from sw.formats.check import check_integer, check_member


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
        check_member("Rounding mode", self.rounding, RoundingMode)
        check_integer("Random bit count", self.random_bits)
        self.result.check_overflow(self.overflow)
        stochastic = self.rounding is RoundingMode.STOCHASTIC
        if stochastic and not 1 <= self.random_bits <= 64:
            raise ValueError("Random bit count must be between 1 and 64 for stochastic rounding, "
                             f"not {self.random_bits!r}")
        if not stochastic and self.random_bits:
            raise ValueError(f"Random bit count must be 0 for {self.rounding.value} rounding, "
                             f"not {self.random_bits!r}")

    def __call__(self, a: int, b: int, random: int = 0) -> int:
        """Return the result's code for one pair of operand codes.

        ``random`` holds the random bits of a stochastic rounding.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or ``random`` does not fit the random bits.
        """
        return self._encode(product(self.a.decode(a), self.b.decode(b)), operator.index(random))

    def _encode(self, value: Value, random: int) -> int:
        bits = RandomBits(value=random, count=self.random_bits) if self.random_bits else None
        return self.result.encode(value, rounding=self.rounding, overflow=self.overflow, random=bits)

    @cached_property
    def _decoded(self) -> tuple["_Values", "_Values"]:
        return _Values(self.a), _Values(self.b)

    def codes(self, a: NDArray[np.integer], b: NDArray[np.integer],
              random: NDArray[np.integer] | None = None) -> NDArray[np.uint64]:
        """Return the results for arrays of operand codes.

        The same function as calling the object on each pair, but each distinct product is formed and rounded once,
        which makes a whole table affordable.

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
        if self.random_bits and random is None:
            raise ValueError("Random bits must be given for stochastic rounding, not None")
        first, second = self._decoded
        index_a, index_b = first.index(a), second.index(b)
        if b.shape != a.shape:
            raise ValueError(f"Operand b must have the shape of operand a, {a.shape}, not {b.shape}")
        unique, inverse = np.unique(index_a.ravel() * len(second.values) + index_b.ravel(), return_inverse=True)
        pairs = (divmod(key, len(second.values)) for key in unique.tolist())
        products = [product(first.values[row], second.values[column]) for row, column in pairs]
        encode = cache(self._encode)
        if random is None or not self.random_bits:
            rounded = np.array([encode(value, 0) for value in products], dtype=np.uint64)
            results: NDArray[np.uint64] = rounded[inverse.ravel()]
        else:
            _check_range("Random bits", random, self.random_bits)
            if random.shape != a.shape:
                raise ValueError(f"Random bits must have the shape of operand a, {a.shape}, not {random.shape}")
            results = np.array([encode(products[position], bits) for position, bits
                                in zip(inverse.ravel().tolist(), random.ravel().tolist(), strict=True)],
                               dtype=np.uint64)
        return results.reshape(a.shape)


def _check_range(noun: str, array: NDArray[np.integer], width: int) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{noun} must be an array of integers, not of {array.dtype}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >> width):
        raise ValueError(f"{noun} must be between 0 and {(1 << width) - 1}, "
                         f"not {int(array.min())} to {int(array.max())}")


class _Values:
    """The distinct values of a format's codes, and where each code's value stands among them."""

    def __init__(self, fmt: ScalarFormat) -> None:
        self._format = fmt
        self.values: list[Value] = []
        self._positions: dict[Value, int] = {}

    def _position(self, code: int) -> int:
        value = self._format.decode(code)
        if value not in self._positions:
            self._positions[value] = len(self.values)
            self.values.append(value)
        return self._positions[value]

    def index(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        _check_range(f"Codes of {self._format.name}", codes, self._format.width)
        unique, inverse = np.unique(codes, return_inverse=True)
        positions = np.array([self._position(code) for code in unique.tolist()], dtype=np.int64)
        return positions[inverse].reshape(codes.shape)
