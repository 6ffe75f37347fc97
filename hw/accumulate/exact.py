"""Exact multiply-accumulate: products summed in a register of the full width, rounded once at the end."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.register_places import (
    decoding_levels,
    rounder_registers,
    shifts_before_register,
    sum_registers,
)
from hw.accumulate.streamed import connect_streams, input_layout, stream_members
from hw.arith.exact_product import NO_FLAGS, Flags, decode_registered, may_be_special, multiply_vectors
from hw.arith.exact_structure import exact_structures, require_exact_structure
from hw.arith.integer_sum import add_addend, sum_addends
from hw.convert.from_integer import round_sum
from hw.convert.grid import place_signed_on_grid, with_zero_magnitude
from hw.convert.number import named
from hw.pipeline import delay, require_pipeline
from hw.recorded import choose_structure
from hw.shape import require_format
from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode
from sw.reference.accumulator_width import product_grid
from sw.reference.emac import ExactMultiplyAccumulate

__all__ = ["ExactMultiplyAccumulator", "ExactSum", "ExactSumRounder", "RoundedSum", "register_sum", "state_layout"]

_FLAGS = ("nan", "above", "below")


def state_layout(model):
    """Return the layout of the register of a sum, and of the flags that its formats give rise to.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate or sw.reference.block_accumulate.BlockMultiplyAccumulate
    """
    formats = model.operand_formats
    flags = _FLAGS[:1] * any(map(may_be_special, formats)) + _FLAGS[1:] * any(fmt.has_infinity for fmt in formats)
    return data.StructLayout({"sum": signed(model.width), **dict.fromkeys(flags, 1)})


def _structures(model):
    return exact_structures(model.a, model.b, alone=False, lanes=model.lanes or 1)


def _flags_of(layout):
    return [name for name in _FLAGS if name in layout.members]


def register_sum(m, layout, added, seen, *, valid, first, preload=None, platform=None):
    """Add integers up in a register, and return the sum, two cycles after ``valid``.

    The register is cleared, or loaded, while what starts a new sum is one register away from it. Nothing but the adder
    then lies on the way from the register back to itself; the sum that is returned is a second register, which the old
    one has reached by then.

    Parameters
    ----------
    m : Module
    layout : StructLayout
        Of the register, as :func:`state_layout` gives it.
    added : Addend
        The integer, in the cycle after ``valid``.
    seen : Flags
        Its flags.
    valid, first : Value, 1 bit
        Whether there will be an integer, and whether it starts a sum.
    preload : View of ``layout``, optional
        What a sum starts from; zero by default.
    platform : object, optional
        As :func:`hw.arith.integer_sum.add_addend` has it.

    Returns
    -------
    View of ``layout``
    """
    flags = _flags_of(layout)
    # The reset comes as one more way to start a sum, from zero, so that the registers' own reset is left for that.
    fresh = Signal(init=1)
    with m.If(valid):
        m.d.sync += fresh.eq(0)
    start, arrived = named(m, valid & (first | fresh), "start"), _registered(m, valid, "arrived")
    register = data.View(layout, Signal(layout, name="register", reset_less=True))
    state = data.View(layout, Signal(layout, name="held", reset_less=True))
    total = data.View(layout, Signal(layout, name="total"))
    m.d.comb += [
        total.sum.eq(add_addend(m, register.sum, added, width=len(register.sum), platform=platform,
                                name="next_sum")),
        *(total[name].eq(register[name] | getattr(seen, name)) for name in flags)]
    with m.If(start):
        m.d.sync += register.eq(Const({}, layout) if preload is None else preload)
    with m.Elif(arrived):
        m.d.sync += register.eq(total)
    m.d.sync += state.eq(total)
    with m.If(Cat(total[name] for name in flags).any()):
        m.d.sync += state.sum.eq(1 << len(state.sum) - 1)
    return state


class ExactSum(wiring.Component):
    """The register of an exact sum, without rounding and without a handshake.

    Throughput is one transfer per cycle; ``latency`` cycles later its sum stands in ``state``. The products of a
    transfer are summed by :func:`register_sum`. The register behind a product stands within its shift onto the grid,
    where :func:`hw.accumulate.register_places.shifts_before_register` puts it.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate
        The arithmetic; result and rounding do not matter here.
    grid_registers : int
        Registers behind the shift onto the grid.
    operand_registers : int
        Registers in front of the product, behind the decoding of posits.
    hard_multiplier : bool
        Leave the product of the significands to the synthesizer.
    structure : ExactStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else the first one.

    Members
    -------
    valid : In(1)
        Whether there is a transfer in this cycle.
    i : In(layout of the model's inputs)
    state : Out(StructLayout)
        ``sum``, signed, in units of ``2**model.accumulator_exponent``; and, of formats with such values, the flags
        ``nan``, ``above`` and ``below`` for a NaN, the positive and the negative infinity among the terms. While a
        flag is up, ``sum`` is its most negative value.
    """

    def __init__(self, model, *, grid_registers=0, operand_registers=0, hard_multiplier=False, structure=None):
        self._model = model
        self._structure = None if structure is None else require_exact_structure(structure, _structures(model))
        self._grid_registers = require_pipeline(grid_registers)
        self._operand_registers = require_pipeline(operand_registers)
        self._hard_multiplier = hard_multiplier
        self._layout = state_layout(model)
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "state": Out(self._layout)})

    @property
    def model(self):
        """The arithmetic."""
        return self._model

    @property
    def latency(self):
        """Cycles from a transfer to its sum."""
        return 2 + self._grid_registers + self._operand_registers

    def elaborate(self, platform):
        m = Module()
        added, seen = self._products(m, platform)
        # A transfer starts a sum while it is one register away from the adder.
        away = self.latency - 2
        valid, first = self.valid, delay(m, self.i.first, away, name="first")
        for cycle in range(away):
            valid = _registered(m, valid, f"valid_{cycle + 1}")
        preload = self._preload(m, away, first) if "c" in self._model.inputs else None
        m.d.comb += self.state.eq(register_sum(m, self._layout, added, seen, valid=valid, first=first,
                                               preload=preload, platform=platform))
        return m

    def _products(self, m, platform):
        """The sum of a transfer's products on the register's grid, and their flags."""
        model = self._model
        structure = choose_structure(self._structure, _structures(model), model, platform,
                                     recorded=not self._hard_multiplier)
        grid = product_grid(model.a, model.b, every_code=True).refined(model.accumulator_exponent)
        width = min(grid.width, model.width)
        a, b = ([codes] if model.lanes is None else list(codes) for codes in (self.i.a, self.i.b))
        products = multiply_vectors(m, model.a, a, model.b, b, hard_multiplier=self._hard_multiplier,
                                    structure=structure, platform=platform, cycles=self._operand_registers)
        addends, seen = [], None
        for lane, product in enumerate(products):
            ahead = 0 if product.number is None else shifts_before_register(
                product.number, exponent=model.accumulator_exponent, width=model.width, platform=platform,
                decoding=decoding_levels(model, self._operand_registers), grid_registers=self._grid_registers)
            addend = product.addend(m, exponent=model.accumulator_exponent, width=width, name=f"lane_{lane}",
                                    registered=ahead)
            addends.append(addend.delayed(m, self._grid_registers))
            seen = product.flags if seen is None else seen | product.flags
        return sum_addends(m, addends, platform=platform, name="products"), seen.delayed(m, 1 + self._grid_registers)

    def _preload(self, m, away, first):
        """What a sum starts from: the value of ``c``, or zero after a reset."""
        model = self._model
        inside = min(away, not isinstance(model.c, FixedPointFormat))  # the last register, where it cuts a long way
        code = delay(m, self.i.c, away - inside, name="c")
        preload = data.View(self._layout, Signal(self._layout, name="preload"))
        if isinstance(model.c, FixedPointFormat):
            places = -model.c.fraction_bits - model.accumulator_exponent
            value, flags = (code.as_signed() if model.c.signed else code) << places, NO_FLAGS
        else:
            number = with_zero_magnitude(m, decode_registered(m, model.c, code, inside, "c"), "c")
            value = place_signed_on_grid(m, number, exponent=model.accumulator_exponent,
                                         width=model.width, name="c")
            flags = Flags.of(m, number, "c")
        with m.If(first):
            m.d.comb += [preload.sum.eq(value),
                         *(preload[name].eq(getattr(flags, name)) for name in _flags_of(self._layout))]
        return preload


class ExactSumRounder(wiring.Component):
    """The end of an exact sum: one rounding to a code of the result format.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate or sw.reference.block_accumulate.BlockMultiplyAccumulate
    registers : int
        In the middle: see :func:`hw.accumulate.register_places.rounder_registers`.

    Members
    -------
    state : In(StructLayout)
        That of an :class:`ExactSum`.
    random : In(random_bits)
        Random bits of a stochastic rounding; only with ``RoundingMode.STOCHASTIC``.
    o : Out(width of the result)
    """

    def __init__(self, model, *, registers=0):
        self._model, self._registers = model, require_pipeline(registers)
        members = {"state": In(state_layout(model)), "o": Out(model.outputs["o"].width)}
        if model.random_bits:
            members["random"] = In(model.random_bits)
        super().__init__(members)

    @property
    def latency(self):
        """Cycles from a sum to its code."""
        return self._registers

    def elaborate(self, platform):
        m = Module()
        model, state = self._model, self.state
        if model.result is None:  # the sum has been made the most negative one already
            m.d.comb += self.o.eq(delay(m, state.sum, self._registers, name="sum"))
            return m
        flags = Flags(**{name: state[name] if name in state.shape().members else C(0, 1) for name in _FLAGS})
        cycles = rounder_registers(model, self._registers)
        m.d.comb += self.o.eq(delay(m, round_sum(
            m, state.sum, model.accumulator_exponent, model.cast, flags=flags, cycles=cycles["round"],
            leading_cycles=cycles["leading"], random=self.random if model.random_bits else None),
            cycles["output"], name="code"))
        return m


class ExactMultiplyAccumulator(wiring.Component):
    """Sums of products, exact until the one rounding to a code of the result format, between two streams.

    Latency is ``2 + pipeline`` cycles of domain ``sync`` from the last pair of a sum to its result; throughput is one
    transfer per cycle. The results are those of ``sw.reference.emac.ExactMultiplyAccumulate``, which says how
    transfers are framed, what becomes of NaNs and infinities, and how a sum of too many terms wraps.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7, streams included: int8,
    the register alone for 256 terms, 102 / 102 / 65; fixed<8,4>, with a result of the same format for 16 terms,
    131 / 131 / 75. :class:`hw.arith.exact_structure.ExactStructure` has the registers of floats.

    What it took, for the register of minifloat_e4m3: clearing it ahead, without a reset of its own, which had left the
    clearing a LUT for every bit (234 / 240 / 183 before, 189 / 195 / 142 after); the sum written as a difference,
    which keeps its operands in order (142 before, 102 after, on Xilinx 7); and inverting in front of the last shift.

    Parameters
    ----------
    a : FloatingPointFormat, FixedPointFormat or PositFormat
        Format of the first operand.
    b : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the second operand; that of the first by default.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of the result; by default the result is the register itself.
    c : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        Format of what a sum starts from; zero by default.
    terms : int
        How many products a sum has at most.
    lanes : int, optional
        How many pairs one transfer holds; None for one pair, without lanes.
    accumulator_width : int, bits, optional
        Of the register; by default the least that holds every sum of ``terms`` products.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64, beyond those behind the product and behind the sum. The first four go
        behind the shift to the result's leading bit, behind that onto the register's grid, in front of the product
        (there behind the decoding of posits), and behind the rounding, in that order of priority; any further ones
        stand at the output, for a tool that retimes. See :mod:`hw.accumulate.register_places`.
    structure : ExactStructure, optional
        By default, the smallest one recorded for the device family (:mod:`hw.recorded`), else the first one.
    hard_multiplier : bool
        Leave the product of the significands to the synthesizer, for a DSP block, rather than build it from gates.

    Members
    -------
    i : In(stream)
        Payload ``a``, ``b`` (arrays of codes with ``lanes``), ``c`` if there is one, the flags ``first`` and ``last``,
        and ``random`` with ``RoundingMode.STOCHASTIC``; what counts of it is that of the transfer with ``last``.
    o : Out(stream)
        Payload ``o``, a code of the result format.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If ``accumulator_width`` is too narrow for ``terms`` products, ``terms`` is less than ``lanes``, the overflow
        policy does not apply to the result format, the random bits do not suit the rounding mode, the structure does
        not suit the operands, or ``pipeline`` is out of range.
    """

    def __init__(self, a, b=None, result=None, *, terms, c=None, lanes=None, accumulator_width=None,
                 rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0,
                 structure=None, hard_multiplier=False):
        require_format("Format a", a)
        b = a if b is None else require_format("Format b", b)
        for noun, fmt in (("Result format", result), ("Preload format", c)):
            if fmt is not None:
                require_format(noun, fmt)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        self._model = ExactMultiplyAccumulate(
            a=a, b=b, result=result, c=c, terms=terms, lanes=lanes, accumulator_width=accumulator_width,
            rounding=rounding, overflow=overflow, random_bits=random_bits)
        self._structure = require_exact_structure(structure, _structures(self._model))
        self._pipeline = require_pipeline(pipeline)
        super().__init__(stream_members(self._model))

    @classmethod
    def structures(cls, model):
        """Return the structures that suit a reference, the one taken where none is recorded first."""
        return _structures(model)

    @property
    def structure(self):
        """How products are made and inverted: as asked for, or what is taken for no device family in particular."""
        return choose_structure(self._structure, _structures(self._model), self._model, None,
                                recorded=not self._hard_multiplier)

    @property
    def hard_multiplier(self):
        """Whether the product of the significands is left to the synthesizer."""
        return self._hard_multiplier

    @property
    def pipeline(self):
        """Number of register stages beyond the two that are always there."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from the last pair of a sum to its result."""
        return 2 + self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        cycles = sum_registers(self._model, self._pipeline, ("grid", "operands"))
        sum_ = ExactSum(self._model, grid_registers=cycles["grid"], operand_registers=cycles["operands"],
                        hard_multiplier=self._hard_multiplier, structure=self._structure)
        connect_streams(m, self.i, self.o, core=RoundedSum(sum_, cycles), latency=self.latency)
        return m


class RoundedSum(wiring.Component):
    """Sum and rounding, with the members that :func:`hw.accumulate.streamed.connect_streams` asks for.

    Parameters
    ----------
    sum_ : ExactSum
        Becomes the submodule ``sum``.
    cycles : dict of str to int
        Registers within the rounding unit, ``rounder``, and behind the code, ``output``.
    """

    def __init__(self, sum_, cycles):
        self._sum, self._cycles = sum_, cycles
        ports = sum_.model
        super().__init__({"valid": In(1), "i": In(input_layout(ports.inputs)), "o": Out(input_layout(ports.outputs))})

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._sum.model, self._cycles
        m.submodules.sum = sum_ = self._sum
        m.submodules.rounder = rounder = ExactSumRounder(model, registers=cycles["rounder"])
        m.d.comb += [sum_.valid.eq(self.valid), sum_.i.eq(self.i), rounder.state.eq(sum_.state)]
        if model.random_bits:
            m.d.comb += rounder.random.eq(delay(m, self.i.random, sum_.latency, name="random"))
        m.d.comb += self.o.o.eq(delay(m, rounder.o, cycles["output"], name="code"))
        return m


def _registered(m, value, name):
    """A flag one cycle later, which a reset clears."""
    register = Signal(name=name)
    m.d.sync += register.eq(value)
    return register
