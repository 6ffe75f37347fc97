"""Posits: from a code to the number it stands for, and from a number to the posits on either side of it."""

from dataclasses import dataclass

from amaranth.hdl import *

from hw.convert.number import Number, named

__all__ = ["SignedPosit", "align_posit", "decode_posit", "decode_signed_posit", "encode_posit", "number_of_signed",
           "posit_scale"]


def decode_posit(m, fmt, code, name):
    """Unpack a posit: its magnitude has the top bit set, and as many bits as the longest significand.

    Parameters
    ----------
    m : Module
        Receives the combinational logic.
    fmt : PositFormat
    code : Value, ``fmt.width`` bits
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Number
    """
    bits, sign = fmt.width - 1, code[-1]
    # Zero and NaR differ in the sign only. NaN outranks zero: the flag of the one may be up for the other.
    empty = named(m, ~code[:-1].any(), f"{name}_empty")
    below = [C(0, 1)]
    for bit in code[:bits - 1]:
        below.append(named(m, below[-1] | bit, f"{name}_below"))
    body = named(m, code[:-1] ^ (Cat(*below) & sign.replicate(bits)), f"{name}_body")
    exponent, fraction = _fields(m, body, fmt, C(0, 1), name)
    width = fmt.significand_bits
    return Number(
        sign=sign, magnitude=Cat(fraction, C(1, 1)), exponent=exponent, zero=empty, infinity=C(0, 1),
        nan=named(m, sign & empty, f"{name}_nan"), scale=1 - width,
        min_magnitude=1 << (width - 1), max_magnitude=(1 << width) - 1,
        min_exponent=-fmt.max_exponent, max_exponent=fmt.max_exponent, zero_has_zero_magnitude=False)


@dataclass(frozen=True, kw_only=True)
class SignedPosit:
    """The number ``significand * 2**(exponent - len(significand) + 2)``, or NaR.

    Parameters
    ----------
    exponent : Value, signed
        That of zero is no higher than any other.
    significand : Value
        Two's complement, with the places -2 and 1 for its top bits: from 1 to below 2, from -2 to below -1, or zero.
    nar : Value, 1 bit
    """

    exponent: Value
    significand: Value
    nar: Value


def decode_signed_posit(m, fmt, code, name):
    """Unpack a posit without negating it.

    The bits below the sign of a negative posit are those of (-2 + f) * 2**e: a regime and exponent bits that are
    inverted, and the fraction f.
    Source: Murillo, Del Barrio and Botella 2020, "Customized posit adders and multipliers using the FloPoCo core
    generator".

    Parameters
    ----------
    m : Module
    fmt : PositFormat
    code : Value, ``fmt.width`` bits
    name : str
        Prefix of the signals' names.

    Returns
    -------
    SignedPosit
    """
    sign = code[-1]
    nonzero = named(m, code[:-1].any(), f"{name}_nonzero")
    exponent, fraction = _fields(m, code[:-1], fmt, sign, name)
    return SignedPosit(exponent=exponent, significand=Cat(fraction, nonzero & ~sign, sign),
                       nar=named(m, sign & ~nonzero, f"{name}_nar"))


def _fields(m, body, fmt, inverted, name):
    """Return the exponent of a posit's bits below its sign and as many bits of fraction as there can be.

    The regime and the exponent bits are inverted where ``inverted`` is up.
    """
    upper, rest = body[-1], body[:-1]
    # Cut off the bits of the run that repeat its first one, in powers of two, counting them: that is the regime, or
    # its complement. Zeros come in from the right, which end a run of ones; one of zeros to the very end is zero's
    # or NaR's.
    repeats = []
    for level in reversed(range(len(rest).bit_length())):
        places = 1 << level
        run = named(m, (rest[-places:] ^ ~upper.replicate(places)).all(), f"{name}_run_{places}")
        rest = named(m, Mux(run, Cat(C(0, places), rest)[:len(rest)], rest), f"{name}_by_{places}")
        repeats.append(run)
    negative, tail = ~upper, rest[:-1]
    exponent = tail[len(tail) - fmt.exponent_size:]
    if not isinstance(inverted, Const):
        negative, exponent = ~(upper ^ inverted), exponent ^ inverted.replicate(len(exponent))
    regime = (run ^ negative for run in reversed(repeats))
    return (named(m, Cat(exponent, *regime, negative).as_signed(), f"{name}_exponent"),
            tail[:len(tail) - fmt.exponent_size])


def posit_scale(bits):
    """Return the scale of a magnitude of ``bits`` bits for which :func:`align_posit` needs no constant.

    It holds where the magnitude has one leading zero at most, as a product of normalised ones has.
    """
    return 2 - bits


def align_posit(m, number, fmt, bits):
    """Return the string of regime, exponent and fraction, cut to the width of ``fmt``, and what follows it.

    Beyond either end of the range the largest or the smallest posit comes out, with nothing behind it to round.

    Parameters
    ----------
    m : Module
    number : Number
    fmt : PositFormat
    bits : int
        How many bits of the fraction the rounding mode looks at.

    Returns
    -------
    tuple of Value
        The lower neighbour's magnitude, ``fmt.width - 1`` bits; the next ``bits`` bits; whether there is more.
    """
    significand, exponent, lowest, highest = _normalise(m, number)
    below = max(0, len(significand) - fmt.significand_bits - bits)  # bits that no shift brings into the string
    padding = max(0, fmt.significand_bits + bits - len(significand))
    regime, upper = exponent >> fmt.exponent_size, named(m, ~exponent[-1], "upper")
    string = Cat(C(0, padding), significand[below:-1], exponent[:fmt.exponent_size], ~upper, upper)
    last = fmt.width - 2  # of so many repeats of the regime's bit, none is left to be followed by anything
    farthest = max(highest >> fmt.exponent_size, ~(lowest >> fmt.exponent_size))
    repeats = Cat(bit ^ ~upper for bit in regime[:max(1, farthest.bit_length())])
    levels = min(farthest, last).bit_length()
    places, beyond = repeats[:levels], C(0, 1)
    if farthest >= last:
        if len(repeats) > levels:
            places = places | repeats[levels:].any().replicate(levels)
        places = named(m, places, "places")
        beyond = named(m, places >= last, "beyond")
    lost = significand[:below].any() if below else C(0, 1)
    for level in reversed(range(levels)):  # the longest way first: 5 LUT4 fewer at posit<8,1>
        step, chosen = 1 << level, places[level]
        lost = named(m, lost | (chosen & string[:step].any()), f"string_lost_{step}")
        string = named(m, Mux(chosen, Cat(string[step:], upper.replicate(step)), string), f"string_by_{step}")
    lower, fraction = string[bits:], string[:bits]
    if farthest >= last:
        lower = Cat(lower[0] | beyond, lower[1:])
        fraction = fraction & (~beyond).replicate(bits)
        lost = lost if bits else lost & ~beyond  # where a fraction is looked at, that decides
    return named(m, lower, "lower"), named(m, fraction, "fraction"), named(m, lost, "sticky")


def _normalise(m, number):
    """Return the magnitude with its top bit set, the exponent of that bit, and the range of this exponent."""
    magnitude, places = number.magnitude, number.leading_zeros
    offset = number.scale + number.magnitude_bits - 1
    lowest, highest = number.min_exponent + offset - places, number.max_exponent + offset
    if places == 1:
        top = magnitude[-1]
        exponent = number.exponent + (offset - 1) + top
        magnitude = Mux(top, magnitude, magnitude << 1)
    else:
        zeros = []
        for level in reversed(range(places.bit_length())):
            step = 1 << level
            clear = named(m, ~magnitude[-step:].any(), f"clear_{step}")
            magnitude = named(m, Mux(clear, magnitude << step, magnitude)[:number.magnitude_bits], f"up_by_{step}")
            zeros.append(clear)
        exponent = number.exponent + offset - Cat(reversed(zeros))
    shape = Shape.cast(range(min(lowest, -1), max(highest, 0) + 1))
    exponent = named(m, exponent[:shape.width].as_signed(), "string_exponent")
    return named(m, magnitude[:number.magnitude_bits], "significand"), exponent, lowest, highest


def number_of_signed(m, sign, kept, lost, exponent, *, lowest, highest, zero):
    """Return a signed significand, normalised, as the number whose alignment by :func:`align_posit` is its own.

    The code of a negative posit, a two's complement number too, is that of (-2 + f) * 2**e: below the regime stand the
    fraction f and the inverted exponent. So both signs have their neighbours in the order of their values, and one
    rounding.
    Source: as of :func:`decode_signed_posit`.

    Parameters
    ----------
    m : Module
    sign : Value, 1 bit
    kept : Value
        The first bit unlike the sign, which is not looked at, and those that follow it.
    lost : Value, 1 bit
        Whether anything follows.
    exponent : Value, signed
        Of the place of the first bit unlike the sign.
    lowest, highest : int
        Range of ``exponent``.
    zero : Value, 1 bit
        Whether there is no such bit.

    Returns
    -------
    Number
    """
    range_, bits = range(min(lowest, ~highest), max(highest, ~lowest) + 1), len(kept)
    binade = Signal(Shape.cast(range_), name="binade")
    m.d.comb += binade.eq(exponent ^ sign.replicate(len(binade)).as_signed())
    return Number(
        sign=sign, magnitude=named(m, Cat(lost, kept[:-1], C(1, 1)), "significand"), exponent=binade, scale=-bits,
        zero=named(m, zero, "sum_zero"), infinity=C(0, 1), nan=C(0, 1), min_magnitude=1 << bits,
        max_magnitude=(2 << bits) - 1, min_exponent=range_.start, max_exponent=range_.stop - 1,
        zero_has_zero_magnitude=False)


def encode_posit(m, rounded):
    """Return the code of a rounded posit: its own, or that of zero or NaR.

    Parameters
    ----------
    m : Module
    rounded : Rounded
        With the code of a posit, without its top bit.
    """
    number = rounded.number
    nar = named(m, number.nan | number.infinity, "nar")
    special = named(m, nar | number.zero, "special")
    return Cat(rounded.code & (~special).replicate(len(rounded.code)), (number.sign & ~special) | nar)
