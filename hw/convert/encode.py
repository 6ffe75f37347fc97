"""From an aligned magnitude to the code of a format: round, then see to zeros, overflow and special values."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.convert.number import Number, named
from hw.convert.round import rounds_up, stochastic_up
from hw.pipeline import delay
from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode

__all__ = ["Rounded", "encode", "round_aligned"]


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A rounded magnitude, as the number of a code that may lie beyond the format's range.

    Parameters
    ----------
    code : Value
        Counts magnitudes up from zero as the format's codes do; signed where it may lie below zero.
    beyond : Value, 1 bit
        Whether the magnitude lies beyond what ``code`` can hold.
    number : Number
        Sign and flags.
    """

    code: Value
    beyond: Value
    number: Number

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return replace(self, code=delay(m, self.code, cycles, name="code"),
                       beyond=delay(m, self.beyond, cycles, name="beyond"),
                       number=self.number.flags_delayed(m, cycles))


def round_aligned(m, aligned, fmt, rounding, random):
    """Choose between the two neighbours of an aligned magnitude.

    Parameters
    ----------
    m : Module
    aligned : Aligned
    fmt : FloatingPointFormat or FixedPointFormat
    rounding : RoundingMode
    random : Value or None
        The random bits of ``STOCHASTIC``.

    Returns
    -------
    Rounded
    """
    sign, lower, fraction = aligned.number.sign, aligned.lower, aligned.fraction
    if rounding is not RoundingMode.STOCHASTIC:
        up = rounds_up(rounding, odd=lower[0], guard=fraction, sticky=aligned.sticky, negative=sign, on_magnitude=True)
    elif isinstance(fmt, FixedPointFormat):
        # Fixed point rounds the value, not the magnitude: below zero, up with floor((1 - x) * 2**N) + R >= 2**N is
        # away from zero with ceil(x * 2**N) + (2**N - 1 - R) >= 2**N.
        flipped = named(m, random ^ sign.replicate(len(random)), "random_flipped")
        up = stochastic_up(fraction, flipped, sign & aligned.sticky)
    else:
        up = stochastic_up(fraction, random)
    up = named(m, up, "round_up")
    return Rounded(code=named(m, lower + up, "rounded"), beyond=aligned.beyond, number=aligned.number)


def encode(m, rounded, fmt, rounding, overflow):
    """Return the code of a rounded number, with the format's zeros, special values and overflow policy.

    Parameters
    ----------
    m : Module
    rounded : Rounded
    fmt : FloatingPointFormat or FixedPointFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
        One that ``fmt.check_overflow`` admits.

    Returns
    -------
    Value, ``fmt.width`` bits
    """
    if isinstance(fmt, FixedPointFormat):
        return _encode_fixed(m, rounded, fmt, overflow)
    return _encode_float(m, rounded, fmt, rounding, overflow)


def _encode_fixed(m, rounded, fmt, overflow):
    number, magnitude = rounded.number, rounded.code
    padded = Cat(magnitude, C(0, fmt.width))[:fmt.width]
    code = named(m, Mux(number.sign, -padded, padded)[:fmt.width], "signed_code")
    if overflow is OverflowPolicy.WRAP:
        return Mux(number.nan | number.infinity, 0, code)[:fmt.width]
    symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and fmt.signed
    lowest = -fmt.max_integer if symmetric else fmt.min_integer
    limit = Mux(number.sign, -lowest, fmt.max_integer)
    over = named(m, rounded.beyond | number.infinity | (magnitude > limit), "over")
    mask = (1 << fmt.width) - 1
    extreme = Mux(number.sign, lowest & mask, fmt.max_integer)
    return Mux(number.nan, 0, Mux(over, extreme, code))[:fmt.width]


def _encode_float(m, rounded, fmt, rounding, overflow):
    number, code = rounded.number, rounded.code
    bits = fmt.exponent_bits + fmt.fraction_bits
    over = named(m, code > fmt.max_code, "over")
    under = named(m, code < fmt.min_code, "under")
    ieee = overflow is OverflowPolicy.INFINITY
    infinite = C(fmt.max_code, bits)
    if ieee:
        infinite = C(fmt.infinity_code, bits) if fmt.has_infinity else None
    beyond = infinite
    nan = number.nan
    if ieee:
        stops = _stops_at_largest(rounding, number.sign)
        beyond = Mux(stops, fmt.max_code, infinite) if infinite is not None else C(fmt.max_code, bits)
        if infinite is None:
            nan = nan | number.infinity | (over & ~stops & ~number.zero)
    lowest = 0
    if not fmt.signed:
        out_of_range = number.sign & ~number.zero
        if not fmt.has_zero:
            out_of_range = out_of_range | number.zero | (under & ~number.infinity)
        if ieee:
            nan = nan | out_of_range
    magnitude = Mux(over, beyond, code[:bits])
    if fmt.has_infinity or not ieee:
        magnitude = Mux(number.infinity, infinite, magnitude)
    magnitude = Mux(number.zero | (under & ~number.infinity), 0, magnitude)
    if not fmt.signed:
        magnitude = Mux(out_of_range, lowest, magnitude)
    magnitude = named(m, magnitude[:bits], "code_magnitude")
    result = Cat(magnitude, number.sign) if fmt.signed else magnitude
    if fmt.signed and not fmt.has_negative_zero:
        result = Cat(magnitude, number.sign & magnitude.any())
    nan_code = fmt.nan_code if fmt.nan_code is not None else 0
    return Mux(nan, nan_code, result)[:fmt.width]


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
