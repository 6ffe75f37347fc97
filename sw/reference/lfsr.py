"""Linear feedback shift registers of maximal length: the random bits of stochastic rounding in hardware."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sw.formats.check import check_integer

MIN_LFSR_WIDTH, MAX_LFSR_WIDTH = 2, 64

TAPS: Mapping[int, tuple[int, ...]] = MappingProxyType({
    2: (2, 1), 3: (3, 2), 4: (4, 3), 5: (5, 3), 6: (6, 5), 7: (7, 6), 8: (8, 6, 5, 4), 9: (9, 5), 10: (10, 7),
    11: (11, 9), 12: (12, 6, 4, 1), 13: (13, 4, 3, 1), 14: (14, 5, 3, 1), 15: (15, 14), 16: (16, 15, 13, 4),
    17: (17, 14), 18: (18, 11), 19: (19, 6, 2, 1), 20: (20, 17), 21: (21, 19), 22: (22, 21), 23: (23, 18),
    24: (24, 23, 22, 17), 25: (25, 22), 26: (26, 6, 2, 1), 27: (27, 5, 2, 1), 28: (28, 25), 29: (29, 27),
    30: (30, 6, 4, 1), 31: (31, 28), 32: (32, 22, 2, 1), 33: (33, 20), 34: (34, 27, 2, 1), 35: (35, 33), 36: (36, 25),
    37: (37, 5, 4, 3, 2, 1), 38: (38, 6, 5, 1), 39: (39, 35), 40: (40, 38, 21, 19), 41: (41, 38), 42: (42, 41, 20, 19),
    43: (43, 42, 38, 37), 44: (44, 43, 18, 17), 45: (45, 44, 42, 41), 46: (46, 45, 26, 25), 47: (47, 42),
    48: (48, 47, 21, 20), 49: (49, 40), 50: (50, 49, 24, 23), 51: (51, 50, 36, 35), 52: (52, 49), 53: (53, 52, 38, 37),
    54: (54, 53, 18, 17), 55: (55, 31), 56: (56, 55, 35, 34), 57: (57, 50), 58: (58, 39), 59: (59, 58, 38, 37),
    60: (60, 59), 61: (61, 60, 46, 45), 62: (62, 61, 6, 5), 63: (63, 62), 64: (64, 63, 61, 60),
})
"""Stages whose exclusive or is fed back, counted from 1, for every width.

Source: Alfke 1996, Xilinx application note XAPP 052, table 3 (width 2, which it leaves out, has no other choice). The
tests prove the polynomials primitive."""


@dataclass(frozen=True, kw_only=True)
class Lfsr:
    """A Fibonacci LFSR: it shifts to the left, the exclusive or of its taps coming in, through all states but zero.

    Parameters
    ----------
    width : int, bits
        2 to 64; the period is ``2**width - 1``.
    seed : int
        State after a reset, above 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not an integer or out of range.
    """

    width: int
    seed: int = 1

    def __post_init__(self) -> None:
        check_integer("LFSR width", self.width)
        check_integer("LFSR seed", self.seed)
        if not MIN_LFSR_WIDTH <= self.width <= MAX_LFSR_WIDTH:
            raise ValueError(f"LFSR width must be between {MIN_LFSR_WIDTH} and {MAX_LFSR_WIDTH} bits, "
                             f"not {self.width!r}")
        if self.seed == 0:
            raise ValueError("LFSR seed must be above 0, the state that it never leaves, not 0")
        if not 0 < self.seed < 1 << self.width:
            raise ValueError(f"LFSR seed must be between 1 and {(1 << self.width) - 1} for {self.width} bits, "
                             f"not {self.seed!r}")

    @property
    def period(self) -> int:
        """How many steps lead back to the same state."""
        return (1 << self.width) - 1

    @cached_property
    def tap_mask(self) -> int:
        """The state's bits that are fed back."""
        return sum(1 << (stage - 1) for stage in TAPS[self.width])

    def step(self, state: int) -> int:
        """Return the state that follows ``state``.

        Raises
        ------
        TypeError, ValueError
            If ``state`` is not an integer, or does not fit the width.
        """
        state = operator.index(state)
        if not 0 <= state < 1 << self.width:
            raise ValueError(f"LFSR state must be between 0 and {self.period}, not {state!r}")
        return (state << 1 | (state & self.tap_mask).bit_count() & 1) & self.period

    def step_array(self, states: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return :meth:`step` of each state."""
        fed_back = np.bitwise_count(states & np.uint64(self.tap_mask)).astype(np.uint64) & np.uint64(1)
        stepped: NDArray[np.uint64] = (states << np.uint64(1) | fed_back) & np.uint64(self.period)
        return stepped
