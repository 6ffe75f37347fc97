"""Bias correction: what is left of a layer's mean error, and what is not touched."""

import copy

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.ptq.bias_correction import correct_bias_
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.gptq import gptq_
from sw.ptq.quantize import calibrate, convert, prepare, quantized_layers
from tests.sw.ptq.rounding_problems import random
from tests.sw.ptq.test_layer_rounding import Network


def batches(sizes=(6, 6, 6), dtype=torch.float64):
    return [random(size, 3, 4, 4, seed=seed, dtype=dtype).abs() for seed, size in enumerate(sizes)]


def calibrated(model=None, data=None, *, inputs="int4"):
    model = Network().double().eval() if model is None else model
    activation = None if inputs is None else ActivationConfig(format=parse(inputs))
    prepare(model, Config(weight=WeightConfig(format=parse("minifloat_e2m1")), activation=activation),
            lambda _, name: name != "unused")
    calibrate(model, batches() if data is None else data)
    return model


def outputs_on_float_inputs(model, floats, x):
    """The output of each quantized layer on the input that the float model gives it, flattened, channels last."""
    found, handles = {}, []

    def keeping(name, layer):
        def hook(_, arguments, output):
            got = layer.forward(*arguments)
            found.setdefault(name, []).append(got.movedim(layer.input_axis, -1).flatten(0, -2))
        return hook

    for name, layer in quantized_layers(model).items():
        handles.append(floats.get_submodule(name).register_forward_hook(keeping(name, layer)))
    with torch.no_grad():
        floats(x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def test_on_float_inputs_each_layer_has_the_mean_output_of_the_float_layer():
    model = calibrated()
    floats = copy.deepcopy(model)
    for layer in quantized_layers(floats).values():
        layer.weight_quantizer.enabled = layer.input_quantizer.enabled = False
    x = torch.cat(batches())
    want = outputs_on_float_inputs(floats, floats, x)
    before = outputs_on_float_inputs(model, floats, x)
    corrections = correct_bias_(model, batches())
    after = outputs_on_float_inputs(model, floats, x)
    assert set(corrections) == set(want) - {"depthwise"}  # the one without a bias
    for name, output in want.items():
        torch.testing.assert_close(corrections.get(name, torch.zeros(1, dtype=torch.float64)).expand(output.shape[1]),
                                   (after[name] - before[name]).mean(0), rtol=0, atol=1e-12)
        left = (after[name] - output).mean(0).abs().max()
        assert left < 1e-12 or name == "depthwise", (name, left)
        assert (before[name] - output).mean(0).abs().max() > 1e-4, name


def test_a_layer_is_not_corrected_for_the_error_of_the_one_before():
    """A first layer whose rounding halves everything, and a second one that the format holds exactly."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).double().eval()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (3.0, 0.0, 1.0, 0.0), strict=True):
            parameter.fill_(value)
    prepare(model, Config(weight=WeightConfig(format=parse("int4"))))
    calibrate(model)
    model[0].weight_quantizer.scale.fill_(3 / 14)  # saturates at half of 3
    model[1].weight_quantizer.scale.fill_(1 / 7)
    corrections = correct_bias_(model, [torch.tensor([[1.0], [2.0]], dtype=torch.float64)])
    assert corrections["0"].item() == pytest.approx(1.5 * 1.5)
    assert corrections["1"].item() == 0


def test_batches_count_by_their_samples():
    together, apart = calibrated(inputs=None), calibrated(inputs=None)
    data = batches((2, 11, 5))
    correct_bias_(apart, data)
    correct_bias_(together, [torch.cat(data)])
    for name, parameter in together.named_parameters():
        torch.testing.assert_close(parameter, apart.get_parameter(name), rtol=0, atol=1e-12)


def test_the_model_is_nearer_to_the_float_model_afterwards():
    floats = Network().double().eval()
    x = torch.cat(batches())
    errors = []
    for correct in (False, True):
        model = calibrated(copy.deepcopy(floats))
        if correct:
            correct_bias_(model, batches())
        with torch.no_grad():
            errors.append(float((convert(model)(x) - floats(x)).square().mean()))
    assert errors[1] < errors[0]


def test_after_another_technique_the_reference_knows_the_float_weights():
    data = batches((2,))  # fewer samples than inputs: the error that GPTQ leaves has a mean
    model = calibrated(data=data, inputs=None)
    reference = copy.deepcopy(model)
    gptq_(model, data)
    without, with_reference = copy.deepcopy(model), model
    assert max(correction.abs().max() for correction in correct_bias_(without, data).values()) < 1e-12
    corrections = correct_bias_(with_reference, data, reference=reference)
    assert max(correction.abs().max() for correction in corrections.values()) > 1e-4


def test_missing_biases_are_added_if_wanted():
    model = calibrated()
    keys = model.state_dict().keys()
    correct_bias_(model, batches())
    assert model.state_dict().keys() == keys
    corrections = correct_bias_(model, batches(), add_missing=True)
    assert model.state_dict().keys() - keys == {"depthwise.bias"}
    assert torch.equal(model.depthwise.bias, corrections["depthwise"])
    assert isinstance(model.depthwise.bias, nn.Parameter)


def test_an_attention_without_biases_gets_none():
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0, bias=False, batch_first=True).eval()
    data = [random(2, 3, 4, dtype=torch.float32)]
    prepare(model, Config(weight=WeightConfig(format=parse("int3"))))
    calibrate(model)
    assert not correct_bias_(model, data)
    corrections = correct_bias_(model, data, add_missing=True)
    assert set(corrections) == {"self_attn.out_proj", "linear1", "linear2"}
    assert model.self_attn.in_proj_bias is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_biases_keep_their_type(dtype):
    model = nn.Sequential(nn.Linear(4, 3)).to(dtype).eval()
    prepare(model, Config(weight=WeightConfig(format=parse("int3"))))
    calibrate(model)
    before = model[0].bias.detach().clone()
    correction = correct_bias_(model, [random(5, 4, dtype=dtype)])["0"]
    assert model[0].bias.dtype == dtype
    assert correction.dtype == torch.float64
    torch.testing.assert_close(model[0].bias.detach(), (before.double() + correction).to(dtype))


def test_an_interruption_changes_nothing():
    model = calibrated().train()
    before = copy.deepcopy(model.state_dict())

    def interrupt(done, total):
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        correct_bias_(model, batches(), progress=interrupt)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert model.training
    assert not any(layer._forward_hooks for layer in quantized_layers(model).values())


def overflowing():
    """A float16 layer with outputs beyond its type."""
    model = nn.Sequential(nn.Linear(2, 1)).eval()
    nn.init.constant_(model[0].weight, 3e4)
    model.half()
    prepare(model, Config(weight=WeightConfig(format=parse("int4"))))
    calibrate(model)
    return model


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: correct_bias_(nn.Linear(1, 1), []), ValueError, "Model must be prepared, not a Linear without quantized"),
    (lambda: correct_bias_(calibrated(), batches(), add_missing=1), TypeError,
     "Missing-bias switch must be True or False, not 1"),
    (lambda: correct_bias_(calibrated(), []), ValueError, "Batches must be at least one, not none"),
    (lambda: correct_bias_(calibrated(), batches(), reference=nn.Linear(1, 1)), ValueError,
     "Reference must have the quantized layers of the model, not others: attention.key_projection"),
    (lambda: correct_bias_(overflowing(), [torch.full((1, 2), 3.0, dtype=torch.float16)]), ValueError,
     "Outputs must be finite to have a mean error, not with an infinity or a NaN, at layer '0' "
     r"\(Linear, weights of shape \(1, 2\)\), to int4"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_hooks_on_a_layer_are_no_error_of_its_quantizers():
    data = [random(32, 6, seed=5).abs()]
    plain = calibrated(nn.Sequential(nn.Linear(6, 4)).double().eval(), data)
    hooked = copy.deepcopy(plain)
    want = correct_bias_(plain, data)["0"]
    hooked[0].register_forward_hook(lambda layer, arguments, output: 3 * output + 1)
    got = correct_bias_(hooked, data)["0"]
    assert torch.equal(got, want), (got, want)
