"""A buffer of image lines whose nine samples have offsets of their own, and wait for each other at its memories."""

from amaranth.hdl import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import stream_members
from hw.conv.line_memory import LineMemory, select_word, split_words
from hw.conv.line_schedule import LineSchedule, fewest_rows, queued_positions
from hw.conv.offset_queue import OffsetQueue
from hw.conv.raster import wrap
from hw.pipeline import delay
from sw.formats.check import check_integer
from sw.reference.bounded_line_buffer import BoundedLineBuffer as BoundedLineBufferModel
from sw.reference.map_windows import TAPS

__all__ = ["BankArbiter", "BoundedLineBuffer", "SampleAddresses"]


class BoundedLineBuffer(wiring.Component):
    """Windows of nine samples, each with an offset of its own, for a feature map that comes in pixel by pixel.

    What square offsets (:class:`hw.conv.line_buffer.DeformableLineBuffer`) are measured against. Lines lie in banks,
    and writing and reading overlap, as they do there; but any number of the nine samples may lie in one bank, which
    gives ``read_ports`` of them a cycle. A window takes as many cycles as its busiest bank, which is what
    ``sw.reference.bounded_line_buffer.bank_cycles`` counts, so that the time of a result is not constant: with offsets
    that are random from 0 to 7, 2.68 cycles on average with one read port and 1.12 with three, of 3 and 1 for square
    offsets. Each sample has an address, a bank and an inside of its own, and every bank may serve any of them.

    LUTs / flip-flops / block memories with yosys 0.70 of 4 lanes of ``int8``, offsets to 7, 64 columns of 4 channel
    groups, as 11 rows take here and 16 there; on Xilinx 7, 4 of the memories are RAMB36 here, the others RAMB18:

    ===========  ==============  =================  ================  =================
    offsets      ``read_ports``  iCE40              ECP5              Xilinx 7
    ===========  ==============  =================  ================  =================
    independent  3               12601 / 585 / 100  11132 / 583 / 41  6162 / 583 / 37
    square       3               4709 / 457 / 98    4028 / 454 / 49   1766 / 454 / 49
    independent  1               4645 / 567 / 56    4714 / 565 / 19   2397 / 565 / 15
    square       1               1762 / 465 / 34    1577 / 462 / 17   679 / 462 / 17
    ===========  ==============  =================  ================  =================

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
    min_offset, max_offset : int
        Least and largest offset.
    padding : int
        Code of the samples outside the map.
    rows : int, optional
        Banks; by default the fewest, ``max_offset - min_offset + 4``, and not below the stride.
    read_ports : int
        Samples that a bank gives in a cycle: 1 to 9.

    Members
    -------
    i : In(stream)
        ``pixel`` and ``offset``.
    o : Out(stream)
        ``window``: channel l of sample k in lane ``k * lanes + l``.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if the rows do not hold the offsets, or ``read_ports`` is out of range.

    Source: CoDeNet (arXiv 2006.08357), its bounded offsets.
    """

    constant_latency = False

    def __init__(self, element, *, lanes, height, width, channel_groups=1, stride=1, min_offset=0, max_offset=7,
                 padding=0, rows=None, read_ports=3):
        self._model = model = BoundedLineBufferModel(
            element=element, lanes=lanes, height=height, width=width, channel_groups=channel_groups, stride=stride,
            min_offset=min_offset, max_offset=max_offset, padding=padding)
        fewest = fewest_rows(model)
        self._rows = fewest if rows is None else rows
        check_integer("Rows", self._rows)
        if self._rows < fewest:
            raise ValueError(f"Rows must be at least {fewest} for offsets from {min_offset} to {max_offset} and a "
                             f"stride of {stride}, not {rows!r}")
        check_integer("Read ports", read_ports)
        if not 1 <= read_ports <= len(TAPS):
            raise ValueError(f"Read ports must be between 1 and {len(TAPS)}, not {read_ports!r}")
        self._read_ports = read_ports
        super().__init__(stream_members(model))

    @property
    def rows(self):
        """Number of banks."""
        return self._rows

    @property
    def read_ports(self):
        """Samples that a bank gives in a cycle."""
        return self._read_ports

    @property
    def latency(self):
        """Cycles from a transfer to the first window that it causes, at least: one whose samples are read at once."""
        return 5

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model, lookahead = self._model, self._rows - self._model.back - 1
        depth = max(model.width * model.channel_groups, 2)
        m.submodules.schedule = schedule = LineSchedule(model, rows=self._rows, lookahead=lookahead, depth=depth)
        m.submodules.offsets = queue = OffsetQueue(width=len(Value.cast(self.i.payload.offset)),
                                                   depth=max(queued_positions(model, lookahead), 2))
        m.submodules.addresses = addresses = SampleAddresses(model, rows=self._rows, depth=depth)
        m.submodules.arbiter = arbiter = BankArbiter(model, rows=self._rows, depth=depth, read_ports=self._read_ports)
        m.submodules.memory = memory = LineMemory(rows=self._rows, depth=depth, read_ports=self._read_ports,
                                                  width=len(Value.cast(self.i.payload.pixel)))
        advance, proceed = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready), proceed.eq(advance & arbiter.ends),
            self.i.ready.eq(schedule.may_write), schedule.write.eq(self.i.valid & self.i.ready),
            schedule.take.eq(schedule.available & proceed),
            *(schedule.shape[name].eq(getattr(model, name)) for name in schedule.shape.shape().members),
            queue.write.eq(schedule.write & schedule.wanted), queue.write_word.eq(self.i.payload.offset),
            queue.read.eq(proceed), queue.take.eq(schedule.take), addresses.offset.eq(queue.word),
            memory.write.eq(schedule.write), memory.write_bank.eq(schedule.written.bank),
            memory.write_address.eq(schedule.written.address), memory.write_word.eq(self.i.payload.pixel),
            memory.read.eq(advance), memory.addresses.eq(arbiter.addresses),
            arbiter.sample_banks.eq(addresses.banks), arbiter.sample_addresses.eq(addresses.addresses),
            arbiter.sample_inside.eq(addresses.inside),
            arbiter.proceed.eq(proceed), arbiter.advance.eq(advance),
        ]
        taken, leaves = Signal(), Signal.like(schedule.leaves)  # with a reset: at power-up there is no position
        with m.If(proceed):
            place = data.View(schedule.position.shape(), delay(m, schedule.position, 1, name="place"))
            m.d.sync += [taken.eq(schedule.available), leaves.eq(schedule.leaves)]
        m.d.comb += [addresses.position.eq(place), arbiter.taken.eq(taken), arbiter.leaves.eq(leaves),
                     schedule.released.eq(arbiter.released)]
        self._assemble(m, memory, arbiter, advance)
        return m

    def _assemble(self, m, memory, arbiter, advance):
        """Put the words that have been read, and padding, into the window."""
        padding = C(self._model.padding, self._model.element.width).replicate(self._model.lanes)
        words, chosen = split_words(memory.words, self._rows * self._read_ports), split_words(arbiter.words, len(TAPS))
        samples = []
        for tap in range(len(TAPS)):
            sample = Signal(len(padding), name=f"sample_{tap}", reset_less=True)
            with m.If(advance & (arbiter.granted[tap] | ~arbiter.inside[tap])):
                m.d.sync += sample.eq(Mux(arbiter.inside[tap], select_word(words, chosen[tap]), padding))
            samples.append(sample)
        valid = Signal()
        with m.If(advance):
            m.d.sync += valid.eq(arbiter.complete)
        m.d.comb += [self.o.valid.eq(valid), Value.cast(self.o.payload).eq(Cat(samples))]


class SampleAddresses(wiring.Component):
    """Bank and address of each of nine samples, and whether it lies in the map, without registers.

    Parameters
    ----------
    model : sw.reference.bounded_line_buffer.BoundedLineBuffer
    rows : int
        Number of banks: above both ``back`` and ``reach``.
    depth : int
        Words of a bank.

    Members
    -------
    position : In(StructLayout)
        ``y``, ``x``, ``bank`` and ``address`` of the window's position.
    offset : In
        The codes of its offsets.
    banks, addresses : Out(9 numbers), inside : Out(9)
        Of the samples. Outside the map, bank and address mean nothing.
    """

    def __init__(self, model, *, rows, depth):
        self._model, self._rows = model, rows
        super().__init__({
            "position": In(data.StructLayout({"y": range(model.height), "x": range(model.width), "bank": range(rows),
                                              "address": range(depth)})),
            "offset": In(model.inputs["offset"].bits), "banks": Out(len(TAPS) * (rows - 1).bit_length()),
            "addresses": Out(len(TAPS) * (depth - 1).bit_length()), "inside": Out(len(TAPS))})

    def elaborate(self, platform):
        m = Module()
        model, position, offsets = self._model, self.position, split_words(self.offset, 2 * len(TAPS))
        banks, addresses, inside = [], [], []
        for tap, (ky, kx) in enumerate(TAPS):
            dy, dx = (Signal(range(-model.back, model.reach + 1), name=f"{axis}_{tap}") for axis in ("dy", "dx"))
            m.d.comb += [dy.eq(offsets[2 * tap] + model.min_offset + ky),
                         dx.eq(offsets[2 * tap + 1] + model.min_offset + kx)]
            y, x = position.y + dy, position.x + dx
            banks.append(wrap(position.bank + dy, self._rows))
            addresses.append((position.address + dx * model.channel_groups)[:len(position.address)])
            inside.append((y >= 0) & (y < model.height) & (x >= 0) & (x < model.width))
        m.d.comb += [self.banks.eq(Cat(banks)), self.addresses.eq(Cat(addresses)), self.inside.eq(Cat(inside))]
        return m


class BankArbiter(wiring.Component):
    """Nine samples, each to be read from a bank: as many a cycle as the banks have ports, the first ones first.

    Parameters
    ----------
    model : sw.reference.bounded_line_buffer.BoundedLineBuffer
    rows, depth, read_ports : int
        Of the banks.

    Members
    -------
    sample_banks, sample_addresses : In(9 numbers), sample_inside : In(9)
        Of the window that comes next, as :class:`SampleAddresses` has them.
    taken : In(1), leaves : In
        Whether there is one, and how many rows are no longer needed once it has been read.
    advance, proceed : In(1)
        Whether samples are read in this cycle; whether the next window comes in, which it may do once ``ends`` is set.
    ends : Out(1)
        Whether nothing of the window is left after this cycle.
    released : Out
        ``leaves`` of the window whose last sample is read in this cycle, or 0.
    addresses : Out(rows * read_ports numbers)
        What is read in this cycle.
    granted, inside : Out(9), words : Out(9 numbers)
        What has been read in the last one: which samples, and where among the words of all banks; and which samples of
        their window lie in the map.
    complete : Out(1)
        Whether that was the last of a window.
    """

    def __init__(self, model, *, rows, depth, read_ports):
        self._rows, self._depth, self._read_ports = rows, depth, read_ports
        advance, taps = range(model.stride + 1), len(TAPS)
        bank, address, word = ((limit - 1).bit_length() for limit in (rows, depth, rows * read_ports))
        super().__init__({
            "sample_banks": In(taps * bank), "sample_addresses": In(taps * address), "sample_inside": In(taps),
            "taken": In(1), "leaves": In(advance), "advance": In(1), "proceed": In(1), "ends": Out(1),
            "released": Out(advance), "addresses": Out(rows * read_ports * address), "granted": Out(taps),
            "inside": Out(taps), "complete": Out(1), "words": Out(taps * word)})

    def elaborate(self, platform):
        m = Module()
        taps, ports, count = range(len(TAPS)), self._read_ports, len(TAPS)
        pending, busy, leaves = Signal(count, reset_less=True), Signal(), Signal.like(self.leaves)
        grant = Signal(count)
        with m.If(self.proceed):
            m.d.sync += [pending.eq(self.sample_inside), busy.eq(self.taken), leaves.eq(self.leaves)]
            banks, addresses, inside = (delay(m, getattr(self, f"sample_{name}"), 1, name=name)
                                        for name in ("banks", "addresses", "inside"))
        with m.Elif(self.advance):
            m.d.sync += pending.eq(pending & ~grant)
        banks, addresses = split_words(banks, count), split_words(addresses, count)
        # How many samples go before this one at its bank.
        rank = [sum((pending[other] & (banks[other] == banks[tap]) for other in range(tap)), C(0, 1)) for tap in taps]
        m.d.comb += [
            grant.eq(Cat(pending[tap] & (rank[tap] < ports) for tap in taps)),
            self.ends.eq(~busy | ~(pending & ~grant).any()),
            self.released.eq(Mux(busy & self.ends & self.advance, leaves, 0)),
            self.addresses.eq(Cat(
                _any(Mux(grant[tap] & (banks[tap] == bank) & (rank[tap] == port), addresses[tap], 0) for tap in taps)
                for bank in range(self._rows) for port in range(ports))),
        ]
        complete = Signal()  # with a reset: at power-up there is no window
        with m.If(self.advance):
            m.d.sync += complete.eq(busy & self.ends)
            granted = delay(m, grant, 1, name="granted_later")
            was_inside = delay(m, inside, 1, name="inside_later")
            width = len(self.words) // count
            words = delay(m, Cat((banks[tap] * ports + rank[tap])[:width] for tap in taps), 1, name="words_later")
        m.d.comb += [self.granted.eq(granted), self.inside.eq(was_inside), self.words.eq(words),
                     self.complete.eq(complete)]
        return m


def _any(values):
    """Return the bitwise or of some values."""
    first, *others = values
    for value in others:
        first = first | value
    return first
