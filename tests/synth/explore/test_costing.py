"""Costs are those of the cost model, added up over the layers, and unknown ones are said to be."""

import pytest

from synth.cost.estimate import Provenance
from synth.errors import UsageError
from synth.explore.costing import Axis, Costing, UnknownCost, circuit_format
from synth.explore.evaluator import uniform
from synth.explore.space import Choice
from tests.support.exploration import LAYERS, cost_of_bits


def costing(axis, **changes):
    return Costing(**{"axis": axis, "target": "ecp5", "coster": cost_of_bits, "layers": LAYERS,
                      "owners": ("first", "last"), **changes})


INT4 = uniform(Choice(weight="int4", activation="int4"))
MIXED = (("first", Choice(weight="int4", activation="int4")), ("last", Choice(weight="int8", activation="int8")))


def test_a_mac_costs_what_the_model_says():
    asked = []

    def coster(point, target):
        asked.append((point.op, point.fmt, point.fmt_b, point.out_fmt, point.terms, target))
        return cost_of_bits(point, target)

    got = costing(Axis.MAC, coster=coster, terms=100).cost(uniform(Choice(weight="int4", activation="int6")))
    assert asked == [("emac", "int4", "int6", "exact", 100, "ecp5")]
    assert (got.value, got.low, got.high, got.provenance) == (100, 100, 100, "measured")
    assert got.detail["counted_by"] == "nextpnr"


def test_a_prediction_stays_one():
    got = costing(Axis.MAC).cost(uniform(Choice(weight="float4_e2m1fn", activation="float4_e2m1fn")))
    assert (got.value, got.low, got.high, got.provenance) == (80, 72, 88, "predicted")
    assert costing(Axis.LUT, macs=2).cost(uniform(Choice(weight="posit<6,1>", activation="int4"))).provenance == \
        "predicted"


def test_a_network_costs_the_sum_of_its_layers():
    assert costing(Axis.LUT, macs=2).cost(INT4).value == 2 * 80
    assert costing(Axis.LUT, macs=2).cost(MIXED).value == 80 + 160
    detail = costing(Axis.LUT, macs=2).cost(MIXED).detail
    assert detail["macs"] == 2
    assert detail["cycles"] == max(4 * 16 * 9, 10 * 64)
    assert costing(Axis.DSP, macs=2).cost(MIXED).value == 0
    assert costing(Axis.BRAM, macs=2).cost(MIXED).value == detail["bram"] > 0


def test_bytes_are_counted():
    first, last = 4 * 9, 10 * 64
    assert costing(Axis.BYTES).cost(INT4).value == (first + last) * 4 // 8
    assert costing(Axis.BYTES).cost(MIXED).value == (first * 4 + last * 8) // 8
    block = costing(Axis.BYTES).cost(uniform(Choice(weight="mxfp4", activation="mxfp4")))
    assert (block.value, block.provenance) == ((first + last) * 4.25 // 8 + 1, "counted")


def test_projections_take_the_formats_of_their_attention():
    got = costing(Axis.BYTES, owners=("attention", "attention")).cost(
        (("attention", Choice(weight="int4", activation="int4")),))
    assert got.value == (4 * 9 + 10 * 64) * 4 // 8


def test_more_layers_than_macs_are_refused():
    with pytest.raises(UsageError, match="MACs must be at least 2, one for each layer"):
        costing(Axis.LUT, macs=1).cost(INT4)


def test_a_block_format_has_no_mac():
    with pytest.raises(UnknownCost, match="multiply-accumulators are costed for scalar formats, not for the block "
                                          "format mxfp4; --cost bytes counts it"):
        costing(Axis.MAC).cost(uniform(Choice(weight="mxfp4", activation="mxfp4")))


@pytest.mark.parametrize("axis", [Axis.MAC, Axis.LUT])
def test_what_cannot_be_predicted_is_unknown(axis):
    def coster(point, target):
        raise UsageError("Circuit must be like those measured")

    with pytest.raises(UnknownCost, match="Circuit must be like those measured"):
        costing(axis, coster=coster).cost(INT4)


@pytest.mark.parametrize(("name", "want"), [
    ("fixed<8,7>", "int8"), ("ufixed<4,1>", "uint4"), ("int5", "int5"), ("posit<6,1>", "posit<6,1>"),
    ("fixed<8,6>:narrow_range=true", "fixed<8,6>:narrow_range=true")])
def test_the_binary_point_does_not_change_a_circuit(name, want):
    assert circuit_format(name).name == want


def test_the_circuit_of_a_fixed_point_format_is_the_integers():
    # The claim itself: the registers are as wide, and the products the same but for a constant factor.
    from synth.cost.point import Point

    models = [Point(op="emac", fmt=name, out_fmt="exact", terms=64).operation().model
              for name in ("fixed<5,4>", "int5")]
    codes = [(a, b) for a in range(32) for b in range(32)]
    assert models[0].width == models[1].width
    values = [[fmt.decode(a) * fmt.decode(b) for a, b in codes] for fmt in (models[0].a, models[1].a)]
    assert [value * 2 ** 8 for value in values[0]] == values[1]


def test_the_real_cost_model_answers():
    from synth.cost.estimate import estimate

    got = costing(Axis.MAC, coster=estimate).cost(INT4)
    assert 10 < got.low <= got.value <= got.high < 500
    assert Provenance(got.provenance) in Provenance
