"""Rounding modes and overflow policies, and the one decision that every rounding makes."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from sw.formats.check import check_integer, check_member


class RoundingMode(Enum):
    """Which of the two neighbouring values an inexact result becomes.

    The ``ap_fixed`` names are those of the AMD Vitis HLS user guide (UG1399), the others those of IEEE 754-2019 §4.3
    and of the IEEE P3109 draft.
    """

    NEAREST_EVEN = "nearest-even"
    """The nearer one; in the middle, the one with the even code (IEEE roundTiesToEven, AP_RND_CONV)."""
    NEAREST_AWAY = "nearest-away"
    """The nearer one; in the middle, the one of larger magnitude (IEEE roundTiesToAway, AP_RND_INF)."""
    NEAREST_UP = "nearest-up"
    """The nearer one; in the middle, the one towards +infinity (AP_RND)."""
    NEAREST_DOWN = "nearest-down"
    """The nearer one; in the middle, the one towards -infinity (AP_RND_MIN_INF)."""
    NEAREST_ZERO = "nearest-zero"
    """The nearer one; in the middle, the one of smaller magnitude (AP_RND_ZERO)."""
    TOWARD_ZERO = "toward-zero"
    """The one of smaller magnitude (IEEE roundTowardZero, AP_TRN_ZERO)."""
    UP = "up"
    """The one towards +infinity (IEEE roundTowardPositive)."""
    DOWN = "down"
    """The one towards -infinity (IEEE roundTowardNegative, AP_TRN)."""
    TO_ODD = "to-odd"
    """The one with the odd code: a later rounding to fewer bits then never rounds twice (P3109)."""
    STOCHASTIC = "stochastic"
    """At random, by explicit random bits (P3109, StochasticA): see :func:`rounds_up`."""

    @property
    def mirrored(self) -> "RoundingMode":
        """The mode that does to ``-x`` what this one does to ``x``."""
        return _MIRRORED.get(self, self)

    @property
    def is_nearest(self) -> bool:
        """Whether this is one of the five round-to-nearest modes."""
        return self.value.startswith("nearest")


_MIRRORED = {
    RoundingMode.UP: RoundingMode.DOWN,
    RoundingMode.DOWN: RoundingMode.UP,
    RoundingMode.NEAREST_UP: RoundingMode.NEAREST_DOWN,
    RoundingMode.NEAREST_DOWN: RoundingMode.NEAREST_UP,
}


class OverflowPolicy(Enum):
    """What becomes of a result beyond the largest finite value, once it is rounded.

    The ``ap_fixed`` names are those of the AMD Vitis HLS user guide (UG1399, Overflow Modes).
    """

    SATURATE = "saturate"
    """The nearest finite extreme, for infinite results too (P3109 SatFinite, AP_SAT)."""
    INFINITY = "infinity"
    """Infinity, or NaN in a format without one, as IEEE 754 §7.4 does; rounding modes that never round
    away from zero stop at the finite extreme. Floating point only."""
    WRAP = "wrap"
    """The low-order bits of the exact integer (AP_WRAP). Fixed point only."""
    SATURATE_SYMMETRIC = "saturate-symmetric"
    """As ``SATURATE``, but the negative extreme is minus the positive one (AP_SAT_SYM)."""
    SATURATE_ZERO = "saturate-zero"
    """Zero (AP_SAT_ZERO). Fixed point only."""
    WRAP_SIGN_MAGNITUDE = "wrap-sign-magnitude"
    """The low-order bits of the exact integer, all of them inverted if the lowest one of the bits left out differs from
    the highest one kept, the sign (AP_WRAP_SM without saturated bits; SC_WRAP_SM of IEEE 1666-2011, SystemC).

    Beyond an extreme the results go back the way they came, rather than jump to the other extreme: in four bits,
    6, 7, 8, 9 become 6, 7, 7, 6; 19 (0b010011) becomes -4, and -19 (0b101101) becomes 2, as in UG1399. (The simulation
    header ``ap_fixed_base.h`` takes the bit left out from the value before it is rounded, which differs where rounding
    carries into that bit.) Signed fixed point only."""

    @property
    def wraps(self) -> bool:
        """Whether the result depends on how far beyond the range the exact one lies."""
        return self in (OverflowPolicy.WRAP, OverflowPolicy.WRAP_SIGN_MAGNITUDE)


@dataclass(frozen=True, kw_only=True)
class RandomBits:
    """Explicit random bits for one stochastic rounding.

    Parameters
    ----------
    value : int
        The random integer, ``0 <= value < 2**count``.
    count : int, bits
        How many random bits there are; at least 1.

    Raises
    ------
    TypeError, ValueError
        If a field is not an integer, or out of range.
    """

    value: int
    count: int

    def __post_init__(self) -> None:
        check_integer("Random bit count", self.count)
        check_integer("Random bits", self.value)
        if self.count < 1:
            raise ValueError(f"Random bit count must be at least 1, not {self.count!r}")
        if not 0 <= self.value < 1 << self.count:
            raise ValueError(f"Random bits must be between 0 and {(1 << self.count) - 1}, not {self.value!r}")


def rounds_up(mode: RoundingMode, fraction: Fraction, *, odd: bool, negative: bool = False,
              random: RandomBits | None = None) -> bool:
    """Decide between two neighbouring values of a format: whether the upper one is taken.

    Parameters
    ----------
    mode : RoundingMode
    fraction : Fraction
        Where the exact value lies between the lower neighbour (0) and the upper one (1, excluded).
    odd : bool
        Whether the lower neighbour has an odd code (the upper one then has an even code).
    negative : bool
        Whether the exact value is below zero, so that "away from zero" means the lower neighbour.
        A caller that works on magnitudes mirrors the mode instead and leaves this ``False``.
    random : RandomBits, optional
        For ``STOCHASTIC``: R of N bits; the upper neighbour is taken iff ``floor(fraction * 2**N) + R >= 2**N``
        (P3109 interim report 4.0, StochasticA). Its probability is ``fraction``, cut to N bits.

    Raises
    ------
    TypeError
        If ``mode`` is not a :class:`RoundingMode`.
    ValueError
        If the mode is stochastic and no random bits are given.
    """
    return ratio_rounds_up(mode, fraction.numerator, fraction.denominator, odd=odd, negative=negative, random=random)


def ratio_rounds_up(mode: RoundingMode, remainder: int, divisor: int, *, odd: bool, negative: bool = False,
                    random: RandomBits | None = None) -> bool:
    """Decide as :func:`rounds_up` does, for the fraction ``remainder / divisor``, which need not be reduced.

    Every encode ends here; on integers it costs a fraction of what it does on a ``Fraction``.
    """
    if mode is RoundingMode.STOCHASTIC:
        if random is None:
            raise ValueError("Random bits must be given for stochastic rounding, not None")
        return (remainder << random.count) // divisor + random.value >= 1 << random.count
    check_member("Rounding mode", mode, RoundingMode)
    if remainder == 0:
        return False
    match mode:
        case RoundingMode.TOWARD_ZERO:
            return negative
        case RoundingMode.UP:
            return True
        case RoundingMode.DOWN:
            return False
        case RoundingMode.TO_ODD:
            return not odd
    double = 2 * remainder
    if double != divisor:
        return double > divisor
    match mode:
        case RoundingMode.NEAREST_EVEN:
            return odd
        case RoundingMode.NEAREST_AWAY:
            return not negative
        case RoundingMode.NEAREST_ZERO:
            return negative
        case RoundingMode.NEAREST_UP:
            return True
        case _:
            return False
