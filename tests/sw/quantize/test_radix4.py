"""Radix-4 FP4 as Sun et al. 2020 (Ultra-Low Precision 4-bit Training) define and use it, and E8M0."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch

from sw.formats import RoundingMode, parse
from sw.quantize import fake_quantize, from_codes, to_codes

EVEN, ODD = parse("radix4_fp4_even"), parse("radix4_fp4_odd")


def _procedure(x, multiplier=Fraction(8, 5)):
    """The paper's quantizer, even phase, on a rational: y = 1.6 |x|, e = floor(log4 y), limits at e = -3 and 3."""
    y = multiplier * abs(x)
    if y < Fraction(1, 64):
        return Fraction(0)
    result = Fraction(1, 64)
    while result < 64 and 4 * result <= y:
        result *= 4
    return result if x > 0 else -result


@pytest.mark.parametrize(("x", "even", "odd"), [
    (0.0097, 0, 0.0078125), (0.0391, 0.0625, 0.03125), (2.51, 4, 2), (10.1, 16, 8), (40.1, 64, 32), (1e30, 64, 32),
])
def test_the_published_examples(x, even, odd):
    for sign in (1, -1):
        assert fake_quantize(torch.tensor(sign * x), EVEN).item() == sign * even
        assert fake_quantize(torch.tensor(sign * x), ODD).item() == sign * odd


def test_every_threshold_is_where_the_procedure_has_it():
    """Around and on 0.625 * 4**n; the procedure rounds the thresholds themselves up, as nearest-away does."""
    points = [Fraction(5, 8) * Fraction(4) ** n for n in range(-6, 6)] + [Fraction(4) ** n for n in range(-6, 6)]
    x = torch.tensor([float(point) for point in points], dtype=torch.float32)
    x = torch.cat([x, torch.nextafter(x, torch.tensor(torch.inf)), torch.nextafter(x, torch.tensor(0.0)),
                   torch.logspace(-4, 3, 5000)])
    x = torch.cat([x, -x])
    got = fake_quantize(x, EVEN, rounding=RoundingMode.NEAREST_AWAY)
    want = torch.tensor([float(_procedure(Fraction(value))) for value in x.tolist()])
    assert torch.equal(got, want)
    # Odd phase: half of even of twice the input.
    assert torch.equal(fake_quantize(x, ODD, rounding=RoundingMode.NEAREST_AWAY),
                       fake_quantize(2 * x, EVEN, rounding=RoundingMode.NEAREST_AWAY) / 2)


def test_the_odd_codes_are_the_even_ones_at_half_the_value():
    codes = torch.arange(16, dtype=torch.uint8)
    assert torch.equal(from_codes(codes, ODD), from_codes(codes, EVEN) / 2)
    x = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 8
    assert torch.equal(to_codes(x, ODD), to_codes(2 * x, EVEN))


@pytest.mark.parametrize("data", ["gaussian", "log-normal"])
def test_the_error_is_least_at_the_multiplier_1_6(data):
    """1.6 puts the thresholds at the arithmetic middles, which no other multiplier does."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=200_000)
    if data == "log-normal":
        x = np.sign(x) * np.exp(1.5 * rng.normal(size=200_000)) / 10  # hardly anything saturates, as with GradScale

    def error(multiplier):
        exponent = np.floor(np.log2(multiplier * np.abs(x)) / 2).clip(-4, 3)
        quantized = np.where(exponent < -3, 0, 4.0 ** exponent) * np.sign(x)
        return quantized, ((quantized - x) ** 2).sum() / (x ** 2).sum()

    ours = fake_quantize(torch.from_numpy(x), EVEN).numpy()
    quantized, at_1_6 = error(1.6)
    assert np.array_equal(quantized, ours)
    errors = {multiplier: error(multiplier)[1] for multiplier in (1.2, 1.3, 1.4, 1.5, 1.7, 1.8, 1.9, 2.0)}
    assert all(at_1_6 < other for other in errors.values())
    assert errors[1.4] > 1.03 * at_1_6
    assert errors[1.8] > 1.03 * at_1_6


def test_two_phases_together_err_less_than_each_alone():
    """Two-phase rounding on log-uniform data: rms relative error .367, .367, and .219 for the mean of both."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(4.0 ** rng.uniform(-2, 2, 400_000))
    even, odd = fake_quantize(x, EVEN), fake_quantize(x, ODD)

    def rms(y):
        return (((y - x) / x) ** 2).mean().sqrt().item()
    assert rms(even) == pytest.approx(0.367, abs=0.002)
    assert rms(odd) == pytest.approx(0.367, abs=0.002)
    assert rms((even + odd) / 2) == pytest.approx(0.219, abs=0.002)
    assert rms((even + odd) / 2) / rms(even) == pytest.approx(0.60, abs=0.02)
    # Both phases shrink: the nearest rule has a bias that their mean does not cancel.
    assert ((even - x) / x).mean().item() == pytest.approx(-0.13, abs=0.005)


def test_e8m0_is_every_power_of_two_and_a_nan():
    fmt = parse("e8m0")
    codes = torch.arange(256, dtype=torch.uint8)
    values = from_codes(codes, fmt)
    assert values[:255].tolist() == [2.0 ** (code - 127) for code in range(255)]
    assert values[255].isnan()
    assert torch.equal(to_codes(values, fmt), codes)
    # The cast rounds to the linear middle: no scale rule of MX (see ScaleRule).
    x = torch.tensor([1.42, 1.49, 1.51, 2.9, 3.01])
    want = x.numpy().astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    assert to_codes(x, fmt).tolist() == want.tolist() == [127, 127, 128, 128, 129]
