"""Posits: from a code to the number it stands for, and from a number to the posits on either side of it."""

from amaranth.hdl import *

from hw.convert.number import Number, named

__all__ = ["align_posit", "decode_posit", "encode_posit", "posit_scale"]


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
    upper, rest = body[-1], body[:-1]
    # Cut off the bits of the run that repeat its first one, in powers of two, counting them: that is the regime, or
    # its complement. Zeros come in from the right, which end a run of ones; one of zeros to the very end is zero, whose
    # exponent means nothing.
    repeats = []
    for level in reversed(range((bits - 1).bit_length())):
        places = 1 << level
        run = named(m, (rest[-places:] ^ ~upper.replicate(places)).all(), f"{name}_run_{places}")
        rest = named(m, Mux(run, Cat(C(0, places), rest)[:len(rest)], rest), f"{name}_by_{places}")
        repeats.append(run ^ ~upper)
    tail = rest[:-1]
    exponent = named(m, Cat(tail[len(tail) - fmt.exponent_size:], *reversed(repeats), ~upper).as_signed(),
                     f"{name}_exponent")
    fraction = tail[:len(tail) - fmt.exponent_size]
    width = fmt.significand_bits
    return Number(
        sign=sign, magnitude=Cat(fraction, C(1, 1)), exponent=exponent, zero=empty, infinity=C(0, 1),
        nan=named(m, sign & empty, f"{name}_nan"), scale=1 - width,
        min_magnitude=1 << (width - 1), max_magnitude=(1 << width) - 1,
        min_exponent=-fmt.max_exponent, max_exponent=fmt.max_exponent, zero_has_zero_magnitude=False)


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
