"""Numbers placed on a grid: an exact value as an integer in units of a fixed power of two."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.convert.number import named
from hw.pipeline import delay

__all__ = ["Addend", "place_multiple_on_grid", "place_on_grid", "place_signed_on_grid", "with_zero_magnitude"]


@dataclass(frozen=True, kw_only=True)
class Addend:
    """The integer ``value + carry``: an adder takes ``carry`` along at the low end of its carry chain.

    Parameters
    ----------
    value : Value, signed
    carry : Value, 1 bit, unsigned
        ``Const(0)`` where there is never one. Otherwise the bit that an inverted ``value`` lacks to be a negative.
    """

    value: Value
    carry: Value

    def delayed(self, m, cycles):
        """Return the same ``cycles`` clock cycles later."""
        return Addend(value=delay(m, self.value, cycles, name="addend"),
                      carry=delay(m, self.carry, cycles, name="addend_carry"))


def with_zero_magnitude(m, number, name):
    """Return the same number, with a magnitude of zero where it is zero."""
    if number.zero_has_zero_magnitude:
        return number
    return replace(number, magnitude=named(m, Mux(number.zero, 0, number.magnitude), f"{name}_magnitude"),
                   zero_has_zero_magnitude=True)


def place_on_grid(m, number, *, exponent, width, name):
    """Shift a number onto the grid of whole multiples of ``2**exponent``.

    Short shifts come first, while the magnitude is narrow. The last one leaves an input of its lookup tables free for
    the sign, so that a negative number is inverted at no cost.

    Parameters
    ----------
    m : Module
    number : Number
        Finite, with a magnitude of zero where it is zero. Every value it takes is a whole multiple of ``2**exponent``.
    exponent : int
    width : int, bits
        Of the two's complement result, which holds every such value.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Addend
        Its value is ``width`` bits wide.
    """
    bits = list(number.magnitude[:number.magnitude_bits])
    places = _shift(m, bits, C(0, 1), number, exponent, width, name)
    value = Cat(*(place ^ number.sign for place in places))
    return Addend(value=named(m, value, f"{name}_on_grid").as_signed(), carry=number.sign)


def place_signed_on_grid(m, number, *, exponent, width, name):
    """Return what :func:`place_on_grid` does as one two's complement integer: the narrow magnitude is negated first."""
    signed_magnitude = Signal(signed(number.magnitude_bits + 1), name=f"{name}_signed")
    m.d.comb += signed_magnitude.eq(Mux(number.sign, -number.magnitude, number.magnitude))
    places = _shift(m, list(signed_magnitude), signed_magnitude[-1], number, exponent, width, name)
    return named(m, Cat(*places), f"{name}_on_grid").as_signed()


def place_multiple_on_grid(m, integer, number, *, exponent, width, name):
    """Shift ``integer`` times a power of two onto the grid of whole multiples of ``2**exponent``.

    Parameters
    ----------
    m : Module
    integer : Value, signed
    number : Number
        The power of two: sign, exponent and scale; its magnitude does not matter. A ``Const`` sign is positive.
    exponent, width, name
        As :func:`place_on_grid` has them.

    Returns
    -------
    Addend
    """
    places = _shift(m, list(integer), integer[-1], number, exponent, width, name)
    if not isinstance(number.sign, Const):
        places = [place ^ number.sign for place in places]
    return Addend(value=named(m, Cat(*places), f"{name}_on_grid").as_signed(), carry=number.sign)


def _shift(m, bits, fill, number, exponent, width, name):
    """Shift ``bits``, above which stands ``fill``, by the number's exponent; return ``width`` places of the grid."""
    # Flipping the top bit of a signed exponent makes it count from zero, as an unsigned one does.
    amount, base = number.exponent, number.scale
    if isinstance(amount, Const):
        amount, base = C(0, 0), base + amount.value
    elif amount.shape().signed:
        amount, base = Cat(amount[:-1], ~amount[-1]), base - (1 << len(amount) - 1)
    highest = number.max_exponent + number.scale - base
    lowest = exponent - base  # where the shift leaves the bit that belongs at the grid's lowest place
    for level in range(highest.bit_length()):
        step, later = 1 << level, highest >> level + 1 << level + 1
        moved, kept = [C(0, 1)] * step + bits, bits + [fill] * step
        # What no later shift brings onto the grid is left out.
        bits = [Mux(amount[level], moved[place], kept[place]) if place + later >= lowest else C(0, 1)
                for place in range(min(len(moved), lowest + width))]
        if level + 1 < highest.bit_length():
            bits = list(named(m, Cat(*bits), f"{name}_by_{step}"))
    bits = [C(0, 1)] * max(0, -lowest) + bits[max(0, lowest):]
    return (bits + [fill] * (width - len(bits)))[:width]
