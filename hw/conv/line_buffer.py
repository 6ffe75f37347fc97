"""A buffer of image lines that gives the nine samples of a square deformable convolution, whatever the offsets."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from hw.accumulate.streamed import stream_members
from hw.conv.address_generator import DeformableAddressGenerator
from hw.conv.line_memory import LineMemory, select_word, split_words
from hw.conv.line_schedule import LineSchedule, fewest_rows, queued_positions
from hw.conv.offset_queue import OffsetQueue
from hw.conv.raster import map_shape
from hw.pipeline import delay
from sw.formats.check import check_integer
from sw.reference.line_buffer import DeformableLineBuffer as DeformableLineBufferModel

__all__ = ["DeformableLineBuffer", "LineBufferCore"]


class DeformableLineBuffer(wiring.Component):
    """Windows of nine samples on a square grid, for a feature map that comes in pixel by pixel.

    Order, offsets and borders are those of the reference ``sw.reference.line_buffer``. Row y lies in bank
    ``y mod rows``; writing and reading are separate machines that work at the same time, also where a map ends and the
    next one begins, whose first rows are written while the last ones of its predecessor are still being read. A window
    leaves ``latency`` cycles after the transfer that causes it, or ``initiation_interval`` cycles after the one before
    it where that is later, unless something stalls.

    A row that is written replaces the one ``rows`` above it. While windows of row r are read, which reach up to row
    ``r - reach``, row ``r + reach + 1`` is being written at most, since its begin overlaps the end of row r: hence
    ``2 * reach + 2`` rows. A map then takes as many cycles as it has transfers, or as its windows take to leave,
    whichever are more, provided that a row has ``(reach + 1) * channel_groups + 2`` transfers or more; shorter ones
    take further rows for that. The 15 rows of the published design, of which it writes 8 ahead, are right for offsets
    to 6 and wrong for the 7 that the paper names.

    LUTs / flip-flops / block memories with yosys 0.70 for 16 rows of 256 words of ``int8`` (64 columns of 4 channel
    groups), offsets to 7; RAMB36 for 16 lanes on the Xilinx families, RAMB18 for 4:

    ================  ==================  ==================  ================  ==================
    lanes             4                   16                  4                 16
    ``read_ports``    3                   3                   1                 1
    ================  ==================  ==================  ================  ==================
    iCE40             4709 / 457 / 98     19575 / 1321 / 386  1762 / 465 / 34   6731 / 1329 / 130
    ECP5              4028 / 454 / 49     15278 / 1318 / 193  1577 / 462 / 17   5422 / 1326 / 65
    Nexus             3965 / 454 / 49     15230 / 1318 / 193  1524 / 462 / 17   5371 / 1326 / 65
    Gowin             4028 / 454 / 49     15366 / 1318 / 193  1581 / 462 / 17   5421 / 1326 / 65
    Xilinx 7          1766 / 454 / 49     6428 / 1318 / 97    679 / 462 / 17    2226 / 1326 / 33
    UltraScale+       1751 / 454 / 49     6455 / 1318 / 97    666 / 462 / 17    2208 / 1326 / 33
    ================  ==================  ==================  ================  ==================

    Nearly all of the LUTs choose one of 16 rows for each bit of nine samples, or of three, 12 to 13 LUT4 or 5 to 6
    LUT6 a bit. Of 4 lanes with three read ports, ECP5 took 5648 / 610 / 49 before it was left open what is read in the
    cycle of a write to the same word (:data:`hw.conv.line_memory.UNDEFINED_COLLISIONS`).

    Parameters
    ----------
    element : FloatingPointFormat, FixedPointFormat or PositFormat
        Of a channel.
    lanes : int
        Channels of a transfer.
    height, width : int
        Rows and columns of a map.
    channel_groups : int
        Transfers of a pixel.
    stride : int
        Rows and columns from one result to the next.
    max_offset : int
        Largest offset. With 0, transfers have no offset.
    padding : int
        Code of the samples outside the map.
    deformable : bool
        Whether transfers bring offsets; without them every offset is 1.
    rows : int, optional
        Banks; by default the fewest, ``2 * reach + 2``, reach being the largest offset, and not below the stride.
    depth : int, optional
        Words of a bank; ``width * channel_groups``, the fewest, by default.
    read_ports : int
        3 for one window a cycle from three copies of each bank, or 1 for one every three cycles from a single copy.

    Members
    -------
    i : In(stream)
        ``pixel`` and, unless there is none, ``offset``.
    o : Out(stream)
        ``window``: channel l of sample k in lane ``k * lanes + l``.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if the rows do not hold the offsets, a bank not a row of the map, or ``read_ports`` is
        neither 1 nor 3.

    Source: CoDeNet (arXiv 2006.08357), the line buffer and its addressing.
    """

    def __init__(self, element, *, lanes, height, width, channel_groups=1, stride=1, max_offset=7, padding=0,
                 deformable=True, rows=None, depth=None, read_ports=3):
        self._model = model = DeformableLineBufferModel(
            element=element, lanes=lanes, height=height, width=width, channel_groups=channel_groups, stride=stride,
            max_offset=max_offset, padding=padding, deformable=deformable)
        fewest, words = fewest_rows(model), width * channel_groups
        self._rows = fewest if rows is None else rows
        check_integer("Rows", self._rows)
        if self._rows < fewest:
            raise ValueError(f"Rows must be at least {fewest} for offsets to {model.reach} and a stride of {stride}, "
                             f"not {rows!r}")
        self._depth = words if depth is None else depth
        check_integer("Depth", self._depth)
        if self._depth < words:
            raise ValueError(f"Depth must be at least {words} words for {width} columns of {channel_groups} channel "
                             f"groups, not {depth!r}")
        check_integer("Read ports", read_ports)
        if read_ports not in (1, 3):
            raise ValueError(f"Read ports must be 1 or 3, not {read_ports!r}")
        self._read_ports = read_ports
        super().__init__(stream_members(model))

    @property
    def rows(self):
        """Number of banks."""
        return self._rows

    @property
    def depth(self):
        """Words of a bank."""
        return self._depth

    @property
    def read_ports(self):
        """Words that a bank gives in a cycle."""
        return self._read_ports

    @property
    def latency(self):
        """Cycles from a transfer to the first window that it causes."""
        return 4 + self.initiation_interval

    @property
    def initiation_interval(self):
        """Cycles between two windows at best."""
        return 3 // self._read_ports

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model = self._model
        m.submodules.core = core = LineBufferCore(
            model, rows=self._rows, lookahead=self._rows - model.back - 1, depth=self._depth,
            read_ports=self._read_ports)
        wiring.connect(m, core.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), core.o)
        m.d.comb += [core.shape[name].eq(getattr(model, name)) for name in core.shape.shape().members]
        return m


class LineBufferCore(wiring.Component):
    """The buffer for maps whose shape is known at run time only, and for any number of rows, right or wrong.

    Parameters
    ----------
    model : sw.reference.line_buffer.DeformableLineBuffer
        Its shape and stride are the largest that occur, but for ``depth``.
    rows : int
        Number of banks: above ``reach`` and not below the stride.
    lookahead : int
        How many rows writing may be ahead: see :class:`hw.conv.line_schedule.LineSchedule`.
    depth : int
        Words of a bank: what a row takes at most.
    read_ports : int
        1 or 3.
    queue_depth : int, optional
        Most offsets of positions with windows in ``lookahead + 1`` rows that follow each other; by default for maps of
        the largest shape and stride, which others may exceed.

    Members
    -------
    shape : In(map_shape(model))
        Of the maps; to be changed in a reset only.
    i, o : streams
        As in :class:`DeformableLineBuffer`.
    """

    def __init__(self, model, *, rows, lookahead, depth, read_ports, queue_depth=None):
        self._model, self._rows, self._lookahead = model, rows, lookahead
        # An address has one bit at least.
        self._depth = max(depth, 2)
        self._queue_depth = max(queued_positions(model, lookahead) if queue_depth is None else queue_depth, 2)
        self._read_ports, self._phases = read_ports, 3 // read_ports
        super().__init__({"shape": In(map_shape(model)), **stream_members(model)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.schedule = schedule = LineSchedule(self._model, rows=self._rows, lookahead=self._lookahead,
                                                        depth=self._depth)
        # Each position passes by once a phase.
        advance, phase, going = Signal(), Signal(range(self._phases)), Signal()
        last_phase = phase == self._phases - 1
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready), going.eq(schedule.available | (phase != 0)),
            schedule.shape.eq(self.shape), schedule.take.eq(going & advance & last_phase),
            schedule.write.eq(self.i.valid & self.i.ready), self.i.ready.eq(schedule.may_write),
        ]
        with m.If(going & advance):
            m.d.sync += phase.eq(Mux(last_phase, 0, phase + 1))
        m.submodules.generator = generator = DeformableAddressGenerator(self._model, rows=self._rows, depth=self._depth)
        offset = self._offset(m, schedule, advance)
        with m.If(advance):
            place = data.View(schedule.position.shape(), delay(m, schedule.position, 1, name="place"))
        m.d.comb += [generator.enable.eq(advance), generator.shape.eq(self.shape), generator.offset.eq(offset),
                     *(getattr(generator, name).eq(place[name]) for name in place.shape().members)]
        # What goes along with a position: into the stages of the addresses, the words and the window.
        flags, phases = [Cat(going, schedule.leaves)], [phase]
        for stage in range(1, 4):
            flags.append(Signal.like(flags[0], name=f"flags_{stage}"))  # with a reset: at power-up there is no position
            with m.If(advance):
                m.d.sync += flags[-1].eq(flags[-2])
                phases.append(delay(m, phases[-1], 1, name=f"phase_{stage}"))
        m.d.comb += schedule.released.eq(Mux(advance, flags[2][1:], 0))
        memory = self._memory(m, schedule, generator, phases[2], advance)
        self._assemble(m, memory, generator, phases[3], advance)
        valid = Signal()
        with m.If(advance):
            m.d.sync += valid.eq(flags[3][0] & (phases[3] == self._phases - 1))
        m.d.comb += self.o.valid.eq(valid)
        return m

    def _offset(self, m, schedule, advance):
        """The offset of the position that was the next one a cycle ago."""
        model = self._model
        if not model.has_offsets:
            return C(model.reach, range(model.reach + 1))
        m.submodules.offsets = queue = OffsetQueue(width=len(self.i.payload.offset), depth=self._queue_depth)
        m.d.comb += [queue.write.eq(schedule.write & schedule.wanted), queue.write_word.eq(self.i.payload.offset),
                     queue.read.eq(advance), queue.take.eq(schedule.take)]
        return queue.word

    def _memory(self, m, schedule, generator, phase, advance):
        """The lines, of which every bank gives the words of three columns, or of one in each phase."""
        m.submodules.memory = memory = LineMemory(
            rows=self._rows, depth=self._depth, width=len(Value.cast(self.i.payload.pixel)),
            read_ports=self._read_ports)
        chosen = split_words(generator.addresses, 3) if self._phases == 1 else [select_word(
            split_words(generator.addresses, 3), phase)]
        m.d.comb += [
            memory.write.eq(schedule.write), memory.write_bank.eq(schedule.written.bank),
            memory.write_address.eq(schedule.written.address), memory.write_word.eq(self.i.payload.pixel),
            memory.read.eq(advance), memory.addresses.eq(Cat(chosen).replicate(self._rows)),
        ]
        return memory

    def _assemble(self, m, memory, generator, phase, advance):
        """Put words and padding into the window, all of them or those of one column."""
        with m.If(advance):
            banks, row_inside, column_inside = (delay(m, getattr(generator, name), 1, name=f"{name}_later")
                                                for name in ("banks", "row_inside", "column_inside"))
        words, ports = split_words(memory.words, self._rows * self._read_ports), self._read_ports
        padding = C(self._model.padding, self._model.element.width).replicate(self._model.lanes)
        samples = []
        for row in range(3):
            for column in range(3):
                candidates = words[column if self._phases == 1 else 0::ports]
                inside = row_inside[row] & column_inside[column]
                sample = Signal(len(padding), name=f"sample_{row}_{column}", reset_less=True)
                with m.If(advance & (C(1) if self._phases == 1 else phase == column)):
                    m.d.sync += sample.eq(Mux(inside, select_word(candidates, split_words(banks, 3)[row]), padding))
                samples.append(sample)
        m.d.comb += Value.cast(self.o.payload).eq(Cat(samples))
