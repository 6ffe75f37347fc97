"""Pointwise convolution: accumulators that share their activations, two of them also their multipliers."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.cell import make_rounder, make_sum, require_cell, rounds_in_sum, sum_latency
from hw.accumulate.packed import PackedSums
from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.packed_product import OPERAND_WIDTH, find_packing
from hw.pipeline import delay, distribute, require_pipeline
from sw.formats import FixedPointFormat
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.pointwise_conv import PointwiseConvolution

__all__ = ["PointwiseConv"]

_SHARED = ("a", "a_scale", "first", "last")

MAX_PACKED = 3
"""Most products on one multiplier: no block has room for a fourth one of 4 by 8 bits."""


class PointwiseConv(wiring.Component):
    """``output_lanes`` accumulators between two streams, which take the same activations, each with its own weights.

    Results are those of ``sw.reference.pointwise_conv.PointwiseConvolution``. Throughput is one transfer per cycle.
    Latency is that of the cell's sum (1 cycle of a ``MultiplyAccumulate``, 2 of an ``ExactMultiplyAccumulate`` or a
    ``BlockMultiplyAccumulate``, 3 of a ``ChunkedMultiplyAccumulate``) and ``pipeline`` cycles of domain ``sync``.

    With cells that take lanes or blocks and round nothing before the end, this is the dense form of
    :class:`hw.dot.sparse_dsp_chain.SparseDspChain` and :class:`hw.dot.block_chain.BlockChain` with exact accumulators:
    the operand that all outputs share is the weights, and each output is a vector of its own.

    With ``hard_multiplier``, weights of several outputs share a multiplier, and the activation, where that is exact:
    both operands are signed fixed-point numbers, the cell is an ``ExactMultiplyAccumulate`` without a preload, and the
    weights fit one operand of the block side by side. 256 products of int8 and int4 then take 128 blocks; with three a
    block, for which UltraScale+ alone has the width, they take 96, since 16 outputs are five times three and one. The
    width of the operand is the platform's ``factor_widths`` where it has them, otherwise 18 bits.

    DSP blocks / LUTs / flip-flops of 4 inputs and 4 outputs, int8 by int4 in 24-bit sums, with ``pipeline=1`` and yosys
    0.70, streams included, of one, two and three products on a block:

    =====  ==============  ==============  ==============  ==============  ==============  ==============
           iCE40           ECP5            Nexus           Gowin           Xilinx 7        UltraScale+
    =====  ==============  ==============  ==============  ==============  ==============  ==============
    one    16 / 509 / 391  16 / 449 / 583  16 / 634 / 391  16 / 485 / 583  16 / 349 / 199  16 / 349 / 583
    two    8 / 385 / 257   8 / 475 / 449   8 / 617 / 257   8 / 463 / 449   8 / 265 / 257   8 / 265 / 449
    three                                                                                  8 / 312 / 475
    =====  ==============  ==============  ==============  ==============  ==============  ==============

    The same of 16 inputs and 16 outputs:

    ===================  =================  =================
    products on a block  Xilinx 7           UltraScale+
    ===================  =================  =================
    one                                     256 / 5656 / 6919
    two                  128 / 4601 / 1039  128 / 4601 / 4111
    three                                   96 / 4996 / 4129
    ===================  =================  =================

    Parameters
    ----------
    cell : MultiplyAccumulate, ExactMultiplyAccumulate, BlockMultiplyAccumulate or ChunkedMultiplyAccumulate
        Of ``sw.reference``. What each output sums: formats, rounding and all; the lanes of the cell, or the elements of
        its blocks, are the input channels of a group.
    output_lanes : int
        Output channels of a group.
    packed : int
        Most products on one hard multiplier: 1 to 3. Where blocks are too narrow for so many, there are fewer.
    pipeline : int
        Register stages, 0 to 64, besides those of the sum itself. The first two go behind the product and inside the
        rounding units (of an exact sum, behind the shift onto its grid; of packed products, behind their sum; of a
        chunked one, in front of the product, and none in a rounding unit); any further ones stand at the output.
    hard_multiplier : bool
        Leave the products, and with them fixed-point sums, to the synthesizer, for DSP blocks.

    Members
    -------
    i : In(stream)
        ``a`` (a group of activations; its scale ``a_scale``, if it is a block), ``b`` (the weight of input lane i and
        output j at ``j * input_lanes + i``), ``first``, ``last``, and what else the cells take, a lane for each output.
    o : Out(stream)
        ``o``, a lane for each output.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if there is no circuit for the cell, ``packed`` is no number of products, or ``pipeline``
        no number of register stages.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), 1x1 kernel; Xilinx WP486, for two products on one multiplier.
    """

    def __init__(self, cell, output_lanes, *, packed=2, pipeline=0, hard_multiplier=False):
        self._model = PointwiseConvolution(cell=require_cell(cell), output_lanes=output_lanes)
        if not isinstance(packed, int) or isinstance(packed, bool):
            raise TypeError(f"Packed products must be an integer, not {packed!r}")
        if not 1 <= packed <= MAX_PACKED:
            raise ValueError(f"Packed products must be between 1 and {MAX_PACKED} on a multiplier, not {packed!r}")
        self._packed = packed
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def packed(self):
        """Most products on one hard multiplier."""
        return self._packed

    @property
    def pipeline(self):
        """Number of register stages besides those of the sum itself."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from the transfer with ``last`` to the results."""
        return sum_latency(self._model.cell, 0) + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        packed = self._packed if self._hard_multiplier else 1
        core = _Core(self._model, packed=packed, pipeline=self._pipeline, hard_multiplier=self._hard_multiplier)
        connect_streams(m, self.i, self.o, core=core, latency=self.latency)
        return m


def _packing(cell, *, packed, platform):
    """The packing of weights that share a multiplier; None if none do."""
    if not isinstance(cell, ExactMultiplyAccumulate) or cell.c is not None:
        return None
    if not all(isinstance(fmt, FixedPointFormat) and fmt.signed and fmt.width > 1 for fmt in (cell.a, cell.b)):
        return None
    wide, narrow = getattr(platform, "factor_widths", (OPERAND_WIDTH, OPERAND_WIDTH))
    if cell.a.width > min(narrow, OPERAND_WIDTH) or cell.b.width > OPERAND_WIDTH:
        return None
    packings = (find_packing(cell.b.width, cell.a.width, lanes=lanes, operand_width=wide)
                for lanes in range(packed, 1, -1))
    return next((packing for packing in packings if packing is not None), None)


class _Core(wiring.Component):
    """Sums and their rounding units, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, *, packed, pipeline, hard_multiplier):
        self._model, self._packed, self._hard_multiplier = model, packed, hard_multiplier
        cuts = ("sum",) if rounds_in_sum(model.cell) else ("sum", "round")
        self._cycles = {"round": 0, **distribute(pipeline, cuts)}
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        cell, cycles, states = self._model.cell, self._cycles, []
        while len(states) < self._model.output_lanes:
            left = self._model.output_lanes - len(states)
            packing = _packing(cell, packed=min(self._packed, left), platform=platform)
            states += [self._sum(m, len(states))] if packing is None else self._packed_sums(m, len(states), packing)
        away = sum_latency(cell, cycles["sum"])
        for output, state in enumerate(states):
            code = state
            if not rounds_in_sum(cell):
                m.submodules[f"rounder_{output}"] = rounder = make_rounder(cell, registers=cycles["round"])
                m.d.comb += Value.cast(rounder.state).eq(state)
                if "random" in self._model.inputs:
                    m.d.comb += rounder.random.eq(delay(m, self.i.random[output], away, name=f"random_{output}"))
                code = rounder.o
            m.d.comb += self.o.o[output].eq(delay(m, code, cycles["output"], name=f"code_{output}"))
        return m

    def _sum(self, m, output):
        """The sum of one output, by the cell's own circuit."""
        cell, lanes = self._model.cell, self._model.input_lanes
        component, state = make_sum(cell, registers=self._cycles["sum"], hard_multiplier=self._hard_multiplier)
        m.submodules[f"sum_{output}"] = component
        m.d.comb += component.valid.eq(self.valid)
        for name in cell.inputs:
            if name == "b":
                code = Cat(self.i.b[output * lanes + lane] for lane in range(lanes))
            else:
                code = self.i[name] if name in _SHARED else self.i[name][output]
            m.d.comb += Value.cast(component.i[name]).eq(code)
        return state

    def _packed_sums(self, m, output, packing):
        """The sums of as many outputs as a multiplier makes products for, ``output`` being the first of them."""
        lanes = self._model.input_lanes
        m.submodules[f"sums_{output}"] = component = PackedSums(
            self._model.cell, packing, sum_registers=self._cycles["sum"])
        m.d.comb += [component.valid.eq(self.valid), component.first.eq(self.i.first),
                     Value.cast(component.a).eq(self.i.a),
                     *(weight.eq(self.i.b[output * lanes + index]) for index, weight in enumerate(component.b))]
        return [Value.cast(state) for state in component.state]
