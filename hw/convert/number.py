"""A number inside a circuit: sign, magnitude and exponent as signals, their ranges as facts."""

from dataclasses import dataclass, replace

from amaranth.hdl import *

from hw.pipeline import delay

__all__ = ["Number", "named"]


@dataclass(frozen=True, kw_only=True)
class Number:
    """The number ``(-1)**sign * magnitude * 2**(exponent + scale)``, or zero, an infinity or a NaN.

    NaN outranks the other flags, and zero outranks infinity only by being excluded from it: no circuit raises both
    without raising ``nan`` too. Where a flag is up, the magnitude and the exponent mean nothing.

    Parameters
    ----------
    sign, zero, infinity, nan : Value, 1 bit
        ``Const(0)`` where the case does not arise.
    magnitude : Value, unsigned
    exponent : Value
    scale : int
        What is added to ``exponent``, known when the circuit is built.
    min_magnitude, max_magnitude : int
        Range of ``magnitude`` while no flag is up.
    min_exponent, max_exponent : int
        Range of ``exponent`` while no flag is up.
    zero_has_zero_magnitude : bool
        Whether ``magnitude`` is 0 while ``zero`` is up, as if zero were an ordinary number.
    zeros_at_min_exponent : bool
        Whether a magnitude with leading zeros always comes with ``min_exponent``, that of a number that is zero too,
        as in formats with subnormal numbers. Sums then need fewer bits.
    """

    sign: Value
    magnitude: Value
    exponent: Value
    zero: Value
    infinity: Value
    nan: Value
    scale: int
    min_magnitude: int
    max_magnitude: int
    min_exponent: int
    max_exponent: int
    zero_has_zero_magnitude: bool
    zeros_at_min_exponent: bool = False

    @property
    def magnitude_bits(self):
        """Bits that the largest magnitude takes."""
        return self.max_magnitude.bit_length()

    @property
    def leading_zeros(self):
        """How many leading zeros the smallest magnitude has in ``magnitude_bits`` bits; 0 if it is normalised."""
        return self.magnitude_bits - self.min_magnitude.bit_length()

    def delayed(self, m, cycles):
        """Return the same number ``cycles`` clock cycles later."""
        names = ("sign", "magnitude", "exponent", "zero", "infinity", "nan")
        return replace(self, **{name: delay(m, getattr(self, name), cycles, name=name) for name in names})

    def flags_delayed(self, m, cycles):
        """Return sign and flags ``cycles`` clock cycles later; magnitude and exponent are left out, as zeros."""
        names = ("sign", "zero", "infinity", "nan")
        return replace(self, magnitude=C(0, 1), exponent=C(0, 1),
                       **{name: delay(m, getattr(self, name), cycles, name=name) for name in names})


def named(m, value, name):
    """Return a new combinational signal that equals ``value``, so that netlists show a name for it."""
    value = Value.cast(value)
    if isinstance(value, (Const, Signal)):
        return value
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal
