"""Sums that are steered: which they are, that lanes come to them, and what is found by them alone."""

import dataclasses
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from sw.formats import Special, parse, parse_block
from sw.reference import Multiplication
from sw.reference.block import BlockDot
from sw.reference.dot import Dot
from sw.reference.multiply import product
from synth.verify import function_vectors
from synth.verify.sums import Products, product_integers, steered_lanes, turning_sums


def dot(fmt, lanes, result=None):
    return Dot(a=parse(fmt), b=parse(fmt), result=None if result is None else parse(result), lanes=lanes)


def totals(model, operands):
    """Return the exact sums, in units of the sum's last place."""
    lanes = [product_integers(model.a, model.b, operands["a"][:, lane], operands["b"][:, lane], model.sum_exponent)
             for lane in range(model.lanes)]
    return sum(lanes).tolist()


@pytest.mark.parametrize("name", ["e2m1", "int4", "posit<6,1>", "e3m2"])
def test_the_nearest_product_is_the_nearest(name):
    fmt = parse(name)
    products, generator = Products(fmt, fmt), np.random.default_rng(1)
    values = [fmt.decode(code) for code in range(1 << fmt.width)]
    unit = Fraction(2) ** products.exponent
    numbers = [value for value in values if isinstance(value, Fraction)]
    every = {0} | {int(x * y / unit) for x in numbers for y in numbers}
    wanted = np.array([*range(-40, 41), 10**6, -10**6], dtype=object)
    a, b, value = products.nearest(wanted, generator)
    for goal, one, second, got in zip(wanted.tolist(), a.tolist(), b.tolist(), value.tolist(), strict=True):
        assert abs(goal - got) == min(abs(goal - other) for other in every), goal
        assert product(values[one], values[second]) in (got * unit, Special.NEGATIVE_ZERO if got == 0 else None)
    pairs = {(one, other) for one, other in zip(*products.nearest(np.zeros(500, dtype=object), generator)[:2],
                                                strict=True)}
    assert len(pairs) > 10, "any of the pairs of equal product"


def test_wide_formats_have_products_of_their_corners():
    fmt = parse("int32")
    products = Products(fmt, fmt)
    a, b, value = products.nearest(np.array([10**30, -10**30, 1], dtype=object), np.random.default_rng(1))
    assert value.tolist() == [1 << 62, -(1 << 31) * ((1 << 31) - 1), 1]
    assert [fmt.decode(int(one)) * fmt.decode(int(other)) for one, other in zip(a, b, strict=True)] == value.tolist()


def test_turning_sums_are_sparse_ones_and_turns_of_the_rounding():
    width, exponent, fmt = 16, -6, parse("e2m1")
    sums = turning_sums(width, exponent, fmt, np.random.default_rng(1), 20000).tolist()
    assert min(sums) >= -(1 << 15)
    assert max(sums) < 1 << 15
    found = set(sums)
    for bit in range(15):
        assert {1 << bit, ~(1 << bit), (1 << 15) - 1 - (1 << bit), -(1 << 15) + (1 << bit)} <= found, bit
    values = sorted({fmt.decode(code) for code in range(16) if isinstance(fmt.decode(code), Fraction)})
    for low, high in pairwise(values):
        middle = (low + high) / 2 * 64
        assert {int(middle) - 1, int(middle), int(middle) + 1, int(low * 64)} <= found, (low, high)
    wide = turning_sums(100, -40, None, np.random.default_rng(1), 500)
    assert {type(total) for total in wide.tolist()} == {int}
    assert max(wide).bit_length() == 99
    assert min(wide) >= -(1 << 99)


def test_any_digits_next_to_each_other_come_above_chance_and_above_zeros():
    width = 40
    sums = turning_sums(width, 0, None, np.random.default_rng(1), 1 << 16).tolist()
    for sign, fill in ((0, 0), (0, 1), (1, 0), (1, 1)):
        patterns = set()
        for total in sums:
            digits = format(total % (1 << width), f"0{width}b")
            if digits[:21] == str(sign) + str(fill) * 20:
                patterns.add(digits[21:25])
        assert len(patterns) == 16, (sign, fill, patterns)


def test_blocks_are_steered_with_their_scales():
    block = parse_block("mxfp4")
    model = BlockDot(a=block, b=block)
    operands = steered_lanes(model, np.random.default_rng(1), 4000)
    assert {name: codes.shape for name, codes in operands.items()} == {
        name: (4000, port.lanes) if port.lanes else (4000,) for name, port in model.inputs.items()}
    element, unit = block.element, -2
    total = sum(product_integers(element, element, operands["a"][:, lane], operands["b"][:, lane], unit)
                for lane in range(model.a.block_size))
    assert max(total.tolist()) == -min(total.tolist()) == 32 * 36 * 4, "all lanes at their largest"
    assert {1 << bit for bit in range(12)} <= set(np.abs(total).tolist())
    fields = model.evaluate(operands)["o"] >> np.uint64(23) & np.uint64(255)
    assert (fields == 0).mean() > 0.1, "subnormal results"
    assert (fields >= 254).mean() > 0.05, "results at the largest one"
    assert 0.02 < (operands["a_scale"] == 255).mean() < 0.2


@pytest.mark.parametrize(("fmt", "lanes", "result"), [
    ("e4m3", 4, "e4m3"), ("e2m1", 8, "e2m1"), ("int4", 4, None), ("posit<8,1>", 2, "posit<8,1>"), ("e5m2", 4, None),
    ("int4", 20, "int8")])
def test_lanes_come_to_the_sums_where_the_rounding_turns(fmt, lanes, result):
    model = dot(fmt, lanes, result)
    operands = steered_lanes(model, np.random.default_rng(1), 2000)
    again = steered_lanes(model, np.random.default_rng(1), 2000)
    assert all(np.array_equal(operands[name], again[name]) for name in operands)
    wanted = turning_sums(model.sum_grid.width, model.sum_exponent, model.result, np.random.default_rng(1), 2000)
    reached = np.array(totals(model, operands)) == wanted
    assert reached.mean() > 0.1, reached.mean()
    zero = np.stack([product_integers(model.a, model.b, operands["a"][:, lane], operands["b"][:, lane],
                                      model.sum_exponent) == 0 for lane in range(lanes)], axis=1)
    used = lanes - zero.sum(axis=1)
    assert {1, 2} <= set(used[reached].tolist()), "sums of one lane, and of two"
    assert used[reached].max() >= min(lanes, 4), "and of many"
    assert len(set(np.argmin(zero[used == 1], axis=1).tolist())) == lanes, "each lane on its own"


def test_only_dot_products_that_are_not_too_wide_are_steered():
    generator = np.random.default_rng(1)
    fmt = parse("e4m3")
    assert steered_lanes(Multiplication(a=fmt, b=fmt, result=fmt), generator, 10) is None
    assert steered_lanes(dot("float16_e8m7", 2, "e4m3"), generator, 10) is not None
    wide = dataclasses.replace(dot("e4m3", 2, "e4m3"), a=parse("float32"), b=parse("float32"), lanes=2)
    assert (steered_lanes(wide, generator, 10) is None) == (wide.sum_grid.width > 960)


def test_a_dot_product_has_steered_vectors_beside_the_others():
    model = dot("e4m3", 4, "e4m3")
    vectors = function_vectors(model, seed=1, exhaustive_bits=24, samples=3000)
    assert vectors.parts["steered"] == 3000
    assert vectors.count == sum(vectors.parts.values())
    assert list(vectors.parts)[-1] == "random"


def part(vectors, name):
    start = 0
    for kind, count in vectors.parts.items():
        if kind == name:
            return vectors.block(start, start + count)
        start += count
    raise AssertionError(name)


def test_a_fault_at_the_far_end_of_the_sum_is_found_by_steered_lanes_alone():
    """One that acts where the highest digit of the sum is set: four products of the most negative code."""
    model = dot("int8", 4)
    vectors = function_vectors(model, seed=1, exhaustive_bits=24, samples=1 << 15)
    found = [kind for kind in vectors.parts if (1 << 16) in totals(model, part(vectors, kind))]
    assert found == ["steered"]


def test_a_fault_of_small_ties_is_found_by_steered_lanes_alone():
    """Halfway between the two lowest codes of the result, the other way for a sum of several large terms."""
    model = dot("e4m3", 4, "e4m3")
    tie = 1 << (-10 - model.sum_exponent)
    vectors = function_vectors(model, seed=1, exhaustive_bits=24, samples=1 << 15)

    def finds(kind):
        operands = part(vectors, kind)
        first = product_integers(model.a, model.b, operands["a"][:, 0], operands["b"][:, 0], model.sum_exponent)
        return any(total == tie and abs(term) > 1024 * tie
                   for total, term in zip(totals(model, operands), first.tolist(), strict=True))

    assert {kind: finds(kind) for kind in ("corners", "random", "steered")} == {
        "corners": False, "random": False, "steered": True}
