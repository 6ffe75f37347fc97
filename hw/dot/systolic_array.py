"""An output-stationary systolic array: a matrix product in accumulators that pass their operands on."""

from dataclasses import dataclass

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.cell import make_rounder, make_sum, require_cell, rounds_in_sum, sum_latency
from hw.accumulate.streamed import input_layout, stream_members
from hw.convert.lfsr import Lfsr
from hw.pipeline import delay, distribute, require_pipeline
from sw.reference.systolic import SystolicArray as SystolicArrayModel

__all__ = ["SystolicArray"]


class SystolicArray(wiring.Component):
    """``size`` rows and columns of accumulators between two streams, with one rounding unit a column.

    The rows of the left matrix come in from the left and the columns of the right one from the top, each row and column
    one cycle later than the one before; every cell hands its operands on to the cell at its right and to the one below.
    The cells of a row finish one cycle apart, those of a column too. A column's sums therefore reach its rounding unit
    one after the other without being stored, while the array already works on the next product.

    Of a product of depth K, the last accumulation is in the cycle ``K + 2 * size - 2``, counted from the one that takes
    the first transfer as cycle 1, plus the registers inside a cell (``pipeline``). The ``size`` rows of results leave
    in ``size`` cycles in a row, the last of them in the cycle after the last accumulation, plus the registers of
    the rounding unit: the drain is hidden but for one cycle. A new product may begin in the very next cycle after the
    last transfer of one; only two transfers with ``last`` are at least ``size`` cycles apart, and ``i.ready`` sees to
    that. While a result waits, everything stands still.

    DSP blocks / LUTs / flip-flops with yosys 0.70 on Xilinx 7: 2 x 2 cells of ``fixed<16,14>`` with 48-bit registers,
    stochastic rounding from 16-bit shift registers, 4 / 157 / 55; 4 x 4 of them 16 / 518 / 451.

    Parameters
    ----------
    cell : MultiplyAccumulate, ExactMultiplyAccumulate or ChunkedMultiplyAccumulate, of ``sw.reference``
        What each cell computes: formats, rounding and all. A chunked sum is rounded in its cell; the columns then have
        no rounding units.
    size : int
        Rows, and columns: 1 to 64.
    lfsr_bits : int, bits, optional
        Width of the register that each rounding unit draws its random bits from; by default, random bits come with the
        transfers.
    seeds : tuple of int, optional
        State of each of these registers after a reset.
    pipeline : int
        Register stages, 0 to 64, besides those of the sum itself: behind the product (of an exact sum, behind the
        shift onto its grid; of a chunked one, behind the operands), inside the rounding units, and any further ones
        at the output.
    hard_multiplier : bool
        Leave the products, and with them fixed-point sums, to the synthesizer, for DSP blocks.

    Members
    -------
    i : In(stream)
        ``a`` (a column of the left matrix), ``b`` (a row of the right one), ``first``, ``last``, and what else the
        cells take, a lane each, row by row.
    o : Out(stream)
        ``o``, a row of results.

    Raises
    ------
    TypeError, ValueError
        As the reference ``sw.reference.systolic.SystolicArray`` does; if there is no circuit for the cell; if
        ``pipeline`` is no number of register stages.

    Source: Gupta et al. 2015 (arXiv 1502.02551), for one DSP block a cell and rounding units behind the array.
    """

    def __init__(self, cell, size, *, lfsr_bits=None, seeds=None, pipeline=0, hard_multiplier=False):
        self._model = SystolicArrayModel(cell=require_cell(cell), size=size, lfsr_bits=lfsr_bits, seeds=seeds)
        self._pipeline = require_pipeline(pipeline)
        self._timing = _Timing.of(self._model, self._pipeline)
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier = hard_multiplier
        super().__init__(stream_members(self._model))

    @property
    def size(self):
        """Rows, and columns."""
        return self._model.size

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
        """Cycles from the transfer with ``last`` to the first row of results."""
        return self._timing.latency

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        advance, refused = Signal(), Signal()
        array = _Array(self._model, self._timing, hard_multiplier=self._hard_multiplier)
        m.submodules.array = EnableInserter(advance)(array)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            refused.eq(array.busy & self.i.payload.last),
            self.i.ready.eq(advance & ~refused), array.valid.eq(self.i.valid & ~refused),
            array.i.eq(self.i.payload), self.o.payload.eq(array.o), self.o.valid.eq(array.o_valid),
        ]
        return m


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Where the registers of an array stand.

    Parameters
    ----------
    size : int
        Rows, and columns.
    sum_registers : int
        Behind the product of a cell; of an exact sum, behind the shift onto its grid.
    sum_latency : int, cycles
        From a cell's transfer to its sum.
    rounder_registers, output_registers : int
        In the rounding units, and behind them.
    """

    size: int
    sum_registers: int
    sum_latency: int
    rounder_registers: int
    output_registers: int

    @classmethod
    def of(cls, model, pipeline):
        """Distribute the register stages."""
        cycles = {"round": 0, **distribute(pipeline, ("sum",) if rounds_in_sum(model.cell) else ("sum", "round"))}
        return cls(size=model.size, sum_registers=cycles["sum"], sum_latency=sum_latency(model.cell, cycles["sum"]),
                   rounder_registers=cycles["round"], output_registers=cycles["output"])

    @property
    def latency(self):
        """Cycles from a transfer with ``last`` to the first row of results."""
        return self.size - 1 + self.sum_latency + self.rounder_registers + self.output_registers


class _Array(wiring.Component):
    """The array without a handshake.

    Members
    -------
    valid : In(1)
        Whether there is a transfer in this cycle.
    i : In(layout of the model's inputs)
    busy : Out(1)
        Whether a transfer with ``last`` came less than ``size`` cycles ago.
    o : Out(layout of the model's outputs)
    o_valid : Out(1)
    """

    def __init__(self, model, timing, *, hard_multiplier):
        self._model, self._timing, self._hard_multiplier = model, timing, hard_multiplier
        super().__init__({"valid": In(1), "i": In(input_layout(model.inputs)), "busy": Out(1),
                          "o": Out(input_layout(model.outputs)), "o_valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        n, latency = self._model.size, self._timing.sum_latency
        # Whether a transfer, and whether one with `last`, was taken so many cycles ago; with a reset.
        arrived = self._flags(m, self.valid, 2 * n - 2, "arrived")
        ended = self._flags(m, self.valid & self.i.last, self._timing.latency + n - 1, "ended")
        m.d.comb += self.busy.eq(Cat(ended[1:n]).any())
        sums = self._sums(m, arrived)
        for column in range(n):
            # At most one sum of a column is new in a cycle, two of its cells never having taken their last at once.
            chosen = [ended[row + column + latency] for row in range(n)]
            drained = _select(m, chosen, [sums[row][column] for row in range(n)], f"drained_{column}")
            m.d.comb += self.o.o[column].eq(delay(
                m, self._rounded(m, column, drained, chosen), n - 1 - column + self._timing.output_registers,
                name=f"code_{column}"))
        m.d.comb += self.o_valid.eq(Cat(ended[self._timing.latency:]).any())
        return m

    def _rounded(self, m, column, drained, chosen):
        """The code of the sum that comes out of a column."""
        if rounds_in_sum(self._model.cell):
            return drained  # a code already
        rounder = make_rounder(self._model.cell, registers=self._timing.rounder_registers)
        m.submodules[f"rounder_{column}"] = rounder
        m.d.comb += Value.cast(rounder.state).eq(drained)
        if self._model.random_bits:
            m.d.comb += rounder.random.eq(self._random(m, column, chosen))
        return rounder.o

    def _random(self, m, column, chosen):
        """The random bits of the sum that a column's rounding unit has in front of it."""
        n, latency = self._model.size, self._timing.sum_latency
        if self._model.lfsrs:
            register = self._model.lfsrs[column]
            m.submodules[f"lfsr_{column}"] = lfsr = Lfsr(register.width, seed=register.seed)
            m.d.comb += lfsr.advance.eq(Cat(chosen).any())
            return lfsr.state[:self._model.random_bits]
        return _select(m, chosen, [
            delay(m, self.i.random[row * n + column], row + column + latency, name=f"random_{row}_{column}")
            for row in range(n)], f"random_{column}")

    def _cell(self):
        """A cell, and the value in which its sum or result stands."""
        return make_sum(self._model.cell, registers=self._timing.sum_registers, hard_multiplier=self._hard_multiplier)

    def _flags(self, m, flag, cycles, name):
        """Return a flag as it was 0, 1, ... ``cycles`` cycles ago, in registers with a reset."""
        flags = [flag]
        for cycle in range(cycles):
            flags.append(Signal(name=f"{name}_{cycle + 1}"))
            m.d.sync += flags[-1].eq(flags[-2])
        return flags

    def _sums(self, m, arrived):
        """The sums of the cells by row and column, that in row i and column j i + j cycles behind the first."""
        n, ports = self._model.size, self._model.cell.inputs
        flags = {name: _line(m, self.i[name], 2 * n - 2, name) for name in ("first", "last")}
        operands = {name: [_line(m, self.i[name][lane], lane + n - 1, f"{name}_{lane}") for lane in range(n)]
                    for name in ("a", "b")}
        sums = []
        for row in range(n):
            sums.append([])
            for column in range(n):
                (cell, state), away = self._cell(), row + column
                m.submodules[f"cell_{row}_{column}"] = cell
                m.d.comb += cell.valid.eq(arrived[away])
                for name in ports:
                    if name not in self._model.inputs:  # random bits, which the rounding units have
                        continue
                    if name in flags:
                        code = flags[name][away]
                    elif name in operands:
                        code = operands[name][row if name == "a" else column][away]
                    else:
                        code = delay(m, self.i[name][row * n + column], away, name=f"{name}_{row}_{column}")
                    m.d.comb += cell.i[name].eq(code)
                sums[-1].append(state)
        return sums


def _line(m, value, cycles, name):
    """Return a value as it was 0, 1, ... ``cycles`` cycles ago."""
    values = [value]
    for cycle in range(cycles):
        values.append(delay(m, values[-1], 1, name=f"{name}_{cycle + 1}"))
    return values


def _select(m, chosen, values, name):
    """Return the one value whose flag is up, or zero."""
    bus = Signal(len(values[0]), name=name)
    total = C(0, len(bus))
    for flag, value in zip(chosen, values, strict=True):
        total = total | (value & flag.replicate(len(bus)))
    m.d.comb += bus.eq(total)
    return bus
