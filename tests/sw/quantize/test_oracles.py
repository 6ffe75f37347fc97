"""The tensor code against what we did not write: ml_dtypes, torch's own casts, gfloat."""

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
import torch

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.quantize import fake_quantize, to_codes
from tests.sw.quantize.oracle import assert_same, same_values

TORCH_CASTS = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
               "float8_e4m3fnuz": torch.float8_e4m3fnuz, "float8_e5m2fnuz": torch.float8_e5m2fnuz,
               "float16": torch.float16, "bfloat16": torch.bfloat16}

GFLOAT_MODES = {RoundingMode.NEAREST_EVEN: gfloat.RoundMode.TiesToEven,
                RoundingMode.NEAREST_AWAY: gfloat.RoundMode.TiesToAway,
                RoundingMode.TOWARD_ZERO: gfloat.RoundMode.TowardZero,
                RoundingMode.UP: gfloat.RoundMode.TowardPositive,
                RoundingMode.DOWN: gfloat.RoundMode.TowardNegative}


def inputs():
    """All bfloat16 numbers, all float16 numbers, and random float32 numbers, as float32."""
    bits = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    rng = np.random.default_rng(3)
    random = torch.from_numpy(rng.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32))
    near = torch.from_numpy((rng.normal(size=200_000) * np.exp2(rng.integers(-12, 12, 200_000))).astype(np.float32))
    return torch.cat([bits.view(torch.bfloat16).float(), bits.view(torch.float16).float(), random, near])


@pytest.mark.parametrize("name", TORCH_CASTS)
def test_casts_of_torch(name):
    x, fmt = inputs(), parse(name)
    want = x.to(TORCH_CASTS[name]).float()
    limit = float(fmt.max_finite)
    got = fake_quantize(x, fmt, overflow=OverflowPolicy.INFINITY)
    # The vectorized e4m3fn cast gives 448 beyond the range, the other one NaN.
    beyond = (x.abs() > limit) if name == "float8_e4m3fn" else torch.zeros_like(x, dtype=torch.bool)
    assert_same(x, got, want, same_values(got, want) | beyond, name)
    want = x.clamp(-limit, limit).to(TORCH_CASTS[name]).float()
    got = fake_quantize(x, fmt)
    assert_same(x, got, want, same_values(got, want), f"{name} saturating")


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4", "float8_e4m3fnuz",
                                  "float8_e5m2fnuz", "float8_e4m3b11fnuz", "bfloat16"])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_casts_of_ml_dtypes(name):
    x, fmt = inputs(), parse(name)  # float32: from float64, ml_dtypes rounds twice
    narrow = x.numpy().astype(getattr(ml_dtypes, name))
    got = fake_quantize(x, fmt, overflow=OverflowPolicy.INFINITY)
    want = torch.from_numpy(narrow.astype(np.float64))
    assert_same(x, got, want, same_values(got, want), name)
    codes = torch.from_numpy(narrow.view(np.uint16 if fmt.width == 16 else np.uint8).astype(np.int64))
    got = to_codes(x, fmt, overflow=OverflowPolicy.INFINITY)
    same = (got == codes) | want.isnan()  # of several NaN codes, casts choose others
    assert_same(x, got, codes, same, name)


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_saturating_casts_of_ml_dtypes(name):
    x = inputs()
    x = x[~x.isnan()]  # which ml_dtypes makes a silent -0
    want = torch.from_numpy(x.numpy().astype(getattr(ml_dtypes, name)).astype(np.float64))
    got = fake_quantize(x, parse(name))
    assert_same(x, got, want, same_values(got, want), name)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_e8m0_cast_of_ml_dtypes():
    x = inputs()
    want = torch.from_numpy(x.numpy().astype(ml_dtypes.float8_e8m0fnu).astype(np.float64))
    # ml_dtypes takes the larger one in the middle, and NaN for what the format lacks: zero and negative numbers.
    got = fake_quantize(x, parse("e8m0"), rounding=RoundingMode.NEAREST_AWAY, overflow=OverflowPolicy.INFINITY)
    largest = x >= 2.0**127 * 1.5  # beyond the range: not compared with a cast that documents nothing there
    small = x.abs() < 2.0**-127 * 1.5  # nor in and below the lowest binade, where it differs
    assert_same(x, got, want, same_values(got, want) | largest | small, "e8m0")


@pytest.mark.parametrize("rounding", GFLOAT_MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("name", "info"), [
    ("float8_e4m3fn", gfloat.formats.format_info_ocp_e4m3), ("float8_e5m2", gfloat.formats.format_info_ocp_e5m2),
    ("float6_e3m2fn", gfloat.formats.format_info_ocp_e3m2), ("float6_e2m3fn", gfloat.formats.format_info_ocp_e2m3),
    ("float4_e2m1fn", gfloat.formats.format_info_ocp_e2m1), ("bfloat16", gfloat.formats.format_info_bfloat16),
    ("float16", gfloat.formats.format_info_binary16),
], ids=lambda part: part if isinstance(part, str) else "")
def test_rounding_of_gfloat(name, info, rounding):
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=4000) * np.exp2(rng.integers(-20, 20, 4000)),
                        rng.integers(-4096, 4096, 4000) * 2.0**-8, [0.0, -0.0, np.inf, -np.inf]])
    x = torch.from_numpy(x)
    fmt = parse(name)
    want = torch.from_numpy(gfloat.round_ndarray(info, x.numpy(), GFLOAT_MODES[rounding], sat=True))
    got = fake_quantize(x, fmt, rounding=rounding)
    assert_same(x, got, want, same_values(got, want), f"{name} {rounding}")
