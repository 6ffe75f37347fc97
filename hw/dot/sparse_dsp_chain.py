"""A chain of multipliers that skips the zeros of N:M sparse weights, between two streams."""

from dataclasses import dataclass
from functools import partial

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.integer_product import multiply_integers
from hw.arith.multiply_add import MultiplyAdd
from hw.dot.dot_product import DotProduct
from hw.dot.packed_lanes import fit_packing, take_lanes_apart
from hw.dot.sparse_operands import SparseOperands
from hw.pipeline import delay, distribute, require_pipeline
from hw.shape import require_format
from sw.formats.check import check_boolean, check_integer
from sw.reference.accumulator_width import sum_grid
from sw.reference.sparse_chain import SparseDspChain as SparseDspChainModel

__all__ = ["SparseDspChain"]


class SparseDspChain(wiring.Component):
    """Dot products of blocks of activations with N of M kept weights, N chosen at each transfer; one transfer a cycle.

    In front of every multiplier, a multiplexer and a register pick the activation that its weight belongs to. The
    multipliers hand their sums on in cascades of ``cascade``, which begin anew wherever the result of a transfer's N
    does. Behind the cascades, where the lanes of packed operands are taken apart, adders join the sums of longer
    results; a register with zero for the lanes that end no result is the last thing. Before lanes could overflow into
    each other they are thus taken apart, and no product waits for another N.

    Latency is constant (``latency``); the results are those of ``sw.reference.sparse_chain.SparseDspChain``.

    Parameters
    ----------
    a, b : FixedPointFormat, FloatingPointFormat or PositFormat
        Of activations and weights; other than fixed point in the dense form (``smallest`` equal to ``block``) only.
    length, block, vectors, smallest : int
        As the reference has them.
    cascade : int, optional
        Multipliers of a cascade: a power of two up to the greatest N, and 1 without hard multipliers. Longer ones
        leave more additions to the DSP blocks and take more registers, since each multiplier has its operands a cycle
        later than the one before it. By default 2, which the measurements of :func:`default_cascade` favour.
    pipeline : int
        Register stages, 0 to 64, besides those that are always there. The first ones go behind each level of the
        adders (of the dense form of other formats, where :class:`hw.dot.dot_product.DotProduct` has them), any further
        ones to the output.
    hard_multiplier : bool
        Take DSP blocks: on a platform whose block holds several vectors' activations beside each other, one for as
        many lanes as fit (see :func:`hw.dot.packed_lanes.fit_packing`); otherwise one for each product.

    Members
    -------
    i : In(stream)
        ``activations``, ``weights``, ``indices`` unless dense, and ``density`` if there is a choice of N.
    o : Out(stream)
        ``o``: lanes of results.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if ``cascade`` or ``pipeline`` is no integer or out of range.

    Source: FlightLLM (arXiv 2401.03868), section 3: sparse multiplexers, groups of two DSP blocks, reduction nodes,
    overflow adjustment. Lanes with a bias and cascades of any length are ours.
    """

    def __init__(self, a, b, *, length=16, block=16, vectors=2, smallest=1, cascade=None, pipeline=0,
                 hard_multiplier=False):
        self._model = SparseDspChainModel(
            a=require_format("Activation format", a), b=require_format("Weight format", b), length=length, block=block,
            vectors=vectors, smallest=smallest)
        check_boolean("Hard multiplier", hard_multiplier)
        self._hard_multiplier = hard_multiplier
        self._pipeline = require_pipeline(pipeline)
        self._cascade = default_cascade(self._model, hard_multiplier) if cascade is None else cascade
        check_integer("Cascade", self._cascade)
        longest = self._model.largest if hard_multiplier and self._model.is_fixed_point else 1
        if not 1 <= self._cascade <= longest or self._cascade & (self._cascade - 1):
            why = "" if longest > 1 else ", as only hard multipliers of fixed-point formats hand sums on"
            raise ValueError(f"Cascade must be a power of two between 1 and {longest}{why}, not {cascade!r}")
        self._timing = (_Timing.of(self._model, self._cascade, self._pipeline, hard_multiplier)
                        if self._model.is_fixed_point else None)
        super().__init__(stream_members(self._model))

    @property
    def cascade(self):
        """Multipliers of a cascade."""
        return self._cascade

    @property
    def pipeline(self):
        """Number of register stages besides those that are always there."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products are made by DSP blocks."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a transfer to its results."""
        return self._timing.latency if self._timing else 1 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        core = (_ChainCore(self._model, self._timing) if self._timing
                else _DenseCore(self._model, self.latency, self._hard_multiplier))
        connect_streams(m, self.i, self.o, core=core, latency=self.latency)
        return m


def default_cascade(model, hard_multiplier):
    """Return the length of the cascades of a chain where it is not given: 2 of hard multipliers.

    DSP blocks / LUTs / flip-flops with yosys 0.70 of chains of int8 with every N and two vectors, by the length of the
    cascades. Four multipliers, blocks of 4:

    ===========  ===============  ===============  ===============  ===================
    family       1                2                4                no hard multipliers
    ===========  ===============  ===============  ===============  ===================
    iCE40        8 / 398 / 243    8 / 336 / 366    8 / 306 / 622    0 / 1186 / 365
    ECP5         8 / 401 / 243    8 / 339 / 434    8 / 305 / 730    0 / 1245 / 365
    Nexus        8 / 486 / 243    8 / 394 / 414    8 / 304 / 694    0 / 1457 / 365
    Gowin        8 / 399 / 243    8 / 336 / 436    8 / 308 / 736    0 / 1223 / 365
    Xilinx 7     4 / 188 / 235    4 / 152 / 354    8 / 126 / 339    0 / 489 / 365
    UltraScale+  4 / 188 / 235    4 / 118 / 362    4 / 173 / 343    0 / 489 / 365
    ===========  ===============  ===============  ===============  ===================

    Sixteen multipliers, blocks of 16:

    ===========  ================  ================  ================  ================
    family       1                 2                 4                 8
    ===========  ================  ================  ================  ================
    iCE40        32 / 4399 / 947   32 / 4121 / 1432  32 / 3995 / 2442
    ECP5         32 / 4417 / 947   32 / 4145 / 1704  32 / 3997 / 2874
    Nexus                          32 / 4350 / 1624
    Gowin                          32 / 4132 / 1706
    Xilinx 7                       16 / 1913 / 1398
    UltraScale+  16 / 2214 / 931   16 / 1833 / 1418  16 / 1979 / 1321  16 / 2266 / 1003
    ===========  ================  ================  ================  ================

    What longer cascades save in adders they take in registers, or on Xilinx in LUTs that shift: a multiplier's operands
    come a cycle later than those of the one before it, and its sum has to wait for the last one. A single cascade with
    FlightLLM's overflow adjustment on its way would be no better: with one vector, whose sums need none, all sixteen
    multipliers in one cascade take 16 / 1247 / 479 on UltraScale+, and in cascades of two 16 / 901 / 808.
    On Xilinx 7, sums of two products are the longest that leave room for a second lane of int8.
    """
    return 2 if hard_multiplier and model.is_fixed_point and model.largest > 1 else 1


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Where the registers of a chain of fixed-point formats stand, besides behind the multiplexers and at the output.

    Parameters
    ----------
    cascade : int
        Multipliers of a cascade.
    slices : bool
        Whether the multipliers are slices with registers of their own, rather than gates with one behind them.
    registers : dict of int to int
        Behind the adders that make sums of so many products out of shorter ones.
    output_registers : int
        Further ones at the output.
    """

    cascade: int
    slices: bool
    registers: dict
    output_registers: int

    @classmethod
    def of(cls, model, cascade, pipeline, hard_multiplier):
        """Distribute the register stages."""
        sizes = tuple(cascade << level for level in range(1, (model.largest // cascade).bit_length()))
        cycles = distribute(pipeline, sizes)
        return cls(cascade=cascade, slices=hard_multiplier, registers={size: cycles[size] for size in sizes},
                   output_registers=cycles["output"])

    @property
    def summed(self):
        """Cycles from a transfer to the sums of its cascades: multiplexers, multipliers, all but one of a cascade."""
        return 1 + (3 if self.slices else 1) + self.cascade - 1

    @property
    def latency(self):
        """Cycles from a transfer to its results."""
        return self.summed + sum(self.registers.values()) + 1 + self.output_registers


class _ChainCore(wiring.Component):
    """The chain of fixed-point formats, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, timing):
        self._model, self._timing = model, timing
        super().__init__({"valid": In(1), "enable": In(1), "i": In(input_layout(model.inputs)),
                          "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, at = self._model, self._timing.summed
        operands = SparseOperands(m, model, self.i)
        totals = self._cascades(m, operands, platform)
        for size, registers in self._timing.registers.items():
            joins = ~operands.keeps_at_most(size // 2, at)
            for place in range(size - 1, model.length, size):
                for vector in range(model.vectors):
                    totals[vector][place] = self._joined(m, totals[vector], place, size, joins,
                                                         f"sum_{vector}_{place}_{size}")
            totals = [[delay(m, total, registers, name="joined") for total in sums] for sums in totals]
            at += registers
        for lane, place in enumerate(range(model.smallest - 1, model.length, model.smallest)):
            ends = operands.keeps_at_most(place + 1 & -place - 1, at)
            for vector, sums in enumerate(totals):
                code = Signal(len(self.o.o[0]), name=f"code_{vector}_{lane}", reset_less=True)
                m.d.sync += code.eq(Mux(ends, sums[place], 0))
                m.d.comb += self.o.o[vector * model.lanes + lane].eq(
                    delay(m, code, self._timing.output_registers, name=f"code_{vector}_{lane}"))
        return m

    def _joined(self, m, sums, place, size, joins, name):
        """The sum that ends in a place, with the one that ends half of ``size`` before it where ``joins`` is up."""
        before = sums[place - size // 2]
        total = Signal(signed(self._width(size)), name=name)
        m.d.comb += total.eq(sums[place] + (before & joins.replicate(len(before)).as_signed()))
        return total

    def _width(self, terms):
        """Bits of a sum of so many products."""
        return sum_grid(self._model.dot.a, self._model.dot.b, terms=terms).width

    def _cascades(self, m, operands, platform):
        """The sums of each vector that end in each place, all in the same cycle."""
        model, cascade, totals = self._model, self._timing.cascade, []
        while len(totals) < model.vectors:
            packing = fit_packing(
                platform if self._timing.slices else None, packed_width=operands.a_width, shared_width=operands.b_width,
                lanes=model.vectors - len(totals), terms=cascade)
            vectors = range(len(totals), len(totals) + (packing.lanes if packing else 1))
            sums, before = [], None
            for place in range(model.length):
                make = self._slice if self._timing.slices else partial(self._product, platform=platform)
                total, before = make(m, operands, packing, vectors, place, before)
                total = delay(m, total, cascade - 1 - place % cascade, name=f"total_{vectors[0]}_{place}")
                sums.append([total.as_signed()] if packing is None else
                            take_lanes_apart(m, packing, total, name=f"total_{vectors[0]}_{place}"))
            totals += [list(lane) for lane in zip(*sums, strict=True)]
        return totals

    def _slice(self, m, operands, packing, vectors, place, before):
        """A multiplier's sum with those before it in its cascade, and its wires to the next one."""
        away = place % self._timing.cascade
        width, start = (packing.result_width, packing.packed_bias) if packing else (
            self._width(self._timing.cascade), 0)
        a, b = operands.factor(packing, vectors, place, 1 + away), operands.weight(place, 1 + away)
        slice_ = MultiplyAdd(a_width=len(a), b_width=len(b), width=width, start=start, cascaded=away > 0)
        m.submodules[f"slice_{vectors[0]}_{place}"] = slice_
        m.d.comb += [slice_.enable.eq(self.enable), slice_.a.eq(a), slice_.b.eq(b)]
        if away:
            m.d.comb += [slice_.cascade.eq(before),
                         slice_.begin.eq(operands.keeps_at_most(place & -place, 1 + away))]
        return slice_.o, slice_.cascade_out

    def _product(self, m, operands, packing, vectors, place, _, platform):
        """A product built from gates, with a register behind it."""
        a, b = operands.factor(packing, vectors, place, 1), operands.weight(place, 1)
        product = multiply_integers(m, a, b, platform=platform, name=f"product_{vectors[0]}_{place}")
        return delay(m, product, 1, name=f"product_{vectors[0]}_{place}"), None


class _DenseCore(wiring.Component):
    """Exact dot products of any formats, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, latency, hard_multiplier):
        self._model, self._latency, self._hard_multiplier = model, latency, hard_multiplier
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model = self._model
        for vector in range(model.vectors):
            for lane in range(model.lanes):
                dot = DotProduct(model.dot.a, model.dot.b, lanes=model.block, pipeline=self._latency,
                                 hard_multiplier=self._hard_multiplier)
                m.submodules[f"dot_{vector}_{lane}"] = dot
                for place in range(model.block):
                    m.d.comb += [dot.a[place].eq(self.i.activations[vector * model.block + place]),
                                 dot.b[place].eq(self.i.weights[lane * model.block + place])]
                m.d.comb += self.o.o[vector * model.lanes + lane].eq(dot.o)
        return m
