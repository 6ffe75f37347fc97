"""Addition and subtraction of two codes, rounded once."""

from dataclasses import replace
from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.arith.limited_sum import code_of_limited, suits_limited_count
from hw.arith.number_sum import add_numbers
from hw.arith.posit_sum import add_posits, suits_signed_significands
from hw.convert.decode import decode
from hw.convert.integer import encode_integer, round_integer
from hw.convert.number import named
from hw.function import code_of, function_members, require_structure, suitable_structures, table_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference import Addition

__all__ = ["Adder", "AdderStructure", "add_numbers"]


class AdderStructure(Enum):
    """How an adder brings its operands together.

    LUTs with yosys 0.70 on iCE40 / ECP5 without wide LUTs / Xilinx 7, overflow to infinity where there is one:

    ===========================  ===============  ===================  ===============
    both operands and the sum    align exponents  signed significands  truth table
    ===========================  ===============  ===================  ===============
    float4_e2m1fn                45 / 55 / 26                          106 / 101 / 15
    p3109_k4p2se                 56 / 68 / 33                          113 / 115 / 16
    posit<4,0>                   73 / 72 / 58     64 / 73 / 43         115 / 103 / 31
    float6_e2m3fn                70 / 84 / 66
    float6_e3m2fn                84 / 95 / 65
    posit<6,1>                   160 / 192 / 105  137 / 140 / 86
    float8_e4m3                  117 / 126 / 87
    float8_e5m2                  117 / 131 / 81
    posit<8,0>                   229 / 261 / 194  192 / 198 / 152
    posit<8,1>                   228 / 257 / 186  184 / 191 / 133
    posit<8,2>                   218 / 240 / 163  184 / 188 / 147
    float16                      267 / 283 / 184
    posit<16,1>                  535 / 595 / 431  448 / 452 / 353
    ===========================  ===============  ===================  ===============
    """

    ALIGN_EXPONENTS = "align-exponents"
    """The lesser operand is shifted to the exponent of the greater one; fixed point has its places from the start."""
    SIGNED_SIGNIFICANDS = "signed-significands"
    """As that, in two's complement from the operands to the result, which are never negated: posits of one format to a
    posit, not rounded stochastically."""
    LIMITED_COUNT = "limited-count"
    """As align exponents, and the count of the sum's leading zeros ends where its exponent does: floats of one format
    with subnormal numbers. :func:`hw.arith.limited_sum.code_of_limited`. LUTs and MHz on iCE40 and ECP5, in brackets
    those of align exponents: float8_e5m2 to infinity, 123 at 48 and 129 at 52 (117 at 44, 131 at 44); float8_e4m3fn,
    130 at 46 and 135 at 53 (113 at 41, 123 at 46)."""
    TRUTH_TABLE = "truth-table"
    """Each bit of the result is looked up. At most 12 bits of operands and random bits together."""


_SUITS = {AdderStructure.SIGNED_SIGNIFICANDS: suits_signed_significands,
          AdderStructure.LIMITED_COUNT: suits_limited_count}
"""Structures that not every sum can have, by what tells which can."""


class Adder(wiring.Component):
    """Sum, or difference, of two codes, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one pair of codes per cycle. The output is what
    ``sw.reference.Addition`` computes, for every pair of codes. Registers have no reset: the first ``latency``
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
    subtract : bool
        Subtract ``b``.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first four go after the sum, after its alignment
        to the result, before the sum, and after the rounding, in that order of priority; any further ones stand at
        the output, for a tool that retimes.
    structure : AdderStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else signed significands
        where these suit, and the shifted exponents elsewhere.

    Members
    -------
    a : In(a.width)
        Code of the first operand.
    b : In(b.width)
        Code of the second operand.
    random : In(random_bits)
        Random bits of that pair; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the rounded sum.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If no result format is given for operands of two formats, the overflow policy does not apply to the
        result format, the random bits do not suit the rounding mode, the structure does not suit the operands, or
        ``pipeline`` is out of range.
    """

    def __init__(self, a, b=None, result=None, *, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, subtract=False, pipeline=0,
                 structure=None):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        if result is None and a != b:
            raise ValueError(f"Result format must be given for operands of two formats, {a.name} and {b.name}, "
                             f"not {result!r}")
        result = a if result is None else require_format("Result format", result)
        self._model = Addition(a=a, b=b, result=result, rounding=rounding, overflow=overflow,
                               random_bits=random_bits, subtract=subtract)
        self._structure = require_structure(structure, AdderStructure, self._model)
        if self._structure in _SUITS and not _SUITS[self._structure](self._model):
            raise ValueError(f"Structure must be another one for {a.name} and {b.name} to {result.name} with "
                             f"{rounding.value} rounding, not {self._structure}")
        self._pipeline = require_pipeline(pipeline)
        super().__init__(function_members(self._model))

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        offered = [item for item in AdderStructure if item not in _SUITS or _SUITS[item](model)]
        first = AdderStructure.SIGNED_SIGNIFICANDS
        return suitable_structures(offered, model, first=first if first in offered else AdderStructure.ALIGN_EXPONENTS)

    @property
    def structure(self):
        """How the operands are brought together: as asked for, or what is taken for no device family in particular."""
        return self._chosen(None)

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a pair of codes to their sum."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters, ``model(a, b, random=0)``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        formats = (self._model.a, self._model.b, self._model.result)
        structure = self._chosen(platform)
        if structure is AdderStructure.TRUTH_TABLE:
            code = delay(m, table_of(m, self), self._pipeline, name="code")
        elif structure is AdderStructure.SIGNED_SIGNIFICANDS:
            code = add_posits(m, self.a, self.b, self._model, self._cuts())
        elif all(isinstance(fmt, FixedPointFormat) for fmt in formats):
            code = self._fixed_sum(m)
        else:
            code = self._sum(m, code_of_limited if structure is AdderStructure.LIMITED_COUNT else code_of)
        m.d.comb += self.o.eq(code)
        return m

    def _chosen(self, platform):
        return choose_structure(self._structure, self.structures(self._model), self._model, platform)

    def _sum(self, m, code_of_sum):
        """Sign, magnitude and exponent apart: some format is a float or a posit."""
        model, cycles = self._model, self._cuts()
        a, b = (decode(m, fmt, code, normalised=False, name=name)
                for fmt, code, name in ((model.a, self.a, "a"), (model.b, self.b, "b")))
        if model.subtract:
            b = replace(b, sign=~b.sign)
        exact = add_numbers(
            m, a, b, result=model.result, rounding=model.rounding, random_bits=model.random_bits,
            exact=model.overflow.wraps, a_is_greater=self._a_is_greater(m), registers=cycles["operands"])
        random = self._random(m, cycles["operands"] + cycles["sum"])
        return code_of_sum(m, exact.delayed(m, cycles["sum"]), model, random, cycles)

    def _cuts(self):
        return distribute(self._pipeline, ("sum", "align", "operands", "round"))

    def _a_is_greater(self, m):
        """Compare the magnitudes by their codes, where these count them in rising order."""
        fmt = self._model.a
        if self._model.b != fmt or not isinstance(fmt, FloatingPointFormat):
            return None
        bits = fmt.exponent_bits + fmt.fraction_bits
        return named(m, self.a[:bits] >= self.b[:bits], "a_is_greater")

    def _fixed_sum(self, m):
        """All three formats are fixed point: the exact sum in two's complement, shifted by a constant."""
        model, cycles = self._model, distribute(self._pipeline, ("sum", "round"))
        point = max(model.a.fraction_bits, model.b.fraction_bits)
        a, b = ((code.as_signed() if fmt.signed else code) << (point - fmt.fraction_bits)
                for fmt, code in ((model.a, self.a), (model.b, self.b)))
        exact = delay(m, named(m, a - b if model.subtract else a + b, "sum"), cycles["sum"], name="sum")
        integer = round_integer(m, exact, point - model.result.fraction_bits, model.rounding,
                                self._random(m, cycles["sum"]))
        code = encode_integer(m, delay(m, integer, cycles["round"], name="rounded"), model.result, model.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self._model.random_bits else None
