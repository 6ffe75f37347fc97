"""A buffer of image lines whose nine samples have offsets of their own, and what that costs: conflicts of its banks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.formats.check import check_integer
from sw.reference.map_windows import MAX_OFFSET, TAPS, Position, WindowRun, check_map, map_results, window_port
from sw.reference.model import Codes, Port


@dataclass(frozen=True, kw_only=True)
class BoundedLineBuffer:
    """Windows of nine samples, each moved from its place in a 3 x 3 kernel by an offset of its own.

    Sample k = 3 * (ky + 1) + kx + 1 of the result at ``(y, x)`` is the pixel at ``(y + ky + dy[k], x + kx + dx[k])``,
    for ky and kx of -1, 0 and 1, where ``dy`` and ``dx`` came with pixel ``(y, x)`` and the same channels. Order,
    borders and causes are those of :mod:`sw.reference.map_windows`, whose ``reach`` is ``1 + max_offset``.

    Parameters
    ----------
    element : ScalarFormat
        Of a channel.
    lanes : int
        Channels of a transfer: 1 to 64.
    height, width : int
        Rows and columns of a map: 1 to 4096.
    channel_groups : int
        Transfers of a pixel: 1 to 4096.
    stride : int
        Rows and columns from one result to the next: 1 to 8.
    min_offset, max_offset : int
        Least offset, -15 to 0, and largest, 0 to 15; not both zero.
    padding : int
        Code of the samples outside the map.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Source: CoDeNet (arXiv 2006.08357), the bounded range of offsets, which are clipped to 0 to 7 there.
    """

    element: ScalarFormat
    lanes: int
    height: int
    width: int
    channel_groups: int = 1
    stride: int = 1
    min_offset: int = 0
    max_offset: int = 7
    padding: int = 0

    def __post_init__(self) -> None:
        check_map(self)
        for noun, number, lowest, highest in (("Min offset", self.min_offset, -MAX_OFFSET, 0),
                                              ("Max offset", self.max_offset, 0, MAX_OFFSET)):
            check_integer(noun, number)
            if not lowest <= number <= highest:
                raise ValueError(f"{noun} must be between {lowest} and {highest}, not {number!r}")
        if self.min_offset == self.max_offset:
            raise ValueError("Max offset must be above the min offset, not 0 as well; DeformableLineBuffer without "
                             "offsets has windows of a plain 3 x 3 convolution")

    @property
    def reach(self) -> int:
        """Rows below and columns to the right of a position that a sample may lie."""
        return 1 + self.max_offset

    @property
    def back(self) -> int:
        """Rows above and columns to the left of a position that a sample may lie."""
        return 1 - self.min_offset

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``pixel``, a lane a channel; ``offset``, ``dy - min_offset`` in lane 2k and ``dx - min_offset`` beside it."""
        span = self.max_offset - self.min_offset
        return {"pixel": Port.of(self.element, self.lanes),
                "offset": Port(width=span.bit_length(), lanes=2 * len(TAPS), limit=span + 1)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``window``: channel l of sample k in lane ``k * lanes + l``."""
        return {"window": window_port(self)}

    # The definition, one transfer at a time.

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the windows that transfers cause after a reset.

        Parameters
        ----------
        transfers : iterable of mapping
            ``pixel`` and ``offset``, sequences of codes.
        """
        return map_results(self, transfers)

    def samples(self, transfer: Mapping[str, Any]) -> list[Position]:
        """Return rows and columns from a position to its nine samples, for the transfer of its pixel."""
        offsets = [code + self.min_offset for code in transfer["offset"]]
        places = [(ky, kx) for ky in (-1, 0, 1) for kx in (-1, 0, 1)]
        return [(ky + dy, kx + dx) for (ky, kx), dy, dx in zip(places, offsets[::2], offsets[1::2], strict=True)]

    # The same for many sequences at once.

    def start(self, sequences: int) -> WindowRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return WindowRun(self, sequences)

    def displacements(self, offsets: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns from positions to their nine samples, each (positions, 9)."""
        values = offsets.astype(np.int64).reshape(-1, len(TAPS), 2) + (np.array(TAPS) + self.min_offset)
        return values[:, :, 0], values[:, :, 1]


def bank_cycles(rows: NDArray[np.int64], inside: NDArray[np.bool_], *, banks: int, read_ports: int
                ) -> NDArray[np.int64]:
    """Return in how many cycles memories that hold a row each give the samples of windows.

    Row y lies in bank ``y mod banks``, and a bank reads ``read_ports`` words a cycle, whichever they are: a window
    takes as many cycles as its busiest bank, and one at least. Samples outside the map are not read.

    Parameters
    ----------
    rows : int array, (windows, samples)
        Row of each sample.
    inside : bool array, (windows, samples)
        Whether it lies in the map.
    banks, read_ports : int

    Returns
    -------
    int array, (windows,)

    Source: CoDeNet (arXiv 2006.08357): samples on a square grid are three of each of three rows, so that three
    banks serve them at once.
    """
    windows = len(rows)
    counts = np.zeros((windows, banks), dtype=np.int64)
    window, sample = np.nonzero(inside)
    np.add.at(counts, (window, rows[window, sample] % banks), 1)
    cycles: NDArray[np.int64] = np.maximum(-(-counts.max(axis=1) // read_ports), 1)
    return cycles
