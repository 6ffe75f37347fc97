"""Fixed-point and integer formats: two's complement or unsigned codes times a power of two."""

import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sw.formats.check import check_boolean, check_integer, check_member
from sw.formats.rounding import OverflowPolicy, RandomBits, RoundingMode, ratio_rounds_up
from sw.formats.special import Special, Value, exact_value, is_negative


@dataclass(frozen=True, kw_only=True)
class FixedPointFormat:
    """A fixed-point family member: the code as an integer, times ``2**-fraction_bits``.

    Parameters
    ----------
    width : int, bits
        Total width, sign included, 1 to 64.
    fraction_bits : int, bits
        Weight of the last place is ``2**-fraction_bits``; may be negative or larger than ``width``.
    signed : bool
        Two's complement if true.
    narrow_range : bool
        Leave out the most negative code, so that the range is symmetric: that code still decodes, but no
        rounding or saturation produces it.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range.

    Source: ``ap_fixed<W,I>`` of AMD UG1399 is ``width=W, fraction_bits=W-I``; QKeras and Brevitas for narrow range.
    """

    width: int
    fraction_bits: int = 0
    signed: bool = True
    narrow_range: bool = False

    def __post_init__(self) -> None:
        for field in ("width", "fraction_bits"):
            check_integer(f"Format {field}", getattr(self, field))
        for field in ("signed", "narrow_range"):
            check_boolean(f"Format {field}", getattr(self, field))
        if not 1 <= self.width <= 64:
            raise ValueError(f"Fixed-point width must be between 1 and 64 bits, not {self.width!r}")
        if not -256 <= self.fraction_bits <= 256:
            raise ValueError(f"Fixed-point fraction_bits must be between -256 and 256, not {self.fraction_bits!r}")
        if self.narrow_range and not self.signed:
            raise ValueError("Narrow range must be false for an unsigned format, not True")
        if self.narrow_range and self.width < 2:
            raise ValueError(f"Fixed-point width must be at least 2 bits for a narrow range, not {self.width!r}")

    @property
    def name(self) -> str:
        """Canonical name, which ``sw.formats.parse`` reads back."""
        if self.fraction_bits == 0:
            name = f"{'int' if self.signed else 'uint'}{self.width}"
        else:
            name = f"{'fixed' if self.signed else 'ufixed'}<{self.width},{self.fraction_bits}>"
        return name + (":narrow_range=true" if self.narrow_range else "")

    @cached_property
    def quantum(self) -> Fraction:
        """Distance between neighbouring values."""
        return Fraction(2) ** -self.fraction_bits

    @property
    def max_integer(self) -> int:
        """Largest code read as an integer."""
        return (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1

    @property
    def min_integer(self) -> int:
        """Smallest code, read as an integer, that rounding may produce."""
        if not self.signed:
            return 0
        return -self.max_integer if self.narrow_range else -(1 << (self.width - 1))

    @property
    def max_finite(self) -> Fraction:
        """Largest value."""
        return self.max_integer * self.quantum

    @property
    def min_finite(self) -> Fraction:
        """Smallest (most negative) value that rounding may produce."""
        return self.min_integer * self.quantum

    @property
    def smallest_positive(self) -> Fraction:
        """Smallest value above zero; zero for a one-bit signed format, which has none."""
        return min(self.quantum, self.max_finite)

    @property
    def nan_code(self) -> None:
        """Fixed point has no NaN."""
        return None

    @property
    def has_infinity(self) -> bool:
        """Fixed point has no infinity."""
        return False

    @property
    def has_negative_zero(self) -> bool:
        """Fixed point has one zero."""
        return False

    def integer(self, code: int) -> int:
        """Read ``code`` as an integer, two's complement if the format is signed.

        Raises
        ------
        TypeError, ValueError
            If ``code`` is not an integer, or does not fit the width.
        """
        code = operator.index(code)
        if not 0 <= code < 1 << self.width:
            raise ValueError(f"Code must be between 0 and {(1 << self.width) - 1} for {self.name}, not {code!r}")
        return code - (1 << self.width) if self.signed and code >> (self.width - 1) else code

    def decode(self, code: int) -> Value:
        """Return the exact value of ``code``. This is the definition of the format.

        Raises
        ------
        TypeError, ValueError
            If ``code`` is not an integer, or does not fit the width.
        """
        return self.integer(code) * self.quantum

    def check_overflow(self, overflow: OverflowPolicy) -> None:
        """Refuse a policy that means nothing here.

        Raises
        ------
        TypeError
            If ``overflow`` is not an :class:`OverflowPolicy`.
        ValueError
            For ``INFINITY``, for ``WRAP`` and ``WRAP_SIGN_MAGNITUDE`` with a narrow range, and for
            ``WRAP_SIGN_MAGNITUDE`` without a sign.
        """
        check_member("Overflow policy", overflow, OverflowPolicy)
        if overflow is OverflowPolicy.INFINITY:
            raise ValueError(f"Overflow policy must be saturate, saturate-symmetric, saturate-zero or wrap for "
                             f"{self.name}, which has no infinity and no NaN, not {overflow.value!r}")
        if overflow.wraps and self.narrow_range:
            raise ValueError(f"Overflow policy must be saturate for {self.name}: wrapping would produce the code "
                             f"that a narrow range leaves out, not {overflow.value!r}")
        if overflow is OverflowPolicy.WRAP_SIGN_MAGNITUDE and not self.signed:
            raise ValueError(f"Overflow policy must be wrap for {self.name}, which has no sign, "
                             f"not {overflow.value!r}")

    def encode(self, value: Value | int | float, *, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
               overflow: OverflowPolicy = OverflowPolicy.SATURATE, random: RandomBits | None = None) -> int:
        """Round an exact value to a code.

        NaN becomes zero. An infinity becomes the extreme of its sign, or zero under ``SATURATE_ZERO`` and, having no
        residue, under the policies that wrap.
        Stochastic rounding acts on the value, not the magnitude: up with probability (x - floor(x)) / quantum
        (Gupta et al. 2015, section 3).

        Raises
        ------
        TypeError
            If an argument is of the wrong type.
        ValueError
            If the policy does not apply, or random bits are missing.
        """
        self.check_overflow(overflow)
        value = exact_value(value)
        if value is Special.NAN or value is Special.NEGATIVE_ZERO:
            return 0
        if isinstance(value, Special):
            beyond = self.min_integer - 1 if is_negative(value) else self.max_integer + 1
            return 0 if overflow.wraps else self._into_range(beyond, overflow)
        numerator = value.numerator << max(0, self.fraction_bits)
        divisor = value.denominator << max(0, -self.fraction_bits)
        integer, remainder = divmod(numerator, divisor)
        integer += ratio_rounds_up(rounding, remainder, divisor, odd=bool(integer & 1), negative=numerator < 0,
                                   random=random)
        return self._into_range(integer, overflow)

    def _into_range(self, integer: int, overflow: OverflowPolicy) -> int:
        """Return the code of a rounded value, given in units of the last place."""
        match overflow:
            case OverflowPolicy.WRAP:
                pass
            case OverflowPolicy.WRAP_SIGN_MAGNITUDE:
                if (integer >> self.width ^ integer >> (self.width - 1)) & 1:
                    integer = ~integer
            case OverflowPolicy.SATURATE_ZERO:
                integer = integer if self.min_integer <= integer <= self.max_integer else 0
            case _:
                symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and self.signed
                lowest = -self.max_integer if symmetric else self.min_integer
                integer = max(lowest, min(self.max_integer, integer))
        return integer & ((1 << self.width) - 1)
