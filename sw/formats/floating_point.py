"""Floating-point formats of a few bits: every split, bias, special-code convention and subnormal rule."""

import operator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property

from sw.formats.check import check_boolean, check_integer, check_member
from sw.formats.rounding import OverflowPolicy, RandomBits, RoundingMode, ratio_rounds_up
from sw.formats.special import Special, Value, exact_value, is_negative, is_zero


class Specials(Enum):
    """Which codes are not finite numbers."""

    IEEE = "ieee"
    """Top exponent field: infinity with a zero fraction, NaN otherwise (IEEE 754-2019 §3.4)."""
    FN = "fn"
    """All ones below the sign is NaN (or the merged NaN/infinity of DLFloat); no infinity (OCP OFP8 E4M3)."""
    FNUZ = "fnuz"
    """The code of the negative zero is the one NaN; no infinity, no negative zero (P3109, finite domain)."""
    P3109 = "p3109"
    """As ``FNUZ``, and all ones below the sign is infinity (P3109, extended domain)."""
    NONE = "none"
    """Every code is a finite number (OCP MX FP6 and FP4)."""


class Subnormals(Enum):
    """What the codes with a zero exponent field mean."""

    SUPPORTED = "supported"
    """Zero and the subnormal numbers, as in IEEE 754."""
    FLUSHED = "flushed"
    """All zeros, whatever the fraction. A result that, rounded to full precision with an unbounded exponent,
    lies below the smallest normal number becomes a zero of its sign, in every rounding mode."""
    ABSENT = "absent"
    """One more binade of normal numbers, of which the all-zero code is taken by zero (DLFloat, radix-4 FP4). A result
    that, rounded to full precision with an unbounded exponent, lies below the smallest number becomes a zero, as
    with ``FLUSHED``; what rounds to the number that the all-zero code would stand for becomes zero too."""


@dataclass(frozen=True, init=False)
class FloatingPointFormat:
    """A floating-point family member: sign, exponent field, fraction field, from the top bit down.

    Parameters
    ----------
    exponent_bits : int, bits
        Width of the exponent field, 1 to 15 (at least 2 with IEEE specials).
    fraction_bits : int, bits
        Width of the fraction field, without the hidden bit, 0 to 52.
    bias : int or Fraction, optional
        A normal number is ``radix**(field - bias) * (1 + fraction / 2**fraction_bits)``.
        The default is the IEEE one, ``2**(exponent_bits - 1) - 1``. Radix 4 allows halves.
    specials : Specials
    subnormals : Subnormals
    signed : bool
        Whether there is a sign bit.
    radix : int
        2 or 4; 4 only with no fraction bits.
    has_zero : bool
        Whether the all-zero magnitude is zero. False only with ``Subnormals.ABSENT``, for scale formats such as E8M0,
        where that code is one more power of the radix.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, out of range, or at odds with another.

    Source: the tables of the OCP OFP8 and MX v1.0 specifications, IEEE 754-2019, the IEEE P3109 interim report 4.0.
    """

    exponent_bits: int
    fraction_bits: int
    bias: int | Fraction
    specials: Specials
    subnormals: Subnormals
    signed: bool
    radix: int
    has_zero: bool

    def __init__(self, *, exponent_bits: int, fraction_bits: int, bias: int | Fraction | None = None,
                 specials: Specials = Specials.IEEE, subnormals: Subnormals = Subnormals.SUPPORTED,
                 signed: bool = True, radix: int = 2, has_zero: bool = True) -> None:
        # Written out because the bias, which is never None once constructed, has a default that depends on a field.
        check_integer("Format exponent_bits", exponent_bits)
        if bias is None:
            bias = (1 << max(0, exponent_bits - 1)) - 1
        if isinstance(bias, Fraction) and bias.denominator == 1:
            bias = int(bias)
        for name, value in (("exponent_bits", exponent_bits), ("fraction_bits", fraction_bits), ("bias", bias),
                            ("specials", specials), ("subnormals", subnormals), ("signed", signed), ("radix", radix),
                            ("has_zero", has_zero)):
            object.__setattr__(self, name, value)
        self._check_types()
        self._check_values()

    def _check_types(self) -> None:
        for field in ("fraction_bits", "radix"):
            check_integer(f"Format {field}", getattr(self, field))
        for field in ("signed", "has_zero"):
            check_boolean(f"Format {field}", getattr(self, field))
        check_member("Format specials", self.specials, Specials)
        check_member("Format subnormals", self.subnormals, Subnormals)
        if isinstance(self.bias, bool) or not isinstance(self.bias, (int, Fraction)):
            raise TypeError(f"Exponent bias must be an integer or a Fraction, not {self.bias!r}")

    def _check_values(self) -> None:
        if not 1 <= self.exponent_bits <= 15:
            raise ValueError(f"Exponent width must be between 1 and 15 bits, not {self.exponent_bits!r}")
        if not 0 <= self.fraction_bits <= 52:
            raise ValueError(f"Fraction width must be between 0 and 52 bits, not {self.fraction_bits!r}")
        if self.radix not in (2, 4):
            raise ValueError(f"Radix must be 2 or 4, not {self.radix!r}")
        if self.radix == 4 and (self.fraction_bits or self.subnormals is not Subnormals.ABSENT):
            raise ValueError("Radix must be 2 for a format with fraction bits or subnormals, not 4")
        if (self.bias * (self.radix // 2)).denominator != 1:
            raise ValueError(f"Exponent bias must be {'an integer' if self.radix == 2 else 'a multiple of 1/2'} "
                             f"in radix {self.radix}, not {self.bias!r}")
        if not -32768 <= self.bias <= 32768:
            raise ValueError(f"Exponent bias must be between -32768 and 32768, not {self.bias!r}")
        if self.specials is Specials.IEEE and (self.exponent_bits < 2 or self.fraction_bits < 1):
            raise ValueError("Specials must be fn, fnuz, p3109 or none for a format with fewer than 2 exponent bits "
                             "or no fraction bits, not 'ieee'")
        if not self.signed and self.specials in (Specials.FNUZ, Specials.P3109):
            raise ValueError(f"Specials must be ieee, fn or none for an unsigned format, which has no negative zero, "
                             f"not {self.specials.value!r}")
        if not self.has_zero and self.subnormals is not Subnormals.ABSENT:
            raise ValueError(f"Subnormals must be absent in a format without zero, not {self.subnormals.value!r}")
        if not self.has_zero and self.signed:
            raise ValueError("Format must be unsigned to have no zero, not signed")
        if self.max_code < self.min_code:
            raise ValueError("Format must have a positive finite value left beside its special codes, "
                             f"not {self.exponent_bits} exponent and {self.fraction_bits} fraction bits")

    # The codes of a format, without their sign, count its magnitudes in rising order. Continued beyond both ends,
    # with as many binades as needed, they number the magnitudes of the same precision with an unbounded exponent:
    # `_magnitude` is that numbering, and every rounding is a choice between two neighbours in it.

    @cached_property
    def width(self) -> int:
        """Total width in bits, sign included."""
        return int(self.signed) + self.exponent_bits + self.fraction_bits

    @property
    def name(self) -> str:
        """Canonical name, which ``sw.formats.parse`` reads back."""
        from sw.formats.catalog import name_of  # the catalog is made of instances of this class
        return name_of(self)

    @cached_property
    def _sign_bit(self) -> int:
        return 1 << (self.exponent_bits + self.fraction_bits)

    @cached_property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        ones = self._sign_bit - 1
        match self.specials:
            case Specials.IEEE:
                return ones - (1 << self.fraction_bits)
            case Specials.FN | Specials.P3109:
                return ones - 1
            case _:
                return ones

    @cached_property
    def min_code(self) -> int:
        """Code of the smallest value above zero."""
        if self.subnormals is Subnormals.FLUSHED:
            return 1 << self.fraction_bits
        return int(self.has_zero)

    @cached_property
    def infinity_code(self) -> int | None:
        """Code of the positive infinity, or None."""
        return self.max_code + 1 if self.specials in (Specials.IEEE, Specials.P3109) else None

    @cached_property
    def nan_code(self) -> int | None:
        """Code of the NaN that rounding produces (the quiet, positive one), or None."""
        match self.specials:
            case Specials.IEEE:
                return self.max_code + 1 + (1 << (self.fraction_bits - 1))
            case Specials.FN:
                return self.max_code + 1
            case Specials.FNUZ | Specials.P3109:
                return self._sign_bit
            case _:
                return None

    @property
    def has_infinity(self) -> bool:
        """Whether a code stands for infinity."""
        return self.infinity_code is not None

    @property
    def has_negative_zero(self) -> bool:
        """Whether a code stands for the negative zero."""
        return self.signed and self.has_zero and self.specials not in (Specials.FNUZ, Specials.P3109)

    @cached_property
    def max_finite(self) -> Fraction:
        """Largest finite value."""
        return self._magnitude(self.max_code)

    @property
    def min_finite(self) -> Fraction:
        """Smallest (most negative) finite value."""
        if self.signed:
            return -self.max_finite
        return Fraction(0) if self.has_zero else self.smallest_positive

    @property
    def smallest_positive(self) -> Fraction:
        """Smallest value above zero."""
        return self._magnitude(self.min_code)

    @cached_property
    def min_exponent(self) -> int:
        """Exponent, as a power of two, of the lowest binade of normal numbers."""
        return self._exponent(0 if self.subnormals is Subnormals.ABSENT else 1)

    @property
    def smallest_normal(self) -> Fraction:
        """Smallest value with the full precision."""
        if self.subnormals is Subnormals.ABSENT:
            return self.smallest_positive
        return Fraction(2) ** self.min_exponent

    def _exponent(self, field: int) -> int:
        """Exponent, as a power of two, of the binade with this exponent field."""
        return int((field - self.bias) * (self.radix // 2))

    def _magnitude(self, code: int) -> Fraction:
        """Magnitude number ``code`` in the unbounded numbering (below 1 only where there is a binade for it)."""
        field, fraction = code >> self.fraction_bits, code & ((1 << self.fraction_bits) - 1)
        if self.subnormals is Subnormals.SUPPORTED and field < 1:
            return code * Fraction(2) ** (self.min_exponent - self.fraction_bits)
        significand = (1 << self.fraction_bits) + fraction
        return significand * Fraction(2) ** (self._exponent(field) - self.fraction_bits)

    def decode(self, code: int) -> Value:
        """Return the exact value of ``code``. This is the definition of the format.

        Raises
        ------
        TypeError, ValueError
            If ``code`` is not an integer, or does not fit the width.
        """
        code = operator.index(code)
        if not 0 <= code < 1 << self.width:
            raise ValueError(f"Code must be between 0 and {(1 << self.width) - 1} for {self.name}, not {code!r}")
        negative, magnitude = code & self._sign_bit * self.signed, code & (self._sign_bit - 1)
        if self.specials in (Specials.FNUZ, Specials.P3109) and code == self._sign_bit:
            return Special.NAN
        if magnitude > self.max_code:
            if magnitude == self.infinity_code:
                return Special.NEGATIVE_INFINITY if negative else Special.POSITIVE_INFINITY
            return Special.NAN
        if magnitude < self.min_code:
            return Special.NEGATIVE_ZERO if negative else Fraction(0)
        return -self._magnitude(magnitude) if negative else self._magnitude(magnitude)

    def check_overflow(self, overflow: OverflowPolicy) -> None:
        """Refuse a policy that means nothing here.

        Raises
        ------
        TypeError
            If ``overflow`` is not an :class:`OverflowPolicy`.
        ValueError
            For the policies of fixed point alone, and for ``INFINITY`` where every code is finite.
        """
        check_member("Overflow policy", overflow, OverflowPolicy)
        if overflow.wraps or overflow is OverflowPolicy.SATURATE_ZERO:
            raise ValueError(f"Overflow policy must be saturate or infinity for {self.name}, a floating-point format, "
                             f"not {overflow.value!r}")
        if overflow is OverflowPolicy.INFINITY and self.nan_code is None:
            raise ValueError(f"Overflow policy must be saturate for {self.name}, which has neither infinity nor NaN, "
                             f"not {overflow.value!r}")

    def encode(self, value: Value | int | float, *, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
               overflow: OverflowPolicy = OverflowPolicy.SATURATE, random: RandomBits | None = None) -> int:
        """Round an exact value to a code.

        NaN becomes the quiet NaN, or zero in a format without one. Under ``SATURATE`` an infinity becomes the
        largest finite value. A negative value in an unsigned format becomes the smallest one, or NaN under
        ``INFINITY``; so does a zero in a format without one. Stochastic rounding acts on the magnitude (P3109).

        Raises
        ------
        TypeError
            If an argument is of the wrong type.
        ValueError
            If the policy does not apply, or random bits are missing.
        """
        self.check_overflow(overflow)
        value = exact_value(value)
        lowest = self.min_code if not self.has_zero else 0
        if value is Special.NAN:
            return self.nan_code if self.nan_code is not None else lowest
        negative = is_negative(value)
        if not self.signed and negative and not is_zero(value):
            return self._below_range(lowest, overflow)
        if is_zero(value):
            return self._signed(0, negative) if self.has_zero else self._below_range(lowest, overflow)
        mode = rounding.mirrored if negative else rounding
        if isinstance(value, Special):
            infinity = self.nan_code if self.infinity_code is None else self.infinity_code
            code = self.max_code if overflow is not OverflowPolicy.INFINITY else infinity
        else:
            code = self._round(abs(value), mode, random)
            if code < self.min_code and not self.has_zero:
                return self._below_range(lowest, overflow)
            if code < self.min_code:
                code = 0
            elif code > self.max_code:
                code = self._beyond_range(mode, overflow)
        assert code is not None  # check_overflow refused INFINITY where there is neither infinity nor NaN
        return code if code == self.nan_code else self._signed(code, negative)

    def _round(self, magnitude: Fraction, mode: RoundingMode, random: RandomBits | None) -> int:
        """Number, in the unbounded numbering, of a positive rational rounded to the format's precision."""
        numerator, denominator = magnitude.numerator, magnitude.denominator
        exponent = numerator.bit_length() - denominator.bit_length()
        if numerator << max(0, -exponent) < denominator << max(0, exponent):
            exponent -= 1
        # Now 2**exponent <= magnitude < 2**(exponent + 1).
        step = self.radix // 2
        field = (exponent + int(self.bias * step)) // step
        if self.subnormals is Subnormals.SUPPORTED and field < 1:
            field = 1  # subnormals are spaced as the lowest normal binade is
        shift = self.fraction_bits - self._exponent(field)
        numerator, denominator = numerator << max(0, shift), denominator << max(0, -shift)
        if self.radix == 4:  # no fraction: the magnitude lies between 1 and 4 units, only 1 and 4 being codes
            lower, remainder, gap = field, numerator - denominator, 3 * denominator
        else:
            significand, remainder = divmod(numerator, denominator)
            lower, gap = ((field - 1) << self.fraction_bits) + significand, denominator
        return lower + ratio_rounds_up(mode, remainder, gap, odd=bool(lower & 1), random=random)

    def _signed(self, code: int, negative: bool) -> int:
        if not negative or (code == 0 and not self.has_negative_zero):
            return code
        return code | self._sign_bit

    def _below_range(self, lowest: int, overflow: OverflowPolicy) -> int:
        if overflow is OverflowPolicy.INFINITY and self.nan_code is not None:
            return self.nan_code
        return lowest

    def _beyond_range(self, mode: RoundingMode, overflow: OverflowPolicy) -> int | None:
        away = mode not in (RoundingMode.TOWARD_ZERO, RoundingMode.DOWN, RoundingMode.TO_ODD)
        if overflow is not OverflowPolicy.INFINITY or not away:
            return self.max_code
        return self.nan_code if self.infinity_code is None else self.infinity_code
