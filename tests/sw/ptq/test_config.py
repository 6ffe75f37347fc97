"""What a configuration accepts, and what it says to anything else."""

import dataclasses

import pytest

from sw.formats import FloatingPointFormat, parse, parse_block
from sw.ptq.config import (
    ActivationConfig,
    Config,
    Granularity,
    ScaleRule,
    ScaleSearch,
    ScaleStatistic,
    WeightConfig,
)

INT4, E4M3, UINT8, MXFP4 = parse("int4"), parse("e4m3"), parse("uint8"), parse_block("mxfp4")


def test_defaults_are_the_benchmarks():
    config = Config(weight=WeightConfig(format=INT4), activation=ActivationConfig(format=E4M3))
    assert config.weight.granularity is Granularity.CHANNEL
    assert config.weight.scale == ScaleRule(statistic=ScaleStatistic.MSE)
    assert config.activation.granularity is Granularity.TENSOR
    assert not config.activation.dynamic
    assert config.activation.scale == ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=99.999)


def test_configs_are_values():
    a, b = (Config(weight=WeightConfig(format=INT4)) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != dataclasses.replace(a, weight=WeightConfig(format=E4M3))


def test_text_names_the_formats():
    config = Config(weight=WeightConfig(format=INT4), activation=ActivationConfig(format=MXFP4))
    assert config.text == "weights int4, inputs mxfp4"
    assert Config(weight=None, activation=ActivationConfig(format=UINT8)).text == "inputs uint8"


@pytest.mark.parametrize(("build", "error", "message"), [
    (lambda: ScaleRule(statistic="mse"), TypeError, "Scale statistic must be a ScaleStatistic, not 'mse'"),
    (lambda: ScaleRule(percentile="99"), TypeError, "Percentile must be a number, not '99'"),
    (lambda: ScaleRule(percentile=True), TypeError, "Percentile must be a number, not True"),
    (lambda: ScaleRule(percentile=0), ValueError, "Percentile must be more than 0 and at most 100, not 0"),
    (lambda: ScaleRule(percentile=100.1), ValueError, "Percentile must be more than 0 and at most 100, not 100.1"),
    (lambda: ScaleRule(search="grid"), TypeError, "Scale search must be a ScaleSearch, not 'grid'"),
    (lambda: ScaleRule(power_of_two=1), TypeError, "Power-of-two switch must be True or False, not 1"),
    (lambda: WeightConfig(format="int4"), TypeError,
     "Weight format must be a format, not the text 'int4'; see sw.formats.parse"),
    (lambda: WeightConfig(format=None), TypeError, "Format must be a FloatingPointFormat.*not None"),
    (lambda: WeightConfig(format=parse("fixed<40,0>")), ValueError, "Format must have at most 32 bits"),
    (lambda: WeightConfig(format=parse("e8m0")), ValueError, "Weight format must have a zero, not 'float8_e8m0fnu'"),
    (lambda: WeightConfig(format=parse("int1")), ValueError, "Weight format must have a positive value, not 'int1'"),
    (lambda: WeightConfig(format=UINT8), ValueError, "Weight format must be signed, not 'uint8'"),
    (lambda: WeightConfig(format=INT4, scale=None), TypeError, "Weight scale must be a ScaleRule, not None"),
    (lambda: WeightConfig(format=INT4, granularity="group"), TypeError,
     "Weight granularity must be a Granularity, not 'group'"),
    (lambda: WeightConfig(format=INT4, granularity=Granularity.TOKEN), ValueError,
     "Weight granularity must be tensor, channel or group, not token"),
    (lambda: WeightConfig(format=INT4, group_size=8), ValueError,
     "Weight group_size must be None unless a scalar format is scaled by groups, not 8"),
    (lambda: WeightConfig(format=MXFP4, granularity=Granularity.GROUP, group_size=32), ValueError,
     "Weight group_size must be None unless a scalar format"),
    (lambda: WeightConfig(format=INT4, granularity=Granularity.GROUP), TypeError,
     "Weight group_size must be an integer, not None"),
    (lambda: WeightConfig(format=INT4, granularity=Granularity.GROUP, group_size=0), ValueError,
     "Weight group_size must be at least 1, not 0"),
    (lambda: ActivationConfig(format=parse("e8m0")), ValueError, "Activation format must have a zero"),
    (lambda: ActivationConfig(format=INT4, dynamic=None), TypeError, "Dynamic switch must be True or False, not None"),
    (lambda: ActivationConfig(format=INT4, granularity=Granularity.TOKEN), ValueError,
     "Activation granularity must be tensor for static scales, not token; give dynamic=True"),
    (lambda: ActivationConfig(format=INT4, granularity=Granularity.CHANNEL, dynamic=True), ValueError,
     "Activation granularity must be tensor, token or group, not channel"),
    (lambda: Config(weight=INT4), TypeError, "Config weight must be a WeightConfig or None, not FixedPointFormat"),
    (lambda: Config(weight=None, activation=WeightConfig(format=INT4)), TypeError,
     "Config activation must be an ActivationConfig or None"),
    (lambda: Config(weight=None), ValueError, "Config must quantize weights or activations, not neither"),
])
def test_wrong_configs_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_wide_ranges_are_refused():
    wide = FloatingPointFormat(exponent_bits=15, fraction_bits=4)
    with pytest.raises(ValueError, match="Format must have its normal numbers between"):
        ActivationConfig(format=wide)


def test_every_search_can_be_asked_for():
    assert [ScaleRule(search=search).search for search in ScaleSearch] == list(ScaleSearch)
