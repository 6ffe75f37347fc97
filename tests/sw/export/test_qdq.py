"""Models as ONNX with QuantizeLinear and DequantizeLinear: run by onnx's reference and by onnxruntime, and loaded."""

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from sw.export import load_onnx, save_onnx_qdq
from sw.export.qdq import _type_of
from sw.formats import parse
from sw.ptq.config import Granularity, ScaleRule
from sw.ptq.quantize import quantized_layers
from tests.sw.export.networks import (
    assert_close,
    assert_equal,
    config,
    images,
    output_of,
    plain,
    quantized,
    run_onnxruntime,
    small,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


INTEGERS = {
    "first": config("int4", "int8"), "grouped": config("int3", "int5", granularity=Granularity.GROUP, group_size=1),
    "attention": config("fixed<6,4>", "uint4", dynamic=True, scale=ScaleRule()),
    "last": config("int16", "int6:narrow_range=true"),
}
FLOATS = {
    "0": config("e4m3", "float8_e5m2"), "3": config("mxfp8_e4m3", "float8_e4m3fnuz"),
    "5": config("float8_e5m2fnuz", "int16", granularity=Granularity.TENSOR, dynamic=True, scale=ScaleRule()),
}


@pytest.mark.parametrize(("build", "configs"), [(small, INTEGERS), (plain, FLOATS)], ids=["integers", "floats"])
def test_every_type_runs_elsewhere_and_comes_back(build, configs, path):
    model = quantized(build(), configs)
    save_onnx_qdq(model, path, images())
    x = images(5, seed=7)  # another batch size
    want = output_of(model, x)
    assert_close(ReferenceEvaluator(str(path)).run(None, {"input": x.numpy()})[0], want, "reference")
    assert_close(run_onnxruntime(path, x), want, "onnxruntime")
    loaded = load_onnx(path)
    assert_close(output_of(loaded, x), want, "load_onnx")
    own = quantized_layers(model)
    assert list(quantized_layers(loaded)) == list(own)
    for name, layer in quantized_layers(loaded).items():
        assert_equal(layer.quantized_weight().detach(), own[name].quantized_weight().detach(), name)


def test_four_bit_floats_want_version_23(path):
    """onnxruntime has no kernels for them yet."""
    model, x = quantized(plain(), {"0": config("e2m1", "e2m1"), "3": config("mxfp4", "int4")}), images()
    save_onnx_qdq(model, path, x)
    assert onnx.load(path).opset_import[0].version == 23
    want = output_of(model, x)
    assert_close(ReferenceEvaluator(str(path)).run(None, {"input": x.numpy()})[0], want)
    assert_close(output_of(load_onnx(path), x), want)


def test_an_attention_beside_four_bit_floats_comes_back(path):
    """It is written in the operators of version 21: a single one, Attention, is new in 23."""
    model, x = quantized(small(), config("e2m1", "e2m1")), images()
    save_onnx_qdq(model, path, x)
    proto = onnx.load(path)
    assert (proto.opset_import[0].version, proto.ir_version) == (23, 11)
    assert "Attention" not in {node.op_type for node in proto.graph.node}
    want = output_of(model, x)
    assert_close(ReferenceEvaluator(str(path)).run(None, {"input": x.numpy()})[0], want)
    assert_close(output_of(load_onnx(path), x), want)


def test_weights_are_stored_as_codes_and_inputs_between_the_types_are_clipped(path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    configs = {"0": config("int3", "int5:narrow_range=true"),
               "1": config("e4m3", None, granularity=Granularity.GROUP, group_size=16)}
    x = torch.randn(2, 64)
    quantized(model, configs, [x])
    save_onnx_qdq(model, path, x)
    proto = onnx.load(path)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    kinds = {name: onnx.TensorProto.DataType.Name(tensor.data_type) for name, tensor in constants.items()}
    assert kinds["0.weight_quantizer.codes"] == "INT4"
    assert len(constants["0.weight_quantizer.codes"].raw_data) == 64 * 64 // 2
    codes = onnx.numpy_helper.to_array(constants["0.weight_quantizer.codes"]).astype(int)
    assert (codes.min(), codes.max()) == (-4, 3)
    assert kinds["1.weight_quantizer.codes"] == "FLOAT8E4M3FN"
    assert constants["1.weight_quantizer.scale"].dims == [64, 4]
    assert not any(name.endswith(".weight") for name in constants)
    operators = [node.op_type for node in proto.graph.node]
    assert operators.index("Clip") == operators.index("QuantizeLinear") + 1
    far = torch.randn(2, 64) * 100  # so that the bounds count
    assert_close(run_onnxruntime(path, far), output_of(model, far))


def test_types_of_all_widths():
    """Weights may take a wider type than their format; inputs need a Clip, which there is for 8 bits."""

    def kind(name, *, weight):
        configs = config(name, None) if weight else config(None, name)
        layer = quantized(nn.Linear(4, 2), configs, [torch.randn(3, 4)])
        return _type_of(layer.weight_quantizer if weight else layer.input_quantizer)

    for width in range(2, 17):
        container = next(size for size in (4, 8, 16) if width <= size)
        assert kind(f"int{width}", weight=True) == (f"INT{container}", container)
    for width in (2, 3, 5, 6, 7, 8):
        assert kind(f"uint{width}", weight=False) == ("UINT8", 8)
    assert kind("int4", weight=False) == ("INT4", 4)
    assert kind("int4:narrow_range=true", weight=False) == ("INT8", 8)
    assert kind("uint16", weight=False) == ("UINT16", 16)
    for width in range(9, 16):
        with pytest.raises(ValueError, match="Format must be an integer or fixed point of up to 8 or of 16 bits"):
            kind(f"int{width}", weight=False)


@pytest.mark.parametrize(("weight", "activation", "message"), [
    ("e3m2", "int8", r"Format must be an integer or fixed point of up to 8 or of 16 bits, or one of float8_e4m3fn, "
                     r".*, in ONNX, not float6_e3m2fn, in the layer '0' \(Conv2d, weights of shape \(4, 1, 3, 3\)\); "
                     "save with save_qonnx, or with save_safetensors"),
    ("posit<8,1>", "int8", r"not posit<8,1>, in the layer '0'"),
    ("mxfp6_e3m2", "int8", "not mxfp6_e3m2, in the layer '0'"),
    ("int4", "mxfp8_e4m3", r"Format of the layer '0' \(Conv2d, .*\) must be scalar in an ONNX graph, where scales of "
                           "blocks do not follow the input, not mxfp8_e4m3"),
    ("int4", "int12", "not int12, in the layer '0'"), ("int4", "e3m4", "not float8_e3m4, in the layer '0'"),
])
def test_formats_without_a_type_are_refused_naming_the_layer(weight, activation, message, path):
    with pytest.raises(ValueError, match=message):
        save_onnx_qdq(quantized(plain(), config(weight, activation)), path, images())
    assert not path.exists()


def test_what_is_no_model_is_refused(path):
    with pytest.raises(TypeError, match="Model must be a torch.nn.Module, not 'list'"):
        save_onnx_qdq([], path, images())


@pytest.mark.slow
def test_a_layer_that_runs_twice(path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(self.layer(x).relu())

    torch.manual_seed(0)
    x = torch.randn(3, 4)
    model = quantized(Twice(), config("int4", "int8"), [x])
    save_onnx_qdq(model, path, x)
    assert_close(run_onnxruntime(path, x), output_of(model, x))
    assert_close(output_of(load_onnx(path), x), output_of(model, x))
    assert parse("int4") in {layer.weight_quantizer.format for layer in quantized_layers(load_onnx(path)).values()}
