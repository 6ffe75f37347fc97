from fractions import Fraction
from itertools import product as pairs_of

import pytest

from sw.formats import CATALOG, FixedPointFormat, parse
from sw.reference.accumulator_width import (
    Grid,
    deep_positron_width,
    fixed_point_width,
    format_grid,
    integer_width,
    minifloat_width,
    posit_quire_width,
    product_grid,
    quantum_exponent,
    sum_grid,
)

SMALL = [entry.format for entry in CATALOG if entry.format.width <= 8]
SOME = ["float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn", "float8_e4m3fnuz",
        "minifloat_e4m3", "float6_e3m2fn:subnormals=flushed", "dlfloat8", "radix4_fp4_odd", "radix4_fp4_even",
        "float8_e8m0fnu", "int4", "uint5", "fixed<6,9>", "fixed<5,-3>", "int6:narrow_range=true", "int1", "uint1",
        "posit<6,0>", "posit<8,1>", "posit<5,2>", "float8_e4m3fn:signed=false", "p3109_k6p3se"]


def values(fmt):
    """Every finite value that a rounding can give."""
    found = {fmt.decode(code) for code in range(1 << fmt.width)}
    return [value for value in found if isinstance(value, Fraction) and fmt.min_finite <= value <= fmt.max_finite]


def fits(value, exponent, width):
    """Whether a value is an integer in units of 2**exponent that two's complement of the width holds."""
    integer = Fraction(value) / Fraction(2) ** exponent
    return integer.denominator == 1 and -(1 << width - 1) <= integer < 1 << width - 1


@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_quantum_is_the_coarsest_grid_of_a_format(fmt):
    exponent = quantum_exponent(fmt)
    integers = [value / Fraction(2) ** exponent for value in values(fmt)]
    assert all(integer.denominator == 1 for integer in integers)
    # It may be half of what the values need only where a zero takes the place of the one odd number.
    assert any(integer.numerator % 2 for integer in integers) or all(integer == 0 for integer in integers)
    grid = format_grid(fmt)
    assert (grid.min_integer, grid.max_integer) == (min(0, *integers), max(0, *integers))


@pytest.mark.parametrize(("a", "b"), [*((name, name) for name in SOME), ("int4", "float6_e2m3fn"),
                                      ("uint5", "int4"), ("float8_e8m0fnu", "int6:narrow_range=true"),
                                      ("posit<6,0>", "float4_e2m1fn")])
def test_worst_case_passes_at_the_width_and_fails_below(a, b):
    a, b = parse(a), parse(b)
    x, y = ([int(value / Fraction(2) ** quantum_exponent(fmt)) for value in values(fmt)] for fmt in (a, b))
    products = {p * q for p, q in pairs_of(x, y)}
    for terms in (1, 2, 3, 7, 8, 4608):
        grid = sum_grid(a, b, terms=terms)
        assert grid.exponent == quantum_exponent(a) + quantum_exponent(b)
        worst = [terms * max(products), terms * min(products)]
        assert all(fits(value, 0, grid.width) for value in worst)
        assert grid.width == 1 or not all(fits(value, 0, grid.width - 1) for value in worst)


@pytest.mark.parametrize("c", ["int8", "fixed<8,30>", "float8_e4m3fn", "uint4", "fixed<8,-20>"])
def test_preload_joins_the_worst_case(c):
    a, c = parse("float6_e3m2fn"), parse(c)
    grid = sum_grid(a, a, terms=5, c=c)
    top, bottom = 5 * 28 * 28 + c.max_finite, -5 * 28 * 28 + c.min_finite
    assert fits(top, grid.exponent, grid.width)
    assert fits(bottom, grid.exponent, grid.width)
    assert not (fits(top, grid.exponent, grid.width - 1) and fits(bottom, grid.exponent, grid.width - 1))
    assert fits(c.smallest_positive, grid.exponent, grid.width)


@pytest.mark.parametrize(("width", "exponent_size", "published"), [
    (8, 0, 31), (8, 1, 55), (8, 2, 103), (5, 0, 19), (5, 1, 31), (5, 2, 55)])
def test_posit_rule_is_the_published_table_and_exact(width, exponent_size, published):
    fmt = parse(f"posit<{width},{exponent_size}>")
    assert posit_quire_width(width, exponent_size, 32) == published
    assert sum_grid(fmt, fmt, terms=32).width == published
    assert deep_positron_width(fmt.max_finite, fmt.smallest_positive, 32) == published
    for terms in range(1, 70):
        assert 0 <= posit_quire_width(width, exponent_size, terms) - sum_grid(fmt, fmt, terms=terms).width <= 1


# arXiv 2311.12359, table of accumulator widths at n = 4608, the longest dot product of ResNet-18.
MINIFLOATS = {"e2m1": 22, "e2m2": 24, "e2m3": 26, "e2m4": 28, "e2m5": 30, "e3m1": 30, "e3m2": 32, "e3m3": 34,
              "e3m4": 36, "e4m1": 46, "e4m2": 48, "e4m3": 50, "e5m1": 78, "e5m2": 80}


@pytest.mark.parametrize("name", MINIFLOATS)
def test_minifloat_rule_is_the_published_table_and_exact_for_powers_of_two(name):
    exponent_bits, fraction_bits = int(name[1]), int(name[3])
    fmt = parse(f"minifloat_{name}")

    def rule(terms):
        return minifloat_width((exponent_bits, exponent_bits), (fraction_bits, fraction_bits), terms)

    assert rule(4608) == MINIFLOATS[name]
    # The true worst case needs one bit less where the fraction is short.
    assert sum_grid(fmt, fmt, terms=4608).width == MINIFLOATS[name] - (fraction_bits <= 3)
    for power in range(13):
        assert sum_grid(fmt, fmt, terms=1 << power).width == rule(1 << power)


def test_integer_rule_is_two_to_three_bits_loose():
    # The same source: the rule, and what narrow-range integers need.
    assert [integer_width(bits, bits, 4608) for bits in range(3, 9)] == [20, 22, 24, 26, 28, 30]
    needed = [sum_grid(fmt, fmt, terms=4608).width
              for fmt in (FixedPointFormat(width=bits, narrow_range=True) for bits in range(3, 9))]
    assert needed == [17, 19, 21, 24, 26, 28]
    full = [sum_grid(fmt, fmt, terms=4608).width for fmt in (FixedPointFormat(width=bits) for bits in range(3, 9))]
    assert full == [18, 20, 22, 24, 26, 28]


@pytest.mark.parametrize("width", range(2, 12))
def test_fixed_rule_is_exact_for_powers_of_two(width):
    fmt = FixedPointFormat(width=width, fraction_bits=4)
    for terms in range(1, 40):
        loose = fixed_point_width(width, terms) - sum_grid(fmt, fmt, terms=terms).width
        assert loose in ((0,) if terms & terms - 1 == 0 else (0, 1))


def test_general_rule_covers_every_float_by_at_most_three_bits():
    for name in ("float8_e4m3", "float8_e5m2", "float6_e3m2fn", "float8_e4m3fn", "minifloat_e2m5"):
        fmt = parse(name)
        loose = {deep_positron_width(fmt.max_finite, fmt.smallest_positive, terms)
                 - sum_grid(fmt, fmt, terms=terms).width for terms in (1, 2, 16, 100)}
        assert loose <= {0, 1, 2, 3}


def test_grid_arithmetic():
    halves, quarters = (Grid(exponent=-1, min_integer=-3, max_integer=4), Grid(exponent=-2, min_integer=0,
                                                                               max_integer=3))
    assert halves.refined(-2) == Grid(exponent=-2, min_integer=-6, max_integer=8)
    assert halves.refined(0) == halves
    assert halves.plus(quarters) == quarters.plus(halves) == Grid(exponent=-2, min_integer=-6, max_integer=11)
    assert halves.times(3) == Grid(exponent=-1, min_integer=-9, max_integer=12)
    assert [Grid(exponent=0, min_integer=low, max_integer=high).width
            for low, high in ((0, 0), (0, 1), (-1, 0), (-2, 1), (-3, 1), (-4, 3), (0, 127), (-129, 0))] == [
                1, 2, 1, 2, 3, 3, 8, 9]
    assert halves.by(quarters) == quarters.by(halves) == Grid(exponent=-3, min_integer=-9, max_integer=12)
    assert product_grid(parse("int4"), parse("uint4")) == Grid(exponent=0, min_integer=-120, max_integer=105)


def test_the_code_that_a_narrow_range_leaves_out_is_counted_if_asked_for():
    narrow = parse("int4:narrow_range=true")
    assert format_grid(narrow) == Grid(exponent=0, min_integer=-7, max_integer=7)
    assert format_grid(narrow, every_code=True) == format_grid(parse("int4")) == Grid(exponent=0, min_integer=-8,
                                                                                       max_integer=7)
    assert product_grid(narrow, narrow, every_code=True) == product_grid(parse("int4"), parse("int4"))
    assert format_grid(parse("e2m1"), every_code=True) == format_grid(parse("e2m1"))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: sum_grid(parse("int4"), parse("int4"), terms=0), ValueError,
     "Term count must be at least 1 product, not 0"),
    (lambda: sum_grid(parse("int4"), parse("int4"), terms=2.0), TypeError, r"Term count must be an integer, not 2\.0"),
    (lambda: posit_quire_width(8, 0, 0), ValueError, "Term count must be at least 1 product, not 0"),
    (lambda: deep_positron_width(Fraction(1), Fraction(0), 4), ValueError,
     r"Largest value must be at least the smallest, both positive, not Fraction\(1, 1\) and Fraction\(0, 1\)"),
    (lambda: sum_grid(parse("float16:exponent_bits=15"), parse("int4"), terms=1), ValueError,
     "Exact sum must take at most 4096 bits, not 32780; take formats of fewer exponent bits"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
