"""Numbers placed on a grid: an exact value as an integer in units of a fixed power of two."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.convert.number import named
from hw.pipeline import delay

__all__ = ["Addend", "place_multiple_on_grid", "place_on_grid", "place_signed_on_grid", "shift_levels",
           "with_zero_magnitude"]


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


def shift_levels(number, exponent):
    """Return how many shifts by powers of two bring a number onto the grid of whole multiples of ``2**exponent``."""
    return _Way.of(number, exponent).levels


def place_on_grid(m, number, *, exponent, width, name, early=False, registered=None):
    """Shift a number onto the grid of whole multiples of ``2**exponent``.

    Short shifts come first, while the magnitude is narrow. The last one leaves an input of its lookup tables free for
    the sign, so that a negative number is inverted at no cost; or, ``early``, for the ones that it then brings in on
    both sides, and the inversion takes the input that is free in the shift before.

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
    early : bool
        Whether the last shift follows upon the inversion.
    registered : int, optional
        How many shifts stand in front of a register, if all that precede the inversion are not fewer; without it,
        there is no register.

    Returns
    -------
    Addend
        Its value is ``width`` bits wide.
    """
    way, sign, zero = _Way.of(number, exponent), number.sign, C(0, 1)
    last = max(0, way.levels - 1) if early else way.levels
    bits, ahead = list(number.magnitude[:number.magnitude_bits]), 0
    if registered is not None:
        ahead = min(registered, last)
        bits = way.shift(m, bits, range(ahead), width=width, name=name)
        bits = [delay(m, bit, 1, name=f"{name}_shifted_{place}") for place, bit in enumerate(bits)]
        way, sign = way.delayed(m), delay(m, sign, 1, name=f"{name}_sign")
    bits = way.shift(m, bits, range(ahead, last), width=width, name=name)
    if early:
        bits = [bit ^ sign for bit in bits]
        if last < way.levels:
            bits = list(named(m, Cat(*bits), f"{name}_inverted"))
        bits = way.shift(m, bits, range(last, way.levels), below=sign, above=sign, width=width, name=name)
        places = way.cut(bits, below=sign, above=sign, width=width)
    else:
        places = [place ^ sign for place in way.cut(bits, below=zero, above=zero, width=width)]
    return Addend(value=named(m, Cat(*places), f"{name}_on_grid").as_signed(), carry=sign)


def place_signed_on_grid(m, number, *, exponent, width, name, chain=True, by_multiplexers=False):
    """Return what :func:`place_on_grid` does as one two's complement integer: the narrow magnitude is negated first.

    Parameters
    ----------
    m, number, exponent, width, name
        As :func:`place_on_grid` has them.
    chain : bool
        Whether a carry chain negates, and the shifts come one by one. Otherwise each bit is inverted where there is a
        one below it, which takes half of the LUTs of 4 inputs of iCE40 and of ECP5, and the last shifts are joined.
    by_multiplexers : bool
        How joined shifts are written: see :meth:`_Way.select`.
    """
    magnitude, way = number.magnitude[:number.magnitude_bits], _Way.of(number, exponent)
    if chain:
        integer = Signal(signed(len(magnitude) + 1), name=f"{name}_signed")
        m.d.comb += integer.eq(Mux(number.sign, -magnitude, magnitude))
        bits, sign, joined = list(integer), integer[-1], way.levels
    else:
        bits, below = [], C(0, 1)
        for bit in magnitude:
            bits.append(bit ^ below)
            below = named(m, below | (number.sign & bit), f"{name}_negative_below")
        *bits, sign = named(m, Cat(*bits, below), f"{name}_signed")  # zero has no sign
        joined = way.joined_level(len(bits))
    bits = way.shift(m, bits, range(joined), above=sign, width=width, name=name)
    if joined < way.levels - 1:
        bits = way.select(m, bits, joined, above=sign, by_multiplexers=by_multiplexers, name=name)
    else:
        bits = way.shift(m, bits, range(joined, way.levels), above=sign, width=width, name=name)
    places = way.cut(bits, below=C(0, 1), above=sign, width=width)
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
    way = _Way.of(number, exponent)
    bits = way.shift(m, list(integer), range(way.levels), above=integer[-1], width=width, name=name)
    places = way.cut(bits, below=C(0, 1), above=integer[-1], width=width)
    if not isinstance(number.sign, Const):
        places = [place ^ number.sign for place in places]
    return Addend(value=named(m, Cat(*places), f"{name}_on_grid").as_signed(), carry=number.sign)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """The way from a number's own place to that on a grid, in steps to the left of powers of two.

    Parameters
    ----------
    amount : Value, unsigned
        Places to the left.
    highest : int
        Most of them.
    lowest : int
        Where the shift leaves the bit that belongs at the grid's lowest place.
    """

    amount: Value
    highest: int
    lowest: int

    @classmethod
    def of(cls, number, exponent):
        """Return the way of a number, by its exponent, to the grid of whole multiples of ``2**exponent``."""
        # Flipping the top bit of a signed exponent makes it count from zero, as an unsigned one does.
        amount, base = number.exponent, number.scale
        if isinstance(amount, Const):
            amount, base = C(0, 0), base + amount.value
        elif amount.shape().signed:
            amount, base = Cat(amount[:-1], ~amount[-1]), base - (1 << len(amount) - 1)
        return cls(amount=amount, highest=number.max_exponent + number.scale - base, lowest=exponent - base)

    @property
    def levels(self):
        """Bits of the greatest amount, each of which is one step."""
        return self.highest.bit_length()

    def delayed(self, m):
        """Return the way of the number that was there a clock cycle ago."""
        return replace(self, amount=delay(m, self.amount, 1, name="amount"))

    def shift(self, m, bits, levels, *, width, name, below=None, above=None):
        """Shift bits by those levels of the amount, with ``below`` and ``above`` them, zeros by default.

        What no later shift brings onto the grid is left out.
        """
        below, above = (C(0, 1) if fill is None else fill for fill in (below, above))
        for level in levels:
            step, later = 1 << level, self.highest >> level + 1 << level + 1
            moved, kept = [below] * step + bits, bits + [above] * step
            bits = [Mux(self.amount[level], moved[place], kept[place]) if place + later >= self.lowest else below
                    for place in range(min(len(moved), self.lowest + width))]
            if level + 1 < self.levels:
                bits = list(named(m, Cat(*bits), f"{name}_by_{step}"))
        return bits

    def cut(self, bits, *, below, above, width):
        """Return the ``width`` places of the grid from shifted bits."""
        bits = [below] * max(0, -self.lowest) + bits[max(0, self.lowest):]
        return (bits + [above] * (width - len(bits)))[:width]

    def joined_level(self, count):
        """Return the level from which on :meth:`select` can shift ``count`` bits: the last one if there is no other."""
        return next((level for level in range(self.levels) if count + (1 << level) - 1 <= 2 << level),
                    max(0, self.levels - 1))

    def select(self, m, bits, level, *, above, by_multiplexers, name):
        """Shift by all levels from ``level`` on at once, where the bits are two blocks of ``2**level`` at most.

        Each block of the result is the lower one, the higher one, zeros, or what stands above: four cases, hence two
        controls for a whole block, and lookup tables of 4 inputs. Both controls together stand for ones. As a sum of
        products or by a multiplexer: which of them technology mapping makes more of differs by format and family.
        """
        block, most, amount = 1 << level, self.highest >> level, self.amount[level:self.levels]
        bits, places = bits + [above] * (2 * block - len(bits)), []
        for index in range(most + 2):
            beyond = [amount == count for count in range(min(index - 1, most + 1))]
            ones = named(m, Cat(*beyond).any() & above, f"{name}_ones_{index}") if beyond else C(0, 1)
            lowered, raised = (amount == index - source if 0 <= index - source <= most else C(0, 1)
                               for source in range(2))
            raised = named(m, raised, f"{name}_raised_to_{index}")
            low, high = (named(m, hit | ones, f"{name}_{source}_to_{index}")
                         for source, hit in (("lower", lowered), ("higher", raised)))
            for lower, higher in zip(bits[:block], bits[block:], strict=True):
                if index > most:
                    places.append(Mux(raised, higher, ones))
                elif by_multiplexers and beyond:
                    places.append(Mux(high, higher | low, low & lower))
                elif beyond:
                    places.append((low & (lower | high)) | (high & higher))
                else:
                    places.append((low & lower) | (high & higher))
        return places
