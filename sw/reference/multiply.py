"""Exact multiplication on codes: the value every circuit and every quantizer is compared with."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

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
    assert isinstance(a, Fraction) and isinstance(b, Fraction)
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
        ValueError
            If a code does not fit its format.
        """
        return self._encode(product(self.a.decode(a), self.b.decode(b)), random)

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
            Random bits; needed when the rounding is stochastic.

        Returns
        -------
        uint64 array of that shape

        Raises
        ------
        ValueError
            If a code does not fit its format, or ``random`` is missing.
        """
        if self.random_bits and random is None:
            raise ValueError("Random bits must be given for stochastic rounding, not None")
        first, second = self._decoded
        index_a, index_b = first.index(a), second.index(b)
        key = index_a * np.int64(len(second.values)) + index_b
        if random is not None and self.random_bits:
            key = key.astype(object) * (1 << self.random_bits) + random.astype(object)
        unique, inverse = np.unique(key, return_inverse=True)
        results = np.empty(len(unique), dtype=np.uint64)
        rounded: dict[tuple[Value, int], int] = {}
        for position, item in enumerate(unique.tolist()):
            item, bits = divmod(item, 1 << self.random_bits)
            row, column = divmod(item, len(second.values))
            value = product(first.values[row], second.values[column])
            if (value, bits) not in rounded:
                rounded[value, bits] = self._encode(value, bits)
            results[position] = rounded[value, bits]
        return results[inverse].reshape(np.shape(a))


class _Values:
    """The distinct values of a format's codes, and where each code's value stands among them."""

    def __init__(self, fmt: ScalarFormat) -> None:
        self._format = fmt
        self.values: list[Value] = []
        self._positions: dict[Value, int] = {}
        self._table: NDArray[np.int64] | None = None

    def _position(self, code: int) -> int:
        value = self._format.decode(code)
        if value not in self._positions:
            self._positions[value] = len(self.values)
            self.values.append(value)
        return self._positions[value]

    def index(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        width = self._format.width
        if codes.size and (int(codes.min()) < 0 or int(codes.max()) >> width):
            raise ValueError(f"Codes must be between 0 and {(1 << width) - 1} for {self._format.name}, "
                             f"not {int(codes.min())} to {int(codes.max())}")
        unique, inverse = np.unique(codes, return_inverse=True)
        positions = np.array([self._position(code) for code in unique.tolist()], dtype=np.int64)
        return positions[inverse].reshape(codes.shape)
