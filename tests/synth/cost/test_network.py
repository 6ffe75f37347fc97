import json
import math

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.reference.accumulator_width import sum_grid
from synth.cost.capacity import BLOCK_RAM_SHAPES, CAPACITIES, Capacity, block_rams
from synth.cost.estimate import Estimate, Provenance
from synth.cost.layer import LayerShape, check_names, read_layers
from synth.cost.network import Arrangement, LayerFormats, network_cost
from synth.cost.shapes import layer_shapes
from synth.errors import StorageError, UsageError
from synth.targets import TARGETS

INT4, INT8, E4M3 = parse("int4"), parse("int8"), parse("minifloat_e4m3")


def coster(point, target):
    """Estimate a multiply-accumulator as ten LUTs a bit of its operands, so that sums can be checked by hand."""
    lut = 10 * (parse(point.fmt).width + parse(point.fmt_b).width)
    measured = point.fmt == "int8"
    return Estimate(point=point, target=target, lut=lut, ff=30, carry=0, dsp=int(point.dsp), bram=0, fmax_mhz=None,
                    provenance=Provenance.MEASURED if measured else Provenance.PREDICTED,
                    low=lut if measured else lut - 5, high=lut if measured else lut + 20, counted_by="yosys")


CONV = LayerShape(name="conv", channels=8, positions=64, terms=9, inputs=64)
DEPTHWISE = LayerShape(name="depthwise", channels=8, positions=64, terms=9, inputs=512, groups=8)
LINEAR = LayerShape(name="fc", channels=10, positions=1, terms=512, inputs=512)


def both(weight, activation=None, **further):
    return {layer.name: LayerFormats(weight=weight, activation=activation or weight, **further)
            for layer in (CONV, DEPTHWISE, LINEAR)}


def test_counts_of_a_layer():
    assert (CONV.weights, CONV.outputs, CONV.products) == (72, 512, 4608)
    assert CONV.split(5) == (5, 1)
    assert CONV.split(8) == (8, 1)
    assert CONV.split(24) == (8, 3)
    assert CONV.cycles(1) == CONV.products
    assert CONV.cycles(5) == 2 * 64 * 9
    assert CONV.cycles(512) == 9
    assert CONV.cycles(5120) == 9


def test_more_macs_never_take_more_cycles_and_all_products_are_done():
    for layer in (CONV, DEPTHWISE, LINEAR):
        cycles = [layer.cycles(macs) for macs in range(1, 600)]
        assert cycles == sorted(cycles, reverse=True)
        assert all(count * macs >= layer.products for macs, count in enumerate(cycles, 1))


def test_a_dataflow_sums_its_layers():
    cost = network_cost([CONV, LINEAR], both(INT8), target="ecp5", macs=2, coster=coster)
    assert (cost.macs, cost.lut, cost.ff, cost.dsp) == (2, 320, 60, 0)
    assert cost.lut_interval == (320, 320)
    assert (cost.interval_cycles, cost.latency_cycles) == (5120, 4608 + 5120)
    assert cost.weight_bytes == 72 + 5120
    assert cost.moved_bytes == 72 + 64 + 5120 + 512
    assert cost.lut_cycles == 160 * (4608 + 5120)
    assert cost.provenance is Provenance.MEASURED
    assert cost.bram == 1 + 1 + math.ceil(5120 / 2048) + 1  # weights and inputs of both
    assert [layer.accumulator_width for layer in cost.layers] == [sum_grid(INT8, INT8, terms=n).width for n in (9, 512)]


def test_macs_go_to_the_slowest_layer_until_they_are_spent_or_useless():
    for macs in (3, 7, 20, 100, 2000):
        cost = network_cost([CONV, DEPTHWISE, LINEAR], both(INT8), target="ecp5", macs=macs, coster=coster)
        assert cost.macs <= macs
        best = min(max(CONV.cycles(a), DEPTHWISE.cycles(b), LINEAR.cycles(c))
                   for a in (1, 2, 4, 8, 16, 24, 64, 512) for b in (1, 2, 4, 8, 16, 24, 64, 512) for c in (1, 2, 5, 10)
                   if a + b + c <= macs) if macs < 2000 else 512
        assert cost.interval_cycles <= best


def test_a_shared_engine_is_the_largest_of_its_layers_and_takes_turns():
    cost = network_cost([CONV, LINEAR], both(INT8), target="ecp5", macs=4, coster=coster,
                        arrangement=Arrangement.SHARED)
    assert (cost.macs, cost.lut) == (4, 640)
    assert cost.interval_cycles == CONV.cycles(4) + LINEAR.cycles(4) == cost.latency_cycles
    assert cost.bram == 1 + math.ceil(1536 / 512) + 1  # both layers' weights, one layer's activations


def test_predictions_are_marked_and_carry_their_interval():
    mixed = {**both(INT8), "fc": LayerFormats(weight=INT4, activation=INT8)}
    cost = network_cost([CONV, LINEAR], mixed, target="ecp5", macs=2, coster=coster)
    assert cost.provenance is Provenance.PREDICTED
    assert cost.lut_interval == (160 + 115, 160 + 140)
    assert [layer["provenance"] for layer in cost.to_json()["layers"]] == ["measured", "predicted"]
    assert json.loads(json.dumps(cost.to_json()))["lut"] == 280


def test_the_point_of_a_layer_says_how_it_is_built():
    points = []

    def listening(point, target):
        points.append(point)
        return coster(point, target)

    formats = {"fc": LayerFormats(weight=INT4, activation=E4M3, result=E4M3)}
    cost = network_cost([LINEAR], formats, target="ice40", macs=3, coster=listening, dsp=True, pipeline=1)
    point, = points
    assert (point.op, point.fmt, point.fmt_b, point.out_fmt) == ("emac", "int4", "minifloat_e4m3", "minifloat_e4m3")
    assert (point.terms, point.pipeline, point.dsp) == (512, 1, True)
    assert cost.dsp == 3


@pytest.mark.parametrize("width", [3, 8, 11, 12, 15, 60])
def test_an_accumulator_that_is_narrower_than_the_formats_demand(width):
    formats = {"fc": LayerFormats(weight=INT4, activation=INT4, accumulator_width=width)}
    layer = network_cost([LINEAR], formats, target="ice40", macs=1, coster=coster).layers[0]
    assert layer.mac.point.terms == max(n for n in range(1, 513) if n == 1 or sum_grid(INT4, INT4, terms=n).width
                                        <= width)
    assert layer.accumulator_width == sum_grid(INT4, INT4, terms=layer.mac.point.terms).width


def test_what_a_device_lacks_is_named():
    cost = network_cost([CONV, LINEAR], both(INT8), target="ice40", macs=18, coster=coster)
    assert cost.shortage(Capacity(lut=2879, ff=540, dsp=0, bram=0)) == {"lut": (2880, 2879), "bram": (cost.bram, 0)}
    assert cost.shortage(Capacity(lut=2880, ff=540, dsp=0, bram=cost.bram)) == {}
    fits = cost.to_json()["fits"]
    assert fits["hx8k"] is True
    assert fits["hx1k"] is False
    assert network_cost([CONV], both(INT8), target="xc7", macs=1, coster=coster).devices() == {}


@pytest.mark.parametrize(("words", "bits", "target", "count"), [
    (0, 8, "ecp5", 0), (256, 16, "ice40", 1), (257, 16, "ice40", 2), (512, 8, "ice40", 1), (2048, 9, "ecp5", 1),
    (512, 36, "gowin", 1), (512, 37, "gowin", 2), (4096, 8, "nexus", 2), (1, 100, "xc7", 3)])
def test_block_rams(words, bits, target, count):
    assert block_rams(target, words=words, bits=bits) == count


def test_every_target_has_block_rams_and_every_device_belongs_to_one():
    assert set(BLOCK_RAM_SHAPES) == set(TARGETS)
    for target, devices in CAPACITIES.items():
        assert set(devices) <= set(TARGETS[target].place_and_route.devices)
        for device, capacity in devices.items():
            assert TARGETS[target].place_and_route.devices[device].has_dsps == bool(capacity.dsp)


@pytest.mark.parametrize(("change", "message"), [
    ({"macs": 1}, "MACs must be at least 2, one for each layer of a dataflow, not 1"),
    ({"macs": 0}, "MACs must be at least 1, not 0"),
    ({"layers": []}, "Network must have layers with weights to cost, not none"),
    ({"formats": {}}, "Formats must be given for every layer, not left out for 'conv'"),
    ({"formats": {**both(INT8), "fc": LayerFormats(weight=INT4, activation=INT8)},
      "arrangement": Arrangement.SHARED}, "Formats of layers that share hardware must be the same, not 2 different"),
])
def test_network_wrong(change, message):
    arguments = {"layers": [CONV, LINEAR], "formats": both(INT8), "target": "ecp5", "macs": 4, "coster": coster}
    arguments |= change
    with pytest.raises(UsageError, match=message):
        network_cost(arguments.pop("layers"), arguments.pop("formats"), **arguments)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"name": ""}, TypeError, "Layer name must be a text, not ''"),
    ({"terms": 0}, ValueError, "Layer's count of terms must be at least 1, not 0"),
    ({"positions": 1.0}, TypeError, "Layer's count of positions must be an integer, not 1.0"),
    ({"groups": 3}, ValueError, "Layer's count of groups must divide its 8 channels, not 3"),
])
def test_layer_wrong(change, error, message):
    with pytest.raises(error, match=message):
        LayerShape(**{"name": "x", "channels": 8, "positions": 1, "terms": 1, "inputs": 1, **change})


def test_block_rams_wrong():
    with pytest.raises(UsageError, match="Target must be one of ice40, .*, not 'ice41'"):
        block_rams("ice41", words=1, bits=1)


def test_layers_from_a_file(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"layers": [{"name": "a", "channels": 4, "positions": 1, "terms": 9, "inputs": 9}]}))
    assert read_layers(path) == [LayerShape(name="a", channels=4, positions=1, terms=9, inputs=9)]


@pytest.mark.parametrize(("text", "message"), [
    ("{", "Network file must be JSON, not"),
    ("[]", "Network file must hold a list of layers under \"layers\", not"),
    ('{"layers": []}', "Network file must hold a list of layers under \"layers\", not"),
    ('{"layers": [{"name": "a"}]}', "Layer 0 of a network file must have channels, inputs, name, positions, terms"),
    ('{"layers": [{"name": "a", "channels": 0, "positions": 1, "terms": 9, "inputs": 9}]}',
     "Layer's count of channels must be at least 1, not 0"),
])
def test_file_wrong(tmp_path, text, message):
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_layers(path)
    with pytest.raises(StorageError, match="Network file must be readable, not"):
        read_layers(tmp_path / "none.json")


def test_names_that_repeat_are_refused():
    with pytest.raises(UsageError, match="Layer names must differ, not 'conv' twice"):
        check_names([CONV, LINEAR, CONV])


def test_shapes_of_a_model_in_the_order_of_execution():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 10)
            self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.tokens = nn.Linear(16, 8)

        def forward(self, x):
            x = self.tokens(self.depthwise(self.conv(x)).flatten(2))
            return self.fc(self.attention(x, x, x)[0])

    model = Model().train()
    shapes = layer_shapes(model, torch.zeros(1, 1, 8, 8))
    assert shapes == [
        LayerShape(name="conv", channels=4, positions=16, terms=9, inputs=64),
        LayerShape(name="depthwise", channels=4, positions=16, terms=9, inputs=64, groups=4),
        LayerShape(name="tokens", channels=8, positions=4, terms=16, inputs=64),
        *(LayerShape(name=f"attention.{part}", channels=8, positions=4, terms=8, inputs=32)
          for part in ("query_projection", "key_projection", "value_projection", "out_proj")),
        LayerShape(name="fc", channels=10, positions=4, terms=8, inputs=32)]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


class Keywords(nn.Module):
    """Calls its layers by keyword, and holds a normalization in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Linear(128, 3)

    def forward(self, x):
        return self.head(input=self.norm(self.conv(input=x)).flatten(1))


def test_layers_called_by_keyword_are_seen_and_modes_kept():
    model = Keywords()
    model.norm.eval()
    assert layer_shapes(model, torch.zeros(1, 1, 8, 8)) == [
        LayerShape(name="conv", channels=2, positions=64, terms=1, inputs=64),
        LayerShape(name="head", channels=3, positions=1, terms=128, inputs=128)]
    assert [module.training for module in (model, model.conv, model.norm, model.head)] == [True, True, False, True]


@pytest.mark.parametrize(("model", "message"), [
    (nn.Sequential(nn.ReLU()), "Network must have linear or convolutional layers, not Sequential without any"),
    (nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), "Layer must be linear or a convolution to be costed, not the "
                                                 "transposed one '0'"),
])
def test_shapes_wrong(model, message):
    with pytest.raises(UsageError, match=message):
        layer_shapes(model, torch.zeros(1, 1, 8, 8))


def test_a_layer_used_twice_is_refused():
    layer = nn.Conv2d(1, 1, 1)
    with pytest.raises(UsageError, match="Layer must be used once in a network that is costed, not twice: '0'"):
        layer_shapes(nn.Sequential(layer, layer), torch.zeros(1, 1, 8, 8))
