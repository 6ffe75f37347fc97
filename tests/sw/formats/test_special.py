"""Values that are not rational numbers, and conversions without rounding."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.formats import Special, as_float, exact_value, is_negative, is_zero


@given(st.floats())
def test_floats_survive_the_round_trip_bit_for_bit(number):
    back = as_float(exact_value(number))
    assert (math.isnan(back) and math.isnan(number)) or (
        back == number and math.copysign(1, back) == math.copysign(1, number))


@given(st.integers() | st.fractions())
def test_rationals_are_taken_as_they_are(number):
    value = exact_value(number)
    assert isinstance(value, Fraction)
    assert value == number


@pytest.mark.parametrize("special", Special)
def test_specials_are_taken_as_they_are(special):
    assert exact_value(special) is special


@pytest.mark.parametrize(("value", "negative", "zero", "infinite"), [
    (Fraction(-1, 3), True, False, False), (Fraction(0), False, True, False), (Fraction(2), False, False, False),
    (Special.NAN, False, False, False), (Special.NEGATIVE_ZERO, True, True, False),
    (Special.POSITIVE_INFINITY, False, False, True), (Special.NEGATIVE_INFINITY, True, False, True),
])
def test_signs_zeros_and_infinities(value, negative, zero, infinite):
    assert is_negative(value) is negative
    assert is_zero(value) is zero
    assert (isinstance(value, Special) and value.is_infinity) is infinite


def test_a_numpy_double_is_a_float():
    assert exact_value(np.float64(0.1)) == Fraction(0.1)


@pytest.mark.parametrize("wrong", ["1", None, 1j, np.float32(1), [1]])
def test_exact_value_wrong(wrong):
    with pytest.raises(TypeError, match="Value must be a Fraction, an int, a float or a Special, not "):
        exact_value(wrong)


def test_as_float_rounds_to_nearest_and_refuses_what_is_too_large():
    assert as_float(Fraction(1, 3)) == 1 / 3
    assert as_float(Fraction(1, 10**400)) == 0
    with pytest.raises(OverflowError, match="too large for a float"):
        as_float(Fraction(2) ** 1024)
