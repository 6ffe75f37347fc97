"""Fixed-point multiply-accumulate: products summed in a register that wraps, cast once at the end."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.exact_structure import LUT6_FAMILIES
from hw.arith.gated_rows import add_gated, gates_sums
from hw.arith.integer_product import multiply_integers, suits_block
from hw.convert.integer import encode_integer, round_integer
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import family_of
from hw.shape import code_shape, require_format
from sw.formats import OverflowPolicy, RoundingMode
from sw.reference.mac import MultiplyAccumulate

__all__ = ["FixedSum", "FixedSumRounder", "MultiplyAccumulator"]


class FixedSum(wiring.Component):
    """The register of a fixed-point sum, without the cast and without a handshake.

    Throughput is one transfer per cycle. The sum of a transfer stands in ``state`` ``latency`` cycles after it, and for
    one cycle at least.

    A product register lets the accumulator be cleared or loaded ahead of a sum's first product rather than masked with
    it, which takes a LUT a bit in front of the adder where carry chains have no third input; ``state`` then is a
    register of its own. For a DSP block that the masked form fits, and a preload on Xilinx devices, the accumulator is
    masked all the same. Without a product register, the adder leaves the accumulator out where it can
    (:func:`hw.arith.gated_rows.gates_sums`).

    With yosys 0.70, DSP blocks / LUTs / flip-flops with hard multipliers, ``int16`` operands:

    ===========  =========  ===========  ===========  ============  ===========  =========  ===========
    accumulator  product    iCE40        ECP5         Nexus         Gowin        Xilinx 7   UltraScale+
                 registers
    ===========  =========  ===========  ===========  ============  ===========  =========  ===========
    32 bits      0          1 / 33 / 0   1 / 64 / 32  1 / 32 / 32   1 / 64 / 32  1 / 0 / 0  1 / 64 / 32
    32 bits      1          1 / 33 / 2   1 / 64 / 66  1 / 132 / 34  1 / 64 / 66  1 / 0 / 2  1 / 32 / 66
    48 bits      0          1 / 95 / 48  1 / 96 / 48  1 / 48 / 48   1 / 96 / 48  1 / 0 / 0  1 / 48 / 48
    48 bits      1          1 / 95 / 50  1 / 96 / 82  1 / 193 / 50  1 / 96 / 82  1 / 0 / 2  1 / 48 / 82
    ===========  =========  ===========  ===========  ============  ===========  =========  ===========

    The sum is written as the selection of what the product is added to, the form in which Yosys 0.70 finds the register
    and adder of SB_MAC16 and of DSP48E1 and the adder of MULTADDSUB18X18; it infers no more than the multiplier of
    the other blocks.

    Parameters
    ----------
    model : sw.reference.mac.MultiplyAccumulate
        The arithmetic; result and rounding do not matter here.
    product_registers, operand_registers : int
        Registers behind the product, and in front of it.
    hard_multiplier : bool
        Leave the product to the synthesizer, and write the sum as DSP blocks have it.

    Members
    -------
    valid : In(1)
        Whether there is a transfer in this cycle.
    i : In(layout of the model's inputs)
    state : Out(signed or unsigned, of the accumulator's width)
    """

    def __init__(self, model, *, product_registers=0, operand_registers=0, hard_multiplier=False):
        self._model = model
        self._product_registers = require_pipeline(product_registers)
        self._operand_registers = require_pipeline(operand_registers)
        self._hard_multiplier = hard_multiplier
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)),
                          "state": Out(code_shape(model.accumulator))})

    @property
    def model(self):
        """The arithmetic."""
        return self._model

    @property
    def latency(self):
        """Cycles from a transfer to its sum."""
        return 1 + self._product_registers + self._operand_registers

    def elaborate(self, platform):
        m = Module()
        model, away = self._model, self.latency - 1
        a, b = (delay(m, code.as_signed() if fmt.signed else code, self._operand_registers, name=name)
                for fmt, code, name in ((model.a, self.i.a, "a"), (model.b, self.i.b, "b")))
        in_block = self._hard_multiplier and suits_block(a, b, platform)
        product = multiply_integers(m, a, b, hard_multiplier=in_block, platform=platform,
                                    balanced=self._product_registers > 0)
        product = delay(m, product, self._product_registers, name="product")
        valid, first = [self.valid], [self.i.first]
        for cycle in range(away):
            stage = Signal(name=f"valid_{cycle + 1}")  # with a reset: what stands here at power-up is no transfer
            m.d.sync += stage.eq(valid[-1])
            valid.append(stage)
            first.append(delay(m, first[-1], 1, name=f"first_{cycle + 1}"))
        # Lookup tables of 6 inputs choose what a sum starts from and add in one.
        masked = model.c is not None and family_of(platform) in LUT6_FAMILIES
        ahead = self._product_registers and not in_block and not masked
        initial = self._initial(m, away - 1 if ahead else away)
        if ahead:
            self._load_ahead(m, product, initial, valid=valid[-2], first=first[-2], arrived=valid[-1])
            return m
        if model.c is None and not in_block and gates_sums(platform):
            added = Signal.like(self.state, name="added")
            m.d.comb += added.eq(product)
            with m.If(valid[-1]):
                m.d.sync += self.state.eq(add_gated(m, added, self.state, ~first[-1], platform=platform, name="next"))
            return m
        base = Mux(first[-1], initial, self.state)[:len(self.state)]
        base = base.as_signed() if model.accumulator.signed else base
        with m.If(valid[-1]):
            m.d.sync += self.state.eq(base + product)
        return m

    def _initial(self, m, away):
        """What a sum starts from, as the accumulator has it, so many cycles after its transfer."""
        model = self._model
        if model.c is None:
            return C(0, len(self.state))
        code = self.i.c.as_signed() if model.c.signed else self.i.c
        return delay(m, code, away, name="preload") << model.accumulator.fraction_bits - model.c.fraction_bits

    def _load_ahead(self, m, product, initial, *, valid, first, arrived):
        """Load or clear the register while the first product is still one register away from the adder.

        A flag stands for the register's reset: flip-flops have one synchronous reset, which the clearing takes.
        """
        register = Signal(self.state.shape(), name="register", reset_less=True)
        total = Signal.like(self.state, name="total")
        was_reset = Signal(init=1)
        m.d.comb += total.eq(register + product)
        with m.If(valid):
            m.d.sync += was_reset.eq(0)
        with m.If(valid & (first | was_reset)):
            m.d.sync += register.eq(Mux(first, initial, 0))
        with m.Elif(arrived):
            m.d.sync += register.eq(total)
        with m.If(arrived):
            m.d.sync += self.state.eq(total)


class FixedSumRounder(wiring.Component):
    """The cast of a fixed-point sum.

    Latency is ``pipeline`` cycles; throughput is one sum per cycle.

    Parameters
    ----------
    model : sw.reference.mac.MultiplyAccumulate
    pipeline : int
        Register stages: the first after the rounding, any further ones at the output.

    Members
    -------
    state : In(signed or unsigned, of the accumulator's width)
        The sum, from :class:`FixedSum`.
    random : In(random_bits)
        Random bits; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
    """

    def __init__(self, model, *, pipeline=0):
        self._model = model
        self._pipeline = require_pipeline(pipeline)
        members = {"state": In(code_shape(model.accumulator)), "o": Out(model.result.width)}
        if model.random_bits:
            members["random"] = In(model.random_bits)
        super().__init__(members)

    @property
    def model(self):
        """The arithmetic."""
        return self._model

    @property
    def latency(self):
        """Cycles from a sum to its code."""
        return self._pipeline

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, distribute(self._pipeline, ("round",))
        random = self.random if model.random_bits else None
        places = model.accumulator.fraction_bits - model.result.fraction_bits
        integer = delay(m, round_integer(m, self.state, places, model.rounding, random), cycles["round"],
                        name="rounded")
        code = encode_integer(m, integer, model.result, model.overflow)
        m.d.comb += self.o.eq(delay(m, code, cycles["output"], name="code"))
        return m


class MultiplyAccumulator(wiring.Component):
    """Sums of products of fixed-point codes, cast once: what ``sw.reference.mac.MultiplyAccumulate`` computes.

    A result is offered ``latency`` cycles after its last pair was taken, if nothing has to wait; throughput is one
    pair per cycle. Transfers are framed as :mod:`sw.reference.accumulation` says.

    LUTs of the whole with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7:

    =====================  ================  ===============  ===============
    operands, accumulator  result            ``pipeline=0``   ``pipeline=1``
    =====================  ================  ===============  ===============
    ``int8``, 32 bits      the accumulator   126 / 108 / 71   139 / 121 / 74
    ``int8``, 32 bits      ``int8``          151 / 133 / 92   164 / 146 / 94
    ``int4``, 16 bits      the accumulator   51 / 38 / 29     47 / 45 / 32
    =====================  ================  ===============  ===============

    A register behind the product makes its rows a tree (:mod:`hw.arith.gated_rows`), for speed: ``fixed<8,4>`` with a
    preload and 16 terms takes 154 / 136 / 66 LUTs at 126 MHz on iCE40 and 129 MHz on ECP5; row after row, 127 / 124 at
    80 and 68 MHz.

    With ``hard_multiplier``, the product takes one DSP block where that of the family is wide enough, and the register
    with its addition is in there too where Yosys finds that it can be: see :class:`FixedSum`.

    Parameters
    ----------
    a : FixedPointFormat
        Format of the first operand.
    b : FixedPointFormat, optional
        Format of the second operand; that of the first by default.
    result : FixedPointFormat, optional
        Format of the result; by default that of the operands, if they have the same.
    c : FixedPointFormat, optional
        Format of what a sum starts from; without it, from zero.
    terms : int, optional
        How many products a sum has at most.
    accumulator : FixedPointFormat, optional
        The register; by default the narrowest one for ``terms`` products.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Register stages besides the sum's own, 0 to 64. The first three go after the product, after the rounding and
        before the product, in that order; any further ones stand at the output, for a tool that retimes.
    hard_multiplier : bool
        Leave the product, and with it the sum, to the synthesizer, for a DSP block, rather than build it from gates.

    Members
    -------
    i : In(stream of the model's inputs)
        ``a``, ``b``, ``c`` if there is a preload, ``first``, ``last``, and ``random`` if the rounding is stochastic.
    o : Out(stream of the result, ``o``)

    Raises
    ------
    TypeError, ValueError
        As the reference does; if no result format is given for operands of two formats, or ``pipeline`` is no number
        of register stages.
    """

    def __init__(self, a, b=None, result=None, *, c=None, terms=None, accumulator=None,
                 rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0,
                 hard_multiplier=False):
        b = a if b is None else require_format("Format b", b)
        if result is None and require_format("Format a", a) != b:
            raise ValueError(f"Result format must be given for operands of two formats, {a.name} and {b.name}, "
                             f"not {result!r}")
        self._model = MultiplyAccumulate(
            a=a, b=b, result=a if result is None else result, c=c, terms=terms, accumulator=accumulator,
            rounding=rounding, overflow=overflow, random_bits=random_bits)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def pipeline(self):
        """Number of register stages besides the sum's own."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the product is left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from the last pair of a sum to its result."""
        return 1 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        connect_streams(m, self.i, self.o, core=_Datapath(self), latency=self.latency)
        return m


class _Datapath(wiring.Component):
    """Sum and cast in a row, without a handshake."""

    def __init__(self, component):
        self._component = component
        super().__init__({"valid": In(1), "i": In(input_layout(component.model.inputs)),
                          "o": Out(input_layout(component.model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model = self._component.model
        cycles = distribute(self._component.pipeline, ("product", "round", "operands"))
        m.submodules.sum = total = FixedSum(
            model, product_registers=cycles["product"], operand_registers=cycles["operands"],
            hard_multiplier=self._component.hard_multiplier)
        m.submodules.cast = cast = FixedSumRounder(model, pipeline=cycles["round"] + cycles["output"])
        m.d.comb += [total.valid.eq(self.valid), total.i.eq(self.i), cast.state.eq(total.state), self.o.o.eq(cast.o)]
        if model.random_bits:
            m.d.comb += cast.random.eq(delay(m, self.i.random, total.latency, name="random"))
        return m
