"""A buffer of image lines in front of a square deformable convolution: nine samples, as far apart as an offset says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.formats.check import check_boolean, check_integer
from sw.reference.map_windows import MAX_OFFSET, TAPS, Position, WindowRun, check_map, map_results, window_port
from sw.reference.model import Codes, Port


@dataclass(frozen=True, kw_only=True)
class DeformableLineBuffer:
    """Windows of nine samples on a square grid, whose pitch comes with each pixel and group of channels.

    Sample k = 3 * (ky + 1) + kx + 1 of the result at ``(y, x)`` is the pixel at ``(y + ky * d, x + kx * d)`` for ky and
    kx of -1, 0 and 1, where d is the offset that came with pixel ``(y, x)`` and the same channels: a dilation of the
    position's own. With d = 0 all nine are the centre. Order, borders and causes are those of
    :mod:`sw.reference.map_windows`, whose ``reach`` is the largest offset.

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
    max_offset : int
        Largest offset: 0 to 15. With 0, transfers have no offset.
    padding : int
        Code of the samples outside the map.
    deformable : bool
        Whether transfers bring offsets; without them every offset is 1, that of an ordinary 3 x 3 convolution, and
        ``max_offset`` does not matter.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Source: CoDeNet (arXiv 2006.08357), the bounded, square and rounded offsets, and the line buffer.
    """

    element: ScalarFormat
    lanes: int
    height: int
    width: int
    channel_groups: int = 1
    stride: int = 1
    max_offset: int = 7
    padding: int = 0
    deformable: bool = True

    def __post_init__(self) -> None:
        check_map(self)
        check_integer("Max offset", self.max_offset)
        if not 0 <= self.max_offset <= MAX_OFFSET:
            raise ValueError(f"Max offset must be between 0 and {MAX_OFFSET}, not {self.max_offset!r}")
        check_boolean("Deformable", self.deformable)

    @property
    def reach(self) -> int:
        """Largest offset that can occur."""
        return self.max_offset if self.deformable else 1

    @property
    def back(self) -> int:
        """Rows above and columns to the left of a position that a sample may lie: as many as below and to the right."""
        return self.reach

    @property
    def has_offsets(self) -> bool:
        """Whether transfers have the field ``offset``."""
        return self.deformable and self.max_offset > 0

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``pixel``, a lane a channel, and ``offset``, 0 to ``max_offset``."""
        ports = {"pixel": Port.of(self.element, self.lanes)}
        if self.has_offsets:
            ports["offset"] = Port(width=self.max_offset.bit_length(), limit=self.max_offset + 1)
        return ports

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
            ``pixel``, a sequence of codes, and ``offset``.
        """
        return map_results(self, transfers)

    def samples(self, transfer: Mapping[str, Any]) -> list[Position]:
        """Return rows and columns from a position to its nine samples, for the transfer of its pixel."""
        offset = transfer["offset"] if self.has_offsets else self.reach
        return [(ky * offset, kx * offset) for ky in (-1, 0, 1) for kx in (-1, 0, 1)]

    # The same for many sequences at once.

    def start(self, sequences: int) -> WindowRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return WindowRun(self, sequences)

    def displacements(self, offsets: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns from positions to their nine samples, each (positions, 9)."""
        pitch = offsets.astype(np.int64) if self.has_offsets else np.full(len(offsets), self.reach)
        rows, columns = np.array(TAPS).T
        return pitch[:, None] * rows, pitch[:, None] * columns
