"""Fused multiply-add of three codes, rounded once."""

from enum import Enum
from functools import partial

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.arith.fused_sum import code_of_sum, suits_steps
from hw.arith.integer_product import multiply_integers
from hw.arith.number_product import multiply
from hw.arith.number_sum import add_numbers, sum_scale
from hw.convert.decode import decode, has_leading_zeros
from hw.convert.integer import encode_integer, round_integer
from hw.convert.number import named
from hw.function import code_of, function_members, require_structure, suitable_structures, table_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference import FusedMultiplyAdd as Reference

__all__ = ["FusedMultiplyAdd", "FusedStructure"]

_CUTS = "sum", "product", "align", "operands", "round", "unpack"
"""Places for registers, the best one first."""


class FusedStructure(Enum):
    """Where a fused multiply-add removes the leading zeros of subnormal numbers and integers."""

    NORMALISE_FACTORS = "normalise-factors"
    """In the factors, and after the sum step by step, which the exponent stops at the result's lowest: where summand
    and result are floats with subnormal numbers and the same bias. Its path is the shortest, too."""
    NORMALISE_OPERANDS = "normalise-operands"
    """In all three operands, so that the bits in which product and summand meet are the fewest."""
    NORMALISE_SUM = "normalise-sum"
    """After the sum alone, by the shifter that aligns it to the result's grid."""
    TRUTH_TABLE = "truth-table"
    """Nowhere: each bit of the result is looked up. At most 12 bits of operands and random bits together."""


class FusedMultiplyAdd(wiring.Component):
    """``a * b + c`` of three codes, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one triple of codes per cycle. The output is what
    ``sw.reference.FusedMultiplyAdd`` computes, for every triple of codes. Registers have no reset: the first
    ``latency`` outputs after power-up mean nothing.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the first factor.
    b, c, result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Formats of the second factor, the summand and the result; by default that of the first factor, if all that are
        given are the same.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first six go after the sum, after the product,
        after the alignment to the result, before the sum, after the rounding and after the unpacking, in that order
        of priority; any further ones stand at the output, for a tool that retimes.
    structure : FusedStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else that of
        :func:`default_structure`.
    hard_multiplier : bool
        Leave the product of the significands to the synthesizer, for a DSP block, rather than build it from gates.

    Members
    -------
    a, b : In(a.width), In(b.width)
        Codes of the factors.
    c : In(c.width)
        Code of the summand.
    random : In(random_bits)
        Random bits of that triple; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the rounded sum.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If no result format is given for operands of several formats, the overflow policy does not apply to the
        result format, the random bits do not suit the rounding mode, the structure does not suit the operands, or
        ``pipeline`` is out of range.
    """

    def __init__(self, a, b=None, c=None, result=None, *, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, structure=None, hard_multiplier=False):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        c = a if c is None else require_format("Format c", c)
        if result is None and not a == b == c:
            raise ValueError(f"Result format must be given for operands of several formats, {a.name}, {b.name} and "
                             f"{c.name}, not {result!r}")
        result = a if result is None else require_format("Result format", result)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        self._model = Reference(a=a, b=b, c=c, result=result, rounding=rounding, overflow=overflow,
                                random_bits=random_bits)
        self._structure = require_structure(structure, FusedStructure, self._model)
        if self._structure is FusedStructure.NORMALISE_FACTORS and not suits_steps(c, result):
            raise ValueError(f"Structure must be another one for a summand of {c.name} and a result of {result.name}, "
                             f"not {self._structure}")
        self._pipeline = require_pipeline(pipeline)
        super().__init__(function_members(self._model))

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        first = default_structure(model.a, model.b, model.c, model.result)
        offered = list(FusedStructure)
        if not suits_steps(model.c, model.result):
            offered.remove(FusedStructure.NORMALISE_FACTORS)
        if not any(has_leading_zeros(fmt) for fmt in (model.a, model.b, model.c)) or _all_fixed(model):
            offered.remove(FusedStructure.NORMALISE_OPERANDS if first is FusedStructure.NORMALISE_SUM
                           else FusedStructure.NORMALISE_SUM)
        return suitable_structures(offered, model, first=first)

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
        """Cycles from three codes to their result."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters, ``model(a, b, c, random=0)``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        match self._chosen(platform):
            case FusedStructure.TRUTH_TABLE:
                code = delay(m, table_of(m, self), self._pipeline, name="code")
            case FusedStructure.NORMALISE_FACTORS:
                code = self._sum_by_steps(m, platform)
            case structure:
                normalised = structure is FusedStructure.NORMALISE_OPERANDS
                code = (self._fixed_sum(m, platform) if _all_fixed(self._model)
                        else self._sum(m, platform, normalised=normalised))
        m.d.comb += self.o.eq(code)
        return m

    def _chosen(self, platform):
        return choose_structure(self._structure, self.structures(self._model), self._model, platform,
                                recorded=not self._hard_multiplier)

    def _sum(self, m, platform, *, normalised):
        """Sign, magnitude and exponent apart: some format is a float or a posit."""
        model, cycles = self._model, distribute(self._pipeline, _CUTS)
        product, c = self._terms(m, platform, cycles, normalised=(normalised, normalised))
        exact = add_numbers(
            m, product, c, result=model.result, rounding=model.rounding, random_bits=model.random_bits,
            exact=model.overflow.wraps, registers=cycles["operands"])
        return code_of(m, exact.delayed(m, cycles["sum"]), model, self._random_of_sum(m, cycles), cycles)

    def _sum_by_steps(self, m, platform):
        """Sign, magnitude and exponent apart; the sum comes aligned to the result's grid."""
        model, cycles = self._model, distribute(self._pipeline, _CUTS)
        product, c = self._terms(m, platform, cycles, normalised=(True, False))
        return code_of_sum(m, product, c, model, self._random_of_sum(m, cycles), cycles)

    def _terms(self, m, platform, cycles, *, normalised):
        """Return product and summand; ``normalised`` says of the factors and of the summand whether they are."""
        model, (factors, summand) = self._model, normalised
        a, b, c = (decode(m, fmt, code, normalised=shifted, name=name).delayed(m, cycles["unpack"])
                   for fmt, code, shifted, name in ((model.a, self.a, factors, "a"), (model.b, self.b, factors, "b"),
                                                    (model.c, self.c, summand, "c")))
        product = multiply(m, a, b, model.result, self._hard_multiplier, scale_for=sum_scale,
                           multiply_magnitudes=partial(multiply_integers, platform=platform))
        return product.delayed(m, cycles["product"]), c.delayed(m, cycles["product"])

    def _random_of_sum(self, m, cycles):
        return self._random(m, sum(cycles[cut] for cut in ("unpack", "product", "operands", "sum")))

    def _fixed_sum(self, m, platform):
        """All four formats are fixed point: the exact sum in two's complement, shifted by a constant."""
        model, cycles = self._model, distribute(self._pipeline, ("product", "sum", "round"))
        a, b, c = (code.as_signed() if fmt.signed else code
                   for fmt, code in ((model.a, self.a), (model.b, self.b), (model.c, self.c)))
        places = model.a.fraction_bits + model.b.fraction_bits
        point = max(places, model.c.fraction_bits)
        product = multiply_integers(m, a, b, hard_multiplier=self._hard_multiplier, platform=platform)
        product = delay(m, product, cycles["product"], name="product")
        c = delay(m, c, cycles["product"], name="c")
        exact = named(m, (product << (point - places)) + (c << (point - model.c.fraction_bits)), "sum")
        integer = round_integer(m, delay(m, exact, cycles["sum"], name="sum"), point - model.result.fraction_bits,
                                model.rounding, self._random(m, cycles["product"] + cycles["sum"]))
        code = encode_integer(m, delay(m, integer, cycles["round"], name="rounded"), model.result, model.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self._model.random_bits else None


def _all_fixed(model):
    return all(isinstance(fmt, FixedPointFormat) for fmt in (model.a, model.b, model.c, model.result))


def default_structure(a, b, c, result):
    """Return the structure that is used where none is given: the smallest one measured, or the closest case to it.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, overflow to infinity
    where there is one, ``*`` the choice:

    ================  ===================  ==================  =================  ===============
    all operands      normalise factors    normalise operands  normalise sum      truth table
    and the result
    ================  ===================  ==================  =================  ===============
    float4_e2m1fn     78 / 92 / 57 *       98 / 109 / 69       94 / 109 / 75      637 / 632 / 242
    float6_e2m3fn     167 / 179 / 120      193 / 211 / 146     148 / 166 / 128 *
    float6_e3m2fn     149 / 167 / 114 *    175 / 189 / 133     167 / 180 / 126
    float8_e4m3       232 / 241 / 174 *    270 / 290 / 220     291 / 301 / 212
    float8_e5m2       209 / 219 / 154 *    237 / 256 / 173     302 / 338 / 220
    float16           718 / 753 / 535 *    889 / 917 / 658     816 / 841 / 584
    posit<8,1>                             373 / 409 / 331 *
    ================  ===================  ==================  =================  ===============

    The path through the first is the shortest, too: 32 MHz against 29 and 28 for float8_e4m3 on ECP5, 21 against 17
    (of a normalised sum) for float16.
    """
    floats = [fmt for fmt in (a, b) if isinstance(fmt, FloatingPointFormat)]
    if suits_steps(c, result) and not (len(floats) == 2 and max(fmt.exponent_bits for fmt in floats) <= 2
                                       and min(fmt.fraction_bits for fmt in floats) > 1):
        return FusedStructure.NORMALISE_FACTORS
    if len(floats) == 2 and (max(fmt.exponent_bits for fmt in floats) <= 2
                             or min(fmt.fraction_bits for fmt in floats) >= 10):
        return FusedStructure.NORMALISE_SUM
    return FusedStructure.NORMALISE_OPERANDS
