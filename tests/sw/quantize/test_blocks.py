"""Large tensors are rounded a piece at a time, and no element is left out, done twice, or moved."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from sw.formats import parse  # noqa: E402  # after the skip: sw.quantize cannot be imported without torch
from sw.quantize import fake_quantize  # noqa: E402
from sw.quantize.blocks import each_block  # noqa: E402

SIZES = [1, (1 << 15) + 1, (1 << 17) - 1, (1 << 18) + 3, 3 * (1 << 17) + 1]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_every_element_is_visited_once(size, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, seen = torch.arange(size), torch.zeros(size, dtype=torch.int64)
        each_block(lambda source, target, nothing: target.add_(source + 1), [x, seen, None])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(seen, torch.arange(1, size + 1))


@pytest.mark.parametrize("make", [
    lambda x: x,
    lambda x: x.reshape(-1, 3).t(),
    lambda x: x.reshape(-1, 6)[:, ::2],
    lambda x: x.reshape(2, -1, 3).permute(2, 0, 1),
], ids=["contiguous", "transposed", "strided", "permuted"])
@pytest.mark.parametrize("name", ["e4m3", "e3m2", "int8", "float16"])
def test_pieces_give_what_single_elements_give(make, name):
    fmt = parse(name)
    x = make(torch.randn(6 * 70_001, generator=torch.Generator().manual_seed(1)))
    small = torch.cat([fake_quantize(part, fmt) for part in x.reshape(-1).split(1000)])
    assert torch.equal(fake_quantize(x, fmt).reshape(-1), small)
