"""Dot products over lanes: exact and rounded once, alone or added to a rounded accumulator."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.exact_product import NO_FLAGS, Flags, multiply_vectors
from hw.arith.exact_structure import ExactStructure, exact_structures, require_exact_structure
from hw.arith.integer_sum import add_addend, sum_addends
from hw.convert.decode import decode
from hw.convert.from_integer import round_sum
from hw.convert.grid import Addend, place_signed_on_grid, with_zero_magnitude
from hw.convert.number import named
from hw.pipeline import delay, distribute, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode
from sw.reference.accumulator_width import product_grid
from sw.reference.dot import Dot, DotAccumulate

__all__ = ["DotAccumulator", "DotProduct", "sum_products"]


def sum_products(m, a_format, a, b_format, b, *, product_cycles=0, hard_multiplier=False,
                 structure=ExactStructure.INVERT_LATE, platform=None):
    """Return the exact sum of the products of two vectors of codes.

    One lane after the other is multiplied and placed on the grid of all products; a tree of carry chains adds them.
    Each chain takes one lane's sign along, so that the last lane alone has to be negated before; one that is alone may
    have a chain of its own for that.

    Parameters
    ----------
    m : Module
    a_format, b_format : FloatingPointFormat, FixedPointFormat or PositFormat
    a, b : sequence of Value
        As many codes each.
    product_cycles : int
        Registers behind each product.
    hard_multiplier : bool
        Whether the products of the magnitudes are left to the synthesizer.
    structure : ExactStructure
    platform : object, optional
        As :func:`hw.arith.exact_product.multiply_codes` has it.

    Returns
    -------
    tuple of Value, Flags
        The sum in units of ``2**product_grid(a_format, b_format).exponent``, signed, and the flags of its terms.
    """
    grid = product_grid(a_format, b_format, every_code=True)
    a, b = list(a), list(b)
    products = [product.delayed(m, product_cycles) for product in multiply_vectors(
        m, a_format, a, b_format, b, hard_multiplier=hard_multiplier, structure=structure, platform=platform)]
    place = {"exponent": grid.exponent, "width": grid.width}
    addends = [product.addend(m, **place, name=f"lane_{lane}") for lane, product in enumerate(products[:-1])]
    last, name = products[-1], f"lane_{len(addends)}"
    if not addends and last.integer is None and not structure.early:
        addends = [Addend(value=C(0, 1).as_signed(), carry=C(0, 1)), last.addend(m, **place, name=name)]
    else:
        addends.append(Addend(value=last.signed_integer(m, **place, name=name), carry=C(0, 1)))
    flags = last.flags
    for product in products[:-1]:
        flags = flags | product.flags
    # No sum goes beyond the worst case of that many terms.
    width = grid.times(len(a)).width
    total = sum_addends(m, addends, platform=platform, name="products").value
    return named(m, total[:width].as_signed() if len(total) > width else total, "sum_of_products"), flags


class DotProduct(wiring.Component):
    """Dot product of two vectors of codes, rounded once to a code of the result format.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one pair of vectors per cycle. The output is what
    ``sw.reference.dot.Dot`` computes. Registers have no reset: the first ``latency`` outputs after power-up mean
    nothing.

    LUTs of the exact sum of 8 lanes with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs /
    Xilinx 7, inverted early: float4_e2m1fn 322 / 306 / 237, float6_e2m3fn 565 / 561 / 492, float6_e3m2fn
    691 / 667 / 520, minifloat_e4m3 1244 / 1251 / 963; int8 in pairs 941 / 720 / 390, otherwise 819 / 805 / 450.
    :class:`ExactStructure` has one lane.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the first vector.
    b : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the second vector; that of the first by default.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the result; by default the result is the exact sum, a two's complement integer.
    lanes : int
        Codes in a vector.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first three go behind the sum, behind the products
        and behind the rounding, in that order of priority (of an exact sum, only the first two of these); any further
        ones stand at the output, for a tool that retimes.
    structure : ExactStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else the first one.
    hard_multiplier : bool
        Leave the products of the significands to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    a, b : In(ArrayLayout)
        ``lanes`` codes each.
    random : In(random_bits)
        Only with ``RoundingMode.STOCHASTIC``.
    o : Out(width of the result)

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the lanes or ``pipeline`` are out of range, the overflow policy does not apply to the result format, the
        random bits do not suit the rounding mode, or the structure does not suit the operands.
    """

    def __init__(self, a, b=None, result=None, *, lanes, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, structure=None, hard_multiplier=False):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        if result is not None:
            require_format("Result format", result)
        self._hard_multiplier = _boolean("Hard multiplier", hard_multiplier)
        self._model = Dot(a=a, b=b, result=result, lanes=lanes, rounding=rounding, overflow=overflow,
                          random_bits=random_bits)
        self._structure = require_exact_structure(structure, self.structures(self._model))
        self._pipeline = require_pipeline(pipeline)
        members = {"a": In(data.ArrayLayout(a.width, lanes)), "b": In(data.ArrayLayout(b.width, lanes)),
                   "o": Out(self._model.outputs["o"].width)}
        if random_bits:
            members["random"] = In(random_bits)
        super().__init__(members)

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        return exact_structures(model.a, model.b, alone=model.lanes == 1, lanes=model.lanes)

    @property
    def structure(self):
        """How products are made and inverted: as asked for, or what is taken for no device family in particular."""
        return self._chosen(None)

    @property
    def lanes(self):
        """Codes in a vector."""
        return self._model.lanes

    @property
    def hard_multiplier(self):
        """Whether the products of the significands are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a pair of vectors to their dot product."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model = self._model
        cuts = ("sum", "product", "round")[:2 if model.result is None else 3]
        cycles = {"round": 0, **distribute(self._pipeline, cuts)}
        total, flags = sum_products(m, model.a, self.a, model.b, self.b, product_cycles=cycles["product"],
                                    hard_multiplier=self._hard_multiplier, structure=self._chosen(platform),
                                    platform=platform)
        total = delay(m, total, cycles["sum"], name="sum")
        flags = flags.delayed(m, cycles["sum"])
        if model.result is None:
            special = flags.bits.any()
            code = Mux(special, 1 << len(self.o) - 1, total) if len(flags.bits) else total
        else:
            random = (delay(m, self.random, cycles["product"] + cycles["sum"], name="random")
                      if model.random_bits else None)
            code = round_sum(m, total, model.sum_exponent, model.cast, random=random, flags=flags,
                             cycles=cycles["round"])
        m.d.comb += self.o.eq(delay(m, code, cycles["output"], name="code"))
        return m

    def _chosen(self, platform):
        return choose_structure(self._structure, self.structures(self._model), self._model, platform,
                                recorded=not self._hard_multiplier)


class DotAccumulator(wiring.Component):
    """Dot products added to an accumulator of a narrow format, with one rounding a transfer, between two streams.

    Latency is ``2 + pipeline`` cycles of domain ``sync``; throughput is one transfer per cycle. The results are those
    of ``sw.reference.dot.DotAccumulate``. The loop from the accumulator through one exact addition and one rounding
    back to it takes one cycle.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the first vector.
    b : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the second vector; that of the first by default.
    accumulator : FloatingPointFormat, FixedPointFormat or PositFormat
    lanes : int
        Codes in a vector.
    preload : bool
        Whether a sum starts from the field ``c`` of a transfer with ``first``, rather than from zero.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64, beyond those behind the dot product and behind the rounding. The first one
        goes behind the products; any further ones stand at the output.
    hard_multiplier : bool
        Leave the products of the significands to the synthesizer, for DSP blocks, rather than build them from gates.

    Members
    -------
    i : In(stream)
        Payload ``a`` and ``b`` (arrays of codes), ``c`` with ``preload``, the flags ``first`` and ``last``, and
        ``random`` with ``RoundingMode.STOCHASTIC``.
    o : Out(stream)
        Payload ``o``, the accumulator's code.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the lanes or ``pipeline`` are out of range, the accumulator has no zero, the overflow policy does not apply
        to it, or the random bits do not suit the rounding mode.
    """

    def __init__(self, a, b=None, *, accumulator, lanes, preload=False, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, hard_multiplier=False):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        require_format("Accumulator format", accumulator)
        self._hard_multiplier = _boolean("Hard multiplier", hard_multiplier)
        self._model = DotAccumulate(a=a, b=b, accumulator=accumulator, lanes=lanes, preload=preload, rounding=rounding,
                                    overflow=overflow, random_bits=random_bits)
        self._pipeline = require_pipeline(pipeline)
        super().__init__(stream_members(self._model))

    @property
    def hard_multiplier(self):
        """Whether the products of the significands are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def pipeline(self):
        """Number of register stages beyond the two that are always there."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to its result."""
        return 2 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        core = _AccumulatorCore(self._model, self._pipeline, self._hard_multiplier)
        connect_streams(m, self.i, self.o, core=core, latency=self.latency)
        return m


class _AccumulatorCore(wiring.Component):
    """Dot product, addition and rounding, with the members that ``connect_streams`` asks for."""

    def __init__(self, model, pipeline, hard_multiplier):
        self._model, self._hard_multiplier = model, hard_multiplier
        self._cycles = distribute(pipeline, ("product",))
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "o": Out(input_layout(model.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, self._cycles["product"] + 1
        fmt, grid, products = model.accumulator, model.sum_grid, product_grid(model.a, model.b)
        total, flags = sum_products(m, model.a, self.i.a, model.b, self.i.b, product_cycles=self._cycles["product"],
                                    hard_multiplier=self._hard_multiplier, platform=platform)
        total, flags = delay(m, total, 1, name="sum"), flags.delayed(m, 1)
        valid = self.valid
        for cycle in range(cycles):
            register = Signal(name=f"valid_{cycle + 1}")
            m.d.sync += register.eq(valid)
            valid = register
        first = delay(m, self.i.first, cycles, name="first")
        start = delay(m, self.i.c, cycles, name="c") if model.preload else C(0, fmt.width)
        accumulator = Signal(fmt.width)
        before = named(m, Mux(first, start, accumulator), "before")
        value, before_flags = _on_grid(m, fmt, before, grid)
        addend = Addend(value=total << products.exponent - grid.exponent, carry=C(0, 1))
        after = add_addend(m, value, addend, width=grid.width, platform=platform, name="after")
        random = delay(m, self.i.random, cycles, name="random") if model.random_bits else None
        code = round_sum(m, after, grid.exponent, model.cast, random=random, flags=flags | before_flags, cycles=0)
        with m.If(valid):
            m.d.sync += accumulator.eq(code)
        m.d.comb += self.o.o.eq(delay(m, accumulator, self._cycles["output"], name="code"))
        return m


def _on_grid(m, fmt, code, grid):
    """The value of a code as an integer on a grid, and the flags of what it is otherwise."""
    if isinstance(fmt, FixedPointFormat):
        value = code.as_signed() if fmt.signed else Cat(code, C(0, 1)).as_signed()
        return value << -fmt.fraction_bits - grid.exponent, NO_FLAGS
    number = decode(m, fmt, code, normalised=False, name="accumulator")
    value = place_signed_on_grid(m, with_zero_magnitude(m, number, "accumulator"), exponent=grid.exponent,
                                 width=grid.width, name="accumulator")
    return value, Flags.of(m, number, "accumulator")


def _boolean(noun, value):
    if not isinstance(value, bool):
        raise TypeError(f"{noun} must be True or False, not {value!r}")
    return value
