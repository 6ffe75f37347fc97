"""Packed products: exact lanes, the least spacing, and how many products a lane holds."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.reference.packing import Packing

INT8_PAIR = {"packed_width": 8, "shared_width": 8, "spacing": 18}


def published_lanes(total):
    """Lanes as the papers have them, without a bias: the lower 18 bits signed, and the rest less what they borrowed."""
    low = (total & 0x3FFFF) - (total >> 17 & 1) * 0x40000
    return low, (total >> 18) + (total >> 17 & 1)


def assert_products_exact(a1, a0, w):
    packing = Packing(**INT8_PAIR)
    product = (a1 * 2**18 + a0) * w
    for lanes in (packing.unpack(product + packing.packed_bias), published_lanes(product)):
        np.testing.assert_array_equal(lanes[0], a0 * w)
        np.testing.assert_array_equal(lanes[1], a1 * w)


def all_triples(a1):
    """Every (a0, w) of int8 beside each of some a1."""
    int8 = np.arange(-128, 128)
    return (grid.ravel() for grid in np.meshgrid(a1, int8, int8, indexing="ij"))


def test_products_of_int8_are_exact_beside_extreme_neighbours():
    assert_products_exact(*all_triples(np.array([-128, -127, -1, 0, 1, 127])))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(16))
def test_all_products_of_int8_are_exact(part):
    """All 2**24 triples, in sixteen parts."""
    assert_products_exact(*all_triples(np.arange(part * 16, part * 16 + 16) - 128))


@pytest.mark.parametrize("symmetric", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("packed", "shared", "lanes"), [(2, 2, 4), (2, 3, 3), (3, 2, 3), (4, 4, 2), (2, 4, 3)])
def test_all_products_are_exact_at_the_least_spacing(packed, shared, lanes, symmetric):
    packing = Packing(packed_width=packed, shared_width=shared, lanes=lanes, packed_symmetric=symmetric[0],
                      shared_symmetric=symmetric[1])
    a = range(-2**(packed - 1) + symmetric[0], 2**(packed - 1))
    b = range(-2**(shared - 1) + symmetric[1], 2**(shared - 1))
    factors = []
    for operands in itertools.product(a, repeat=lanes):
        factors.append(packing.pack(operands))
        for shared_operand in b:
            total = packing.pack(operands) * shared_operand + packing.packed_bias
            assert 0 <= total < 1 << packing.result_width
            want = tuple(operand * shared_operand for operand in operands)
            assert packing.unpack(total) == want, (operands, shared_operand)
    assert packing.operand_width == 1 + max(max(factors).bit_length(), (-1 - min(factors)).bit_length())


@pytest.mark.parametrize("terms", [1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize(("packed", "shared"), list(itertools.product((2, 4, 5, 8, 12), (2, 3, 8, 18))))
def test_the_default_spacing_is_the_least(packed, shared, terms):
    packing = Packing(packed_width=packed, shared_width=shared, terms=terms)
    sums = packing.highest - packing.lowest + 1  # so many different sums
    assert 2**(packing.spacing - 1) < sums <= 2**packing.spacing
    assert packing.max_terms >= terms
    with pytest.raises(ValueError, match=f"Spacing must be at least {packing.spacing} bits"):
        Packing(packed_width=packed, shared_width=shared, terms=terms, spacing=packing.spacing - 1)


# The overflow law: how many products of int8 a lane of 18 bits holds.

INT8 = st.one_of(st.sampled_from((-128, -127, 127)), st.integers(-128, 127))
NARROW = st.one_of(st.sampled_from((-127, 127)), st.integers(-127, 127))


def packed_sum(packing, triples):
    return sum(packing.pack((a0, a1)) * w for a0, a1, w in triples)


def true_sums(triples):
    return sum(a0 * w for a0, _, w in triples), sum(a1 * w for _, a1, w in triples)


@given(st.lists(st.tuples(INT8, INT8, INT8), min_size=1, max_size=7))
def test_seven_products_are_safe_in_signed_lanes(triples):
    assert published_lanes(packed_sum(Packing(**INT8_PAIR), triples)) == true_sums(triples)


@given(st.one_of(st.lists(st.tuples(NARROW, NARROW, INT8), min_size=8, max_size=8),
                 st.lists(st.tuples(INT8, INT8, NARROW), min_size=8, max_size=8)))
def test_eight_products_are_safe_in_signed_lanes_with_a_narrow_operand(triples):
    assert published_lanes(packed_sum(Packing(**INT8_PAIR), triples)) == true_sums(triples)


@given(st.lists(st.tuples(INT8, INT8, INT8), min_size=1, max_size=8))
def test_eight_products_of_any_operands_are_safe_in_lanes_with_a_bias(triples):
    packing = Packing(**INT8_PAIR, terms=8)
    assert packing.unpack(packed_sum(packing, triples) + packing.packed_bias) == true_sums(triples)


@pytest.mark.parametrize(("lowest_a", "lowest_w", "terms", "failing"), [
    (-128, -128, 7, 0), (-128, -128, 8, 1), (-127, -128, 8, 0), (-128, -127, 8, 0), (-127, -128, 9, None)])
def test_sums_of_extremes_show_where_signed_lanes_overflow(lowest_a, lowest_w, terms, failing):
    """Every sum lies between sums of extreme products: where all of these are right, all sums are."""
    packing = Packing(**INT8_PAIR)
    extremes = list(itertools.product((lowest_a, 127), (lowest_w, 127)))
    wrong = []
    for chosen in itertools.combinations_with_replacement(extremes, terms):
        triples = [(a, 0, w) for a, w in chosen]
        if published_lanes(packed_sum(packing, triples)) != true_sums(triples):
            wrong.append(chosen)
    assert len(wrong) == failing if failing is not None else wrong
    for chosen in wrong:
        assert sum(a * w for a, w in chosen) not in range(-2**17, 2**17)
    if failing == 1:  # the vector that was found: eight times the most negative code by itself
        assert set(wrong[0]) == {(-128, -128)}


def test_the_law_of_int8_in_18_bits():
    plain, narrow = Packing(**INT8_PAIR), Packing(**INT8_PAIR, packed_symmetric=True)
    assert (plain.max_signed_terms, plain.max_terms) == (7, 8)
    assert (narrow.max_signed_terms, narrow.max_terms) == (8, 8)
    assert (plain.bias, Packing(**INT8_PAIR, terms=8).bias) == (2**17, 8 * 128 * 127)
    assert (plain.operand_width, plain.result_width) == (27, 36)


@pytest.mark.parametrize(("packed", "shared"), list(itertools.product((2, 3, 8), (2, 5, 8))))
@pytest.mark.parametrize("extra", [0, 1, 3])
def test_the_most_terms_are_what_the_extremes_allow(packed, shared, extra):
    least = Packing(packed_width=packed, shared_width=shared)
    packing = Packing(packed_width=packed, shared_width=shared, spacing=least.spacing + extra)
    low, high = packing.product_range
    size = 1 << packing.spacing
    assert packing.max_terms * (high - low) < size <= (packing.max_terms + 1) * (high - low)
    signed = packing.max_signed_terms
    assert signed * high < size // 2
    assert -signed * low <= size // 2
    assert (signed + 1) * high >= size // 2 or -(signed + 1) * low > size // 2


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"packed_width": 8.0}, TypeError, "Packed width must be an integer, not 8.0"),
    ({"packed_width": 1}, ValueError, "Packed width must be between 2 and 32 bits, not 1"),
    ({"shared_width": 33}, ValueError, "Shared width must be between 2 and 32 bits, not 33"),
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 8, not 0"),
    ({"lanes": 9}, ValueError, "Lanes must be between 1 and 8, not 9"),
    ({"terms": 0}, ValueError, "Terms must be between 1 and 65536, not 0"),
    ({"terms": None}, TypeError, "Terms must be an integer, not None"),
    ({"spacing": "18"}, TypeError, "Spacing must be an integer, not '18'"),
    ({"spacing": -1}, ValueError, "Spacing must be between 1 and 128 bits, or 0 for the least, not -1"),
    ({"spacing": 129}, ValueError, "Spacing must be between 1 and 128 bits, or 0 for the least, not 129"),
    ({"spacing": 18, "terms": 9}, ValueError, "Spacing must be at least 19 bits for 9 products of 8 x 8 bits, not 18; "
                                              "at most 8 products may be summed in that"),
    ({"packed_symmetric": 1}, TypeError, "Packed symmetry must be True or False, not 1"),
    ({"shared_symmetric": None}, TypeError, "Shared symmetry must be True or False, not None"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Packing(**{"packed_width": 8, "shared_width": 8, **fields})


@pytest.mark.parametrize(("operands", "error", "message"), [
    ((1,), ValueError, "Operands must be 2 integers between -127 and 127, not (1,)"),
    ((1, -128), ValueError, "Operands must be 2 integers between -127 and 127, not (1, -128)"),
    ((1, 2.0), TypeError, "Operand must be an integer, not 2.0"),
])
def test_pack_wrong(operands, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Packing(packed_width=8, shared_width=8, packed_symmetric=True).pack(operands)
