"""Files that Brevitas writes, loaded: the same outputs, bit for bit, and the formats that it quantized to."""

import warnings

import pytest
import torch
from torch import nn

from sw.export import ScaledQuantizer, load_onnx
from sw.formats import parse
from sw.ptq.quantize import quantized_layers
from tests.sw.export.networks import assert_close, assert_equal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Brevitas about its own modules, and of what else could be installed
    import brevitas.nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.quant.fixed_point import Int8ActPerTensorFixedPoint, Int8WeightPerTensorFixedPoint
    from brevitas.quant.float_quant_ocp import Fp8e4m3OCPActPerTensorFloat, Fp8e4m3OCPWeightPerChannelFloat
    from brevitas.quant.scaled_int import Int8WeightPerChannelFloat, Int16Bias, Uint8ActPerTensorFloat
    from brevitas.quant.shifted_scaled_int import ShiftedUint8ActPerTensorFloat

pytestmark = pytest.mark.filterwarnings("ignore")  # of Brevitas and of torch's exporter, about themselves


def integers():
    """Activations between the layers, with values that know their scale."""
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        qnn.QuantConv2d(1, 4, 3, weight_bit_width=4, bias=True),
        qnn.QuantReLU(bit_width=4, return_quant_tensor=True), nn.MaxPool2d(2), nn.Flatten(),
        qnn.QuantLinear(36, 10, bias=True, weight_bit_width=3))


def channels():
    """A scale for each channel, a rounded bias, and inputs with a zero point."""
    return nn.Sequential(
        qnn.QuantConv2d(1, 4, 3, weight_quant=Int8WeightPerChannelFloat, input_quant=Uint8ActPerTensorFloat,
                        bias_quant=Int16Bias, bias=True), nn.AvgPool2d(2), nn.Flatten(),
        qnn.QuantLinear(36, 10, bias=False, weight_quant=Int8WeightPerChannelFloat,
                        input_quant=ShiftedUint8ActPerTensorFloat))


def floats():
    return nn.Sequential(
        qnn.QuantConv2d(1, 4, 3, weight_quant=Fp8e4m3OCPWeightPerChannelFloat, input_quant=Fp8e4m3OCPActPerTensorFloat,
                        bias=True), nn.ReLU(), nn.Flatten(),
        qnn.QuantLinear(144, 10, bias=True, weight_quant=Fp8e4m3OCPWeightPerChannelFloat))


def residual():
    """Powers of two as scales, batch normalization, a sum of two branches, depthwise."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint)
            self.first = qnn.QuantConv2d(1, 4, 1, weight_quant=Int8WeightPerTensorFixedPoint, bias=False)
            self.norm = nn.BatchNorm2d(4)
            self.depthwise = qnn.QuantConv2d(4, 4, 3, padding=1, groups=4, weight_quant=Int8WeightPerTensorFixedPoint)
            self.up = qnn.QuantConvTranspose2d(4, 2, 2, stride=2, weight_quant=Int8WeightPerTensorFixedPoint)

        def forward(self, x):
            x = self.act(self.norm(self.first(self.act(x))))
            return self.up(torch.relu(x + self.depthwise(x))).mean((2, 3))

    return Residual()


def calibrated(build):
    torch.manual_seed(0)
    model = build().train()
    for _ in range(3):
        model(torch.randn(8, 1, 8, 8))
    return model.eval()


def value_of(output):
    return getattr(output, "value", output).detach()


FORMATS = {
    integers: [("int4:narrow_range=true", "int8"), ("int3:narrow_range=true", "uint4")],
    channels: [("int8:narrow_range=true", "uint8"), ("int8:narrow_range=true", None)],
    floats: [("e4m3", "e4m3"), ("e4m3", None)],
    residual: [("int8:narrow_range=true", "int8"), ("int8:narrow_range=true", None)],
}


@pytest.mark.parametrize(("build", "dynamo"), [
    *((build, False) for build in FORMATS), pytest.param(residual, True, marks=pytest.mark.slow)],
                         ids=lambda value: getattr(value, "__name__", value))
def test_outputs_formats_and_names_are_those_of_brevitas(build, dynamo, tmp_path):
    """With both exporters of torch."""
    model = calibrated(build)
    x, path = torch.randn(3, 1, 8, 8), str(tmp_path / "model.onnx")
    want = value_of(model(x))
    export_qonnx(model, args=x, export_path=path, dynamo=dynamo)
    loaded = load_onnx(path)
    assert_equal(loaded(x).detach(), want)
    layers = quantized_layers(loaded)
    found = [tuple(None if quantizer is None else quantizer.format for quantizer in
                   (layer.weight_quantizer, layer.input_quantizer)) for layer in layers.values()]
    assert found == [tuple(None if name is None else parse(name) for name in pair) for pair in FORMATS[build]]
    kinds = (qnn.QuantConv2d, qnn.QuantLinear)
    assert list(layers) == [name for name, module in model.named_modules() if isinstance(module, kinds)]


def test_a_zero_point_stays_one(tmp_path):
    model = calibrated(lambda: nn.Sequential(qnn.QuantIdentity(act_quant=ShiftedUint8ActPerTensorFloat), nn.Sigmoid()))
    x = torch.randn(3, 1, 8, 8)
    export_qonnx(model, args=x, export_path=str(tmp_path / "model.onnx"), dynamo=False)
    loaded = load_onnx(tmp_path / "model.onnx")
    assert_close(loaded(x).detach(), value_of(model(x)))
    quantizer, = (module for module in loaded.modules() if isinstance(module, ScaledQuantizer))
    assert quantizer.zero_point > 0
