"""Dot product of two blocks, each with a shared scale, rounded once."""

from dataclasses import replace

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.convert.align import align
from hw.convert.encode import encode, round_aligned
from hw.convert.from_integer import normalise, with_specials
from hw.convert.number import Number, named
from hw.convert.round import fraction_bits_needed
from hw.dot.scaled_sum import sum_blocks
from hw.pipeline import delay, distribute, require_pipeline
from hw.shape import require_format
from sw.formats import FixedPointFormat, OverflowPolicy, PositFormat, RoundingMode
from sw.reference.accumulator_width import check_sum_width, product_grid
from sw.reference.block import FLOAT32, BlockDot

__all__ = ["BlockDotProduct", "require_block_size"]


class BlockDotProduct(wiring.Component):
    """Dot product of two blocks of codes with shared scales, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one pair of blocks per cycle. The output is what
    ``sw.reference.block.BlockDot`` computes: the exact sum of the elements' products, times both scales. Registers have
    no reset: the first ``latency`` outputs after power-up mean nothing.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, for blocks of 8 and
    float32: mxfp4 589 / 603 / 432, mxfp8_e4m3 1798 / 1858 / 1388.

    Parameters
    ----------
    a : BlockFormat
        Format of the first block.
    b : BlockFormat, optional
        Format of the second block, of the same size; that of the first by default.
    result : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the result; float32 by default.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first four go behind the sum, behind the
        normalisation, behind the products and behind the rounding, in that order of priority; any further ones stand
        at the output, for a tool that retimes.
    hard_multiplier : bool
        Leave the products to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    a, b : In(ArrayLayout)
        Codes of the elements.
    a_scale, b_scale : In
        Codes of the scales.
    random : In(random_bits)
        Only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the block sizes differ or exceed 1,024, ``pipeline`` is out of range, the overflow policy does not apply to
        the result format, or the random bits do not suit the rounding mode.

    Source: OCP Microscaling Formats (MX) Specification 1.0 §6.2, Dot.
    """

    def __init__(self, a, b=None, result=FLOAT32, *, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, hard_multiplier=False):
        b = a if b is None else b
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        self._model = BlockDot(a=a, b=b, result=require_format("Result format", result), rounding=rounding,
                               overflow=overflow, random_bits=random_bits)
        check_sum_width(product_grid(a.element, b.element).times(a.block_size).width)
        require_block_size(a)
        self._pipeline = require_pipeline(pipeline)
        members = {
            "a": In(data.ArrayLayout(a.element.width, a.block_size)),
            "b": In(data.ArrayLayout(b.element.width, b.block_size)),
            "a_scale": In(a.scale.width), "b_scale": In(b.scale.width), "o": Out(result.width)}
        if random_bits:
            members["random"] = In(random_bits)
        super().__init__(members)

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a pair of blocks to their dot product."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, distribute(self._pipeline, ("sum", "normalise", "product", "round"))
        product = sum_blocks(m, model, self, product_cycles=cycles["product"], hard_multiplier=self._hard_multiplier,
                             platform=platform)
        product, to_sum = product.delayed(m, cycles["sum"]), cycles["product"] + cycles["sum"]
        exact = self._scaled(m, product, platform).delayed(m, cycles["normalise"])
        flags = product.flags(m).delayed(m, cycles["normalise"])
        bits = fraction_bits_needed(model.rounding, model.random_bits)
        random = None
        if model.random_bits:
            random = delay(m, self.random, to_sum + cycles["normalise"], name="random")
        rounded = round_aligned(m, align(m, exact, model.result, bits), model.result, model.rounding, random)
        code = encode(m, rounded.delayed(m, cycles["round"]), model.result, model.rounding, model.overflow)
        code = with_specials(code, model.cast, flags.delayed(m, cycles["round"]))
        m.d.comb += self.o.eq(delay(m, code, cycles["output"], name="code"))
        return m

    def _scaled(self, m, product, platform):
        """The exact product of sum and scale, ready to be aligned."""
        model, result, scale = self._model, self._model.result, product.scale
        zero = named(m, ~product.total.any() | scale.zero, "zero")
        sign = named(m, (product.total[-1] ^ scale.sign) & ~zero, "result_sign")
        total = product.times_significand(m, hard_multiplier=self._hard_multiplier, platform=platform)
        exponent = product.exponent
        if isinstance(result, FixedPointFormat):  # a policy that wraps asks for every bit
            magnitude = named(m, Mux(total[-1], -total, total)[:len(total)], "magnitude")
            exact = Number(
                sign=total[-1], magnitude=magnitude, exponent=C(0, 1), scale=exponent, zero=zero, infinity=C(0, 1),
                nan=C(0, 1), min_magnitude=1, max_magnitude=1 << len(total) - 1, min_exponent=0, max_exponent=0,
                zero_has_zero_magnitude=True)
        else:
            significand = result.significand_bits if isinstance(result, PositFormat) else result.fraction_bits + 1
            bits = fraction_bits_needed(model.rounding, model.random_bits)
            exact = normalise(m, total, exponent, precision=significand + bits + 2)
        lowest, highest = exact.min_exponent + scale.min_exponent, exact.max_exponent + scale.max_exponent
        power = Signal(Shape.cast(range(min(lowest, 0), highest + 1)), name="power")
        m.d.comb += power.eq(exact.exponent + scale.exponent)
        return replace(exact, sign=sign, zero=zero, exponent=power, scale=exact.scale + scale.scale,
                       min_exponent=lowest, max_exponent=highest, zero_has_zero_magnitude=False)


MAX_BLOCK_SIZE = 1024
"""Most elements of a block that a circuit is built for."""


def require_block_size(fmt):
    """Refuse a block format whose blocks are too large for a circuit.

    Raises
    ------
    ValueError
        If they have more than ``MAX_BLOCK_SIZE`` elements.
    """
    if fmt.block_size > MAX_BLOCK_SIZE:
        raise ValueError(f"Block size must be at most {MAX_BLOCK_SIZE} for a circuit, which has a multiplier for each "
                         f"element, not {fmt.block_size!r}; block_size= changes it")
