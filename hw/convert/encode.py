"""From an aligned magnitude to the code of a format: round, then see to zeros, overflow and special values."""

from dataclasses import dataclass, field, replace

from amaranth.hdl import *

from hw.convert.number import Number, named
from hw.convert.posit import encode_posit
from hw.convert.round import rounds_up, stochastic_up
from hw.pipeline import delay
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, PositFormat, RoundingMode, Subnormals

__all__ = ["Rounded", "encode", "exceeds", "round_aligned"]


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A rounded magnitude, as the number of a code that may lie beyond the format's range.

    Parameters
    ----------
    code : Value
        Counts magnitudes up from zero as the format's codes do; signed where it may lie below zero. Of a posit, the
        code itself, two's complement where the sign is up, without its top bit.
    beyond : Value, 1 bit
        Whether the magnitude lies beyond what ``code`` can hold.
    zero_is_zero : bool
        Whether ``code`` is 0 for a zero.
    number : Number
        Sign and flags.
    above : Value, 1 bit
        For fixed point, the bit of the magnitude next above the format's width, before a carry of the rounding.
    compared : bool
        Whether ``beyond`` says of every code whether it is above the largest finite one: no one has to look at it.
    """

    code: Value
    beyond: Value
    zero_is_zero: bool
    number: Number
    above: Value = field(default_factory=lambda: C(0, 1))
    compared: bool = False

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return replace(self, code=delay(m, self.code, cycles, name="code"),
                       beyond=delay(m, self.beyond, cycles, name="beyond"),
                       above=delay(m, self.above, cycles, name="above"),
                       number=self.number.flags_delayed(m, cycles))


def round_aligned(m, aligned, fmt, rounding, random):
    """Choose between the two neighbours of an aligned magnitude.

    Parameters
    ----------
    m : Module
    aligned : Aligned
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    rounding : RoundingMode
    random : Value or None
        The random bits of ``STOCHASTIC``.

    Returns
    -------
    Rounded
    """
    sign, lower, addend, fraction = aligned.number.sign, aligned.lower, aligned.addend, aligned.fraction
    place = fmt.fraction_bits if isinstance(fmt, FloatingPointFormat) else 0
    if len(addend) and not place:  # both would be added to the lowest bit, and the rounding asks for its parity
        lower, addend = named(m, lower + addend, "lower"), C(0, 0)
    if rounding is not RoundingMode.STOCHASTIC:
        up = rounds_up(rounding, odd=lower[0], guard=fraction, sticky=aligned.sticky, negative=sign, on_magnitude=True)
    elif isinstance(fmt, FixedPointFormat):
        # Fixed point rounds the value, not the magnitude: below zero, up with floor((1 - x) * 2**N) + R >= 2**N is
        # away from zero with ceil(x * 2**N) + (2**N - 1 - R) >= 2**N.
        flipped = named(m, random ^ sign.replicate(len(random)), "random_flipped")
        up = stochastic_up(fraction, flipped, sign & aligned.sticky)
    else:
        up = stochastic_up(fraction, random)
    increment = named(m, up, "round_up")
    if isinstance(fmt, PositFormat):
        # -(lower + up) is ~lower + 1 - up: the sign takes no adder of its own.
        lower, increment = lower ^ sign.replicate(len(lower)), increment ^ sign
    if len(addend):
        increment = Cat(increment, C(0, place - 1), addend)
    code = lower + increment
    if isinstance(fmt, PositFormat):
        code = code[:len(lower)]
    return Rounded(code=named(m, code, "rounded"), beyond=aligned.beyond,
                   zero_is_zero=aligned.zero_is_zero, number=aligned.number, above=aligned.above)


def encode(m, rounded, fmt, rounding, overflow):
    """Return the code of a rounded number, with the format's zeros, special values and overflow policy.

    Parameters
    ----------
    m : Module
    rounded : Rounded
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
        One that ``fmt.check_overflow`` admits.

    Returns
    -------
    Value, ``fmt.width`` bits
    """
    if isinstance(fmt, FixedPointFormat):
        return _encode_fixed(m, rounded, fmt, overflow)
    if isinstance(fmt, PositFormat):
        return encode_posit(m, rounded)
    return _encode_float(m, rounded, fmt, rounding, overflow)


def _encode_fixed(m, rounded, fmt, overflow):
    number, magnitude = rounded.number, rounded.code
    padded = Cat(magnitude, C(0, fmt.width))[:fmt.width]
    code = named(m, Mux(number.sign, -padded, padded)[:fmt.width], "signed_code")
    if overflow.wraps:
        if overflow is OverflowPolicy.WRAP_SIGN_MAGNITUDE:
            # Bit `width` of -magnitude is that of magnitude if all bits below are zero, and its inverse otherwise.
            carry = Cat(magnitude, C(0, fmt.width + 1))[fmt.width]
            beyond_sign = named(m, rounded.above ^ carry ^ (number.sign & padded.any()), "beyond_sign")
            code = named(m, code ^ (beyond_sign ^ code[-1]).replicate(fmt.width), "turned_code")
        return Mux(number.nan | number.infinity, 0, code)[:fmt.width]
    symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and fmt.signed
    lowest = -fmt.max_integer if symmetric else fmt.min_integer
    limit = Mux(number.sign, -lowest, fmt.max_integer)
    over = named(m, rounded.beyond | number.infinity | (magnitude > limit), "over")
    mask = (1 << fmt.width) - 1
    extreme = Mux(number.sign, lowest & mask, fmt.max_integer)
    if overflow is OverflowPolicy.SATURATE_ZERO:
        extreme = C(0, fmt.width)
    return Mux(number.nan, 0, Mux(over, extreme, code))[:fmt.width]


def _encode_float(m, rounded, fmt, rounding, overflow):
    number, code = rounded.number, rounded.code
    bits = fmt.exponent_bits + fmt.fraction_bits
    negative = code[-1] if code.shape().signed else C(0, 1)
    over = rounded.beyond
    if not rounded.compared:
        over = (exceeds(code, fmt.max_code) & ~negative) | over
    zero, infinity, nan = number.zero, number.infinity, number.nan
    under, invalid = _is_under(code, negative, fmt), C(0, 1)
    if not rounded.zero_is_zero:
        over, under = over & ~zero, under | zero
    if not fmt.signed:
        invalid = number.sign & ~zero
    if not fmt.has_zero:
        invalid = invalid | zero | (under & ~infinity)
    if not isinstance(invalid, Const):
        invalid = named(m, invalid, "invalid")
        over, infinity, under = over & ~invalid, infinity & ~invalid, under | invalid
    over, stops = named(m, over, "over"), _stops_at_largest(rounding, number.sign)
    infinity_code = fmt.max_code
    if overflow is OverflowPolicy.INFINITY:
        nan = nan | invalid
        if fmt.has_infinity:
            infinity_code = fmt.infinity_code
        else:
            nan = nan | infinity | (over & ~stops)
    magnitude = code[:bits] & (~named(m, under, "cleared")).replicate(bits)
    if infinity_code != fmt.max_code and not (isinstance(stops, Const) and not stops.value):
        magnitude = Mux(over & stops, fmt.max_code, magnitude)
        over = over & ~stops
    sign = number.sign if fmt.signed else C(0, 0)
    if fmt.signed and not fmt.has_negative_zero:
        sign = sign & (over | infinity | named(m, magnitude[:bits], "code_magnitude").any())
    nan_code = 0 if fmt.nan_code is None else fmt.nan_code
    magnitude = _replaced(m, magnitude[:bits], over | infinity, infinity_code, nan, nan_code)
    return Cat(magnitude, _with_nan(sign, nan, nan_code >> bits))


def _replaced(m, code, beyond, limit, nan, nan_code):
    """Return ``nan_code`` where ``nan`` is up, ``limit`` where ``beyond`` is, and ``code`` elsewhere.

    Where a bit of the two is the same, either flag brings it about.
    """
    result = []
    either = named(m, beyond | nan, "beyond_or_nan")
    for position, bit in enumerate(code):
        wanted = (limit >> position) & 1
        if (nan_code >> position) & 1 == wanted:
            result.append(bit | either if wanted else bit & ~either)
        else:
            result.append(_with_nan(bit | beyond if wanted else bit & ~beyond, nan, ~wanted & 1))
    return Cat(*result)


def _with_nan(bits, nan, wanted):
    """Return a bit, or none, that is ``wanted`` where ``nan`` is up."""
    return bits | nan.replicate(len(bits)) if wanted else bits & ~nan.replicate(len(bits))


def exceeds(code, constant):
    """Return whether the bits of ``code``, unsigned, exceed a constant: gates that merge with their surroundings."""
    result = C(0, 1)
    if constant >> len(code):
        return result
    for position, bit in enumerate(code):
        result = bit & result if (constant >> position) & 1 else bit | result
    return result


def _is_under(code, negative, fmt):
    """Whether a rounded magnitude lies below the smallest code, and is not the zero that it would become."""
    match fmt.subnormals:
        case Subnormals.SUPPORTED:
            return C(0, 1)
        case Subnormals.FLUSHED:
            return negative | ~code[fmt.fraction_bits:].any()
        case _:
            return negative


def _stops_at_largest(rounding, sign):
    """Whether the mode never rounds away from zero, so that an overflow stops at the largest finite value."""
    match rounding:
        case RoundingMode.TOWARD_ZERO | RoundingMode.TO_ODD:
            return C(1, 1)
        case RoundingMode.DOWN:
            return ~sign
        case RoundingMode.UP:
            return sign
        case _:
            return C(0, 1)
