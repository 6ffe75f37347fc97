"""Depthwise convolution: a dot product of window and filter for every channel of a group."""

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.dot.dot_product import DotProduct
from hw.function import function_members
from hw.pipeline import require_pipeline
from hw.shape import require_format
from sw.formats import OverflowPolicy, RoundingMode
from sw.reference.depthwise_conv import INT4, INT8, DepthwiseConvolution

__all__ = ["DepthwiseConv"]


class DepthwiseConv(wiring.Component):
    """``lanes`` dot products of ``taps`` samples with as many weights: a group of channels at one position.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one group per cycle. The output is what
    ``sw.reference.depthwise_conv.DepthwiseConvolution`` computes. Registers have no reset: the first ``latency``
    outputs after power-up mean nothing.

    Samples and weights of different lanes have nothing in common, so that every product takes a hard multiplier of its
    own: 144 for 16 lanes of 9 taps.

    DSP blocks / LUTs / flip-flops of one lane of 9 taps, int8 by int4, with ``pipeline=2`` and yosys 0.70:

    ================  =============  =============  =============  =============  =============  =============
    circuit           iCE40          ECP5           Nexus          Gowin          Xilinx 7       UltraScale+
    ================  =============  =============  =============  =============  =============  =============
    hard multipliers  9 / 66 / 0     9 / 153 / 123  9 / 214 / 15   9 / 148 / 123  9 / 43 / 0     9 / 118 / 123
    none              0 / 598 / 123  0 / 624 / 123  0 / 693 / 123  0 / 615 / 123  0 / 302 / 123  0 / 302 / 123
    ================  =============  =============  =============  =============  =============  =============

    Parameters
    ----------
    lanes : int
        Channels in a group.
    a, b : FloatingPointFormat, FixedPointFormat or PositFormat
        Of the samples, and of the weights: by default int8 and int4.
    taps : int
        Samples of a window.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the sums; by default they are exact, two's complement integers.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64, which stand where those of :class:`hw.dot.dot_product.DotProduct` do.
    hard_multiplier : bool
        Leave the products of the significands to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    window, weights : In(ArrayLayout)
        ``lanes * taps`` codes each, sample k of lane l at ``k * lanes + l``.
    random : In(ArrayLayout)
        ``lanes`` times the random bits; only with ``RoundingMode.STOCHASTIC``.
    o : Out(ArrayLayout)
        ``lanes`` sums.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If lanes, taps or ``pipeline`` are out of range, the overflow policy does not apply to the result format, or the
        random bits do not suit the rounding mode.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), depthwise 3x3 kernel.
    """

    def __init__(self, lanes, a=INT8, b=INT4, *, taps=9, result=None, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, hard_multiplier=False):
        for noun, fmt in (("Format a", a), ("Format b", b), ("Result format", result)):
            if fmt is not None or noun != "Result format":
                require_format(noun, fmt)
        self._model = DepthwiseConvolution(lanes=lanes, a=a, b=b, taps=taps, result=result, rounding=rounding,
                                           overflow=overflow, random_bits=random_bits)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(function_members(self._model))

    @property
    def lanes(self):
        """Channels in a group."""
        return self._model.lanes

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products of the significands are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a window to its sums."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        lanes, dot = self.lanes, self._model.dot
        for lane in range(lanes):
            m.submodules[f"dot_{lane}"] = product = DotProduct(
                dot.a, dot.b, dot.result, lanes=dot.lanes, rounding=dot.rounding, overflow=dot.overflow,
                random_bits=dot.random_bits, pipeline=self._pipeline, hard_multiplier=self._hard_multiplier)
            m.d.comb += [*(sample.eq(self.window[tap * lanes + lane]) for tap, sample in enumerate(product.a)),
                         *(weight.eq(self.weights[tap * lanes + lane]) for tap, weight in enumerate(product.b)),
                         self.o[lane].eq(product.o)]
            if dot.random_bits:
                m.d.comb += product.random.eq(self.random[lane])
        return m
