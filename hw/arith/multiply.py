"""Multiplication of two codes, rounded once."""

import operator
from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.integer_product import multiply_columns
from hw.convert.align import align, float_scale
from hw.convert.decode import decode
from hw.convert.encode import encode, round_aligned
from hw.convert.integer import encode_integer, round_integer
from hw.convert.number import Number, named
from hw.convert.round import fraction_bits_needed
from hw.pipeline import MAX_PIPELINE, delay, distribute
from hw.shape import require_format
from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode
from sw.reference import Multiplication

__all__ = ["Multiplier", "Structure"]


class Structure(Enum):
    """Where a multiplier removes the leading zeros of subnormal numbers and integers."""

    NORMALISE_OPERANDS = "normalise-operands"
    """Before the product, in each operand: its product then has one leading zero at most."""
    NORMALISE_PRODUCT = "normalise-product"
    """After the product, by the shifter that aligns it to the result's grid."""


class Multiplier(wiring.Component):
    """Product of two codes, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one pair of codes per cycle. The output is what
    ``sw.reference.Multiplication`` computes, for every pair of codes. Registers have no reset: the first ``latency``
    outputs after power-up mean nothing.

    Parameters
    ----------
    a : FloatingPointFormat or FixedPointFormat
        Format of the first operand.
    b : FloatingPointFormat or FixedPointFormat, optional
        Format of the second operand; that of the first by default.
    result : FloatingPointFormat or FixedPointFormat, optional
        Format of the result; by default that of the operands, if they have the same.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first four go after the product, after the
        alignment, after the rounding and after the unpacking, in that order of priority; any further ones
        stand at the output, for a tool that retimes.
    structure : Structure, optional
        By default, the smaller one: see :func:`default_structure`.

    Members
    -------
    a : In(a.width)
        Code of the first operand.
    b : In(b.width)
        Code of the second operand.
    random : In(random_bits)
        Random bits of that pair; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the rounded product.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If no result format is given for operands of two formats, the overflow policy does not apply to the
        result format, the random bits do not suit the rounding mode, or ``pipeline`` is out of range.
    """

    def __init__(self, a, b=None, result=None, *, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, structure=None):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        if result is None and a != b:
            raise ValueError(f"Result format must be given for operands of two formats, {a.name} and {b.name}, "
                             f"not {result!r}")
        result = a if result is None else require_format("Result format", result)
        for noun, kind, value in (("Rounding mode", RoundingMode, rounding), ("Overflow policy", OverflowPolicy, overflow)):
            if not isinstance(value, kind):
                raise TypeError(f"{noun} must be a {kind.__name__}, not {value!r}")
        self._structure = default_structure(a, b, result) if structure is None else structure
        if not isinstance(self._structure, Structure):
            raise TypeError(f"Structure must be a Structure, not {structure!r}")
        self._model = Multiplication(a=a, b=b, result=result, rounding=rounding, overflow=overflow,
                                     random_bits=_integer("Random bit count", random_bits))
        self._pipeline = _integer("Pipeline", pipeline)
        if not 0 <= self._pipeline <= MAX_PIPELINE:
            raise ValueError(f"Pipeline must be between 0 and {MAX_PIPELINE} register stages, not {pipeline!r}")
        members = {"a": In(a.width), "b": In(b.width), "o": Out(result.width)}
        if random_bits:
            members["random"] = In(random_bits)
        super().__init__(members)

    @property
    def a_format(self):
        """Format of the first operand."""
        return self._model.a

    @property
    def b_format(self):
        """Format of the second operand."""
        return self._model.b

    @property
    def result_format(self):
        """Format of the result."""
        return self._model.result

    @property
    def rounding(self):
        """Rounding mode."""
        return self._model.rounding

    @property
    def overflow(self):
        """Overflow policy."""
        return self._model.overflow

    @property
    def random_bits(self):
        """Random bits each stochastic rounding takes."""
        return self._model.random_bits

    @property
    def structure(self):
        """Where leading zeros are removed."""
        return self._structure

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a pair of codes to their product."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters, ``model(a, b, random=0)``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        fixed = all(isinstance(fmt, FixedPointFormat) for fmt in (self.a_format, self.b_format, self.result_format))
        m.d.comb += self.o.eq(self._fixed_product(m) if fixed else self._product(m))
        return m

    def _product(self, m):
        """Sign, magnitude and exponent apart: some format is a float."""
        cycles = distribute(self._pipeline, ("product", "align", "round", "unpack"))
        normalised = self._structure is Structure.NORMALISE_OPERANDS
        a, b = (decode(m, fmt, code, normalised=normalised, name=name).delayed(m, cycles["unpack"])
                for fmt, code, name in ((self.a_format, self.a, "a"), (self.b_format, self.b, "b")))
        exact = multiply(m, a, b, self.result_format).delayed(m, cycles["product"])
        bits = fraction_bits_needed(self.rounding, self.random_bits)
        aligned = align(m, exact, self.result_format, bits).delayed(m, cycles["align"])
        random = self._random(m, cycles["unpack"] + cycles["product"] + cycles["align"])
        rounded = round_aligned(m, aligned, self.result_format, self.rounding, random).delayed(m, cycles["round"])
        code = encode(m, rounded, self.result_format, self.rounding, self.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _fixed_product(self, m):
        """All three formats are fixed point: the exact product in two's complement, shifted by a constant."""
        cycles = distribute(self._pipeline, ("product", "round"))
        a, b = (code.as_signed() if fmt.signed else code
                for fmt, code in ((self.a_format, self.a), (self.b_format, self.b)))
        exact = delay(m, named(m, a * b, "product"), cycles["product"], name="product")
        places = self.a_format.fraction_bits + self.b_format.fraction_bits - self.result_format.fraction_bits
        integer = round_integer(m, exact, places, self.rounding, self._random(m, cycles["product"]))
        code = encode_integer(m, delay(m, integer, cycles["round"], name="rounded"), self.result_format, self.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self.random_bits else None


def multiply(m, a, b, fmt):
    """Return the exact product of two numbers, with IEEE 754's rules for special values (754-2019 sections 6, 7.2).

    Parameters
    ----------
    m : Module
    a, b : Number
    fmt : FloatingPointFormat or FixedPointFormat
        What the product will be rounded to: the constant that this asks for is added to the exponents here.

    Returns
    -------
    Number
    """
    largest = a.max_magnitude * b.max_magnitude
    bits = largest.bit_length()
    magnitude = named(m, multiply_columns(m, a.magnitude, b.magnitude, bits), "magnitude")
    scale = a.scale + b.scale
    wanted = float_scale(bits, fmt)
    offset = 0 if wanted is None else scale - wanted
    exponents = range(a.min_exponent + b.min_exponent + offset, a.max_exponent + b.max_exponent + offset + 1)
    exponent = Signal(Shape.cast(exponents), name="exponent")
    m.d.comb += exponent.eq(add_constant(m, a.exponent, offset, "a_exponent_offset") + b.exponent)
    return Number(
        sign=named(m, a.sign ^ b.sign, "sign"), magnitude=magnitude, exponent=exponent, scale=scale - offset,
        zero=named(m, a.zero | b.zero, "zero"), infinity=named(m, a.infinity | b.infinity, "infinity"),
        nan=named(m, a.nan | b.nan | (a.infinity & b.zero) | (a.zero & b.infinity), "nan"),
        min_magnitude=a.min_magnitude * b.min_magnitude, max_magnitude=largest,
        min_exponent=exponents.start, max_exponent=exponents.stop - 1,
        zero_has_zero_magnitude=a.zero_has_zero_magnitude and b.zero_has_zero_magnitude)


def add_constant(m, value, constant, name):
    """Return ``value + constant`` in gates, which vanish for the constants that flip a top bit or two."""
    if not constant:
        return value
    if isinstance(value, Const):
        return C(value.value + constant, Shape.cast(range(min(0, value.value + constant), max(0, value.value + constant) + 1)))
    low, high = (-(1 << len(value) - 1), 1 << len(value) - 1) if value.shape().signed else (0, 1 << len(value))
    shape = Shape.cast(range(min(0, low + constant), high + constant))
    sign = value[-1] if value.shape().signed else C(0, 1)
    bits, carry = [], C(0, 1)
    for position in range(shape.width):
        bit = value[position] if position < len(value) else sign
        if (constant >> position) & 1:
            bits.append(~(bit ^ carry))
            carry = bit | carry
        else:
            bits.append(bit ^ carry)
            carry = bit & carry
    total = named(m, Cat(*bits), name)
    return total.as_signed() if shape.signed else total


def default_structure(a, b, result):
    """Return the structure that is used where none is given."""
    if isinstance(result, FixedPointFormat):
        return Structure.NORMALISE_PRODUCT
    return Structure.NORMALISE_OPERANDS


def _integer(noun, value):
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{noun} must be an integer, not {value!r}") from None
