"""Posits against SoftPosit, the standard's own formula, and wider posits, whose bits say where a number lies."""

import dataclasses
import math
import random
import re
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.formats import OverflowPolicy, PositFormat, RandomBits, RoundingMode, Special, as_float, parse
from sw.reference import product
from tests.support.number_formats import show
from tests.support.posits import POSITS, SoftPosit, formula
from tests.support.sampling import sampled

IN_SOFTPOSIT = ["posit<8,0>", "posit<16,1>", *(f"posit<{width},2>" for width in range(5, 17))]
P8 = parse("posit<8,1>")


def name_of(fmt):
    return fmt.name


@pytest.mark.parametrize("fmt", POSITS, ids=name_of)
def test_every_code_decodes_by_the_formula_of_the_standard(fmt):
    codes = range(0, 1 << fmt.width, 1 if fmt.width <= 11 else 37)
    wrong = [(code, got, want) for code in codes if (got := fmt.decode(code)) != (want := formula(fmt, code))]
    assert not wrong, show(wrong, len(codes))


@pytest.mark.parametrize("name", IN_SOFTPOSIT)
def test_every_code_decodes_as_in_softposit_and_encodes_back(name):
    fmt = parse(name)
    oracle, codes = SoftPosit(fmt), range(0, 1 << fmt.width, 1 if fmt.width <= 12 else 13)
    wrong = [(code, got, want) for code in codes if (got := fmt.decode(code)) != (want := oracle.decode(code))]
    wrong += [(oracle.decode(code), got, code) for code in codes if (got := fmt.encode(oracle.decode(code))) != code]
    assert not wrong, show(wrong, 2 * len(codes))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_SOFTPOSIT)
def test_every_code_of_the_wide_formats_decodes_as_in_softposit(name):
    fmt = parse(name)
    oracle = SoftPosit(fmt)
    wrong = [(code, got, want) for code in range(1 << fmt.width)
             if (got := fmt.decode(code)) != (want := oracle.decode(code))]
    assert not wrong, show(wrong, 1 << fmt.width)


@pytest.mark.parametrize("name", ["posit<8,0>", "posit<8,2>", "posit<6,2>"])
def test_all_pairs_multiply_and_add_as_in_softposit(name):
    fmt = parse(name)
    oracle, wrong = SoftPosit(fmt), []
    values = [fmt.decode(code) for code in range(1 << fmt.width)]
    encode = {}
    for a, first in enumerate(values):
        for b, second in enumerate(values[:a + 1]):  # SoftPosit is asked for both orders
            exact = {"mul": product(first, second),
                     "add": Special.NAN if Special.NAN in (first, second) else first + second}
            for operation, value in exact.items():
                if value not in encode:
                    encode[value] = fmt.encode(value)
                want = {oracle.operate(operation, a, b), oracle.operate(operation, b, a)}
                if want != {encode[value]}:
                    wrong.append((f"{operation} {a:#x} {b:#x}", encode[value], want))
    assert not wrong, show(wrong, 2 << 2 * fmt.width)


@pytest.mark.parametrize("name", ["posit<16,1>", "posit<16,2>", "posit<12,2>"])
def test_random_pairs_multiply_and_add_as_in_softposit(name):
    fmt = parse(name)
    oracle, rng, wrong = SoftPosit(fmt), random.Random(name), []
    for _ in range(8000):
        a, b = rng.randrange(1 << fmt.width), rng.randrange(1 << fmt.width)
        first, second = fmt.decode(a), fmt.decode(b)
        total = Special.NAN if Special.NAN in (first, second) else first + second
        for operation, value in (("mul", product(first, second)), ("add", total)):
            if (got := fmt.encode(value)) != (want := oracle.operate(operation, a, b)):
                wrong.append((f"{operation} {a:#x} {b:#x}", got, want))
    assert not wrong, show(wrong, 16000)


@pytest.mark.parametrize("name", IN_SOFTPOSIT)
def test_float64_rounds_as_in_softposit(name):
    fmt = parse(name)
    oracle, rng = SoftPosit(fmt), random.Random(name)
    numbers = [rng.choice((1, -1)) * 2 ** rng.uniform(-1.2 * fmt.max_exponent, 1.2 * fmt.max_exponent)
               for _ in range(1000)]
    if fmt.width < 16:
        finer = dataclasses.replace(fmt, width=fmt.width + 1)
        numbers += [float(finer.decode(rng.randrange(1, 1 << fmt.width))) for _ in range(1000)]
    numbers += [0.0, -0.0, math.inf, -math.inf, math.nan]
    wrong = [(number, got, want) for number in numbers
             if (got := fmt.encode(number)) != (want := oracle.encode(number))]
    assert not wrong, show(wrong, len(numbers))


def rounded(string, mode, negative, draw):
    """Round a posit's string with three more bits, and something below them if ``string`` is not an integer."""
    lower, remainder = string // 8, string % 8
    up = {
        RoundingMode.NEAREST_EVEN: remainder > 4 or (remainder == 4 and lower % 2),
        RoundingMode.NEAREST_AWAY: remainder >= 4, RoundingMode.NEAREST_ZERO: remainder > 4,
        RoundingMode.NEAREST_UP: remainder > 4 or (remainder == 4 and not negative),
        RoundingMode.NEAREST_DOWN: remainder > 4 or (remainder == 4 and negative),
        RoundingMode.TOWARD_ZERO: False, RoundingMode.UP: remainder and not negative,
        RoundingMode.DOWN: remainder and negative, RoundingMode.TO_ODD: remainder and lower % 2 == 0,
        RoundingMode.STOCHASTIC: math.floor(remainder / 2) + draw >= 4,
    }[mode]
    return int(lower) + bool(up)


@sampled("mode", RoundingMode, 5)
@pytest.mark.parametrize("fmt", [fmt for fmt in POSITS if fmt.width in (3, 4, 5, 6, 8)], ids=name_of)
def test_every_mode_cuts_the_string_of_a_wider_posit(fmt, mode):
    """The code of a posit three bits wider is the string to be rounded, three bits behind the cut."""
    finer = dataclasses.replace(fmt, width=fmt.width + 3)
    top, wrong, total = (1 << fmt.width - 1) - 1, [], 0
    values = [finer.decode(code) for code in range(1 << finer.width - 1)]
    points = [(code, value) for code, value in enumerate(values)][1:]
    # Between two of them: the eighth of a bit is enough to be neither.
    points += [(low + Fraction(1, 8), values[low] + (values[low + 1] - values[low]) / 64)
               for low in range(len(values) - 1)]
    for string, value in points:
        for negative in (False, True):
            for draw in range(4 if mode is RoundingMode.STOCHASTIC else 1):
                bits = RandomBits(value=draw, count=2) if mode is RoundingMode.STOCHASTIC else None
                want = max(1, min(top, rounded(string, mode, negative, draw)))
                want = (1 << fmt.width) - want if negative else want
                got = fmt.encode(-value if negative else value, rounding=mode, random=bits)
                total += 1
                if got != want:
                    wrong.append(((-value if negative else value, draw), got, want))
    assert not wrong, show(wrong, total)


@pytest.mark.parametrize("fmt", POSITS, ids=name_of)
def test_codes_order_as_integers_and_are_symmetric(fmt):
    values = [fmt.decode(code) for code in range(0, 1 << fmt.width - 1)]
    assert all(low < high for low, high in pairwise(values))
    assert (values[0], values[1], values[-1]) == (0, fmt.smallest_positive, fmt.max_finite)
    assert fmt.max_finite * fmt.smallest_positive == 1
    assert fmt.max_finite == fmt.useed ** (fmt.width - 2) == 2 ** fmt.max_exponent
    assert fmt.min_finite == -fmt.max_finite
    assert fmt.decode(fmt.nan_code) is Special.NAN
    assert fmt.decode(fmt.nan_code + 1) == fmt.min_finite
    assert (fmt.min_code, fmt.max_code, fmt.infinity_code) == (1, fmt.nan_code - 1, None)
    assert (fmt.signed, fmt.has_infinity, fmt.has_negative_zero) == (True, False, False)
    assert all(fmt.decode((1 << fmt.width) - code) == -value for code, value in enumerate(values[1:200], 1))


@pytest.mark.parametrize(("name", "largest", "useed", "significand_bits"), [
    ("posit<8,0>", 64, 2, 6), ("posit<8,1>", 4096, 4, 5), ("posit<8,2>", 2**24, 16, 4), ("posit<16,1>", 2**28, 4, 13),
    ("posit<16,2>", 2**56, 16, 12), ("posit<3,0>", 2, 2, 1), ("posit<16,3>", 2**112, 256, 11),
])
def test_published_ranges(name, largest, useed, significand_bits):
    fmt = parse(name)
    assert (fmt.max_finite, fmt.useed, fmt.significand_bits) == (largest, useed, significand_bits)
    assert fmt.decode(1 << fmt.width - 2) == 1


@pytest.mark.parametrize("fmt", POSITS, ids=name_of)
def test_every_posit_is_read_back_from_its_name_and_from_its_twin(fmt):
    assert parse(fmt.name) == parse(f"posit<{fmt.width}, {fmt.exponent_size}>") == fmt
    assert parse(f"posit{fmt.width}_{fmt.exponent_size}") == fmt
    assert parse(f"posit<16,0>:width={fmt.width},exponent_size={fmt.exponent_size}") == fmt


@pytest.mark.parametrize(("code", "widths"), [
    (0b00000000, (7, 0, 0)), (0b00000001, (7, 0, 0)), (0b00000010, (6, 1, 0)), (0b01000000, (2, 1, 4)),
    (0b01111111, (7, 0, 0)), (0b01111110, (7, 0, 0)), (0b01111100, (6, 1, 0)), (0b10000000, (7, 0, 0)),
    (0b11000000, (2, 1, 4)), (0b10011111, (3, 1, 3)),
])
def test_field_widths(code, widths):
    assert P8.field_widths(code) == widths
    assert sum(widths) == 7


@pytest.mark.parametrize("mode", RoundingMode)
@pytest.mark.parametrize("name", ["posit<3,0>", "posit<8,1>", "posit<16,2>"])
def test_no_number_becomes_zero_or_nar(name, mode):
    fmt = parse(name)
    for draw in (0, 7):
        bits = {"random": RandomBits(value=draw, count=3)}
        for factor in (Fraction(1), Fraction(3, 2), Fraction(100), Fraction(2) ** 5000):
            assert fmt.encode(fmt.max_finite * factor, rounding=mode, **bits) == fmt.max_code
            assert fmt.encode(fmt.min_finite * factor, rounding=mode, **bits) == fmt.nan_code + 1
            assert fmt.encode(fmt.smallest_positive / factor, rounding=mode, **bits) == 1
            assert fmt.encode(-fmt.smallest_positive / factor, rounding=mode, **bits) == (1 << fmt.width) - 1


def test_special_values():
    for value in (Special.NAN, Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY, math.nan, math.inf, -math.inf):
        assert P8.encode(value, rounding=RoundingMode.DOWN) == 0x80
    for value in (0, Fraction(0), 0.0, -0.0, Special.NEGATIVE_ZERO):
        assert P8.encode(value, rounding=RoundingMode.DOWN) == 0
    assert math.isnan(as_float(P8.decode(0x80)))


@given(fmt=st.sampled_from(POSITS), value=st.fractions(max_denominator=2**40).filter(bool),
       shift=st.integers(-200, 200), mode=st.sampled_from(RoundingMode), draw=st.integers(0, 255))
def test_encode_takes_one_of_the_two_neighbours(fmt, value, shift, mode, draw):
    value *= Fraction(2) ** shift
    got = fmt.encode(value, rounding=mode, random=RandomBits(value=draw, count=8))
    below, above = (fmt.encode(value, rounding=direction) for direction in (RoundingMode.DOWN, RoundingMode.UP))
    assert got in (below, above)
    if fmt.min_finite <= value <= fmt.max_finite and abs(value) >= fmt.smallest_positive:
        assert fmt.decode(below) <= value <= fmt.decode(above)
        assert (above - below) % (1 << fmt.width) == (fmt.decode(above) != value or fmt.decode(below) != value)


@given(fmt=st.sampled_from(POSITS), mode=st.sampled_from(RoundingMode), draw=st.integers(0, 15),
       values=st.lists(st.fractions(-70, 70, max_denominator=10**6), min_size=2, max_size=2))
def test_rounding_is_monotone_and_mirrored(fmt, mode, draw, values):
    bits = RandomBits(value=draw, count=4)
    low, high = (fmt.decode(fmt.encode(value, rounding=mode, random=bits)) for value in sorted(values))
    assert low <= high
    for value in values:
        mirrored = fmt.encode(-value, rounding=mode.mirrored, random=bits)
        assert fmt.decode(mirrored) == -fmt.decode(fmt.encode(value, rounding=mode, random=bits))


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"width": 8.0, "exponent_size": 1}, TypeError, "Format width must be an integer, not 8.0"),
    ({"width": 8, "exponent_size": True}, TypeError, "Format exponent_size must be an integer, not True"),
    ({"width": 2, "exponent_size": 0}, ValueError, "Posit width must be between 3 and 16 bits, not 2"),
    ({"width": 17, "exponent_size": 0}, ValueError, "Posit width must be between 3 and 16 bits, not 17"),
    ({"width": 8, "exponent_size": 4}, ValueError, "Posit exponent_size must be between 0 and 3 bits, not 4"),
    ({"width": 8, "exponent_size": -1}, ValueError, "Posit exponent_size must be between 0 and 3 bits, not -1"),
    ({"width": 4, "exponent_size": 2}, ValueError, "Posit exponent_size must be at most 1 for a width of 4 bits, three "
     "of which are the sign and the shortest regime, not 2"),
])
def test_impossible_fields_are_refused(fields, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        PositFormat(**fields)


@pytest.mark.parametrize("policy", [policy for policy in OverflowPolicy if policy is not OverflowPolicy.SATURATE])
def test_other_overflow_policies_are_refused(policy):
    message = ("Overflow policy must be saturate for posit<8,1>, as no finite number rounds to NaR and the range is "
               f"symmetric, not {policy.value!r}")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        P8.encode(1, overflow=policy)
    with pytest.raises(TypeError, match="^Overflow policy must be an OverflowPolicy, not 'saturate'$"):
        P8.check_overflow("saturate")


def test_wrong_arguments():
    for function in (P8.decode, P8.field_widths):
        with pytest.raises(ValueError, match=r"^Code must be between 0 and 255 for posit<8,1>, not 256$"):
            function(256)
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            function(1.0)
    with pytest.raises(TypeError, match="^Rounding mode must be a RoundingMode, not 'down'$"):
        P8.encode(-1, rounding="down")
    with pytest.raises(TypeError, match="^Value must be a Fraction, an int, a float or a Special, not '1'$"):
        P8.encode("1")
    with pytest.raises(ValueError, match="^Random bits must be given for stochastic rounding, not None$"):
        P8.encode(1, rounding=RoundingMode.STOCHASTIC)
