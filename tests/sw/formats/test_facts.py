"""Derived facts against enumeration of every code, gfloat, numpy's finfo, and published numbers."""

import json
import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from sw.formats import (
    CATALOG,
    FixedPointFormat,
    FloatingPointFormat,
    PositFormat,
    Special,
    Subnormals,
    edges,
    facts,
    parse,
    value_row,
    value_table,
)
from tests.support.number_formats import BINARY_FLOATS, gfloat_format

NAMES = [entry.name for entry in CATALOG if entry.format.width <= 10] + [
    "e4m3:subnormals=flushed", "float8_e4m3:signed=false", "int5:narrow_range=true", "ufixed<6,8>", "fixed<6,-3>",
    "e1m2", "e4m0", "p3109_k5p1se", "int1", "uint1", "posit<3,0>", "posit<9,3>"]


def _ratio(text):
    """Read a rational: a ratio, or ``n*2^e`` where the ratio is long."""
    odd, power, exponent = text.partition("*2^")
    return Fraction(odd) * Fraction(2) ** int(exponent or 0) if power else Fraction(text)


def _fraction(value):
    return _ratio(value["exact"])


@pytest.mark.parametrize("name", NAMES)
def test_counts_and_extremes_are_those_of_an_enumeration(name):
    fmt, known = parse(name), facts(parse(name))
    decoded = [fmt.decode(code) for code in range(1 << fmt.width)]
    if getattr(fmt, "narrow_range", False):
        decoded.remove(min(decoded))
    finite = {Fraction(0) if value is Special.NEGATIVE_ZERO else value for value in decoded
              if isinstance(value, Fraction) or value is Special.NEGATIVE_ZERO}
    positive = [value for value in finite if value > 0]
    assert known["finite_values"] == len(finite)
    assert known["nan_codes"] == decoded.count(Special.NAN)
    assert known["infinity_codes"] == decoded.count(Special.POSITIVE_INFINITY) + decoded.count(
        Special.NEGATIVE_INFINITY)
    assert known["has_infinity"] == (Special.POSITIVE_INFINITY in decoded)
    assert known["has_negative_zero"] == (Special.NEGATIVE_ZERO in decoded)
    assert known["has_zero"] == (Fraction(0) in decoded)
    assert known["nan_code"] is None or decoded[known["nan_code"]] is Special.NAN
    assert _fraction(known["max_finite"]) == max(finite)
    assert _fraction(known["min_finite"]) == min(finite)
    assert _fraction(known["smallest_positive"]) == min(positive, default=0)
    if positive:
        binades = math.log2(max(positive) / min(positive))
        assert known["dynamic_range"]["binades"] == pytest.approx(binades, abs=1e-9)
        assert known["dynamic_range"]["decibels"] == pytest.approx(20 * math.log10(max(positive) / min(positive)))
    else:
        assert known["dynamic_range"] == {"binades": None, "decibels": None}
    for field in ("width", "signed", "radix", "fraction_bits", "exponent_size", "significand_bits", "useed"):
        if hasattr(fmt, field):
            assert known[field] == getattr(fmt, field)
    assert known["radix"] == getattr(fmt, "radix", 2)


@pytest.mark.parametrize("name", [name for name, fmt in BINARY_FLOATS.items()
                                  if fmt.subnormals is Subnormals.SUPPORTED])
def test_facts_are_gfloat_s(name):
    known, theirs = facts(parse(name)), gfloat_format(parse(name))
    assert known["nan_codes"] == theirs.num_nans
    assert known["infinity_codes"] == theirs.num_infs
    assert known["significand_bits"] == theirs.precision
    assert known["max_finite"]["float"] == theirs.max
    assert known["min_finite"]["float"] == theirs.min
    assert known["smallest_normal"]["float"] == theirs.smallest_normal
    if known["largest_subnormal"] is not None:
        assert known["smallest_positive"]["float"] == theirs.smallest_subnormal
    assert known["unit_roundoff"]["float"] == theirs.eps / 2


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e3m4", "float6_e3m2fn", "float4_e2m1fn",
                                  "float8_e4m3b11fnuz", "bfloat16", "float16"])
def test_facts_are_those_of_finfo(name):
    known = facts(parse(name))
    theirs = np.finfo(np.float16) if name == "float16" else ml_dtypes.finfo(getattr(ml_dtypes, name))
    assert known["max_finite"]["float"] == float(theirs.max)
    assert known["smallest_normal"]["float"] == float(theirs.smallest_normal)
    assert known["smallest_positive"]["float"] == float(theirs.smallest_subnormal)
    assert known["unit_roundoff"]["float"] == float(theirs.eps) / 2
    assert (known["exponent_bits"], known["fraction_bits"], known["width"]) == (theirs.iexp, theirs.nmant, theirs.bits)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_facts_are_ready_for_json(entry):
    known = facts(entry.format)
    assert json.loads(json.dumps(known, allow_nan=False)) == known
    assert known["name"] == entry.name
    assert known["family"] == {FloatingPointFormat: "floating-point", FixedPointFormat: "fixed-point",
                               PositFormat: "posit"}[type(entry.format)]


@pytest.mark.parametrize(("exponent_size", "quire_bits"), [(0, 26), (1, 50), (2, 98)])
def test_facts_of_a_posit(exponent_size, quire_bits):
    """Carmichael et al. 2019 (Deep Positron): 31, 55 and 103 bits for a sum of 32 products, which takes 5 more."""
    known = facts(parse(f"posit<8,{exponent_size}>"))
    assert (known["quire_bits"], known["quire_bits"] + 5) == (quire_bits, {0: 31, 1: 55, 2: 103}[exponent_size])
    step = parse(f"posit<8,{exponent_size}>").decode(0x41) - 1
    assert _fraction(known["unit_roundoff"]) == step / 2
    largest_product = _fraction(known["max_finite"]) ** 2 / _fraction(known["smallest_positive"]) ** 2
    assert int(largest_product).bit_length() + 1 == quire_bits


def test_facts_of_a_format_beyond_float64():
    known = facts(FloatingPointFormat(exponent_bits=11, fraction_bits=1, bias=-2000))
    assert known["max_finite"]["float"] is None
    assert _fraction(known["max_finite"]) == 3 * Fraction(2) ** 4045
    assert known["max_finite"]["exact"] == "3*2^4045"
    assert facts(parse("e15m0"))["smallest_positive"] == {"exact": "1*2^-16382", "float": 0.0}
    assert known["dynamic_range"]["binades"] == pytest.approx(2046 + math.log2(1.5))
    assert facts(parse("radix4_fp4_odd"))["bias"] == "9/2"
    assert facts(parse("radix4_fp4_odd"))["unit_roundoff"]["exact"] == "3/2"
    assert facts(parse("radix4_fp4_odd"))["largest_subnormal"] is None
    assert facts(FixedPointFormat(width=8, fraction_bits=3))["quantum"] == {"exact": "1/8", "float": 0.125}


@pytest.mark.parametrize("name", [*NAMES, "float16_e6m9"])
def test_the_value_table_has_every_code_with_its_bits_and_value(name):
    fmt = parse(name)
    table = value_table(fmt)
    assert [row.code for row in table] == list(range(1 << fmt.width))
    for row in table:
        assert int(row.bits.replace(" ", ""), 2) == row.code
        assert len(row.bits.replace(" ", "")) == fmt.width
        value = fmt.decode(row.code)
        if isinstance(value, Special):
            assert row.exact == row.decimal == value.value
        else:
            assert _ratio(row.exact) == value
            assert Fraction(row.decimal) == value or abs(Fraction(row.decimal) / value - 1) <= Fraction(1, 10**5)
            assert len(row.decimal) <= 12
    if isinstance(fmt, FloatingPointFormat) and fmt.fraction_bits:
        fields = [int(fmt.signed), fmt.exponent_bits, fmt.fraction_bits]
        assert [len(part) for part in table[0].bits.split()] == [field for field in fields if field]


@pytest.mark.parametrize(("name", "code", "bits", "exact", "decimal"), [
    ("e4m3", 0x7E, "0 1111 110", "448", "448"), ("e4m3", 0x81, "1 0000 001", "-1/512", "-0.00195312"),
    ("e4m3", 0xFF, "1 1111 111", "NaN", "NaN"), ("e5m2", 0xFC, "1 11111 00", "-Inf", "-Inf"),
    ("e5m2", 0x80, "1 00000 00", "-0", "-0"), ("e8m0", 0, "00000000", f"1/{2**127}", "5.87747e-39"),
    ("fixed<8,4>", 0xF8, "1 111 1000", "-1/2", "-0.5"), ("int4", 9, "1 001", "-7", "-7"),
    ("ufixed<4,4>", 3, "0011", "3/16", "0.1875"), ("fixed<4,9>", 8, "1 000", "-1/64", "-0.015625"),
    ("fixed<4,-2>", 7, "0 111", "28", "28"),
    ("posit<8,1>", 0x47, "0 10 0 0111", "23/16", "1.4375"), ("posit<8,1>", 0x7E, "0 1111110", "1024", "1024"),
    ("posit<8,2>", 0x06, "0 00001 10", "1/16384", "6.10352e-5"), ("posit<8,2>", 0x80, "1 0000000", "NaN", "NaN"),
    ("posit<8,0>", 0xFD, "1 111110 1", "-3/64", "-0.046875"),
])
def test_rows_read_as_a_textbook_has_them(name, code, bits, exact, decimal):
    row = value_row(parse(name), code)
    assert (row.bits, row.exact, row.decimal) == (bits, exact, decimal)


@pytest.mark.parametrize(("name", "want"), [
    ("e4m3", {"zero": 0, "negative zero": 0x80, "smallest positive": 1, "largest subnormal": 7, "smallest normal": 8,
              "one": 0x38, "largest": 0x7E, "most negative": 0xFE, "NaN": 0x7F}),
    ("float16", {"zero": 0, "negative zero": 0x8000, "smallest positive": 1, "largest subnormal": 0x3FF,
                 "smallest normal": 0x400, "one": 0x3C00, "largest": 0x7BFF, "most negative": 0xFBFF,
                 "infinity": 0x7C00, "negative infinity": 0xFC00, "NaN": 0x7E00}),
    ("e8m0", {"smallest positive": 0, "smallest normal": 0, "one": 0x7F, "largest": 0xFE, "NaN": 0xFF}),
    ("e4m3:subnormals=flushed", {"zero": 0, "negative zero": 0x80, "smallest positive": 8, "smallest normal": 8,
                                 "one": 0x38, "largest": 0x7E, "most negative": 0xFE, "NaN": 0x7F}),
    ("dlfloat16", {"zero": 0, "negative zero": 0x8000, "smallest positive": 1, "smallest normal": 1, "one": 0x3E00,
                   "largest": 0x7FFE, "most negative": 0xFFFE, "NaN": 0x7FFF}),
    ("int8", {"zero": 0, "smallest positive": 1, "one": 1, "largest": 127, "most negative": 128}),
    ("int8:narrow_range=true", {"zero": 0, "smallest positive": 1, "one": 1, "largest": 127, "most negative": 129}),
    ("ufixed<8,8>", {"zero": 0, "smallest positive": 1, "largest": 255}),
    ("int1", {"zero": 0, "largest": 0, "most negative": 1}),
    ("posit<8,1>", {"zero": 0, "smallest positive": 1, "one": 0x40, "largest": 0x7F, "most negative": 0x81,
                    "NaR": 0x80}),
])
def test_edges(name, want):
    assert {label: row.code for label, row in edges(parse(name)).items()} == want


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_edges_hold_the_facts(entry):
    fmt, rows = entry.format, edges(entry.format)
    assert _ratio(rows["largest"].exact) == fmt.max_finite
    assert _ratio(rows["smallest positive"].exact) == fmt.smallest_positive
    if "one" in rows:
        assert rows["one"].exact == "1"
    if isinstance(fmt, FloatingPointFormat):
        assert _ratio(rows["smallest normal"].exact) == fmt.smallest_normal
        assert ("NaN" in rows) == (fmt.nan_code is not None)


def test_value_table_wrong():
    with pytest.raises(ValueError, match="Format must have at most 16 bits for a table of all its values, not 19, as "
                                         "tf32 has"):
        value_table(parse("tf32"))


def test_value_row_wrong():
    with pytest.raises(ValueError, match="Code must be between 0 and 255"):
        value_row(parse("e4m3"), 256)
