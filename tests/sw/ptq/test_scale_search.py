"""Scales against the definitions of their statistics, written out row by row."""

import numpy as np
import pytest
import torch

from sw.formats import parse
from sw.ptq.config import ScaleRule, ScaleSearch, ScaleStatistic
from sw.ptq.scale_search import (
    EXPONENTS,
    SEARCH_STEPS,
    percentile_rank,
    row_scales,
    row_statistic,
    scale_of,
    scale_target,
    squared_error,
)
from sw.quantize import absmax_scale, fake_quantize

FORMATS = ("int4", "int8:narrow_range=true", "uint8", "fixed<8,4>", "e2m1", "e4m3", "minifloat_e3m2", "posit8_1",
           "radix4_fp4_even")
MSE = ScaleStatistic.MSE


def rows(count=6, length=75, *, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.exp(torch.randn(count, 1, generator=generator, dtype=dtype))
    return torch.randn(count, length, generator=generator, dtype=dtype) * spread


@pytest.mark.parametrize(("name", "target"), [
    ("int8", 127), ("int8:narrow_range=true", 127), ("uint4", 15), ("fixed<8,4>", 127 / 16), ("e2m1", 6), ("e4m3", 448),
    ("minifloat_e4m3", 480), ("posit8_0", 2), ("posit8_1", 4), ("posit8_2", 16), ("posit<3,0>", 2),
])
def test_target_is_the_largest_value_and_of_posits_useed(name, target):
    assert scale_target(parse(name)) == target


@pytest.mark.parametrize("name", FORMATS)
def test_absmax_brings_the_largest_magnitude_to_the_target(name):
    fmt, x = parse(name), rows()
    counted = x.abs() if fmt.signed else x.clamp(min=0)
    want = counted.amax(1) / float(scale_target(fmt))
    assert torch.equal(row_scales(x, fmt, ScaleRule()), want)


def test_absmax_is_that_of_sw_quantize():
    x, fmt = rows(), parse("e3m2")
    for power_of_two in (False, True):
        want = absmax_scale(x, fmt, axis=0, power_of_two=power_of_two)
        assert torch.equal(row_scales(x, fmt, ScaleRule(power_of_two=power_of_two)), want)


@pytest.mark.parametrize("percentile", [0.001, 37.5, 90, 99, 99.999, 100])
@pytest.mark.parametrize("length", [1, 7, 200])
def test_percentile_is_the_element_of_its_rank(percentile, length):
    x = rows(length=length)
    order = np.sort(np.abs(x.numpy()), axis=1)
    rank = min(max(int(np.floor(percentile / 100 * length + 0.5)), 1), length)
    rule = ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=percentile)
    assert percentile_rank(percentile, length) == rank
    assert row_statistic(x, parse("int8"), rule).tolist() == order[:, rank - 1].tolist()


@pytest.mark.parametrize("name", FORMATS)
def test_powers_of_two_are_the_next_ones_up(name):
    scale = row_scales(rows(), parse(name), ScaleRule())
    power = row_scales(rows(), parse(name), ScaleRule(power_of_two=True))
    assert torch.equal(torch.frexp(power).mantissa, torch.full_like(power, 0.5))
    assert bool((power >= scale).all())
    assert bool((power < 2 * scale).all())


def test_a_power_of_two_stays():
    assert scale_of(torch.tensor([127 * 0.25]), parse("int8"), power_of_two=True).tolist() == [0.25]


@pytest.mark.parametrize("name", FORMATS)
def test_grid_is_the_best_of_its_points(name):
    fmt, x = parse(name), rows(dtype=torch.float64)
    got = row_scales(x, fmt, ScaleRule(statistic=MSE, search=ScaleSearch.GRID))
    for row, scale in zip(x, got, strict=True):
        largest = row.abs().max() if fmt.signed else row.clamp(min=0).max()
        points = [largest * (1 / SEARCH_STEPS + (1 - 1 / SEARCH_STEPS) * i / (SEARCH_STEPS - 1))
                  for i in range(SEARCH_STEPS)]
        row = row if fmt.signed else row.clamp(min=0)
        errors = [(fake_quantize(row, fmt, scale=point / float(scale_target(fmt))) - row).square().sum().item()
                  for point in points]
        error = (fake_quantize(row, fmt, scale=scale) - row).square().sum().item()
        assert error == pytest.approx(min(errors), rel=1e-9), (row, scale, points)


@pytest.mark.parametrize("name", FORMATS)
def test_refinement_never_loses(name):
    fmt, x = parse(name), rows(40)
    x = x if fmt.signed else x.clamp(min=0)
    error = {search: squared_error(x, fmt, row_scales(x, fmt, ScaleRule(statistic=MSE, search=search)))
             for search in ScaleSearch}
    absmax = squared_error(x, fmt, row_scales(x, fmt, ScaleRule()))
    assert bool((error[ScaleSearch.REFINED] <= error[ScaleSearch.GRID]).all())
    assert bool((error[ScaleSearch.GRID] <= absmax * (1 + 1e-6)).all())
    assert error[ScaleSearch.REFINED].mean() < absmax.mean()


@pytest.mark.parametrize("name", ["int3", "int4", "int6"])
def test_fibonacci_finds_about_the_minimum_of_integers(name):
    fmt, x = parse(name), rows(24, 400)
    found = squared_error(x, fmt, row_scales(x, fmt, ScaleRule(statistic=MSE, search=ScaleSearch.FIBONACCI)))
    largest = row_statistic(x, fmt, ScaleRule())
    least = torch.stack([squared_error(x, fmt, scale_of(largest * part, fmt, power_of_two=False))
                         for part in torch.linspace(0.05, 1, 400)]).amin(0)
    assert (found / least).median() < 1.001, (found / least).tolist()
    assert bool((found <= 1.1 * least).all()), (found / least).tolist()


@pytest.mark.parametrize("name", FORMATS)
def test_powers_of_two_by_error_are_the_best_of_all(name):
    fmt, x = parse(name), rows()
    got = row_scales(x, fmt, ScaleRule(statistic=MSE, power_of_two=True))
    top = row_scales(x, fmt, ScaleRule(power_of_two=True))
    x = x if fmt.signed else x.clamp(min=0)
    tried = torch.stack([squared_error(x, fmt, top / 2 ** i) for i in range(EXPONENTS)])
    assert torch.equal(got, top / 2 ** tried.argmin(0))


@pytest.mark.parametrize("statistic", list(ScaleStatistic))
@pytest.mark.parametrize("search", list(ScaleSearch))
def test_zeros_have_scale_one_and_scales_never_vanish(statistic, search):
    x = torch.zeros(3, 8)
    x[1, 2] = 1e-45
    scale = row_scales(x, parse("e5m2"), ScaleRule(statistic=statistic, search=search))
    assert scale[0] == scale[2] == 1
    assert scale[1] > 0


def test_one_is_the_format_as_it_is():
    assert row_scales(rows(3), parse("int8"), ScaleRule(statistic=ScaleStatistic.ONE)).tolist() == [1, 1, 1]


def test_rows_are_independent_of_how_many_are_searched_at_a_time(monkeypatch):
    x, rule = rows(9), ScaleRule(statistic=MSE)
    want = row_scales(x, parse("e4m3"), rule)
    monkeypatch.setattr("sw.ptq.scale_search._BLOCK", 150)
    assert torch.equal(row_scales(x, parse("e4m3"), rule), want)


@pytest.mark.parametrize("search", list(ScaleSearch))
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_the_search_is_the_same_for_magnitudes_whose_squares_are_zero_or_infinite(name, search, power_of_two):
    rule = ScaleRule(statistic=MSE, search=search, power_of_two=power_of_two)
    want = row_scales(rows(), parse(name), rule)
    for exponent in (-80, 80, 110):
        got = row_scales(rows() * 2.0**exponent, parse(name), rule)
        assert torch.equal(got, want * 2.0**exponent), (exponent, got, want * 2.0**exponent)
