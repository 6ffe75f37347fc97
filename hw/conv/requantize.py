"""Requantization: in every lane a wide product, a bias, a shift with rounding, a ReLU and a clamp."""

from dataclasses import replace

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.arith.integer_product import multiply_integers
from hw.convert.integer import encode_integer
from hw.convert.number import named
from hw.function import function_members
from hw.pipeline import delay, distribute, require_pipeline
from sw.formats import OverflowPolicy
from sw.reference.requantize import INT8, INT24, Requantization

__all__ = ["Requantize"]


class Requantize(wiring.Component):
    """Sums of integer products, brought to the integers of the next layer with a scale and a bias a lane.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one vector per cycle. The output is what
    ``sw.reference.requantize.Requantization`` computes. Registers have no reset: the first ``latency`` outputs after
    power-up mean nothing.

    The half that rounds and the bias are one constant and one operand in front of the shift, so that a single addition
    makes both, in the DSP block where the family's has a third operand that Yosys finds (Xilinx 7). An offset at the
    lower end of the result's range makes that end the zero: sums are clamped as unsigned numbers, and the sign is
    turned.

    DSP blocks / LUTs / flip-flops of one lane of 24-bit sums and 16-bit scales with yosys 0.70; the last two rows were
    not chosen: a bias that is added behind the shift, and products of 17 and of 7 bits of the sum:

    ====================  ===========  ============  ===========  ============  ===========  ============
    circuit               iCE40        ECP5          Nexus        Gowin         Xilinx 7     UltraScale+
    ====================  ===========  ============  ===========  ============  ===========  ============
    hard multiplier       2 / 63 / 0   2 / 67 / 0    1 / 75 / 0   3 / 78 / 0    1 / 12 / 0   1 / 38 / 0
    the same, 3 stages    2 / 65 / 83  2 / 66 / 124  1 / 85 / 74  3 / 79 / 124  1 / 12 / 58  1 / 37 / 124
    no hard multiplier    0 / 647 / 0  0 / 677 / 0   0 / 895 / 0  0 / 671 / 0   0 / 284 / 0  0 / 284 / 0
    bias after the shift  2 / 63 / 0   2 / 84 / 0    1 / 75 / 0   3 / 95 / 0    1 / 38 / 0   1 / 38 / 0
    two products                       2 / 108 / 0   2 / 83 / 0   2 / 107 / 0
    ====================  ===========  ============  ===========  ============  ===========  ============

    The product of 24 by 17 bits takes no block that is wider than it needs: one of 25 or 27 by 18 bits on Xilinx, of 18
    by 36 on Nexus, two of 16 by 16 or 18 by 18 elsewhere; Gowin's three are one of 18 by 18 and two halves of one.

    Parameters
    ----------
    lanes : int
    accumulator : FixedPointFormat
        Of the sums: signed integers.
    scale_bits : int, bits
        Of a scale, unsigned.
    shift : int
        Places that the product is shifted right by.
    bias_bits : int, bits
        Of a bias, two's complement.
    result : FixedPointFormat
        Integers, signed or not.
    offset : int, optional
        The result's zero point; the lowest of its range by default.
    relu : bool
        Whether negative numbers become zero before the offset is added.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first three go behind the product, behind the sum
        and in front of the product, in that order of priority; any further ones stand at the output, for a tool that
        retimes.
    hard_multiplier : bool
        Leave the product to the synthesizer, for DSP blocks, rather than build it from gates.

    Members
    -------
    acc : In(ArrayLayout)
        Sums, ``lanes`` of them.
    scale, bias : In(ArrayLayout)
        One of each a lane.
    o : Out(ArrayLayout)
        ``lanes`` codes of the result.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if ``pipeline`` is no number of register stages.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), and the accelerator that its authors released.
    """

    def __init__(self, lanes, *, accumulator=INT24, scale_bits=16, shift=16, bias_bits=16, result=INT8, offset=None,
                 relu=False, pipeline=0, hard_multiplier=False):
        self._model = Requantization(lanes=lanes, accumulator=accumulator, scale_bits=scale_bits, shift=shift,
                                     bias_bits=bias_bits, result=result, offset=offset, relu=relu)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(function_members(self._model))

    @property
    def lanes(self):
        """Sums in a vector."""
        return self._model.lanes

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the product is left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a vector of sums to its results."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        for lane in range(self.lanes):
            m.d.comb += self.o[lane].eq(self._lane(m, platform, lane, f"lane_{lane}"))
        return m

    def _lane(self, m, platform, lane, name):
        """The code of one sum."""
        model, cycles = self._model, distribute(self._pipeline, ("product", "sum", "operands"))
        acc, scale, bias = (delay(m, value, cycles["operands"], name=f"{name}_{field}") for field, value in (
            ("acc", self.acc[lane].as_signed()), ("scale", self.scale[lane]), ("bias", self.bias[lane].as_signed())))
        # A signed product is what DSP blocks have; the zero above the scale is its sign.
        scale = Cat(scale, C(0, 1)).as_signed() if self._hard_multiplier else scale
        product = multiply_integers(m, acc, scale, hard_multiplier=self._hard_multiplier, platform=platform,
                                    name=f"{name}_product")
        product = delay(m, product, cycles["product"], name=f"{name}_product")
        half = C(1 << model.shift >> 1, model.shift)
        added = Cat(half, delay(m, bias, cycles["product"], name=f"{name}_bias")).as_signed()
        number = named(m, product + added, f"{name}_sum")[model.shift:].as_signed()
        number = delay(m, number, cycles["sum"], name=f"{name}_number")
        return delay(m, self._clamped(m, number, name), cycles["output"], name=f"{name}_code")

    def _clamped(self, m, number, name):
        """The code of a number in units of the result, with ReLU and offset."""
        model, result = self._model, self._model.result
        if model.offset == result.min_integer and not result.narrow_range:
            # The ReLU cuts where the range does. Turning the sign takes the lowest code from zero to where it belongs.
            code = encode_integer(m, number, replace(result, signed=False), OverflowPolicy.SATURATE)
            return code ^ (result.signed << result.width - 1)
        if model.relu:
            number = named(m, number & (~number[-1]).replicate(len(number)), f"{name}_relu").as_signed()
        if model.offset:
            number = named(m, number + model.offset, f"{name}_with_offset")
        return encode_integer(m, number, result, OverflowPolicy.SATURATE)
