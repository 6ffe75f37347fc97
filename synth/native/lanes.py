"""Which element of a matrix product is in which lane, and operands and results laid out for it.

Every row of the result starts with a word of lanes of its own, so that all lanes of a word share the row's operand.
The words of all rows follow each other; a block is as many of them as a register holds. So a block's operand along the
lanes is a piece of the planes of one row of codes, which go on from the start where they end, and its operand across
them is a bit a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes
from synth.netlist.packing import Planes, pack_codes, unpack_codes, words_for

__all__ = ["Lanes"]

_PIECE_BYTES = 1 << 16
"""Size of what is worked on at a time: small enough to stay in the cache, and where memory is used again."""

_SPREAD = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.uint8).view("<u8")[:, 0]
"""By a byte: a word of eight bytes, each holding a bit of it."""


@dataclass(frozen=True)
class Lanes:
    """The lanes of a product of ``rows`` by ``columns`` elements, the columns along the lanes.

    Parameters
    ----------
    rows, columns : int, at least 1
    words : int
        64-bit words of a register: 1, 2, 4 or 8.
    """

    rows: int
    columns: int
    words: int

    @property
    def row_words(self) -> int:
        """Words that a row takes."""
        return words_for(self.columns)

    @property
    def blocks(self) -> int:
        """Registers' worths of words."""
        return -(-self.rows * self.row_words // self.words)

    @property
    def used(self) -> float:
        """Part of the lanes that hold an element."""
        return self.rows * self.columns / (self.blocks * self.words * 64)

    @property
    def plane_words(self) -> int:
        """Words of a plane of :meth:`along`: a row, and again as much of it as a block may run beyond its end."""
        return self.row_words + (0 if self.row_words % self.words == 0 else self.words - 1)

    def along(self, codes: NDArray[Any], width: int) -> Planes:
        """Return codes of shape ``(terms, columns)`` as planes of shape ``(terms, width, plane_words)``."""
        terms = len(codes)
        padded = np.zeros((terms, self.row_words * 64), codes.dtype)
        padded[:, :self.columns] = codes
        planes = pack_codes(padded.reshape(-1), width).reshape(width, terms, self.row_words)
        places = np.arange(self.plane_words) % self.row_words
        return np.ascontiguousarray(planes.transpose(1, 0, 2)[:, :, places])

    def across(self, codes: NDArray[Any]) -> NDArray[np.uint8]:
        """Return codes of shape ``(rows, terms)`` as bytes of shape ``(groups, terms, bits of the codes' type)``.

        Bit *w* of the byte of bit *i* is bit *i* of the code for word *w* of a block; :meth:`starts` says which group a
        block has.
        """
        terms = codes.shape[1]
        octets = np.ascontiguousarray(codes).view(np.uint8).reshape(*codes.shape, codes.itemsize)
        rows, masks = self._groups()
        groups = np.empty((len(rows), terms, codes.itemsize), np.uint64)
        step = max(1, _PIECE_BYTES // (8 * terms * codes.itemsize))
        for start in range(0, len(rows), step):
            piece = slice(start, start + step)
            groups[piece] = 0
            for row, mask in zip(rows[piece].T, masks[piece].T, strict=True):
                # A byte for each bit, 0 or 1; no carry, since each word of a block has one row.
                groups[piece] += _SPREAD[octets[row]] * mask[:, None, None]
        return groups.view(np.uint8).reshape(len(rows), terms, -1)

    def starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the group of each block, and the word of a plane at which each starts."""
        first = np.arange(self.blocks) * self.words
        if self.row_words % self.words == 0:             # a row is whole blocks, which share a group
            return first // self.row_words, first % self.row_words
        return np.arange(self.blocks), first % self.row_words

    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the rows that each group has words of, and which words those are; shapes ``(groups, most rows)``."""
        if self.row_words % self.words == 0:
            rows = np.arange(self.rows)[:, None]
            return rows, np.full(rows.shape, (1 << self.words) - 1, np.uint64)
        words = np.arange(self.blocks * self.words).reshape(self.blocks, self.words) // self.row_words
        words = np.minimum(words, self.rows - 1)         # words behind the last row take that one
        most = int((words[:, -1] - words[:, 0]).max()) + 1
        rows = words[:, :1] + np.arange(most)
        places = np.uint64(1) << np.arange(self.words, dtype=np.uint64)
        masks = np.where(words[:, None, :] == rows[:, :, None], places, np.uint64(0)).sum(axis=2, dtype=np.uint64)
        return np.minimum(rows, self.rows - 1), masks

    def codes(self, planes: Planes) -> Codes:
        """Return results of shape ``(blocks, width, words)`` as codes of shape ``(rows, columns)``."""
        width = planes.shape[1]
        lined = np.ascontiguousarray(planes.transpose(1, 0, 2)).reshape(width, -1)[:, :self.rows * self.row_words]
        codes = unpack_codes(np.ascontiguousarray(lined), lined.shape[1] * 64)
        return np.ascontiguousarray(codes.reshape(self.rows, -1)[:, :self.columns])
