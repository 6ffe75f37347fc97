"""Packing on tensors beside numpy's, which packs the same way on words without a sign."""

import numpy as np
import pytest
import torch

from sw.formats import parse
from sw.quantize import to_codes
from synth.netlist.packing import pack_codes, unpack_codes
from synth.netlist.torch_packing import (
    check_code,
    check_codes,
    code_dtype,
    pack_tensor,
    planes_to_rows,
    rows_to_planes,
    unpack_tensor,
)

WIDTHS = [0, 1, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 48, 63, 64]


def some_codes(width, vectors):
    rng = np.random.default_rng((width, vectors))
    return rng.integers(0, 1 << width, vectors, dtype=np.uint64) if width else np.zeros(vectors, np.uint64)


@pytest.mark.parametrize("vectors", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("width", WIDTHS)
def test_planes_are_those_of_numpy(width, vectors):
    codes = some_codes(width, vectors)
    planes = pack_tensor(torch.from_numpy(codes.view(np.int64)), width)
    assert planes.dtype == torch.int64
    assert (planes.numpy().view(np.uint64) == pack_codes(codes, width)).all()
    back = unpack_tensor(planes, vectors)
    assert back.dtype == code_dtype(width)
    assert (back.to(torch.int64).numpy().view(np.uint64) == codes).all()
    assert (unpack_codes(pack_codes(codes, width), vectors) == codes).all()


@pytest.mark.parametrize("width", [5, 8, 12, 16, 30, 32, 64])
def test_what_the_unused_lanes_hold_does_not_matter(width):
    codes = some_codes(width, 70)
    planes = pack_tensor(torch.from_numpy(codes.view(np.int64)), width)
    planes[:, 1] |= -1 << 6
    assert (unpack_tensor(planes, 70).to(torch.int64).numpy().view(np.uint64) == codes).all()


def test_codes_need_not_start_at_a_word():
    """A view of bytes in the middle of others, and one with gaps."""
    codes = torch.arange(256, dtype=torch.uint8)
    for part in (codes[1:130], codes[3::7], codes.flip(0)[5:]):
        assert (unpack_tensor(pack_tensor(part, 8), len(part)) == part).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_every_integer_type_is_packed(dtype):
    codes = torch.arange(100).to(dtype)
    check_codes(codes, 7)
    assert (pack_tensor(codes, 7) == pack_tensor(torch.arange(100), 7)).all()


def test_more_words_than_needed_are_zero():
    planes = pack_tensor(torch.full((3,), 255), 8, 4)
    assert planes.shape == (8, 4)
    assert planes.sum() == 8 * 0b111


def test_rows_and_planes_are_inverse():
    rows = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (192, 5), dtype=np.uint8))
    planes = rows_to_planes(rows)
    assert planes.shape == (40, 3)
    assert [int(planes[11, 1]) >> k & 1 for k in range(64)] == [int(rows[64 + k, 1]) >> 3 & 1 for k in range(64)]
    assert (planes_to_rows(planes) == rows).all()
    assert (planes_to_rows(planes[:37])[:, 4] == rows[:, 4] & 31).all()


@pytest.mark.parametrize("name", ["int4", "e4m3", "fixed<9,2>", "float16", "fixed<15,0>", "fixed<31,0>", "float32"])
def test_types_are_those_of_the_quantizer(name):
    fmt = parse(name)
    assert code_dtype(fmt.width) == to_codes(torch.zeros(1), fmt).dtype


def test_the_code_of_64_bits_is_a_pattern():
    assert check_code((1 << 64) - 1, 64) == -1
    assert check_code(1 << 63, 64) == -1 << 63
    assert check_code(5, 64) == 5
    check_codes(torch.tensor([-1]), 64)


def test_codes_wrong():
    with pytest.raises(ValueError, match="Port must be at most 64 bits wide for a tensor of codes, not 65; run_planes"):
        code_dtype(65)
    with pytest.raises(ValueError, match="Codes of a 3-bit port must be 0 to 7, not 8; mask two's complement first"):
        check_codes(torch.tensor([1, 8]), 3)
    with pytest.raises(ValueError, match="Codes of a 3-bit port must be 0 to 7, not -1"):
        check_codes(torch.tensor([1, -1]), 3)
    with pytest.raises(ValueError, match="Codes of a 64-bit port must be 0 to 18446744073709551615, not -1"):
        check_codes(torch.tensor([-1], dtype=torch.int8), 64)
    with pytest.raises(TypeError, match="Codes must be of dtype uint8, int8, int16, int32 or int64, not torch.float32"):
        check_codes(torch.ones(1), 3)
    with pytest.raises(TypeError, match="Codes must be of dtype .* not torch.uint16"):
        check_codes(torch.ones(1, dtype=torch.uint16), 3)
