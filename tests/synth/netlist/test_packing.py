import numpy as np
import pytest

from synth.netlist import exhaustive_planes, pack_codes, unpack_codes
from synth.netlist.packing import (
    code_type,
    integers_to_planes,
    planes_to_integers,
    planes_to_rows,
    rows_to_planes,
)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_planes_hold_the_bits(width, count):
    rng = np.random.default_rng(width * 1000 + count)
    codes = [int.from_bytes(rng.bytes(17), "little") & (1 << width) - 1 for _ in range(count)]
    array = np.array(codes, object if width > 63 else np.uint64)
    planes = pack_codes(array, width)
    assert planes.shape == (width, -(-count // 64))
    assert planes.dtype == np.uint64
    integers = planes_to_integers(planes)
    for bit in range(width):
        assert integers[bit] == sum((code >> bit & 1) << vector for vector, code in enumerate(codes)), bit
    back = unpack_codes(planes, count)
    assert back.dtype == code_type(width)
    assert back.tolist() == codes
    assert (integers_to_planes(integers, planes.shape[1]) == planes).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint64, bool, object])
def test_every_integer_type_packs(dtype):
    assert planes_to_integers(pack_codes(np.array([1, 0, 1], dtype), 2)) == [0b101, 0]


@pytest.mark.parametrize(("width", "dtype"), [(0, "u1"), (8, "u1"), (9, "u2"), (17, "u4"), (33, "u8"), (65, "O")])
def test_codes_have_the_smallest_type(width, dtype):
    assert code_type(width) == np.dtype(dtype)


def test_codes_wrong():
    with pytest.raises(TypeError, match="Codes must be integers, not float64"):
        pack_codes(np.array([0.5]), 4)
    with pytest.raises(ValueError, match=r"Codes must be a one-dimensional array, not of shape \(1, 2\)"):
        pack_codes([[1, 2]], 4)
    with pytest.raises(ValueError, match="Codes of a 4-bit port must be 0 to 15, not 16; mask two's complement first"):
        pack_codes([3, 16], 4)
    with pytest.raises(ValueError, match="Codes of a 4-bit port must be 0 to 15, not -1"):
        pack_codes([3, -1], 4)


@pytest.mark.parametrize("widths", [{"a": 1}, {"a": 3, "b": 2}, {"a": 5, "b": 4, "c": 1}, {"a": 8, "b": 8}, {}])
def test_exhaustive_planes_are_all_combinations_in_order(widths):
    planes = exhaustive_planes(widths)
    count = 1 << sum(widths.values())
    joined = np.zeros(count, np.int64)
    for port, width in widths.items():
        joined = joined << width | unpack_codes(planes[port], count).astype(np.int64)
    assert (joined == np.arange(count)).all()


def test_exhaustive_block_is_the_same_part():
    whole = exhaustive_planes({"a": 7, "b": 6})
    block = exhaustive_planes({"a": 7, "b": 6}, start=1024, vectors=512)
    for port, planes in whole.items():
        assert (block[port] == planes[:, 16:24]).all(), port


def test_exhaustive_wrong():
    with pytest.raises(ValueError, match=r"Exhaustive block must have at most 2\^24 vectors, not 33554432"):
        exhaustive_planes({"a": 12, "b": 13})
    with pytest.raises(ValueError, match="Start of a block must be a multiple of 64, not 65"):
        exhaustive_planes({"a": 10}, start=65)


def test_rows_of_bytes_and_planes_are_each_other():
    rng = np.random.default_rng(8)
    rows = rng.integers(0, 256, (192, 5)).astype(np.uint8)
    planes = rows_to_planes(rows)
    assert planes.shape == (40, 3)
    for vector, byte, bit in ((0, 0, 0), (70, 3, 6), (191, 4, 7)):
        assert planes[8 * byte + bit, vector // 64] >> np.uint64(vector % 64) & 1 == rows[vector, byte] >> bit & 1
    assert (planes_to_rows(planes) == rows).all()
    narrow = planes_to_rows(planes[:11])                 # the rest of the second byte is zero
    assert narrow.shape == (192, 2)
    assert (narrow == rows[:, :2] & np.array([255, 7])).all()
