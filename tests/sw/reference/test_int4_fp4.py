"""INT4 by FP4 dot products against float64 sums, and the FP4 rounding against the paper's rule."""

from fractions import Fraction

import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference.int4_fp4 import FP4_EVEN, FP4_ODD, INT4, Int4Fp4Dot
from tests.support.lanes import all_inputs, assert_definition_agrees, random_inputs

FP4_VALUES = np.array([0, *(4.0 ** (field - 4) for field in range(1, 8))])
"""Sun et al. 2020: exponent 0 is zero, 1 to 7 are 4**(e - 4)."""


def _sums(inputs):
    """Exact in float64: at most 24 bits."""
    weights = inputs["a"].astype(np.int64) - (inputs["a"].astype(np.int64) >> 3 << 4)
    gradients = FP4_VALUES[inputs["b"] & 7] * np.where(inputs["b"] >> 3 == 1, -1, 1)
    return (weights * gradients).sum(axis=1) / np.where(inputs["odd"] == 1, 2, 1)


@pytest.mark.parametrize("result", ["dlfloat16", "float16_e6m9"])
def test_every_input_of_two_lanes(result):
    model = Int4Fp4Dot(lanes=2, result=parse(result))
    inputs = all_inputs(model)
    sums, fmt = _sums(inputs), parse(result)
    distinct, where = np.unique(sums, return_inverse=True)
    want = np.array([fmt.encode(value + 0.0) for value in distinct.tolist()])[where]
    assert (model.evaluate(inputs)["o"] == want).all()


@pytest.mark.parametrize("parameters", [
    {}, {"lanes": 1, "rounding": RoundingMode.DOWN}, {"lanes": 7, "result": parse("e4m3")},
    {"lanes": 3, "result": parse("fixed<12,3>"), "rounding": RoundingMode.STOCHASTIC, "random_bits": 5},
    {"lanes": 4, "result": parse("posit<8,1>")}, {"lanes": 4, "result": INT4, "overflow": OverflowPolicy.WRAP}])
def test_arrays_agree_with_the_definition(parameters):
    model = Int4Fp4Dot(**parameters)
    assert_definition_agrees(model, random_inputs(model, 500, seed=1))


def test_odd_phase_is_half_of_the_even_one():
    """papers/fp4_training.md, target 5: the even datapath's result with its exponent less one, bit for bit."""
    model = Int4Fp4Dot()
    inputs = random_inputs(model, 5000, seed=2)
    even, odd = (model.evaluate(inputs | {"odd": np.full(5000, phase, np.uint64)})["o"] for phase in (0, 1))
    assert (odd == np.where(even & 0x7FFF, even - (1 << 9), even)).all()


def test_extreme_sums_fit_the_sum_format():
    """A term has 17 bits, the sum of four lanes 19 (papers/fp4_training.md, Hardware)."""
    fmt = Int4Fp4Dot().sum_format
    largest = 4 * INT4.min_finite * -FP4_EVEN.max_finite
    assert (fmt.width, fmt.quantum) == (19, Fraction(1, 64))
    assert fmt.min_finite <= -largest
    assert largest <= fmt.max_finite
    assert FixedPointFormat(width=18, fraction_bits=6).max_finite < largest
    assert Int4Fp4Dot(lanes=1).sum_format.width == 17


@pytest.mark.parametrize(("value", "even", "odd"), [
    (.0097, 0, .0078125), (.0391, .0625, .03125), (2.51, 4, 2), (10.1, 16, 8), (40, 64, 32), (41, 64, 32),
    (1e9, 64, 32)])
def test_gradients_are_rounded_as_the_paper_shows(value, even, odd):
    """papers/fp4_training.md, target 1."""
    for fmt, want in ((FP4_EVEN, even), (FP4_ODD, odd)):
        for sign in (1, -1):
            code = fmt.encode(sign * value, rounding=RoundingMode.NEAREST_AWAY)
            assert abs(float(fmt.decode(code)) if want else 0.0) == want
            assert code >> 3 == (sign < 0)


def test_gradients_turn_over_at_five_eighths_of_a_level():
    """The quantizer's rule, floor(log4(1.6 |x|)): a tie, 0.625 * 4**n, goes up, as it is compared exactly."""
    tiny = Fraction(1, 1 << 40)
    for fmt, scale in ((FP4_EVEN, Fraction(1)), (FP4_ODD, Fraction(1, 2))):
        for exponent in range(-3, 4):
            level = scale * Fraction(4) ** exponent
            tie = level * Fraction(5, 8)
            below = level / 4 if exponent > -3 else Fraction(0)
            rounded = [fmt.decode(fmt.encode(x, rounding=RoundingMode.NEAREST_AWAY))
                       for x in (tie - tiny, tie, tie + tiny)]
            assert rounded == [below, level, level]
            # The circuit's form of the same comparison: |x| >= 1.25 * 2**(2 n - 1).
            assert tie == scale * Fraction(5, 4) * Fraction(2) ** (2 * exponent - 1)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 4096, not 0"),
    ({"lanes": 4097}, ValueError, "Lanes must be between 1 and 4096, not 4097"),
    ({"lanes": 4.0}, TypeError, "Lanes must be an integer, not 4.0"),
    ({"result": "dlfloat16"}, TypeError, "Result format must be a scalar format, not 'dlfloat16'"),
    ({"random_bits": 1}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Int4Fp4Dot(**parameters)


def test_wrong_vectors():
    with pytest.raises(ValueError, match="Vector b must have 4 codes, not 3"):
        Int4Fp4Dot()([1, 2, 3, 4], [1, 2, 3], 0)
