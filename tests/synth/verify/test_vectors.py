"""Which operands are run: all of them, or corners and seeded random."""

import numpy as np
import pytest

from sw.formats import FloatingPointFormat, parse
from synth.verify import corner_codes, operand_vectors


def test_small_operands_come_in_every_combination():
    vectors = operand_vectors({"a": parse("e2m1"), "b": parse("int3")}, random_bits=2, seed=1)
    assert vectors.method == "exhaustive"
    assert vectors.count == 1 << 9
    combined = {(int(a), int(b), int(r)) for a, b, r in zip(*(vectors.operands[n] for n in ("a", "b", "random")),
                                                            strict=True)}
    assert combined == {(a, b, r) for a in range(16) for b in range(8) for r in range(4)}


def test_wide_operands_come_as_corners_and_at_random():
    formats = {"a": parse("float16"), "b": parse("int16")}
    vectors = operand_vectors(formats, random_bits=0, seed=1)
    assert vectors.method == "corners+random"
    assert vectors.count > 1 << 17
    for name, codes in vectors.operands.items():
        assert len(codes) == vectors.count
        assert int(codes.max()) < 1 << formats[name].width
        assert set(corner_codes(formats[name]).tolist()) <= set(codes.tolist())


def test_the_seed_decides():
    formats = {"a": parse("float16"), "b": parse("float16")}
    first, again, other = (operand_vectors(formats, random_bits=0, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.operands["a"], again.operands["a"])
    assert (first.operands["a"] != other.operands["a"]).any()


def test_random_bits_have_corners_too():
    vectors = operand_vectors({"a": parse("float16")}, random_bits=12, seed=1, samples=5000)
    assert {0, 1, 1 << 11, (1 << 12) - 1} <= set(vectors.operands["random"].tolist())


@pytest.mark.parametrize("name", ["float16", "bfloat16", "tf32", "e6m9", "dlfloat16"])
def test_corners_of_a_float_hold_both_ends_of_every_binade(name):
    fmt = parse(name)
    codes = set(corner_codes(fmt).tolist())
    assert isinstance(fmt, FloatingPointFormat)
    for field in range(1 << fmt.exponent_bits):
        for fraction in (0, 1, (1 << fmt.fraction_bits) - 1, 1 << (fmt.fraction_bits - 1)):
            assert (field << fmt.fraction_bits) | fraction in codes
    assert {fmt.max_code, fmt.nan_code, 0, 1 << (fmt.width - 1)} <= codes


def test_corners_of_an_integer_hold_powers_of_two_and_extremes():
    codes = set(corner_codes(parse("int12")).tolist())
    assert {0, 1, 2, 3, 0x7FF, 0x800, 0x801, 0xFFF, 0x400, 0x3FF, 0xC00} <= codes


@pytest.mark.parametrize("name", ["e4m3", "int8", "uint3"])
def test_corners_of_a_small_format_are_all_its_codes(name):
    assert corner_codes(parse(name)).tolist() == list(range(1 << parse(name).width))
