"""The code of a sum of floats whose subnormal results come out of the count of leading zeros."""

from dataclasses import replace

from amaranth.hdl import *

from hw.arith.truth_table import truth_table
from hw.convert.align import Aligned
from hw.convert.encode import encode, round_aligned
from hw.convert.number import named
from hw.convert.round import fraction_bits_needed
from hw.pipeline import delay
from sw.formats import FloatingPointFormat, Subnormals

__all__ = ["code_of_limited", "suits_limited_count"]


def suits_limited_count(model):
    """Whether :func:`code_of_limited` can end the sum of a reference.

    Parameters
    ----------
    model : sw.reference.Addition
    """
    fmt = model.result
    return (isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.fraction_bits > 0
            and fmt.subnormals is Subnormals.SUPPORTED and model.a == model.b == fmt)


def code_of_limited(m, number, model, random, cycles):
    """Return the code of a sum: what :func:`hw.function.code_of` returns, by a shorter way.

    A sum is shifted to the left by its leading zeros, but by no more places than its exponent allows. A one set where
    the exponent says ends the count there: no comparison chooses between the two, and a normal result and a subnormal
    one are shifted alike. Their exponent fields, the exponent less the count, differ by the one that the leading bit
    adds; the adder of the rounding subtracts the count, less that one, on its way.

    Parameters
    ----------
    m : Module
    number : Number
        From :func:`hw.arith.number_sum.add_numbers`.
    model : sw.reference.Addition
        One that :func:`suits_limited_count`.
    random, cycles
        As :func:`hw.function.code_of` has them.

    Returns
    -------
    Value, ``model.result.width`` bits
    """
    fmt = model.result
    aligned = _align(m, number, fmt, fraction_bits_needed(model.rounding, model.random_bits))
    aligned = aligned.delayed(m, cycles["align"])
    random = None if random is None else delay(m, random, cycles["align"], name="random_aligned")
    rounded = round_aligned(m, aligned, fmt, model.rounding, random)
    # What is subtracted wraps there.
    rounded = replace(rounded, code=rounded.code[:len(aligned.lower)]).delayed(m, cycles["round"])
    return delay(m, encode(m, rounded, fmt, model.rounding, model.overflow), cycles["output"], name="code")


def _align(m, number, fmt, bits):
    """Return the shifted magnitude, above it the exponent, and what the count of leading zeros makes of that."""
    width, most = number.magnitude_bits, number.leading_zeros
    offset = number.scale + width - 2 + int(fmt.bias)
    lowest, highest = number.min_exponent + offset, number.max_exponent + offset
    assert lowest >= 0, "an exponent allows some places or none"
    allowed = named(m, (number.exponent + offset)[:highest.bit_length()], "places_allowed")
    ends = [number.magnitude[width - 1 - zeros] | (allowed == zeros if zeros >= lowest else C(0, 1))
            for zeros in range(most)]
    ends = named(m, Cat(*ends), "count_ends")
    count = C(most, most.bit_length())
    for zeros in range(most - 1, -1, -1):
        count = Mux(ends[zeros], zeros, count)
    count = named(m, count[:most.bit_length()], "count")
    shifted = _shift_left(m, number.magnitude, count, fmt.fraction_bits + 1)
    lost = _below(m, number.magnitude, ends, width - fmt.fraction_bits - 1, bits)
    size = (highest + 1).bit_length() + 1  # rounding may carry beyond
    values = [(index >> len(count)) - (index & (1 << len(count)) - 1) for index in range(2 << len(count))]
    less = truth_table(m, Cat(count, shifted[-1]), values, len(count) + 1, "less_count")
    lower = Cat(shifted[:-1], allowed, C(0, size))[:fmt.fraction_bits + size]
    return Aligned(
        number=number, beyond=C(0, 1), lower=named(m, lower, "lower"), fraction=lost[len(lost) - bits:],
        sticky=named(m, lost[:len(lost) - bits].any(), "sticky"), zero_is_zero=False,
        addend=named(m, Cat(less, less[-1].replicate(size))[:size], "addend"))


def _shift_left(m, magnitude, count, kept):
    """Return the top bits of a magnitude that is shifted to the left."""
    bits = list(magnitude)
    for level, moves in enumerate(count):
        step = 1 << level
        bits = list(named(m, Cat(*(Mux(moves, bits[place - step] if place >= step else C(0, 1), bit)
                                   for place, bit in enumerate(bits))), f"left_by_{step}"))
    return Cat(*bits[-kept:])


def _below(m, magnitude, ends, dropped, bits):
    """Return what the shift leaves below the last place, at least so many bits.

    It is nothing where the count is above two: then the operands were at most one place apart.
    """
    below = C(0, dropped)
    for zeros in range(min(2, len(ends) - 1), -1, -1):
        below = Mux(ends[zeros], (magnitude << zeros)[:dropped], below)
    return named(m, Cat(C(0, max(0, bits - dropped)), below), "below")
