"""New memory for large results."""

import ctypes
import mmap

import torch
from torch import Tensor

# glibc maps an allocation of this size by itself and gives it back when it is freed, so that the advice below
# concerns nobody else's memory.
_OWN_MAPPING = 1 << 25  # bytes


def empty_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a new tensor laid out like ``x``, as ``torch.empty_like`` does, in huge pages where Linux has them.

    Handing out 64 MB in pages of 4 KiB takes the system longer than quantizing into them does. numpy gives the
    same advice for its arrays, torch on request (``THP_MEM_ALLOC_ENABLE=1``). Elsewhere, or where the system does
    not follow it, nothing changes.
    """
    out = torch.empty_like(x, dtype=dtype)
    if type(out) is Tensor and out.device.type == "cpu" and out.nbytes >= _OWN_MAPPING:
        _advise_huge_pages(out.data_ptr(), out.nbytes)
    return out


def _advise_huge_pages(start: int, size: int) -> None:
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
    madvise(first, last - first, mmap.MADV_HUGEPAGE)  # advice: a kernel without huge pages refuses it, harmlessly
