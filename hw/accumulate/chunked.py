"""Chunked multiply-accumulate: products summed in a narrow format by two adders, the second one a chunk at a time."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.multiply import multiply
from hw.arith.number_sum import add_numbers, sum_scale
from hw.convert.decode import decode
from hw.convert.lfsr import Lfsr
from hw.convert.number import named
from hw.function import code_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.shape import require_format
from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference.chunked import ChunkedMultiplyAccumulate

__all__ = ["ChunkedMultiplyAccumulator", "ChunkedSum"]

_COMBINATIONAL = {"align": 0, "round": 0, "output": 0}


class ChunkedMultiplyAccumulator(wiring.Component):
    """Sums of products, accumulated chunk by chunk in a narrow format, between two streams.

    Results are those of ``sw.reference.chunked.ChunkedMultiplyAccumulate``. Latency is ``3 + pipeline`` cycles of
    domain ``sync``; throughput is one pair per cycle, while results are taken.

    One adder closes its loop in a single cycle: align, add, normalise and round between a register and itself. It
    starts a chunk from zero, which its register is cleared to while the chunk's first product stands in front of it. A
    cycle later, a second adder does the same with the total.

    Parameters
    ----------
    a, b : FloatingPointFormat, FixedPointFormat or PositFormat
    accumulator : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of both sums.
    chunk : int
        Pairs in a chunk.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the result; by default that of the accumulator.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.
    lfsr_bits : int, bits, optional
        Width of a shift register that they come from; without it, they come with every transfer.
    seed : int
        State of the shift register after a reset, above 0.
    pipeline : int
        Number of further register stages, 0 to 64. The first one goes in front of the product, the second one in front
        of the result's own rounding, if it has one; any others stand at the output, for a tool that retimes.
    hard_multiplier : bool
        Leave the product of the significands to the synthesizer, for a DSP block, rather than build it from gates.

    Members
    -------
    i : In(stream.Signature(...))
        Transfers with the fields ``a``, ``b``, ``first``, ``last``; with ``RoundingMode.STOCHASTIC`` and no shift
        register, also ``random``, ``random_total`` and, where the result is of another format, ``random_result``.
    o : Out(stream.Signature(...))
        Results, with the field ``o``.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the chunk is out of range, the accumulator has no zero, the overflow policy does not apply to it or to the
        result, the random bits do not suit the rounding mode, the shift register does not suit them, or ``pipeline``
        is out of range.

    Source: Wang et al. 2018, Training Deep Neural Networks with 8-bit Floating Point Numbers, section 2.3.
    """

    def __init__(self, a, b, accumulator, *, chunk, result=None, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, lfsr_bits=None, seed=1, pipeline=0,
                 hard_multiplier=False):
        for noun, fmt in (("Format a", a), ("Format b", b), ("Accumulator format", accumulator)):
            require_format(noun, fmt)
        self._model = ChunkedMultiplyAccumulate(a=a, b=b, accumulator=accumulator, chunk=chunk, result=result,
                                                rounding=rounding, overflow=overflow, random_bits=random_bits,
                                                lfsr_bits=lfsr_bits, seed=seed)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def pipeline(self):
        """Number of further register stages."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the product of the significands is left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to its result, if nothing stalls."""
        return 3 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        core = ChunkedSum(self._model, self._pipeline, self._hard_multiplier)
        connect_streams(m, self.i, self.o, core=core, latency=self.latency)
        return m


class ChunkedSum(wiring.Component):
    """The pipeline without its handshake: see :func:`hw.accumulate.streamed.connect_streams`."""

    def __init__(self, model, pipeline, hard_multiplier):
        self._model = model
        self._hard_multiplier = hard_multiplier
        self._cycles = distribute(pipeline, ("operands", "result") if model.result_cast else ("operands",))
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to its result, which stands for one."""
        return 3 + sum(self._cycles.values())

    def elaborate(self, platform):
        m = Module()
        model, fmt = self._model, self._model.accumulator
        arriving, i, product = self._product(m)
        valid = Signal(name="valid_at_partial")
        m.d.sync += valid.eq(arriving)
        random = self._delayed(m, i, "random", 1)
        partial = Signal(fmt.width, name="partial")
        partial_sum = self._add(m, partial, product, random, "partial")
        begins, ends = arriving & i.first, self._chunk_ends(m, valid, start=arriving & i.first)
        # What starts from zero is cleared while its first product arrives: nothing lies on the way from the sum back.
        with m.If(begins | (valid & ends)):
            m.d.sync += partial.eq(model.zero_code)
        with m.Elif(valid):
            m.d.sync += partial.eq(partial_sum)

        chunk_sum = delay(m, partial_sum, 1, name="chunk_sum")
        begins_total, ends_chunk = Signal(), Signal()
        m.d.sync += [begins_total.eq(begins), ends_chunk.eq(valid & ends)]
        random = self._delayed(m, i, "random_total", 2)
        total = Signal(fmt.width, name="total")
        with_chunk = self._add_codes(m, total, chunk_sum, random)
        with m.If(begins_total):
            m.d.sync += total.eq(model.zero_code)
        with m.Elif(ends_chunk):
            m.d.sync += total.eq(with_chunk)

        code = delay(m, with_chunk, 1 + self._cycles.get("result", 0), name="result")
        if model.result_cast is not None:
            number = decode(m, fmt, code, normalised=False, name="result")
            random = self._delayed(m, i, "random_result", 3 + self._cycles["result"])
            code = code_of(m, number, model.result_cast, random, _COMBINATIONAL)
        m.d.comb += self.o.o.eq(delay(m, code, self._cycles["output"], name="code"))
        return m

    def _product(self, m):
        """Return whether a product arrives at its register, its transfer in that cycle, and the register."""
        model, cycles = self._model, self._cycles["operands"]
        valid, i = self.valid, self._transfer(m)
        if cycles:
            arrived = Signal(name="valid_at_product")
            registered = Signal(i.shape(), name="transfer", reset_less=True)
            m.d.sync += [arrived.eq(valid), registered.eq(i)]
            valid, i = arrived, registered
        a, b = (decode(m, fmt, code, normalised=False, name=name)
                for fmt, code, name in ((model.a, i.a, "a"), (model.b, i.b, "b")))
        product = multiply(m, a, b, model.accumulator, self._hard_multiplier, scale_for=sum_scale)
        return valid, i, product.delayed(m, 1)

    def _transfer(self, m):
        """Return the transfer with its random bits, which a shift register gives where there is one."""
        model = self._model
        if model.lfsr is None:
            return self.i
        m.submodules.lfsr = lfsr = Lfsr(model.lfsr.width, seed=model.lfsr.seed)
        transfer = Signal(input_layout(model.step_ports), name="transfer_with_random")
        given = [self.i[name] for name in model.inputs]
        m.d.comb += [lfsr.advance.eq(self.valid), transfer.eq(Cat(*given, lfsr.state))]
        return transfer

    def _chunk_ends(self, m, valid, *, start):
        """Return whether the pair at the first adder is the last one of a chunk."""
        last = self._model.chunk - 1
        if not last:
            return C(1, 1)
        count = Signal(range(last + 1), name="count")
        ends = named(m, count == last, "chunk_ends")
        with m.If(start | (valid & ends)):
            m.d.sync += count.eq(0)
        with m.Elif(valid):
            m.d.sync += count.eq(count + 1)
        return ends

    def _delayed(self, m, i, name, cycles):
        return delay(m, i[name], cycles, name=name) if self._model.random_bits else None

    def _add_codes(self, m, code, addend, random):
        """Return the rounded sum of two codes of the accumulator's format."""
        fmt, greater = self._model.accumulator, None
        if isinstance(fmt, FloatingPointFormat):  # whose codes count magnitudes in rising order
            bits = fmt.exponent_bits + fmt.fraction_bits
            greater = named(m, code[:bits] >= addend[:bits], "total_is_greater")
        number = decode(m, fmt, addend, normalised=False, name="chunk_sum")
        return self._add(m, code, number, random, "total", a_is_greater=greater)

    def _add(self, m, code, addend, random, name, *, a_is_greater=None):
        """Return the rounded sum of a code of the accumulator's format and a number."""
        cast = self._model.cast
        augend = decode(m, cast.result, code, normalised=False, name=name)
        exact = add_numbers(m, augend, addend, result=cast.result, rounding=cast.rounding,
                            random_bits=cast.random_bits, exact=cast.overflow.wraps, a_is_greater=a_is_greater)
        return named(m, code_of(m, exact, cast, random, _COMBINATIONAL), f"{name}_sum")
