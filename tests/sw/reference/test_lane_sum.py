"""Exact sums over lanes: the arrays against the definition on rationals, at every width of the arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from sw.formats import Special
from sw.reference.lane_sum import lane_total, sum_lanes
from sw.reference.value_array import from_values

NAN, PLUS, MINUS, NEGATIVE_ZERO = (Special.NAN, Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY,
                                   Special.NEGATIVE_ZERO)


@pytest.mark.parametrize(("values", "want"), [
    ([], Fraction(0)), ([Fraction(1), Fraction(-1)], Fraction(0)), ([NEGATIVE_ZERO, NEGATIVE_ZERO], Fraction(0)),
    ([Fraction(3), NEGATIVE_ZERO, Fraction(1, 4)], Fraction(13, 4)), ([PLUS, Fraction(1), PLUS], PLUS),
    ([MINUS, Fraction(1)], MINUS), ([PLUS, MINUS], NAN), ([NAN, PLUS], NAN), ([NAN, Fraction(1)], NAN),
])
def test_special_values_and_zeros(values, want):
    assert lane_total(values) == want
    if values:
        got = sum_lanes(from_values(values), len(values))
        assert len(got) == 1
        assert got.value(0) == want
        assert got.value(0) is not NEGATIVE_ZERO


@pytest.mark.parametrize(("significand_bits", "spread", "lanes"), [
    (4, 10, 1), (4, 10, 32), (8, 45, 16),  # a word holds the sum
    (8, 64, 32), (30, 1, 64), (30, 300, 8), (1, 61, 5), (12, 119, 3),  # limbs do
    (31, 100, 4), (58, 0, 33), (58, 200, 7),  # Python integers do
])
def test_sums_are_exact(significand_bits, spread, lanes):
    rng = np.random.default_rng(significand_bits * 1000 + spread)
    vectors = 60
    significands = rng.integers(0, 1 << significand_bits, vectors * lanes)
    significands[: lanes * 2] = (1 << significand_bits) - 1  # the largest sum there is
    exponents = rng.integers(0, spread + 1, vectors * lanes) - spread // 2
    exponents[: lanes * 2] = spread - spread // 2
    signs = rng.choice([-1, 1], vectors * lanes)
    signs[:lanes], signs[lanes:2 * lanes] = 1, -1
    values = [int(sign * significand) * Fraction(2) ** int(exponent)
              for sign, significand, exponent in zip(signs, significands, exponents, strict=True)]
    got = sum_lanes(from_values(values), lanes)
    for vector in range(vectors):
        terms = values[vector * lanes:(vector + 1) * lanes]
        assert got.value(vector) == lane_total(terms) == sum(terms), (vector, terms)


def test_values_wider_than_a_word_are_summed_exactly():
    values = [Fraction((1 << 80) + 1), Fraction(-(1 << 80)), Fraction(3, 1 << 90), NEGATIVE_ZERO]
    got = sum_lanes(from_values(values), 2)
    assert [got.value(0), got.value(1)] == [1, Fraction(3, 1 << 90)]


def test_special_values_are_told_apart_vector_by_vector():
    rows = [[PLUS, Fraction(1)], [Fraction(2), MINUS], [PLUS, MINUS], [NAN, Fraction(1)], [Fraction(5), Fraction(-7)],
            [Fraction(1), Fraction(-1)]]
    got = sum_lanes(from_values([value for row in rows for value in row]), 2)
    assert [got.value(index) for index in range(len(rows))] == [lane_total(row) for row in rows]


def test_no_vectors_have_no_sums():
    assert len(sum_lanes(from_values([]), 4)) == 0
