"""The truth that the tensor code is compared with: ``encode`` and ``decode`` themselves, made affordable."""

import math
from fractions import Fraction

import numpy as np
import torch

from sw.formats import (
    CATALOG,
    FixedPointFormat,
    FloatingPointFormat,
    OverflowPolicy,
    RandomBits,
    RoundingMode,
    Specials,
    Subnormals,
    as_float,
    parse,
)

# The catalog, and what else the families have.
FORMATS = {entry.name: entry.format for entry in CATALOG} | {
    "flushed_e4m3": FloatingPointFormat(exponent_bits=4, fraction_bits=3, subnormals=Subnormals.FLUSHED),
    "flushed_fn": FloatingPointFormat(exponent_bits=3, fraction_bits=2, specials=Specials.FN,
                                      subnormals=Subnormals.FLUSHED),
    "absent_ieee": FloatingPointFormat(exponent_bits=4, fraction_bits=3, subnormals=Subnormals.ABSENT),
    "absent_p3109": FloatingPointFormat(exponent_bits=3, fraction_bits=1, specials=Specials.P3109,
                                        subnormals=Subnormals.ABSENT),
    "flushed_fnuz": FloatingPointFormat(exponent_bits=3, fraction_bits=2, specials=Specials.FNUZ,
                                        subnormals=Subnormals.FLUSHED),
    "unsigned_e4m3": FloatingPointFormat(exponent_bits=4, fraction_bits=3, signed=False),
    "unsigned_fn": FloatingPointFormat(exponent_bits=3, fraction_bits=3, signed=False, specials=Specials.FN),
    "odd_bias": FloatingPointFormat(exponent_bits=4, fraction_bits=3, bias=21, specials=Specials.NONE),
    "negative_bias": FloatingPointFormat(exponent_bits=3, fraction_bits=2, bias=-4, specials=Specials.FN),
    "no_fraction": FloatingPointFormat(exponent_bits=4, fraction_bits=0, specials=Specials.FN),
    "e1m2": FloatingPointFormat(exponent_bits=1, fraction_bits=2, specials=Specials.NONE),
    "scale_without_zero": FloatingPointFormat(exponent_bits=3, fraction_bits=2, specials=Specials.FN, signed=False,
                                              subnormals=Subnormals.ABSENT, has_zero=False),
    "radix4_with_nan": FloatingPointFormat(exponent_bits=3, fraction_bits=0, bias=Fraction(7, 2), radix=4,
                                           specials=Specials.FN, subnormals=Subnormals.ABSENT),
    "radix4_unsigned_scale": FloatingPointFormat(exponent_bits=4, fraction_bits=0, bias=7, radix=4, signed=False,
                                                 specials=Specials.FN, subnormals=Subnormals.ABSENT, has_zero=False),
    "fixed<8,12>": parse("fixed<8,12>"),
    "fixed<6,-3>": parse("fixed<6,-3>"),
    "ufixed<8,8>": parse("ufixed<8,8>"),
    "fixed<8,150>": parse("fixed<8,150>"),
    "narrow_int8": FixedPointFormat(width=8, narrow_range=True),
    "narrow_fixed<4,2>": FixedPointFormat(width=4, fraction_bits=2, narrow_range=True),
    "int1": FixedPointFormat(width=1),
    "uint1": FixedPointFormat(width=1, signed=False),
}

# Formats beyond 16 bits, and those that float32 does not hold.
WIDE_FORMATS = {
    "int32": FixedPointFormat(width=32),
    "uint32": FixedPointFormat(width=32, signed=False),
    "fixed<32,16>": FixedPointFormat(width=32, fraction_bits=16),
    "fixed<24,-200>": FixedPointFormat(width=24, fraction_bits=-200),
    "float32": FloatingPointFormat(exponent_bits=8, fraction_bits=23),
    "e11m4": FloatingPointFormat(exponent_bits=11, fraction_bits=4),
    "e11m20": FloatingPointFormat(exponent_bits=11, fraction_bits=20),
    "e6m25": FloatingPointFormat(exponent_bits=6, fraction_bits=25, specials=Specials.FNUZ),
    "e10m4_absent": FloatingPointFormat(exponent_bits=10, fraction_bits=4, subnormals=Subnormals.ABSENT),
}

# One of each kind, for what is too much for all of them.
KINDS = {name: (FORMATS | WIDE_FORMATS)[name] for name in (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu", "float6_e3m2fn", "float4_e2m1fn", "float16",
    "bfloat16", "tf32", "dlfloat8", "p3109_k6p3se", "radix4_fp4_even", "radix4_fp4_odd", "radix4_with_nan",
    "radix4_unsigned_scale", "flushed_e4m3", "flushed_fnuz", "absent_p3109", "unsigned_fn", "scale_without_zero",
    "no_fraction", "negative_bias", "int8", "uint4", "narrow_int8", "fixed<8,4>", "fixed<6,-3>", "int1", "fixed<8,150>",
    "e11m4", "fixed<32,16>", "posit<8,1>", "posit<16,2>")}


def policies(fmt):
    """Return the overflow policies that apply to ``fmt``."""
    found = []
    for policy in OverflowPolicy:
        try:
            fmt.check_overflow(policy)
        except ValueError:
            continue
        found.append(policy)
    return found


def deterministic_modes():
    """Return all rounding modes but the stochastic one."""
    return [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]


def encode_each(values, fmt, *, rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE, random=None,
                random_bits=0):
    """Return ``encode`` of each of a list of floats."""
    if random is None:
        return [fmt.encode(value, rounding=rounding, overflow=overflow) for value in values]
    return [fmt.encode(value, rounding=rounding, overflow=overflow, random=RandomBits(value=bits, count=random_bits))
            for value, bits in zip(values, random, strict=True)]


def encode_all(values, fmt, *, rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE):
    """Return ``encode`` of each element of a float64 array.

    Rounding is monotone: between two inputs with the same code, every input has that code. So a bisection over the
    sorted inputs asks ``encode`` only where the code changes. Not for overflow that wraps or ends at zero.
    (Where both ends of the range overflow to the same NaN, a first cut at the largest value tells them apart.)
    """
    assert not overflow.wraps
    assert overflow is not OverflowPolicy.SATURATE_ZERO
    codes = np.zeros(len(values), dtype=np.int64)
    for selected in (values > 0, values < 0):
        points, where = np.unique(np.abs(values[selected]), return_inverse=True)
        points = points * (1 if (values[selected] > 0).all() else -1)
        found = np.full(len(points), -1, dtype=np.int64)

        def ask(index, points=points, found=found):
            if found[index] < 0:
                found[index] = fmt.encode(float(points[index]), rounding=rounding, overflow=overflow)
            return found[index]

        middle = int(np.searchsorted(np.abs(points), float(fmt.max_finite))) if len(points) else 0
        middle = min(middle, len(points) - 1)
        pending = [(0, middle), (middle, len(points) - 1)] if len(points) else []
        while pending:
            low, high = pending.pop()
            if ask(low) == ask(high):
                found[low:high + 1] = found[low]
            elif high - low > 1:
                middle = (low + high) // 2
                pending += [(low, middle), (middle, high)]
        codes[selected] = found[where]
    for index in np.flatnonzero((values == 0) | np.isnan(values)):
        codes[index] = fmt.encode(float(values[index]), rounding=rounding, overflow=overflow)
    return codes


def corners(fmt, dtype, rng, count):
    """Return at most about ``count`` inputs where rounding goes wrong first, and the usual special ones.

    Values of the format, middles between them, binade edges and thirds, each also one unit in the last place to either
    side; beyond both ends of the range; subnormal numbers of ``dtype``; zeros, infinities and NaN. Inputs that
    ``dtype`` does not hold are rounded to it.
    """
    codes = range(1 << fmt.width) if fmt.width <= 6 else sorted({int(code) for code in rng.integers(
        0, 1 << fmt.width, 12)} | {0, 1, 2, 3, (1 << fmt.width) - 1})
    exact = []
    for code in codes:
        value, after = fmt.decode(code), fmt.decode((code + 1) % (1 << fmt.width))
        if isinstance(value, Fraction) and isinstance(after, Fraction):
            exact += [value, (value + after) / 2, (2 * value + after) / 3]
    largest, smallest = fmt.max_finite, fmt.smallest_positive
    below = Fraction(2) ** -1
    exact += [smallest, smallest / 2, smallest / 3, smallest * 3 / 4, smallest / 2 ** 40, largest, largest * 3,
              largest * 5 / 4, largest * 65 / 64, largest * 17 / 16, largest * below, largest * 2 ** 70, Fraction(1)]
    exact += [-value for value in exact]
    info = torch.finfo(dtype)
    with np.errstate(over="ignore"):
        points = torch.tensor([as_float(value) if abs(value) < 2 ** 1000 else (math.inf if value > 0 else -math.inf)
                               for value in exact], dtype=torch.float64).to(dtype)
    around = torch.cat([points, torch.nextafter(points, torch.tensor(math.inf, dtype=dtype)),
                        torch.nextafter(points, torch.tensor(-math.inf, dtype=dtype))])
    around = around[torch.randperm(len(around), generator=torch.Generator().manual_seed(int(rng.integers(1 << 30))))]
    special = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, info.max, -info.max, info.tiny,
                            -info.tiny, info.smallest_normal / 2, info.smallest_normal * info.eps,
                            -info.smallest_normal * info.eps], dtype=torch.float64).to(dtype)
    wild = torch.from_numpy(rng.normal(size=20) * np.exp2(rng.integers(-40, 40, 20))).to(dtype)
    return torch.cat([around[:count], special, wild])


def same_values(got, want):
    """Where two float tensors are equal: zeros with their signs, and NaN equal to NaN."""
    got, want = got.to(torch.float64), want.to(torch.float64)
    return ((got == want) & (torch.signbit(got) == torch.signbit(want))) | (got.isnan() & want.isnan())


def decode_each(codes, fmt):
    """Return ``decode`` of each code of an integer sequence, as a float64 tensor."""
    table = {code: as_float(fmt.decode(code)) for code in set(codes)}
    return torch.tensor([table[code] for code in codes], dtype=torch.float64)


def assert_same(inputs, got, want, same, what):
    """Fail with the first few inputs whose results differ."""
    wrong = (~same).nonzero().flatten()[:5].tolist()
    assert not wrong, what + ": " + "; ".join(
        f"input {inputs[i].item()!r} ({float(inputs[i]).hex()}): got {got[i].item()!r}, want {want[i].item()!r}"
        for i in wrong) + f" ({int((~same).sum())} of {same.numel()})"
