"""What calibration keeps of a stream of tensors: enough for a scale, and no more."""

import torch
from torch import Tensor

from sw.formats import ScalarFormat
from sw.ptq.config import ScaleRule, ScaleStatistic
from sw.ptq.scale_search import magnitudes, percentile_rank, row_scales, scale_of

# The largest elements that are always kept: the percentile 99.999 of up to 1.6e9 elements is among them for certain.
_TAIL = 1 << 14

# Beyond, so many times as many as the percentile needs by then.
_SPARE = 4

# Elements that the search for the least squared error looks at.
_SAMPLE = 1 << 19


class Observer:
    """Watches the tensors that a static scale is to serve.

    ``ABSMAX`` keeps the largest magnitude. ``PERCENTILE`` keeps the largest elements, so that the percentile is that of
    everything observed, however it was cut into batches (Brevitas takes that of each batch, and the mean): exactly, as
    long as the elements above it are at most 16,384 or, beyond, no part of the stream holds more than four times its
    share of them; otherwise it is the smallest element that was kept, which is above. ``MSE`` keeps up to 524,288
    elements, equally far apart in the stream, and the largest magnitude.

    Parameters
    ----------
    fmt : ScalarFormat
    rule : ScaleRule
    """

    def __init__(self, fmt: ScalarFormat, rule: ScaleRule) -> None:
        self._format = fmt
        self._rule = rule
        self._count = 0
        self._largest: Tensor | None = None
        self._tail: Tensor | None = None
        self._sample: list[Tensor] = []
        self._stride = 1

    @property
    def count(self) -> int:
        """How many elements were observed."""
        return self._count

    def add(self, x: Tensor) -> None:
        """Take the elements of ``x`` in: a finite float32 or float64 tensor that has some."""
        x = x.detach().reshape(-1)
        low, high = torch.aminmax(x)
        largest = torch.maximum(-low, high) if self._format.signed else high.clamp(min=0)
        self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)
        if self._rule.statistic is ScaleStatistic.PERCENTILE:
            self._add_tail(x)
        elif self._rule.statistic is ScaleStatistic.MSE:
            self._add_sample(x)
        self._count += x.numel()

    def _add_tail(self, x: Tensor) -> None:
        seen = self._count + x.numel()
        wanted = max(_TAIL, _SPARE * (seen - percentile_rank(self._rule.percentile, seen) + 1))
        x = magnitudes(x, self._format)
        if self._tail is not None:
            if len(self._tail) < self._count:  # something was left out already, and all of that was smaller
                x = x[x > self._tail[-1]]
            x = torch.cat([self._tail, x])
        self._tail = x.topk(min(wanted, len(x))).values

    def _add_sample(self, x: Tensor) -> None:
        self._sample.append(x[-self._count % self._stride::self._stride].clone())
        while sum(len(part) for part in self._sample) > _SAMPLE:
            self._sample = [torch.cat(self._sample)[::2]]
            self._stride *= 2

    def scale(self) -> Tensor:
        """Return the scale by the rule, of shape ``()``; something must have been observed."""
        assert self._largest is not None
        rule = self._rule
        if rule.statistic is ScaleStatistic.ONE:
            return torch.ones_like(self._largest)
        if rule.statistic is ScaleStatistic.MSE:
            # The largest of all joins the sample: the search begins there, and a sum of squares hardly feels it.
            sample = torch.cat([*self._sample, self._largest.reshape(1)] if self._stride > 1 else self._sample)
            return row_scales(sample.reshape(1, -1), self._format, rule).reshape(())
        statistic = self._largest
        if rule.statistic is ScaleStatistic.PERCENTILE:
            assert self._tail is not None
            from_top = self._count - percentile_rank(rule.percentile, self._count)
            # Where the stream began with most of its largest elements, more of the others would have had to be kept.
            statistic = self._tail[min(from_top, len(self._tail) - 1)]
        return scale_of(statistic, self._format, power_of_two=rule.power_of_two)
