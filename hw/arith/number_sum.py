"""The sum of two numbers, with as many bits as one rounding needs."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.arith.number_product import add_constant
from hw.convert.number import Number, named
from hw.convert.round import fraction_bits_needed, shift_right
from hw.pipeline import delay
from sw.formats import FixedPointFormat, FloatingPointFormat, RoundingMode

__all__ = ["add_numbers", "sum_scale"]


def add_numbers(m, a, b, *, result, rounding, random_bits, exact=False, a_is_greater=None,
                registers=0):
    """Return the sum of two numbers, by IEEE 754's rules for special values and signs of zeros.

    The one with the lower exponent is shifted right to the other's; what falls off the end is jammed into the lowest
    bit that stays (rounding to odd: Boldo and Melquiond 2008), at least two places, and the random bits, below the
    last place of the result. Rounded to ``result`` it gives what the exact sum gives, and it serves for nothing else.

    Parameters
    ----------
    m : Module
    a, b : Number
    result : FloatingPointFormat, FixedPointFormat or PositFormat
        Format that the sum is going to be rounded to.
    rounding : RoundingMode
    random_bits : int
        How many random bits the rounding takes.
    exact : bool
        Keep every bit, however far apart the exponents may be, as a wrapping overflow asks for.
    a_is_greater : Value, 1 bit, optional
        Whether the magnitude of ``a`` is not less than that of ``b``, where the caller can tell more cheaply, as from
        the codes of one format. Infinities then count as magnitudes.
    registers : int
        How many stand between the alignment of the lesser magnitude and the sum.

    Returns
    -------
    Number
        A zero has the magnitude zero.
    """
    frame = _Frame.of(a, b, result, fraction_bits_needed(rounding, random_bits), exact)
    a_top = named(m, add_constant(m, a.exponent, _top(a) - frame.top, "a_exponent_top"), "a_top")
    b_top = named(m, add_constant(m, b.exponent, _top(b) - frame.top, "b_exponent_top"), "b_top")
    ordered = a_is_greater is not None
    swap = named(m, ~a_is_greater if ordered else _b_comes_first(a, b, a_top, b_top), "swap")
    first, second = (_ordered if ordered else _swapped)(m, a, b, swap, frame.width)
    first_top = named(m, Mux(swap, b_top, a_top), "first_top")
    places = named(m, first_top - Mux(swap, a_top, b_top), "places")
    second, sticky = _aligned(m, second, places, frame)
    nan = named(m, a.nan | b.nan | (a.infinity & b.infinity & (a.sign ^ b.sign)), "nan")
    infinity = named(m, a.infinity | b.infinity, "infinity")
    sign = Mux(swap, b.sign, a.sign)
    if not ordered:
        sign = Mux(a.infinity, a.sign, Mux(b.infinity, b.sign, sign))
    first, second, sticky, first_top, sign, subtract, nan, infinity = (
        delay(m, named(m, value, name), registers, name=name) for value, name in (
            (first, "first"), (second, "second"), (sticky, "sticky"), (first_top, "first_top"),
            (sign, "first_sign"), (a.sign ^ b.sign, "subtract"), (nan, "nan"), (infinity, "infinity")))
    magnitude, negative = _combine(m, first, second, sticky, subtract, ordered)
    zero = named(m, ~magnitude.any() if ordered else ~magnitude.any() & ~infinity, "zero")
    # The only zero sums of two signs are x - x and the sum of two zeros.
    cancelled, sign = zero & subtract, sign ^ (negative & ~infinity)
    sign = sign | cancelled if rounding is RoundingMode.DOWN else sign & ~cancelled
    maxima = [number.max_magnitude << (frame.width - number.magnitude_bits) for number in (a, b)]
    return Number(
        sign=named(m, sign, "sign"), magnitude=magnitude, exponent=first_top, zero=zero, infinity=infinity, nan=nan,
        scale=frame.top - frame.width, min_magnitude=1, max_magnitude=sum(maxima), min_exponent=frame.lowest,
        max_exponent=frame.highest, zero_has_zero_magnitude=True)


def sum_scale(bits, fmt):
    """Return the scale of a magnitude of ``bits`` bits for which a sum that is rounded to ``fmt`` needs no constant.

    Aligning the sum to the grid of a float then needs none either.
    """
    return 1 - int(fmt.bias) - bits if isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 else None


def _top(number):
    """What is added to a number's exponent to get that of the place above its top bit."""
    return number.scale + number.magnitude_bits


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The bits in which two magnitudes meet, both with the top bit at the top.

    Parameters
    ----------
    width : int, bits
    top : int
        What is added to ``first_top`` to get the exponent of the place above the top bit.
    lowest, highest : int
        Range of ``first_top``.
    farthest : int
        Most places that the lesser magnitude is shifted by.
    """

    width: int
    top: int
    lowest: int
    highest: int
    farthest: int

    @classmethod
    def of(cls, a, b, result, bits, exact):
        tops = [range(number.min_exponent + _top(number), number.max_exponent + _top(number) + 1) for number in (a, b)]
        pairs = ((a, b, tops[0], tops[1]), (b, a, tops[1], tops[0]))
        whole = max(max(x.magnitude_bits, y.magnitude_bits + x_top[-1] - y_top[0]) for x, y, x_top, y_top in pairs)
        width = whole if exact else min(whole, max(_width(*pair, _precision(result), bits) for pair in pairs))
        scale = sum_scale(width, result)
        top = _top(a) if scale is None else scale + width
        lowest = min(tops[0][0], tops[1][0])
        if all(number.zeros_at_min_exponent or isinstance(number.zero, Const) for number in (a, b)):
            lowest = max(tops[0][0], tops[1][0])
        highest = max(tops[0][-1], tops[1][-1])
        return cls(width=width, top=top, lowest=lowest - top, highest=highest - top,
                   farthest=max(tops[0][-1] - tops[1][0], tops[1][-1] - tops[0][0], 0))


def _precision(fmt):
    """Bits from the top bit of a magnitude to the last place that it is rounded to, at most."""
    if isinstance(fmt, FixedPointFormat):
        return fmt.width + 1  # with more of them, the sum saturates whatever they are
    if isinstance(fmt, FloatingPointFormat):
        return fmt.fraction_bits + 1 if fmt.radix == 2 else 3  # between powers of four, the middle is 2.5
    return fmt.significand_bits


def _width(x, y, x_top, y_top, precision, bits):
    """Return the bits that make ``x + y`` right where ``x`` has the higher exponent, or the same.

    With ``z`` leading zeros in ``x``, a ``y`` that is shifted by two places more than that leaves a sum with at most
    one leading zero more, below whose last place and further ``bits`` another one is jammed. A ``y`` that is shifted
    by less stays whole. The jammed place must be one that ``x`` does not use.
    """
    zeros, whole = x.leading_zeros, x.leading_zeros + 1
    if x.zeros_at_min_exponent:
        zeros, whole = 0, max(1, x_top[0] - y_top[0] if x.leading_zeros else 0)
    return max(x.magnitude_bits + 1, y.magnitude_bits + whole, precision + bits + 2 + zeros)


def _b_comes_first(a, b, a_top, b_top):
    """Whether ``b`` has the higher exponent. That of a zero means nothing, unless it is known to be the lowest."""
    after = b_top > a_top
    if not (a.zeros_at_min_exponent and b.zeros_at_min_exponent):
        after = (after | a.zero) & ~b.zero
    return after


def _swapped(m, a, b, swap, width):
    """Return the magnitudes of both numbers, that of ``b`` first where ``swap`` is up."""
    a_magnitude, b_magnitude = (_in_frame(m, number, width, name) for number, name in ((a, "a"), (b, "b")))
    return (named(m, Mux(swap, b_magnitude, a_magnitude), "first"),
            named(m, Mux(swap, a_magnitude, b_magnitude), "second"))


def _ordered(m, a, b, swap, width):
    """Return the magnitudes of both numbers, the greater one first.

    It is zero only if both are, the lesser one if either is: what clears them stands behind the multiplexers.
    """
    if a.zero_has_zero_magnitude or b.zero_has_zero_magnitude:
        return _swapped(m, a, b, swap, width)
    both, either = named(m, a.zero & b.zero, "both_zero"), named(m, a.zero | b.zero, "either_zero")
    kept = [replace(number, zero_has_zero_magnitude=True) for number in (a, b)]
    first, second = _swapped(m, *kept, swap, width)
    return (named(m, first & (~both).replicate(width), "first_cleared"),
            named(m, second & (~either).replicate(width), "second_cleared"))


def _in_frame(m, number, width, name):
    """Return a magnitude with its top bit at the top of ``width`` bits, and zero where the number is."""
    magnitude = number.magnitude[:number.magnitude_bits]
    if not number.zero_has_zero_magnitude:
        magnitude = magnitude & (~number.zero).replicate(number.magnitude_bits)
    return named(m, Cat(C(0, width - number.magnitude_bits), magnitude), f"{name}_in_frame")


def _aligned(m, second, places, frame):
    """Return the lesser magnitude, shifted to the other's exponent, and whether anything was lost."""
    levels = min((frame.width - 1).bit_length(), frame.farthest.bit_length())
    shifted, lost = shift_right(m, second, places[:levels], largest=min((1 << levels) - 1, frame.farthest),
                                name="aligned")
    if frame.farthest >> levels:
        far = named(m, places[levels:frame.farthest.bit_length()].any(), "far")
        lost = Mux(far, second.any(), lost)
        shifted = shifted & (~far).replicate(len(shifted))
    return named(m, shifted, "second_aligned"), named(m, lost, "sticky")


def _combine(m, first, second, sticky, subtract, ordered):
    """Return the sum or the magnitude of the difference, and whether that was negative."""
    width = len(first)
    second = Cat(second[0] | sticky, second[1:])
    total = named(m, (first + (second ^ subtract.replicate(width)) + subtract)[:width + 1], "total")
    if ordered:
        return named(m, Cat(total[:width], total[width] & ~subtract), "magnitude"), C(0, 1)
    negative = named(m, subtract & ~total[width], "negative")
    flipped = (total[:width] ^ negative.replicate(width)) + negative
    return named(m, Cat(flipped[:width], total[width] & ~subtract), "magnitude"), negative
