"""Mechanisms of memory cells: LUT RAM, and block RAM with ports of different widths.

What a block RAM shows where one port writes what another reads in the same cycle is often undefined; the flows add
logic so that no design depends on it. Such bits read here as the complement of what was stored: a design that depends
on them all the same does not pass by luck.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synth.netlist.cells.model import CellView, Controls
from synth.netlist.network import FALSE, Contents, Signal, WritePort


def contents(words: Sequence[int], width: int) -> Contents:
    """Return words, given as integers, as contents."""
    size = -(-width // 8)
    rows = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8).reshape(-1, size)
    return np.unpackbits(rows, axis=1, count=width, bitorder="little").astype(np.bool_)


def initial_words(view: CellView, names: Sequence[str], width: int) -> Contents:
    """Return initial contents that are spread over parameters, each ``width`` bits of the stream of all bits.

    Bits that are undefined start as 0.
    """
    return contents([view.integer(name, 0, width, undefined=False) for name in names], width)


def write_all(clock: Signal, address: Sequence[Signal], enable: Signal, data: Sequence[Signal], *, rising: bool = True
              ) -> WritePort:
    """Return a write port with one enable for the whole word."""
    return WritePort(clock, rising, tuple(address), (enable,) * len(data), tuple(data))


def padded(view: CellView, word: Sequence[Signal], width: int) -> list[Signal]:
    """Return an output of ``width`` pins whose upper ones a narrow word leaves without a value."""
    return [*word, *(view.undefined("an unused data output") for _ in range(width - len(word)))]


class DuringWrite(enum.Enum):
    """What a port shows when it, or another port, writes the word that it reads."""

    OLD = enum.auto()
    """The word before the write."""
    NEW = enum.auto()
    """The word after the write."""
    HOLD = enum.auto()
    """What it showed before (a port's own writes, at whatever address)."""
    UNDEFINED = enum.auto()
    """Nothing that a design may use."""


@dataclass(frozen=True, kw_only=True)
class BlockPort:
    """A port of a block RAM: one address, at which it reads, writes, or both.

    Parameters
    ----------
    layout : for each value of the address's low bits, the bits of a row that are the port's word
        Its length is a power of two; the rest of the address chooses the row.
    enable : Signal
        Of the port as a whole, reset excepted.
    write, data : Signal a bit of the word, empty for a port that only reads
    writing : Signal
        Whether it writes at all; a port that holds its output during a write looks at this.
    reads : bool
        Whether its output exists.
    own, others : DuringWrite
        What it shows of its own writes, and what the other ports on its clock show of them.
    reset : Signal
        Loads ``reset_value`` into the output; if ``reset_gated`` and synchronous, only while the port is enabled.
    initial : int
        The output after configuration.
    """

    clock: Signal
    rising: bool = True
    address: Sequence[Signal]
    layout: Sequence[Sequence[int]]
    enable: Signal
    write: Sequence[Signal] = ()
    data: Sequence[Signal] = ()
    writing: Signal = FALSE
    reads: bool = True
    own: DuringWrite = DuringWrite.OLD
    others: DuringWrite = DuringWrite.UNDEFINED
    reset: Signal = FALSE
    reset_value: int = 0
    reset_asynchronous: bool = False
    reset_gated: bool = False
    initial: int = 0

    @property
    def low(self) -> Sequence[Signal]:
        """The address's bits that choose a word of the row."""
        return self.address[:(len(self.layout) - 1).bit_length()]

    @property
    def row(self) -> tuple[Signal, ...]:
        """The address's bits that choose the row."""
        return tuple(self.address[(len(self.layout) - 1).bit_length():])


def byte_layout(width: int, row: int, *, parity: bool) -> list[list[int]]:
    """Return the layout of words of ``width`` bits in rows of ``row`` bits.

    With ``parity``, a row is made of nine-bit bytes, whose ninth bits words of less than nine bits do not have.
    """
    if parity and width < 9:
        return [[9 * (bit // 8) + bit % 8 for bit in range(start, start + width)]
                for start in range(0, row // 9 * 8, width)]
    return [list(range(start, start + width)) for start in range(0, row, width)]


def block_ram(view: CellView, initial: Contents, ports: Sequence[BlockPort]) -> list[list[Signal]]:
    """Return the output of every port (empty where it does not read) of a block RAM whose rows start as ``initial``."""
    initial, ports = _words_as_rows(initial, ports)
    width = initial.shape[1]
    rows = [_row_write(view, port, width) for port in ports]
    stored = view.memory(initial, [write for write in rows if any(enable != FALSE for enable in write.enable)],
                         [port.row for port in ports if port.reads])
    outputs: list[list[Signal]] = []
    for port in ports:
        if not port.reads:
            outputs.append([])
            continue
        row = stored.pop(0)
        for other, write in zip(ports, rows, strict=True):
            if other is not port and other.others is DuringWrite.UNDEFINED and (
                    other.clock, other.rising) == (port.clock, port.rising):
                same = _equal(view, port.row, write.address)
                row = [view.xor(bit, view.and_(same, enable)) for bit, enable in zip(row, write.enable, strict=True)]
        outputs.append(_latch(view, port, _select(view, row, port)))
    return outputs


def _words_as_rows(initial: Contents, ports: Sequence[BlockPort]) -> tuple[Contents, Sequence[BlockPort]]:
    """Return the block with a word a row, where all ports have one layout: then nothing has to be selected."""
    layout = ports[0].layout
    if any(port.layout != layout for port in ports):
        return initial, ports
    words: Contents = initial[:, np.array(layout)].reshape(-1, len(layout[0]))
    return words, [replace(port, layout=[range(len(layout[0]))]) for port in ports]


def _row_write(view: CellView, port: BlockPort, width: int) -> WritePort:
    """Return a port's write as one of whole rows."""
    enable, data = [FALSE] * width, [FALSE] * width
    if port.write:
        for value, places in enumerate(port.layout):
            chosen = port.enable
            for position, bit in enumerate(port.low):
                chosen = view.and_(chosen, view.invert_if(not value >> position & 1, bit))
            for place, write, signal in zip(places, port.write, port.data, strict=True):
                enable[place], data[place] = view.and_(chosen, write), signal
    return WritePort(port.clock, port.rising, port.row, tuple(enable), tuple(data))


def _equal(view: CellView, a: Sequence[Signal], b: Sequence[Signal]) -> Signal:
    different = FALSE
    for a_bit, b_bit in zip(a, b, strict=True):
        if a_bit != b_bit:
            different = view.or_(different, view.xor(a_bit, b_bit))
    return view.not_(different)


def _select(view: CellView, row: Sequence[Signal], port: BlockPort) -> list[Signal]:
    """Return the port's word of a row."""
    words = [[row[place] for place in places] for places in port.layout]
    for select in port.low:
        words = [[view.mux(select, if_false, if_true) for if_false, if_true in zip(low, high, strict=True)]
                 for low, high in zip(words[::2], words[1::2], strict=True)]
    return words[0]


def _latch(view: CellView, port: BlockPort, word: Sequence[Signal]) -> list[Signal]:
    """Return the port's output: the word, taken at the clock edge."""
    enable = port.enable
    if port.write and port.own is DuringWrite.NEW:
        word = [view.mux(write, bit, data) for bit, write, data in zip(word, port.write, port.data, strict=True)]
    elif port.write and port.own is DuringWrite.HOLD:
        enable = view.and_(enable, view.not_(port.writing))
    reset = port.reset
    if port.reset_gated and not port.reset_asynchronous:
        reset = view.and_(reset, port.enable)            # of the port: a write that holds the output does not hinder it
    output = []
    for index, bit in enumerate(word):
        kind = ("async" if port.reset_asynchronous else "sync") + (
            "_set" if port.reset_value >> index & 1 else "_reset")
        output.append(view.flip_flop(
            bit, port.clock, rising=port.rising, enable=enable, initial=bool(port.initial >> index & 1),
            controls=Controls(**{kind: reset})))
    return output
