"""Rounding: the one decision behind every mode, alignment to a format's grid, and the rounded code."""

from amaranth.hdl import *

from hw.convert.number import named
from sw.formats import RoundingMode

__all__ = ["fraction_bits_needed", "rounds_up", "shift_right", "stochastic_up"]


def fraction_bits_needed(rounding, random_bits):
    """Return how many bits below the last place a mode looks at one by one; any lower ones count as a whole.

    Nearest modes look at one (the guard bit), directed modes at none, stochastic rounding at as many as there are
    random bits.
    """
    if rounding is RoundingMode.STOCHASTIC:
        return random_bits
    return int(rounding.is_nearest)


def rounds_up(rounding, *, odd, guard, sticky, negative, on_magnitude):
    """Return whether the upper of two neighbours is taken: ``sw.formats.rounds_up`` as a circuit.

    Parameters
    ----------
    rounding : RoundingMode
        Any but ``STOCHASTIC``, which :func:`stochastic_up` decides.
    odd : Value, 1 bit
        Whether the lower neighbour has an odd code.
    guard, sticky : Value, 1 bit
        The half of the last place, and whether anything lies below it.
    negative : Value, 1 bit
        Whether the number is negative.
    on_magnitude : bool
        Whether the neighbours are magnitudes (up is away from zero) or signed values (up is towards +infinity).
    """
    inexact = guard | sticky
    if on_magnitude:
        match rounding:
            case RoundingMode.NEAREST_AWAY:
                return guard
            case RoundingMode.NEAREST_ZERO:
                return guard & sticky
            case RoundingMode.NEAREST_UP:
                return guard & (sticky | ~negative)
            case RoundingMode.NEAREST_DOWN:
                return guard & (sticky | negative)
            case RoundingMode.TOWARD_ZERO:
                return Const(0)
            case RoundingMode.UP:
                return inexact & ~negative
            case RoundingMode.DOWN:
                return inexact & negative
    match rounding:
        case RoundingMode.NEAREST_EVEN:
            return guard & (odd | sticky)
        case RoundingMode.TO_ODD:
            return inexact & ~odd
        case RoundingMode.NEAREST_AWAY:
            return guard & (sticky | ~negative)
        case RoundingMode.NEAREST_ZERO:
            return guard & (sticky | negative)
        case RoundingMode.NEAREST_UP:
            return guard
        case RoundingMode.NEAREST_DOWN:
            return guard & sticky
        case RoundingMode.TOWARD_ZERO:
            return inexact & negative
        case RoundingMode.UP:
            return inexact
        case _:
            return Const(0)


def stochastic_up(fraction, random, carry=0):
    """Return whether ``fraction + random + carry`` overflows, both of one width (P3109, StochasticA)."""
    return (fraction + random + carry)[len(random)]


def shift_right(m, value, amount, *, largest, name):
    """Shift right, and say whether anything was lost.

    Parameters
    ----------
    value : Value, unsigned
    amount : Value, unsigned
        At most ``largest``.
    largest : int

    Returns
    -------
    tuple of Value
        The shifted value, as wide as ``value``, and one bit that is set iff a 1 was shifted out.
    """
    lost = Const(0)
    width = len(value)
    for level in range(largest.bit_length()):
        step, chosen = 1 << level, amount[level]
        lost = named(m, lost | (chosen & value[:step].any()), f"{name}_lost_{step}")
        value = named(m, Mux(chosen, value[step:], value)[:width], f"{name}_by_{step}")
    return value, lost
