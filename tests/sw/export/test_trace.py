"""Graphs with placeholders, and the models that do not become one."""

import logging

import pytest
import torch
from torch import nn

from sw.export import ScaledQuantizer
from sw.export.trace import PLACEHOLDER_DOMAIN, checked_examples, trace
from sw.formats import parse
from sw.ptq.config import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic
from sw.ptq.quantize import floating, prepare, weights_only
from sw.ptq.tensor_quantizer import TensorQuantizer
from tests.sw.export.networks import config, images, plain, quantized


def placeholders(traced):
    return [node.attribute[0].s.decode() for node in traced.proto.graph.node if node.domain == PLACEHOLDER_DOMAIN]


def test_each_quantizer_is_a_placeholder_and_the_model_stays(caplog):
    model, x = quantized(plain().train(), config("int4", "int8")).train(), images()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        traced = trace(model, x, opset=20, dynamic_batch=False)
    assert not [record for record in caplog.records if record.name.startswith(("torch.onnx", "onnxscript"))]
    names = [f"{layer}.{kind}_quantizer" for layer in (0, 3, 5) for kind in ("input", "weight")]
    assert sorted(placeholders(traced)) == sorted(names) == sorted(traced.quantizers)
    assert torch.equal(traced.inputs["0.input_quantizer"], x)
    assert torch.equal(traced.inputs["3.weight_quantizer"], model[3].weight)
    assert traced.scale("0.input_quantizer").shape == ()
    assert traced.scale("3.weight_quantizer").shape == (4, 1)
    assert model.training
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_quantizers_that_are_off_are_not_in_the_graph():
    model = quantized(plain(), config("int4", "int8"))
    with weights_only(model):
        traced = trace(model, images(1), opset=20, dynamic_batch=True)  # of which torch would make a constant
    assert sorted(placeholders(traced)) == [f"{layer}.weight_quantizer" for layer in (0, 3, 5)]
    assert traced.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    with floating(model), pytest.raises(ValueError, match="Model must have quantized layers to be exported, not none"):
        trace(model, images(), opset=20, dynamic_batch=False)


def test_a_model_that_torch_cannot_trace_is_refused():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            x = self.layer(x)
            return x if x.sum() > 0 else -x

    model = quantized(Branching(), config("int4", None), [torch.randn(3, 4)])
    with pytest.raises(ValueError, match="Model must be one that torch.onnx.export can trace, not one that stops it "
                                         r"with \w+: .*; dynamic_batch=False asks for less"):
        trace(model, torch.randn(3, 4), opset=20, dynamic_batch=True)


@pytest.mark.parametrize(("examples", "error", "message"), [
    ([1.0], TypeError, "Example inputs must be tensors, not 'float'"),
    (None, TypeError, "Example inputs must be tensors, not 'NoneType'"),
    ([], ValueError, r"Example inputs must be at least one tensor, not \(\)"),
    (torch.randn(2, dtype=torch.float64), TypeError,
     "Example inputs must be of torch.float32, which the graph computes in, not torch.float64"),
])
def test_example_inputs_are_checked(examples, error, message):
    with pytest.raises(error, match=message):
        checked_examples(examples)


def test_a_batch_that_varies_needs_a_dimension():
    with pytest.raises(ValueError, match=r"Example inputs must each have a first dimension for it to vary, not be of "
                                         r"shape \(\); dynamic_batch=False asks for less"):
        trace(quantized(plain(), config("int4", "int8")), torch.tensor(1.0), opset=20, dynamic_batch=True)


def test_integers_may_be_inputs():
    assert len(checked_examples((torch.tensor([1]), torch.randn(2)))) == 2


def test_models_that_are_not_ready_are_refused():
    with pytest.raises(TypeError, match="Model must be a torch.nn.Module, not 'int'"):
        trace(3, images(), opset=20, dynamic_batch=False)
    with pytest.raises(ValueError, match=r"Model must be calibrated to be exported, not with layer '0' \(Conv2d, .*\) "
                                         "still observing; see sw.ptq.calibrate"):
        trace(prepare(plain(), config("int4", "int8")), images(), opset=20, dynamic_batch=False)
    with pytest.raises(TypeError, match="Parameter '0.weight' must be of torch.float32, which the graph computes in, "
                                        "not torch.float64; see model.float()"):
        trace(quantized(plain(), config("int4", None)).double(), images(), opset=20, dynamic_batch=False)


def test_quantizers_of_an_imported_graph_are_refused():
    model = nn.Sequential(ScaledQuantizer(parse("int4"), torch.tensor(1.0)), quantized(plain(), config("int4", None)))
    with pytest.raises(ValueError, match="Model must be quantized in its layers alone to be exported, not by the "
                                         "ScaledQuantizer '0', which a file had; keep that file"):
        trace(model, images(), opset=20, dynamic_batch=False)


def test_a_torch_that_is_too_old_is_named(monkeypatch):
    model = quantized(plain(), config("int4", None))
    monkeypatch.delattr("torch.onnx.ops.symbolic")
    with pytest.raises(ModuleNotFoundError, match="torch must be of version 2.8 or later to write ONNX files, not .*; "
                                                  "pip install --upgrade torch"):
        trace(model, images(), opset=20, dynamic_batch=False)


def dynamic(granularity, rule):
    return Config(weight=None, activation=ActivationConfig(format=config("int8", None).weight.format, dynamic=True,
                                                           granularity=granularity, scale=rule))


PERCENTILE = ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=99.9)


@pytest.mark.parametrize(("granularity", "rule", "batch", "message"), [
    (Granularity.TENSOR, ScaleRule(statistic=ScaleStatistic.MSE), False, "not by mse of 256 elements"),
    (Granularity.TENSOR, ScaleRule(statistic=ScaleStatistic.ONE), False, "not by one of 256 elements"),
    (Granularity.TENSOR, ScaleRule(power_of_two=True), False,
     "not by absmax of 256 elements, rounded to a power of two; quantize with static scales, dynamically by the "
     "largest magnitude, or save with save_safetensors"),
    (Granularity.TENSOR, PERCENTILE, True, "not by percentile of 256 elements"),
    (Granularity.TENSOR, ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=90), False,
     "not by percentile of 256 elements"),
    (Granularity.TOKEN, ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=90), True,
     "not by percentile of 64 elements"),
])
def test_dynamic_scales_by_other_rules_are_refused(granularity, rule, batch, message, monkeypatch):
    model = quantized(plain(), dynamic(granularity, rule))
    monkeypatch.setattr("sw.export.trace._exported", lambda *arguments: None)  # the slow part, and not reached
    with pytest.raises(ValueError, match="Dynamic scales of the layer '0' .* must be by the largest magnitude in an "
                                         f"ONNX graph, {message}"):
        trace(model, images(), opset=20, dynamic_batch=batch)


@pytest.mark.parametrize(("granularity", "batch"), [(Granularity.TENSOR, False), (Granularity.TOKEN, True)])
def test_a_percentile_of_few_elements_is_the_largest_one(granularity, batch, monkeypatch):
    monkeypatch.setattr("sw.export.trace._exported", lambda *arguments: None)
    model = quantized(plain(), dynamic(granularity, ScaleRule(statistic=ScaleStatistic.PERCENTILE)))
    found = trace(model, images(), opset=20, dynamic_batch=batch)
    assert len(found.quantizers) == sum(isinstance(module, TensorQuantizer) for module in model.modules())
