"""Formats as Amaranth shapes: the code of a format seen as its fields, or as an integer."""

from amaranth.hdl import *
from amaranth.lib import data

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat

__all__ = ["code_shape", "is_format", "require_format"]


def code_shape(fmt):
    """Return the shape under which a code of ``fmt`` shows its meaning.

    Parameters
    ----------
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat

    Returns
    -------
    amaranth.lib.data.StructLayout or Shape
        For a float, a structure of ``fraction``, ``exponent`` and, where there is one, ``sign``, from bit 0 up
        (a format without fraction bits has a ``fraction`` of no bits). For fixed point, a signed or unsigned shape.
        For a posit a signed one: its fields move, but its codes order as integers do.

    Raises
    ------
    TypeError
        If ``fmt`` is not a format.
    """
    require_format("Format", fmt)
    if isinstance(fmt, FixedPointFormat):
        return signed(fmt.width) if fmt.signed else unsigned(fmt.width)
    if isinstance(fmt, PositFormat):
        return signed(fmt.width)
    fields = {"fraction": unsigned(fmt.fraction_bits), "exponent": unsigned(fmt.exponent_bits)}
    if fmt.signed:
        fields["sign"] = unsigned(1)
    return data.StructLayout(fields)


def is_format(value):
    """Whether ``value`` is a format that hardware can be built for."""
    return isinstance(value, (FloatingPointFormat, FixedPointFormat, PositFormat))


def require_format(noun, value):
    """Return ``value`` if it is a format.

    Raises
    ------
    TypeError
        If it is not; ``noun`` starts the message.
    """
    if not is_format(value):
        mend = f"; write sw.formats.parse({value!r})" if isinstance(value, str) else ""
        raise TypeError(f"{noun} must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, not "
                        f"{value!r}{mend}")
    return value
