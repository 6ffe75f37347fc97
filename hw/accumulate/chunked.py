"""Chunked multiply-accumulate: products summed in a narrow format by two adders, the second one a chunk at a time."""

from dataclasses import dataclass
from enum import Enum
from functools import partial

from amaranth.hdl import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.fused_sum import code_of_sum, suits_steps
from hw.arith.integer_product import multiply_integers
from hw.arith.number_product import add_constant, multiply
from hw.arith.number_sum import add_numbers, sum_scale
from hw.convert.decode import decode
from hw.convert.lfsr import Lfsr
from hw.convert.number import Number, named
from hw.function import code_of
from hw.pipeline import delay, distribute, require_pipeline
from hw.shape import require_format
from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference.chunked import ChunkedMultiplyAccumulate

__all__ = ["ChunkedMultiplyAccumulator", "ChunkedStructure", "ChunkedSum"]

_COMBINATIONAL = {"operands": 0, "sum": 0, "align": 0, "round": 0, "output": 0}


class ChunkedStructure(Enum):
    """What adds the partial sum to the total.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, streams included, of
    float8_e5m2 pairs in chunks of 64 (93 flip-flops with two adders, 79 with one):

    ============  ===============  ===============
    accumulator   two adders       one adder
    ============  ===============  ===============
    dlfloat16     713 / 756 / 498  515 / 525 / 385
    float16_e6m9  636 / 675 / 484  531 / 525 / 396
    ============  ===============  ===============
    """

    TWO_ADDERS = "two-adders"
    """An adder of its own: a pair in every cycle."""
    ONE_ADDER = "one-adder"
    """The adder of the partial sum, which takes no pair in the cycle after a chunk or a sum has ended."""


class ChunkedMultiplyAccumulator(wiring.Component):
    """Sums of products, accumulated chunk by chunk in a narrow format, between two streams.

    Results are those of ``sw.reference.chunked.ChunkedMultiplyAccumulate``. Latency is ``3 + pipeline`` cycles of
    domain ``sync``; throughput is one pair per cycle, while results are taken, or, with ``ONE_ADDER``, ``chunk`` pairs
    in ``chunk + 1`` cycles.

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
    structure : ChunkedStructure
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
                 overflow=OverflowPolicy.SATURATE, random_bits=0, lfsr_bits=None, seed=1,
                 structure=ChunkedStructure.TWO_ADDERS, pipeline=0, hard_multiplier=False):
        for noun, fmt in (("Format a", a), ("Format b", b), ("Accumulator format", accumulator)):
            require_format(noun, fmt)
        self._model = ChunkedMultiplyAccumulate(a=a, b=b, accumulator=accumulator, chunk=chunk, result=result,
                                                rounding=rounding, overflow=overflow, random_bits=random_bits,
                                                lfsr_bits=lfsr_bits, seed=seed)
        self._pipeline = require_pipeline(pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        if not isinstance(structure, ChunkedStructure):
            raise TypeError(f"Structure must be a ChunkedStructure, not {structure!r}")
        self._structure = structure
        super().__init__(stream_members(self._model))

    @property
    def structure(self):
        """What adds the partial sum to the total."""
        return self._structure

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
        core = ChunkedSum(self._model, self._pipeline, self._hard_multiplier, structure=self._structure)
        if self._structure is ChunkedStructure.TWO_ADDERS:
            connect_streams(m, self.i, self.o, core=core, latency=self.latency)
            return m
        # The cycle after a pair that the total has to follow belongs to the total.
        paused = Signal()
        i = stream.Signature(input_layout(self._model.inputs)).create(path=("taken",))
        connect_streams(m, i, self.o, core=core, latency=self.latency)
        m.d.comb += [i.payload.eq(self.i.payload), i.valid.eq(self.i.valid & ~paused),
                     self.i.ready.eq(i.ready & ~paused)]
        with m.If(i.ready):
            m.d.sync += paused.eq(i.valid & (core.ends | i.payload.last))
        return m


class ChunkedSum(wiring.Component):
    """The pipeline of a chunked sum, without a handshake: see :func:`hw.accumulate.streamed.connect_streams`.

    Parameters
    ----------
    model : sw.reference.chunked.ChunkedMultiplyAccumulate
    pipeline, hard_multiplier, structure
        As in :class:`ChunkedMultiplyAccumulator`.

    Members
    -------
    valid : In(1)
        Whether there is a transfer in this cycle. With ``ONE_ADDER``, not in the cycle after one that ends a chunk or
        is the last one of a sum.
    i : In(layout of the model's inputs)
    ends : Out(1)
        Whether the transfer in this cycle ends a chunk.
    o : Out(layout of the model's outputs)
        The result, were the transfer ``latency`` cycles ago the last one; with ``ONE_ADDER``, only if it was.
    """

    def __init__(self, model, pipeline, hard_multiplier, *, structure=ChunkedStructure.TWO_ADDERS):
        self._model = model
        self._hard_multiplier = hard_multiplier
        self._structure = structure
        self._cycles = distribute(pipeline, ("operands", "result") if model.result_cast else ("operands",))
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "ends": Out(1),
                          "o": Out(input_layout(model.outputs))})

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to its result, which stands for one."""
        return 3 + sum(self._cycles.values())

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, self._cycles
        m.d.comb += self.ends.eq(self._chunk_ends(m))
        ends = delay(m, self.ends, cycles["operands"], name="ends_at_operands")
        arriving, i, product = self._product(m, platform)
        at_partial = _Step(begins=named(m, arriving & i.first, "begins"), valid=Signal(name="valid_at_partial"),
                           ends=delay(m, ends, 1, name="ends_at_partial"), last=delay(m, i.last, 1, name="last"),
                           random=self._delayed(m, i, "random", 1), random_total=self._delayed(m, i, "random_total", 2))
        m.d.sync += at_partial.valid.eq(arriving)
        add = self._by_two_adders if self._structure is ChunkedStructure.TWO_ADDERS else self._by_one_adder
        code = delay(m, add(m, product, at_partial), 1 + cycles.get("result", 0), name="result")
        if model.result_cast is not None:
            number = decode(m, model.accumulator, code, normalised=False, name="result")
            random = self._delayed(m, i, "random_result", 3 + cycles["result"])
            code = code_of(m, number, model.result_cast, random, _COMBINATIONAL)
        m.d.comb += self.o.o.eq(delay(m, code, cycles["output"], name="code"))
        return m

    def _by_two_adders(self, m, product, step):
        """Return the total with the chunk so far, a cycle after the product; both sums go on in the same cycle."""
        partial, total = self._registers()
        partial_sum = self._add(m, partial, product, step.random, "partial")
        # What starts from zero is cleared while its first product arrives: nothing lies on the way from the sum back.
        with m.If(step.begins | (step.valid & step.ends)):
            m.d.sync += partial.eq(partial.init)
        with m.Elif(step.valid):
            m.d.sync += partial.eq(partial_sum)
        chunk_sum = delay(m, partial_sum, 1, name="chunk_sum")
        begins_total, ends_chunk = Signal(), Signal()
        m.d.sync += [begins_total.eq(step.begins), ends_chunk.eq(step.valid & step.ends)]
        with_chunk = self._add_codes(m, total, chunk_sum, step.random_total)
        with m.If(begins_total):
            m.d.sync += total.eq(total.init)
        with m.Elif(ends_chunk):
            m.d.sync += total.eq(with_chunk)
        return with_chunk

    def _by_one_adder(self, m, product, step):
        """Return the same in the same cycle, from the adder that summed the chunk the cycle before."""
        partial, total = self._registers()
        closing, ends_chunk = Signal(), Signal()
        m.d.sync += [closing.eq(step.valid & (step.ends | step.last)), ends_chunk.eq(step.valid & step.ends)]
        decoded = decode(m, self._model.accumulator, total, normalised=False, name="total")
        random = None if step.random is None else Mux(closing, step.random_total, step.random)
        sum_ = self._add(m, partial, choose(m, closing, decoded, product, name="addend"), random, "partial")
        with m.If(step.begins | ends_chunk):
            m.d.sync += partial.eq(partial.init)
        with m.Elif(step.valid):
            m.d.sync += partial.eq(sum_)
        with m.If(step.begins):
            m.d.sync += total.eq(total.init)
        with m.Elif(ends_chunk):
            m.d.sync += total.eq(sum_)
        return sum_

    def _registers(self):
        model = self._model
        return (Signal(model.accumulator.width, name=name, init=model.zero_code) for name in ("partial", "total"))

    def _product(self, m, platform):
        """Return whether a product arrives at its register, its transfer in that cycle, and the register."""
        model, cycles = self._model, self._cycles["operands"]
        valid, i = self.valid, self._transfer(m)
        if cycles:
            arrived = Signal(name="valid_at_product")
            registered = Signal(i.shape(), name="transfer", reset_less=True)
            m.d.sync += [arrived.eq(valid), registered.eq(i)]
            valid, i = arrived, registered
        a, b = (decode(m, fmt, code, normalised=suits_steps(model.accumulator, model.accumulator), name=name)
                for fmt, code, name in ((model.a, i.a, "a"), (model.b, i.b, "b")))
        product = multiply(m, a, b, model.accumulator, self._hard_multiplier, scale_for=sum_scale,
                           multiply_magnitudes=partial(multiply_integers, platform=platform))
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

    def _chunk_ends(self, m):
        """Return whether the transfer in this cycle is the last one of a chunk."""
        last = self._model.chunk - 1
        if not last:
            return C(1, 1)
        count = Signal(range(last + 1), name="count")
        before = named(m, Mux(self.i.first, 0, count), "pairs_before")
        ends = named(m, before == last, "chunk_ends")
        with m.If(self.valid):
            m.d.sync += count.eq(Mux(ends, 0, before + 1))
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
        if a_is_greater is None and suits_steps(cast.result, cast.result):
            return named(m, code_of_sum(m, addend, augend, cast, random, _COMBINATIONAL), f"{name}_sum")
        exact = add_numbers(m, augend, addend, result=cast.result, rounding=cast.rounding,
                            random_bits=cast.random_bits, exact=cast.overflow.wraps, a_is_greater=a_is_greater)
        return named(m, code_of(m, exact, cast, random, _COMBINATIONAL), f"{name}_sum")


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What the adders need to know of the transfer whose product is in its register.

    Parameters
    ----------
    begins : Value, 1 bit
        Whether the next product to arrive is the first one of a sum.
    valid, ends, last : Value, 1 bit
        Whether there is a product, and whether it ends a chunk or a sum.
    random, random_total : Value or None
        The random bits of its sum, and, a cycle later, those of the total.
    """

    begins: Value
    valid: Value
    ends: Value
    last: Value
    random: Value | None
    random_total: Value | None


def choose(m, condition, x, y, *, name):
    """Return number ``x`` where the condition holds, and ``y`` elsewhere: both in one frame."""
    width = max(x.magnitude_bits, y.magnitude_bits)
    padding = [width - number.magnitude_bits for number in (x, y)]
    magnitudes = [Cat(C(0, places), number.magnitude[:number.magnitude_bits])
                  for places, number in zip(padding, (x, y), strict=True)]
    scale = x.scale - padding[0]
    offset = y.scale - padding[1] - scale
    exponent = add_constant(m, y.exponent, offset, f"{name}_exponent_offset")
    low = min(x.min_exponent, y.min_exponent + offset)
    high = max(x.max_exponent, y.max_exponent + offset)
    chosen = Signal(range(low, high + 1), name=f"{name}_exponent")
    m.d.comb += chosen.eq(Mux(condition, x.exponent, exponent))
    flags = {flag: named(m, Mux(condition, getattr(x, flag), getattr(y, flag)), f"{name}_{flag}")
             for flag in ("sign", "zero", "infinity", "nan")}
    return Number(
        magnitude=named(m, Mux(condition, *magnitudes), f"{name}_magnitude"), exponent=chosen, scale=scale,
        min_magnitude=min(x.min_magnitude << padding[0], y.min_magnitude << padding[1]),
        max_magnitude=max(x.max_magnitude << padding[0], y.max_magnitude << padding[1]), min_exponent=low,
        max_exponent=high, zero_has_zero_magnitude=x.zero_has_zero_magnitude and y.zero_has_zero_magnitude, **flags)
