"""New memory: like torch's, but for the pages."""

import mmap
import re
from pathlib import Path

import pytest
import torch

from sw.quantize.memory import empty_like

LARGE = 1 << 23  # float32 elements: 32 MiB

SMAPS = Path("/proc/self/smaps")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def flags_of(address):
    """Return the flags of the mapping that holds an address."""
    found = False
    for line in SMAPS.read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            found = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif found and line.startswith("VmFlags:"):
            return line.split()[1:]
    return []


@pytest.mark.parametrize("x", [torch.empty(LARGE + 5), torch.empty(3, 4), torch.empty(0),
                               torch.empty(2, 3, LARGE // 4).permute(2, 0, 1),
                               torch.empty(7, 8, device="meta")], ids=lambda x: str(tuple(x.shape)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_new_memory_is_laid_out_as_by_torch(x, dtype):
    got, want = empty_like(x, dtype), torch.empty_like(x, dtype=dtype)
    assert (got.shape, got.stride(), got.dtype, got.device) == (want.shape, want.stride(), want.dtype, want.device)


@pytest.mark.skipif(not (hasattr(mmap, "MADV_HUGEPAGE") and SMAPS.exists() and HUGE_PAGES.exists()),
                    reason="huge pages by advice are Linux's, and this kernel has none or hides them")
def test_large_memory_is_advised_to_be_in_huge_pages():
    x = torch.empty(LARGE)
    assert "hg" in flags_of(empty_like(x, torch.float32).data_ptr() + x.nbytes // 2)
    assert "hg" not in flags_of(x.data_ptr() + x.nbytes // 2)


def test_a_system_without_huge_pages_is_left_alone(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    x = torch.zeros(LARGE)
    assert empty_like(x, torch.float32).shape == x.shape
