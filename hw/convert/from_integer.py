"""A two's complement integer of any width, rounded once to a code of any format."""

from amaranth.hdl import *

from hw.convert.align import align
from hw.convert.encode import Rounded, encode, exceeds, round_aligned
from hw.convert.integer import encode_integer, round_integer
from hw.convert.number import Number, named
from hw.convert.posit import align_posit, number_of_signed
from hw.convert.round import fraction_bits_needed, rounds_up, stochastic_up
from hw.pipeline import delay
from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, RoundingMode, Special, Subnormals

__all__ = ["first_unlike_sign_up", "normalise", "round_sum", "with_specials"]

_AHEAD = 2
"""Lowest level of a shift to the leading bit that is decided ahead of the levels above it; below, it saves no time."""


def round_sum(m, integer, exponent, cast, *, random, flags, cycles, leading_cycles=0):
    """Return the code of ``integer * 2**exponent``, or of what the flags say instead.

    Parameters
    ----------
    m : Module
    integer : Value, signed
    exponent : int
    cast : sw.reference.cast.Cast
        Result format, rounding mode and overflow policy.
    random : Value or None
        The random bits of a stochastic rounding.
    flags : hw.arith.exact_product.Flags
        Whether NaNs and infinities are among the terms of the sum.
    cycles : int
        Registers between the rounding and the code's making.
    leading_cycles : int
        Registers behind the shift that brings the leading bit to the top; of fixed point, in front of the rounding.

    Returns
    -------
    Value
    """
    fmt, rounding = cast.result, cast.rounding
    random = None if random is None else delay(m, random, leading_cycles, name="random")
    if isinstance(fmt, FixedPointFormat):
        integer = delay(m, integer, leading_cycles, name="integer")
        rounded = round_integer(m, integer, -fmt.fraction_bits - exponent, rounding, random)
        code = encode_integer(m, delay(m, rounded, cycles, name="rounded"), fmt, cast.overflow)
    else:
        if isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.subnormals is Subnormals.SUPPORTED:
            rounded = _round_to_float(m, integer, exponent, fmt, rounding, random, leading_cycles)
        elif isinstance(fmt, PositFormat) and rounding is not RoundingMode.STOCHASTIC:
            rounded = _round_to_posit(m, integer, exponent, fmt, rounding, leading_cycles)
        else:
            bits = fraction_bits_needed(rounding, cast.random_bits)
            aligned = align(m, _normalised(m, integer, exponent, fmt, bits, leading_cycles), fmt, bits)
            rounded = round_aligned(m, aligned, fmt, rounding, random)
        code = encode(m, rounded.delayed(m, cycles), fmt, rounding, cast.overflow)
    return with_specials(code, cast, flags.delayed(m, leading_cycles + cycles))


def with_specials(code, cast, flags):
    """Return ``code``, or that of the value that flags stand for, by the definition of the result format.

    Parameters
    ----------
    code : Value
    cast : sw.reference.cast.Cast
    flags : hw.arith.exact_product.Flags

    Returns
    -------
    Value
    """
    fmt = cast.result
    nan, above, below = (C(fmt.encode(value, overflow=cast.overflow), fmt.width) for value in (
        Special.NAN, Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY))
    if not isinstance(flags.above, Const):
        code = Mux(flags.below, below, Mux(flags.above, above, code))
    if isinstance(flags.nan, Const):
        return code[:fmt.width]
    return Mux(flags.nan | (flags.above & flags.below), nan, code)[:fmt.width]


def _round_to_float(m, integer, exponent, fmt, rounding, random, leading_cycles):
    """Round an integer to a binary float with subnormals, without negating it first.

    The bits of a negative integer are inverted, and what they lack to be the magnitude, one in the lowest place,
    changes nothing above a bit that is left out and not zero. Where there is none, it joins the rounding: the carry
    chain of a negation is saved.
    """
    sign, width, fraction_bits = integer[-1], len(integer), fmt.fraction_bits
    bits = fraction_bits_needed(rounding, 0 if random is None else len(random))
    lowest = 1 - int(fmt.bias) - exponent  # index of the bit that has an exponent field of 1 where it leads
    # Every field up to the one beyond the largest value, or up to the integer's own top bit.
    fields = max(1, min((fmt.max_code >> fraction_bits) + 1, width - 1 - lowest))
    levels = (fields - 1).bit_length()
    top, bottom = lowest + (1 << levels) - 1, lowest - fraction_bits - bits
    kept, lost, field = first_unlike_sign_up(m, integer, bottom, top, levels, within="within_fields", ahead=True)
    # What lies above all fields is beyond the largest value, whatever the others say: that has time until the end.
    beyond = _unlike_above(m, integer, top, "above_all_fields")
    sign, kept, lost, beyond, field = _delayed(m, leading_cycles, sign=sign, kept=kept, lost=lost, beyond=beyond,
                                               field=Cat(*field))
    magnitude = named(m, kept ^ sign.replicate(len(kept)), "inverted")
    fraction, hidden, lower = magnitude[:bits], magnitude[-1], Cat(magnitude[bits:-1], field, C(0, 1))
    if not fraction_bits:
        lower, hidden = named(m, lower + hidden, "lower"), C(0, 1)
    one = named(m, sign & ~lost, "one_more")  # in the lowest place of `fraction`
    if rounding is RoundingMode.STOCHASTIC:
        increment = stochastic_up(fraction, random, one)
    else:
        guard = fraction ^ one if bits else C(0, 1)
        carry = fraction & one if bits else one
        increment = carry | rounds_up(rounding, odd=lower[0], guard=guard, sticky=lost, negative=sign,
                                      on_magnitude=True)
    increment = named(m, increment, "round_up")
    # What exceeds the largest value is known as soon as the increment is: no field but the lowest lacks a hidden bit.
    largest = fmt.max_code - (1 << fraction_bits if fraction_bits else 0)
    compared = not fraction_bits or largest >> fraction_bits > 0
    if compared:
        beyond = named(m, beyond | exceeds(lower, largest) | (increment & (lower == largest)), "beyond")
    if fraction_bits:
        increment = Cat(increment, C(0, fraction_bits - 1), hidden)
    return Rounded(code=named(m, lower + increment, "rounded"), beyond=beyond, compared=compared, zero_is_zero=True,
                   number=_sign_and_range(sign, 1 << width - 1, exponent))


def _round_to_posit(m, integer, exponent, fmt, rounding, leading_cycles):
    """Round an integer to a posit, without negating it before or after.

    Where it takes no level more, the shift counts from the power of two whose exponent is least in so many bits: the
    levels then are the exponent, but for its top bit, and no constant is added to them.
    """
    sign, width, bits = integer[-1], len(integer), fraction_bits_needed(rounding, 0)
    precision = fmt.significand_bits + bits + 2
    top = min(_exponent(fmt.max_finite) + 2 - exponent, width - 1)
    # The first bit of -1 unlike its sign is the zero below its lowest one.
    smallest = max(-1, _exponent(fmt.smallest_positive) - 3 - exponent)
    levels = max(1, top - smallest).bit_length()
    half = 1 << levels - 1
    from_least = top < half - exponent and smallest >= -half - exponent
    if from_least:
        top = half - 1 - exponent
    bottom = top - (1 << levels) - precision + 3  # the jammed bit comes below
    kept, lost, field = first_unlike_sign_up(m, integer, bottom, top, levels, above="above_range",
                                              within="within_range", ahead=True)
    sign, kept, lost, zero, field = _delayed(m, leading_cycles, sign=sign, kept=kept, lost=lost,
                                             zero=named(m, ~integer.any(), "sum_zero"), field=Cat(*field))
    highest = exponent + top
    lowest = highest - (1 << levels) + 1
    power = Cat(field[:-1], ~field[-1]).as_signed() if from_least else field + lowest
    number = number_of_signed(m, sign, kept, lost, power, lowest=lowest, highest=highest, zero=zero)
    lower, fraction, sticky = align_posit(m, number, fmt, bits)
    up = rounds_up(rounding, odd=lower[0], guard=fraction if bits else C(0, 1), sticky=sticky, negative=sign,
                   on_magnitude=False)
    return Rounded(code=named(m, (lower + named(m, up, "round_up"))[:len(lower)], "rounded"), beyond=C(0, 1),
                   zero_is_zero=False, number=number)


def first_unlike_sign_up(m, integer, bottom, top, levels, *, above=None, within, ahead=False):
    """Bring the first bit of an integer that is unlike its sign, or one for all above ``top``, to the top.

    Parameters
    ----------
    m : Module
    integer : Value, signed
    bottom, top : int
        Indices of the lowest and the highest bit that are shifted; what lies below counts as lost.
    levels : int
        Of the shift, by ``2**levels - 1`` places at most: where nothing leads before, the bit that then is at the top
        stays there, whatever it is.
    above : str, optional
        Name of the signal for what lies above ``top``; without one, that is not looked at.
    within : str
        Name of the signal for the bits before the shift.
    ahead : bool
        Whether a level is decided before those above it: see :func:`_leading_up`.

    Returns
    -------
    tuple
        As :func:`_leading_up` returns.
    """
    sign, width = integer[-1], len(integer)
    kept = Cat(*(integer[index] if 0 <= index < width else sign if index >= width else C(0, 1)
                 for index in range(bottom, top + 1)))
    if above is not None and top < width - 2:  # leads to what is beyond the largest number, as the top bit does
        unlike = _unlike_above(m, integer, top, above)
        kept = Cat(kept[:-1], sign ^ (unlike | (kept[-1] ^ sign)))
    return _leading_up(m, named(m, kept, within), levels, integer[:max(0, bottom)], sign, ahead=ahead)


def _unlike_above(m, integer, top, name):
    """Whether any bit of an integer above ``top`` is unlike its sign."""
    width, sign = len(integer), integer[-1]
    if top >= width - 2:
        return C(0, 1)
    above = integer[max(0, top + 1):width - 1]
    return named(m, (above ^ sign.replicate(len(above))).any(), name)


def _leading_up(m, kept, levels, below, sign=None, *, ahead):
    """Bring the first bit that is set, or unlike ``sign``, to the top, in powers of two.

    A level asks whether any of so many bits at the top leads. With ``ahead``, all but the lowest levels ask so of every
    place that the levels above them may bring to the top, before those are decided, which then choose among the answers
    as they do among the bits: one lookup table a level, rather than all those that an answer takes. LUTs and MHz on
    ECP5 of sums of 16 products with a result of the same format, and in brackets with each level asking in its turn:
    float8_e5m2, 497 at 59 MHz (495 at 48); posit<8,0>, 505 at 61 MHz (498 at 51).

    Returns
    -------
    kept : Value
        As many bits from the leading one down as are left whatever it is.
    lost : Value, 1 bit
        Whether any bit of ``below`` or below the end of ``kept`` is set.
    field : list of Value
        Index of the leading bit, counted from the lowest one that may lead.
    """
    lost, field = below.any() if len(below) else C(0, 1), []
    answers = {}
    if ahead:
        leading = kept[-(1 << levels):]
        # Named: each of its bits is taken by itself, and would have all the others made again.
        unlike = named(m, leading if sign is None else leading ^ sign.replicate(1 << levels), "unlike_sign")
        answers = _answers(m, unlike, levels)
    for level in reversed(range(levels)):
        step = 1 << level
        if level in answers:
            leads, = answers.pop(level)
        else:
            leads = (kept[-step:] if sign is None else kept[-step:] ^ sign.replicate(step)).any()
        leads = named(m, leads, f"leads_{step}")
        for lower, places in answers.items():
            half = len(places) // 2
            answers[lower] = [named(m, Mux(leads, *pair), f"leads_{1 << lower}_by_{step}_{index}")
                              for index, pair in enumerate(zip(places[:half], places[half:], strict=True))]
        lost = named(m, lost | (leads & kept[:step].any()), f"lost_{step}")
        kept = named(m, Mux(leads, kept[step:], kept[:-step]), f"up_by_{step}")
        field.insert(0, leads)
    return kept, lost, field


def _answers(m, unlike, levels):
    """Return, for levels from ``_AHEAD`` on, whether any of ``2**level`` bits is set that may come to the top.

    Parameters
    ----------
    unlike : Value, ``2**levels`` bits
    levels : int

    Returns
    -------
    dict of int to list of Value
        By level: for each place that the levels above it may bring to the top, the highest one first.
    """
    answers, groups = {}, list(reversed(unlike))
    for level in range(levels):
        if level >= _AHEAD:
            answers[level] = groups[::2]
        groups = [named(m, upper | lower, f"any_of_{2 << level}_{index}")
                  for index, (upper, lower) in enumerate(zip(groups[::2], groups[1::2], strict=True))]
    return answers


def _sign_and_range(sign, largest, exponent):
    """A number of which nothing is looked at but the sign, and that it is ``largest * 2**exponent`` at most."""
    return Number(sign=sign, magnitude=C(0, 1), exponent=C(0, 1), zero=C(0, 1), infinity=C(0, 1), nan=C(0, 1),
                  scale=exponent, min_magnitude=0, max_magnitude=largest, min_exponent=0, max_exponent=0,
                  zero_has_zero_magnitude=True)


def _normalised(m, integer, exponent, fmt, bits, cycles):
    """Return an integer as a normalised number, as exactly as its rounding to ``fmt`` asks for."""
    precision = (fmt.significand_bits if isinstance(fmt, PositFormat) else fmt.fraction_bits + 1) + bits + 2
    return normalise(m, integer, exponent, precision=precision, highest=_exponent(fmt.max_finite) + 2,
                     lowest=_exponent(fmt.smallest_positive) - 3, cycles=cycles)


def normalise(m, integer, exponent, *, precision, highest=None, lowest=None, cycles=0):
    """Return ``integer * 2**exponent`` as a number with its top bit set.

    What lies below the last place of the magnitude is jammed into it (rounding to odd), so that the number still is
    rounded as the integer would be, to two bits fewer.

    Parameters
    ----------
    m : Module
    integer : Value, signed
    exponent : int
    precision : int, bits
        Of the magnitude.
    highest, lowest : int, optional
        Powers of two between which the number stays: larger and smaller ones come closer, for a format of which they
        lie far outside.
    cycles : int
        Registers behind the shift.

    Returns
    -------
    Number
    """
    sign, width = integer[-1], len(integer)
    less_one = named(m, integer + sign.replicate(width).as_signed(), "less_one")[:width]
    magnitude = named(m, less_one ^ sign.replicate(width), "sum_magnitude")
    top = width - 1 if highest is None else min(highest - exponent, width - 1)
    levels = max(1, top - (0 if lowest is None else lowest - exponent)).bit_length()
    leading = top - (1 << levels) + 1  # index of the lowest bit that may lead
    bottom = leading - precision + 2  # the jammed bit comes below
    kept = Cat(*(magnitude[index] if 0 <= index < width else C(0, 1) for index in range(bottom, top + 1)))
    if top < width - 1:
        kept = Cat(kept[:-1], kept[-1] | magnitude[max(0, top + 1):].any())
    kept, lost, field = _leading_up(m, named(m, kept, "within_range"), levels, magnitude[:max(0, bottom)], ahead=True)
    sign, kept, lost, zero, field = _delayed(m, cycles, sign=sign, kept=kept, lost=lost,
                                             zero=named(m, ~integer.any(), "sum_zero"), field=Cat(*field))
    significand = named(m, Cat(lost, kept[:-1], C(1, 1)), "significand")
    return Number(
        sign=sign, magnitude=significand, exponent=named(m, field, "binade"),
        scale=exponent + leading - (precision - 1), zero=zero, infinity=C(0, 1), nan=C(0, 1),
        min_magnitude=1 << precision - 1, max_magnitude=(1 << precision) - 1, min_exponent=0,
        max_exponent=(1 << levels) - 1, zero_has_zero_magnitude=False)


def _delayed(m, cycles, **values):
    """Return values so many cycles later, in registers of these names."""
    return (delay(m, value, cycles, name=name) for name, value in values.items())


def _exponent(value):
    """Floor of the logarithm of a positive rational."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value.numerator << max(0, -exponent) >= value.denominator << max(0, exponent) else exponent - 1
