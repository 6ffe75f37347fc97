"""Two's complement integers brought to a fixed-point format: drop places with rounding, then keep the range."""

from amaranth.hdl import *

from hw.convert.number import named
from hw.convert.round import fraction_bits_needed, rounds_up, stochastic_up
from sw.formats import OverflowPolicy, RoundingMode

__all__ = ["encode_integer", "round_integer"]


def round_integer(m, value, places, rounding, random):
    """Divide an integer by ``2**places`` and round the quotient to an integer.

    Parameters
    ----------
    m : Module
    value : Value
        Signed or unsigned.
    places : int
        May be negative: the result then is ``value * 2**-places``, exactly.
    rounding : RoundingMode
    random : Value or None
        The random bits of ``STOCHASTIC``.

    Returns
    -------
    Value
        One bit wider than the quotient where the rounding may carry.
    """
    if places <= 0:
        return value << -places if places else value
    bits = fraction_bits_needed(rounding, 0 if random is None else len(random))
    signed_value = value.shape().signed
    width = max(len(value), places) + 1  # so that the slice above the point is never empty
    extended = named(m, Cat(value, (value[-1] if signed_value else C(0, 1)).replicate(width - len(value))), "extended")
    lower, dropped = extended[places:], Cat(C(0, max(0, bits - places)), extended[:places])
    point = len(dropped) - bits
    lower = lower.as_signed() if signed_value else lower
    fraction, sticky = dropped[point:], dropped[:point].any() if point else C(0, 1)
    if rounding is RoundingMode.STOCHASTIC:
        up = stochastic_up(fraction, random)
    else:
        negative = extended[-1] if signed_value else C(0, 1)
        up = rounds_up(rounding, odd=lower[0], guard=fraction if bits else C(0, 1), sticky=sticky,
                       negative=negative, on_magnitude=False)
    return named(m, lower + up, "rounded")


def encode_integer(m, integer, fmt, overflow):
    """Return the fixed-point code of an integer in units of the format's last place.

    Parameters
    ----------
    m : Module
    integer : Value
        Signed or unsigned.
    fmt : FixedPointFormat
    overflow : OverflowPolicy
        One that ``fmt.check_overflow`` admits.

    Returns
    -------
    Value, ``fmt.width`` bits
    """
    is_signed, width = integer.shape().signed, fmt.width
    negative = integer[-1] if is_signed else C(0, 1)
    padding = max(0, width + 1 - len(integer))
    extended = Cat(integer, negative.replicate(padding)) if padding else Cat(integer, negative)
    code = extended[:width]
    if overflow is OverflowPolicy.WRAP:
        return code
    if overflow is OverflowPolicy.WRAP_SIGN_MAGNITUDE:
        return code ^ (extended[width] ^ extended[width - 1]).replicate(width)
    to_zero = overflow is OverflowPolicy.SATURATE_ZERO
    symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and fmt.signed
    lowest = -fmt.max_integer if symmetric else fmt.min_integer
    if not fmt.signed:
        above = ~negative & extended[width:].any()
        return Mux(negative | above if to_zero else negative, 0, code | above.replicate(width))[:width]
    above_sign = extended[width - 1:]
    over = named(m, above_sign.any() & ~above_sign.all(), "over")
    if to_zero and not fmt.narrow_range:
        return code & (~over).replicate(width)
    if lowest == fmt.min_integer and not fmt.narrow_range:
        return Mux(over, Cat((~negative).replicate(width - 1), negative), code)[:width]
    over = named(m, over | (negative & ~code[:-1].any()), "over_or_lowest")
    lowest_code = C(lowest & ((1 << width) - 1), width)
    beyond = 0 if to_zero else Mux(negative, lowest_code, fmt.max_integer)
    return Mux(over, beyond, code)[:width]
