"""The tensor code against ``encode`` and ``decode``: every format, mode, policy and tensor type."""

import numpy as np
import pytest
import torch

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.quantize import fake_quantize, from_codes, to_codes
from sw.quantize.plan import code_dtype, fits, plan_of
from sw.reference import Multiplication
from tests.support.sampling import sampled
from tests.sw.quantize.oracle import (
    FORMATS,
    KINDS,
    WIDE_FORMATS,
    assert_same,
    corners,
    decode_each,
    deterministic_modes,
    encode_all,
    encode_each,
    policies,
    same_values,
)

ALL_FORMATS = FORMATS | WIDE_FORMATS
HALVES = [torch.float16, torch.bfloat16]


def every_input(dtype):
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)


def result_types(fmt, *wanted):
    return [dtype for dtype in wanted if fits(plan_of(fmt), dtype)]


def check(x, fmt, want, **modes):
    """Compare the codes, and the values in every type that holds them, with a tensor of codes."""
    what = f"{fmt.name}, {x.dtype}, " + ", ".join(str(mode) for mode in modes.values() if not torch.is_tensor(mode))
    got = to_codes(x, fmt, **modes)
    assert got.dtype == code_dtype(fmt)
    assert_same(x, got, want, got == want, what)
    values = decode_each(want.tolist(), fmt)
    for dtype in result_types(fmt, x.dtype, torch.float32, torch.float64):
        got = fake_quantize(x, fmt, dtype=dtype, **modes)
        assert got.dtype == dtype
        assert_same(x, got, values, same_values(got, values), f"{what} to {dtype}")


@pytest.mark.parametrize(("name", "dtype"), [
    # By default, a quarter of the pairs.
    pytest.param(name, dtype, marks=[] if (index + place) % 4 == 1 else [pytest.mark.slow], id=f"{name}-{dtype}")
    for index, name in enumerate(FORMATS) for place, dtype in enumerate(HALVES)])
def test_every_16_bit_input_rounds_as_encode_says(name, dtype):
    x, fmt = every_input(dtype), FORMATS[name]
    values = x.to(torch.float64).numpy()
    policies_ = [policy for policy in policies(fmt) if policy in (OverflowPolicy.SATURATE, OverflowPolicy.INFINITY)]
    for overflow in policies_ if fmt.width <= 8 else policies_[:1]:
        check(x, fmt, torch.from_numpy(encode_all(values, fmt, overflow=overflow)), overflow=overflow)


@pytest.mark.slow
@pytest.mark.parametrize("rounding", deterministic_modes(), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", FORMATS)
def test_every_16_bit_input_rounds_as_encode_says_in_every_mode(name, rounding):
    fmt = FORMATS[name]
    for dtype in HALVES:
        x = every_input(dtype)
        for overflow in policies(fmt):
            if overflow in (OverflowPolicy.SATURATE, OverflowPolicy.SATURATE_SYMMETRIC, OverflowPolicy.INFINITY):
                want = encode_all(x.to(torch.float64).numpy(), fmt, rounding=rounding, overflow=overflow)
                check(x, fmt, torch.from_numpy(want), rounding=rounding, overflow=overflow)


def test_bisection_of_the_oracle_agrees_with_each_call():
    x = every_input(torch.float16)[::7].to(torch.float64)
    for fmt in (parse("e4m3"), parse("e8m0"), parse("fixed<8,4>")):
        assert encode_all(x.numpy(), fmt).tolist() == encode_each(x.tolist(), fmt)


@pytest.mark.parametrize("overflow", [OverflowPolicy.WRAP, OverflowPolicy.WRAP_SIGN_MAGNITUDE,
                                      OverflowPolicy.SATURATE_ZERO], ids=lambda policy: policy.value)
@pytest.mark.parametrize("name", ["int8", "fixed<8,12>", "fixed<6,-3>"])
def test_every_float16_input_overflows_as_encode_says(name, overflow):
    x, fmt = every_input(torch.float16)[::1 if overflow is OverflowPolicy.WRAP else 5], FORMATS[name]
    for rounding in (RoundingMode.NEAREST_EVEN, RoundingMode.TOWARD_ZERO):
        want = torch.tensor(encode_each(x.tolist(), fmt, rounding=rounding, overflow=overflow))
        check(x, fmt, want, rounding=rounding, overflow=overflow)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@sampled("name", ALL_FORMATS, 25)
def test_corner_inputs_round_as_encode_says(name, dtype):
    fmt = ALL_FORMATS[name]
    if dtype in HALVES and name not in KINDS:
        return  # every one of their inputs is tried above
    rng = np.random.default_rng([list(ALL_FORMATS).index(name), dtype.itemsize])
    for overflow in policies(fmt):
        for rounding in deterministic_modes():
            x = corners(fmt, dtype, rng, 60 if rounding is RoundingMode.NEAREST_EVEN else 25)
            want = torch.tensor(encode_each(x.tolist(), fmt, rounding=rounding, overflow=overflow))
            check(x, fmt, want, rounding=rounding, overflow=overflow)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@sampled("name", ALL_FORMATS, 17)
def test_explicit_random_bits_round_as_encode_says(name, dtype):
    fmt = ALL_FORMATS[name]
    rng = np.random.default_rng([list(ALL_FORMATS).index(name), dtype.itemsize])
    for random_bits in (1, 2, 3, 8, 23, 24, 51, 52, 53, 54, 62):
        for overflow in policies(fmt):
            x = corners(fmt, dtype, rng, 20)
            random = rng.integers(0, 1 << random_bits, len(x))
            random[::5], random[1::5] = (1 << random_bits) - 1, 0
            want = encode_each(x.tolist(), fmt, rounding=RoundingMode.STOCHASTIC, overflow=overflow,
                               random=random.tolist(), random_bits=random_bits)
            check(x, fmt, torch.tensor(want), rounding=RoundingMode.STOCHASTIC, overflow=overflow,
                  random=torch.from_numpy(random), random_bits=random_bits)


@pytest.mark.parametrize("random_bits", [1, 4, 9, 40])
@pytest.mark.parametrize("name", ["float4_e2m1fn", "int4", "radix4_fp4_even"])
def test_every_random_number_at_the_edge_of_rounding_up(name, random_bits):
    """The one random number at which each input turns: rounding must turn exactly there."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(random_bits)
    x = torch.from_numpy(rng.uniform(-2, 2, 40) * np.exp2(rng.integers(-3, 2, 40)))
    for value in x.tolist():
        def up(random, value=value):
            code, = encode_each([value], fmt, rounding=RoundingMode.STOCHASTIC, random=[random],
                                random_bits=random_bits)
            return code
        low, high = 0, (1 << random_bits) - 1
        if up(low) == up(high):
            edges = [low, high]
        else:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if up(middle) == up(0) else (low, middle)
            edges = [low, high]
        want = torch.tensor([up(edge) for edge in edges])
        check(torch.tensor([value, value], dtype=torch.float64), fmt, want, rounding=RoundingMode.STOCHASTIC,
              random=torch.tensor(edges), random_bits=random_bits)


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_codes_decode_as_decode_says(name):
    fmt = ALL_FORMATS[name]
    if fmt.width <= 12:
        codes = torch.arange(1 << fmt.width)
    else:
        rng = np.random.default_rng(5)
        top = 1 << (fmt.width - 1)
        edges = [0, 1, 2, top - 2, top - 1, top, top + 1, 2 * top - 2, 2 * top - 1]
        codes = torch.tensor(edges + rng.integers(0, 2 * top, 3000).tolist())
    want = decode_each(codes.tolist(), fmt)
    for dtype in result_types(fmt, *HALVES, torch.float32, torch.float64):
        got = from_codes(codes, fmt, dtype)
        assert got.dtype == dtype
        assert_same(codes, got, want, same_values(got, want), f"{name} to {dtype}")
    narrow = codes.to(code_dtype(fmt))
    assert_same(narrow, from_codes(narrow, fmt, torch.float64), want,
                same_values(from_codes(narrow, fmt, torch.float64), want), name)


@pytest.mark.parametrize("name", KINDS)
def test_values_of_the_format_stay_what_they_are(name):
    fmt = KINDS[name]
    codes = torch.arange(1 << fmt.width) if fmt.width <= 16 else torch.arange(0, 1 << fmt.width, 12347)
    values = from_codes(codes, fmt, torch.float64)
    reachable = values[torch.isfinite(values) & (values >= float(fmt.min_finite))]
    for rounding in deterministic_modes():
        got = fake_quantize(reachable, fmt, rounding=rounding)
        want = reachable if fmt.has_negative_zero else reachable + 0.0
        assert_same(reachable, got, want, same_values(got, want), f"{name} {rounding}")


def test_float64_is_rounded_once():
    x = torch.tensor([1 + 2**-4 + 2**-40], dtype=torch.float64)
    assert fake_quantize(x, parse("e4m3")).item() == 1.125
    assert fake_quantize(x.float(), parse("e4m3")).item() == 1.0
    half = torch.tensor([1 + 2**-11 + 2**-50], dtype=torch.float64)
    assert fake_quantize(half, parse("float16")).item() == 1 + 2**-10


@pytest.mark.parametrize(("a", "b", "result"), [
    ("e4m3", "e4m3", "e4m3"), ("e5m2", "e4m3", "e3m2"), ("int8", "e4m3", "float16"), ("int8", "int8", "fixed<8,-4>"),
    ("radix4_fp4_odd", "e4m3", "radix4_fp4_even"), ("fixed<8,4>", "uint8", "tf32"),
])
@pytest.mark.parametrize("rounding", [RoundingMode.NEAREST_EVEN, RoundingMode.TO_ODD, RoundingMode.STOCHASTIC],
                         ids=lambda mode: mode.value)
def test_products_in_float64_round_as_the_reference_does(a, b, result, rounding):
    a, b, result = parse(a), parse(b), parse(result)
    rng = np.random.default_rng(11)
    codes_a, codes_b = rng.integers(0, 1 << a.width, 3000), rng.integers(0, 1 << b.width, 3000)
    random = rng.integers(0, 1 << 9, 3000) if rounding is RoundingMode.STOCHASTIC else None
    bits = 9 if random is not None else None
    product = (from_codes(torch.from_numpy(codes_a), a, torch.float64)
               * from_codes(torch.from_numpy(codes_b), b, torch.float64))
    want = torch.from_numpy(Multiplication(a=a, b=b, result=result, rounding=rounding, random_bits=bits or 0).codes(
        codes_a, codes_b, random).astype(np.int64))
    got = to_codes(product, result, rounding=rounding, random_bits=bits,
                   random=None if random is None else torch.from_numpy(random))
    assert_same(product, got, want, got == want, f"{a.name} x {b.name} -> {result.name}")


def test_nan_becomes_zero_where_the_format_has_none_unless_it_is_to_stay():
    x = torch.tensor([1.0, torch.nan, -torch.nan, torch.inf])
    for name in ("int8", "e3m2", "radix4_fp4_even", "fixed<8,4>"):
        fmt = parse(name)
        for rounding in (RoundingMode.NEAREST_EVEN, RoundingMode.UP):
            kept = fake_quantize(x, fmt, rounding=rounding, propagate_nan=True)
            assert kept.isnan().tolist() == [False, True, True, False]
            gone = fake_quantize(x, fmt, rounding=rounding)
            assert gone[1:3].tolist() == [0, 0]
            assert torch.equal(gone[[0, 3]], kept[[0, 3]])


def test_code_types_by_width():
    names = {"e4m3": torch.uint8, "int9": torch.int16, "int15": torch.int16, "float16": torch.int32,
             "tf32": torch.int32}
    assert {name: code_dtype(parse(name)) for name in names} == names
    assert code_dtype(WIDE_FORMATS["int32"]) == torch.int64
    assert to_codes(torch.tensor([-1.0]), parse("int16")).tolist() == [0xFFFF]
