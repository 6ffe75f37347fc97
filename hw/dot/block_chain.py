"""Dot products of blocks with shared scales, several vectors against several blocks of weights, between two streams."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.dot.block_dot_product import BlockDotProduct
from hw.pipeline import MAX_PIPELINE, require_pipeline
from sw.formats import OverflowPolicy, RoundingMode
from sw.formats.check import check_boolean
from sw.reference.block import FLOAT32
from sw.reference.block_chain import BlockChain as BlockChainModel

__all__ = ["BlockChain"]


class BlockChain(wiring.Component):
    """Dot products of a block of each vector with each block of weights; one transfer a cycle.

    Latency is ``1 + pipeline`` cycles of domain ``sync``. The results are those of
    ``sw.reference.block_chain.BlockChain``: each an exact sum of products, times both scales, rounded once by a
    :class:`hw.dot.block_dot_product.BlockDotProduct` of its own.

    Parameters
    ----------
    a, b : BlockFormat
        Of activations and weights, of the same block size.
    result : FloatingPointFormat, FixedPointFormat or PositFormat
    length, vectors : int
        As the reference has them.
    rounding : RoundingMode
    overflow : OverflowPolicy
    pipeline : int
        Register stages, 0 to 63, besides the one behind the sums: where BlockDotProduct has them.
    hard_multiplier : bool
        Leave the products to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    i : In(stream)
        ``activations``, ``weights``, ``activation_scales`` and ``weight_scales``.
    o : Out(stream)
        ``o``: the results, vector by vector.

    Raises
    ------
    TypeError, ValueError
        As the reference and the dot products do.
    """

    def __init__(self, a, b, *, result=FLOAT32, length=32, vectors=2, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, pipeline=0, hard_multiplier=False):
        self._model = BlockChainModel(a=a, b=b, result=result, length=length, vectors=vectors, rounding=rounding,
                                      overflow=overflow)
        self._pipeline = require_pipeline(pipeline)
        if self._pipeline == MAX_PIPELINE:
            raise ValueError(f"Pipeline must be at most {MAX_PIPELINE - 1} register stages besides the one that is "
                             f"always there, not {pipeline!r}")
        check_boolean("Hard multiplier", hard_multiplier)
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def pipeline(self):
        """Number of register stages besides the one that is always there."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a transfer to its results."""
        return 1 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        connect_streams(m, self.i, self.o, core=_BlockChainCore(self._model, self.latency, self._hard_multiplier),
                        latency=self.latency)
        return m


class _BlockChainCore(wiring.Component):
    """The dot products, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, latency, hard_multiplier):
        self._model, self._latency, self._hard_multiplier = model, latency, hard_multiplier
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, size = self._model, self._model.a.block_size
        for vector in range(model.vectors):
            for block in range(model.blocks):
                dot = BlockDotProduct(model.a, model.b, model.result, rounding=model.rounding, overflow=model.overflow,
                                      pipeline=self._latency, hard_multiplier=self._hard_multiplier)
                m.submodules[f"dot_{vector}_{block}"] = dot
                m.d.comb += [dot.a_scale.eq(self.i.activation_scales[vector]),
                             dot.b_scale.eq(self.i.weight_scales[block]),
                             self.o.o[vector * model.blocks + block].eq(dot.o)]
                m.d.comb += [dot.a[place].eq(self.i.activations[vector * size + place]) for place in range(size)]
                m.d.comb += [dot.b[place].eq(self.i.weights[block * size + place]) for place in range(size)]
        return m
