"""Whole networks through circuits: which layers, which circuit for each, and the way back."""

import copy

import pytest
import torch
from torch import nn

from sw import ptq
from sw.formats import parse
from sw.nn.networks import digits_cnn, digits_residual, digits_vit
from sw.ptq import ActivationConfig, Config, WeightConfig
from synth.native.operator import operator
from synth.nn import (
    CircuitAttentionProjection,
    CircuitConv2d,
    CircuitLinear,
    circuit_layers,
    convert,
    quantize_,
    revert,
)
from tests.synth.nn.reference_units import OPERATIONS, ReferenceUnit

INT8 = parse("int8")
SETTINGS = Config(weight=WeightConfig(format=INT8), activation=ActivationConfig(format=INT8))


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unit_of(name="mac-wide"):
    return ReferenceUnit(OPERATIONS[name])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(),
                         nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def quantized(model=None, **options):
    return ptq.quantize_(network() if model is None else model, SETTINGS, batches=[data(8, 1, 4, 4)], **options)


def test_layers_stay_what_they_are_but_for_their_sums():
    model = quantized()
    x = data(5, 1, 4, 4, seed=1)
    before = dict(model.named_modules())
    keys, parameters, want = list(model.state_dict()), dict(model.named_parameters()), model(x)
    assert convert(model, unit_of()) is model
    assert dict(model.named_modules()) == before
    assert [type(layer) for layer in model if layer in circuit_layers(model).values()] == [
        CircuitConv2d, CircuitConv2d, CircuitLinear, CircuitLinear]
    assert list(circuit_layers(model)) == ["0", "2", "4", "6"]
    assert list(model.state_dict()) == keys
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    torch.testing.assert_close(model(x), want, rtol=1e-4, atol=1e-5)


def test_a_narrow_accumulator_shows():
    model = quantized()
    x = data(64, 1, 4, 4, seed=1)
    want = model(x)
    narrow = operator("mac", fmt="int8", accumulator="int12", out_fmt="int12", overflow="wrap")
    convert(model, ReferenceUnit(narrow))
    assert (model(x) - want).abs().max() > 0.1 * want.abs().max()


def test_the_way_back_is_the_quantized_model_and_then_the_float_one():
    original = network()
    model = quantized(copy.deepcopy(original))
    x = data(5, 1, 4, 4, seed=1)
    want = model(x)
    state = copy.deepcopy(model.state_dict())
    convert(model, unit_of())
    assert revert(model) is model
    assert not circuit_layers(model)
    assert [type(layer) for layer in ptq.quantized_layers(model).values()] == [
        ptq.layers.QuantizedConv2d, ptq.layers.QuantizedConv2d, ptq.layers.QuantizedLinear, ptq.layers.QuantizedLinear]
    assert torch.equal(model(x), want)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    convert(model, unit_of())
    with ptq.floating(model):
        assert torch.equal(model(x), original(x))


def test_another_circuit_takes_the_place_of_the_first():
    model, first, second = quantized(), unit_of(), unit_of("mac-wrapping")
    convert(model, first)
    convert(model, second)
    assert all(layer.unit is second for layer in circuit_layers(model).values())
    model(data(2, 1, 4, 4))
    assert second.shapes
    assert not first.shapes


def test_each_layer_may_have_its_circuit():
    model, wide, wrapping = quantized(), unit_of(), unit_of("mac-wrapping")
    convert(model, {"0": wrapping, "[24]": wide})
    assert {name: layer.unit for name, layer in circuit_layers(model).items()} == {
        "0": wrapping, "2": wide, "4": wide}
    assert type(model[6]) is ptq.layers.QuantizedLinear


def test_a_filter_leaves_layers_out():
    model = quantized()
    asked = []
    convert(model, unit_of(), lambda layer, name: asked.append((layer, name)) or isinstance(layer, nn.Linear))
    assert list(circuit_layers(model)) == ["4", "6"]
    assert asked == [(model[int(name)], name) for name in "0246"]


def test_float_layers_stay_float():
    model = quantized(filter_fn=lambda layer, name: name != "0")
    convert(model, unit_of())
    assert type(model[0]) is nn.Conv2d
    assert len(circuit_layers(model)) == 3


@pytest.mark.parametrize("batches", [None, [data(8, 1, 4, 4)]], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", ["mac-wide", "emac-e4m3", "chunked-1-6-9", "fma-e5m10", "emac-posit"])
def test_a_float_model_is_quantized_for_its_circuit(name, batches):
    model = network()
    x = data(16, 1, 4, 4, seed=1)
    want = model(x)
    unit = unit_of(name)
    assert quantize_(model, unit, batches=batches) is model
    assert len(circuit_layers(model)) == 4
    for layer in circuit_layers(model).values():
        assert layer.input_quantizer.dynamic == (batches is None)
        assert (layer.input_quantizer.format, layer.weight_quantizer.format) == (unit.a, unit.b)
    assert (model(x) - want).abs().max() < 0.3 * want.abs().max()


def test_a_float_model_may_have_several_circuits():
    model = network()
    first, second = unit_of(), unit_of("fma-e5m10")
    quantize_(model, {"0": first, "*": second}, lambda layer, name: name != "6", batches=[data(8, 1, 4, 4)])
    assert [layer.unit for layer in circuit_layers(model).values()] == [first, second, second]
    assert type(model[6]) is nn.Linear


@pytest.mark.parametrize("make", [digits_cnn, digits_residual, digits_vit])
def test_networks_of_the_library_go_through(make):
    torch.manual_seed(0)
    model = make().eval()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    quantize_(model, ReferenceUnit(operator("mac", fmt="int8", terms=4096, out_fmt="int32")), batches=[images])
    with torch.no_grad():
        got = model(images)
        torch.testing.assert_close(got, revert(model)(images), rtol=1e-3, atol=1e-5)


def test_what_ptq_did_to_a_network_stays():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 4)).eval()
    batches = [data(32, 12, seed=seed) * torch.linspace(0.1, 10, 12) for seed in range(2)]
    recipe = ptq.Recipe(smooth=ptq.SmoothQuant(folded=False), weights=ptq.GPTQ())
    quantize_(model, unit_of(), batches=batches, recipe=recipe)
    layer = model[3]
    assert ptq.is_smoothed(layer)
    x = batches[0]
    with torch.no_grad():
        got = model(x)
        hidden = model[:3](x) * layer.smoothing
        codes, _ = layer.operand_codes(hidden)
        assert torch.equal(codes, layer.input_quantizer.codes(hidden))
        torch.testing.assert_close(got, revert(model)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_the_projections_of_attention_go_through(packed):
    torch.manual_seed(0)
    sizes = {} if packed else {"kdim": 6, "vdim": 10}
    attention = nn.MultiheadAttention(8, 2, batch_first=True, **sizes).eval()
    query, key, value = (data(2, 3, size, seed=size) for size in (8, 8 if packed else 6, 8 if packed else 10))
    ptq.quantize_(attention, SETTINGS, batches=[(query, key, value)])
    want = attention(query, key, value)
    convert(attention, unit_of())
    assert [type(layer) for layer in circuit_layers(attention).values()] == [CircuitAttentionProjection] * 3 + [
        CircuitLinear]
    for mine, theirs in zip(attention(query, key, value), want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    attention(query, key, value)[0].sum().backward()
    got = [parameter.grad.clone() for parameter in attention.parameters()]
    attention.zero_grad()
    revert(attention)
    attention(query, key, value)[0].sum().backward()
    for mine, parameter in zip(got, attention.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_transformer_layer_leaves_its_fused_way():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x, unit = data(2, 3, 8), unit_of()
    quantize_(layer, unit, batches=[x])
    with torch.no_grad():
        layer(x)
    assert len(circuit_layers(layer)) == 6
    assert sorted(terms for _, terms, _ in unit.shapes) == [8, 8, 8, 8, 8, 16]


def observing():
    return ptq.prepare(network(), SETTINGS)


def half_calibrated():
    model = observing()
    ptq.calibrate(model, [data(2, 1, 4, 4)])
    model[4].input_quantizer.observing = True
    return model


def other_kind():
    model = nn.Sequential(nn.Conv1d(2, 3, 3))
    return ptq.quantize_(model, SETTINGS, batches=[data(2, 2, 5)])


@pytest.mark.parametrize(("make", "units", "options", "error", "message"), [
    (lambda: "model", unit_of(), {}, TypeError, "Model must be a torch.nn.Module, not 'str'"),
    (quantized, unit_of(), {"filter_fn": 3}, TypeError,
     "Layer filter must be callable with a module and its name, not 3"),
    (quantized, OPERATIONS["mac-wide"], {}, TypeError,
     r"Unit must be a matrix unit, as synth.native.matrix.MatrixUnit\(operation\) gives, not Operation"),
    (quantized, {"0": 3}, {}, TypeError, "Unit must be a matrix unit"),
    (quantized, {0: unit_of()}, {}, TypeError, "Units must map the name of a layer or a pattern to a unit, not 0"),
    (quantized, {"44": unit_of()}, {}, ValueError,
     "Unit pattern must match a quantized layer, not none as '44' does; the nearest name is '4'"),
    (quantized, unit_of(), {"filter_fn": lambda layer, name: False}, ValueError,
     "Model must have a quantized layer that units and filter_fn admit, not none of 0, 2, 4, 6"),
    (network, unit_of(), {}, ValueError,
     "Model must have quantized layers, not be a Sequential without; synth.nn.quantize_ quantizes and converts"),
    (other_kind, unit_of(), {}, TypeError,
     "Layer '0' must be one of QuantizedLinear, QuantizedConv2d, AttentionProjection to compute through a circuit, not "
     "QuantizedConv1d; leave it out with filter_fn"),
    (observing, unit_of(), {}, ValueError,
     r"Layer must have its scales before it computes through a circuit, not observe, at layer '0' \(Conv2d, weights of "
     r"shape \(4, 1, 3, 3\)\); see sw.ptq.calibrate"),
    (half_calibrated, unit_of(), {}, ValueError, r"not observe, at layer '4' \(Linear, weights of shape \(6, 16\)\)"),
    (quantized, unit_of("fma-e5m10"), {}, ValueError,
     "Weights must be quantized to the format of the circuit, float16, not to int8, at layer '0'"),
    (quantized, ReferenceUnit(operator("mac", fmt="int8", terms=9, out_fmt="int32")), {}, ValueError,
     "Sums must have at most the 9 products that the circuit can sum, not 16, at layer '4'"),
])
def test_what_cannot_be_converted_is_refused_and_stays(make, units, options, error, message):
    model = make()
    before = [type(module) for module in model.modules()] if isinstance(model, nn.Module) else []
    with pytest.raises(error, match=message):
        convert(model, units, **options)
    assert [type(module) for module in model.modules()] == before if before else True


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: quantize_(3, unit_of()), TypeError, "Model must be a torch.nn.Module, not 'int'"),
    (lambda: quantize_(network(), None), TypeError, "Unit must be a matrix unit"),
    (lambda: quantize_(network(), unit_of(), "0"), TypeError, "Layer filter must be callable"),
    (lambda: quantize_(quantized(), unit_of()), ValueError, "Layer '0' must be float to be prepared"),
    (lambda: quantize_(network(), {"5": unit_of()}), TypeError, "Layer '5' must be one of"),
])
def test_what_cannot_be_quantized_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("model", "units", "message"), [
    (lambda: nn.Sequential(nn.Linear(4, 700), nn.BatchNorm1d(700), nn.Linear(700, 2)), unit_of("emac-e4m3"),
     "Sums must have at most the 600 products that the circuit can sum, not 700, at layer '2'"),
    (lambda: nn.Sequential(nn.Conv1d(2, 3, 3)), unit_of(), "Layer '0' must be one of QuantizedLinear, "),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16), {"self_attn": unit_of(), "linear*": unit_of()},
     "Unit pattern must match a quantized layer, not none as 'self_attn' does"),
])
def test_what_circuits_cannot_compute_is_refused_before_anything_changes(model, units, message):
    model = model().eval()
    state, kinds = {key: value.clone() for key, value in model.state_dict().items()}, [type(x) for x in model.modules()]
    with pytest.raises((TypeError, ValueError), match=message):
        quantize_(model, units, batches=[data(8, 4)])
    assert [type(module) for module in model.modules()] == kinds
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
