"""The sum of a product and a float, brought straight to the grid of the float's format."""

from amaranth.hdl import *

from hw.arith.number_product import add_constant
from hw.convert.align import Aligned
from hw.convert.encode import encode, round_aligned
from hw.convert.number import Number, named
from hw.convert.round import fraction_bits_needed, shift_right
from hw.pipeline import delay
from sw.formats import FloatingPointFormat, RoundingMode, Subnormals

__all__ = ["add_to_product", "code_of_sum", "suits_steps"]


def suits_steps(summand, result):
    """Whether :func:`add_to_product` can add a number of one format for a result of another.

    Parameters
    ----------
    summand, result : FloatingPointFormat, FixedPointFormat or PositFormat
    """
    # No magnitude is then shifted to the right of where the summand has its least exponent.
    return (all(isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.fraction_bits > 0
                and fmt.subnormals is Subnormals.SUPPORTED for fmt in (summand, result))
            and summand.bias == result.bias)


def code_of_sum(m, product, summand, model, random, cycles):
    """Return the code of the sum of a product and a number: added, aligned to the result's grid, rounded, encoded.

    Parameters
    ----------
    m : Module
    product, summand : Number
        As :func:`add_to_product` has them.
    model : sw.reference.model.Function
        Its ``result``, ``rounding``, ``overflow`` and ``random_bits``.
    random : Value or None
        The random bits of a stochastic rounding, in the cycle of the sum.
    cycles : mapping of str to int
        Registers before (``"operands"``) and after the ``"sum"``, after ``"align"`` and ``"round"``, and at the
        ``"output"``.

    Returns
    -------
    Value, ``model.result.width`` bits
    """
    bits = fraction_bits_needed(model.rounding, model.random_bits)
    aligned = add_to_product(m, product, summand, model.result, model.rounding, bits, cycles)
    aligned = aligned.delayed(m, cycles["align"])
    random = None if random is None else delay(m, random, cycles["align"], name="random_aligned")
    rounded = round_aligned(m, aligned, model.result, model.rounding, random).delayed(m, cycles["round"])
    return delay(m, encode(m, rounded, model.result, model.rounding, model.overflow), cycles["output"], name="code")


def add_to_product(m, product, summand, fmt, rounding, bits, cycles):
    """Return the sum of a product and a number, aligned to the grid of a float, by IEEE 754's rules for the rest.

    One subtraction of the exponents orders the two: the difference less one tells by its sign which is the higher, and
    both it and its inverse are amounts to shift by, the summand's by one place less. What falls off the end is jammed
    into the lowest bit (as in :func:`hw.arith.number_sum.add_numbers`). A difference of the wrong sign is that of one
    less, inverted: a second adder makes it meanwhile, so that none has to wait for the first one's sign. The sum is
    shifted to the left by powers of two, each as far as leading zeros and the exponent allow.

    Parameters
    ----------
    m : Module
    product : Number
    summand : Number
        Decoded without normalisation; its format and ``fmt`` are such that :func:`suits_steps`.
    fmt : FloatingPointFormat
        Format of the result.
    rounding : RoundingMode
    bits : int
        How many bits of the fraction the rounding mode looks at (:func:`hw.convert.round.fraction_bits_needed`).
    cycles : mapping of str to int
        Registers before (``"operands"``) and after the ``"sum"``.

    Returns
    -------
    Aligned
    """
    zeros = product.leading_zeros
    width = max(product.magnitude_bits + 1, summand.magnitude_bits + zeros + 1, fmt.fraction_bits + bits + 3 + zeros)
    product_top, product_range = _top(m, product, fmt, "product")
    summand_top, summand_range = _top(m, summand, fmt, "summand")
    lowest, highest = product_range[0] - summand_range[-1] - 1, product_range[-1] - summand_range[0] - 1
    difference = Signal(Shape.cast(range(min(-1, lowest), highest + 1)), name="difference")
    m.d.comb += difference.eq(product_top + ~Cat(summand_top, C(0, 1)).as_signed())
    later = difference[-1]                               # the summand's exponent is the higher one, or the same
    swap = named(m, later | product.zero, "swap")
    second, sticky = _aligned(m, product, summand, difference, width, farthest=max(highest, ~lowest))
    product_in_frame, summand_in_frame = (_in_frame(number, width) for number in (product, summand))
    first = Mux(swap, summand_in_frame, product_in_frame)
    top = Mux(swap, summand_top, product_top)[:max(product_range[-1], summand_range[-1]).bit_length()]
    subtract, infinity = product.sign ^ summand.sign, product.infinity | summand.infinity
    nan = product.nan | summand.nan | (product.infinity & summand.infinity & subtract)
    sign = Mux(summand.infinity | (swap & ~product.infinity), summand.sign, product.sign)
    first, second, sticky, top, subtract, infinity, nan, sign = (
        delay(m, named(m, value, name), cycles["operands"], name=name) for value, name in (
            (first, "first"), (second, "second"), (sticky, "sticky"), (top, "first_top"), (subtract, "subtract"),
            (infinity, "infinity"), (nan, "nan"), (sign, "first_sign")))
    magnitude, negative = _combine(m, first, second, sticky, subtract)
    zero = named(m, ~magnitude.any() & ~infinity, "zero")
    # The only zero sums of two signs are x - x and the sum of two zeros.
    cancelled, sign = zero & subtract, sign ^ (negative & ~infinity)
    sign = named(m, sign | cancelled if rounding is RoundingMode.DOWN else sign & ~cancelled, "sign")
    magnitude, top, *flags = (delay(m, value, cycles["sum"], name=name) for value, name in (
        (magnitude, "magnitude"), (top, "first_top"), (sign, "sign"), (zero, "zero"), (infinity, "infinity"),
        (nan, "nan")))
    return _on_grid(m, magnitude, top, flags, fmt, bits)


def _top(m, number, fmt, name):
    """Return the exponent field that a number with its top bit in the place above has in a format, and its range."""
    offset = number.scale + number.magnitude_bits + int(fmt.bias) - 1
    top = named(m, add_constant(m, number.exponent, offset, f"{name}_exponent_top"), f"{name}_top")
    return top, range(number.min_exponent + offset, number.max_exponent + offset + 1)


def _in_frame(number, width):
    """Return a magnitude with its top bit at the top of ``width`` bits."""
    return Cat(C(0, width - number.magnitude_bits), number.magnitude[:number.magnitude_bits])


def _aligned(m, product, summand, difference, width, *, farthest):
    """Return the number of the lower exponent, shifted to the other's, and whether anything was lost.

    A product of zero has no exponent to go by. The summand then comes first, and nothing second.
    """
    later = difference[-1]
    levels = min((width - 1).bit_length(), len(difference) - 1)
    distance = named(m, difference[:-1] ^ later.replicate(len(difference) - 1), "distance")
    far = named(m, distance[levels:].any(), "far") if len(distance) > levels else C(0, 1)
    product_second = named(m, later & ~far & ~product.zero, "product_second")
    summand_second = named(m, ~later & ~far & ~product.zero, "summand_second")
    nearer = Cat(_in_frame(summand, width)[1:], C(0, 1))
    second = named(m, (_in_frame(product, width) & product_second.replicate(width))
                   | (nearer & summand_second.replicate(width)), "second")
    shifted, lost = shift_right(m, second, distance[:levels], largest=min((1 << levels) - 1, farthest), name="aligned")
    return shifted, lost | (far & ~product.zero & (later | ~summand.zero))


def _combine(m, first, second, sticky, subtract):
    """Return the sum or the magnitude of the difference, and whether that was negative."""
    width = len(first)
    second = Cat(second[0] | sticky, second[1:])
    second = named(m, second ^ subtract.replicate(width), "second_inverted")
    total = named(m, (first + second + subtract)[:width + 1], "total")
    less_one = named(m, (first + second)[:width], "total_less_one")
    negative = named(m, subtract & ~total[width], "negative")
    magnitude = Mux(negative, ~less_one, total[:width])[:width]
    return named(m, Cat(magnitude, total[width] & ~subtract), "magnitude"), negative


def _on_grid(m, magnitude, top, flags, fmt, bits):
    """Shift to the left until the top bit is set, but by no more than ``top``, which leads to the least exponent."""
    width = len(magnitude)
    levels = (width - 1).bit_length()
    # Once there is more left than the steps to come could use up, the exponent holds none of them up.
    ample, taken = top[levels:].any() if len(top) > levels else C(0, 1), []
    for level in reversed(range(levels)):
        step, allowed = 1 << level, top[level] if level < len(top) else C(0, 1)
        steps = named(m, ~magnitude[width - step:].any() & (ample | allowed), f"steps_{step}")
        ample = named(m, ample | (allowed & ~steps), f"ample_{step}")
        magnitude = named(m, Mux(steps, magnitude << step, magnitude)[:width], f"normalised_by_{step}")
        taken.insert(0, steps)
    field, point = named(m, (top - Cat(*taken))[:len(top)], "field"), width - 1 - fmt.fraction_bits
    sign, zero, infinity, nan = flags
    number = Number(sign=sign, zero=zero, infinity=infinity, nan=nan, magnitude=C(0, 1), exponent=C(0, 1), scale=0,
                    min_magnitude=1, max_magnitude=1, min_exponent=0, max_exponent=0, zero_has_zero_magnitude=True)
    return Aligned(number=number, lower=Cat(magnitude[point:-1], field), fraction=magnitude[point - bits:point],
                   sticky=named(m, magnitude[:point - bits].any(), "sticky_of_sum"), beyond=C(0, 1),
                   addend=magnitude[-1], zero_is_zero=False)
