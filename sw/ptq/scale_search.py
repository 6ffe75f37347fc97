"""Scales from data: a maximum, a percentile, or the least squared error, for many rows at a time."""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from sw.formats import PositFormat, ScalarFormat
from sw.ptq.config import ScaleRule, ScaleSearch, ScaleStatistic
from sw.quantize import fake_quantize

SEARCH_STEPS = 20
"""Steps of the Fibonacci search, points of the grid, and the part of the maximum at which both begin."""

REFINEMENTS = 4
"""How often the distance of the grid's points is halved around the best of them."""

EXPONENTS = 8
"""How many powers of two are tried, from that of the maximum down."""

# Elements of the rows that are searched at a time: enough to outweigh the calls, and little memory.
_BLOCK = 1 << 20

# Two to the power of more, or less than minus that, is no normal number of float32.
_EXPONENT = 126


def scale_target(fmt: ScalarFormat) -> Fraction:
    """Return the value of ``fmt`` that a scale brings its statistic to.

    The largest, of the positive side: an integer's most negative code serves what a percentile or a search leaves
    beyond it. (Brevitas divides by the magnitude of that code where the range is not narrow.) Of a posit, whose
    largest values have no fraction bits left, ``useed`` instead: the magnitudes below it, down to its reciprocal, have
    the longest fractions, and beyond it there is room for outliers.
    """
    if isinstance(fmt, PositFormat):
        return min(Fraction(fmt.useed), fmt.max_finite)
    return fmt.max_finite


def row_scales(rows: Tensor, fmt: ScalarFormat, rule: ScaleRule) -> Tensor:
    """Return a scale for each row, by the rule.

    Parameters
    ----------
    rows : float32 or float64 tensor of shape (rows, n)
        Finite, n at least 1.
    fmt : ScalarFormat
    rule : ScaleRule

    Returns
    -------
    Tensor
        Of shape (rows,), positive; 1 where a row is all zero.
    """
    if rule.statistic is ScaleStatistic.ONE:
        return rows.new_ones(len(rows))
    if rule.statistic is not ScaleStatistic.MSE:
        return scale_of(row_statistic(rows, fmt, rule), fmt, power_of_two=rule.power_of_two)
    count = max(1, _BLOCK // rows.shape[1])
    return torch.cat([_search(part, fmt, rule) for part in rows.split(count)])


def row_statistic(rows: Tensor, fmt: ScalarFormat, rule: ScaleRule) -> Tensor:
    """Return the largest magnitude of each row, or the percentile of its magnitudes; shape (rows,).

    Of an unsigned format, what is negative counts as zero. The percentile is the element of rank
    ``floor(percentile / 100 * n + 1/2)``, as Brevitas has it.
    """
    if rule.statistic is ScaleStatistic.PERCENTILE:
        rank = percentile_rank(rule.percentile, rows.shape[1])
        if rank < rows.shape[1]:
            return magnitudes(rows, fmt).kthvalue(rank, dim=1).values
    low, high = torch.aminmax(rows, dim=1)
    return torch.maximum(-low, high) if fmt.signed else high.clamp(min=0)


def percentile_rank(percentile: float, count: int) -> int:
    """Return which of ``count`` elements in rising order, from 1, is the percentile."""
    return max(1, math.floor(.01 * percentile * count + 0.5))


def magnitudes(x: Tensor, fmt: ScalarFormat) -> Tensor:
    """Return what counts of elements that are to be quantized: their magnitude, or their positive part."""
    return x.abs() if fmt.signed else x.clamp(min=0)


def scale_of(statistic: Tensor, fmt: ScalarFormat, *, power_of_two: bool) -> Tensor:
    """Return the scales that bring ``statistic``, of any shape, to the target of the format; of zeros, 1."""
    # A quotient that vanishes would divide by zero later.
    scale = (statistic / float(scale_target(fmt))).clamp(min=torch.finfo(statistic.dtype).tiny)
    if power_of_two:
        scale = torch.ldexp(torch.ones_like(scale), _ceil_log2(scale))
    return torch.where(statistic == 0, 1.0, scale)


def _ceil_log2(x: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(x)
    return torch.where(mantissa == 0.5, exponent - 1, exponent)


def squared_error(rows: Tensor, fmt: ScalarFormat, scales: Tensor) -> Tensor:
    """Return the sum of the squared errors of each row under its scale, of the rows' dtype."""
    return fake_quantize(rows, fmt, scale=scales, axis=0).sub_(rows).square_().sum(1)


def _search(rows: Tensor, fmt: ScalarFormat, rule: ScaleRule) -> Tensor:
    """Return the scale of each row with the least squared error of those that the search tries."""
    largest = row_statistic(rows, fmt, ScaleRule())
    if not fmt.signed:
        rows = rows.clamp(min=0)  # no scale saves the others, whose squares would drown those that it is about
    # Squares of very small and very large numbers are zero or infinite. A power of two changes nothing else.
    power = torch.ldexp(torch.ones_like(largest), -torch.frexp(largest).exponent.clamp(-_EXPONENT, _EXPONENT))
    scale = _search_near_one(rows * power.unsqueeze(1), largest * power, fmt, rule)
    return (scale / power).clamp(min=torch.finfo(rows.dtype).tiny)


def _search_near_one(rows: Tensor, largest: Tensor, fmt: ScalarFormat, rule: ScaleRule) -> Tensor:
    """Do what :func:`_search` does, for rows whose largest magnitudes are about 1."""
    if rule.power_of_two:
        return _best_power(rows, fmt, largest)

    def error(statistic: Tensor) -> Tensor:
        return squared_error(rows, fmt, scale_of(statistic, fmt, power_of_two=False))

    if rule.search is ScaleSearch.FIBONACCI:
        best = _fibonacci(largest, error)
    else:
        best = _grid(largest, error, refined=rule.search is ScaleSearch.REFINED)
    return scale_of(best, fmt, power_of_two=False)


def _fibonacci(right: Tensor, error: Callable[[Tensor], Tensor]) -> Tensor:
    """Narrow the interval down to the statistic with the least error, for each row.

    Both points are evaluated anew in each step: they differ in their last bits from those of the step before.
    """
    fibonacci = [0, 1]
    while len(fibonacci) <= SEARCH_STEPS:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    left = right / SEARCH_STEPS
    span = right - left
    distance = fibonacci[SEARCH_STEPS - 2] / fibonacci[SEARCH_STEPS] * span
    for step in range(2, SEARCH_STEPS + 1):
        far = distance > span / 2
        lower = torch.where(far, right - distance, left + distance)
        upper = torch.where(far, left + distance, right - distance)
        below, above = error(lower), error(upper)
        right = torch.where(below <= above, upper, right)
        left = torch.where(below >= above, lower, left)
        ratio = fibonacci[SEARCH_STEPS - step] / fibonacci[SEARCH_STEPS - step + 2]
        distance = ratio * torch.where(below != above, span, right - left)
        span = right - left
    return torch.where(below <= above, lower, upper)


def _grid(right: Tensor, error: Callable[[Tensor], Tensor], *, refined: bool) -> Tensor:
    """Try equally distant statistics, from the smallest up; of equal errors, the first one stays."""
    left = best = right / SEARCH_STEPS
    least = error(best)
    span = right - left
    for part in torch.linspace(1 / (SEARCH_STEPS - 1), 1, SEARCH_STEPS - 1, dtype=right.dtype, device=right.device):
        best, least = _better(best, least, left + span * part, error)
    if refined:
        distance = span / (SEARCH_STEPS - 1)
        for _ in range(REFINEMENTS):
            distance = distance / 2
            middle = best
            for point in (middle - distance, torch.minimum(middle + distance, right)):
                best, least = _better(best, least, point, error)
    return best


def _better(best: Tensor, least: Tensor, point: Tensor, error: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    tried = error(point)
    return torch.where(tried < least, point, best), torch.minimum(tried, least)


def _best_power(rows: Tensor, fmt: ScalarFormat, largest: Tensor) -> Tensor:
    """Try powers of two from that of the maximum down; of equal errors, the largest stays."""
    best = scales = scale_of(largest, fmt, power_of_two=True)
    least = squared_error(rows, fmt, best)
    for _ in range(1, EXPONENTS):
        scales = (scales / 2).clamp(min=torch.finfo(rows.dtype).tiny)
        best, least = _better(best, least, scales, lambda tried: squared_error(rows, fmt, tried))
    return best
