"""Formats of QONNX nodes, in both directions."""

import pytest

from sw.export.qonnx_nodes import (
    check_expressible,
    float_attributes,
    float_format,
    integer_attributes,
    integer_format,
    overflow_of,
    rounding_of,
)
from sw.formats import CATALOG, FloatingPointFormat, OverflowPolicy, Specials, Subnormals, parse

EXPRESSIBLE = [*(fmt for fmt in (entry.format for entry in CATALOG)
                 if isinstance(fmt, FloatingPointFormat) and fmt.signed and fmt.radix == 2 and fmt.width <= 8
                 and fmt.subnormals is Subnormals.SUPPORTED),
               *(FloatingPointFormat(exponent_bits=e, fraction_bits=m, specials=Specials.NONE)
                 for e in range(1, 7) for m in range(1, 8 - e))]


@pytest.mark.parametrize("fmt", EXPRESSIBLE, ids=lambda fmt: fmt.name)
def test_a_minifloat_comes_back_from_its_node(fmt):
    check_expressible(fmt)
    found = float_format(fmt.exponent_bits, fmt.fraction_bits, fmt.bias, float(fmt.max_finite), float_attributes(fmt))
    assert found.max_finite == fmt.max_finite
    assert found.has_infinity == fmt.has_infinity
    assert (found.nan_code is None) == (fmt.nan_code is None)
    assert {abs(found.decode(code)) for code in range(found.max_code + 1)} == {
        abs(fmt.decode(code)) for code in range(fmt.max_code + 1)}


@pytest.mark.parametrize("name", ["int2", "int8", "uint1", "uint8", "int5:narrow_range=true", "int16"])
def test_an_integer_comes_back_from_its_node(name):
    fmt = parse(name)
    check_expressible(fmt)
    assert integer_format(float(fmt.width), integer_attributes(fmt)) == fmt


def test_special_codes_that_do_not_match_leave_the_format_with_that_maximum():
    """Brevitas' own e4m3 has no NaN, and says so with the maximum of the one that has."""
    assert float_format(4, 3, 7, 448.0, {"has_inf": 0, "has_nan": 0}).max_finite == 448
    assert float_format(4, 3, 7, 480.0, {"has_inf": 1, "has_nan": 1}).specials is Specials.NONE
    assert float_format(4, 3, 7, 1e30, {}).max_finite == 480  # beyond what the fields can hold


@pytest.mark.parametrize(("name", "message"), [
    ("int1", "Format must be of at least 2 bits, as one signed bit means -1 and 1 in QONNX, not 'int1'"),
    ("posit<8,1>", "Format must be an integer, fixed point or a minifloat in QONNX, not 'posit<8,1>'"),
    ("e4m3:subnormals=flushed", "Format must be signed, of radix 2, and with subnormals in QONNX"),
    ("radix4_fp4_even", "Format must be signed, of radix 2, and with subnormals in QONNX"),
    ("float8_e8m0fnu", "Format must be signed, of radix 2, and with subnormals in QONNX"),
])
def test_what_qonnx_has_no_node_for_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        check_expressible(parse(name))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: rounding_of({"rounding_mode": "UP"}), "Rounding mode must be one of ROUND, .*, not 'UP'"),
    (lambda: integer_format(3.5, {}), "Bit width must be an integer between 2 and 32, not 3.5"),
    (lambda: integer_format(1.0, {"signed": 1}), "Bit width must be an integer between 2 and 32, not 1.0"),
    (lambda: integer_format(8.0, {"signed": 0, "narrow": 1}), "Narrow range must be false for an unsigned IntQuant"),
    (lambda: float_format(4.5, 3, 7, 480, {}), "Exponent width must be an integer, not 4.5"),
    (lambda: float_format(4, 3, 7, 300.0, {}), "Largest value must be that of e4m3 with bias 7 under one of the "
                                               "conventions ieee, fn, fnuz, p3109, none, not 300.0"),
    (lambda: overflow_of(parse("e2m1"), {"saturation": 0}), "Overflow policy must be saturate for float4_e2m1fn"),
])
def test_nodes_that_mean_nothing_here_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_node_that_does_not_saturate_overflows():
    assert overflow_of(parse("e4m3"), {"saturation": 0}) is OverflowPolicy.INFINITY
    assert overflow_of(parse("e4m3"), {}) is OverflowPolicy.SATURATE
