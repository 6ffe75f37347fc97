"""Multiplication of two codes, rounded once."""

import operator
from enum import Enum
from functools import partial

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.anticipated_product import align_product, suits_anticipation
from hw.arith.integer_product import multiply_integers
from hw.arith.marked_product import align_marked, suits_mark
from hw.arith.number_product import multiply
from hw.arith.rounded_product import multiply_rounded, suits_selection, suits_tables
from hw.convert.decode import decode, has_leading_zeros
from hw.convert.encode import encode
from hw.convert.integer import encode_integer, round_integer
from hw.function import code_of, code_of_aligned, require_structure, suitable_structures, table_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, PositFormat, RoundingMode
from sw.reference import Multiplication

__all__ = ["Multiplier", "Structure"]


NARROW_SIGNIFICAND = 4
"""Bits of the widest normalised significands that are multiplied in one form for all families. Where two bits of so few
are known, a family's own short carry chains are placed in more cells than they save, and are slower (float8_e4m3fn on
ECP5, placed: 129 LUTs at 54 MHz, against 123 at 65; with 5 bits, float8_e3m4 takes 132 at 58, against 149 at 52)."""


BRANCHING_SIGNIFICAND = 5
"""Bits of the narrower significand from which on a product of gated rows has fewer adders on the way in branches."""


COUNTED_FRACTION = 7
"""Bits of the shorter fraction from which on counting leading zeros in the operands was the smallest way on most
families, and the fastest one on all: the measurements are with :func:`default_structure`."""


class Structure(Enum):
    """Where a multiplier removes the leading zeros of subnormal numbers and integers, and how it rounds."""

    NORMALISE_OPERANDS = "normalise-operands"
    """Before the product, in each operand: its product then has one leading zero at most."""
    NORMALISE_PRODUCT = "normalise-product"
    """After the product, by the shifter that aligns it to the result's grid."""
    SIGNIFICAND_TABLES = "significand-tables"
    """In each operand; the rounded product of their significands is looked up. For floats of at most 6 fraction bits
    together, and rounding modes that do not ask for the sign."""
    SELECT_EXPONENT = "select-exponent"
    """In each operand; the product is not rounded, and its top bit, which comes early, selects the exponent. For floats
    whose result has room for every bit of the product, of at most 3 fraction bits each. LUTs and MHz of minifloat_e4m3
    without subnormal numbers to bfloat16: 47 at 138 on iCE40, 51 at 180 on ECP5, where significand tables take 41 at
    91, and 51 at 131."""
    TRUTH_TABLE = "truth-table"
    """Nowhere: each bit of the result is looked up. At most 12 bits of operands and random bits together."""
    COUNT_IN_OPERANDS = "count-in-operands"
    """After the product, by as many places as are counted in the operands, which is known before the product is; that
    one has few adders on the way. For floats."""
    MARK_PRODUCT = "mark-product"
    """After the product, in which the exponents mark how far at most. For floats, subnormal numbers among the results,
    none of whose products lies below their grid: of two exponent bits, say."""
    BALANCED = "balanced"
    """In each operand; the product has few adders on the way, for a few more of them. For significands of at least 5
    bits, where neither :attr:`COUNT_IN_OPERANDS` nor :attr:`MARK_PRODUCT` applies."""


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
        alignment, after the rounding and after the unpacking, in that order of priority (tables of significands
        are not aligned); any further ones stand at the output, for a tool that retimes.
    structure : Structure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else that of
        :func:`default_structure`.
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
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        self._model = Multiplication(a=a, b=b, result=result, rounding=rounding, overflow=overflow,
                                     random_bits=_integer("Random bit count", random_bits))
        self._structure = require_structure(structure, Structure, self._model)
        suits = {Structure.SIGNIFICAND_TABLES: suits_tables(a, b, result, rounding),
                 Structure.SELECT_EXPONENT: suits_selection(a, b, result, rounding),
                 Structure.COUNT_IN_OPERANDS: suits_anticipation(a, b, result),
                 Structure.MARK_PRODUCT: suits_mark(a, b, result)}
        if not suits.get(self._structure, True):
            raise ValueError(f"Structure must be another one for {a.name} by {b.name} to {result.name} with "
                             f"{rounding.value} rounding, not {self._structure}")
        self._pipeline = require_pipeline(pipeline)
        members = {"a": In(a.width), "b": In(b.width), "o": Out(result.width)}
        if random_bits:
            members["random"] = In(random_bits)
        super().__init__(members)

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        first = default_structure(model.a, model.b, model.result, model.random_bits, rounding=model.rounding)
        offered = [Structure.NORMALISE_OPERANDS, Structure.NORMALISE_PRODUCT, Structure.TRUTH_TABLE]
        if not any(has_leading_zeros(fmt) for fmt in (model.a, model.b)) or _all_fixed(model):
            offered.remove(Structure.NORMALISE_PRODUCT if first is not Structure.NORMALISE_PRODUCT
                           else Structure.NORMALISE_OPERANDS)
        if suits_tables(model.a, model.b, model.result, model.rounding):
            offered.append(Structure.SIGNIFICAND_TABLES)
        if suits_selection(model.a, model.b, model.result, model.rounding):
            offered.append(Structure.SELECT_EXPONENT)
        if suits_mark(model.a, model.b, model.result):
            offered.append(Structure.MARK_PRODUCT)
        elif suits_anticipation(model.a, model.b, model.result):
            offered.append(Structure.COUNT_IN_OPERANDS)
        elif min(map(_significand_bits, (model.a, model.b))) >= BRANCHING_SIGNIFICAND:
            offered.append(Structure.BALANCED)
        return suitable_structures(offered, model, first=first)

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
        """Where leading zeros are removed: as asked for, or what is taken for no device family in particular."""
        return self._chosen(None)

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
        match self._chosen(platform):
            case Structure.TRUTH_TABLE:
                code = delay(m, table_of(m, self), self._pipeline, name="code")
            case Structure.SIGNIFICAND_TABLES | Structure.SELECT_EXPONENT as structure:
                code = self._tables(m, platform, selected=structure is Structure.SELECT_EXPONENT)
            case Structure.COUNT_IN_OPERANDS:
                code = self._aligned_product(m, platform, align_product)
            case Structure.MARK_PRODUCT:
                code = self._aligned_product(m, platform, align_marked)
            case structure:
                form = partial(multiply_integers, platform=platform, balanced=structure is Structure.BALANCED)
                normalised = structure is not Structure.NORMALISE_PRODUCT
                code = (self._fixed_product(m, form) if _all_fixed(self._model)
                        else self._product(m, form, normalised=normalised))
        m.d.comb += self.o.eq(code)
        return m

    def _chosen(self, platform):
        suitable = self.structures(self._model)
        if self._hard_multiplier:  # tables leave nothing to multiply
            tables = (Structure.SIGNIFICAND_TABLES, Structure.SELECT_EXPONENT)
            suitable = tuple(item for item in suitable if item not in tables)
        return choose_structure(self._structure, suitable, self._model, platform, recorded=not self._hard_multiplier)

    def _operands(self, m, cycles, *, normalised):
        return [decode(m, fmt, code, normalised=normalised, name=name).delayed(m, cycles["unpack"])
                for fmt, code, name in ((self.a_format, self.a, "a"), (self.b_format, self.b, "b"))]

    def _product(self, m, form, *, normalised):
        """Sign, magnitude and exponent apart: some format is a float or a posit."""
        cycles = distribute(self._pipeline, ("product", "align", "round", "unpack"))
        a, b = self._operands(m, cycles, normalised=normalised)
        narrow = normalised and max(a.magnitude_bits, b.magnitude_bits) <= NARROW_SIGNIFICAND
        if narrow and not self._hard_multiplier:
            form = multiply_integers
        exact = multiply(m, a, b, self.result_format, self._hard_multiplier, multiply_magnitudes=form)
        exact = exact.delayed(m, cycles["product"])
        random = self._random(m, cycles["unpack"] + cycles["product"])
        return code_of(m, exact, self._model, random, cycles)

    def _aligned_product(self, m, platform, align):
        """All formats are floats, and the product comes on the grid of the result."""
        cycles = distribute(self._pipeline, ("product", "align", "round", "unpack"))
        aligned = align(m, self._model, *self._operands(m, cycles, normalised=False), cycles,
                        hard_multiplier=self._hard_multiplier, platform=platform)
        random = self._random(m, cycles["unpack"] + cycles["product"])
        return code_of_aligned(m, aligned, self._model, random, cycles)

    def _tables(self, m, platform, *, selected):
        """Sign, significand and exponent apart: all formats are floats."""
        cycles = distribute(self._pipeline, ("product", "round", "unpack"))
        rounded = multiply_rounded(m, self._model, self.a, self.b, cycles, platform=platform, selected=selected)
        code = encode(m, rounded.delayed(m, cycles["round"]), self.result_format, self.rounding, self.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _fixed_product(self, m, form):
        """All three formats are fixed point: the exact product in two's complement, shifted by a constant."""
        cycles = distribute(self._pipeline, ("product", "round"))
        a, b = (code.as_signed() if fmt.signed else code
                for fmt, code in ((self.a_format, self.a), (self.b_format, self.b)))
        exact = form(m, a, b, hard_multiplier=self._hard_multiplier)
        exact = delay(m, exact, cycles["product"], name="product")
        places = self.a_format.fraction_bits + self.b_format.fraction_bits - self.result_format.fraction_bits
        integer = round_integer(m, exact, places, self.rounding, self._random(m, cycles["product"]))
        code = encode_integer(m, delay(m, integer, cycles["round"], name="rounded"), self.result_format, self.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self.random_bits else None


def default_structure(a, b, result, random_bits=0, *, rounding=RoundingMode.NEAREST_EVEN):
    """Return the structure that is used where none is given: the smallest one measured, or the closest case to it.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, ``*`` the choice, unless
    it is in the table below:

    ===================================  ==================  =================  ==================  =============
    operands and result                  normalise operands  normalise product  significand tables  truth table
    ===================================  ==================  =================  ==================  =============
    float4_e2m1fn                        23 / 24 / 18        28 / 31 / 25                           19 / 19 / 4 *
    p3109_k4p2se                         36 / 29 / 23        45 / 42 / 27                           39 / 38 / 13 *
    int3                                 22 / 25 / 10                                               16 / 17 / 3 *
    int4                                 40 / 46 / 30 *                                             54 / 54 / 25
    float6_e2m3fn                        78 / 88 / 57        68 / 76 / 46 *     91 / 106 / 48
    float6_e3m2fn                        60 / 64 / 44        58 / 77 / 45       51 / 56 / 32 *
    float8_e4m3fn                        106 / 111 / 77 *    109 / 118 / 80     139 / 133 / 65
    float8_e5m2                          94 / 97 / 65        104 / 128 / 68     71 / 70 / 54 *
    float4_e2m1fn, flushed               14 / 17 / 12                           11 / 10 / 10        14 / 12 / 4 *
    float6_e2m3fn, flushed               42 / 45 / 23                           34 / 36 / 16 *
    float8_e4m3fn, flushed               62 / 72 / 41                           58 / 62 / 34 *
    float8_e5m2, flushed, to infinity    59 / 55 / 38                           40 / 41 / 26 *
    minifloat_e4m3, absent, to bfloat16  49 / 57 / 33                           47 / 56 / 32 *
    minifloat_e2m5                       150 / 165 / 94      119 / 136 / 79 *
    float16                              466 / 496 / 296     425 / 473 / 282
    float8_e4m3fn by int4                82 / 82 / 58 *      92 / 100 / 70
    int8 by int8 to float16              205 / 223 / 147 *   230 / 242 / 143
    posit<3,0>                           14 / 11 / 7 *                                              15 / 18 / 3
    posit<4,1>                           29 / 30 / 21 *                                             97 / 87 / 14
    posit<5,1>                           44 / 47 / 26 *                                             296 / 292 / 109
    posit<6,1>                           95 / 89 / 57 *                                             1199 / 1247 / 562
    posit<8,0>                           175 / 192 / 143 *
    posit<8,1>                           162 / 174 / 130 *
    posit<8,2>                           147 / 159 / 114 *
    float8_e4m3fn by posit<8,1>          134 / 145 / 101 *   160 / 171 / 126
    float8_e4m3fn to posit<8,1>          101 / 113 / 79 *    120 / 132 / 90
    float6_e2m3fn to posit<8,1>          83 / 90 / 56 *      97 / 114 / 75
    float16 to posit<16,1>               450 / 478 / 305     428 / 460 / 293 *
    int8 by posit<8,1>                   184 / 207 / 136 *   200 / 206 / 146
    int8 by int8 to posit<8,1>           219 / 231 / 136 *   222 / 236 / 137
    ===================================  ==================  =================  ==================  =============

    Flushed and absent are the subnormal numbers. A posit is unpacked with its significand normalised in either
    structure.

    With the products of each family, and MHz on iCE40 / ECP5, what :attr:`Structure.COUNT_IN_OPERANDS` takes, beside
    the smaller one of the first two structures:

    =====================  ==================================  ==================================
    operands and result    count in operands                   normalise operands or product
    =====================  ==================================  ==================================
    float16, to infinity   376 / 349 / 232, 42 / 44 MHz *      361 / 396 / 259, 24 / 34 MHz
    bfloat16               284 / 269 / 187, 45 / 49 MHz *      272 / 288 / 198, 32 / 46 MHz
    minifloat_e5m9         312 / 309 / 198, 47 / 49 MHz *      297 / 325 / 213, 26 / 37 MHz
    float8_e3m4            122 / 117 / 89, 69 / 66 MHz         118 / 123 / 84, 48 / 52 MHz *
    =====================  ==================================  ==================================
    """
    posits = any(isinstance(fmt, PositFormat) for fmt in (a, b, result))
    tiny = 4 if any(isinstance(fmt, FloatingPointFormat) for fmt in (a, b, result)) else 3
    if max(a.width, b.width, result.width) <= tiny and not random_bits and not posits:
        return Structure.TRUTH_TABLE
    floats = [fmt for fmt in (a, b) if isinstance(fmt, FloatingPointFormat)]
    if isinstance(result, FixedPointFormat):
        return Structure.NORMALISE_PRODUCT  # fixed point needs no normalised significand
    zeros = [fmt for fmt in (a, b) if has_leading_zeros(fmt)]
    if (suits_anticipation(a, b, result) and min(fmt.fraction_bits for fmt in floats) >= COUNTED_FRACTION
            and min(fmt.exponent_bits for fmt in floats) > 2):  # else the zeros of both have to be counted
        return Structure.COUNT_IN_OPERANDS
    if len(floats) == 2 and zeros and ((max(fmt.exponent_bits for fmt in floats) <= 2 and not posits)
                                       or min(fmt.fraction_bits for fmt in floats) >= 10):
        return Structure.NORMALISE_PRODUCT
    if suits_tables(a, b, result, rounding) and all(fmt.fraction_bits <= 2 for fmt in zeros):
        return Structure.SIGNIFICAND_TABLES
    return Structure.NORMALISE_OPERANDS


def _significand_bits(fmt):
    return (fmt.width if isinstance(fmt, FixedPointFormat) else
            fmt.significand_bits if isinstance(fmt, PositFormat) else fmt.fraction_bits + 1)


def _all_fixed(model):
    return all(isinstance(fmt, FixedPointFormat) for fmt in (model.a, model.b, model.result))


def _integer(noun, value):
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{noun} must be an integer, not {value!r}") from None
