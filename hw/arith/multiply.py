"""Multiplication of two codes, rounded once."""

import operator
from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.integer_product import multiply_integers
from hw.arith.truth_table import truth_table
from hw.convert.align import align, float_scale
from hw.convert.decode import decode
from hw.convert.encode import encode, round_aligned
from hw.convert.integer import encode_integer, round_integer
from hw.convert.number import Number, named
from hw.convert.round import fraction_bits_needed
from hw.pipeline import MAX_PIPELINE, delay, distribute
from hw.shape import require_format
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, PositFormat, RoundingMode
from sw.reference import Multiplication

__all__ = ["Multiplier", "Structure"]


class Structure(Enum):
    """Where a multiplier removes the leading zeros of subnormal numbers and integers."""

    NORMALISE_OPERANDS = "normalise-operands"
    """Before the product, in each operand: its product then has one leading zero at most."""
    NORMALISE_PRODUCT = "normalise-product"
    """After the product, by the shifter that aligns it to the result's grid."""
    TRUTH_TABLE = "truth-table"
    """Neither: each bit of the result is looked up. At most 12 bits of operands and random bits together."""


TABLE_LIMIT = 12
"""Most input bits of a truth table, for which the reference is asked once each."""


class Multiplier(wiring.Component):
    """Product of two codes, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one pair of codes per cycle. The output is what
    ``sw.reference.Multiplication`` computes, for every pair of codes. Registers have no reset: the first ``latency``
    outputs after power-up mean nothing.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the first operand.
    b : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the second operand; that of the first by default.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
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
        By default, the smallest one measured: see :func:`default_structure`.
    hard_multiplier : bool
        Leave the product of the significands to the synthesizer, for a DSP block, rather than build it from gates.

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
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, structure=None, hard_multiplier=False):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        if result is None and a != b:
            raise ValueError(f"Result format must be given for operands of two formats, {a.name} and {b.name}, "
                             f"not {result!r}")
        result = a if result is None else require_format("Result format", result)
        for noun, kind, value in (("Rounding mode", RoundingMode, rounding),
                                  ("Overflow policy", OverflowPolicy, overflow)):
            if not isinstance(value, kind):
                raise TypeError(f"{noun} must be of type {kind.__name__}, not {value!r}")
        random_bits = _integer("Random bit count", random_bits)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        self._structure = default_structure(a, b, result, random_bits) if structure is None else structure
        if not isinstance(self._structure, Structure):
            raise TypeError(f"Structure must be a Structure, not {structure!r}")
        bits = a.width + b.width + random_bits
        if self._structure is Structure.TRUTH_TABLE and bits > TABLE_LIMIT:
            raise ValueError(f"Structure must be another one for more than {TABLE_LIMIT} input bits, "
                             f"not {self._structure} for {bits}")
        self._model = Multiplication(a=a, b=b, result=result, rounding=rounding, overflow=overflow,
                                     random_bits=random_bits)
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
    def hard_multiplier(self):
        """Whether the product of the significands is left to the synthesizer."""
        return self._hard_multiplier

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
        if self._structure is Structure.TRUTH_TABLE:
            code = self._table(m)
        else:
            code = self._fixed_product(m) if fixed else self._product(m)
        m.d.comb += self.o.eq(code)
        return m

    def _table(self, m):
        """The reference's own values, in a table of all inputs."""
        inputs = Cat(self.a, self.b, self.random) if self.random_bits else Cat(self.a, self.b)
        a, b = self.a_format.width, self.b_format.width
        values = [self._model(index & ((1 << a) - 1), index >> a & ((1 << b) - 1), index >> a + b)
                  for index in range(1 << len(inputs))]
        return delay(m, truth_table(m, inputs, values, len(self.o)), self._pipeline, name="code")

    def _product(self, m):
        """Sign, magnitude and exponent apart: some format is a float or a posit."""
        cycles = distribute(self._pipeline, ("product", "align", "round", "unpack"))
        normalised = self._structure is Structure.NORMALISE_OPERANDS
        a, b = (decode(m, fmt, code, normalised=normalised, name=name).delayed(m, cycles["unpack"])
                for fmt, code, name in ((self.a_format, self.a, "a"), (self.b_format, self.b, "b")))
        exact = multiply(m, a, b, self.result_format, self._hard_multiplier).delayed(m, cycles["product"])
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
        exact = delay(m, multiply_integers(m, a, b, hard_multiplier=self._hard_multiplier), cycles["product"],
                      name="product")
        places = self.a_format.fraction_bits + self.b_format.fraction_bits - self.result_format.fraction_bits
        integer = round_integer(m, exact, places, self.rounding, self._random(m, cycles["product"]))
        code = encode_integer(m, delay(m, integer, cycles["round"], name="rounded"), self.result_format, self.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self.random_bits else None


def multiply(m, a, b, fmt, hard_multiplier, *, scale_for=float_scale):
    """Return the exact product of two numbers, with IEEE 754's rules for special values (754-2019 sections 6, 7.2).

    Parameters
    ----------
    m : Module
    a, b : Number
    fmt : FloatingPointFormat, FixedPointFormat or PositFormat
        What the product will be rounded to: the constant that this asks for is added to the exponents here.
    hard_multiplier : bool
        Whether the product of the magnitudes is left to the synthesizer.
    scale_for : callable
        Takes the width of the product and ``fmt``; returns the scale for which what comes next needs no constant in
        its exponent, or None if there is none.

    Returns
    -------
    Number
    """
    largest = a.max_magnitude * b.max_magnitude
    bits = largest.bit_length()
    magnitude = named(
        m, multiply_integers(m, a.magnitude, b.magnitude, hard_multiplier=hard_multiplier)[:bits], "magnitude")
    scale = a.scale + b.scale
    wanted = scale_for(bits, fmt)
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
        total = value.value + constant
        return C(total, Shape.cast(range(min(0, total), max(0, total) + 1)))
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


def default_structure(a, b, result, random_bits=0):
    """Return the structure that is used where none is given: the smallest one measured, or the closest case to it.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, ``*`` the choice:

    ==================================  ==================  =================  =============
    operands and result                 normalise operands  normalise product  truth table
    ==================================  ==================  =================  =============
    float4_e2m1fn                       23 / 24 / 18        28 / 31 / 25       19 / 19 / 4 *
    p3109_k4p2se                        36 / 29 / 23        45 / 42 / 27       39 / 38 / 13 *
    int3                                22 / 25 / 10                           16 / 17 / 3 *
    int4                                40 / 46 / 30 *                         54 / 54 / 25
    float6_e2m3fn                       78 / 88 / 57        68 / 76 / 47 *
    float6_e3m2fn                       60 / 64 / 44 *      59 / 74 / 50
    float8_e4m3fn                       107 / 112 / 77 *    109 / 119 / 85
    float8_e5m2                         98 / 100 / 69 *     110 / 126 / 77
    minifloat_e2m5                      150 / 165 / 94      119 / 136 / 79 *
    float16                             466 / 496 / 296     425 / 473 / 282 *
    float8_e4m3fn by int4               82 / 82 / 58 *      92 / 100 / 70
    int8 by int8 to float16             205 / 223 / 147 *   230 / 242 / 143
    posit<3,0>                          14 / 11 / 7 *                          15 / 18 / 3
    posit<4,1>                          29 / 30 / 21 *                         97 / 87 / 14
    posit<5,1>                          44 / 47 / 26 *                         296 / 292 / 109
    posit<6,1>                          95 / 89 / 57 *                         1199 / 1247 / 562
    posit<8,0>                          175 / 192 / 143 *
    posit<8,1>                          162 / 174 / 130 *
    posit<8,2>                          147 / 159 / 114 *
    float8_e4m3fn by posit<8,1>         134 / 145 / 101 *   160 / 171 / 126
    float8_e4m3fn to posit<8,1>         101 / 113 / 79 *    120 / 132 / 90
    float6_e2m3fn to posit<8,1>         83 / 90 / 56 *      97 / 114 / 75
    float16 to posit<16,1>              450 / 478 / 305     428 / 460 / 293 *
    int8 by posit<8,1>                  184 / 207 / 136 *   200 / 206 / 146
    int8 by int8 to posit<8,1>          219 / 231 / 136 *   222 / 236 / 137
    ==================================  ==================  =================  =============

    A posit is unpacked with its significand normalised in either structure.
    """
    posits = any(isinstance(fmt, PositFormat) for fmt in (a, b, result))
    tiny = 4 if any(isinstance(fmt, FloatingPointFormat) for fmt in (a, b, result)) else 3
    if max(a.width, b.width, result.width) <= tiny and not random_bits and not posits:
        return Structure.TRUTH_TABLE
    floats = [fmt for fmt in (a, b) if isinstance(fmt, FloatingPointFormat)]
    if isinstance(result, FixedPointFormat):
        return Structure.NORMALISE_PRODUCT  # fixed point needs no normalised significand
    if len(floats) == 2 and ((max(fmt.exponent_bits for fmt in floats) <= 2 and not posits)
                             or min(fmt.fraction_bits for fmt in floats) >= 10):
        return Structure.NORMALISE_PRODUCT
    return Structure.NORMALISE_OPERANDS


def _integer(noun, value):
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{noun} must be an integer, not {value!r}") from None
