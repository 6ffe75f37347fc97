"""Graphs that other programs write, as modules. What Brevitas writes is in test_brevitas.py."""

import copy
import pickle

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save
from torch import nn

from sw.export import ScaledQuantizer, load_onnx
from sw.export.onnx_file import opset_of, read_onnx
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.ptq.layers import QuantizedConv2d, QuantizedLinear
from sw.ptq.quantize import quantized_layers
from tests.sw.export.networks import assert_close, assert_equal, run_onnxruntime
from tests.sw.export.qonnx_oracle import run_qonnx

QONNX = "qonnx.custom_op.general"
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def node(operator, inputs, output, *, domain="", **attributes):
    return helper.make_node(operator, inputs.split(), [output], name=f"{operator}_{output}", domain=domain,
                            **attributes)


def quant(source, scale, output, *, bits="bits", point="zero", operator="IntQuant", signed=1, narrow=0,
          rounding="ROUND"):
    return node(operator, f"{source} {scale} {point} {bits}", output, domain=QONNX, signed=signed, narrow=narrow,
                rounding_mode=rounding)


def model_of(nodes, shape, constants, path, *, opset=20, outputs=("y",), input_type=TensorProto.FLOAT):
    """Save a graph with one input, ``x``, and those of the constants that its nodes take."""
    used = {name for each in nodes for name in each.input}
    tensors = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
               for name, value in constants.items() if name in used]
    graph = helper.make_graph(nodes, "graph", [helper.make_tensor_value_info("x", input_type, shape)],
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
                              tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 2)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


CONSTANTS = {"zero": np.float32(0), "bits": np.float32(4), "eight": np.float32(8), "s": np.float32(0.07),
             "per_channel": (abs(floats(4, 1, 1, 1)) + 0.05).astype(np.float32)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("operator", ["Quant", "IntQuant"])
def test_a_network_of_qonnx_becomes_quantized_layers(operator, path):
    nodes = [quant("x", "s", "xq", bits="eight", operator=operator, signed=0),
             quant("features.conv.weight", "per_channel", "wq", operator=operator, narrow=1),
             node("Conv", "xq wq features.conv.bias", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"),
             quant("r", "s", "rq", bits="eight", operator=operator),
             node("MaxPool", "rq", "p", kernel_shape=[2, 2], strides=[2, 2]),
             node("Flatten", "p", "f"), quant("fc.weight", "s", "fq", operator=operator),
             node("Gemm", "f fq fc.bias", "y", transB=1)]
    constants = {**CONSTANTS, "features.conv.weight": floats(4, 3, 3, 3), "features.conv.bias": floats(4),
                 "fc.weight": floats(5, 36), "fc.bias": floats(5)}
    x = floats(2, 3, 6, 6)
    model = load_onnx(model_of(nodes, x.shape, constants, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    layers = quantized_layers(model)
    assert list(layers) == ["features.conv", "fc"]
    conv, fc = layers.values()
    assert isinstance(conv, QuantizedConv2d)
    assert isinstance(fc, QuantizedLinear)
    assert conv.weight_quantizer.format == parse("int4:narrow_range=true")
    assert torch.equal(conv.weight_quantizer.scale, torch.from_numpy(CONSTANTS["per_channel"]).flatten())
    assert conv.input_quantizer.format == parse("uint8")
    # Through the pooling: the largest of rounded numbers is the largest number, rounded.
    assert (fc.input_quantizer.format, fc.input_quantizer.scale) == (parse("int8"), torch.tensor(0.07))
    assert not any(isinstance(module, ScaledQuantizer) for module in model.modules())


def test_the_module_can_be_copied_pickled_and_stored(path):
    nodes = [quant("x", "s", "xq"), node("Relu", "xq", "r"), quant("w", "s", "wq"), node("MatMul", "r wq", "m"),
             node("Div", "m two", "y")]
    load = model_of(nodes, (3, 4), {**CONSTANTS, "w": floats(4, 2), "two": np.float32(2)}, path)
    model, x = load_onnx(load), torch.from_numpy(floats(3, 4))
    other = load_onnx(load)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
        assert_equal(twin(x).detach(), model(x).detach())


def test_a_value_that_others_use_too_keeps_its_quantizer(path):
    """A residual: what enters the layer is added to what leaves it, rounded."""
    nodes = [quant("x", "s", "xq"), quant("w", "s", "wq"), node("MatMul", "xq wq", "m"), node("Add", "m xq", "y")]
    x = floats(3, 4)
    model = load_onnx(model_of(nodes, x.shape, {**CONSTANTS, "w": floats(4, 4)}, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    layer, = quantized_layers(model).values()
    assert layer.input_quantizer is None
    assert [module.format for module in model.modules() if isinstance(module, ScaledQuantizer)] == [parse("int4")]


@pytest.mark.parametrize(("case", "lifted"), [
    ({"point": "five"}, False), ({"rounding": "FLOOR"}, False), ({"signed": 0}, False), ({}, True)], ids=str)
def test_weights_that_ptq_has_no_quantizer_for_are_quantized_by_the_graph(case, lifted, path):
    nodes = [quant("w", "s", "wq", **case), node("MatMul", "x wq", "y")]
    x = floats(3, 4)
    model = load_onnx(model_of(nodes, x.shape, {**CONSTANTS, "w": floats(4, 2), "five": np.float32(5)}, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    assert bool(quantized_layers(model)) == lifted


def test_inputs_with_a_zero_point_or_another_rounding(path):
    nodes = [quant("x", "s", "a", point="five", signed=0), quant("a", "t", "b", rounding="CEIL"),
             node("Sigmoid", "b", "y")]
    x = floats(3, 40) * 4
    model = load_onnx(model_of(nodes, x.shape, {**CONSTANTS, "five": np.float32(5), "t": np.float32(0.3)}, path))
    assert_close(model(torch.from_numpy(x)), run_qonnx(path, {"x": x})["y"])
    first, second = (module for module in model.modules() if isinstance(module, ScaledQuantizer))
    assert (first.zero_point, second.rounding) == (torch.tensor(5.0), RoundingMode.UP)


def test_minifloats_saturating_and_not(path):
    parts = {"e": np.float32(4), "m": np.float32(3), "bias": np.float32(7), "top": np.float32(448)}
    common = {"domain": QONNX, "has_inf": 0, "has_nan": 1, "has_subnormal": 1, "rounding_mode": "ROUND"}
    nodes = [node("FloatQuant", "x s e m bias top", "a", saturation=1, **common),
             node("FloatQuant", "x s e m bias top", "b", saturation=0, **common), node("Add", "a b", "y")]
    x = floats(5, 40) * 16
    model = load_onnx(model_of(nodes, x.shape, {**CONSTANTS, **parts}, path))
    assert_equal(np.nan_to_num(model(torch.from_numpy(x)).numpy()), np.nan_to_num(run_qonnx(path, {"x": x})["y"]))
    first, second = (module for module in model.modules() if isinstance(module, ScaledQuantizer))
    assert (first.format, first.overflow, second.overflow) == (parse("e4m3"), OverflowPolicy.SATURATE,
                                                               OverflowPolicy.INFINITY)


def test_scales_that_the_graph_computes(path):
    nodes = [node("Abs", "x", "a"), node("ReduceMax", "a axis", "top"), node("Mul", "top seventh", "scale"),
             quant("x", "scale", "q"), quant("w", "s", "wq"), node("MatMul", "q wq", "y")]
    x = floats(3, 4)
    constants = {**CONSTANTS, "axis": np.array([-1]), "seventh": np.float32(1 / 7), "w": floats(4, 2)}
    model = load_onnx(model_of(nodes, x.shape, constants, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])


def test_a_transposed_quantized_weight_is_that_of_a_linear_layer(path):
    """As torch's exporter and Brevitas write layers on sequences."""
    nodes = [quant("block.fc.weight", "rows", "wq"), node("Transpose", "wq", "wt", perm=[1, 0]),
             node("MatMul", "x wt", "m"), node("Add", "m b", "y")]
    x = floats(2, 3, 4)
    constants = {**CONSTANTS, "block.fc.weight": floats(5, 4), "rows": abs(floats(5, 1)) + 0.1, "b": floats(5)}
    model = load_onnx(model_of(nodes, x.shape, constants, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    layer = quantized_layers(model)["block.fc"]
    assert torch.equal(layer.weight_quantizer.scale, torch.from_numpy(constants["rows"]).flatten())


def test_float_layers_that_nothing_quantizes_stay_float(path):
    nodes = [node("Conv", "x w b", "c"), node("Flatten", "c", "f"), node("Gemm", "f v", "y")]
    x = floats(2, 3, 4, 4)
    model = load_onnx(model_of(nodes, x.shape, {"w": floats(4, 3, 3, 3), "b": floats(4), "v": floats(16, 2)}, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_onnxruntime(path, torch.from_numpy(x)))
    assert [type(module) for module in model.children()] == [nn.Conv2d, nn.Linear]


# QuantizeLinear and DequantizeLinear

def codes_of(name, values, kind):
    return helper.make_tensor(name, kind, np.shape(values), np.asarray(values).flatten())


QDQ = {"s": np.float32(0.07), "zero": codes_of("zero", 0, TensorProto.INT8),
       "low": codes_of("low", -8, TensorProto.INT8), "high": codes_of("high", 7, TensorProto.INT8),
       "rows": abs(floats(4)) + 0.1}


@pytest.mark.parametrize(("zero", "clip", "name"), [
    (codes_of("zero", 0, TensorProto.INT8), False, "int8"), (codes_of("zero", 0, TensorProto.UINT8), False, "uint8"),
    (codes_of("zero", 3, TensorProto.INT8), False, "int8"), (codes_of("zero", 0, TensorProto.INT8), True, "int4"),
    (codes_of("zero", 0, TensorProto.FLOAT8E4M3FN), False, "e4m3"),
    (codes_of("zero", 0, TensorProto.FLOAT8E5M2FNUZ), False, "float8_e5m2fnuz"),
    (codes_of("zero", 0, TensorProto.INT16), False, "int16")], ids=str)
def test_a_pair_of_nodes_is_one_quantizer(zero, clip, name, path):
    nodes = [node("QuantizeLinear", "x s zero", "q"), *([node("Clip", "q low high", "c")] if clip else []),
             node("DequantizeLinear", f"{'c' if clip else 'q'} s zero", "d"), node("Sigmoid", "d", "y")]
    x = floats(3, 40) * 8
    model = load_onnx(model_of(nodes, x.shape, {**QDQ, "zero": zero}, path, opset=21))
    assert_close(model(torch.from_numpy(x)), run_onnxruntime(path, torch.from_numpy(x)))
    quantizer, = (module for module in model.modules() if isinstance(module, ScaledQuantizer))
    assert quantizer.format == parse(name)


@pytest.mark.parametrize("zero", [0, 1, 2, 131])
def test_a_pair_rounds_before_it_adds_the_zero_point(zero, path):
    """Halfway between two codes, an odd zero point added first would lead to the other one."""
    nodes = [node("QuantizeLinear", "x half zero", "q"), node("DequantizeLinear", "q half zero", "y")]
    x = torch.arange(-600, 600).reshape(3, 400) / 8
    model = load_onnx(model_of(nodes, x.shape, {"half": np.float32(0.25), "zero": codes_of(
        "zero", zero, TensorProto.UINT8)}, path, opset=21))
    assert_equal(model(x), run_onnxruntime(path, x))


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.INT8, "int8"), (TensorProto.INT4, "int4"),
                                            (TensorProto.FLOAT8E4M3FN, "e4m3")])
@pytest.mark.parametrize(("scale", "attributes"), [
    ("s", {}), ("rows", {"axis": 0}), ("blocks", {"axis": 1, "block_size": 2})], ids=["tensor", "channel", "group"])
def test_constant_codes_are_the_weights_of_a_layer(kind, name, scale, attributes, path):
    codes = codes_of("w", RANDOM.integers(-7, 8, (4, 6)), kind)
    nodes = [node("DequantizeLinear", f"w {scale}", "d", **attributes), node("Gemm", "x d", "y", transB=1)]
    x = floats(3, 6)
    constants = {**QDQ, "w": codes, "blocks": abs(floats(4, 3)) + 0.1}
    model = load_onnx(model_of(nodes, x.shape, constants, path, opset=21))
    assert_close(model(torch.from_numpy(x)).detach(), run_onnxruntime(path, torch.from_numpy(x)))
    layer, = quantized_layers(model).values()
    assert layer.weight_quantizer.format == parse(name)
    assert torch.equal(layer.quantized_weight(), layer.weight)


def test_constant_codes_with_a_zero_point(path):
    codes, point = codes_of("w", RANDOM.integers(0, 15, (6, 4)), TensorProto.UINT8), codes_of("p", 7, TensorProto.UINT8)
    nodes = [node("DequantizeLinear", "w s p", "d"), node("MatMul", "x d", "y")]
    x = floats(3, 6)
    model = load_onnx(model_of(nodes, x.shape, {**QDQ, "w": codes, "p": point}, path, opset=21))
    assert_close(model(torch.from_numpy(x)).detach(), run_onnxruntime(path, torch.from_numpy(x)))


def test_a_pair_whose_scale_the_graph_computes(path):
    nodes = [node("Abs", "x", "a"), node("ReduceMax", "a", "top", keepdims=0), node("Mul", "top s", "scale"),
             node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero", "y")]
    x = torch.from_numpy(floats(3, 4))
    model = load_onnx(model_of(nodes, x.shape, QDQ, path, opset=21))
    assert_equal(model(x), run_onnxruntime(path, x))


def test_a_layer_that_rounds_its_inputs_alone(path):
    """Weights that are turned around as constants, and a bias that the graph computes, which no layer has."""
    nodes = [quant("x", "s", "xq"), node("Transpose", "w", "wt", perm=[1, 0]), node("MatMul", "xq wt", "m"),
             helper.make_node("Clip", ["m", "", "top"], ["c"]), node("Neg", "b", "nb"),
             node("Gemm", "c v nb", "y", transB=1)]
    x = floats(3, 4)
    constants = {**CONSTANTS, "w": floats(5, 4), "v": floats(2, 5), "b": floats(2), "top": np.float32(0.5)}
    model = load_onnx(model_of(nodes, x.shape, constants, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    layer, = quantized_layers(model).values()
    assert layer.weight_quantizer is None
    assert layer.input_quantizer.format == parse("int4")


def test_a_quantizer_whose_value_is_also_pooled_and_added_stays(path):
    nodes = [quant("x", "s", "xq"), node("Flatten", "xq", "f"), node("MatMul", "f w", "m"),
             node("Flatten", "xq", "g"), node("Add", "m g", "y")]
    x = floats(3, 2, 2)
    model = load_onnx(model_of(nodes, x.shape, {**CONSTANTS, "w": floats(4, 4)}, path))
    assert_close(model(torch.from_numpy(x)).detach(), run_qonnx(path, {"x": x})["y"])
    assert [type(module) for module in model.modules() if isinstance(module, ScaledQuantizer)] == [ScaledQuantizer]


# Refusals

def refusal(nodes, constants=None, **keywords):
    return nodes, {**CONSTANTS, **(constants or {})}, keywords


FAULTS = {
    "Node 'Trunc_y' (Trunc) cannot be loaded: Operator must be one of the standard, or IntQuant, Quant or FloatQuant, "
    "not 'Trunc' of 'qonnx.custom_op.general'": refusal([node("Trunc", "x s", "y", domain=QONNX)]),
    "Node 'GRU_y' (GRU) cannot be loaded: Operator must be one of sw.export.OPERATORS, not 'GRU'":
        refusal([node("GRU", "x", "y")]),
    "Node 'LogSoftmax_y' (LogSoftmax) cannot be loaded: Operator set must be of version 13 or later for LogSoftmax, "
    "not 11": refusal([node("LogSoftmax", "x", "y")], opset=11),
    "Node 'Relu_y' (Relu) cannot be loaded: Attribute must be one of none, not 'slope'":
        refusal([node("Relu", "x", "y", slope=1)]),
    "Node 'Softmax_y' (Softmax) cannot be loaded: Attribute must be one of x, axis, not 'axes'":
        refusal([node("Softmax", "x", "y", axes=[1])]),
    "Node 'd' (Dropout) cannot be loaded: Outputs must be one, not 2":
        refusal([helper.make_node("Dropout", ["x"], ["d", "mask"]), node("Relu", "d", "y")]),
    "Node 'Relu_y' (Relu) cannot be loaded: Input 'nothing' must be computed by a node before it, not by none":
        refusal([node("Relu", "nothing", "y")]),
    "Node 'IntQuant_y' (IntQuant) cannot be loaded: Bit width must be a constant, not computed by the graph":
        refusal([node("Abs", "bits", "computed"), quant("x", "s", "y", bits="computed")]),
    "Node 'IntQuant_y' (IntQuant) cannot be loaded: Scale must be positive and finite, not [0.0]":
        refusal([quant("x", "zero", "y")]),
    "Node 'Relu_y' (Relu) cannot be loaded: Codes 'q' must go to DequantizeLinear, through nothing but Clip: "
    "arithmetic on codes is not done here":
        refusal([node("QuantizeLinear", "x s zero", "q"), node("Relu", "q", "y")], QDQ),
    "Node 'DequantizeLinear_y' (DequantizeLinear) cannot be loaded: Scale must be that of the QuantizeLinear before it":
        refusal([node("QuantizeLinear", "x s zero", "q"), node("DequantizeLinear", "q other zero", "y")],
                {**QDQ, "other": np.float32(2)}),
    "Node 'DequantizeLinear_y' (DequantizeLinear) cannot be loaded: Zero point must be that of the "
    "QuantizeLinear before it":
        refusal([node("QuantizeLinear", "x s three", "q"), node("DequantizeLinear", "q s", "y")],
                {**QDQ, "three": codes_of("three", 3, TensorProto.INT8)}),
    "Node 'DequantizeLinear_y' (DequantizeLinear) cannot be loaded: Scale must be one number where no weights are "
    "quantized, not of shape (4,)":
        refusal([node("QuantizeLinear", "x rows zero", "q"), node("DequantizeLinear", "q rows zero", "y")], QDQ),
    "Node 'DequantizeLinear_y' (DequantizeLinear) cannot be loaded: Input must be what QuantizeLinear gives, or "
    "constant codes with a constant scale": refusal([node("DequantizeLinear", "x s", "y")], QDQ),
    "Node 'QuantizeLinear_q' (QuantizeLinear) cannot be loaded: Zero point must be a constant of a type of codes, "
    "which says what is quantized to, not left out": refusal([node("QuantizeLinear", "x s", "q")], QDQ),
    "Node 'QuantizeLinear_q' (QuantizeLinear) cannot be loaded: Block size must be 0 in QuantizeLinear, not 2":
        refusal([node("QuantizeLinear", "x s zero", "q", block_size=2)], QDQ),
    "Node 'QuantizeLinear_q' (QuantizeLinear) cannot be loaded: Saturation must be on, not saturate=0":
        refusal([node("QuantizeLinear", "x s zero", "q", saturate=0)], QDQ),
    "Node 'Clip_c' (Clip) cannot be loaded: Bounds of codes must be those of an integer format, not -8 and 5":
        refusal([node("QuantizeLinear", "x s zero", "q"), node("Clip", "q low high", "c")],
                {**QDQ, "high": codes_of("high", 5, TensorProto.INT8)}),
    "Node 'Constant_y' (Constant) cannot be loaded: Constant must be a dense tensor of numbers, not value_string":
        refusal([helper.make_node("Constant", [], ["y"], name="Constant_y", value_string="a")]),
}


@pytest.mark.parametrize("message", FAULTS, ids=lambda message: message[5:60])
def test_what_cannot_be_loaded_is_refused_naming_the_node(message, path):
    nodes, constants, keywords = FAULTS[message]
    model_of(nodes, (2, 4), constants, path, **keywords)
    with pytest.raises(ValueError) as caught:
        load_onnx(path)
    assert str(caught.value).startswith(message), str(caught.value)


def test_constants_come_as_nodes_too(path):
    nodes = [helper.make_node("Constant", [], ["two"], value_float=2.0),
             helper.make_node("Constant", [], ["shape"], value_ints=[4, -1]),
             helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.float32(3))),
             node("Mul", "x two", "a"), node("Add", "a three", "b"), node("Reshape", "b shape", "y")]
    x = torch.from_numpy(floats(2, 4))
    assert_equal(load_onnx(model_of(nodes, x.shape, {}, path))(x), run_onnxruntime(path, x))


def test_several_outputs_are_a_tuple(path):
    nodes = [node("Relu", "x", "y"), node("Neg", "x", "z")]
    x = torch.from_numpy(floats(2, 4))
    first, second = load_onnx(model_of(nodes, (2, 4), {}, path, outputs=("y", "z")))(x)
    assert torch.equal(first, x.relu())
    assert torch.equal(second, -x)


def test_files_that_hold_no_model_are_refused(path):
    with pytest.raises(TypeError, match="Path must be a string or a path, not 3"):
        load_onnx(3)
    with pytest.raises(FileNotFoundError, match="ONNX file must exist, not .*model.onnx"):
        load_onnx(path)
    path.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="File must hold an ONNX model, not what .*model.onnx.* does"):
        load_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="File must hold an ONNX model with nodes, not what .*model.onnx.* does"):
        load_onnx(path)
    model_of([node("Relu", "x", "y")], (2, 4), {}, path, opset=8)
    with pytest.raises(ValueError, match="Operator set must be of version 9 or later, not 8; "
                                         "see onnx.version_converter"):
        load_onnx(path)


def test_the_version_is_that_of_the_standard_domain(path):
    assert opset_of(read_onnx(model_of([node("Relu", "x", "y")], (2, 4), {}, path, opset=17))) == 17
