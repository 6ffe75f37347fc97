"""The sum of two posits of one format, in two's complement from one end to the other."""

from amaranth.hdl import *

from hw.convert.from_integer import first_unlike_sign_up
from hw.convert.number import named
from hw.convert.posit import align_posit, decode_signed_posit, number_of_signed
from hw.convert.round import fraction_bits_needed, rounds_up
from hw.pipeline import delay
from sw.formats import PositFormat, RoundingMode

__all__ = ["add_posits", "suits_signed_significands"]


def suits_signed_significands(model):
    """Whether :func:`add_posits` computes what a reference describes.

    Stochastic rounding is one of magnitudes, and operands of two formats have zeros of two exponents.

    Parameters
    ----------
    model : sw.reference.Addition
    """
    return (isinstance(model.a, PositFormat) and model.b == model.a and isinstance(model.result, PositFormat)
            and model.rounding is not RoundingMode.STOCHASTIC)


def add_posits(m, a, b, model, cycles):
    """Return the code of the rounded sum of two posits.

    Neither the operands nor the sum nor the rounded code is ever negated. One subtraction says which exponent is the
    higher one and by how much: ``-d`` is ``~d + 1``, and a shift by that one place costs nothing in the multiplexer
    that swaps the significands. What falls off the end of the second one is jammed into the lowest bit that stays
    (rounding to odd), which is right for negative numbers too.

    Parameters
    ----------
    m : Module
    a, b : Value
        Codes of the operands.
    model : sw.reference.Addition
        One that :func:`suits_signed_significands`.
    cycles : mapping of str to int
        Registers before the sum (``"operands"``), after it (``"sum"``), after the alignment to the result
        (``"align"``), after the rounding (``"round"``) and at the ``"output"``.

    Returns
    -------
    Value, ``model.result.width`` bits
    """
    fmt = model.a
    if model.subtract:
        b = named(m, -b, "b_negated")[:fmt.width]
    a, b = decode_signed_posit(m, fmt, a, "a"), decode_signed_posit(m, fmt, b, "b")
    below, farthest = _places_below(model), _farthest(fmt)
    apart = named(m, a.exponent - b.exponent, "apart")
    swap = apart[-1]
    first = named(m, Mux(swap, b.significand, a.significand), "first")
    exponent = named(m, Mux(swap, b.exponent, a.exponent), "first_exponent")
    second = named(m, Mux(swap, Cat(C(0, below - 1), a.significand, a.significand[-1]),
                          Cat(C(0, below), b.significand)), "second")
    places = apart[:-1] ^ swap.replicate(len(apart) - 1)
    second = _aligned(m, second, places, len(second) - 2, farthest)
    nar = named(m, a.nar | b.nar, "any_nar")
    first, second, exponent, nar = (delay(m, value, cycles["operands"], name=name) for value, name in (
        (first, "first"), (second, "second"), (exponent, "first_exponent"), (nar, "any_nar")))
    upper = named(m, first.as_signed() + second[below:].as_signed(), "upper_sum")
    total, exponent, nar = (delay(m, value, cycles["sum"], name=name) for value, name in (
        (Cat(second[:below], upper), "sum"), (exponent, "first_exponent"), (nar, "any_nar")))
    return _rounded(m, named(m, total, "sum"), exponent.as_signed(), nar, model, cycles)


def _farthest(fmt):
    """Largest difference of two exponents: that of the largest posit, and of minus the smallest one."""
    return 2 * fmt.max_exponent + 1


def _places_below(model):
    """Return the bits below those of the first significand that make the sum right.

    The lowest one is jammed where exponents are two apart or more. The sum then has its leading bit one place below
    that of the first significand at least, and what the rounding looks at lies above the lowest bit. One below the
    significand keeps every bit where exponents are nearer.

    Without exponent bits, two bits are enough: a posit of n bits is a multiple of ``2**(2 - n)``, so that no bit of
    the second significand is lost where the first one's exponent is 1 or less, and where it is more, that of the sum
    is 1 at least, and the result has one bit of fraction less.
    """
    fmt, result = model.a, model.result
    if result == fmt and not fmt.exponent_size:
        return 2
    bits = fraction_bits_needed(model.rounding, 0)
    return min(max(1, result.significand_bits + bits - fmt.significand_bits + 2), _farthest(fmt))


def _aligned(m, second, places, leading, farthest):
    """Shift the second significand, a signed number of which bit ``leading`` leads, and jam what falls off its end.

    From ``leading`` places on, it is jammed to one that is odd and next to zero.
    """
    levels, lost, sign = min(leading, farthest).bit_length(), C(0, 1), second[-1]
    if farthest >> levels:
        far = named(m, places[levels:].any(), "far")
        if leading == (1 << levels) - 1:  # shifted no farther, -2 stays -2 instead of becoming -1 or more
            lost = far & sign
        places = places[:levels] | far.replicate(levels)
    places = named(m, places, "places")
    for level in range(levels):
        step = 1 << level
        lost = named(m, lost | (places[level] & second[:step].any()), f"aligned_lost_{step}")
        second = named(m, Mux(places[level], Cat(second[step:], sign.replicate(step)), second), f"aligned_by_{step}")
    return named(m, Cat(second[0] | lost, second[1:]), "second_aligned")


def _rounded(m, total, exponent, nar, model, cycles):
    """Return the code of a sum of which the bit below its top two has a place of ``2**exponent``."""
    fmt, bits, sign, top = model.result, fraction_bits_needed(model.rounding, 0), total[-1], len(total) - 2
    # What cancels is a multiple of half the first significand's last place, and never minus that half: no lower bit
    # than that of the half is the first one unlike the sign.
    levels = (model.a.significand_bits + 1).bit_length()
    bottom = top - (1 << levels) + 2 - fmt.significand_bits - bits
    kept, lost, index = first_unlike_sign_up(m, total, bottom, top, levels, above="above_sum", within="within_sum")
    zero = named(m, ~(kept[-1] ^ sign), "sum_zero")
    highest = model.a.max_exponent + 1
    number = number_of_signed(
        m, sign, kept, lost, exponent + _less_constant(index), lowest=~highest, highest=highest, zero=zero)
    lower, fraction, sticky = align_posit(m, number, fmt, bits)
    # Cleared before the rounding, which leaves a zero alone, the bits take no LUT beside those of their shift.
    ordinary = named(m, ~(zero | nar), "ordinary")
    lower = lower & ordinary.replicate(len(lower))
    fraction, sticky = fraction & ordinary.replicate(bits), sticky if bits else sticky & ordinary
    lower, fraction, sticky, top_bit = (delay(m, named(m, value, name), cycles["align"], name=name) for value, name in (
        (lower, "lower_cleared"), (fraction, "fraction_cleared"), (sticky, "sticky_cleared"), (sign | nar, "top_bit")))
    up = rounds_up(model.rounding, odd=lower[0], guard=fraction if bits else C(0, 1), sticky=sticky,
                   negative=top_bit, on_magnitude=False)
    rounded = named(m, (lower + named(m, up, "round_up"))[:len(lower)], "rounded")
    return delay(m, Cat(rounded, top_bit), cycles["round"] + cycles["output"], name="code")


def _less_constant(index):
    """Return ``index + 2 - 2**len(index)``, signed: what the exponent of a sum exceeds that of its first term by."""
    bits, carry = [index[0]], C(1, 1)
    for bit in index[1:]:
        bits.append(bit ^ carry)
        carry = bit & carry
    return Cat(*bits, ~carry).as_signed()
