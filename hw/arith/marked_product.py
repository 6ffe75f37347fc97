"""A product of floats that holds a mark where its leading zeros end at the latest, for the grid of the result.

Where no product lies below the grid of subnormal results, each is shifted left: until its top bit is set, or as far as
the exponents allow. They mark that place in the product; what is counted then is the lesser of the two.
"""

from functools import partial

from amaranth.hdl import *

from hw.arith.integer_product import multiply_integers
from hw.arith.number_product import multiply
from hw.convert.align import Aligned, float_scale
from hw.convert.decode import has_leading_zeros
from hw.convert.number import named
from hw.convert.round import fraction_bits_needed
from sw.formats import FloatingPointFormat, Subnormals

__all__ = ["align_marked", "suits_mark"]


def suits_mark(a, b, result):
    """Whether :func:`align_marked` can multiply numbers of two formats.

    Parameters
    ----------
    a, b, result : FloatingPointFormat, FixedPointFormat or PositFormat
    """
    if not (all(isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 for fmt in (a, b, result))
            and any(map(has_leading_zeros, (a, b))) and result.subnormals is Subnormals.SUPPORTED):
        return False
    width = (((2 << a.fraction_bits) - 1) * ((2 << b.fraction_bits) - 1)).bit_length()
    lowest = sum((fmt.subnormals is not Subnormals.ABSENT) - int(fmt.bias) - fmt.fraction_bits for fmt in (a, b))
    return lowest >= float_scale(width, result) - 1


def align_marked(m, model, a, b, cycles, *, hard_multiplier=False, platform=None):
    """Return the product of two floats on the grid of the result.

    Parameters
    ----------
    m : Module
    model : sw.reference.Multiplication
        Of formats that :func:`suits_mark`.
    a, b, cycles, hard_multiplier, platform
        As :func:`hw.arith.anticipated_product.align_product` has them.

    Returns
    -------
    Aligned
    """
    fmt, bits = model.result, fraction_bits_needed(model.rounding, model.random_bits)
    # The exponent is the result's field less one if the top bit of the product is set: how far there is to shift.
    number = multiply(m, a, b, fmt, hard_multiplier, scale_for=lambda width, fmt: float_scale(width, fmt) - 1,
                      multiply_magnitudes=partial(multiply_integers, platform=platform)).delayed(m, cycles["product"])
    product, exponent = number.magnitude, number.exponent
    if not number.zero_has_zero_magnitude:
        product = named(m, Mux(number.zero, 0, product), "masked_magnitude")
    most = min(number.max_exponent, number.leading_zeros)
    places = C(most, most.bit_length())
    for place in reversed(range(most)):
        marked = named(m, product[-1 - place] | (exponent == place), f"ends_at_{place}")
        places = Mux(marked, place, places)
    places = named(m, places[:most.bit_length()], "places")
    base = named(m, (exponent - places)[:len(exponent)], "base")
    if number.max_exponent > most or not number.zero_has_zero_magnitude:
        base = base & (~number.zero).replicate(len(base))
    shifted = named(m, (product << places)[:len(product)], "shifted")
    padded = Cat(C(0, max(0, fmt.fraction_bits + bits + 1 - len(shifted))), shifted)
    point = len(padded) - 1 - fmt.fraction_bits  # index of the last place
    return Aligned(
        number=number, beyond=C(0, 1), lower=named(m, Cat(padded[point:-1], base), "lower"), addend=padded[-1],
        fraction=padded[point - bits:point], zero_is_zero=True,
        sticky=named(m, padded[:point - bits].any() if point > bits else C(0, 1), "sticky"))
