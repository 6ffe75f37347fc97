"""How networks are quantized for a circuit: formats that are the circuit's, and scales that its sums have room for."""

from __future__ import annotations

from sw.formats import FixedPointFormat
from sw.formats.check import check_boolean
from sw.ptq import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic, WeightConfig
from sw.ptq.scale_search import scale_target
from synth.nn.functional import result_dtype
from synth.nn.unit import Unit, check_unit

ROOM = 256
"""Products of operands at the top of their scales that sums must hold for operands to be scaled at all."""


def config_for(unit: Unit, *, dynamic: bool = True) -> Config:
    """Return how layers are quantized whose products come from a circuit.

    Weights to ``unit.b``, with a scale for each output channel that has the least squared error; inputs to ``unit.a``,
    with one scale, which brings the largest magnitude to the format's largest value (that of a posit, to its useed: see
    :func:`sw.ptq.scale_search.scale_target`).

    That would fill the range of an accumulator with a few products, where it is little wider than the operands: a
    float16 does not hold a single product of two e4m3 that are both at their largest, 448. So where ``unit.result``
    does not hold ``ROOM`` products of operands at the top of their scales, all scales are 1, and the formats are taken
    as they are. Fixed-point operands are scaled in any case: they hold numbers as small as weights no other way.

    Parameters
    ----------
    unit : Unit
    dynamic : bool
        Whether the scale of inputs follows each input, or is that of calibration batches.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, weights or inputs cannot be quantized to the format, or tensors cannot hold
        the sums.
    """
    check_unit(unit)
    check_boolean("Dynamic switch", dynamic)
    result_dtype(unit)
    weight = ScaleRule(statistic=ScaleStatistic.MSE) if _is_scaled(unit) else ScaleRule(statistic=ScaleStatistic.ONE)
    return Config(weight=WeightConfig(format=unit.b, granularity=Granularity.CHANNEL, scale=weight),
                  activation=ActivationConfig(format=unit.a, dynamic=dynamic, scale=input_rule(unit)))


def input_rule(unit: Unit) -> ScaleRule:
    """Return where scales of inputs come from: the largest magnitude, or 1 where formats are taken as they are."""
    return ScaleRule(statistic=ScaleStatistic.ABSMAX if _is_scaled(unit) else ScaleStatistic.ONE)


def _is_scaled(unit: Unit) -> bool:
    if isinstance(unit.a, FixedPointFormat) and isinstance(unit.b, FixedPointFormat):
        return True
    assert unit.result is not None  # or result_dtype had refused it
    fits: bool = ROOM * scale_target(unit.a) * scale_target(unit.b) <= unit.result.max_finite
    return fits
