"""The exact product of two codes, on its way into an exact sum."""

from dataclasses import dataclass, replace
from functools import partial

from amaranth.hdl import *

from hw.arith.digit_product import multiply_shifted_digits
from hw.arith.exact_structure import ExactStructure
from hw.arith.gated_rows import gates_sums
from hw.arith.integer_product import (
    multiply_digit,
    multiply_digits,
    multiply_integers,
    multiply_looked_up,
    multiply_pair,
)
from hw.arith.number_product import multiply
from hw.convert.decode import decode, unpack_float
from hw.convert.grid import Addend, place_on_grid, place_signed_on_grid, with_zero_magnitude
from hw.convert.number import Number, named
from hw.pipeline import delay
from sw.formats import FixedPointFormat, PositFormat

__all__ = ["NO_FLAGS", "ExactProduct", "Flags", "decode_registered", "may_be_special", "multiply_codes",
           "multiply_vectors"]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What a sum remembers of its terms that are no finite numbers; ``Const(0)`` where the case does not arise.

    Parameters
    ----------
    nan, above, below : Value, 1 bit
        Whether there is a NaN, the positive infinity, the negative infinity.
    """

    nan: Value
    above: Value
    below: Value

    @classmethod
    def of(cls, m, number, name):
        """Return the flags of a number."""
        return cls(nan=number.nan, above=_and(m, number.infinity, ~number.sign, f"{name}_above"),
                   below=_and(m, number.infinity, number.sign, f"{name}_below"))

    def __or__(self, other):
        return Flags(nan=_or(self.nan, other.nan), above=_or(self.above, other.above),
                     below=_or(self.below, other.below))

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return Flags(**{name: delay(m, getattr(self, name), cycles, name=name) for name in ("nan", "above", "below")})

    @property
    def bits(self):
        """The flags that may be up, as one value."""
        return Cat(*(flag for flag in (self.nan, self.above, self.below) if not isinstance(flag, Const)))


NO_FLAGS = Flags(nan=C(0, 1), above=C(0, 1), below=C(0, 1))
"""Those of numbers that are all finite."""


def _or(x, y):
    return y if isinstance(x, Const) else x if isinstance(y, Const) else x | y


def _and(m, x, y, name):
    return x if isinstance(x, Const) else named(m, x & y, name)


def may_be_special(fmt):
    """Whether a format has codes that are no finite numbers."""
    return fmt.nan_code is not None or fmt.has_infinity


@dataclass(frozen=True, kw_only=True)
class ExactProduct:
    """A product before it is placed on the grid of a sum.

    Parameters
    ----------
    number : Number or None
        The product of numbers with exponents; its zero has a magnitude of zero.
    integer : Value, signed, or None
        The product of two fixed-point codes instead.
    exponent : int
        The integer counts in units of 2 to this power.
    flags : Flags
    structure : ExactStructure
    """

    number: Number | None
    integer: Value | None
    exponent: int
    flags: Flags
    structure: ExactStructure

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return replace(
            self, number=None if self.number is None else self.number.delayed(m, cycles),
            integer=None if self.integer is None else delay(m, self.integer, cycles, name="product"),
            flags=self.flags.delayed(m, cycles))

    def signed_integer(self, m, *, exponent, width, name):
        """Place the product on the grid of a sum as one integer, without a carry to be added."""
        if self.integer is not None:
            return self.integer << self.exponent - exponent
        return place_signed_on_grid(m, self.number, exponent=exponent, width=width, name=name,
                                    chain=not self.structure.early,
                                    by_multiplexers=self.structure is ExactStructure.SELECT_BLOCKS)

    def addend(self, m, *, exponent, width, name, registered=None):
        """Place the product on the grid of a sum, with a register or without: see
        :func:`hw.convert.grid.place_on_grid`."""
        if self.integer is not None:
            product = self if registered is None else self.delayed(m, 1)
            return Addend(value=product.signed_integer(m, exponent=exponent, width=width, name=name), carry=C(0, 1))
        return place_on_grid(m, self.number, exponent=exponent, width=width, name=name,
                             early=self.structure.early, registered=registered)


def decode_registered(m, fmt, code, cycles, name):
    """Unpack a code as :func:`hw.convert.decode.decode` does without normalising, by way of registers.

    They stand behind the decoding of a posit, which takes long, and in front of that of another format, which is wider
    behind it.

    Parameters
    ----------
    m : Module
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    code : Value
    cycles : int
        Registers.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Number
    """
    if not isinstance(fmt, PositFormat):
        return decode(m, fmt, delay(m, code, cycles, name=name), normalised=False, name=name)
    number = decode(m, fmt, code, normalised=False, name=name)
    fraction = delay(m, number.magnitude[:-1], cycles, name=f"{name}_fraction")
    return replace(number.delayed(m, cycles), magnitude=Cat(fraction, C(1, 1)))


def multiply_codes(m, a_format, a, b_format, b, *, hard_multiplier, name, structure=ExactStructure.INVERT_LATE,
                   platform=None, cycles=0):
    """Return the exact product of two codes.

    Parameters
    ----------
    m : Module
    a_format, b_format : FloatingPointFormat, FixedPointFormat or PositFormat
    a, b : Value
    hard_multiplier : bool
        Whether the product of the magnitudes is left to the synthesizer.
    name : str
        Prefix of the signals' names.
    structure : ExactStructure
        Of no effect on products of fixed point.
    platform : object, optional
        For the form of the product that suits its family: see :func:`hw.arith.integer_product.multiply_integers`.
    cycles : int
        Registers of the operands: see :func:`decode_registered`.

    Returns
    -------
    ExactProduct
    """
    if isinstance(a_format, FixedPointFormat) and isinstance(b_format, FixedPointFormat):
        x, y = (_integer(fmt, delay(m, code, cycles, name=f"{name}_{operand}"))
                for fmt, code, operand in ((a_format, a, "a"), (b_format, b, "b")))
        return _fixed_product(a_format, b_format, structure, multiply_integers(
            m, x, y, hard_multiplier=hard_multiplier, platform=platform, name=f"{name}_product"))
    x, y = (decode_registered(m, fmt, code, cycles, f"{name}_{operand}")
            for fmt, code, operand in ((a_format, a, "a"), (b_format, b, "b")))
    product = multiply(m, x, y, None, hard_multiplier, multiply_magnitudes=(
        partial(multiply_integers, platform=platform) if hard_multiplier else _product_of(structure, x, y, platform)))
    if structure is ExactStructure.GATE_EXPONENTS:
        product = replace(product, exponent=_add_in_gates(
            m, x.exponent, y.exponent, product.exponent.shape(), f"{name}_exponent"))
    flags = NO_FLAGS
    if may_be_special(a_format) or may_be_special(b_format):
        infinite = a_format.has_infinity or b_format.has_infinity
        infinity = named(m, product.infinity & ~product.nan, f"{name}_infinite") if infinite else C(0, 1)
        flags = Flags.of(m, replace(product, infinity=infinity), name)
    if structure is ExactStructure.SHIFTED_DIGITS and not hard_multiplier:
        x, y = (with_zero_magnitude(m, unpack_float(m, fmt, delay(m, code, cycles, name=operand), f"{name}_{operand}"),
                                    f"{name}_{operand}")
                for fmt, code, operand in ((a_format, a, "a"), (b_format, b, "b")))
        return ExactProduct(
            number=None, integer=multiply_shifted_digits(m, y, x, product.sign, name), flags=flags,
            exponent=x.scale + y.scale + x.min_exponent + y.min_exponent, structure=structure)
    number = replace(with_zero_magnitude(m, product, name), zero=C(0, 1), infinity=C(0, 1), nan=C(0, 1))
    return ExactProduct(number=number, integer=None, exponent=0, flags=flags, structure=structure)


def multiply_vectors(m, a_format, a, b_format, b, *, hard_multiplier, structure=ExactStructure.INVERT_LATE,
                     platform=None, cycles=0):
    """Return exact products whose sum is the dot product of two vectors of codes, one a lane, or one for two lanes.

    Parameters
    ----------
    a, b : sequence of Value
        As many codes each.
    m, a_format, b_format, hard_multiplier, structure, platform, cycles
        As :func:`multiply_codes` has them.

    Returns
    -------
    list of ExactProduct
    """
    products, single = [], 0
    if structure is ExactStructure.PAIRS and not hard_multiplier:
        single = len(a) & ~1
        wide, narrow = ((a_format, a), (b_format, b))[::1 if a_format.width >= b_format.width else -1]
        for lane in range(0, single, 2):
            multiplicands, multipliers = (
                [_integer(fmt, delay(m, code, cycles, name=f"lanes_{lane}")) for code in codes[lane:lane + 2]]
                for fmt, codes in (wide, narrow))
            products.append(_fixed_product(a_format, b_format, structure, multiply_pair(
                m, multiplicands, multipliers, platform=platform, name=f"lanes_{lane}_product")))
    return products + [
        multiply_codes(m, a_format, a[lane], b_format, b[lane], hard_multiplier=hard_multiplier, name=f"lane_{lane}",
                       structure=structure, platform=platform, cycles=cycles) for lane in range(single, len(a))]


def _integer(fmt, code):
    return code.as_signed() if fmt.signed else code


def _fixed_product(a_format, b_format, structure, product):
    """The product of fixed-point codes, or the sum of two of them."""
    integer = product if product.shape().signed else Cat(product, C(0, 1)).as_signed()
    return ExactProduct(number=None, integer=integer, exponent=-a_format.fraction_bits - b_format.fraction_bits,
                        flags=NO_FLAGS, structure=structure)


def _add_in_gates(m, a, b, shape, name):
    """Return the sum of two exponents, which has this shape."""
    bits, carry = [], C(0, 1)
    for index in range(shape.width):
        x, y = (value[index] if index < len(value) else value[-1] if value.shape().signed else C(0, 1)
                for value in (a, b))
        bits.append(x ^ y ^ carry)
        carry = (x & y) | (carry & (x | y))
    total = named(m, Cat(*bits), name)
    return total.as_signed() if shape.signed else total


def _product_of(structure, x, y, platform):
    """Return the function that multiplies the magnitudes of two numbers, which may have leading zeros."""
    widths = {len(x.magnitude), len(y.magnitude)}
    if structure is ExactStructure.TABLES:
        product = multiply_looked_up
    elif structure is ExactStructure.DIGITS:
        product = multiply_digit
    elif (structure.early and widths == {4} and x.leading_zeros and y.leading_zeros
          and not gates_sums(platform)):
        product = multiply_digits  # a constant top bit would take gates away from columns, not from digits
    else:
        return partial(multiply_integers, platform=platform)
    return lambda m, a, b, *, hard_multiplier: product(m, a, b)
