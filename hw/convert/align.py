"""Alignment: a number's magnitude shifted onto the grid of a format, with what falls off its end."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.convert.number import Number, named
from hw.convert.round import shift_right
from hw.pipeline import delay
from sw.formats import FixedPointFormat, Subnormals

__all__ = ["Aligned", "align"]


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A magnitude between two neighbours of a format.

    Parameters
    ----------
    lower : Value
        Number of the lower neighbour, counting magnitudes up from zero as the format's codes do (and on beyond its
        largest one); signed where it may lie below zero.
    fraction : Value
        The next bits, as many as the rounding mode looks at.
    sticky : Value, 1 bit
        Whether anything lies below ``fraction``.
    beyond : Value, 1 bit
        Whether the magnitude lies beyond what ``lower`` can hold.
    number : Number
        Sign and flags.
    """

    lower: Value
    fraction: Value
    sticky: Value
    beyond: Value
    number: Number

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        names = ("lower", "fraction", "sticky", "beyond")
        return replace(self, number=self.number.flags_delayed(m, cycles),
                       **{name: delay(m, getattr(self, name), cycles, name=name) for name in names})


def align(m, number, fmt, bits):
    """Shift the magnitude of ``number`` onto the grid of ``fmt``.

    Parameters
    ----------
    m : Module
    number : Number
    fmt : FloatingPointFormat or FixedPointFormat
    bits : int
        How many bits of the fraction the rounding mode looks at (``round.fraction_bits_needed``).

    Returns
    -------
    Aligned
    """
    if isinstance(fmt, FixedPointFormat):
        return _align_fixed(m, number, fmt, bits)
    if fmt.radix == 4:
        return _align_radix_4(m, number, fmt, bits)
    return _align_float(m, number, fmt, bits)


def _align_fixed(m, number, fmt, bits):
    """The grid is fixed: the exponent alone says how far to shift."""
    magnitude, width = number.magnitude, number.magnitude_bits
    if not number.zero_has_zero_magnitude:
        magnitude = named(m, Mux(number.zero, 0, magnitude), "masked_magnitude")
    offset = number.scale + fmt.fraction_bits
    # From `highest` places to the left on, nothing but zeros stays in the format's width.
    highest = max(min(number.max_exponent + offset, fmt.width), -width - bits)
    lowest = max(min(number.min_exponent + offset, highest), -width - bits)
    places = named(m, highest - offset - number.exponent, "places")
    if number.max_exponent + offset > highest:
        places = named(m, Mux(places < 0, 0, places), "places_from_top")
    if number.min_exponent + offset < lowest:
        places = named(m, Mux(places > highest - lowest, highest - lowest, places), "places_to_bottom")
    point = max(0, -(highest + bits))  # bits below the fraction once everything stands at its leftmost place
    padding = max(0, highest + bits)
    shifted, lost = shift_right(m, Cat(C(0, padding), magnitude), places, largest=highest - lowest, name="grid")
    below, rest = shifted[:point], Cat(shifted[point:], C(0, bits + 1))
    return Aligned(
        number=number, fraction=rest[:bits], sticky=named(m, lost | below.any(), "sticky"),
        lower=rest[bits:bits + fmt.width], beyond=named(m, rest[bits + fmt.width:].any(), "beyond"))


def _leading_zeros(m, number):
    """Return the count of leading zeros, at most ``number.leading_zeros``."""
    places, bits = number.leading_zeros, number.magnitude_bits
    count = C(places, bits_for_count(places))
    for zeros in range(places - 1, -1, -1):
        count = Mux(number.magnitude[bits - 1 - zeros], zeros, count)
    return named(m, count[:bits_for_count(places)], "leading_zeros")


def bits_for_count(largest):
    """Return the width of a count up to ``largest``."""
    return largest.bit_length()


def _align_float(m, number, fmt, bits):
    """The grid doubles its step with every binade: shift by the leading zeros, or less where they run out."""
    places, width = number.leading_zeros, number.magnitude_bits
    offset = number.scale + width - 1 + fmt.bias
    zeros = _leading_zeros(m, number)
    field = named(m, number.exponent + offset - zeros, "field")
    to_normal = named(m, places - zeros, "places_to_normal")[:bits_for_count(places)]
    lowest_field = number.min_exponent + offset - places
    below = fmt.subnormals is Subnormals.SUPPORTED and lowest_field < 1
    largest = places
    amount = to_normal
    if below:
        subnormal = named(m, field < 1, "subnormal")
        largest = min(places + fmt.fraction_bits + bits + 1, places + 1 - number.min_exponent - offset)
        largest = max(largest, places)
        to_subnormal = named(m, places + 1 - offset - number.exponent, "places_to_subnormal")
        clamped = named(m, Mux(to_subnormal > largest, largest, to_subnormal), "places_clamped")
        amount = named(m, Mux(subnormal, clamped, to_normal)[:largest.bit_length()], "places")
        field = named(m, Mux(subnormal, 0, field), "grid_field")
    elif lowest_field >= 0:
        field = field.as_unsigned()
    if below:
        field = field[:max(1, (number.max_exponent + offset).bit_length())].as_unsigned()
    hidden = width - 1 - places
    padding = max(0, fmt.fraction_bits + bits - hidden)
    point = hidden + padding - fmt.fraction_bits  # index of the last place
    shifted, lost = shift_right(m, Cat(C(0, padding), number.magnitude), amount, largest=largest, name="grid")
    fraction = shifted[point:point + fmt.fraction_bits]
    lower = Cat(fraction, field)
    return Aligned(
        number=number, beyond=C(0, 1), lower=lower.as_signed() if field.shape().signed else lower,
        fraction=shifted[point - bits:point], sticky=named(m, lost | shifted[:point - bits].any(), "sticky"))


def _align_radix_4(m, number, fmt, bits):
    """Only powers of four have a code: a magnitude x times the lower one lies (x - 1)/3 of the way to the upper one."""
    places, width = number.leading_zeros, number.magnitude_bits
    zeros = _leading_zeros(m, number)
    twice = named(m, number.exponent + (number.scale + width - 1 + int(2 * fmt.bias)) - zeros, "twice_field")
    normal = named(m, (number.magnitude << zeros)[:width], "significand")
    ratio = named(m, Mux(twice[0], normal << 1, normal), "ratio")  # 1 <= ratio / 2**(width - 1) < 4
    one = 1 << (width - 1)
    if bits > 1:  # stochastic
        fraction = named(m, (((ratio - one).as_unsigned()[:width + 1] << bits) // (3 * one))[:bits], "fraction")
        sticky = ratio != one  # read only where the fraction is cut, which no mode does that reads both
    else:
        half = named(m, ratio * 2 >= 5 * one, "half")
        fraction = half if bits else C(0, 0)
        sticky = (ratio != one) & (ratio * 2 != 5 * one) if bits else ratio != one
    field = twice[1:]
    return Aligned(number=number, beyond=C(0, 1), lower=field.as_signed() if twice.shape().signed else field,
                   fraction=Value.cast(fraction), sticky=named(m, sticky, "sticky"))
