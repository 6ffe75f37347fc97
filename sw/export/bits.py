"""Codes of a few bits, packed without gaps."""

import numpy as np
import torch
from torch import Tensor

_CODE_DTYPES = ((8, torch.uint8), (15, torch.int16), (31, torch.int32), (32, torch.int64))


def pack_codes(codes: Tensor, width: int) -> Tensor:
    """Return codes at their real width: two 4-bit codes a byte, eight 3-bit codes in three bytes.

    Parameters
    ----------
    codes : integer tensor, of any shape
        In row-major order; the first one comes into the lowest bits of the first byte.
    width : int, bits
        1 to 32; every code is nonnegative and of at most so many bits.

    Returns
    -------
    Tensor
        uint8, of shape ``(ceil(codes.numel() * width / 8),)``. The last byte is filled up with zeros.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or a code is out of range.
    """
    _check_width(width)
    if not isinstance(codes, Tensor) or codes.dtype.is_floating_point or codes.dtype in (torch.bool, torch.complex64):
        raise TypeError(f"Codes must be a tensor of integers, not {getattr(codes, 'dtype', codes)!r}")
    flat = codes.detach().to("cpu", torch.int64).flatten().numpy()
    if flat.size and (flat.min() < 0 or int(flat.max()) >> width):
        raise ValueError(f"Codes must be between 0 and {(1 << width) - 1} to be of {width} bits, "
                         f"not {int(flat.min())} to {int(flat.max())}")
    octets = flat.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :-(-width // 8)]
    bits = np.unpackbits(octets, axis=1, bitorder="little")[:, :width]
    return torch.from_numpy(np.packbits(bits.reshape(-1), bitorder="little"))


def unpack_codes(packed: Tensor, width: int, shape: tuple[int, ...]) -> Tensor:
    """Return what :func:`pack_codes` was given: uint8 for up to 8 bits, int16 up to 15, int32 up to 31, int64 for 32.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the length is not that of so many codes, or the filling is not zero.
    """
    _check_width(width)
    if not isinstance(packed, Tensor) or packed.dtype != torch.uint8:
        raise TypeError(f"Packed codes must be a tensor of uint8, not {getattr(packed, 'dtype', packed)!r}")
    count = int(np.prod(shape, dtype=np.int64))
    length = -(-count * width // 8)
    if packed.shape != (length,):
        raise ValueError(f"Packed codes must be of shape ({length},) for {count} codes of {width} bits, "
                         f"not {tuple(packed.shape)}")
    bits = np.unpackbits(packed.cpu().numpy(), bitorder="little")
    if bits[count * width:].any():
        raise ValueError("Packed codes must end in zeros, not in other bits: they are damaged")
    octets = np.zeros((count, 4), dtype=np.uint8)
    octets[:, :-(-width // 8)] = np.packbits(bits[:count * width].reshape(count, width), axis=1, bitorder="little")
    codes = torch.from_numpy(octets.view("<u4").astype(np.int64).reshape(shape))
    return codes.to(next(dtype for limit, dtype in _CODE_DTYPES if width <= limit))


def _check_width(width: int) -> None:
    if not isinstance(width, int) or isinstance(width, bool):
        raise TypeError(f"Code width must be an integer, not {width!r}")
    if not 1 <= width <= 32:
        raise ValueError(f"Code width must be between 1 and 32 bits, not {width!r}")
