"""Codes of floating-point formats as SMT-LIB floats, and back.

The codes of a format count its magnitudes in rising order, and so do those of an SMT-LIB sort, which is IEEE 754's
encoding. With as many fraction bits, the codes of a format are a stretch of the codes of a sort with a wider exponent:
a format's number and the sort's number of the same place differ by one power of two for all of them, its *scale*. The
stretch of a format with subnormals starts with the sort's own subnormals, so that what the sort rounds to at that end
is what the format does; one without starts two binades above, where the sort still rounds at full precision. What the
sort has beyond the stretch's other end is beyond the format's range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode, Specials, Subnormals
from synth.errors import UsageError
from synth.prove.terms import (
    BOOL,
    Sort,
    Term,
    add,
    all_of,
    any_of,
    bit,
    boolean,
    choose,
    concat,
    constant,
    equal,
    extract,
    floating,
    from_bits,
    invert,
    less,
    operation,
    resized,
)

__all__ = ["MODES", "Place", "float_is", "highest_bit", "lowest_bit", "minimal_place", "natural_place", "require_float",
           "rounding_term", "sort_holds"]

MODES = {RoundingMode.NEAREST_EVEN: "RNE", RoundingMode.NEAREST_AWAY: "RNA", RoundingMode.UP: "RTP",
         RoundingMode.DOWN: "RTN", RoundingMode.TOWARD_ZERO: "RTZ"}
"""SMT-LIB's names of IEEE 754's rounding modes, the only ones that it has."""

_ROUNDING_SORT = Sort("RoundingMode")


def rounding_term(mode: RoundingMode) -> Term:
    """Return a rounding mode as SMT-LIB's constant.

    Raises
    ------
    UsageError
        If SMT-LIB has none for it.
    """
    if mode not in MODES:
        raise UsageError(f"Rounding mode must be one of {', '.join(known.value for known in MODES)} to be proved, "
                         f"which are those of IEEE 754 and SMT-LIB, not {mode.value!r}")
    return Term(MODES[mode], _ROUNDING_SORT)


def float_is(what: str, a: Term) -> Term:
    """Return whether a float is ``NaN``, ``Infinite``, ``Zero`` or ``Negative``."""
    return operation(f"fp.is{what}", BOOL, a)


def require_float(fmt: FloatingPointFormat) -> FloatingPointFormat:
    """Return a format if its codes are a stretch of an SMT-LIB sort's.

    Raises
    ------
    UsageError
        If they are not.
    """
    if fmt.radix != 2 or not fmt.fraction_bits:
        raise UsageError(f"Format must have radix 2 and a fraction to be proved, as SMT-LIB's floats have, "
                         f"not be {fmt.name!r}; without --prove it is run on every input")
    return fmt


@dataclass(frozen=True)
class Place:
    """A stretch of an SMT-LIB sort's codes that a format's codes are.

    Parameters
    ----------
    format : FloatingPointFormat
    exponent_bits : int, bits
        Of the sort; its significand has the format's precision.
    offset : int
        What is added to a code's exponent field: 0 where there are subnormals.
    """

    format: FloatingPointFormat
    exponent_bits: int
    offset: int = 0

    @cached_property
    def sort(self) -> Sort:
        """The sort."""
        return floating(self.exponent_bits, self.format.fraction_bits + 1)

    @property
    def scale(self) -> int:
        """The sort's numbers are the format's times 2 to this power."""
        return self.offset + int(self.format.bias) - ((1 << (self.exponent_bits - 1)) - 1)

    @property
    def _magnitude_bits(self) -> int:
        return self.exponent_bits + self.format.fraction_bits

    def _code(self, code: int) -> Term:
        """Return where a magnitude's code lies in the sort, as a constant."""
        return constant(code + (self.offset << self.format.fraction_bits), self._magnitude_bits)

    def value(self, code: Term) -> Term:
        """Return a code's number in the sort: every NaN as NaN, infinities as such, what is flushed as a zero."""
        fmt = self.format
        bits = fmt.exponent_bits + fmt.fraction_bits
        negative = extract(code, bits, bits) if fmt.signed else constant(0, 1)
        magnitude = resized(extract(code, bits - 1, 0), self._magnitude_bits, signed=False)
        placed = add(magnitude, constant(self.offset << fmt.fraction_bits, self._magnitude_bits)) if self.offset \
            else magnitude
        number = from_bits(concat(negative, placed), self.sort)
        if _is_natural(fmt) and fmt.exponent_bits == self.exponent_bits:
            return number
        number = choose(less(magnitude, constant(fmt.min_code, self._magnitude_bits), signed=False),
                        from_bits(concat(negative, constant(0, self._magnitude_bits)), self.sort), number) \
            if self.offset and fmt.min_code else number
        above = less(constant(fmt.max_code, self._magnitude_bits), magnitude, signed=False)
        nan = Term(f"(_ NaN {self.exponent_bits} {fmt.fraction_bits + 1})", self.sort)
        if fmt.infinity_code is not None:
            infinity = choose(equal(negative, constant(1, 1)), self._infinity("-oo"), self._infinity("+oo"))
            is_infinity = equal(magnitude, constant(fmt.infinity_code, self._magnitude_bits))
            number = choose(above, choose(is_infinity, infinity, nan), number)
        elif fmt.specials is Specials.FN:
            number = choose(above, nan, number)
        if fmt.specials in (Specials.FNUZ, Specials.P3109):
            number = choose(equal(code, constant(1 << bits, fmt.width)), nan, number)
        return number

    def _infinity(self, sign: str) -> Term:
        return Term(f"(_ {sign} {self.exponent_bits} {self.format.fraction_bits + 1})", self.sort)

    def code(self, encoding: Term, value: Term, mode: RoundingMode, overflow: OverflowPolicy) -> Term:
        """Return the format's code of a number of the sort that has been rounded to its precision.

        Parameters
        ----------
        encoding : Term
            Variable of the sort's bits, which the caller asserts to be those of ``value`` unless that is NaN.
        value : Term
            The number.
        """
        fmt, width = self.format, self.format.width
        sign_bit = self._magnitude_bits
        negative, placed = bit(encoding, sign_bit), extract(encoding, sign_bit - 1, 0)
        bits = fmt.exponent_bits + fmt.fraction_bits
        offset = constant(-(self.offset << fmt.fraction_bits), self._magnitude_bits)
        magnitude = resized(add(placed, offset) if self.offset else placed, max(bits, 1), signed=False)
        nan = constant(fmt.nan_code or 0, width)  # a format without NaN takes its zero, or its smallest number
        code = self._signed(magnitude, negative)
        below = less(placed, self._code(fmt.min_code), signed=False)
        zero = constant(0, bits)
        if fmt.has_zero:
            code = choose(below, self._signed(zero, negative if fmt.has_negative_zero else boolean(False)), code)
        else:
            code = choose(below, nan if overflow is OverflowPolicy.INFINITY else constant(0, width), code)
        code = choose(less(self._code(fmt.max_code), placed, signed=False),
                      self._beyond(negative, value, mode, overflow), code)
        if not fmt.signed:
            outside = nan if overflow is OverflowPolicy.INFINITY else constant(0, width)
            code = choose(all_of(negative, invert(float_is("Zero", value))), outside, code)
        return choose(float_is("NaN", value), nan, code)

    def _beyond(self, negative: Term, value: Term, mode: RoundingMode, overflow: OverflowPolicy) -> Term:
        fmt = self.format
        bits = fmt.exponent_bits + fmt.fraction_bits
        largest = self._signed(constant(fmt.max_code, bits), negative)
        if overflow is not OverflowPolicy.INFINITY:
            return largest
        infinity = self._signed(constant(fmt.infinity_code, bits), negative) if fmt.infinity_code is not None \
            else constant(fmt.nan_code or 0, fmt.width)
        away = {RoundingMode.TOWARD_ZERO: boolean(False), RoundingMode.UP: invert(negative),
                RoundingMode.DOWN: negative}.get(mode, boolean(True))
        return choose(any_of(away, float_is("Infinite", value)), infinity, largest)

    def _signed(self, magnitude: Term, negative: Term) -> Term:
        if not self.format.signed:
            return magnitude
        return concat(choose(negative, constant(1, 1), constant(0, 1)), magnitude)


def lowest_bit(fmt: FloatingPointFormat) -> int:
    """Weight of the last place of the smallest numbers, as a power of two."""
    return fmt.min_exponent - fmt.fraction_bits


def highest_bit(fmt: FloatingPointFormat) -> int:
    """Weight of the first place of the largest number, as a power of two."""
    return (fmt.max_code >> fmt.fraction_bits) - int(fmt.bias)


def sort_holds(sort: Sort, precision: int, lowest: int, highest: int) -> bool:
    """Whether a sort has every number of a precision with bits of these weights, in powers of two."""
    bias = (1 << (sort.exponent_bits - 1)) - 1
    return (precision <= sort.significand_bits and highest <= bias
            and lowest >= 1 - bias - (sort.significand_bits - 1))


def _is_natural(fmt: FloatingPointFormat) -> bool:
    """Whether the format's codes are all of a sort's, special ones too."""
    return fmt.specials is Specials.IEEE and fmt.subnormals is Subnormals.SUPPORTED and fmt.signed


def natural_place(fmt: FloatingPointFormat) -> Place | None:
    """Return the sort whose codes are the format's, one for one; None if there is none."""
    return Place(fmt, fmt.exponent_bits) if _is_natural(fmt) else None


def minimal_place(fmt: FloatingPointFormat, *, wider: int = 0) -> Place:
    """Return the narrowest sort with a stretch for the format and room beyond it, or one so many bits wider."""
    offset = 0 if fmt.subnormals is Subnormals.SUPPORTED else 2
    bits = fmt.exponent_bits + 1
    while (fmt.max_code >> fmt.fraction_bits) + offset > (1 << bits) - 3:  # one more binade, and the infinity's
        bits += 1
    return Place(fmt, max(bits, 2) + wider, offset)
