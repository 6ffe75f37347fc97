"""Exact accumulation over blocks: dot products of blocks with shared scales, rounded once at the end."""

from dataclasses import replace

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.accumulate.exact import ExactSum, RoundedSum
from hw.accumulate.register_places import sum_registers
from hw.accumulate.streamed import connect_streams, stream_members
from hw.convert.grid import place_multiple_on_grid
from hw.dot.block_dot_product import require_block_size
from hw.dot.scaled_sum import sum_blocks
from hw.pipeline import require_pipeline
from hw.shape import require_format
from sw.formats import OverflowPolicy, RoundingMode
from sw.formats.check import check_boolean
from sw.reference.block import FLOAT32
from sw.reference.block_accumulate import BlockMultiplyAccumulate

__all__ = ["BlockMultiplyAccumulator", "BlockSum"]


class BlockSum(ExactSum):
    """The register of an exact sum over blocks: an :class:`hw.accumulate.exact.ExactSum` of their dot products.

    A register stands behind the sum of the elements' products and behind the product of the scales; then that sum is
    shifted onto the register's grid.

    Parameters
    ----------
    model : sw.reference.block_accumulate.BlockMultiplyAccumulate
    grid_registers : int
        Registers behind the shift onto the grid.
    product_registers : int
        Registers behind each product of elements.
    hard_multiplier : bool
        Leave the products to the synthesizer.
    """

    def __init__(self, model, *, grid_registers=0, product_registers=0, hard_multiplier=False):
        super().__init__(model, grid_registers=grid_registers, operand_registers=product_registers,
                         hard_multiplier=hard_multiplier)

    def _products(self, m, platform):
        """The dot product of a transfer's blocks on the register's grid, and its flags."""
        model = self._model
        product = sum_blocks(m, model.dot, self.i, product_cycles=self._operand_registers,
                             hard_multiplier=self._hard_multiplier, platform=platform).delayed(m, 1)
        scale = product.scale
        total = product.times_significand(m, hard_multiplier=self._hard_multiplier, platform=platform)
        multiplied_by_zero = scale.zero_has_zero_magnitude and scale.max_magnitude > 1
        if any(fmt.scale.has_zero for fmt in (model.a, model.b)) and not multiplied_by_zero:
            total = Mux(scale.zero, 0, total).as_signed()
        if not any(fmt.scale.signed for fmt in (model.a, model.b)):
            scale = replace(scale, sign=C(0, 1))
        addend = place_multiple_on_grid(
            m, total, replace(scale, scale=scale.scale + product.exponent), exponent=model.accumulator_exponent,
            width=min(model.block_grid.width, model.width), name="block")
        return addend.delayed(m, self._grid_registers), product.flags(m).delayed(m, self._grid_registers)


class BlockMultiplyAccumulator(wiring.Component):
    """Sums of dot products of blocks, exact until the one rounding to a code of the result format, between two streams.

    Latency is ``2 + pipeline`` cycles of domain ``sync`` from the last pair of blocks of a sum to its result;
    throughput is one pair of blocks per cycle. The results are those of
    ``sw.reference.block_accumulate.BlockMultiplyAccumulate``.

    LUTs / flip-flops with yosys 0.70 and no hard multipliers, streams included, for 256 blocks of 8 and float32:

    =================  ========  ===========  ===========  ===========
    formats            register  iCE40        ECP5         Xilinx 7
    =================  ========  ===========  ===========  ===========
    mxfp4              528 bits  2871 / 1084  2999 / 1084  2464 / 1084
    mxfp4:scale=e5m0   80 bits   1043 / 184   1063 / 184   774 / 184
    mxint8             535 bits  3503 / 1671  3799 / 1105  2704 / 1105
    mxint8:scale=e5m0  87 bits   1783 / 205   1858 / 205   1056 / 205
    =================  ========  ===========  ===========  ===========

    With ``hard_multiplier``, mxint8 takes 8 DSP blocks and 2305 / 1086 on Xilinx 7. The one with 1671 flip-flops has
    ``pipeline=2``: a carry chain of the whole register's length is about the longest path through which WebAssembly's
    Yosys finds its way for iCE40 (535 bits with fewer stages, and 582 with two, were beyond it).

    Parameters
    ----------
    a : BlockFormat
        Format of the first block.
    b : BlockFormat, optional
        Format of the second block, of the same size; that of the first by default.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the result; float32 by default. With None, the result is the register itself.
    terms : int
        How many dot products of blocks a sum has at most.
    accumulator_width : int, bits, optional
        Of the register; by default the least that holds every sum of ``terms`` dot products.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64, beyond those behind the dot product and behind the sum. The first four go
        behind the shift to the result's leading bit, behind that onto the register's grid, behind the products of the
        elements, and behind the rounding, in that order of priority; any further ones stand at the output, for a tool
        that retimes.
    hard_multiplier : bool
        Leave the products to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    i : In(stream)
        Payload ``a`` and ``b`` (arrays of codes), ``a_scale`` and ``b_scale``, the flags ``first`` and ``last``, and
        ``random`` with ``RoundingMode.STOCHASTIC``; what counts of it is that of the transfer with ``last``.
    o : Out(stream)
        Payload ``o``, a code of the result format.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the block sizes differ or exceed 1,024, ``accumulator_width`` is too narrow for ``terms`` dot products, the
        overflow policy does not apply to the result format, the random bits do not suit the rounding mode, or
        ``pipeline`` is out of range.

    Source: OCP Microscaling Formats (MX) Specification 1.0, DotGeneral, without a rounding between the blocks.
    """

    def __init__(self, a, b=None, result=FLOAT32, *, terms, accumulator_width=None, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, hard_multiplier=False):
        if result is not None:
            require_format("Result format", result)
        check_boolean("Hard multiplier", hard_multiplier)
        self._hard_multiplier = hard_multiplier
        self._model = BlockMultiplyAccumulate(
            a=a, b=a if b is None else b, result=result, terms=terms, accumulator_width=accumulator_width,
            rounding=rounding, overflow=overflow, random_bits=random_bits)
        require_block_size(a)
        self._pipeline = require_pipeline(pipeline)
        super().__init__(stream_members(self._model))

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def pipeline(self):
        """Number of register stages beyond the two that are always there."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from the last pair of blocks of a sum to its result."""
        return 2 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        cycles = sum_registers(self._model, self._pipeline, ("grid", "product"))
        sum_ = BlockSum(self._model, grid_registers=cycles["grid"], product_registers=cycles["product"],
                        hard_multiplier=self._hard_multiplier)
        connect_streams(m, self.i, self.o, core=RoundedSum(sum_, cycles), latency=self.latency)
        return m
