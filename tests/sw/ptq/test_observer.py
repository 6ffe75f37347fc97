"""What calibration keeps of a stream, against the whole stream at once."""

import pytest
import torch

from sw.formats import parse
from sw.ptq.config import ScaleRule, ScaleStatistic
from sw.ptq.observer import Observer
from sw.ptq.scale_search import row_scales, squared_error

INT8 = parse("int8")


def stream(length=3000, *, seed=0):
    return torch.randn(length, generator=torch.Generator().manual_seed(seed))


def scale_of_stream(x, fmt, rule, sizes):
    observer = Observer(fmt, rule)
    for part in x.split(sizes):
        observer.add(part)
    assert observer.count == len(x)
    return observer.scale()


@pytest.mark.parametrize("name", ["int8", "uint8", "e4m3", "posit8_1"])
@pytest.mark.parametrize("statistic", list(ScaleStatistic))
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("sizes", [[3000], [1000] * 3, [1, 17, 2000, 982]])
def test_batches_make_no_difference(name, statistic, power_of_two, sizes):
    fmt, rule = parse(name), ScaleRule(statistic=statistic, percentile=99.5, power_of_two=power_of_two)
    want = row_scales(stream().reshape(1, -1), fmt, rule).reshape(())
    assert torch.equal(scale_of_stream(stream(), fmt, rule, sizes), want)


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9, 99.999, 100])
def test_percentile_is_exact_when_most_is_left_out(percentile, monkeypatch):
    monkeypatch.setattr("sw.ptq.observer._TAIL", 16)
    x, rule = stream(20000), ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=percentile)
    want = row_scales(x.reshape(1, -1), INT8, rule).reshape(())
    observer = Observer(INT8, rule)
    for part in x.split(500):
        observer.add(part)
    assert torch.equal(observer.scale(), want)
    if percentile >= 99:
        assert len(observer._tail) < 1000


@pytest.mark.parametrize("sizes", [[6000], [1000] * 6, [1, 2999, 17, 2983]])
def test_a_sample_is_equally_far_apart_however_the_stream_is_cut(sizes, monkeypatch):
    monkeypatch.setattr("sw.ptq.observer._SAMPLE", 1000)
    x, rule = stream(6000), ScaleRule(statistic=ScaleStatistic.MSE)
    observer = Observer(INT8, rule)
    for part in x.split(sizes):
        observer.add(part)
    sample = torch.cat([*observer._sample])
    assert torch.equal(sample, x[::8])
    want = row_scales(torch.cat([sample, x.abs().max().reshape(1)]).reshape(1, -1), INT8, rule).reshape(())
    assert torch.equal(observer.scale(), want)


def test_a_sample_finds_about_the_scale_of_the_whole(monkeypatch):
    monkeypatch.setattr("sw.ptq.observer._SAMPLE", 20000)
    x, rule = stream(64000), ScaleRule(statistic=ScaleStatistic.MSE)
    got = scale_of_stream(x, parse("int4"), rule, 1000)
    want = row_scales(x.reshape(1, -1), parse("int4"), rule)
    errors = [squared_error(x.reshape(1, -1), parse("int4"), scale.reshape(1)).item() for scale in (got, want)]
    assert errors[0] < 1.02 * errors[1], errors


def test_nothing_but_zeros_has_scale_one():
    for statistic in ScaleStatistic:
        assert scale_of_stream(torch.zeros(10), INT8, ScaleRule(statistic=statistic), [10]) == 1


def test_a_percentile_below_all_that_was_kept_is_the_smallest_of_it(monkeypatch):
    monkeypatch.setattr("sw.ptq.observer._TAIL", 16)
    # Of the first 200 elements, 4 * (20 + 1) are kept, and 100 of 1000 are to lie above the percentile.
    x, rule = torch.arange(1000, 0, -1.0), ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=90)
    assert scale_of_stream(x, INT8, rule, 200) == torch.tensor(1001.0 - 84) / 127
    assert scale_of_stream(x.flip(0), INT8, rule, 200) == torch.tensor(900.0) / 127
