"""What buffers of image lines have in common: a feature map comes in pixel by pixel, windows of nine samples go out.

Transfers hold ``lanes`` channels of one pixel. A map is ``height`` rows of ``width`` pixels of ``channel_groups``
transfers, in raster order: rows, then columns, then groups of channels. Maps follow each other without a gap; a reset
drops the map that has begun. Every transfer brings the offsets of its own pixel and group of channels.

There is a result for each group of channels of each position ``(y, x)`` whose coordinates are multiples of ``stride``,
in raster order: ``ceil(height / stride)`` rows of ``ceil(width / stride)``. It holds the samples at
``(y + dy[k], x + dx[k])`` for k = 0 to 8, of the nine places of a 3 x 3 kernel in raster order, and the padding for
those that lie outside the map.

A result is caused by the transfer that makes everything available that any offsets could ask for: the last group of
pixel ``(min(y + reach, height - 1), min(x + reach, width - 1))``, or a later one that causes a result before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.formats.check import check_integer
from sw.reference.function import check_format
from sw.reference.model import Codes, Port

TAPS = tuple((ky, kx) for ky in (-1, 0, 1) for kx in (-1, 0, 1))
"""Places of a kernel: rows and columns from its centre."""

MAX_SIZE = 4096
"""Most rows, columns and channel groups of a map."""

MAX_LANES = 64
MAX_STRIDE = 8
MAX_OFFSET = 15

Position = tuple[int, int]


class MapWindows(Protocol):
    """The reference of a buffer of lines; :class:`WindowRun` and :func:`map_results` do the rest."""

    @property
    def element(self) -> ScalarFormat:
        """Format of a channel."""

    @property
    def lanes(self) -> int:
        """Channels of a transfer."""

    @property
    def height(self) -> int:
        """Rows of a map."""

    @property
    def width(self) -> int:
        """Columns of a map."""

    @property
    def channel_groups(self) -> int:
        """Transfers of a pixel."""

    @property
    def stride(self) -> int:
        """Rows and columns from one result to the next."""

    @property
    def padding(self) -> int:
        """Code of a channel outside the map."""

    @property
    def reach(self) -> int:
        """Rows below and columns to the right of a position that its offsets can ask for."""

    @property
    def back(self) -> int:
        """Rows above and columns to the left of a position that its offsets can ask for."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Fields of an input transfer: ``pixel``, and ``offset`` unless there is none."""

    def displacements(self, offsets: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns from positions to their nine samples, each (positions, 9), for codes of ``offset``.

        Without that field, ``offsets`` holds a zero for each position.
        """

    def samples(self, transfer: Mapping[str, Any]) -> list[Position]:
        """Return rows and columns from a position to its nine samples, by the definition."""


def check_map(model: MapWindows) -> None:
    """Refuse what is no map.

    Raises
    ------
    TypeError, ValueError
        If the element is no scalar format, or a number is not an integer or out of range.
    """
    check_format("Element", model.element)
    for noun, number, limit in (("Lanes", model.lanes, MAX_LANES), ("Height", model.height, MAX_SIZE),
                                ("Width", model.width, MAX_SIZE), ("Channel groups", model.channel_groups, MAX_SIZE),
                                ("Stride", model.stride, MAX_STRIDE)):
        check_integer(noun, number)
        if not 1 <= number <= limit:
            raise ValueError(f"{noun} must be between 1 and {limit}, not {number!r}")
    check_integer("Padding", model.padding)
    if not 0 <= model.padding < 1 << model.element.width:
        raise ValueError(f"Padding must be a code of {model.element.name}, between 0 and "
                         f"{(1 << model.element.width) - 1}, not {model.padding!r}")


def window_port(model: MapWindows) -> Port:
    """Return the port of a result: channel l of sample k in lane ``k * lanes + l``."""
    return Port.of(model.element, len(TAPS) * model.lanes)


# The definition, one result at a time.


def map_results(model: MapWindows, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
    """Return the windows that transfers cause after a reset.

    Parameters
    ----------
    model : MapWindows
    transfers : iterable of mapping of field name to code, or sequence of codes
    """
    taken, windows = list(transfers), list[list[int]]()
    size = model.height * model.width * model.channel_groups
    for start in range(0, len(taken), size):
        windows += _windows_of_map(model, taken[start:start + size])
    return windows


def _windows_of_map(model: MapWindows, transfers: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the windows that the transfers of one map cause, which may end early."""
    groups, windows = model.channel_groups, list[list[int]]()
    for y in range(0, model.height, model.stride):
        for x in range(0, model.width, model.stride):
            lowest, rightmost = min(y + model.reach, model.height - 1), min(x + model.reach, model.width - 1)
            if len(transfers) < (lowest * model.width + rightmost + 1) * groups:
                return windows
            for group in range(groups):
                window = list[int]()
                for dy, dx in model.samples(transfers[(y * model.width + x) * groups + group]):
                    if 0 <= y + dy < model.height and 0 <= x + dx < model.width:
                        place = ((y + dy) * model.width + x + dx) * groups + group
                        window += transfers[place]["pixel"]
                    else:
                        window += [model.padding] * model.lanes
                windows.append(window)
    return windows


# The same for many sequences at once.


@lru_cache(maxsize=64)
def _caused(height: int, width: int, groups: int, stride: int, reach: int) -> NDArray[np.int64]:
    """Return how many results the transfers before each one cause, and at the end how many all of them do."""
    rows, columns = (np.minimum(np.arange(0, size, stride) + reach, size - 1) for size in (height, width))
    last = (rows[:, None] * width + columns) * groups + groups - 1
    causes = np.maximum.accumulate(np.repeat(last.ravel(), groups))
    return np.searchsorted(causes, np.arange(height * width * groups + 1)).astype(np.int64)


class WindowRun:
    """Sequences of transfers through a buffer of lines; a :class:`sw.reference.model.Run`."""

    def __init__(self, model: MapWindows, sequences: int) -> None:
        self._model, self._sequences = model, sequences
        size, offset = model.height * model.width * model.channel_groups, model.inputs.get("offset")
        narrow = np.uint8 if model.element.width <= 8 else np.uint64
        self._pixels = np.zeros((sequences, size, model.lanes), dtype=narrow)
        self._offsets = np.zeros((sequences, size) + ((offset.lanes,) if offset and offset.lanes else ()),
                                 dtype=np.uint8)
        self._next = np.zeros(sequences, dtype=np.int64)  # transfer of the map

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        model, rows = self._model, np.flatnonzero(accepted)
        place = self._next[rows]
        self._pixels[rows, place] = inputs["pixel"][rows]
        if "offset" in inputs:
            self._offsets[rows, place] = inputs["offset"][rows]
        self._next[rows] = (place + 1) % self._pixels.shape[1]
        caused = _caused(model.height, model.width, model.channel_groups, model.stride, model.reach)
        first, end = caused[place], caused[place + 1]
        transfers: list[tuple[NDArray[np.bool_], Mapping[str, Codes]]] = []
        for rank in range(int((end - first).max(initial=0))):
            some = first + rank < end
            produced = np.zeros(self._sequences, dtype=bool)
            produced[rows[some]] = True
            windows = np.zeros((self._sequences, len(TAPS) * model.lanes), dtype=np.uint64)
            windows[rows[some]] = self._windows(rows[some], first[some] + rank)
            transfers.append((produced, {"window": windows}))
        return transfers

    def _windows(self, rows: NDArray[np.int64], results: NDArray[np.int64]) -> Codes:
        """Return the windows of results, counted from 0 in each map, of as many sequences."""
        model = self._model
        columns, groups = -(-model.width // model.stride), model.channel_groups
        y, x = (results // (groups * columns) * model.stride)[:, None], (results // groups % columns * model.stride)
        x, group = x[:, None], (results % groups)[:, None]
        dy, dx = model.displacements(self._offsets[rows, ((y * model.width + x) * groups + group)[:, 0]])
        y, x = y + dy, x + dx
        inside = (y >= 0) & (y < model.height) & (x >= 0) & (x < model.width)
        place = np.where(inside, (y * model.width + x) * groups + group, 0)
        samples = self._pixels[rows[:, None], place].astype(np.uint64)
        samples[~inside] = model.padding
        return samples.reshape(len(rows), -1)

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""
        self._next[which] = 0
