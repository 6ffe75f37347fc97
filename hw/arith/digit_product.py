"""The exact product of two floats whose significands have two bits, in gates alone: the formats of 4 bits."""

from amaranth.hdl import *

from hw.convert.number import named
from sw.formats import FloatingPointFormat, Subnormals

__all__ = ["multiply_shifted_digits", "suits_shifted_digits"]

MOST_PLACES = 2
"""Between the lowest exponent of an operand and the highest one."""


def suits_shifted_digits(fmt):
    """Whether :func:`multiply_shifted_digits` can multiply numbers of a format.

    Parameters
    ----------
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    """
    if not isinstance(fmt, FloatingPointFormat) or fmt.radix != 2 or fmt.fraction_bits != 1:
        return False
    lowest = 0 if fmt.subnormals is Subnormals.ABSENT else 1
    return (fmt.max_code >> 1) - lowest <= MOST_PLACES


def multiply_shifted_digits(m, x, y, sign, name):
    """Return the exact product of two numbers as a two's complement integer, without a carry chain.

    The product of the significands is inverted where there is a one below, by gates that look at both operands rather
    than at each other. Its places are shifted by one where the places of one operand alone are odd, then by two or by
    four, which are never both.

    LUTs and MHz of float4_e2m1fn on iCE40, 33 at 218, and on ECP5 without wide LUTs, 35 at 207, where
    :attr:`hw.arith.exact_structure.ExactStructure.GATE_EXPONENTS` takes 34 at 149, and 30 at 152.

    Parameters
    ----------
    m : Module
    x, y : Number
        Of formats that :func:`suits_shifted_digits`, with a magnitude of zero where they are zero.
    sign : Value, 1 bit
        Of the product.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Value, signed, 9 bits
        In units of the product of the operands' lowest units.
    """
    one, two, four = _places(m, x, y, name)
    digits = _signed_digits(m, x.magnitude, y.magnitude, sign, name)
    moved = [named(m, Mux(one, _place(digits, place - 1), _place(digits, place)), f"{name}_by_one_{place}")
             for place in range(len(digits) + 1)]
    negative, bits = digits[-1], []
    for place in range(len(digits) + 3):
        if place < 4:
            bits.append(Mux(two, _place(moved, place - 2), _place(moved, place) & ~four))
        else:
            bits.append(Mux(two, _place(moved, place - 2), Mux(four, _place(digits, place - 4), _place(moved, place))))
    return named(m, Cat(*bits, negative).as_signed(), f"{name}_shifted")


def _places(m, x, y, name):
    """Return whether the product is shifted by one place, by two, and by four; three are one and two."""
    (x_once, x_twice), (y_once, y_twice) = (
        [named(m, number.exponent == number.min_exponent + count, f"{name}_{operand}_by_{count}") for count in (1, 2)]
        for number, operand in ((x, "x"), (y, "y")))
    return (named(m, x_once ^ y_once, f"{name}_one"), named(m, (x_twice ^ y_twice) | (x_once & y_once), f"{name}_two"),
            named(m, x_twice & y_twice, f"{name}_four"))


def _signed_digits(m, x, y, sign, name):
    """Return the five bits of the signed product of two significands."""
    lowest = x[0] & y[0]
    second = (x[1] & y[0]) ^ (x[0] & y[1])
    third = x[1] & y[1] & ~lowest
    below_third = (x[0] & (y[0] | y[1])) | (x[1] & y[0])
    negative = named(m, sign & x.any() & y.any(), f"{name}_negative")  # zero has no sign
    bits = (lowest, second ^ (sign & lowest), third ^ (sign & below_third), negative ^ (x.all() & y.all()))
    return [*(named(m, bit, f"{name}_digit_{place}") for place, bit in enumerate(bits)), negative]


def _place(bits, place):
    """Return one place of a two's complement integer, which goes on above and below."""
    return C(0, 1) if place < 0 else bits[min(place, len(bits) - 1)]
