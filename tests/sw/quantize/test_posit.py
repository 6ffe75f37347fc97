"""Quantization to posits: encode and decode themselves, element by element."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from sw.formats import OverflowPolicy, RandomBits, RoundingMode, as_float, parse
from sw.quantize import FakeQuantize, absmax_scale, fake_quantize, from_codes, to_codes
from tests.support.posits import POSITS, SoftPosit
from tests.sw.quantize.oracle import assert_same, encode_all, same_values

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
MODES = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]
P8 = parse("posit<8,1>")


def name_of(fmt):
    return fmt.name


def points(fmt, dtype, seed):
    """Return values, the middles between them, their neighbours, magnitudes beyond both ends, and special values."""
    rng = np.random.default_rng(seed)
    finer = fmt if fmt.width == 16 else dataclasses.replace(fmt, width=fmt.width + 1)
    codes = rng.integers(1, 1 << finer.width - 1, 150)
    values = [as_float(finer.decode(int(code))) for code in codes]
    values += np.exp2(rng.uniform(-1.2 * fmt.max_exponent - 2, 1.2 * fmt.max_exponent + 2, 150)).tolist()
    x = torch.tensor(values, dtype=torch.float64).to(dtype)
    up, down = (torch.nextafter(x, torch.tensor(limit, dtype=dtype)) for limit in (torch.inf, 0.0))
    info = torch.finfo(dtype)
    special = torch.tensor([0.0, torch.inf, torch.nan, info.max, info.tiny, info.tiny * info.eps], dtype=torch.float64)
    x = torch.cat([x, up, down, special.to(dtype)])
    return torch.cat([x, -x])


def codes_of(x, fmt, **parameters):
    return torch.from_numpy(encode_all(x.to(torch.float64).numpy(), fmt, **parameters))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fmt", POSITS, ids=name_of)
def test_codes_are_those_of_encode(fmt, dtype):
    x = points(fmt, dtype, seed=fmt.width)
    got, want = to_codes(x, fmt), codes_of(x, fmt)
    assert got.dtype == (torch.uint8 if fmt.width <= 8 else torch.int16 if fmt.width <= 15 else torch.int32)
    assert_same(x, got, want, got == want, fmt.name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["posit<3,0>", "posit<8,0>", "posit<8,1>", "posit<8,2>", "posit<9,3>", "posit<16,1>"])
def test_codes_in_every_mode(name, mode):
    fmt = parse(name)
    x = points(fmt, torch.float64, seed=7)
    got, want = to_codes(x, fmt, rounding=mode), codes_of(x, fmt, rounding=mode)
    assert_same(x, got, want, got == want, f"{name} {mode.name}")


@pytest.mark.parametrize("random_bits", [1, 4, 32, 62])
@pytest.mark.parametrize("name", ["posit<3,0>", "posit<8,1>", "posit<16,2>"])
def test_codes_of_stochastic_rounding(name, random_bits):
    fmt = parse(name)
    x = points(fmt, torch.float64, seed=random_bits)
    draws = np.random.default_rng(random_bits).integers(0, 1 << random_bits, len(x))
    draws[:9] = (1 << random_bits) - 1
    got = to_codes(x, fmt, rounding=RoundingMode.STOCHASTIC, random=torch.from_numpy(draws), random_bits=random_bits)
    want = torch.tensor([fmt.encode(value, rounding=RoundingMode.STOCHASTIC,
                                    random=RandomBits(value=draw, count=random_bits))
                         for value, draw in zip(x.tolist(), draws.tolist(), strict=True)])
    assert_same(x, got, want, got == want, f"{name} {random_bits}")


@pytest.mark.parametrize("fmt", POSITS, ids=name_of)
def test_every_code_has_its_value(fmt):
    codes = torch.arange(0, 1 << fmt.width, 1 if fmt.width <= 12 else 11)
    got = from_codes(codes, fmt, dtype=torch.float64)
    want = torch.tensor([as_float(fmt.decode(code)) for code in codes.tolist()], dtype=torch.float64)
    assert_same(codes, got, want, same_values(got, want), fmt.name)
    assert torch.equal(to_codes(got, fmt).to(torch.int64), codes)


@pytest.mark.parametrize("name", ["posit<8,0>", "posit<8,2>", "posit<16,1>"])
def test_floats_round_as_in_softposit(name):
    fmt = parse(name)
    oracle, x = SoftPosit(fmt), points(fmt, torch.float32, seed=3)
    got, want = to_codes(x, fmt), torch.tensor([oracle.encode(value) for value in x.tolist()])
    assert_same(x, got, want, got == want, name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", RoundingMode)
def test_fake_quantization_is_decode_of_encode(mode, dtype):
    x = points(P8, dtype, seed=1)
    extra = {}
    if mode is RoundingMode.STOCHASTIC:
        draws = torch.randint(8, x.shape, generator=torch.Generator().manual_seed(0))
        extra = {"random": draws, "random_bits": 3}
    got = fake_quantize(x, P8, rounding=mode, **extra)
    want = from_codes(to_codes(x, P8, rounding=mode, **extra), P8, dtype=dtype)
    assert got.dtype == dtype
    assert_same(x, got, want, same_values(got, want), mode.name)
    out = torch.empty_like(x)
    assert fake_quantize(x, P8, rounding=mode, out=out, **extra) is out
    assert bool(same_values(out, want).all())


def test_infinities_become_nan_and_zero_stays():
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30])
    got = fake_quantize(x, P8)
    smallest, largest = 2.0**-12, 4096.0
    want = torch.tensor([torch.nan] * 3 + [0.0, 0.0, smallest, -smallest, largest, -largest])
    assert bool(same_values(got, want).all())


def test_scales_by_tensor_channel_and_group():
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * 100
    for granularity in ({}, {"axis": 0}, {"group_size": 4}):
        scale = absmax_scale(x, P8, power_of_two=True, **granularity)
        parts = scale if "group_size" in granularity else scale.reshape(-1, 1) if granularity else scale
        spread = parts.repeat_interleave(4, 1) if "group_size" in granularity else parts
        want = fake_quantize(x / spread, P8) * spread
        assert torch.equal(fake_quantize(x, P8, scale=scale, **granularity), want)
        assert bool(((x / spread).abs() <= 4096).all())


def test_the_gradient_passes_within_the_range_and_nowhere_else():
    x = torch.tensor([0.3, -4096.0, 4096.0, 4097.0, -1e9, 1e-9, 0.0, torch.inf, torch.nan], requires_grad=True)
    fake_quantize(x, P8).backward(torch.full((9,), 3.0))
    assert x.grad.tolist() == [3.0, 3.0, 3.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0]


def test_the_gradient_of_a_scale_is_that_of_lsq():
    """Esser et al. 2020, equation 3: round(x/s) - x/s inside, the end of the range outside."""
    x, scale = torch.tensor([0.3, 1.7, 50000.0, -50000.0]), torch.tensor(0.5, requires_grad=True)
    fake_quantize(x, P8, scale=scale).sum().backward()
    quotient = x / 0.5
    rounded = fake_quantize(quotient, P8)
    want = torch.where(quotient.abs() <= 4096, rounded - quotient, rounded).sum()
    assert float(scale.grad) == pytest.approx(float(want))


def test_a_layer_quantizes_and_its_state_names_the_format():
    x = torch.randn(50, generator=torch.Generator().manual_seed(0))
    layer = FakeQuantize(P8, rounding=RoundingMode.TOWARD_ZERO)
    assert torch.equal(layer(x), fake_quantize(x, P8, rounding=RoundingMode.TOWARD_ZERO))
    again = FakeQuantize(P8, rounding=RoundingMode.TOWARD_ZERO)
    again.load_state_dict(layer.state_dict())
    with pytest.raises((RuntimeError, ValueError), match=r"posit<8,1>"):
        FakeQuantize(parse("posit<8,2>"), rounding=RoundingMode.TOWARD_ZERO).load_state_dict(layer.state_dict())


def test_vmap_gives_what_the_rows_give():
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 30
    assert torch.equal(torch.func.vmap(lambda row: fake_quantize(row, P8))(x), fake_quantize(x, P8))


def test_a_tensor_of_many_blocks_is_what_its_parts_are():
    x = torch.randn(100_003, generator=torch.Generator().manual_seed(0)) * 30
    assert torch.equal(fake_quantize(x, P8), torch.cat([fake_quantize(part, P8) for part in x.split(1000)]))


@pytest.mark.parametrize(("name", "dtype", "mend"), [
    ("posit<8,2>", torch.float16, "torch.float32"), ("posit<16,1>", torch.bfloat16, "torch.float32"),
    ("posit<16,2>", torch.float16, "torch.float32"),
])
def test_a_result_type_that_is_too_small_is_refused(name, dtype, mend):
    message = f"Result dtype must hold every value of {name}, not {dtype}; give dtype={mend}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fake_quantize(torch.ones(3, dtype=dtype), parse(name))


def test_other_overflow_policies_are_refused():
    with pytest.raises(ValueError, match=r"^Overflow policy must be saturate for posit<8,1>"):
        to_codes(torch.ones(3), P8, overflow=OverflowPolicy.INFINITY)
