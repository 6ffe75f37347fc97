"""The weights that K-hot multiplication takes: which values there are, the nearest one, and its digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from sw.formats import FixedPointFormat
from sw.formats.check import check_boolean
from sw.reference.khot import check_hot
from sw.reference.model import Codes

MAX_WIDTH = 20
"""Widest format whose values are listed."""


@dataclass(frozen=True, kw_only=True)
class KHotWeights:
    """The values of a fixed-point format that are sums of at most ``hot`` powers of two.

    Parameters
    ----------
    format : FixedPointFormat
        At most 20 bits. A negative value is minus a sum of powers of two (sign and magnitude over the format's whole
        range), so that of 8 bits there are 16, 58, 128 and 198 values for K = 1 to 4.
    hot : int
        How many powers of two a value is the sum of at most, the K of K-hot.
    signed_digits : bool
        Whether each power has a sign of its own: 7 is then 8 - 1, two digits instead of three.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Source: Dai et al. 2024 (QFX); Reitwiesner 1960, Binary Arithmetic, for the signed digits, of which no other
    representation has fewer.
    """

    format: FixedPointFormat
    hot: int
    signed_digits: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.format, FixedPointFormat):
            raise TypeError(f"Weight format must be a FixedPointFormat, not {self.format!r}")
        check_boolean("Signed digits", self.signed_digits)
        if self.format.width > MAX_WIDTH:
            raise ValueError(f"Weight format must have at most {MAX_WIDTH} bits, not {self.format.width!r}")
        check_hot(self.hot, self.max_shift + 1)

    @property
    def max_shift(self) -> int:
        """Largest exponent of a digit, in units of the format's last place."""
        largest = max(self.format.max_integer, -self.format.min_integer)
        # Signed digits write 2**n - 1 as two digits, the upper one 2**n.
        return max(largest.bit_length() - 1 + int(self.signed_digits and largest.bit_count() > 1), 0)

    @cached_property
    def integers(self) -> NDArray[np.int64]:
        """All values in rising order, in units of the format's last place."""
        values = np.arange(self.format.min_integer, self.format.max_integer + 1)
        magnitudes = np.abs(values)
        # The digits of the non-adjacent form are where m and 3 m differ.
        ones = np.bitwise_count(magnitudes ^ 3 * magnitudes if self.signed_digits else magnitudes)
        return np.asarray(values[ones <= self.hot], dtype=np.int64)

    def nearest(self, weights: npt.ArrayLike) -> NDArray[np.int64]:
        """Return the nearest values, in units of the format's last place; in the middle, the one nearer to zero.

        Parameters
        ----------
        weights : array of float64, any shape
            Beyond the largest value, and at infinity, the result is that value.

        Raises
        ------
        ValueError
            If a weight is not a number.
        """
        with np.errstate(over="ignore"):  # what overflows is beyond the largest value too
            scaled = np.asarray(weights, dtype=np.float64) * float(1 / self.format.quantum)
        if np.isnan(scaled).any():
            raise ValueError("Weights must be numbers, not nan")
        values = self.integers
        middles = (values[:-1] + values[1:]) / 2  # exact: the values have few bits
        positive, negative = (np.searchsorted(middles, scaled, side=side) for side in ("left", "right"))
        return values[np.where(scaled >= 0, positive, negative)]

    def digits(self, integer: int) -> list[tuple[int, int]]:
        """Return the digits of one value as (shift, negative), the lowest first.

        Raises
        ------
        ValueError
            If it is not one of the values.
        """
        if integer not in self.integers:
            raise ValueError(f"Weight must be a sum of at most {self.hot} "
                             f"{'signed ' if self.signed_digits else ''}powers of two in {self.format.name}, "
                             f"not {integer!r}; take the nearest one")
        minus, rest, found, place = int(integer < 0), abs(int(integer)), [], 0
        while rest:
            if rest & 1:
                # ...11 is one below a multiple of four: a signed digit of -1 leaves a zero above it.
                down = self.signed_digits and rest & 3 == 3
                found.append((place, minus ^ down))
                rest += 1 if down else -1
            rest, place = rest >> 1, place + 1
        return found

    def ports(self, integers: Sequence[int] | NDArray[np.integer]) -> dict[str, Codes]:
        """Return the inputs ``shift``, ``negative`` and ``enable`` of a multiplication by each of some values.

        Parameters
        ----------
        integers : sequence of int
            Values in units of the format's last place, of :attr:`integers`.

        Returns
        -------
        mapping of port name to uint64 array of shape (weights, hot)
        """
        columns = {name: np.zeros((len(integers), self.hot), dtype=np.uint64)
                   for name in ("shift", "negative", "enable")}
        for row, integer in enumerate(integers):
            for digit, (shift, negative) in enumerate(self.digits(int(integer))):
                for name, value in (("shift", shift), ("negative", negative), ("enable", 1)):
                    columns[name][row, digit] = value
        return columns
