"""Which operands are run: all of them, or corners, halfway cases, cancelling ones and seeded random."""

from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest

from sw.formats import FixedPointFormat, FloatingPointFormat, RoundingMode, as_float, parse
from sw.reference import Multiplication
from sw.reference.model import Port
from synth.verify import corner_codes, function_vectors
from synth.verify.vectors import combinations, port_corners, random_codes


def multiplication(a, b=None, **options):
    first = parse(a)
    return Multiplication(a=first, b=parse(b or a), result=first, **options)


def vectors_of(model, exhaustive_bits=24, samples=5000, **options):
    return function_vectors(model, seed=1, exhaustive_bits=exhaustive_bits, samples=samples, **options)


def test_small_operands_come_in_every_combination():
    vectors = vectors_of(multiplication("e2m1", "int3", rounding=RoundingMode.STOCHASTIC, random_bits=2))
    assert (vectors.method, vectors.count, vectors.parts) == ("exhaustive", 1 << 9, {"all": 1 << 9})
    operands = vectors.block(0, vectors.count)
    combined = {(int(a), int(b), int(r)) for a, b, r in zip(*(operands[n] for n in ("a", "b", "random")), strict=True)}
    assert combined == {(a, b, r) for a in range(16) for b in range(8) for r in range(4)}


def test_blocks_are_the_vectors_in_order():
    vectors = vectors_of(multiplication("e3m2"))
    blocks = list(vectors.blocks())
    assert [start for start, _ in blocks] == [0]
    assert vectors.vector(1234) == {name: int(codes[1234]) for name, codes in blocks[0][1].items()}


class Lanes:
    """Two lanes of three codes each, and a flag."""

    inputs: ClassVar = {"a": Port(width=2, lanes=2, limit=3), "flag": Port(width=1)}
    outputs: ClassVar = inputs

    def evaluate(self, inputs):
        return dict(inputs)


def test_lanes_and_limits_are_counted():
    assert combinations(Lanes.inputs) == 18
    vectors = vectors_of(Lanes())
    operands = vectors.block(0, 18)
    assert {(*map(int, lanes), int(flag)) for lanes, flag in zip(operands["a"], operands["flag"], strict=True)} == {
        (x, y, flag) for x in range(3) for y in range(3) for flag in range(2)}
    sampled = vectors_of(Lanes(), exhaustive_bits=4, samples=100)
    assert sampled.operands is not None
    assert sampled.operands["a"].shape == (sampled.count, 2)
    assert int(sampled.operands["a"].max()) == 2


def test_wide_operands_come_as_corners_and_at_random():
    vectors = vectors_of(multiplication("float16", "int16"), samples=1 << 14)
    assert vectors.method == "corners+random"
    assert vectors.parts["random"] == vectors.parts["corners"] == 1 << 14
    assert vectors.count == sum(vectors.parts.values())
    operands = vectors.block(0, vectors.count)
    for name, fmt in (("a", parse("float16")), ("b", parse("int16"))):
        assert len(operands[name]) == vectors.count
        assert int(operands[name].max()) < 1 << fmt.width
        assert set(corner_codes(fmt).tolist()) <= set(operands[name].tolist())


@pytest.mark.parametrize("name", ["float16", "fixed<16,8>", "bfloat16"])
def test_halfway_cases_lie_halfway(name):
    model = multiplication(name)
    vectors = vectors_of(model, samples=1 << 13)
    start, count = vectors.parts["corners"], vectors.parts["halfway"]
    assert count > 20
    operands = vectors.block(start, start + count)
    for a, b in zip(operands["a"].tolist(), operands["b"].tolist(), strict=True):
        exact = model.a.decode(a) * model.b.decode(b)
        below, above = (Fraction(as_float(model.result.decode(model.result.encode(exact, rounding=mode))))
                        for mode in (RoundingMode.DOWN, RoundingMode.UP))
        assert exact - below == above - exact != 0


def test_a_stochastic_rounding_has_halfway_cases_with_random_bits():
    vectors = vectors_of(multiplication("float16", rounding=RoundingMode.STOCHASTIC, random_bits=5))
    start, count = vectors.parts["corners"], vectors.parts["halfway"]
    assert count > 10
    assert len(set(vectors.block(start, start + count)["random"].tolist())) > 5


def test_cancelling_operands_are_asked_for():
    def cancelling(generator, count):
        codes = generator.integers(0, 1 << 16, count).astype(np.uint64)
        return {"a": codes, "b": codes ^ np.uint64(0x8000)}

    vectors = vectors_of(multiplication("float16"), cancelling=cancelling)
    start = vectors.parts["corners"] + vectors.parts["halfway"]
    operands = vectors.block(start, start + vectors.parts["cancelling"])
    assert ((operands["a"] ^ operands["b"]) == 0x8000).all()


def test_the_seed_decides():
    model = multiplication("float16")
    first, again, other = (function_vectors(model, seed=seed, exhaustive_bits=24, samples=1000).block(0, 10**6)["a"]
                           for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()


def test_random_bits_have_corners_too():
    assert port_corners(Port(width=12)).tolist() == [0, 1, 1 << 11, (1 << 12) - 1]
    assert port_corners(Port(width=1)).tolist() == [0, 1]
    assert port_corners(Port(width=3, limit=6)).tolist() == [0, 1, 3, 5]


def test_codes_of_more_than_64_bits_are_python_integers():
    port = Port(width=100)
    codes = random_codes(port, np.random.default_rng(1), 50)
    assert codes.dtype == object
    assert max(int(code).bit_length() for code in codes) > 90
    assert all(0 <= int(code) < 1 << 100 for code in codes)
    assert (1 << 100) - 1 in port_corners(port).tolist()


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
    codes = set(corner_codes(FixedPointFormat(width=12)).tolist())
    assert {0, 1, 2, 3, 0x7FF, 0x800, 0x801, 0xFFF, 0x400, 0x3FF, 0xC00} <= codes


@pytest.mark.parametrize("name", ["posit<9,0>", "posit<16,1>", "posit<16,3>"])
def test_corners_of_a_posit_hold_both_ends_of_every_power_of_two(name):
    fmt = parse(name)
    codes = set(corner_codes(fmt).tolist())
    assert {0, fmt.nan_code, fmt.min_code, fmt.max_code, fmt.nan_code + 1, (1 << fmt.width) - 1} <= codes
    for exponent in range(-fmt.max_exponent, fmt.max_exponent):
        power = Fraction(2) ** exponent
        first, end = (fmt.encode(power * factor, rounding=RoundingMode.UP) for factor in (1, 2))
        if fmt.decode(first) == power:
            assert {first, end - 1, (first + end) // 2} <= codes
            assert {(1 << fmt.width) - first, (1 << fmt.width) - (end - 1)} <= codes


@pytest.mark.parametrize("name", ["e4m3", "int8", "uint3", "posit<8,2>"])
def test_corners_of_a_small_format_are_all_its_codes(name):
    assert corner_codes(parse(name)).tolist() == list(range(1 << parse(name).width))
