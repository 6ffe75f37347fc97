"""From a code to the number it stands for."""

from dataclasses import replace

from amaranth.hdl import *

from hw.convert.number import Number, named
from hw.convert.posit import decode_posit
from hw.shape import code_shape
from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, Specials, Subnormals

__all__ = ["decode", "has_leading_zeros", "unpack_float"]


def decode(m, fmt, code, *, normalised, name):
    """Unpack ``code`` into sign, magnitude, exponent and flags.

    Parameters
    ----------
    m : Module
        Receives the combinational logic.
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    code : Value, ``fmt.width`` bits
    normalised : bool
        Whether subnormal numbers and integers are shifted until their top bit is set. The circuits that follow
        then have one leading zero at most to remove from a product. (Those of posits always are.)
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Number
        Its value is what ``fmt.decode`` returns for the code.
    """
    if isinstance(fmt, PositFormat):
        return decode_posit(m, fmt, code, name)
    if isinstance(fmt, FixedPointFormat):
        number = _decode_fixed(m, fmt, code, name)
    else:
        number = unpack_float(m, fmt, code, name)
    if not number.leading_zeros:
        return number
    if normalised:
        return _normalise(m, number, name)
    if number.min_exponent:  # the exponent field of a subnormal number is 0, its exponent that of field 1
        number = replace(number, exponent=number.exponent | ~number.magnitude[-1])
    return replace(number, zeros_at_min_exponent=True)


def has_leading_zeros(fmt):
    """Whether numbers of a format have magnitudes with leading zeros, unless :func:`decode` normalises them.

    Parameters
    ----------
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
    """
    if isinstance(fmt, FixedPointFormat):
        return fmt.width > 1
    return isinstance(fmt, FloatingPointFormat) and fmt.subnormals is Subnormals.SUPPORTED and fmt.fraction_bits > 0


def _decode_fixed(m, fmt, code, name):
    sign = code[-1] if fmt.signed else Const(0)
    # The most negative code has the magnitude 2**(width - 1), which still fits: no bit is lost by the negation.
    magnitude = named(m, Mux(sign, -code, code)[:fmt.width], f"{name}_magnitude") if fmt.signed else code
    return Number(
        sign=sign, magnitude=magnitude, exponent=Const(0, signed(1)),
        zero=named(m, ~code.any(), f"{name}_zero"), infinity=Const(0), nan=Const(0),
        scale=-fmt.fraction_bits, min_magnitude=1,
        max_magnitude=1 << (fmt.width - 1) if fmt.signed else (1 << fmt.width) - 1, min_exponent=0, max_exponent=0,
        zero_has_zero_magnitude=True)


def unpack_float(m, fmt, code, name):
    """Unpack a float, a subnormal number with the exponent 0 of its field, which is one less than its own.

    Parameters
    ----------
    m : Module
    fmt : FloatingPointFormat
    code : Value, ``fmt.width`` bits
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Number
    """
    view = code_shape(fmt)(code)
    sign = view.sign if fmt.signed else Const(0)
    field, fraction, magnitude = view.exponent, view.fraction, code[:fmt.exponent_bits + fmt.fraction_bits]
    hidden, lowest = Const(1), 1 << fmt.fraction_bits
    zero, step = ~magnitude.any() if fmt.has_zero else Const(0), fmt.radix // 2
    if fmt.subnormals is Subnormals.FLUSHED:
        zero = ~field.any()
    elif fmt.subnormals is Subnormals.SUPPORTED:
        hidden, lowest = named(m, field.any(), f"{name}_normal"), 1
        zero = ~hidden & ~fraction.any()
        if not fmt.fraction_bits:  # field 0 is zero alone
            hidden = Const(1)
    infinity, nan = _specials(fmt, code, magnitude)
    return Number(
        sign=sign, magnitude=Cat(fraction, hidden), zero=named(m, zero, f"{name}_zero"),
        exponent=field if step == 1 else Cat(C(0, 1), field),
        infinity=named(m, infinity, f"{name}_infinity"), nan=named(m, nan, f"{name}_nan"),
        scale=-int(fmt.bias * step) - fmt.fraction_bits,
        min_magnitude=lowest, max_magnitude=(2 << fmt.fraction_bits) - 1,
        min_exponent=0 if fmt.subnormals is Subnormals.ABSENT else 1,
        max_exponent=(fmt.max_code >> fmt.fraction_bits) * step,
        zero_has_zero_magnitude=lowest < 1 << fmt.fraction_bits)


def _specials(fmt, code, magnitude):
    """Return whether the code is an infinity and whether it is a NaN."""
    infinity = magnitude == fmt.infinity_code if fmt.has_infinity else Const(0)
    match fmt.specials:
        case Specials.IEEE:
            nan = magnitude[fmt.fraction_bits:].all() & magnitude[:fmt.fraction_bits].any()
        case Specials.FN:
            nan = magnitude.all()
        case Specials.FNUZ | Specials.P3109:
            nan = code == fmt.nan_code
        case Specials.NONE:
            nan = Const(0)
    return infinity, nan


def _normalise(m, number, name):
    """Shift the magnitude left until its top bit is set, and lower the exponent by as much.

    The exponent that comes in is zero wherever the top bit is clear, so that the new one needs no adder.
    """
    bits, places = number.magnitude_bits, number.leading_zeros
    shifted, exponent = C(0, 1), C(0, 1)
    for zeros in range(places, 0, -1):
        leads = number.magnitude[bits - 1 - zeros]
        shifted = Mux(leads, number.magnitude[:bits - zeros] << zeros, shifted)
        exponent = Mux(leads, C(number.min_exponent - zeros, signed(12)), exponent)
    top = number.magnitude[bits - 1]
    lowest = number.min_exponent - places
    shape = Shape.cast(range(lowest, number.max_exponent + 1))
    exponent = (number.exponent | Mux(top, C(0, 1), exponent))[:shape.width]
    return replace(
        number, min_magnitude=1 << (bits - 1), max_magnitude=(1 << bits) - 1, min_exponent=lowest,
        zero_has_zero_magnitude=False,
        magnitude=named(m, Cat(Mux(top, number.magnitude, shifted)[:bits - 1], C(1, 1)), f"{name}_normalised"),
        exponent=named(m, exponent.as_signed() if shape.signed else exponent, f"{name}_exponent"))
