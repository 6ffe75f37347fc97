"""Conversion of codes from one format to another."""

from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.convert.decode import decode, has_leading_zeros
from hw.convert.integer import encode_integer, round_integer
from hw.function import code_of, function_members, require_structure, suitable_structures, table_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference import Conversion

__all__ = ["Converter", "ConverterStructure"]


class ConverterStructure(Enum):
    """Where a converter removes the leading zeros of subnormal numbers and integers."""

    NORMALISE_OPERAND = "normalise-operand"
    """Before the alignment to the result's grid."""
    NORMALISE_RESULT = "normalise-result"
    """By the shifter that aligns to the result's grid."""
    TRUTH_TABLE = "truth-table"
    """Nowhere: each bit of the result is looked up. At most 12 bits of operand and random bits together."""


class Converter(wiring.Component):
    """The value of a code, rounded to a code of another format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one code per cycle. The output is what
    ``sw.reference.Conversion`` computes, for every code. Registers have no reset: the first ``latency`` outputs after
    power-up mean nothing.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the operand.
    result : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the result.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first three go after the alignment, after the
        rounding and after the unpacking, in that order of priority; any further ones stand at the output, for a tool
        that retimes.
    structure : ConverterStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else that of
        :func:`default_structure`.

    Members
    -------
    a : In(a.width)
        Code of the operand.
    random : In(random_bits)
        Random bits of that code; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the rounded value.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the overflow policy does not apply to the result format, the random bits do not suit the rounding mode, the
        structure does not suit the operand, or ``pipeline`` is out of range.
    """

    def __init__(self, a, result, *, rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE,
                 random_bits=0, pipeline=0, structure=None):
        require_format("Format a", a)
        require_format("Result format", result)
        self._model = Conversion(a=a, result=result, rounding=rounding, overflow=overflow, random_bits=random_bits)
        self._structure = require_structure(structure, ConverterStructure, self._model)
        self._pipeline = require_pipeline(pipeline)
        super().__init__(function_members(self._model))

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        first = default_structure(model.a, model.result, model.random_bits)
        offered = list(ConverterStructure)
        if not has_leading_zeros(model.a) or _all_fixed(model):
            late = first is ConverterStructure.NORMALISE_RESULT
            offered.remove(ConverterStructure.NORMALISE_OPERAND if late else ConverterStructure.NORMALISE_RESULT)
        return suitable_structures(offered, model, first=first)

    @property
    def structure(self):
        """Where leading zeros are removed: as asked for, or what is taken for no device family in particular."""
        return self._chosen(None)

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a code to the converted one."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters, ``model(a, random=0)``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        match self._chosen(platform):
            case ConverterStructure.TRUTH_TABLE:
                code = delay(m, table_of(m, self), self._pipeline, name="code")
            case structure:
                normalised = structure is ConverterStructure.NORMALISE_OPERAND
                fixed = _all_fixed(self._model)
                code = self._fixed_conversion(m) if fixed else self._conversion(m, normalised=normalised)
        m.d.comb += self.o.eq(code)
        return m

    def _chosen(self, platform):
        return choose_structure(self._structure, self.structures(self._model), self._model, platform)

    def _conversion(self, m, *, normalised):
        """Sign, magnitude and exponent apart: a format is a float or a posit."""
        cycles = distribute(self._pipeline, ("align", "round", "unpack"))
        number = decode(m, self._model.a, self.a, normalised=normalised, name="a").delayed(m, cycles["unpack"])
        return code_of(m, number, self._model, self._random(m, cycles["unpack"]), cycles)

    def _fixed_conversion(self, m):
        """Both formats are fixed point: two's complement, shifted by a constant."""
        model, cycles = self._model, distribute(self._pipeline, ("round",))
        integer = self.a.as_signed() if model.a.signed else self.a
        rounded = round_integer(m, integer, model.a.fraction_bits - model.result.fraction_bits, model.rounding,
                                self._random(m, 0))
        code = encode_integer(m, delay(m, rounded, cycles["round"], name="rounded"), model.result, model.overflow)
        return delay(m, code, cycles["output"], name="code")

    def _random(self, m, cycles):
        return delay(m, self.random, cycles, name="random") if self._model.random_bits else None


def _all_fixed(model):
    return isinstance(model.a, FixedPointFormat) and isinstance(model.result, FixedPointFormat)


def default_structure(a, result, random_bits=0):
    """Return the structure that is used where none is given: the smallest one measured, or the closest case to it.

    LUTs with yosys 0.70 on iCE40 / ECP5 without wide LUTs / Xilinx 7, ``*`` the choice:

    ===============================  =================  ================  ==============
    operand and result               normalise operand  normalise result  truth table
    ===============================  =================  ================  ==============
    int4 to float4_e2m1fn            16 / 3 / 7         14 / 3 / 8        3 / 3 / 3 *
    float4_e2m1fn to float8_e4m3fn   2 / 2 / 2          2 / 2 / 2         2 / 2 / 2 *
    float6_e3m2fn to float8_e4m3fn   7 / 7 / 5          12 / 14 / 9       7 / 7 / 5 *
    float8_e4m3fn to float4_e2m1fn   24 / 24 / 12       35 / 49 / 18      16 / 17 / 8 *
    float8_e5m2 to float8_e4m3fn     36 / 51 / 31       42 / 64 / 31      21 / 22 / 12 *
    float8_e4m3fn to float8_e5m2     20 / 25 / 14       25 / 30 / 17      22 / 21 / 15 *
    float8_e4m3fn to int8            68 / 74 / 29       65 / 58 / 37      59 / 62 / 28 *
    float8_e4m3fn to float16         13 / 13 / 12 *     21 / 25 / 16      17 / 16 / 14
    int8 to float8_e4m3fn            50 / 50 / 28 *     52 / 53 / 29      69 / 75 / 30
    posit<8,1> to float8_e4m3fn      67 / 72 / 44 *     67 / 72 / 44      88 / 84 / 43
    float16 to float8_e4m3fn         57 / 73 / 47 *     67 / 80 / 47
    bfloat16 to float8_e5m2          61 / 71 / 43 *     67 / 91 / 43
    ===============================  =================  ================  ==============
    """
    fixed = isinstance(result, FixedPointFormat)
    few = isinstance(a, FloatingPointFormat) and max(a.width, result.width) <= 8
    if not random_bits and (few or a.width <= 5) and not (fixed and isinstance(a, FixedPointFormat)):
        return ConverterStructure.TRUTH_TABLE
    # Fixed point needs no normalised significand.
    return ConverterStructure.NORMALISE_RESULT if fixed else ConverterStructure.NORMALISE_OPERAND
