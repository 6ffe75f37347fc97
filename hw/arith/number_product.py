"""The exact product of two numbers."""

from amaranth.hdl import *

from hw.arith.integer_product import multiply_integers
from hw.convert.align import float_scale
from hw.convert.number import Number, named

__all__ = ["add_constant", "multiply", "product_flags"]


def multiply(m, a, b, fmt, hard_multiplier, *, scale_for=float_scale, multiply_magnitudes=multiply_integers):
    """Return the exact product of two numbers, with IEEE 754's rules for special values (754-2019 sections 6, 7.2).

    Parameters
    ----------
    m : Module
    a, b : Number
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
        What the product will be rounded to: the constant that this asks for is added to the exponents here.
    hard_multiplier : bool
        Whether the product of the magnitudes is left to the synthesizer.
    scale_for : callable
        Takes the width of the product and ``fmt``; returns the scale for which what comes next needs no constant in
        its exponent, or None if there is none.
    multiply_magnitudes : callable
        Takes what :func:`hw.arith.integer_product.multiply_integers` does, and returns the same.

    Returns
    -------
    Number
    """
    largest = a.max_magnitude * b.max_magnitude
    bits = largest.bit_length()
    magnitude = named(
        m, multiply_magnitudes(m, a.magnitude, b.magnitude, hard_multiplier=hard_multiplier)[:bits], "magnitude")
    scale = a.scale + b.scale
    wanted = scale_for(bits, fmt)
    offset = 0 if wanted is None else scale - wanted
    exponents = range(a.min_exponent + b.min_exponent + offset, a.max_exponent + b.max_exponent + offset + 1)
    exponent = Signal(Shape.cast(exponents), name="exponent")
    m.d.comb += exponent.eq(add_constant(m, a.exponent, offset, "a_exponent_offset") + b.exponent)
    return Number(
        **product_flags(m, a, b), magnitude=magnitude, exponent=exponent, scale=scale - offset,
        min_magnitude=a.min_magnitude * b.min_magnitude, max_magnitude=largest, min_exponent=exponents.start,
        max_exponent=exponents.stop - 1,
        zero_has_zero_magnitude=a.zero_has_zero_magnitude and b.zero_has_zero_magnitude)


def product_flags(m, a, b):
    """Return sign and flags of the product of two numbers, by the names that they have in a :class:`Number`."""
    zero, infinity = named(m, a.zero | b.zero, "zero"), named(m, a.infinity | b.infinity, "infinity")
    # No number is both, so that where both come, one is an operand's and one the other's.
    return {"sign": named(m, a.sign ^ b.sign, "sign"), "zero": zero, "infinity": infinity,
            "nan": named(m, a.nan | b.nan | (zero & infinity), "nan")}


def add_constant(m, value, constant, name):
    """Return ``value + constant`` in gates, which vanish for the constants that flip a top bit or two."""
    if not constant:
        return value
    if isinstance(value, Const):
        total = value.value + constant
        return C(total, Shape.cast(range(min(0, total), max(0, total) + 1)))
    low, high = (-(1 << len(value) - 1), 1 << len(value) - 1) if value.shape().signed else (0, 1 << len(value))
    shape = Shape.cast(range(min(0, low + constant), high + constant))
    sign = value[-1] if value.shape().signed else C(0, 1)
    bits, carry = [], C(0, 1)
    for position in range(shape.width):
        bit = value[position] if position < len(value) else sign
        if (constant >> position) & 1:
            bits.append(~(bit ^ carry))
            carry = bit | carry
        else:
            bits.append(bit ^ carry)
            carry = bit & carry
    total = named(m, Cat(*bits), name)
    return total.as_signed() if shape.signed else total
