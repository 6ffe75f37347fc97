"""The bytes of packed weights: what is where, and how much each part takes."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from sw.formats.check import check_boolean, check_integer
from sw.ptq.checks import check_count, check_divides
from sw.ptq.group_quantize import SCALE_DTYPES, check_width
from sw.ptq.pattern import NMBlocks

MAGIC = b"NGPW"

VERSION = 1

WORD_CODES = 16
"""Codes of a word: one of ``w`` bits takes ``2 * w`` bytes, 48 bits for 3-bit codes."""

MAX_SIZE = (1 << 32) - 1
"""Most outputs, inputs, and so on: what their fields hold."""

_FIELDS = struct.Struct("<4sHBBBxHIIIII")

HEADER_SIZE = _FIELDS.size + 4
"""Bytes of the fields and of the checksum behind them."""


class PackedSize(NamedTuple):
    """Bytes of each part, in the order in which they stand."""

    header: int
    counts: int
    """N of each block."""
    indices: int
    """Places of the weights in their groups of M; none for dense blocks."""
    codes: int
    scales: int
    zero_points: int
    """None for symmetric codes."""

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self)


@dataclass(frozen=True, kw_only=True)
class PackedLayout:
    """What the header of packed weights says.

    Parameters
    ----------
    outputs, inputs : int
        Shape of the weight matrix.
    width : int, bits
        Of a code: 2 to 8.
    group_size : int
        Inputs that share a scale and a zero point; divides ``inputs``.
    symmetric : bool
        There are no zero points: all are the middle code.
    scale_dtype : torch.dtype
        float16, bfloat16 or float32.
    blocks : NMBlocks
        ``m`` is a power of two from 2 to 128. The N that are allowed are not written down.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range, or the blocks or groups do not tile the matrix.
    """

    outputs: int
    inputs: int
    width: int
    group_size: int
    symmetric: bool
    scale_dtype: torch.dtype
    blocks: NMBlocks

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, NMBlocks):
            raise TypeError(f"Blocks must be NMBlocks, not {self.blocks!r}")
        check_width(self.width)
        check_boolean("Symmetric", self.symmetric)
        if self.scale_dtype not in SCALE_DTYPES:
            raise TypeError("Scale dtype must be torch.float16, torch.bfloat16 or torch.float32, "
                            f"not {self.scale_dtype!r}")
        index_bits(self.blocks.m)
        for noun, number in (("Outputs", self.outputs), ("Inputs", self.inputs), ("Group size", self.group_size),
                             ("Block rows", self.blocks.rows), ("Block columns", self.blocks.columns)):
            check_count(noun, number)
            if number > MAX_SIZE:
                raise ValueError(f"{noun} must be at most {MAX_SIZE}, not {number!r}")
        self.blocks.check_tiles(self.outputs, self.inputs)
        check_divides("Group size", self.group_size, self.inputs, "inputs")

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return self.outputs // self.blocks.rows * (self.inputs // self.blocks.columns)

    @property
    def group_count(self) -> int:
        """How many groups have a scale."""
        return self.outputs * (self.inputs // self.group_size)

    def size(self, counts: Tensor) -> PackedSize:
        """Return what weights with these N in their blocks take.

        Parameters
        ----------
        counts : int64 tensor of shape (row blocks, column blocks)

        Raises
        ------
        ValueError
            If it is of another shape, or an N is not between 0 and M.
        """
        shape = (self.outputs // self.blocks.rows, self.inputs // self.blocks.columns)
        if tuple(counts.shape) != shape:
            raise ValueError(f"Counts must be of shape {shape}, one N a block, not {tuple(counts.shape)}")
        if int(counts.min()) < 0 or int(counts.max()) > self.blocks.m:
            raise ValueError(f"Counts must be between 0 and M = {self.blocks.m}, "
                             f"not {int(counts.min())} to {int(counts.max())}")
        m, per_block = self.blocks.m, self.blocks.groups
        codes = int(counts.sum()) * per_block
        dense = int((counts == m).sum()) * m * per_block
        return PackedSize(
            header=HEADER_SIZE, counts=self.block_count, indices=words_size(codes - dense, index_bits(m)),
            codes=words_size(codes, self.width), scales=self.group_count * self.scale_dtype.itemsize,
            zero_points=0 if self.symmetric else words_size(self.group_count, self.width))

    def fields(self) -> bytes:
        """Return the header without its checksum."""
        return _FIELDS.pack(MAGIC, VERSION, self.width, SCALE_DTYPES.index(self.scale_dtype), self.symmetric,
                            self.blocks.m, self.outputs, self.inputs, self.group_size, self.blocks.rows,
                            self.blocks.columns)

    @classmethod
    def read(cls, fields: bytes) -> "PackedLayout":
        """Return what the fields of a header say.

        Raises
        ------
        ValueError
            If it is not one of this version, or says what cannot be.
        """
        magic, version, *_ = _FIELDS.unpack(fields)
        if magic != MAGIC:
            raise ValueError(f"Packed weights must begin with {MAGIC!r}, not {magic!r}: this is another kind of file")
        if version != VERSION:
            raise ValueError(f"Packed weights must be of version {VERSION}, not {version!r}")
        width, scale, symmetric, m, outputs, inputs, group_size, rows, columns = _FIELDS.unpack(fields)[2:]
        if scale >= len(SCALE_DTYPES) or symmetric > 1:
            raise ValueError(f"Packed weights must have a scale type below {len(SCALE_DTYPES)} and a symmetry below 2, "
                             f"not {scale!r} and {symmetric!r}")
        index_bits(m)
        return cls(outputs=outputs, inputs=inputs, width=width, group_size=group_size, symmetric=bool(symmetric),
                   scale_dtype=SCALE_DTYPES[scale],
                   blocks=NMBlocks(m=m, allowed=tuple(range(m + 1)), rows=rows, columns=columns))


def words_size(count: int, width: int) -> int:
    """Return the bytes of ``count`` codes of ``width`` bits in words of 16, the last one filled up."""
    return -(-count // WORD_CODES) * WORD_CODES * width // 8


def index_bits(m: int) -> int:
    """Return the bits that tell M places apart.

    Raises
    ------
    TypeError, ValueError
        If M is not a power of two from 2 to 128: an N of M is to fit a byte.
    """
    check_integer("M", m)
    if not 2 <= m <= 128 or m & (m - 1):
        raise ValueError(f"M must be a power of two from 2 to 128 for packed weights, not {m!r}")
    return m.bit_length() - 1


def break_even_density(width: int, m: int) -> Fraction:
    """Return the density N/M at which codes with their indices take as many bits as dense codes.

    An index is worth its bits below it: with 4-bit indices (M = 16), 4-bit codes need N < 8, 8-bit codes N <= 10,
    2-bit codes N <= 5. At N = 8 of 16, 4-bit codes save no memory, though half of the multiplications.

    Raises
    ------
    TypeError, ValueError
        If the width or M is out of range.
    """
    check_width(width)
    return Fraction(width, width + index_bits(m))
