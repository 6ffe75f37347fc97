"""Codes to bit planes and back.

A *code array* holds one unsigned integer a vector. Its *planes* are a ``uint64`` array of shape ``(width, words)``:
bit *k* of word *j* of plane *i* is bit *i* of the code of vector ``64 * j + k``. Unused high bits of the last word are
zero after :func:`pack_codes` and ignored by :func:`unpack_codes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.unsignedinteger[Any]] | npt.NDArray[np.object_]
Planes = npt.NDArray[np.uint64]

WORD_BITS = 64
MAXIMUM_EXHAUSTIVE_BITS = 24
NATIVE_CODES = 1 << 14
"""Codes from which on native code packs them, where there is any."""

_WORD = np.dtype("<u8")


def code_type(width: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds ``width`` bits; Python integers (``object``) above 64."""
    for bits in (8, 16, 32, 64):
        if width <= bits:
            return np.dtype(f"<u{bits // 8}")
    return np.dtype(object)


def words_for(vectors: int) -> int:
    """Return how many words hold ``vectors`` bits."""
    return -(-vectors // WORD_BITS)


def pack_codes(codes: npt.ArrayLike, width: int) -> Planes:
    """Return the planes of a one-dimensional array of non-negative integers below ``2**width``.

    Raises
    ------
    TypeError
        If the codes are not integers.
    ValueError
        If they are not one-dimensional, or one is outside the width.
    """
    array = check_codes(codes, width)
    if width > WORD_BITS:
        limbs = [np.array([int(code) >> shift & (1 << WORD_BITS) - 1 for code in array], _WORD)
                 for shift in range(0, width, WORD_BITS)]
        return np.concatenate([pack_codes(limb, min(WORD_BITS, width - WORD_BITS * index))
                               for index, limb in enumerate(limbs)])
    if width and array.size >= NATIVE_CODES and _has_native():
        from synth.netlist.native_packing import pack_codes_native

        return pack_codes_native(array, width)
    bytes_ = -(-width // 8)
    storage = code_type(width)
    padded = np.zeros(words_for(array.size) * WORD_BITS, storage)
    padded[:array.size] = array
    columns = padded.view(np.uint8).reshape(-1, storage.itemsize)
    planes = np.empty((8 * bytes_, padded.size // 8), np.uint8)
    for index in range(bytes_):
        eights = np.ascontiguousarray(columns[:, index]).view(_WORD)
        planes[8 * index:8 * index + 8] = _transpose_bits(eights).view(np.uint8).reshape(-1, 8).T
    return planes[:width].view(_WORD)


def check_codes(codes: npt.ArrayLike, width: int) -> npt.NDArray[Any]:
    """Return a one-dimensional array of non-negative integers below ``2**width``, as it is.

    Raises
    ------
    TypeError, ValueError
        As :func:`pack_codes`.
    """
    array = np.asarray(codes)
    if array.ndim != 1:
        raise ValueError(f"Codes must be a one-dimensional array, not of shape {array.shape}")
    if not array.size:
        return array.astype(code_type(width), copy=False)  # of a list without elements, numpy makes floats
    if array.dtype.kind not in "buiO":
        raise TypeError(f"Codes must be integers, not {array.dtype}")
    for code in array if array.dtype.kind == "O" else ():
        if not isinstance(code, int | np.integer | np.bool_):
            raise TypeError(f"Codes must be integers, not {code!r}")
    bits = {"b": 1, "u": 8 * array.itemsize}.get(array.dtype.kind)
    if array.size and (bits is None or bits > width):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >> width:
            raise ValueError(f"Codes of a {width}-bit port must be 0 to {(1 << width) - 1}, "
                             f"not {low if low < 0 else high}; mask two's complement first")
    return array


def unpack_codes(planes: Planes, vectors: int) -> Codes:
    """Return the codes of the first ``vectors`` vectors, in the smallest unsigned type that holds the width."""
    width = len(planes)
    storage = code_type(width)
    if width > WORD_BITS:
        limbs = [unpack_codes(planes[shift:shift + WORD_BITS], vectors) for shift in range(0, width, WORD_BITS)]
        wide = np.zeros(vectors, object)
        for index, limb in enumerate(limbs):
            wide += limb.astype(object) << WORD_BITS * index
        return wide
    if width and vectors >= NATIVE_CODES and _has_native():
        from synth.netlist.native_packing import unpack_codes_native

        return unpack_codes_native(planes, vectors)
    count = planes.shape[1] * WORD_BITS
    columns = np.zeros((count, storage.itemsize), np.uint8)
    rows = np.zeros((8, count // 8), np.uint8)
    for index in range(-(-width // 8)):
        part = np.ascontiguousarray(planes[8 * index:8 * index + 8], _WORD).view(np.uint8)
        rows[:len(part)] = part
        rows[len(part):] = 0
        eights = np.ascontiguousarray(rows.T).reshape(-1).view(_WORD)
        columns[:, index] = _transpose_bits(eights).view(np.uint8)
    return columns.reshape(-1).view(storage)[:vectors]


def _has_native() -> bool:
    from synth.netlist.make import uses_llvm  # which needs this module itself

    return uses_llvm()


def _transpose_bits(eights: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Transpose each word as an 8x8 bit matrix. Source: H. Warren, Hacker's Delight, 2nd ed., section 7-3."""
    words = eights.copy()
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swap = (words ^ (words >> np.uint64(shift))) & np.uint64(mask)
        words ^= swap ^ (swap << np.uint64(shift))
    return words


def rows_to_planes(rows: npt.NDArray[np.uint8]) -> Planes:
    """Return the planes of rows of bytes, one row a vector; their number must be a multiple of 64.

    Bit *k* of byte *j* of the rows is plane ``8 * j + k``.
    """
    vectors, size = rows.shape
    eights = np.ascontiguousarray(rows.T).view(_WORD)
    bits = _transpose_bits(eights).view(np.uint8).reshape(size, vectors // 8, 8).transpose(0, 2, 1)
    return np.ascontiguousarray(bits).reshape(8 * size, vectors // 8).view(_WORD)


def planes_to_rows(planes: Planes) -> npt.NDArray[np.uint8]:
    """Return the rows of :func:`rows_to_planes`, in as few bytes as hold the planes; unused bits are 0."""
    width, words = planes.shape
    size = -(-width // 8)
    bits = np.zeros((size, 8, 8 * words), np.uint8)
    bits.reshape(8 * size, 8 * words)[:width] = np.ascontiguousarray(planes, _WORD).view(np.uint8)
    eights = np.ascontiguousarray(bits.transpose(0, 2, 1)).view(_WORD).reshape(size, 8 * words)
    return np.ascontiguousarray(_transpose_bits(eights).view(np.uint8).reshape(size, WORD_BITS * words).T)


def exhaustive_planes(widths: Mapping[str, int], start: int = 0, vectors: int | None = None) -> dict[str, Planes]:
    """Return the planes of all combinations of codes, or of a block of them.

    Vector *k* holds the codes of the ports side by side, the first port in the most significant bits: so a result of
    two ports reshapes to a table ``[first, second]``.

    Parameters
    ----------
    widths : port name to width in bits, in order
    start : first vector of the block, a multiple of 64
    vectors : length of the block, at most 2^24; by default all that follow ``start``

    Raises
    ------
    ValueError
        If the block is longer, or does not start at a word.
    """
    total = sum(widths.values())
    if start % WORD_BITS:
        raise ValueError(f"Start of a block must be a multiple of {WORD_BITS}, not {start}")
    if vectors is None:
        vectors = (1 << total) - start
    if vectors > 1 << MAXIMUM_EXHAUSTIVE_BITS:
        raise ValueError(f"Exhaustive block must have at most 2^{MAXIMUM_EXHAUSTIVE_BITS} vectors, not {vectors}; "
                         f"give the length of a block")
    first_word = start // WORD_BITS
    words = np.arange(first_word, first_word + words_for(vectors), dtype=_WORD)
    planes = {}
    position = total
    for port, width in widths.items():
        position -= width
        rows = [_index_plane(position + bit, words) for bit in range(width)]
        planes[port] = np.stack(rows) if rows else np.zeros((0, words.size), _WORD)
    return planes


def _index_plane(bit: int, words: npt.NDArray[np.uint64]) -> Planes:
    """Return bit ``bit`` of the vector numbers of these words."""
    if bit < 6:
        pattern = sum(1 << vector for vector in range(WORD_BITS) if vector >> bit & 1)
        return np.full(words.size, pattern, _WORD)
    plane: Planes = np.negative((words >> np.uint64(bit - 6)) & np.uint64(1))
    return plane


def planes_to_integers(planes: Planes) -> list[int]:
    """Return each plane as one integer: bit *k* is vector *k*."""
    data, size = planes.astype(_WORD, copy=False).tobytes(), 8 * planes.shape[1]
    return [int.from_bytes(data[row * size:row * size + size], "little") for row in range(len(planes))]


def integers_to_planes(integers: Sequence[int], words: int) -> Planes:
    """Return planes of ``words`` words from integers whose bit *k* is vector *k*."""
    data = b"".join(integer.to_bytes(8 * words, "little") for integer in integers)
    return np.frombuffer(data, _WORD).reshape(len(integers), words)
