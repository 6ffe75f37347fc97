"""Fused multiply-add on codes against float64, numpy, gfloat and exact rationals, and against its own definition."""

import re
from fractions import Fraction

import gfloat
import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference import Addition, FusedMultiplyAdd, Multiplication
from tests.support.functions import SMALL, all_inputs, assert_scalar_agrees, some_inputs
from tests.support.number_formats import gfloat_format
from tests.sw.reference.test_add import assert_values, float64_of

INF = OverflowPolicy.INFINITY


def fused(*formats, **fields):
    """Return the fused multiply-add of formats given by name: a, b, c and the result, or one for all."""
    a, b, c, result = (parse(name) for name in (formats * 4 if len(formats) == 1 else formats))
    return FusedMultiplyAdd(a=a, b=b, c=c, result=result, **fields)


def float64_sums(model, inputs):
    with np.errstate(invalid="ignore"):
        product = float64_of(model.a, inputs["a"]) * float64_of(model.b, inputs["b"])
        return product + float64_of(model.c, inputs["c"])


@pytest.mark.parametrize(("formats", "overflow"), [
    (("e2m1",), OverflowPolicy.SATURATE), (("e2m2",), OverflowPolicy.SATURATE),
    (("p3109_k4p2se", "e2m1", "p3109_k6p3se", "p3109_k6p3se"), INF), (("int4", "e2m1", "e3m2", "e4m3"), INF),
    (("e3m2", "e3m2", "e2m1", "e3m2"), OverflowPolicy.SATURATE),
])
def test_every_triple_rounds_as_the_float64_result_in_gfloat(formats, overflow):
    model = fused(*formats, overflow=overflow)
    inputs = all_inputs(model)
    want = gfloat.round_ndarray(gfloat_format(model.result), float64_sums(model, inputs), gfloat.RoundMode.TiesToEven,
                                sat=overflow is OverflowPolicy.SATURATE)
    assert_values(model.result, inputs, model.evaluate(inputs)["o"], want)


@pytest.mark.parametrize("name", ["float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e3m4", "p3109_k8p4se"])
def test_eight_bit_triples_round_as_the_float64_result_in_gfloat(name):
    """Exact in float64: the products' last places are at most 2**-32, and 60 binades are never between them."""
    model = fused(name, overflow=INF)
    inputs = some_inputs(model, 10_000, 7)
    products = float64_sums(model, inputs)
    want = gfloat.round_ndarray(gfloat_format(model.result), products, gfloat.RoundMode.TiesToEven, sat=False)
    far = np.array([not np.isfinite(number) for number in products])
    assert far.sum() > 10
    if name == "float8_e5m2":  # 2**31 and 2**-34 can meet
        number = [Fraction(x) * Fraction(y) + Fraction(z) if np.isfinite(x * y + z) else None for x, y, z in zip(
            *(float64_of(model.a, codes).tolist() for codes in inputs.values()), strict=True)]
        exact = np.array([n is None or Fraction(p) == n for n, p in zip(number, products.tolist(), strict=True)])
        assert exact.mean() > 0.9
        inputs, want = {port: codes[exact] for port, codes in inputs.items()}, want[exact]
    assert_values(model.result, inputs, model.evaluate(inputs)["o"], want)


def test_float16_results_are_exact_rationals_rounded_by_numpy():
    """float16's products are exact in float64; the sum is where it is not more than 53 bits wide."""
    model = fused("float16", overflow=INF)
    inputs = some_inputs(model, 5_000, 8)
    with np.errstate(all="ignore"):
        x, y, z = (codes.astype(np.uint16).view(np.float16).astype(np.float64) for codes in inputs.values())
        number = x * y + z
        products, want = x * y, number.astype(np.float16).astype(np.float64)
    exact = np.array([not np.isfinite(s) or Fraction(p) + Fraction(c) == Fraction(s)
                      for p, c, s in zip(products.tolist(), z.tolist(), number.tolist(), strict=True)])
    assert exact.sum() > 9_000
    assert_values(model.result, {name: codes[exact] for name, codes in inputs.items()},
                  model.evaluate(inputs)["o"][exact], want[exact])


def test_one_rounding_differs_from_two():
    e4m3 = parse("e4m3")
    model = fused("e4m3")
    a, b, c = (e4m3.encode(value) for value in (Fraction(9, 8), Fraction(9, 8), Fraction(-5, 4)))
    assert e4m3.decode(model(a, b, c)) == Fraction(1, 64)
    rounded = Multiplication(a=e4m3, b=e4m3, result=e4m3)(a, b)
    assert e4m3.decode(Addition(a=e4m3, b=e4m3, result=e4m3)(rounded, c)) == 0


@pytest.mark.parametrize("rounding", RoundingMode)
@pytest.mark.parametrize(("formats", "overflow"), [
    (("e2m1",), OverflowPolicy.SATURATE), (("int3", "int3", "fixed<4,1>", "int3"), OverflowPolicy.WRAP),
    (("posit<4,0>", "posit<3,0>", "posit<4,1>", "posit<4,1>"), OverflowPolicy.SATURATE),
    (("p3109_k4p2se", "radix4_fp4_odd", "e2m1:subnormals=flushed", "p3109_k4p2se"), INF),
])
def test_vectorised_is_the_definition_on_every_triple(formats, overflow, rounding):
    model = fused(*formats, overflow=overflow, rounding=rounding,
                  random_bits=1 if rounding is RoundingMode.STOCHASTIC else 0)
    inputs = all_inputs(model)
    step = 1 if rounding is RoundingMode.NEAREST_EVEN else 5  # odd: meets every code of every operand
    assert_scalar_agrees(model, {name: codes[::step] for name, codes in inputs.items()})


@pytest.mark.parametrize(("formats", "fields"), [
    (("float16",), {}), (("bfloat16",), {"rounding": RoundingMode.TO_ODD}),
    (("bfloat16", "bfloat16", "float16", "fixed<16,8>"), {"overflow": OverflowPolicy.WRAP}),
    (("tf32", "tf32", "tf32", "tf32"), {"rounding": RoundingMode.STOCHASTIC, "random_bits": 9}),
    (("posit<16,1>", "int8", "bfloat16", "posit<16,2>"), {"rounding": RoundingMode.DOWN}),
    (("fixed<40,3>", "int40", "fixed<64,3>", "fixed<64,2>"), {"rounding": RoundingMode.NEAREST_AWAY}),
])
def test_vectorised_is_the_definition_on_wide_formats(formats, fields):
    model = fused(*formats, **fields)
    assert_scalar_agrees(model, some_inputs(model, 150, 9))


def test_every_small_catalog_format_fuses_with_itself_as_the_definition_says():
    for entry in SMALL:
        model = fused(entry.name)
        assert_scalar_agrees(model, some_inputs(model, 10, 10))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3", "float8_e5m2"])
def test_every_eight_bit_triple_in_float64(name):
    """Where float64 is exact, which a float64 remainder tells (Knuth, TAOCP 4.2.2, TwoSum)."""
    model = fused(name, overflow=INF)
    table = float64_of(model.a, np.arange(256))
    for c in range(256):
        index = np.arange(1 << 16)
        inputs = {"a": index & 255, "b": index >> 8, "c": np.full(1 << 16, c)}
        with np.errstate(all="ignore"):
            product, number = table[inputs["a"]] * table[inputs["b"]], table[c]
            total = product + number
            back = total - product
            exact = ((product - (total - back)) + (number - back) == 0) | ~np.isfinite(total)
        want = gfloat.round_ndarray(gfloat_format(model.result), total[exact], gfloat.RoundMode.TiesToEven, sat=False)
        got = model.evaluate(inputs)["o"][exact]
        values = float64_of(model.result, got)
        same = (values == want) & (np.signbit(values) == np.signbit(want)) | np.isnan(values) & np.isnan(want)
        assert same.all(), (c, np.flatnonzero(~same)[:5])
        assert exact.mean() > 0.9


def test_ports_and_codes():
    model = fused("e4m3", "int4", "e3m2", "e5m2", rounding=RoundingMode.STOCHASTIC, random_bits=3)
    assert {name: port.width for name, port in model.inputs.items()} == {"a": 8, "b": 4, "c": 6, "random": 3}
    assert {name: port.format for name, port in model.outputs.items()} == {"o": parse("e5m2")}
    a, b, c, random = (np.full((2, 3), code) for code in (0x41, 3, 9, 5))
    assert model.codes(a, b, c, random).tolist() == [[model(0x41, 3, 9, 5)] * 3] * 2


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, not 'e4m3'; write sw.formats.parse('e4m3')"),
    ({"b": 8}, TypeError, "Format b must be a scalar format, not 8"),
    ({"c": None}, TypeError, "Format c must be a scalar format, not None"),
    ({"result": 1.5}, TypeError, "Result format must be a scalar format, not 1.5"),
    ({"overflow": INF}, ValueError, "has no infinity and no NaN, not 'infinity'"),
    ({"rounding": RoundingMode.STOCHASTIC}, ValueError, "Random bit count must be between 1 and 64"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    int8 = FixedPointFormat(width=8)
    with pytest.raises(error, match=re.escape(message)):
        FusedMultiplyAdd(**{"a": int8, "b": int8, "c": int8, "result": int8, **fields})
