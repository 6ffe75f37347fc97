"""Conversion with stochastic rounding, the random bits included."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.convert.converter import Converter, ConverterStructure
from hw.convert.lfsr import Lfsr
from hw.function import require_structure
from hw.pipeline import require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import OverflowPolicy, RoundingMode
from sw.reference import Conversion
from sw.reference.stochastic_convert import StochasticConversion

__all__ = ["StochasticConverter"]


class StochasticConverter(wiring.Component):
    """A stream of codes, each rounded stochastically to another format by bits of a shift register.

    A code takes ``latency`` cycles where nothing stalls, ``pipeline`` of them; throughput is one code per cycle. The
    register steps with each code that is accepted, so that what a code becomes does not depend on stalls.

    Parameters
    ----------
    a, result : FloatingPointFormat, FixedPointFormat or PositFormat
        Formats of the operand and of the result.
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each rounding takes, 1 to 64.
    lfsr_bits : int, bits, optional
        Width of the shift register; ``random_bits``, or 2 if that is more, by default.
    seed : int
        State of the shift register after a reset, above 0.
    pipeline : int
        Number of register stages, 0 to 64, as in :class:`hw.convert.converter.Converter`.
    structure : ConverterStructure, optional
        As in :class:`hw.convert.converter.Converter`.

    Members
    -------
    i : In(stream.Signature(StructLayout({"a": a.width})))
        Codes of the operands.
    o : Out(stream.Signature(StructLayout({"o": result.width})))
        Codes of the rounded values, in the same order.

    Raises
    ------
    TypeError
        If a format, policy or count is of the wrong type.
    ValueError
        If the overflow policy does not apply to the result format, a number is out of range, or the structure does
        not suit the operand.

    Source: Gupta et al. 2015, Deep Learning with Limited Numerical Precision, the rounding units of section 5.
    """

    def __init__(self, a, result, *, overflow=OverflowPolicy.SATURATE, random_bits, lfsr_bits=None, seed=1,
                 pipeline=0, structure=None):
        require_format("Format a", a)
        require_format("Result format", result)
        conversion = Conversion(a=a, result=result, rounding=RoundingMode.STOCHASTIC, overflow=overflow,
                                random_bits=random_bits)
        self._structure = require_structure(structure, ConverterStructure, conversion)
        self._pipeline = require_pipeline(pipeline)
        self._model = StochasticConversion(a=a, result=result, overflow=overflow, random_bits=random_bits,
                                           lfsr_bits=lfsr_bits, seed=seed)
        super().__init__(stream_members(self._model))

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        return Converter.structures(Conversion(
            a=model.a, result=model.result, rounding=model.rounding, overflow=model.overflow,
            random_bits=model.random_bits))

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
        """Cycles from a code to the converted one where nothing stalls."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters, a ``sw.reference.model.Stream``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model = self._model
        converter = Converter(model.a, model.result, rounding=model.rounding, overflow=model.overflow,
                              random_bits=model.random_bits, pipeline=self._pipeline, structure=self._chosen(platform))
        connect_streams(m, self.i, self.o, core=_Core(model, converter), latency=self._pipeline)
        return m

    def _chosen(self, platform):
        return choose_structure(self._structure, self.structures(self._model), self._model, platform)


class _Core(wiring.Component):
    """The converter with its shift register, which steps in every cycle with a code."""

    def __init__(self, model, converter):
        self._model, self._converter = model, converter
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.converter = converter = self._converter
        m.submodules.lfsr = lfsr = Lfsr(self._model.lfsr.width, seed=self._model.seed)
        m.d.comb += [
            lfsr.advance.eq(self.valid), converter.a.eq(self.i.a), converter.random.eq(lfsr.state),
            self.o.o.eq(converter.o),
        ]
        return m
