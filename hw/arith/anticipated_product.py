"""A product of floats whose way to the grid of the result is known before the product is.

Where subnormal numbers are not normalised, their product has as many leading zeros as the operands together, or one
more. Counted in the operands, beside the product rather than behind it, they leave nothing to wait for but one bit.
"""

from functools import partial

from amaranth.hdl import *

from hw.arith.integer_product import multiply_integers
from hw.arith.number_product import multiply
from hw.convert.align import Aligned, float_scale
from hw.convert.decode import has_leading_zeros
from hw.convert.number import named
from hw.convert.round import fraction_bits_needed
from hw.pipeline import delay
from sw.formats import FloatingPointFormat, Subnormals

__all__ = ["align_product", "suits_anticipation"]


def suits_anticipation(a, b, result):
    """Whether :func:`align_product` can multiply numbers of two formats, and differs from what else does.

    Parameters
    ----------
    a, b, result : FloatingPointFormat, FixedPointFormat or PositFormat
    """
    return (all(isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 for fmt in (a, b, result))
            and any(map(has_leading_zeros, (a, b))))


def align_product(m, model, a, b, cycles, *, hard_multiplier=False, platform=None):
    """Return the product of two floats on the grid of the result.

    Parameters
    ----------
    m : Module
    model : sw.reference.Multiplication
        Of formats that :func:`suits_anticipation`.
    a, b : Number
        Operands, not normalised.
    cycles : mapping of str to int
        Registers after ``"product"``.
    hard_multiplier : bool
        Whether the product of the magnitudes is left to the synthesizer.
    platform : object, optional
        For the form of the product that suits its family: see :func:`hw.arith.integer_product.multiply_integers`.

    Returns
    -------
    Aligned
    """
    fmt, bits = model.result, fraction_bits_needed(model.rounding, model.random_bits)
    ones, most = _leading_one(m, a, b, fmt)
    # `base` is the result's exponent field less two if the top bit of the product is set where the operands' leading
    # ones say, less one if it is the bit below. The exponents' sum is that of a product that begins with its top bit,
    # less `most`: below zero, its inverted bits say how far the grid of subnormal results is.
    number = multiply(m, a, b, fmt, hard_multiplier, scale_for=lambda width, fmt: float_scale(width, fmt) + most,
                      multiply_magnitudes=partial(multiply_integers, platform=platform, balanced=True))
    lowest, highest = number.min_exponent, number.max_exponent + most
    shape = Shape.cast(range(lowest, highest + 1))
    base = named(m, (number.exponent + ones)[:shape.width], "base")
    may_be_subnormal = fmt.subnormals is Subnormals.SUPPORTED and lowest < 0
    subnormal, amount = C(0, 1), ones
    if may_be_subnormal:
        subnormal = base[-1]
        farthest = max(most, min(most + fmt.fraction_bits + bits + 1, ~lowest))
        amount = _places(m, number.exponent, ones, subnormal, farthest)
    base, subnormal, amount = (delay(m, value, cycles["product"], name=name) for value, name in (
        (base, "base"), (subnormal, "subnormal"), (amount, "places")))
    number = number.delayed(m, cycles["product"])
    magnitude = number.magnitude
    if may_be_subnormal and not number.zero_has_zero_magnitude:
        magnitude = named(m, Mux(number.zero, 0, magnitude), "masked_magnitude")
    shifted, lost = _shifted(m, magnitude, amount, most, fmt.fraction_bits + 2 + bits)
    top = shifted[-1]
    stays = named(m, subnormal | top, "stays")
    kept = named(m, Mux(stays, shifted[1:], shifted[:-1]), "kept")
    sticky = named(m, lost | (stays & shifted[0]), "sticky")
    field, addend = base.as_signed() if shape.signed else base, Cat(~top, top)
    if may_be_subnormal:
        field = base[:-1] & (~(subnormal | number.zero)).replicate(len(base) - 1)
        addend = Mux(subnormal | number.zero, top, addend)
    lower = Cat(kept[bits:-1], field)
    return Aligned(
        number=number, beyond=C(0, 1), lower=lower.as_signed() if field.shape().signed else lower,
        fraction=kept[:bits], sticky=sticky, zero_is_zero=may_be_subnormal, addend=named(m, addend, "addend"))


def _leading_one(m, a, b, fmt):
    """Return the sum of the places of the operands' leading ones, counted up from the lowest possible ones, and its
    largest value."""
    width = max(a.magnitude_bits, b.magnitude_bits)
    offset = a.scale + b.scale - float_scale((a.max_magnitude * b.max_magnitude).bit_length(), fmt)
    if a.leading_zeros and b.leading_zeros and fmt.subnormals is Subnormals.SUPPORTED and (
            a.min_exponent + b.min_exponent + offset < 0):
        # If both are subnormal, so is the result, which takes no notice of what is counted: one count will do.
        longer, shorter = (Cat(C(0, width - number.magnitude_bits), number.magnitude) for number in (a, b))
        magnitude = named(m, Mux(longer[-1], shorter, longer), "subnormal_magnitude")
        places = max(a.leading_zeros, b.leading_zeros)
        return _highest_one(m, magnitude[width - 1 - places:], "leading_one"), places
    places = [
        _highest_one(m, number.magnitude[number.magnitude_bits - 1 - number.leading_zeros:], f"{name}_leading_one")
        for number, name in ((a, "a"), (b, "b")) if number.leading_zeros]
    return named(m, sum(places[1:], places[0]), "leading_ones"), a.leading_zeros + b.leading_zeros


def _highest_one(m, value, name):
    """Return the index of the highest bit that is set, half by half; 0 if there is none."""
    index = []
    for level in reversed(range((len(value) - 1).bit_length())):
        step = 1 << level
        if len(value) <= step:
            continue
        upper = named(m, value[step:].any(), f"{name}_{step}")
        value = named(m, Mux(upper, value[step:], value[:step]), f"{name}_in_{step}")
        index.append(upper)
    return Cat(reversed(index))


def _places(m, exponent, ones, subnormal, largest):
    """Return how far to shift the product to the right from where the lowest leading one would have it."""
    levels = largest.bit_length()
    to_grid = ~Cat(exponent, exponent[-1].replicate(levels))[:levels]
    # Farther than so many levels tell, nothing but zeros and a sticky bit is left.
    far = named(m, ~exponent[levels:-1].all(), "far") if len(exponent) > levels + 1 else C(0, 1)
    ones = Cat(ones, C(0, levels))[:levels]
    return named(m, Mux(subnormal, to_grid | far.replicate(len(to_grid)), ones), "places")


def _shifted(m, product, places, most, kept):
    """Return the product shifted right, its top ``kept`` bits, and whether anything else is set."""
    value = Cat(C(0, most + max(0, kept - len(product))), product)
    below = max(0, len(product) - kept)
    value, lost = value[below:], value[:below].any()
    for level in reversed(range(len(places))):  # the longest way first: what it drops is lost early
        step, chosen = 1 << level, places[level]
        lost = named(m, lost | (chosen & value[:step].any()), f"grid_lost_{step}")
        value = named(m, Mux(chosen, value[step:], value)[:kept + step - 1], f"grid_by_{step}")
    return value, lost
