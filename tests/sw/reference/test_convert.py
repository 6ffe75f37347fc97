"""Conversion of codes against ml_dtypes and numpy, and against its own definition."""

import re

import ml_dtypes
import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Conversion
from tests.support.functions import SMALL, all_inputs, assert_scalar_agrees, in_all_modes, some_inputs
from tests.sw.reference.test_add import assert_values


def conversion(a, result, **fields):
    """Return the conversion between two formats given by name."""
    return Conversion(a=parse(a), result=parse(result), **fields)


@pytest.mark.parametrize("a", ["float16", "bfloat16"])
@pytest.mark.parametrize("result", ["float8_e5m2", "float8_e4m3fn", "float8_e4m3", "float8_e3m4", "float8_e4m3fnuz",
                                    "float8_e5m2fnuz", "float8_e4m3b11fnuz", "float6_e3m2fn", "float6_e2m3fn"])
def test_every_sixteen_bit_code_converts_as_in_ml_dtypes(a, result):
    fmt = parse(result)
    convert = conversion(a, result, overflow=OverflowPolicy.INFINITY if fmt.nan_code is not None
                         else OverflowPolicy.SATURATE)
    inputs = all_inputs(convert)
    with np.errstate(all="ignore"):
        source = inputs["a"].astype(np.uint16).view(np.float16 if a == "float16" else ml_dtypes.bfloat16)
        wide = source.astype(np.float32)
        want = wide.astype(getattr(ml_dtypes, result)).astype(np.float64)
    usable = np.full(len(want), True) if fmt.nan_code is not None else ~np.isnan(wide)
    assert_values(fmt, {"a": inputs["a"][usable]}, convert.evaluate(inputs)["o"][usable], want[usable])


@pytest.mark.parametrize(("a", "result"), [
    ("e4m3", "e5m2"), ("e5m2", "e2m1"), ("e4m3", "int4"), ("int8", "e3m2"), ("fixed<8,4>", "ufixed<5,1>"),
    ("posit<8,1>", "e4m3"), ("e4m3", "posit<6,1>"), ("radix4_fp4_even", "e8m0"), ("e3m2", "radix4_fp4_odd"),
    ("dlfloat8", "p3109_k6p3se"),
])
def test_vectorised_is_the_definition_in_every_mode(a, result):
    for convert in in_all_modes(lambda a, result, **fields: Conversion(a=a, result=result, **fields),
                                parse(a), parse(result)):
        assert_scalar_agrees(convert, all_inputs(convert))


def test_every_small_catalog_format_converts_as_the_definition_says():
    for entry in SMALL:
        for other in ("e4m3", "fixed<8,4>"):
            for pair in ((entry.name, other), (other, entry.name)):
                convert = conversion(*pair)
                assert_scalar_agrees(convert, some_inputs(convert, 8, 11))


def test_a_format_with_more_values_keeps_every_one():
    there, back = conversion("e4m3", "float16"), conversion("float16", "e4m3")
    codes = np.arange(256)
    assert back.codes(there.codes(codes)).tolist() == [0x7F if code == 0xFF else code for code in range(256)]


def test_ports_and_codes():
    convert = conversion("e4m3", "int4", rounding=RoundingMode.STOCHASTIC, random_bits=3)
    assert {name: port.width for name, port in convert.inputs.items()} == {"a": 8, "random": 3}
    assert {name: port.format for name, port in convert.outputs.items()} == {"o": parse("int4")}
    assert convert.codes(np.array([[0x3A, 0x41]]), np.array([[7, 0]])).tolist() == [
        [convert(0x3A, 7), convert(0x41, 0)]]


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, not 'e4m3'; write sw.formats.parse('e4m3')"),
    ({"result": 8}, TypeError, "Result format must be a scalar format, not 8"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    ({"random_bits": 1.5}, TypeError, "Random bit count must be an integer, not 1.5"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Conversion(**{"a": parse("e4m3"), "result": parse("e4m3"), **fields})
