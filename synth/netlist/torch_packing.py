"""Codes to bit planes and back on tensors, on whichever device they are.

The layout is that of :mod:`synth.netlist.packing`: bit *k* of word *j* of plane *i* is bit *i* of the code of vector
``64 * j + k``. Words are ``int64``, since torch has few operations for ``uint64``; the sign bit is vector 63. Code
tensors are of the type that :func:`code_dtype` returns, which is that of :func:`sw.quantize.to_codes`.

Packing reads and writes every code and every plane a few times and allocates about four times the codes' size.
"""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from synth.netlist.packing import WORD_BITS, words_for

__all__ = ["check_code", "check_codes", "code_dtype", "pack_tensor", "planes_to_rows", "rows_to_planes",
           "unpack_tensor"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_STORAGE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def code_dtype(width: int) -> torch.dtype:
    """Return the smallest type that holds ``width`` bits without a sign; ``int64`` for 64, as a pattern of bits.

    Raises
    ------
    ValueError
        If ``width`` is above 64: no tensor holds such a code.
    """
    for bits, dtype in ((8, torch.uint8), (15, torch.int16), (31, torch.int32), (WORD_BITS, torch.int64)):
        if width <= bits:
            return dtype
    raise ValueError(f"Port must be at most {WORD_BITS} bits wide for a tensor of codes, not {width}; run_planes takes "
                     "planes of any width")


def check_codes(codes: Tensor, width: int) -> None:
    """Raise unless the codes are integers below ``2**width``; a 64-bit port takes any ``int64``.

    Raises
    ------
    TypeError
        If the codes are not of one of torch's integer types, unsigned ones beyond ``uint8`` excepted.
    ValueError
        If a code is outside the width.
    """
    if codes.dtype not in _INTEGERS:
        raise TypeError(f"Codes must be of dtype uint8, int8, int16, int32 or int64, not {codes.dtype}")
    if not codes.numel() or (width >= WORD_BITS and codes.dtype is torch.int64):
        return
    for bound in codes.aminmax():
        check_code(int(bound), width)


def check_code(code: int, width: int) -> int:
    """Return the ``int64`` with the bits of a code.

    Raises
    ------
    ValueError
        If the code is outside the width.
    """
    number = operator.index(code)
    if number < 0 or number >> width:
        raise ValueError(f"Codes of a {width}-bit port must be 0 to {(1 << width) - 1}, not {number}; "
                         "mask two's complement first")
    return number - (number >> WORD_BITS - 1 << WORD_BITS)


def pack_tensor(codes: Tensor, width: int, words: int | None = None) -> Tensor:
    """Return the planes, ``(width, words)`` of ``int64``, of a one-dimensional tensor of codes below ``2**width``.

    Vectors beyond the codes are zero; there are as few ``words`` as hold the codes unless more are asked for. The
    caller has checked the codes (:func:`check_codes`).
    """
    size = _bytes_of(width)
    padded = torch.zeros((words or words_for(len(codes))) * WORD_BITS, dtype=_STORAGE[size], device=codes.device)
    padded[:len(codes)] = codes                          # a code that fills its bytes turns negative, bit for bit
    return rows_to_planes(padded.view(torch.uint8).reshape(-1, size))[:width]


def unpack_tensor(planes: Tensor, vectors: int) -> Tensor:
    """Return the codes of the first ``vectors`` vectors, of type ``code_dtype(width)``."""
    width, words = planes.shape
    dtype = code_dtype(width)
    size = _bytes_of(width)
    rows = planes_to_rows(planes)
    if rows.shape[1] < size:
        wide = torch.zeros((WORD_BITS * words, size), dtype=torch.uint8, device=planes.device)
        wide[:, :rows.shape[1]] = rows
        rows = wide
    codes = rows.reshape(-1).view(_STORAGE[size])[:vectors]
    if dtype is not _STORAGE[size]:                      # 16 or 32 bits, of which the uppermost is no sign
        return codes.to(dtype) & (1 << 8 * size) - 1
    return codes


def rows_to_planes(rows: Tensor) -> Tensor:
    """Return the planes of rows of bytes, one row a vector; their number must be a multiple of 64.

    Bit *k* of byte *j* of the rows is plane ``8 * j + k``.
    """
    vectors, size = rows.shape
    eights = _transpose_bits(_words(rows.t()))
    bits = eights.view(torch.uint8).reshape(size, vectors // 8, 8).transpose(1, 2)
    return _words(bits).reshape(8 * size, vectors // WORD_BITS)


def planes_to_rows(planes: Tensor) -> Tensor:
    """Return the rows of :func:`rows_to_planes`, one byte or as many as hold the planes; unused bits are 0."""
    width, words = planes.shape
    size = max(1, -(-width // 8))
    padded = torch.zeros((8 * size, words), dtype=torch.int64, device=planes.device)
    padded[:width] = planes
    bits = padded.view(torch.uint8).reshape(size, 8, 8 * words).transpose(1, 2)
    eights = _transpose_bits(_words(bits))
    return eights.view(torch.uint8).reshape(size, WORD_BITS * words).t().contiguous()


def _bytes_of(width: int) -> int:
    """Return how many bytes store a code: 1, 2, 4 or 8."""
    return next(size for size in _STORAGE if width <= 8 * size)


def _words(bytes_: Tensor) -> Tensor:
    """Return bytes as one row of words, in memory of its own (a view of words must start at one)."""
    return bytes_.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.int64)


def _transpose_bits(words: Tensor) -> Tensor:
    """Transpose each word as an 8x8 bit matrix, in place.

    Shifts to the right are arithmetic; the masks drop the bits that the sign would fill. Source: H. Warren, Hacker's
    Delight, 2nd ed., section 7-3.
    """
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swap = (words >> shift).bitwise_xor_(words).bitwise_and_(mask)
        words.bitwise_xor_(swap).bitwise_xor_(swap << shift)
    return words
