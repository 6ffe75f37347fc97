"""Codes packed at their real width, against a description bit by bit."""

import numpy as np
import pytest
import torch

from sw.export.bits import pack_codes, unpack_codes


def packed_bit_by_bit(codes, width):
    """The definition: bit ``i`` of code ``k`` is bit ``k * width + i`` of the little-endian whole."""
    whole = sum(int(code) << (place * width) for place, code in enumerate(codes.flatten()))
    return list(whole.to_bytes(-(-codes.numel() * width // 8), "little"))


@pytest.mark.parametrize("width", range(1, 33))
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (0, 4), (2, 3, 4)], ids=str)
def test_codes_survive_packing_and_lie_as_described(width, shape):
    generator = np.random.default_rng(width)
    codes = torch.from_numpy(generator.integers(0, 1 << width, shape, dtype=np.int64).reshape(shape))
    packed = pack_codes(codes, width)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == packed_bit_by_bit(codes, width), (width, codes)
    unpacked = unpack_codes(packed, width, shape)
    assert unpacked.shape == shape
    assert torch.equal(unpacked.long(), codes), (width, unpacked, codes)


def test_two_4_bit_codes_share_a_byte_the_first_one_in_the_low_half():
    assert pack_codes(torch.tensor([0x1, 0x2, 0xF]), 4).tolist() == [0x21, 0x0F]


@pytest.mark.parametrize(("width", "dtype"), [(8, torch.uint8), (9, torch.int16), (16, torch.int32),
                                              (32, torch.int64)])
def test_the_dtype_of_unpacked_codes_is_that_of_to_codes(width, dtype):
    assert unpack_codes(pack_codes(torch.tensor([1]), width), width, (1,)).dtype == dtype


@pytest.mark.parametrize(("codes", "width", "error", "message"), [
    (torch.tensor([1]), 4.0, TypeError, "Code width must be an integer, not 4.0"),
    (torch.tensor([1]), 33, ValueError, "Code width must be between 1 and 32 bits, not 33"),
    (torch.tensor([1.0]), 4, TypeError, "Codes must be a tensor of integers, not torch.float32"),
    (torch.tensor([True]), 4, TypeError, "Codes must be a tensor of integers, not torch.bool"),
    ([1], 4, TypeError, r"Codes must be a tensor of integers, not \[1\]"),
    (torch.tensor([1, 16]), 4, ValueError, "Codes must be between 0 and 15 to be of 4 bits, not 1 to 16"),
    (torch.tensor([-1, 2]), 4, ValueError, "Codes must be between 0 and 15 to be of 4 bits, not -1 to 2"),
])
def test_what_cannot_be_packed_is_refused(codes, width, error, message):
    with pytest.raises(error, match=message):
        pack_codes(codes, width)


@pytest.mark.parametrize(("packed", "error", "message"), [
    (torch.tensor([1]), TypeError, "Packed codes must be a tensor of uint8, not torch.int64"),
    (torch.zeros(3, dtype=torch.uint8), ValueError,
     r"Packed codes must be of shape \(2,\) for 3 codes of 4 bits, not \(3,\)"),
    (torch.tensor([0, 0x10], dtype=torch.uint8), ValueError, "Packed codes must end in zeros, not in other bits"),
])
def test_what_cannot_be_unpacked_is_refused(packed, error, message):
    with pytest.raises(error, match=message):
        unpack_codes(packed, 4, (3,))
