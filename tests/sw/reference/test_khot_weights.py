"""K-hot weights against brute force, and against the published counts."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.khot import KHotMultiplication
from sw.reference.khot_weights import KHotWeights

INT8 = parse("int8")


def _sums(hot, places, signs):
    """Every sum of at most ``hot`` different powers of two, each times one of the signs."""
    return {sum(sign << place for sign, place in zip(chosen, where, strict=True))
            for count in range(hot + 1) for where in combinations(range(places), count)
            for chosen in product(signs, repeat=count)}


@pytest.mark.parametrize(("hot", "count"), [(1, 16), (2, 58), (3, 128), (4, 198)])
def test_counts_of_8_bit_codes(hot, count):
    """papers/qfx.md, derived: sign and magnitude over the range of 8-bit two's complement."""
    assert len(KHotWeights(format=INT8, hot=hot).integers) == count


@pytest.mark.parametrize("hot", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["int8", "uint6", "int5:narrow_range=true", "fixed<6,9>"])
def test_values_are_all_such_sums_in_range(name, hot):
    fmt = parse(name)
    inside = range(fmt.min_integer, fmt.max_integer + 1)
    plain = {sign * value for value in _sums(hot, 9, (1,)) for sign in (1, -1)}
    signed = _sums(hot, 10, (1, -1))
    assert KHotWeights(format=fmt, hot=hot).integers.tolist() == sorted(plain & set(inside))
    assert KHotWeights(format=fmt, hot=hot, signed_digits=True).integers.tolist() == sorted(signed & set(inside))


def test_one_hot_is_signed_powers_of_two():
    values = KHotWeights(format=INT8, hot=1).integers.tolist()
    assert values == sorted([0, -128, *(sign << place for place in range(7) for sign in (1, -1))])


@pytest.mark.parametrize("signed_digits", [False, True])
def test_digits_add_up_and_are_as_few_as_there_can_be(signed_digits):
    weights = KHotWeights(format=INT8, hot=4, signed_digits=signed_digits)
    for integer in weights.integers.tolist():
        digits = weights.digits(integer)
        assert sum((-1) ** negative << shift for shift, negative in digits) == integer
        assert all(shift <= weights.max_shift for shift, _ in digits)
        assert len({shift for shift, _ in digits}) == len(digits)
        if signed_digits:
            assert all(integer not in _sums(fewer, 9, (1, -1)) for fewer in range(len(digits)))
        else:
            assert len({negative for _, negative in digits}) <= 1


@pytest.mark.parametrize("signed_digits", [False, True])
@pytest.mark.parametrize("hot", [1, 2, 3])
@pytest.mark.parametrize("name", ["int6", "fixed<7,5>", "uint5"])
def test_nearest_against_all_distances(name, hot, signed_digits):
    fmt = parse(name)
    weights = KHotWeights(format=fmt, hot=hot, signed_digits=signed_digits)
    rng = np.random.default_rng(hot)
    inputs = np.concatenate([rng.uniform(-80, 80, 200), np.arange(-160, 161) / 2]) * float(fmt.quantum)
    values = weights.integers.tolist()
    for weight, got in zip(inputs.tolist(), weights.nearest(inputs).tolist(), strict=True):
        want = min(values, key=lambda value: (abs(value * fmt.quantum - Fraction(weight)), abs(value)))
        assert got == want, f"{weight}: got {got}, want {want}"


def test_nearest_keeps_the_shape_and_saturates():
    weights = KHotWeights(format=INT8, hot=2)
    assert weights.nearest([[1e300, -np.inf], [np.inf, 0.0]]).tolist() == [[96, -128], [96, 0]]
    assert KHotWeights(format=parse("fixed<8,200>"), hot=2).nearest([1e300, -1e300]).tolist() == [96, -128]


@pytest.mark.parametrize("signed_digits", [False, True])
def test_ports_multiply_by_the_weight(signed_digits):
    weights = KHotWeights(format=INT8, hot=3, signed_digits=signed_digits)
    model = KHotMultiplication(x=INT8, hot=3, max_shift=weights.max_shift)
    integers = weights.integers
    codes = np.random.default_rng(1).integers(0, 256, len(integers)).astype(np.uint64)
    got = model.evaluate({"x": codes, **weights.ports(integers)})["o"]
    want = [model.exact.encode(INT8.decode(int(code)) * int(weight))
            for code, weight in zip(codes, integers, strict=True)]
    assert got.tolist() == want


def test_signed_digits_need_fewer():
    assert KHotWeights(format=INT8, hot=2, signed_digits=True).digits(-7) == [(0, 0), (3, 1)]
    with pytest.raises(ValueError, match="Weight must be a sum of at most 2 powers of two in int8, not 7; "
                                         "take the nearest one"):
        KHotWeights(format=INT8, hot=2).digits(7)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"format": parse("e4m3")}, TypeError, "Weight format must be a FixedPointFormat, not FloatingPointFormat"),
    ({"format": parse("fixed<21,0>")}, ValueError, "Weight format must have at most 20 bits, not 21"),
    ({"hot": 0}, ValueError, "Hot digit count K must be between 1 and 8, the digits of a weight, not 0"),
    ({"hot": 9}, ValueError, "Hot digit count K must be between 1 and 8, the digits of a weight, not 9"),
    ({"hot": 1.0}, TypeError, "Hot digit count K must be an integer, not 1.0"),
    ({"signed_digits": 1}, TypeError, "Signed digits must be True or False, not 1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        KHotWeights(**{"format": INT8, "hot": 2} | parameters)


def test_weights_that_are_no_numbers():
    with pytest.raises(ValueError, match="Weights must be numbers, not nan"):
        KHotWeights(format=INT8, hot=2).nearest([0.0, np.nan])
