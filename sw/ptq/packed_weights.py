"""Sparse quantized weights as bytes, and back.

All numbers are little-endian, and every part follows the one before it without a gap:

- the header: what :class:`PackedLayout` holds, and a CRC-32 of everything else;
- N of each block, a byte each, block row by block row;
- for the blocks with N < M, the place of each of their weights in its group of M inputs, ``log2(M)`` bits each;
- the codes of all weights that are kept;
- the scales, output by output; the zero points likewise, unless the codes are symmetric.

Indices, codes and zero points stand in words of 16, the first one in the lowest bits, the last word filled up with
zeros: 48 bits for 3-bit codes. This is how ``Dequantizer`` takes them. Their order is that of the blocks; in a block, M
inputs after M inputs; of these, row after row; in a row, rising places. In blocks of 16 rows a word of 16 codes thus
belongs to 16/N rows and the same M inputs: what the sparse chain multiplies in a cycle.
"""

import struct
import zlib
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sw.ptq.group_quantize import GroupQuantized
from sw.ptq.packed_layout import HEADER_SIZE, WORD_CODES, PackedLayout, PackedSize, index_bits
from sw.ptq.pattern import NMBlocks, keep_largest

_CHECKSUM = struct.Struct("<I")

_SCALE_BITS = {torch.float16: (torch.int16, "<i2"), torch.bfloat16: (torch.int16, "<i2"),
               torch.float32: (torch.int32, "<i4")}


class PackedWeights(NamedTuple):
    """What packed weights hold."""

    quantized: GroupQuantized
    """On the CPU. What is not kept has the code of its group's zero point."""
    counts: Tensor
    """N of each block, int64 of shape (row blocks, column blocks)."""
    layout: PackedLayout


def pack(quantized: GroupQuantized, blocks: NMBlocks) -> bytes:
    """Return quantized weights as bytes, without those that are zero.

    A block gets the least N allowed that holds its nonzeros; groups of fewer are filled up with zeros. The header says
    the size of blocks, not the N that are allowed.

    Parameters
    ----------
    quantized : GroupQuantized
    blocks : NMBlocks
        With a power of two as M, 2 to 128. ``allowed=(m,)`` packs densely, without indices.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If M is not such a number, the blocks do not tile the weights, or a group has more nonzeros than any N allowed.
    """
    layout, counts = _layout(quantized, blocks), _counts(quantized, blocks)
    kept = _kept(_grouped(_present(quantized), blocks), counts)
    places = torch.arange(blocks.m, dtype=torch.uint8).expand(kept.shape)
    sparse = kept & (counts < blocks.m)[..., None, None]
    bits, kind = _SCALE_BITS[layout.scale_dtype]
    parts = [counts.to(torch.uint8).numpy().tobytes(),
             _to_words(places[sparse].numpy(), index_bits(blocks.m)),
             _to_words(_grouped(quantized.codes.cpu(), blocks)[kept].numpy(), layout.width),
             quantized.scales.cpu().contiguous().view(bits).numpy().astype(kind).tobytes()]
    if not layout.symmetric:
        parts.append(_to_words(quantized.zero_points.cpu().numpy().ravel(), layout.width))
    fields, body = layout.fields(), b"".join(parts)
    return fields + _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(fields))) + body


def size_of(quantized: GroupQuantized, blocks: NMBlocks) -> PackedSize:
    """Return how many bytes each part of packed weights takes; their sum is the length of :func:`pack`.

    Where only the shape and the N of the blocks are known, ``PackedLayout.size`` says the same.

    Raises
    ------
    TypeError, ValueError
        As :func:`pack` does.
    """
    return _layout(quantized, blocks).size(_counts(quantized, blocks))


def sections(data: bytes) -> dict[str, bytes]:
    """Return the parts of packed weights by their names in :class:`PackedSize`, as they are.

    Raises
    ------
    TypeError
        If ``data`` is not bytes.
    ValueError
        If it is no such file, of another version, damaged, or cut off.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"Packed weights must be bytes, not {type(data).__name__!r}")
    data = bytes(data)
    if len(data) < HEADER_SIZE:
        raise ValueError(f"Packed weights must have a header of {HEADER_SIZE} bytes, not {len(data)} bytes in all")
    fields = data[:HEADER_SIZE - _CHECKSUM.size]
    layout = PackedLayout.read(fields)
    if _CHECKSUM.unpack_from(data, len(fields))[0] != zlib.crc32(data[HEADER_SIZE:], zlib.crc32(fields)):
        raise ValueError("Packed weights must have the checksum they were written with, not another one: they are "
                         "damaged or cut off")
    _check_length(data, HEADER_SIZE + layout.block_count, at_least=True)
    size = layout.size(_read_counts(data[HEADER_SIZE:HEADER_SIZE + layout.block_count], layout))
    _check_length(data, size.total)
    edges = accumulate(size, initial=0)
    return {name: data[start:stop] for name, (start, stop) in zip(size._fields, pairwise(edges), strict=True)}


def unpack(data: bytes) -> PackedWeights:
    """Return what :func:`pack` was given.

    Raises
    ------
    TypeError
        If ``data`` is not bytes.
    ValueError
        If it is no such file, of another version, damaged, or holds what :func:`pack` does not write.
    """
    parts = sections(data)
    layout = PackedLayout.read(parts["header"][:-_CHECKSUM.size])
    blocks, counts = layout.blocks, _read_counts(parts["counts"], layout)
    kept = _read_kept(parts["indices"], counts, blocks)
    _, kind = _SCALE_BITS[layout.scale_dtype]
    shape = (layout.outputs, layout.inputs // layout.group_size)
    scales = torch.from_numpy(np.frombuffer(parts["scales"], dtype=kind).astype(kind[1:])).view(layout.scale_dtype)
    if layout.symmetric:
        points = torch.full(shape, 1 << layout.width - 1, dtype=torch.uint8)
    else:
        points = torch.from_numpy(_from_words(parts["zero_points"], layout.group_count, layout.width)).reshape(shape)
    codes = _grouped(points.repeat_interleave(layout.group_size, 1), blocks).contiguous()
    codes[kept] = torch.from_numpy(_from_words(parts["codes"], int(kept.sum()), layout.width))
    quantized = GroupQuantized(codes=blocks.from_blocks(codes).flatten(1), scales=scales.reshape(shape),
                               zero_points=points, width=layout.width, symmetric=layout.symmetric)
    return PackedWeights(quantized=quantized, counts=counts, layout=layout)


def _layout(quantized: GroupQuantized, blocks: NMBlocks) -> PackedLayout:
    if not isinstance(quantized, GroupQuantized):
        raise TypeError(f"Quantized weights must be GroupQuantized, not {type(quantized).__name__!r}; "
                        "see sw.ptq.quantize_groups")
    outputs, inputs = quantized.codes.shape
    return PackedLayout(outputs=outputs, inputs=inputs, width=quantized.width, group_size=quantized.group_size,
                        symmetric=quantized.symmetric, scale_dtype=quantized.scales.dtype, blocks=blocks)


def _present(quantized: GroupQuantized) -> Tensor:
    return (quantized.integers() != 0).cpu()


def _counts(quantized: GroupQuantized, blocks: NMBlocks) -> Tensor:
    return blocks.counts(_present(quantized))


def _grouped(values: Tensor, blocks: NMBlocks) -> Tensor:
    """Return a matrix as (row blocks, column blocks, groups of a block, M): in the order of the file."""
    return blocks.by_block(values.unflatten(1, (-1, blocks.m)))


def _kept(present: Tensor, counts: Tensor) -> Tensor:
    """Return which weights are written: what is present, and the first zeros of groups with fewer than N."""
    return keep_largest(present.to(torch.uint8), counts[..., None].expand(present.shape[:-1]))


def _read_counts(part: bytes, layout: PackedLayout) -> Tensor:
    blocks = layout.blocks
    counts = torch.from_numpy(np.frombuffer(part, dtype=np.uint8).astype(np.int64))
    if int(counts.max()) > blocks.m:
        raise ValueError(f"Packed weights must have an N of at most M = {blocks.m} in each block, "
                         f"not {int(counts.max())}")
    return counts.reshape(layout.outputs // blocks.rows, layout.inputs // blocks.columns)


def _read_kept(part: bytes, counts: Tensor, blocks: NMBlocks) -> Tensor:
    """Return which weights are written, as :func:`_kept` does."""
    kept = torch.zeros((*counts.shape, blocks.groups, blocks.m), dtype=torch.bool)
    kept[counts == blocks.m] = True
    of_groups = torch.where(counts < blocks.m, counts, 0).flatten().repeat_interleave(blocks.groups)
    group = torch.arange(len(of_groups)).repeat_interleave(of_groups)
    places = torch.from_numpy(_from_words(part, len(group), index_bits(blocks.m))).to(torch.int64)
    if not bool(((places.diff() > 0) | (group.diff() > 0)).all()):
        raise ValueError("Packed weights must have rising indices in each group, not others")
    kept.view(-1, blocks.m)[group, places] = True
    return kept


def _check_length(data: bytes, length: int, *, at_least: bool = False) -> None:
    if len(data) < length or (len(data) > length and not at_least):
        raise ValueError(f"Packed weights must have {'at least ' if at_least else ''}{length} bytes, as their header "
                         f"says, not {len(data)}")


def _to_words(codes: NDArray[np.uint8], width: int) -> bytes:
    padded = np.concatenate([codes, np.zeros(-len(codes) % WORD_CODES, dtype=np.uint8)])
    bits = np.unpackbits(padded[:, None], axis=1, bitorder="little")[:, :width]
    return np.packbits(bits, bitorder="little").tobytes()


def _from_words(part: bytes, count: int, width: int) -> NDArray[np.uint8]:
    bits = np.unpackbits(np.frombuffer(part, dtype=np.uint8), count=count * width, bitorder="little")
    return np.packbits(bits.reshape(count, width), axis=1, bitorder="little")[:, 0]
