"""The rounded product of two floats, its significand from tables: for few fraction bits, smaller than arithmetic."""

from dataclasses import dataclass, replace
from fractions import Fraction

from amaranth.hdl import *

from hw.arith.gated_tree import suits_tree
from hw.arith.integer_product import MAX_LOOKED_UP, multiply_integers, multiply_looked_up
from hw.arith.number_product import add_constant, product_flags
from hw.arith.truth_table import truth_table
from hw.convert.decode import decode, unpack_float
from hw.convert.encode import Rounded
from hw.convert.number import Number, named
from hw.pipeline import delay
from sw.formats import FloatingPointFormat, RoundingMode, Subnormals, rounds_up

__all__ = ["multiply_rounded", "suits_selection", "suits_tables"]

TABLE_BITS = 6
"""Most fraction bits of both operands together: inputs of the tables."""

MODES = (RoundingMode.NEAREST_EVEN, RoundingMode.NEAREST_AWAY, RoundingMode.NEAREST_ZERO, RoundingMode.TOWARD_ZERO)
"""Rounding modes that do not ask for the sign, and make nothing of what is far below the smallest number."""


def suits_tables(a, b, result, rounding):
    """Whether :func:`multiply_rounded` can multiply numbers of two formats.

    Parameters
    ----------
    a, b, result : FloatingPointFormat, FixedPointFormat or PositFormat
    rounding : RoundingMode
    """
    # Without a fraction bit, ties to even would ask for the exponent.
    return (all(isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 for fmt in (a, b, result))
            and result.fraction_bits > 0 and a.fraction_bits + b.fraction_bits <= TABLE_BITS and rounding in MODES)


def suits_selection(a, b, result, rounding):
    """Whether :func:`multiply_rounded` can select the exponent: the result has room for every bit of the product.

    Parameters
    ----------
    a, b, result : FloatingPointFormat, FixedPointFormat or PositFormat
    rounding : RoundingMode
    """
    return (suits_tables(a, b, result, rounding) and max(a.fraction_bits, b.fraction_bits) < MAX_LOOKED_UP
            and a.fraction_bits + b.fraction_bits < result.fraction_bits)


def multiply_rounded(m, model, a, b, cycles, *, platform=None, selected=False):
    """Return the product of two floats, rounded.

    Let P be the product of the normalised significands, 1 <= P < 4, and x the exponent field that the rounded product
    has in the result's format if that went on below its lowest binade. The exponents' sum gives x, less one where P is
    rounded to 2 or more; this and the fraction come from tables of the operands' fractions. Below 1, x says how many
    places less the result has, and its few low bits are further inputs of the tables.

    Parameters
    ----------
    m : Module
    model : sw.reference.Multiplication
        Of formats and a rounding that :func:`suits_tables`.
    a, b : Value
        Codes of the operands.
    cycles : mapping of str to int
        Registers after ``"unpack"`` and ``"product"``.
    platform : object, optional
        For the form of a product that is not rounded: see :func:`hw.arith.integer_product.multiply_integers`.
    selected : bool
        Whether the exponent is incremented in gates, which wait for nothing but the product's top bit, and this bit
        comes early: for what :func:`suits_selection`.

    Returns
    -------
    Rounded
    """
    fmt, tables = model.result, _Tables(model)
    a, b = (_operand(m, tables, operand, code, name).delayed(m, cycles["unpack"])
            for operand, code, name in ((model.a, a, "a"), (model.b, b, "b")))
    fractions = named(m, Cat(a.fraction, b.fraction), "fractions")
    normal = (tables.selected if selected else tables.normal)(m, platform, a.fraction, b.fraction, fractions)
    field, beyond = _field(m, tables, a, b, normal[-1], in_gates=selected)
    number = replace(a.number, **product_flags(m, a.number, b.number))
    fractions, normal, field, beyond = (delay(m, value, cycles["product"], name=name) for value, name in (
        (fractions, "fractions"), (normal, "normal"), (field, "field"), (beyond, "beyond")))
    number = number.flags_delayed(m, cycles["product"])
    if fmt.subnormals is Subnormals.SUPPORTED and tables.lowest < 1:
        field = field if field.shape().signed else Cat(field, C(0, 1))
        code, masked = tables.with_subnormals(m, fractions, normal[:-1], field, number.zero), True
    elif selected and not field.shape().signed and model.a.subnormals is model.b.subnormals is Subnormals.ABSENT:
        # Zero is the one code without a leading one, and its fraction 0: the lowest places are those of the other one.
        low = fmt.fraction_bits - max(model.a.fraction_bits, model.b.fraction_bits)
        high = Cat(normal[low:-1], field)
        code, masked = Cat(normal[:low], high & (~number.zero).replicate(len(high))), True
    else:
        code, masked = Cat(normal[:-1], field), False
        code = code.as_signed() if field.shape().signed else code
    return Rounded(code=named(m, code, "rounded"), beyond=beyond, zero_is_zero=masked, number=number,
                   compared=selected and tables.highest < tables.highest_of_result)


@dataclass(frozen=True, kw_only=True)
class _Operand:
    """A float with a normalised significand.

    Parameters
    ----------
    fraction : Value
        Of the significand, below its leading one.
    lower : Value, 1 bit
        Whether the exponent is one less than ``number`` has it.
    number : Number
        Flags and exponent.
    """

    fraction: Value
    lower: Value
    number: Number

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return replace(self, number=self.number.delayed(m, cycles),
                       fraction=delay(m, self.fraction, cycles, name="fraction"),
                       lower=delay(m, self.lower, cycles, name="lower"))


def _operand(m, tables, fmt, code, name):
    if not tables.one_subnormal or fmt.subnormals is not Subnormals.SUPPORTED:
        number = decode(m, fmt, code, normalised=True, name=name)
        return _Operand(fraction=number.magnitude[:fmt.fraction_bits], lower=C(0, 1), number=number)
    # The field of a subnormal number is 0, the exponent of 0.1x as of 1.x in a binade below the lowest, 0.01 has one
    # less.
    number = unpack_float(m, fmt, code, name)
    fraction, normal = number.magnitude[:-1], number.magnitude[-1]
    lower = C(0, 1)
    if fmt.fraction_bits == 2:
        lower = named(m, ~normal & ~fraction[1], f"{name}_lower")
        fraction = named(m, Cat(fraction[0] & normal, fraction[1] & (normal | fraction[0])), f"{name}_fraction")
    elif fmt.fraction_bits == 1:
        fraction = named(m, fraction & normal, f"{name}_fraction")
    return _Operand(fraction=fraction, lower=lower, number=replace(number, min_exponent=0))


def _field(m, tables, a, b, increment, *, in_gates):
    """Return the rounded product's exponent field x, signed where it may lie below zero, and whether it overflows.

    It is counted from a power of two below zero, so that it has no sign and, most often, needs no constant.
    """
    base = 1 - tables.constant
    if base < -tables.lowest or (base > 0 and base.bit_count() != 1):
        base = 1 << (-tables.lowest - 1).bit_length() if tables.lowest < 0 else 0
    first = add_constant(m, a.number.exponent, tables.constant + base - 1, "a_exponent_offset")
    second, not_lower = b.number.exponent, named(m, ~(a.lower | b.lower), "not_lower")
    # The place below the lowest one turns `not_lower` into the chain's carry in.
    sum_ = Signal(signed(max(len(first), len(second)) + 3), name="exponent_sum_and_carry")
    total = Signal(Shape.cast(range(tables.highest + base)), name="exponent_sum")
    counted, beyond = Signal(Shape.cast(range(tables.highest + base + 1)), name="counted_field"), C(0, 1)
    if len(counted) > len(total) and (3 << len(total) - 2) - base > tables.highest_of_result:
        # What would need one more bit overflows anyway.
        counted, beyond = Signal(len(total), name="counted_field"), named(m, total[-2:].all(), "beyond")
    m.d.comb += [sum_.eq(_after(first, C(1, 1)) + _after(second, not_lower)), total.eq(sum_[1:]),
                 counted.eq(_incremented(m, total, increment) if in_gates else total + increment)]
    return named(m, add_constant(m, counted, -base, "field"), "field"), beyond


def _incremented(m, total, increment):
    """Return a sum that is one more where ``increment`` is up, which no more than two gates wait for."""
    bits, ones = [], C(1, 1)
    for place, bit in enumerate(total):
        bits.append(bit ^ (ones & increment))
        ones = named(m, ones & bit, f"ones_up_to_{place}")
    return Cat(*bits, ones & increment)


def _after(value, place):
    """Return a value with one more place below it."""
    extended = Cat(place, value)
    return extended.as_signed() if value.shape().signed else extended


class _Tables:
    """What the products of all pairs of significands are rounded to.

    Parameters
    ----------
    model : sw.reference.Multiplication
    """

    def __init__(self, model):
        a, b, self._result = model.a, model.b, model.result
        self._rounding = model.rounding
        self._a_bits, self._b_bits, self._bits = a.fraction_bits, b.fraction_bits, model.result.fraction_bits
        self.constant = int(model.result.bias) - int(a.bias) - int(b.bias)
        """What the sum of the operands' fields lacks to be that of the result."""
        kept = all(fmt.subnormals is not Subnormals.SUPPORTED or fmt.fraction_bits <= 2 for fmt in (a, b))
        self.one_subnormal = kept and self.constant + 1 < -self._bits
        """Whether two subnormal operands make nothing but zero: then the exponent of one of them is corrected."""
        lowest = [self._lowest(fmt) for fmt in (a, b)]
        self.lowest = self.constant + (min(lowest) if self.one_subnormal else sum(lowest))
        """Least rounded exponent field of a product that is not zero."""
        self.highest_of_result = model.result.max_code >> model.result.fraction_bits
        self.highest = self.constant + sum(fmt.max_code >> fmt.fraction_bits for fmt in (a, b)) + 1
        """Greatest rounded exponent field."""
        size = 1 << self._a_bits + self._b_bits
        self._products = [Fraction(((1 << self._a_bits) + (i & (1 << self._a_bits) - 1))
                                   * ((1 << self._b_bits) + (i >> self._a_bits)), size) for i in range(size)]

    def _lowest(self, fmt):
        """Return the least exponent field of an operand, once normalised."""
        if fmt.subnormals is Subnormals.SUPPORTED:
            return -max(0, fmt.fraction_bits - 1)
        return 0 if fmt.subnormals is Subnormals.ABSENT else 1

    def _round(self, magnitude):
        """Return an exact magnitude, in units of the last place, as an integer."""
        lower = int(magnitude)
        return lower + rounds_up(self._rounding, magnitude - lower, odd=bool(lower & 1))

    def _normal(self, product):
        """Return the fraction of a normal result, and above it whether the exponent is one more."""
        one = 1 << self._bits
        code = self._round(product * one) - one
        return code if product < 2 else self._round(product * one / 2)

    def normal(self, m, platform, a, b, fractions):
        """Return the fraction of a normal result, and above it whether the exponent is one more."""
        padding = self._bits - self._a_bits - self._b_bits - 1
        if padding >= 0:  # nothing is rounded
            product = multiply_integers(m, Cat(a, C(1, 1)), Cat(b, C(1, 1)), platform=platform)
            return self._shifted(m, product, product[-1])
        return self._table(m, fractions, [self._normal(product) for product in self._products], self._bits + 1,
                           "normal")

    def selected(self, m, platform, a, b, fractions):
        """Return what :meth:`normal` does for a product that is not rounded, its top bit early.

        Where the adders of the product are gated, a table is faster than they are; elsewhere two smaller tables and
        one adder make the product, whose top bit is as early.
        """
        a, b = Cat(a, C(1, 1)), Cat(b, C(1, 1))
        if not suits_tree(platform):
            product = multiply_looked_up(m, a, b)
            return self._shifted(m, product, product[-1])
        top = self._table(m, fractions, [product >= 2 for product in self._products], 1, "top")
        return self._shifted(m, multiply_integers(m, a, b, platform=platform), top)

    def _shifted(self, m, product, top):
        padding = self._bits - self._a_bits - self._b_bits - 1
        fraction = Mux(top, product[:-1], product[:-1] << 1)[:len(product) - 1]
        return named(m, Cat(C(0, padding), fraction, top), "normal")

    def with_subnormals(self, m, fractions, normal, field, zero):
        """Return the number of the code, 0 for a zero. ``field`` has a sign bit."""
        bits, levels = self._bits, self._bits.bit_length()
        extended = Cat(field, field[-1].replicate(levels + 2 - len(field)) if len(field) < levels + 2 else C(0, 0))
        low, high, negative = extended[:levels], extended[levels:-1], extended[-1]
        values = [self._subnormal(product, -(-x % (1 << levels))) for x in range(1 << levels)
                  for product in self._products]
        is_normal = named(m, ~negative & field[:-1].any() & ~zero, "is_normal")
        flush = named(m, zero | (negative & (~high.all() | ~low.any())), "flush")
        subnormal = self._table(m, Cat(fractions, low), [value % (1 << bits) for value in values], bits, "subnormal")
        fraction = named(m, Mux(is_normal, normal, subnormal & (~flush).replicate(bits)), "fraction")
        # The one way from a subnormal number to the lowest normal one that `normal` does not know of.
        rises = self._table(m, fractions, [value >> bits for value in values[:len(self._products)]], 1, "rises")
        rises = named(m, rises & ~field.any() & ~zero, "rises_to_normal")
        kept = field[:-1] & is_normal.replicate(len(field) - 1)
        return Cat(fraction, kept[0] | rises, kept[1:])

    def _subnormal(self, product, field):
        """Return the number of the code for a product whose rounded exponent field is not above zero."""
        exponent = field - (self._normal(product) >> self._bits)
        return self._round(product * Fraction(2) ** (self._bits + exponent - 1))

    def _table(self, m, inputs, values, width, name):
        """A table whose topmost inputs are the top bits of both fractions, for which the subtables are simplest."""
        a, b = list(range(self._a_bits)), list(range(self._a_bits, self._a_bits + self._b_bits))
        order = []
        while a or b:
            order += [bits.pop(0) for bits in (a, b) if bits and len(bits) >= max(len(a), len(b))]
        order += range(len(order), len(inputs))
        index = [sum((i >> place & 1) << source for place, source in enumerate(order)) for i in range(len(values))]
        return named(m, truth_table(m, Cat(*(inputs[source] for source in order)), [values[i] for i in index], width,
                                    name), f"{name}_table")
