"""Parameters of a layer as they lie in memory: rows of fields, each row from as many words as it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.formats.check import check_integer
from sw.reference.model import Codes, Port

MAX_ROWS = 1 << 16

_WORD_BITS = 64


@dataclass(frozen=True, kw_only=True)
class ParameterMemory:
    """``rows`` rows of ``fields``, loaded as words: the rows in order, each beginning with a word of its own.

    The first field stands in the lowest bits of a row, and of its lanes the first one; the lowest bits of a row are in
    its first word. Bits of the last word beyond the row mean nothing.

    Parameters
    ----------
    rows : int
        1 to 65,536.
    fields : tuple of (name, Port)
        What a row holds.
    word : Port
        What a transfer brings: its lanes side by side, the first in the lowest bits.

    Raises
    ------
    TypeError, ValueError
        If ``rows`` is not an integer or out of range, the fields are none, or one or the word is no port of at most 64
        bits a lane.
    """

    rows: int
    fields: tuple[tuple[str, Port], ...]
    word: Port

    def __post_init__(self) -> None:
        check_integer("Row count", self.rows)
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError(f"Row count must be between 1 and {MAX_ROWS}, not {self.rows!r}")
        if not self.fields:
            raise ValueError("Fields must be at least one, not none")
        for name, port in (*self.fields, ("of the words", self.word)):
            if not isinstance(port, Port):
                raise TypeError(f"Port {name} must be a Port, not {port!r}")
            if port.width > _WORD_BITS:
                raise ValueError(f"Port {name} must have at most {_WORD_BITS} bits a lane, not {port.width!r}")

    @property
    def row_bits(self) -> int:
        """Bits of a row."""
        return sum(port.bits for _, port in self.fields)

    @property
    def row_words(self) -> int:
        """Words that a row is loaded from."""
        return -(-self.row_bits // self.word.bits)

    @property
    def words(self) -> int:
        """Words of all rows."""
        return self.rows * self.row_words

    def row(self, words: Sequence[Sequence[int]], index: int) -> dict[str, list[int]]:
        """Return the fields of one row, by the definition.

        Parameters
        ----------
        words : sequence of sequence of int
            The codes of each word's lanes.
        index : int
            Which row.
        """
        bits = 0
        for number, word in enumerate(words[index * self.row_words:(index + 1) * self.row_words]):
            for lane, code in enumerate(word):
                bits |= code << number * self.word.bits + lane * self.word.width
        fields = {}
        for name, port in self.fields:
            fields[name] = [bits >> lane * port.width & (1 << port.width) - 1 for lane in range(port.lanes or 1)]
            bits >>= port.bits
        return fields

    def pack(self, fields: Mapping[str, Codes]) -> Codes:
        """Return the words that load these rows.

        Parameters
        ----------
        fields : mapping of name to codes, ``(rows,)`` or ``(rows, lanes)``

        Returns
        -------
        uint64 array, ``(words,)`` or ``(words, lanes of a word)``

        Raises
        ------
        TypeError, ValueError
            If a field is missing or unknown, or its codes do not fit.
        """
        names = [name for name, _ in self.fields]
        if set(fields) != set(names):
            raise ValueError(f"Fields must be {', '.join(names)}, not {', '.join(fields) or 'none'}")
        planes = np.zeros((self.rows, self.row_words * self.word.bits), dtype=np.uint8)
        start = 0
        for name, port in self.fields:
            if len(fields[name]) != self.rows:
                raise ValueError(f"Field {name} must have {self.rows} rows, not {len(fields[name])}")
            port.check(f"Field {name}", fields[name])
            planes[:, start:start + port.bits] = _bits(fields[name].reshape(self.rows, -1), port.width)
            start += port.bits
        lanes = () if self.word.lanes is None else (self.word.lanes,)
        return _codes(planes.reshape(-1, self.word.width), self.word.width).reshape(self.words, *lanes)

    def unpack(self, words: Codes) -> dict[str, Codes]:
        """Return the fields of all rows.

        Parameters
        ----------
        words : integer array, ``(..., words)`` or ``(..., words, lanes of a word)``

        Returns
        -------
        dict of name to uint64 array, ``(..., rows)`` or ``(..., rows, lanes)``
        """
        outer = words.shape[:-1] if self.word.lanes is None else words.shape[:-2]
        planes = _bits(words.reshape(-1, self.row_words * (self.word.lanes or 1)), self.word.width)
        fields, start = {}, 0
        for name, port in self.fields:
            lanes = () if port.lanes is None else (port.lanes,)
            bits = planes[:, start:start + port.bits].reshape(-1, port.width)
            fields[name] = _codes(bits, port.width).reshape(*outer, self.rows, *lanes)
            start += port.bits
        return fields


def _bits(codes: Codes, width: int) -> NDArray[np.uint8]:
    """Return the bits of each row of codes, one after the other, lowest first."""
    places = np.arange(width, dtype=np.uint64)
    planes = (codes.astype(np.uint64)[..., None] >> places) & np.uint64(1)
    return planes.reshape(len(codes), -1).astype(np.uint8)


def _codes(bits: NDArray[np.uint8], width: int) -> Codes:
    """Return the code of each row of bits."""
    return bits.astype(np.uint64) @ (np.uint64(1) << np.arange(width, dtype=np.uint64))
