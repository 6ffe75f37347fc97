"""The exact dot product of two blocks: a sum of their elements' products, and the product of their scales."""

from dataclasses import dataclass, replace
from functools import partial

from amaranth.hdl import *

from hw.arith.exact_product import Flags, may_be_special
from hw.arith.integer_product import multiply_integers
from hw.arith.number_product import multiply
from hw.convert.decode import decode
from hw.convert.number import Number, named
from hw.dot.dot_product import sum_products
from hw.pipeline import delay
from sw.reference.accumulator_width import product_grid
from sw.reference.block import BlockDot

__all__ = ["ScaledSum", "sum_blocks"]


@dataclass(frozen=True, kw_only=True)
class ScaledSum:
    """The number ``total * 2**exponent * scale``, or what the flags of the sum and of the scale say instead.

    Parameters
    ----------
    dot : sw.reference.block.BlockDot
        The formats; result and rounding do not matter here.
    total : Value, signed
        Sum of the products of the elements.
    terms : Flags
        Of these products.
    scale : Number
        The product of the scales; NaN and zero are flags of it, and infinity is not among its values.
    """

    dot: BlockDot
    total: Value
    terms: Flags
    scale: Number

    @property
    def exponent(self):
        """The sum counts in units of 2 to this power."""
        return product_grid(self.dot.a.element, self.dot.b.element).exponent

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return replace(self, total=delay(m, self.total, cycles, name="sum"), terms=self.terms.delayed(m, cycles),
                       scale=self.scale.delayed(m, cycles))

    def times_significand(self, m, *, hard_multiplier, platform=None):
        """Return the sum times the magnitude of the scale: what its power of two alone is still to be applied to."""
        if self.scale.max_magnitude == 1:
            return self.total
        return multiply_integers(m, self.total, Cat(self.scale.magnitude, C(0, 1)).as_signed(),
                                 hard_multiplier=hard_multiplier, platform=platform, name="scaled")

    def flags(self, m):
        """Return the flags of the whole: the scale's NaN, its sign and its zero taken into account."""
        terms, scale = self.terms, self.scale
        scale_nan = scale.nan if any(may_be_special(fmt.scale) for fmt in (self.dot.a, self.dot.b)) else C(0, 1)
        infinite = not isinstance(terms.above, Const)
        above, below = (Mux(scale.sign, terms.below, terms.above), Mux(scale.sign, terms.above, terms.below)
                        ) if infinite else (C(0, 1), C(0, 1))
        nan = named(m, terms.nan | scale_nan | ((terms.above | terms.below) & scale.zero), "nan")
        special = not isinstance(terms.nan, Const) or not isinstance(scale_nan, Const)
        return Flags(nan=nan if special else C(0, 1), above=above, below=below)


def sum_blocks(m, dot, i, *, product_cycles, hard_multiplier, platform=None):
    """Return the exact dot product of two blocks.

    Parameters
    ----------
    m : Module
    dot : sw.reference.block.BlockDot
        The formats.
    i : object with attributes ``a``, ``b``, ``a_scale`` and ``b_scale``
        The codes.
    product_cycles : int
        Registers behind each product of elements; as many delay the scales.
    hard_multiplier : bool
        Whether the products of the magnitudes are left to the synthesizer.
    platform : object, optional
        As :func:`hw.arith.exact_product.multiply_codes` has it.

    Returns
    -------
    ScaledSum
    """
    total, terms = sum_products(m, dot.a.element, i.a, dot.b.element, i.b, product_cycles=product_cycles,
                                hard_multiplier=hard_multiplier, platform=platform)
    a = decode(m, dot.a.scale, i.a_scale, normalised=False, name="a_scale")
    b = decode(m, dot.b.scale, i.b_scale, normalised=False, name="b_scale")
    scale = multiply(m, a, b, None, hard_multiplier,
                     multiply_magnitudes=partial(multiply_integers, platform=platform))
    return ScaledSum(dot=dot, total=total, terms=terms, scale=scale.delayed(m, product_cycles))
