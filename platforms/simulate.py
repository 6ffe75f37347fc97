"""A board's mapped netlist, run through its pins: many boards at a time, a UART host at each.

The host side is written against the serial line alone and shares nothing with the gateware: it drives ``rx`` and
records ``tx`` cycle by cycle, with bit times that need be no whole number of clock cycles.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from platforms.boards import Board
from platforms.host import LinkError
from platforms.protocol import FRAME_BITS, LinkProtocol, Port
from synth.netlist import Simulation, compile_netlist, read_netlist

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

SETTLE_SECONDS = 20e-6
"""Time after configuration in which the host is silent: longer than the power-on resets of amaranth's platforms (15 µs
on iCE40); a real host takes a thousand times as long to notice the board."""

_CHUNK_SAMPLES = 1 << 25
"""Waveform samples that are unpacked to a byte each at a time (32 MB)."""


class SimulatedBoards:
    """Copies of a board with one design loaded, and the serial lines to them.

    All copies share their clock edges and the host's bit edges; what goes over the lines, and when the boards answer,
    is each copy's own affair.

    Parameters
    ----------
    netlist : path, JSON text or parsed JSON
        Netlist after technology mapping, pads included (``mapped.json`` of a build).
    board : Board
    lanes : int
        Number of copies.
    baud : float, optional
        The host's baud rate, by default the board's nominal one: the board's own differs by its divisor's rounding.

    Raises
    ------
    NetlistError
        If the netlist cannot be run, or lacks the board's pins.
    ValueError
        If the baud rate leaves fewer than two clock cycles a bit.
    """

    def __init__(self, netlist: str | os.PathLike[str] | Mapping[str, Any], board: Board, *, lanes: int = 1,
                 baud: float | None = None) -> None:
        baud = board.baud if baud is None else baud
        if not 0 < baud <= board.clock_hz / 2:
            raise ValueError(f"Baud rate must be more than 0 and at most half of the clock's {board.clock_hz} Hz, "
                             f"not {baud!r}")
        self._bit = board.clock_hz / baud
        self._clock_hz = board.clock_hz
        self._clock = f"{board.create_platform().default_clk}_0__io"
        self._simulation = Simulation(compile_netlist(read_netlist(netlist)), lanes)
        self._words = -(-lanes // 64)
        self._cycle = 0
        self._drive(_ONES)
        self.run(round(SETTLE_SECONDS * self._clock_hz))

    @property
    def lanes(self) -> int:
        """Number of copies."""
        return self._simulation.lanes

    @property
    def bit_cycles(self) -> float:
        """Clock cycles of a bit on the host's line."""
        return self._bit

    @property
    def clock_hz(self) -> int:
        """Clock of the boards in Hz."""
        return self._clock_hz

    @property
    def cycle(self) -> int:
        """Clock cycles since configuration."""
        return self._cycle

    def run(self, cycles: int) -> Words:
        """Let the boards run; return the levels of ``tx`` in each cycle, shape ``(cycles, words)``, a bit a board."""
        record = np.empty((cycles, self._words), np.uint64)
        for cycle in range(cycles):
            record[cycle] = self._simulation.get_planes(TX)[0]
            self._simulation.step(self._clock)
        self._cycle += cycles
        return record

    def send(self, data: Bytes) -> Words:
        """Send bytes back to back, a row a board; return ``tx`` meanwhile, as :meth:`run` does."""
        records = []
        begin = 0
        for number, levels in enumerate(_frames(data, self.lanes), start=1):
            self._drive(levels)
            end = round(number * self._bit)
            records.append(self.run(end - begin))
            begin = end
        self._drive(_ONES)
        return np.concatenate(records) if records else self.run(0)

    def exchange(self, requests: Bytes, answer_bytes: int, *, wait: int = 64) -> tuple[Bytes, npt.NDArray[np.int_]]:
        """Send a request to every board and listen for its answer.

        Parameters
        ----------
        requests : uint8 array of shape (lanes, bytes)
        answer_bytes : int
            Bytes to listen for.
        wait : int, cycles
            Time the answer may take to begin, besides the time it takes on the line.

        Returns
        -------
        answers : uint8 array of shape (lanes, answer_bytes)
        counts : int array of shape (lanes,)
            How many of them came, and without a framing error.

        Raises
        ------
        ValueError
            If there are not as many requests as lanes.
        """
        if requests.shape[0] != self.lanes:
            raise ValueError(f"Requests must be one a lane, {self.lanes}, not {requests.shape[0]}")
        listening = round((answer_bytes * FRAME_BITS + 2) * self._bit) + wait
        waveform = np.concatenate([self.send(requests), self.run(listening)])
        return decode_waveform(waveform, self.lanes, self._bit, answer_bytes)

    def call(self, protocol: LinkProtocol, codes: Sequence[npt.ArrayLike], *, latency: int = 0) -> Words:
        """Return each board's result for its own operands.

        Parameters
        ----------
        protocol : LinkProtocol
        codes : sequence of arrays of shape (lanes,)
            One array per operand.
        latency : int, cycles
            Of the operator.

        Raises
        ------
        TypeError
            If there are more or fewer arrays than operands.
        ValueError
            If an array is not of that shape, or a code does not fit its operand's width.
        LinkError
            If a board does not answer, or with anything but a code of the result.
        """
        if len(codes) != len(protocol.operands):
            names = ", ".join(port.name for port in protocol.operands)
            raise TypeError(f"Codes must be {len(protocol.operands)} arrays ({names}), not {len(codes)}")
        columns = [self._code_bytes(port, np.asarray(values))
                   for port, values in zip(protocol.operands, codes, strict=True)]
        answers, counts = self.exchange(np.concatenate(columns, axis=1), protocol.result.bytes, wait=64 + latency)
        expected = protocol.result.bytes
        if (counts != expected).any():
            lane = int(np.argmax(counts != expected))
            raise LinkError(f"Boards must answer with {expected} byte(s), not {counts[lane]} (board {lane}, "
                            f"{np.count_nonzero(counts != expected)} of {self.lanes} boards)")
        results = np.zeros(self.lanes, np.uint64)
        for index in range(expected):
            results |= answers[:, index].astype(np.uint64) << np.uint64(8 * index)
        if (results >> np.uint64(protocol.result.width)).any():
            raise LinkError(f"Answers must be codes of {protocol.result.width} bits, not 0x{int(results.max()):x}")
        return results

    def _code_bytes(self, port: Port, codes: npt.NDArray[Any]) -> Bytes:
        """Return one operand's bytes, least significant first, a row a board."""
        if codes.shape != (self.lanes,):
            raise ValueError(f"Codes of {port.name} must be one a lane, of shape ({self.lanes},), not {codes.shape}")
        if int(codes.min()) < 0 or int(codes.max()) >> port.width:
            raise ValueError(f"Codes of {port.name} must be 0 to 0x{(1 << port.width) - 1:x} ({port.width} bits), "
                             f"not {int(codes.min())} to {int(codes.max())}")
        shifts = np.arange(port.bytes, dtype=np.uint64) * np.uint64(8)
        return (codes.astype(np.uint64)[:, None] >> shifts & np.uint64(0xFF)).astype(np.uint8)

    def _drive(self, levels: Words) -> None:
        self._simulation.set_planes(RX, np.broadcast_to(levels, (1, self._words)))


RX, TX = "uart_0__rx__io", "uart_0__tx__io"
"""Names that amaranth gives to the pins of a platform's first ``uart``."""

_ONES = ~np.zeros(1, np.uint64)


def _frames(data: Bytes, lanes: int) -> list[Words]:
    """Return the levels of each bit time of bytes sent back to back, packed a bit a lane."""
    levels = []
    for column in np.ascontiguousarray(data.T):
        bits = [np.zeros(lanes, np.uint8), *(column >> index & 1 for index in range(8)), np.ones(lanes, np.uint8)]
        levels += [_pack(bit) for bit in bits]
    return levels


def _pack(bits: Bytes) -> Words:
    padded = np.zeros(-(-len(bits) // 64) * 64, np.uint8)
    padded[:len(bits)] = bits
    return np.packbits(padded, bitorder="little").view("<u8")


def decode_waveform(waveform: Words, lanes: int, bit_cycles: float, count: int) -> tuple[Bytes, npt.NDArray[np.int_]]:
    """Return what a UART hears on each of many lines.

    Each line is decoded for itself: a falling edge begins a byte, bits are sampled in their middle, and a byte whose
    start bit is gone by its middle or whose stop bit is low ends the listening.

    Parameters
    ----------
    waveform : uint64 array of shape (cycles, words)
        Levels in each cycle, a bit a line, idle before the first falling edge.
    lanes : int
    bit_cycles : float
        Length of a bit in cycles.
    count : int
        Bytes to listen for.

    Returns
    -------
    data : uint8 array of shape (lanes, count)
    counts : int array of shape (lanes,)
        Bytes received well.
    """
    data, counts = np.zeros((lanes, count), np.uint8), np.zeros(lanes, np.int_)
    words = max(1, _CHUNK_SAMPLES // max(1, len(waveform)) // 64)
    for first in range(0, waveform.shape[1], words):
        part = np.ascontiguousarray(waveform[:, first:first + words], "<u8").view(np.uint8)
        lines = np.unpackbits(part, axis=1, bitorder="little")
        here = slice(64 * first, min(64 * (first + words), lanes))
        data[here], counts[here] = _decode_lines(lines[:, :here.stop - here.start], bit_cycles, count)
    return data, counts


def _decode_lines(lines: Bytes, bit_cycles: float, count: int) -> tuple[Bytes, npt.NDArray[np.int_]]:
    cycles, lanes = lines.shape
    data, counts = np.zeros((lanes, count), np.uint8), np.zeros(lanes, np.int_)
    listening = np.ones(lanes, bool)
    begin = np.zeros(lanes, np.int_)
    middles = np.floor((np.arange(FRAME_BITS) + 0.5) * bit_cycles).astype(np.int_)
    number = np.arange(cycles)[:, None]
    for index in range(count):
        low = (lines == 0) & (number >= begin)
        start = low.argmax(axis=0)
        samples = start + middles[:, None]
        listening &= low.any(axis=0) & (samples[-1] < cycles)
        bits = np.take_along_axis(lines, np.minimum(samples, cycles - 1), axis=0)
        listening &= (bits[0] == 0) & (bits[-1] == 1)
        data[:, index] = np.where(listening, np.packbits(bits[1:9], axis=0, bitorder="little")[0], 0)
        counts += listening
        begin = samples[-1]
    return data, counts


class SimulatedTransport:
    """The serial line to one simulated board, for :class:`~platforms.host.Link`: time is the simulation's.

    Parameters
    ----------
    boards : SimulatedBoards
        With one lane.

    Raises
    ------
    ValueError
        If there are several lanes.
    """

    def __init__(self, boards: SimulatedBoards) -> None:
        if boards.lanes != 1:
            raise ValueError(f"Number of lanes must be 1 for a transport, not {boards.lanes}")
        self._boards = boards
        self._heard: list[int] = []
        self._received = bytearray()

    def write(self, data: bytes) -> None:
        """Send bytes; returns when they are on the line."""
        self._listen(self._boards.send(np.frombuffer(data, np.uint8)[None, :]))

    def read(self, count: int, timeout: float) -> bytes:
        """Return received bytes, or fewer if ``timeout`` simulated seconds pass first."""
        end = self._boards.cycle + round(timeout * self._boards.clock_hz)
        while len(self._received) < count and self._boards.cycle < end:
            self._listen(self._boards.run(min(64, end - self._boards.cycle)))
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def discard_input(self) -> None:
        """Forget what was received."""
        self._received.clear()

    def pause(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._listen(self._boards.run(round(seconds * self._boards.clock_hz)))

    def close(self) -> None:
        """Nothing is held."""

    def _listen(self, record: Words) -> None:
        """Decode bytes as soon as they are complete; keep the cycles of one that is not."""
        self._heard += (record[:, 0] & np.uint64(1)).tolist()
        frame = int((FRAME_BITS - 0.5) * self._boards.bit_cycles) + 1
        while 0 in self._heard:
            start = self._heard.index(0)
            if len(self._heard) - start < frame:
                del self._heard[:start]
                return
            line = np.array(self._heard[start:start + frame], np.uint64)[:, None]
            data, counts = decode_waveform(line, 1, self._boards.bit_cycles, 1)
            if counts[0]:
                self._received += data[0].tobytes()
            del self._heard[:start + frame - 1]
        self._heard.clear()
