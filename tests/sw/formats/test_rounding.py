"""Properties of every rounding, and of encode in every floating-point format."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sw.formats import (
    FloatingPointFormat,
    OverflowPolicy,
    RandomBits,
    RoundingMode,
    Special,
    Specials,
    Subnormals,
    parse,
    rounds_up,
)
from sw.formats.rounding import ratio_rounds_up
from tests.support.number_formats import FLOATS

DETERMINISTIC = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]
SMALL = {name: fmt for name, fmt in FLOATS.items() if fmt.width <= 9}

# Between which two values, and how far: 0 is the lower one, 1 the upper one. One row a mode: fractions below, at and
# above the middle, for a lower neighbour with an even and an odd code; on a positive value. "U" takes the upper one.
TRUTH = {
    RoundingMode.NEAREST_EVEN: ("..U", ".UU"), RoundingMode.NEAREST_AWAY: (".UU", ".UU"),
    RoundingMode.NEAREST_UP: (".UU", ".UU"), RoundingMode.NEAREST_DOWN: ("..U", "..U"),
    RoundingMode.NEAREST_ZERO: ("..U", "..U"), RoundingMode.TOWARD_ZERO: ("...", "..."),
    RoundingMode.UP: ("UUU", "UUU"), RoundingMode.DOWN: ("...", "..."), RoundingMode.TO_ODD: ("UUU", "..."),
}
TRUTH_NEGATIVE = {
    **TRUTH, RoundingMode.NEAREST_AWAY: ("..U", "..U"), RoundingMode.NEAREST_ZERO: (".UU", ".UU"),
    RoundingMode.TOWARD_ZERO: ("UUU", "UUU"),
}


@pytest.mark.parametrize("mode", DETERMINISTIC)
def test_each_mode_decides_as_its_definition_says(mode):
    fractions = (Fraction(1, 3), Fraction(1, 2), Fraction(2, 3))
    for negative, truth in ((False, TRUTH), (True, TRUTH_NEGATIVE)):
        for odd in (False, True):
            got = "".join("U" if rounds_up(mode, part, odd=odd, negative=negative) else "." for part in fractions)
            assert got == truth[mode][odd], (mode, negative, odd)
            assert not rounds_up(mode, Fraction(0), odd=odd, negative=negative)


@given(mode=st.sampled_from(RoundingMode), remainder=st.integers(0, 10**6), gap=st.integers(1, 10**6),
       scale=st.integers(1, 1000), odd=st.booleans(), negative=st.booleans(), bits=st.integers(0, 15))
def test_an_unreduced_ratio_decides_as_the_fraction(mode, remainder, gap, scale, odd, negative, bits):
    assume(remainder < gap)
    random = RandomBits(value=bits, count=4)
    assert (ratio_rounds_up(mode, remainder * scale, gap * scale, odd=odd, negative=negative, random=random)
            == rounds_up(mode, Fraction(remainder, gap), odd=odd, negative=negative, random=random))


@given(fraction=st.fractions(0, 1), count=st.integers(1, 9))
def test_stochastic_probability_is_the_fraction_cut_to_the_random_bits(fraction, count):
    assume(fraction < 1)
    ups = sum(rounds_up(RoundingMode.STOCHASTIC, fraction, odd=False, random=RandomBits(value=bits, count=count))
              for bits in range(1 << count))
    assert ups == fraction * 2**count // 1


def test_nearest_modes_are_the_five():
    assert {mode.name for mode in RoundingMode if mode.is_nearest} == {
        "NEAREST_EVEN", "NEAREST_AWAY", "NEAREST_UP", "NEAREST_DOWN", "NEAREST_ZERO"}


def test_mirroring_twice_changes_nothing():
    assert all(mode.mirrored.mirrored is mode for mode in RoundingMode)
    assert {mode for mode in RoundingMode if mode.mirrored is not mode} == {
        RoundingMode.UP, RoundingMode.DOWN, RoundingMode.NEAREST_UP, RoundingMode.NEAREST_DOWN}


def _ordered(fmt):
    """Rational values of a format in rising order, zero included where there is one."""
    return sorted({Fraction(0) if value is Special.NEGATIVE_ZERO else value
                   for code in range(1 << fmt.width)
                   if isinstance(value := fmt.decode(code), Fraction) or value is Special.NEGATIVE_ZERO})


ORDERED = {name: _ordered(fmt) for name, fmt in SMALL.items()}


@st.composite
def _cases(draw, names=tuple(SMALL)):
    """A format and a rational near its values, between them, at midpoints, beyond its ends."""
    name = draw(st.sampled_from(names))
    values = ORDERED[name]
    low = draw(st.integers(0, len(values) - 1))
    high = values[low + 1] if low + 1 < len(values) else values[low] * 2
    part = draw(st.one_of(st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1, 2**30)]), st.fractions(0, 2)))
    value = values[low] + (high - values[low]) * part
    return name, value if SMALL[name].signed or value >= 0 else -value


def _encoded(fmt, value, mode=RoundingMode.NEAREST_EVEN, **more):
    got = fmt.decode(fmt.encode(value, rounding=mode, **more))
    return Fraction(0) if got is Special.NEGATIVE_ZERO else got


def _underflows(fmt, value):
    """Formats without subnormals turn what lies below their smallest number to zero in every mode."""
    return fmt.subnormals is not Subnormals.SUPPORTED and abs(value) < fmt.smallest_positive


@settings(max_examples=400)
@given(case=_cases(), mode=st.sampled_from(RoundingMode), bits=st.integers(0, 15))
def test_encode_takes_one_of_the_two_neighbours(case, mode, bits):
    name, value = case
    fmt, values = SMALL[name], ORDERED[name]
    got = _encoded(fmt, value, mode, random=RandomBits(value=bits, count=4))
    below = [x for x in values if x <= value]
    above = [x for x in values if x >= value]
    assert got in (*below[-1:], *above[:1]), (name, value, mode, got)


@settings(max_examples=400)
@given(case=_cases(), other=st.fractions(-1, 1), mode=st.sampled_from(DETERMINISTIC))
def test_encode_is_monotone(case, other, mode):
    name, value = case
    fmt = SMALL[name]
    second = value * (1 + other / 8)
    assume(fmt.signed or second >= 0)
    low, high = sorted((value, second))
    assert _encoded(fmt, low, mode) <= _encoded(fmt, high, mode), (name, low, high, mode)


@settings(max_examples=400)
@given(case=_cases())
def test_directed_modes_bracket_and_nearest_is_one_of_them(case):
    name, value = case
    fmt = SMALL[name]
    assume(not _underflows(fmt, value))
    down, up, zero = (_encoded(fmt, value, mode)
                      for mode in (RoundingMode.DOWN, RoundingMode.UP, RoundingMode.TOWARD_ZERO))
    if fmt.min_finite <= value <= fmt.max_finite:
        assert down <= value <= up, (name, value)
    assert zero == (down if value > 0 else up)
    for mode in DETERMINISTIC:
        got = _encoded(fmt, value, mode)
        assert got in (down, up), (name, value, mode)
        if mode.is_nearest and fmt.radix == 2 and fmt.min_finite <= value <= fmt.max_finite:
            assert abs(got - value) == min(value - down, up - value), (name, value, mode)


@settings(max_examples=300)
@given(case=_cases(tuple(name for name, fmt in SMALL.items() if fmt.signed)), mode=st.sampled_from(RoundingMode),
       bits=st.integers(0, 15))
def test_a_mirrored_mode_does_to_minus_x_what_the_mode_does_to_x(case, mode, bits):
    name, value = case
    fmt, random = SMALL[name], RandomBits(value=bits, count=4)
    assert (_encoded(fmt, -value, mode.mirrored, random=random) == -_encoded(fmt, value, mode, random=random)), name


@settings(max_examples=100)
@given(case=_cases(), count=st.integers(1, 7))
def test_stochastic_encoding_has_exactly_the_probability_of_its_fraction(case, count):
    name, value = case
    fmt = SMALL[name]
    assume(not _underflows(fmt, value) and abs(value) <= fmt.max_finite)
    magnitude = abs(value)
    low = max(x for x in ORDERED[name] if x <= magnitude)
    high = min((x for x in ORDERED[name] if x > magnitude), default=None)
    gone = sum(abs(_encoded(fmt, value, RoundingMode.STOCHASTIC, random=RandomBits(value=bits, count=count))) != low
               for bits in range(1 << count))
    want = 0 if high is None else (magnitude - low) / (high - low) * 2**count // 1
    assert gone == want, (name, value)


TARGETS = [name for name, fmt in SMALL.items()
           if fmt.radix == 2 and fmt.signed and fmt.subnormals is Subnormals.SUPPORTED]


@settings(max_examples=400)
@given(case=_cases(tuple(TARGETS)), mode=st.sampled_from([m for m in RoundingMode if m.is_nearest]),
       extra=st.integers(2, 6))
def test_to_odd_with_two_more_bits_then_nearest_rounds_once(case, mode, extra):
    """Boldo and Melquiond 2008: rounding to odd with two more bits makes the second rounding innocuous."""
    name, value = case
    fmt = SMALL[name]
    # The same exponents and one binade more, so that overflow is left to the second rounding.
    finer = FloatingPointFormat(exponent_bits=fmt.exponent_bits + 1, fraction_bits=fmt.fraction_bits + extra,
                                bias=fmt.bias, specials=Specials.NONE)
    once = fmt.encode(value, rounding=mode)
    twice = fmt.encode(finer.decode(finer.encode(value, rounding=RoundingMode.TO_ODD)), rounding=mode)
    assert once == twice, (name, value, mode)


def test_nearest_twice_does_round_twice():
    """Why to-odd is there: the same two steps with nearest-even go wrong."""
    fmt, finer = parse("e4m3"), parse("float16")
    value = 1 + Fraction(1, 2**4) + Fraction(1, 2**20)
    assert fmt.decode(fmt.encode(value)) == Fraction(9, 8)
    assert fmt.decode(fmt.encode(finer.decode(finer.encode(value)))) == 1
    assert fmt.decode(fmt.encode(finer.decode(finer.encode(value, rounding=RoundingMode.TO_ODD)))) == Fraction(9, 8)


@given(value=st.fractions(max_denominator=10**9), mode=st.sampled_from(DETERMINISTIC))
def test_saturating_and_infinity_differ_only_beyond_the_largest_value(value, mode):
    fmt = parse("float8_e5m2")
    saturated, unbounded = (fmt.decode(fmt.encode(value, rounding=mode, overflow=policy))
                            for policy in (OverflowPolicy.SATURATE, OverflowPolicy.INFINITY))
    if isinstance(unbounded, Special) and unbounded.is_infinity:
        assert saturated in (fmt.max_finite, fmt.min_finite)
        assert abs(value) > fmt.max_finite
    else:
        assert saturated == unbounded


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"value": 0, "count": 0}, ValueError, "Random bit count must be at least 1, not 0"),
    ({"value": 16, "count": 4}, ValueError, "Random bits must be between 0 and 15, not 16"),
    ({"value": -1, "count": 4}, ValueError, "Random bits must be between 0 and 15, not -1"),
    ({"value": 1.0, "count": 4}, TypeError, "Random bits must be an integer, not 1.0"),
    ({"value": 1, "count": "4"}, TypeError, "Random bit count must be an integer, not '4'"),
])
def test_random_bits_wrong(fields, error, message):
    with pytest.raises(error, match=message):
        RandomBits(**fields)


def test_rounds_up_wrong():
    with pytest.raises(ValueError, match="Random bits must be given for stochastic rounding, not None"):
        rounds_up(RoundingMode.STOCHASTIC, Fraction(1, 2), odd=False)
    for fraction in (Fraction(0), Fraction(1, 2)):
        with pytest.raises(TypeError, match="Rounding mode must be a RoundingMode, not 'nearest-even'"):
            rounds_up("nearest-even", fraction, odd=False)
