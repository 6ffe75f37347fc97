"""Packed weights: read back equal, sized to the byte, read bit by bit as described, and refused when damaged."""

import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch

from sw.ptq import (
    GroupQuantized,
    MixedNM,
    NMBlocks,
    PackedLayout,
    break_even_density,
    pack,
    prune_magnitude,
    quantize_groups,
    sections,
    size_of,
    unpack,
)
from sw.reference.dequantize import Dequantization

FLIGHTLLM = NMBlocks()
GEOMETRIES = [
    FLIGHTLLM, NMBlocks(allowed=(16,)), NMBlocks(m=4, allowed=(0, 1, 2, 4), rows=4, columns=16),
    NMBlocks(m=8, allowed=(1, 3, 8), rows=1, columns=8), NMBlocks(m=2, allowed=(0, 1, 2), rows=32, columns=64),
    NMBlocks(m=64, allowed=(0, 7, 20, 64), rows=2, columns=64)]


def quantized_of(blocks=FLIGHTLLM, *, width=4, density=0.4, shape=(32, 64), seed=0, **parameters):
    """Return weights that are sparse by blocks, unless all N are the same."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(*shape, generator=generator) * torch.logspace(-1, 1, shape[1])
    density = max(density, blocks.allowed[0] / blocks.m)
    weights = prune_magnitude(weights, MixedNM(density=density, blocks=blocks)).weights
    return quantize_groups(weights, **{"width": width, "group_size": 16} | parameters)


def assert_equal(got, want):
    assert torch.equal(got.codes, want.codes)
    assert got.scales.dtype == want.scales.dtype
    assert torch.equal(got.scales, want.scales)
    assert torch.equal(got.zero_points, want.zero_points)
    assert (got.width, got.symmetric, got.group_size) == (want.width, want.symmetric, want.group_size)


def bits_of(part, width):
    """Return a function that reads one code after the other from words of 16, bit by bit."""
    number, place = int.from_bytes(part, "little"), 0

    def take():
        nonlocal place
        code = number >> place & (1 << width) - 1
        place += width
        return code

    return take


@pytest.mark.parametrize("blocks", GEOMETRIES)
@pytest.mark.parametrize("width", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_what_is_packed_reads_back_equal_and_of_the_size_that_was_said(blocks, width, symmetric):
    want = quantized_of(blocks, width=width, symmetric=symmetric, scale_dtype=torch.float16)
    data = pack(want, blocks)
    size = size_of(want, blocks)
    assert len(data) == size.total
    got = unpack(data)
    assert_equal(got.quantized, want)
    assert got.layout.size(got.counts) == size
    assert (got.layout.blocks.m, got.layout.blocks.rows, got.layout.blocks.columns) == (
        blocks.m, blocks.rows, blocks.columns)
    assert {name: len(part) for name, part in sections(data).items()} == size._asdict()
    assert pack(got.quantized, blocks) == data


@pytest.mark.parametrize("blocks", GEOMETRIES)
def test_a_reader_of_single_bits_finds_every_weight(blocks):
    """The format as it is described, in loops: blocks, then M inputs, then rows, then rising places."""
    want = quantized_of(blocks, width=3, group_size=8)
    parts = sections(pack(want, blocks))
    m, rows, columns = blocks.m, blocks.rows, blocks.columns
    index, code = bits_of(parts["indices"], m.bit_length() - 1), bits_of(parts["codes"], 3)
    point = bits_of(parts["zero_points"], 3)
    points = [[point() for _ in range(8)] for _ in range(32)]
    got = [[points[row][column // 8] for column in range(64)] for row in range(32)]
    counts = iter(parts["counts"])
    for top in range(0, 32, rows):
        for left in range(0, 64, columns):
            n = next(counts)
            for start in range(left, left + columns, m):
                for row in range(top, top + rows):
                    places = range(m) if n == m else [index() for _ in range(n)]
                    for place in places:
                        got[row][start + place] = code()
    assert got == want.codes.tolist()
    scales = struct.unpack(f"<{32 * 8}f", parts["scales"])
    assert list(scales) == want.scales.flatten().tolist()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_dequantizer_reads_the_words(width):
    """Blocks of 16 x 16, N of 16: a word is codes of 16/N rows, whose zero points go with its lanes."""
    want = quantized_of(width=width)
    data = pack(want, FLIGHTLLM)
    parts, counts = sections(data), unpack(data).counts.flatten().tolist()
    model = Dequantization(code_widths=(2, 3, 4, 8), zero_point_per_lane=True)
    size = 2 * width
    words = [int.from_bytes(parts["codes"][start:start + size], "little")
             for start in range(0, len(parts["codes"]), size)]
    integers, index = want.integers(), bits_of(parts["indices"], 4)
    word = 0
    for block, n in enumerate(counts):
        if not n:
            continue
        top, left = block // 4 * 16, block % 4 * 16
        for first in range(top, top + 16, 16 // n):
            lanes = [row for row in range(first, first + 16 // n) for _ in range(n)]
            places = list(range(16)) if n == 16 else [index() for _ in range(16)]
            points = [int(want.zero_points[row, left // 16]) for row in lanes]
            got = np.array(model(words[word], points, (2, 3, 4, 8).index(width)))
            assert (got - (got >> 7 << 8)).tolist() == [
                int(integers[row, left + place]) for row, place in zip(lanes, places, strict=True)]
            word += 1
    assert word == len(words)


def test_each_part_takes_what_the_description_says():
    quantized = quantized_of(width=3, scale_dtype=torch.float16)
    size, counts = size_of(quantized, FLIGHTLLM), unpack(pack(quantized, FLIGHTLLM)).counts
    kept = int(counts.sum()) * 16
    indexed = int(counts[counts < 16].sum()) * 16
    assert 0 < indexed < kept < 32 * 64
    assert size == (36, 8, indexed // 2, kept // 16 * 6, 32 * 4 * 2, 32 * 4 // 16 * 6)


def test_three_bit_codes_stand_in_words_of_48_bits():
    codes = torch.arange(16, dtype=torch.uint8).remainder(8).reshape(1, 16)
    quantized = GroupQuantized(codes=codes, scales=torch.ones(1, 1), width=3, symmetric=False,
                               zero_points=torch.zeros(1, 1, dtype=torch.uint8))
    parts = sections(pack(quantized, NMBlocks(allowed=(16,), rows=1)))
    assert len(parts["codes"]) == 6
    word = sum(code << 3 * place for place, code in enumerate(codes[0].tolist()))
    assert parts["codes"] == word.to_bytes(6, "little")
    assert parts["indices"] == b""


def test_groups_with_fewer_weights_are_filled_up():
    codes = torch.full((2, 8), 5, dtype=torch.uint8)
    codes[0, 6] = 9
    codes[1, :3] = 0
    quantized = GroupQuantized(codes=codes, scales=torch.ones(2, 1), width=4, symmetric=False,
                               zero_points=torch.full((2, 1), 5, dtype=torch.uint8))
    blocks = NMBlocks(m=8, allowed=(0, 1, 4), rows=2, columns=8)
    data = pack(quantized, blocks)
    assert list(sections(data)["counts"]) == [4]
    index = bits_of(sections(data)["indices"], 3)
    assert [index() for _ in range(8)] == [0, 1, 2, 6, 0, 1, 2, 3]
    assert_equal(unpack(data).quantized, quantized)


def test_all_zero_takes_neither_codes_nor_indices():
    quantized = quantize_groups(torch.zeros(16, 32), width=4, group_size=32)
    size = size_of(quantized, FLIGHTLLM)
    assert (size.counts, size.indices, size.codes) == (2, 0, 0)
    assert_equal(unpack(pack(quantized, FLIGHTLLM)).quantized, quantized)


@pytest.mark.parametrize(("width", "m", "density"), [
    (4, 16, Fraction(1, 2)), (2, 16, Fraction(1, 3)), (3, 16, Fraction(3, 7)), (8, 16, Fraction(2, 3)),
    (4, 4, Fraction(2, 3)), (8, 128, Fraction(8, 15))])
def test_break_even_density(width, m, density):
    assert break_even_density(width, m) == density
    blocks = NMBlocks(m=m, allowed=tuple(range(m + 1)), rows=16, columns=m)
    layout = PackedLayout(outputs=16, inputs=m, width=width, group_size=m, symmetric=True, scale_dtype=torch.float16,
                          blocks=blocks)
    dense = layout.size(torch.tensor([[m]])).total
    for n in range(m):
        difference = layout.size(torch.tensor([[n]])).total - dense
        assert (difference > 0, difference == 0) == (Fraction(n, m) > density, Fraction(n, m) == density)


def test_flightllms_bits_a_weight():
    """4-bit codes and 4-bit indices: half density costs what dense does, with one scale and N byte besides."""
    layout = PackedLayout(outputs=4096, inputs=4096, width=4, group_size=128, symmetric=True,
                          scale_dtype=torch.float16, blocks=FLIGHTLLM)
    counts = torch.full((256, 256), 8)
    assert layout.size(counts).total - 36 == 4096 * 4096 // 2 + 256 * 256 + 4096 * 32 * 2
    assert layout.size(counts) != layout.size(counts * 2)
    assert layout.size(counts).total == layout.size(counts * 2).total


def mended(data):
    """Return data with the checksum that belongs to it."""
    return data[:32] + struct.pack("<I", zlib.crc32(data[36:], zlib.crc32(data[:32]))) + data[36:]


def test_every_damaged_byte_is_found():
    data = pack(quantized_of(shape=(16, 32)), FLIGHTLLM)
    for place in range(len(data)):
        for flip in (0x01, 0x80):
            broken = bytearray(data)
            broken[place] ^= flip
            with pytest.raises(ValueError, match=" must "):
                unpack(bytes(broken))


def test_every_cut_is_found():
    data = pack(quantized_of(shape=(16, 32)), FLIGHTLLM)
    for length in range(len(data)):
        with pytest.raises(ValueError, match="Packed weights must have (a header|the checksum)"):
            unpack(data[:length])
    with pytest.raises(ValueError, match="Packed weights must have the checksum they were written with"):
        unpack(data + b"\0")


GOOD = pack(quantized_of(shape=(16, 32), width=4), FLIGHTLLM)


def with_bytes(place, *values):
    return mended(GOOD[:place] + bytes(values) + GOOD[place + len(values):])


@pytest.mark.parametrize(("data", "error", "message"), [
    ("weights.bin", TypeError, "Packed weights must be bytes, not 'str'"),
    (b"", ValueError, "Packed weights must have a header of 36 bytes, not 0 bytes in all"),
    (b"\x89PNG" + GOOD[4:], ValueError,
     r"Packed weights must begin with b'NGPW', not b'\\x89PNG': this is another kind"),
    (with_bytes(4, 2), ValueError, "Packed weights must be of version 1, not 2"),
    (with_bytes(6, 9), ValueError, "Width must be between 2 and 8 bits, not 9"),
    (with_bytes(7, 3), ValueError, "must have a scale type below 3 and a symmetry below 2, not 3 and 0"),
    (with_bytes(8, 2), ValueError, "must have a scale type below 3 and a symmetry below 2, not 2 and 2"),
    (with_bytes(10, 12), ValueError, "M must be a power of two from 2 to 128 for packed weights, not 12"),
    (with_bytes(12, 17), ValueError, "Block rows must divide the 17 outputs, not 16"),
    (with_bytes(20, 5), ValueError, "Group size must divide the 32 inputs, not 5"),
    (with_bytes(12, 0, 0, 0, 0), ValueError, "Outputs must be at least 1, not 0"),
    (with_bytes(14, 255, 255), ValueError, "Packed weights must have at least .* bytes, as their header says, not "),
    (with_bytes(36, 17), ValueError, "Packed weights must have an N of at most M = 16 in each block, not 17"),
    (with_bytes(36, 16, 16), ValueError, "Packed weights must have [0-9]* bytes, as their header says, not "),
    (mended(GOOD + b"\0"), ValueError, "Packed weights must have [0-9]* bytes, as their header says, not "),
    (with_bytes(38, 0x00), ValueError, "Packed weights must have rising indices in each group, not others"),
    (with_bytes(len(GOOD) - 16 - 16 * 2 * 4, 0, 0, 0, 0), ValueError, "Scales must be positive and finite"),
])
def test_wrong_data(data, error, message):
    with pytest.raises(error, match=message):
        unpack(data)


LAYOUT = {"outputs": 16, "inputs": 32, "width": 4, "group_size": 16, "symmetric": True, "scale_dtype": torch.float16,
          "blocks": FLIGHTLLM}


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: pack(torch.ones(2, 2), FLIGHTLLM), TypeError,
     "Quantized weights must be GroupQuantized, not 'Tensor'; see"),
    (lambda: pack(quantized_of(), 16), TypeError, "Blocks must be NMBlocks, not 16"),
    (lambda: pack(quantized_of(), NMBlocks(m=12, allowed=(1,), columns=12)), ValueError,
     "M must be a power of two from 2 to 128 for packed weights, not 12"),
    (lambda: pack(quantized_of(), NMBlocks(rows=24)), ValueError, "Block rows must divide the 32 outputs, not 24"),
    (lambda: size_of(quantized_of(), NMBlocks(columns=48)), ValueError,
     "Block columns must divide the 64 inputs, not 48"),
    (lambda: pack(quantized_of(density=1), NMBlocks(allowed=(1, 2, 4))), ValueError,
     "Weights must have at most 4 nonzeros of every 16 consecutive inputs, not 1[0-6] in row 0, columns 0 to 15"),
    (lambda: PackedLayout(**LAYOUT | {"inputs": 1 << 32}), ValueError,
     "Inputs must be at most 4294967295, not 4294967296"),
    (lambda: PackedLayout(**LAYOUT | {"symmetric": 1}), TypeError, "Symmetric must be True or False, not 1"),
    (lambda: PackedLayout(**LAYOUT | {"scale_dtype": torch.float64}), TypeError,
     "Scale dtype must be torch.float16, torch.bfloat16 or torch.float32, not torch.float64"),
    (lambda: PackedLayout(**LAYOUT).size(torch.tensor([4, 4])), ValueError,
     r"Counts must be of shape \(1, 2\), one N a block, not \(2,\)"),
    (lambda: PackedLayout(**LAYOUT).size(torch.tensor([[4, 17]])), ValueError,
     "Counts must be between 0 and M = 16, not 4 to 17"),
    (lambda: PackedLayout(**LAYOUT | {"outputs": 1.5}), TypeError, "Outputs must be an integer, not 1.5"),
    (lambda: break_even_density(4, 1), ValueError, "M must be a power of two from 2 to 128 for packed weights, not 1"),
    (lambda: break_even_density(16, 4), ValueError, "Width must be between 2 and 8 bits, not 16"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
