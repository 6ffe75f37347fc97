"""Offsets of a square deformable convolution: sums of products, scaled, rounded and clamped to a few bits."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.exact import ExactSum
from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.integer_product import multiply_integers
from hw.convert.number import named
from hw.pipeline import delay, distribute, require_pipeline
from sw.reference.square_offset import INT4, INT8, SquareOffset

__all__ = ["SquareOffsetGenerator"]


class SquareOffsetGenerator(wiring.Component):
    """A 1 x 1 convolution to one channel, whose result is the distance of a square convolution's samples.

    An offset is offered ``latency`` cycles after the last transfer of its pixel was taken, if nothing has to wait;
    throughput is one transfer per cycle. Transfers are framed as :mod:`sw.reference.accumulation` says. The results are
    those of ``sw.reference.square_offset.SquareOffset``.

    DSP blocks / LUTs / flip-flops with yosys 0.70 of 4 lanes of ``int8`` and ``int4`` and 64 channels:

    =============  ==============  ==============  ==============
    hard           no              yes             yes
    ``pipeline``   0               0               3
    =============  ==============  ==============  ==============
    iCE40          0 / 830 / 168   6 / 227 / 86    6 / 222 / 264
    ECP5           0 / 897 / 168   5 / 238 / 168   5 / 238 / 410
    Nexus          0 / 1037 / 168  5 / 155 / 120   5 / 245 / 261
    Gowin          0 / 885 / 168   5 / 237 / 168   5 / 237 / 410
    Xilinx 7       0 / 404 / 168   5 / 54 / 70     5 / 112 / 61
    UltraScale+    0 / 404 / 168   5 / 157 / 168   5 / 195 / 226
    =============  ==============  ==============  ==============

    Parameters
    ----------
    a, b : FixedPointFormat
        Of a channel and of a weight: integers.
    lanes : int
        Channels of a transfer.
    terms : int
        Channels of a pixel at most.
    scale_bits, bias_bits : int, bits
        Of the scale, unsigned, and of the bias, two's complement.
    fraction_bits : int
        Of scale and bias.
    min_offset, max_offset : int
        Least and largest result.
    pipeline : int
        Number of register stages, 0 to 64, beyond those behind the products and behind the sum. The first three go
        behind the product with the scale, behind the sum of products, and in front of them, in that order of priority;
        any further ones stand at the output, for a tool that retimes.
    hard_multiplier : bool
        Leave the products to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    i : In(stream)
        ``a`` and ``b``, ``lanes`` each; ``first`` and ``last``; ``scale`` and ``bias``, which count with ``last``.
    o : Out(stream)
        The offset, ``o``.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if ``pipeline`` is no number of register stages.

    Source: CoDeNet (arXiv 2006.08357), its square and rounded offsets.
    """

    def __init__(self, a=INT8, b=INT4, *, lanes, terms, scale_bits=16, bias_bits=24, fraction_bits=16, min_offset=0,
                 max_offset=7, pipeline=0, hard_multiplier=False):
        self._model = SquareOffset(
            a=a, b=b, lanes=lanes, terms=terms, scale_bits=scale_bits, bias_bits=bias_bits,
            fraction_bits=fraction_bits, min_offset=min_offset, max_offset=max_offset)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def pipeline(self):
        """Number of register stages beyond the two that are always there."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from the last transfer of a pixel to its offset."""
        return 2 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        core = _Core(self._model, pipeline=self._pipeline, hard_multiplier=self._hard_multiplier)
        connect_streams(m, self.i, self.o, core=core, latency=self.latency)
        return m


class _Core(wiring.Component):
    """Sum, scale and clamp, with the members that :func:`hw.accumulate.streamed.connect_streams` asks for."""

    def __init__(self, model, *, pipeline, hard_multiplier):
        self._model, self._hard_multiplier = model, hard_multiplier
        self._cycles = distribute(pipeline, ("product", "grid", "operands"))
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, self._cycles
        m.submodules.sum = sum_ = ExactSum(model.sum, grid_registers=cycles["grid"],
                                           operand_registers=cycles["operands"], hard_multiplier=self._hard_multiplier)
        m.d.comb += [sum_.valid.eq(self.valid),
                     *(sum_.i[name].eq(self.i[name]) for name in model.sum.inputs)]
        scale, bias = (delay(m, self.i[name], sum_.latency, name=name) for name in ("scale", "bias"))
        # A signed product is what DSP blocks have; the zero above the scale is its sign.
        scale = Cat(scale, C(0, 1)).as_signed() if self._hard_multiplier else scale
        product = multiply_integers(m, sum_.state.sum, scale, hard_multiplier=self._hard_multiplier,
                                    platform=platform, name="scaled")
        product, bias = (delay(m, value, cycles["product"], name=name)
                         for name, value in (("scaled", product), ("bias_beside", bias)))
        half = (1 << model.fraction_bits) >> 1
        number = named(m, product + bias.as_signed() + half, "total") >> model.fraction_bits
        offset = Mux(number < model.min_offset, model.min_offset,
                     Mux(number > model.max_offset, model.max_offset, number))[:len(self.o.o)]
        m.d.comb += self.o.o.eq(delay(m, offset, cycles["output"], name="offset"))
        return m
