"""Alignment: a number's magnitude shifted onto the grid of a format, with what falls off its end."""

from dataclasses import dataclass, field, replace

from amaranth.hdl import *

from hw.convert.number import Number, named
from hw.convert.posit import align_posit, posit_scale
from hw.convert.round import shift_right
from hw.pipeline import delay
from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, Subnormals

__all__ = ["Aligned", "align", "float_scale"]


WIDE_RANGE, FEW_PLACES = 16, 7
"""Least range of exponents, and most leading zeros, for which the shift of a leading one is looked up beside their
count, rather than subtracted from its largest value.

LUTs of adders with yosys 0.70 on iCE40 / ECP5 without wide LUTs, overflow to infinity where there is one, subtracted
and looked up: float8_e5m2 122 / 132 and 117 / 131, float6_e3m2fn 84 / 95 and 81 / 104, float6_e2m3fn 70 / 84 and
74 / 85, float16 without subnormals 263 / 276 and 272 / 277.
"""


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
    addend : Value
        What is still to be added to ``lower`` at the lowest place of its exponent field, so that one adder does
        this and the rounding.
    zero_is_zero : bool
        Whether a zero comes out as zero of itself, whatever the rounding, rather than by its flag.
    number : Number
        Sign and flags.
    above : Value, 1 bit
        For fixed point, the bit of the magnitude next above those of ``lower``, one of those that ``beyond`` sums up.
    """

    lower: Value
    fraction: Value
    sticky: Value
    beyond: Value
    addend: Value
    zero_is_zero: bool
    number: Number
    above: Value = field(default_factory=lambda: C(0, 1))

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        names = ("lower", "fraction", "sticky", "beyond", "addend", "above")
        return replace(self, number=self.number.flags_delayed(m, cycles),
                       **{name: delay(m, getattr(self, name), cycles, name=name) for name in names})


def align(m, number, fmt, bits):
    """Shift the magnitude of ``number`` onto the grid of ``fmt``.

    Parameters
    ----------
    m : Module
    number : Number
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    bits : int
        How many bits of the fraction the rounding mode looks at (``round.fraction_bits_needed``).

    Returns
    -------
    Aligned
    """
    if isinstance(fmt, FixedPointFormat):
        return _align_fixed(m, number, fmt, bits)
    if isinstance(fmt, PositFormat):
        lower, fraction, sticky = align_posit(m, number, fmt, bits)
        return Aligned(number=number, lower=lower, fraction=fraction, sticky=sticky, beyond=C(0, 1), addend=C(0, 0),
                       zero_is_zero=False)
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
    farther = C(0, 1)
    if number.max_exponent + offset > highest:
        farther = places < 0
        places = named(m, Mux(places < 0, 0, places), "places_from_top")
    if number.min_exponent + offset < lowest:
        places = named(m, Mux(places > highest - lowest, highest - lowest, places), "places_to_bottom")
    point = max(0, -(highest + bits))  # bits below the fraction once everything stands at its leftmost place
    padding = max(0, highest + bits)
    shifted, lost = shift_right(m, Cat(C(0, padding), magnitude), places, largest=highest - lowest, name="grid")
    below, rest = shifted[:point], Cat(shifted[point:], C(0, bits + 1))
    above = Cat(rest[bits:], C(0, fmt.width + 1))[fmt.width] & ~farther
    return Aligned(
        number=number, addend=C(0, 0), zero_is_zero=True, fraction=rest[:bits],
        sticky=named(m, lost | below.any(), "sticky"), lower=rest[bits:bits + fmt.width],
        beyond=named(m, rest[bits + fmt.width:].any(), "beyond"), above=named(m, above, "above"))


def _leading_zeros(m, number):
    """Return the count of leading zeros, at most ``number.leading_zeros``, and by how much it is less than that."""
    places, bits = number.leading_zeros, number.magnitude_bits
    count, rest = C(places, places.bit_length()), C(0, places.bit_length())
    for zeros in range(places - 1, -1, -1):
        leads = number.magnitude[bits - 1 - zeros]
        count, rest = Mux(leads, zeros, count), Mux(leads, places - zeros, rest)
    return tuple(named(m, value[:places.bit_length()], name)
                 for value, name in ((count, "leading_zeros"), (rest, "leading_zeros_left")))


def float_scale(bits, fmt):
    """Return the scale of a magnitude of ``bits`` bits for which :func:`align` needs no constant in its exponent."""
    if isinstance(fmt, PositFormat):
        return posit_scale(bits)
    return 3 - bits - int(fmt.bias) if isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 else None


def _align_float(m, number, fmt, bits):
    """The grid doubles its step with every binade: shift by the leading zeros, or less where they run out."""
    if number.leading_zeros > 1:
        return _align_unnormalised(m, number, fmt, bits)
    # `base` is the result's exponent field less two if the product has no leading zero, less one if it has one. That
    # difference, 1 + top, is added together with the rounding. Below zero, its inverted bits say how far to shift
    # a subnormal result, starting from where a product without a leading zero stands.
    offset = number.scale - float_scale(number.magnitude_bits, fmt)
    lowest, highest = number.min_exponent + offset, number.max_exponent + offset
    top = number.magnitude[-1] if number.leading_zeros else C(1, 1)
    may_be_subnormal = fmt.subnormals is Subnormals.SUPPORTED and lowest < 0
    if not number.leading_zeros and not may_be_subnormal:
        lowest, highest, offset = lowest + 2, highest + 2, offset + 2
    shape = Shape.cast(range(lowest, highest + 1))
    base = named(m, (number.exponent + offset)[:shape.width] if offset else number.exponent, "base")
    if not may_be_subnormal:
        shifted = Mux(top, number.magnitude, number.magnitude << 1)[:number.magnitude_bits]
        kept, sticky = _keep(shifted, fmt.fraction_bits + 1 + bits)
        return Aligned(
            number=number, beyond=C(0, 1), lower=_join(kept[bits:-1], base, shape.signed), fraction=kept[:bits],
            sticky=named(m, sticky, "sticky"), zero_is_zero=False,
            addend=Cat(~top, top) if number.leading_zeros else C(0, 0))
    subnormal = named(m, base[-1] | number.zero, "subnormal")
    shifted = Mux(subnormal | top, number.magnitude, number.magnitude << 1)[:number.magnitude_bits]
    kept, below = _keep(named(m, shifted, "normalised"), fmt.fraction_bits + 1 + bits)
    largest = min(len(kept) - 1, -lowest - 1)
    levels = largest.bit_length()
    places = named(m, ~base[:levels] & subnormal.replicate(levels), "places")
    kept, lost = shift_right(m, kept, places, largest=largest, name="grid")
    far = base[-1] & ~base[levels:-1].all() if -lowest > 1 << levels else C(0, 1)
    flush = named(m, far | number.zero, "flush")
    kept = named(m, kept & (~flush).replicate(len(kept)), "kept")
    sticky = below | lost | far
    # Nearest and stochastic rounding look at the fraction first, which a zero has cleared.
    sticky = named(m, sticky if bits else sticky & ~number.zero, "sticky")
    field = (base if not shape.signed else base[:-1]) & (~subnormal).replicate(len(base) - 1)
    return Aligned(
        number=number, beyond=C(0, 1), lower=_join(kept[bits:-1], field, False), fraction=kept[:bits], sticky=sticky,
        zero_is_zero=True, addend=named(m, Mux(subnormal, kept[-1], Cat(~top, top)), "addend"))


def _keep(magnitude, count):
    """Return the top ``count`` bits, and whether there is anything below them."""
    magnitude = Cat(C(0, max(0, count - len(magnitude))), magnitude)
    point = len(magnitude) - count
    return magnitude[point:], magnitude[:point].any() if point else C(0, 1)


def _join(fraction, field, signed):
    return Cat(fraction, field).as_signed() if signed else Cat(fraction, field)


def _align_unnormalised(m, number, fmt, bits):
    """As many leading zeros as there may be, and the way to the grid, in one shift."""
    places, width = number.leading_zeros, number.magnitude_bits
    offset = number.scale + width - 2 + fmt.bias
    zeros, rest = _leading_zeros(m, number)
    above = named(m, number.exponent + offset, "field_from_top")  # field less one, were there no leading zero
    base = named(m, above - zeros, "base")
    lowest = number.min_exponent + offset - places
    amount, largest, subnormal = places - zeros, places, C(0, 1)
    if number.max_exponent - number.min_exponent >= WIDE_RANGE and places <= FEW_PLACES:
        amount = rest
    may_be_subnormal = fmt.subnormals is Subnormals.SUPPORTED and lowest < 0
    if may_be_subnormal:
        subnormal = named(m, base < 0, "subnormal")
        largest = max(places, min(places + fmt.fraction_bits + bits + 1, places - number.min_exponent - offset))
        to_grid = named(m, places - above, "places_to_grid")
        clamped = Mux(to_grid > largest, largest, to_grid)
        amount = Mux(subnormal, clamped, amount)
    amount = named(m, amount[:largest.bit_length()], "places")
    magnitude = number.magnitude
    if not number.zero_has_zero_magnitude:
        magnitude = named(m, Mux(number.zero, 0, magnitude), "masked_magnitude")
    hidden = width - 1 - places
    padding = max(0, fmt.fraction_bits + bits - hidden)
    point = hidden + padding - fmt.fraction_bits  # index of the last place
    shifted, lost = shift_right(m, Cat(C(0, padding), magnitude), amount, largest=largest, name="grid")
    sticky = lost | shifted[:point - bits].any() if point > bits else lost
    shape = Shape.cast(range(lowest, number.max_exponent + offset + 1))
    if may_be_subnormal:
        shape = unsigned(max(1, shape.width - 1))
        base = base[:shape.width] & ~(subnormal | number.zero).replicate(shape.width)
    fraction = shifted[point:point + fmt.fraction_bits]
    return Aligned(
        number=number, beyond=C(0, 1), lower=named(m, _join(fraction, base[:shape.width], shape.signed), "lower"),
        fraction=shifted[point - bits:point], sticky=named(m, sticky, "sticky"), zero_is_zero=may_be_subnormal,
        addend=shifted[point + fmt.fraction_bits])


def _align_radix_4(m, number, fmt, bits):
    """Only powers of four have a code: a magnitude x times the lower one lies (x - 1)/3 of the way to the upper one."""
    width, (zeros, _) = number.magnitude_bits, _leading_zeros(m, number)
    twice = named(m, number.exponent + (number.scale + width - 1 + int(2 * fmt.bias)) - zeros, "twice_field")
    normal = named(m, (number.magnitude << zeros)[:width], "significand")
    ratio = named(m, Mux(twice[0], normal << 1, normal), "ratio")  # 1 <= ratio / 2**(width - 1) < 4
    one = 1 << (width - 1)
    if bits > 1:
        fraction = named(m, (((ratio - one).as_unsigned()[:width + 1] << bits) // (3 * one))[:bits], "fraction")
        sticky = C(0, 1)  # stochastic rounding of a magnitude cuts the fraction
    else:
        half = named(m, ratio * 2 >= 5 * one, "half")
        fraction = half if bits else C(0, 0)
        sticky = (ratio != one) & (ratio * 2 != 5 * one) if bits else ratio != one
    field = twice[1:]
    return Aligned(
        number=number, beyond=C(0, 1), addend=C(0, 0), zero_is_zero=False, fraction=fraction,
        lower=field.as_signed() if twice.shape().signed else field, sticky=named(m, sticky, "sticky"))
