"""Posits: a run of equal bits for the coarse exponent, so that the fraction is longest around 1."""

import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sw.formats.check import check_integer, check_member
from sw.formats.rounding import OverflowPolicy, RandomBits, RoundingMode, ratio_rounds_up
from sw.formats.special import Special, Value, exact_value, is_zero


@dataclass(frozen=True, kw_only=True)
class PositFormat:
    """A posit family member: sign, regime, exponent, fraction, from the top bit down.

    The regime is a run of equal bits and the opposite bit that ends it, or as much of it as fits: k ones stand for
    k - 1, k zeros for -k. The value of a positive code is ``2**(regime * 2**exponent_size + exponent) *
    (1 + fraction)``; exponent bits that the regime leaves no room for are zeros. A negative number has the two's
    complement of its magnitude's code, so that codes order as signed integers do. There is one zero, and one code,
    NaR ("not a real"), for everything that is no number.

    Parameters
    ----------
    width : int, bits
        Total width, 3 to 16.
    exponent_size : int, bits
        Width of the exponent field, 0 to 3, and at most ``width - 3``: the sign and the shortest regime take three
        bits.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range.

    Source: Gustafson & Yonemoto 2017, "Beating Floating Point at its Own Game"; Standard for Posit Arithmetic (2022),
    which fixes ``exponent_size`` at 2.
    """

    width: int
    exponent_size: int

    def __post_init__(self) -> None:
        for field in ("width", "exponent_size"):
            check_integer(f"Format {field}", getattr(self, field))
        if not 3 <= self.width <= 16:
            raise ValueError(f"Posit width must be between 3 and 16 bits, not {self.width!r}")
        if not 0 <= self.exponent_size <= 3:
            raise ValueError(f"Posit exponent_size must be between 0 and 3 bits, not {self.exponent_size!r}")
        if self.exponent_size > self.width - 3:
            raise ValueError(f"Posit exponent_size must be at most {self.width - 3} for a width of {self.width} bits, "
                             f"three of which are the sign and the shortest regime, not {self.exponent_size!r}")

    @property
    def name(self) -> str:
        """Canonical name, which ``sw.formats.parse`` reads back."""
        return f"posit<{self.width},{self.exponent_size}>"

    @property
    def signed(self) -> bool:
        """Posits have negative values."""
        return True

    @property
    def useed(self) -> int:
        """What one more bit of the regime multiplies a value by: ``2**2**exponent_size``."""
        return 1 << (1 << self.exponent_size)

    @property
    def significand_bits(self) -> int:
        """Width of the longest significand, that of the numbers around 1, the hidden bit included."""
        return self.width - 2 - self.exponent_size

    @property
    def max_exponent(self) -> int:
        """Exponent of the largest value, a power of two. The smallest one's is minus this."""
        return (self.width - 2) << self.exponent_size

    @cached_property
    def max_finite(self) -> Fraction:
        """Largest value ("maxpos")."""
        return Fraction(2) ** self.max_exponent

    @property
    def min_finite(self) -> Fraction:
        """Smallest (most negative) value."""
        return -self.max_finite

    @cached_property
    def smallest_positive(self) -> Fraction:
        """Smallest value above zero ("minpos")."""
        return 1 / self.max_finite

    @property
    def max_code(self) -> int:
        """Code of the largest value."""
        return (1 << (self.width - 1)) - 1

    @property
    def min_code(self) -> int:
        """Code of the smallest value above zero."""
        return 1

    @property
    def nan_code(self) -> int:
        """Code of NaR."""
        return 1 << (self.width - 1)

    @property
    def infinity_code(self) -> None:
        """Posits have no infinity."""
        return None

    @property
    def has_infinity(self) -> bool:
        """Posits have no infinity."""
        return False

    @property
    def has_negative_zero(self) -> bool:
        """Posits have one zero."""
        return False

    def field_widths(self, code: int) -> tuple[int, int, int]:
        """Return how many bits of ``code`` below its sign are regime, exponent and fraction.

        Raises
        ------
        TypeError, ValueError
            If ``code`` is not an integer, or does not fit the width.
        """
        code = self._checked(code)
        bits = self.width - 1
        body = code & self.max_code
        below = (body ^ self.max_code * (body >> (bits - 1))).bit_length()  # the bit that ends the run, and the rest
        regime = min(bits, bits - below + 1)
        exponent = min(self.exponent_size, bits - regime)
        return regime, exponent, bits - regime - exponent

    def _checked(self, code: int) -> int:
        code = operator.index(code)
        if not 0 <= code < 1 << self.width:
            raise ValueError(f"Code must be between 0 and {(1 << self.width) - 1} for {self.name}, not {code!r}")
        return code

    def decode(self, code: int) -> Value:
        """Return the exact value of ``code``, NaN for NaR. This is the definition of the format.

        Raises
        ------
        TypeError, ValueError
            If ``code`` is not an integer, or does not fit the width.
        """
        code = self._checked(code)
        if code == 0:
            return Fraction(0)
        if code == self.nan_code:
            return Special.NAN
        negative = code > self.max_code
        magnitude = (1 << self.width) - code if negative else code
        regime_bits, exponent_bits, fraction_bits = self.field_widths(magnitude)
        regime = magnitude >> (exponent_bits + fraction_bits)
        ended = regime & 1 != regime >> (regime_bits - 1)
        run = regime_bits - 1 if ended else regime_bits
        power = run - 1 if regime >> (regime_bits - 1) else -run
        exponent = magnitude >> fraction_bits & (1 << exponent_bits) - 1
        exponent <<= self.exponent_size - exponent_bits
        significand = (1 << fraction_bits) + (magnitude & (1 << fraction_bits) - 1)
        value = significand * Fraction(2) ** ((power << self.exponent_size) + exponent - fraction_bits)
        return -value if negative else value

    def check_overflow(self, overflow: OverflowPolicy) -> None:
        """Refuse a policy that means nothing here.

        Raises
        ------
        TypeError
            If ``overflow`` is not an :class:`OverflowPolicy`.
        ValueError
            For every policy but ``SATURATE``.
        """
        check_member("Overflow policy", overflow, OverflowPolicy)
        if overflow is not OverflowPolicy.SATURATE:
            raise ValueError(f"Overflow policy must be saturate for {self.name}, as no finite number rounds to NaR "
                             f"and the range is symmetric, not {overflow.value!r}")

    def encode(self, value: Value | int | float, *, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
               overflow: OverflowPolicy = OverflowPolicy.SATURATE, random: RandomBits | None = None) -> int:
        """Round an exact value to a code.

        What is rounded is the bit string: the magnitude written out as regime, exponent and fraction without end, and
        cut to the width. Where that cuts the exponent field, the middle between two values is thus their geometric
        mean. A value that is not zero becomes neither zero nor NaR, whatever the mode: at either end it stops at the
        smallest or the largest magnitude. NaN and the infinities become NaR. Every mode, stochastic rounding too, acts
        on the magnitude, up and down having been mirrored for a negative value.

        Raises
        ------
        TypeError
            If an argument is of the wrong type.
        ValueError
            If the policy does not apply, or random bits are missing.
        """
        self.check_overflow(overflow)
        check_member("Rounding mode", rounding, RoundingMode)
        value = exact_value(value)
        if is_zero(value):
            return 0
        if isinstance(value, Special):
            return self.nan_code
        negative = value < 0
        code = self._round(abs(value), rounding.mirrored if negative else rounding, random)
        code = max(self.min_code, min(self.max_code, code))
        return (1 << self.width) - code if negative else code

    def _round(self, magnitude: Fraction, mode: RoundingMode, random: RandomBits | None) -> int:
        """Code of a positive rational, or 0 or the code of NaR beyond the range."""
        numerator, denominator = magnitude.numerator, magnitude.denominator
        exponent = numerator.bit_length() - denominator.bit_length()
        if numerator << max(0, -exponent) < denominator << max(0, exponent):
            exponent -= 1
        # Now 2**exponent <= magnitude < 2**(exponent + 1). The string is `field`, a number of `length` bits, and the
        # fraction (numerator - denominator) / denominator, of which there is no end.
        numerator, denominator = numerator << max(0, -exponent), denominator << max(0, exponent)
        regime = exponent >> self.exponent_size
        field, length = ((2 << regime) - 1 << 1, regime + 2) if regime >= 0 else (1, 1 - regime)
        field = field << self.exponent_size | exponent & (1 << self.exponent_size) - 1
        string = field * denominator + numerator - denominator
        places = self.width - 1 - length - self.exponent_size
        divisor = denominator << max(0, -places)
        lower, remainder = divmod(string << max(0, places), divisor)
        return lower + ratio_rounds_up(mode, remainder, divisor, odd=bool(lower & 1), random=random)
