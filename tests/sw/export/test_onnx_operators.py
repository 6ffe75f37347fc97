"""Every operator, in a graph of one node, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save

from sw.export import OPERATORS, load_onnx

RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


X = floats(2, 4, 6, 5)

# Operator, computed inputs, constant inputs after them, attributes.
CASES = [
    *((name, [X], [], {}) for name in ("Abs", "Erf", "Exp", "Floor", "GlobalAveragePool", "GlobalMaxPool", "HardSwish",
                                       "Identity", "Neg", "Reciprocal", "Relu", "Sigmoid", "Tanh", "Shape", "Gelu",
                                       "LeakyRelu", "Elu", "HardSigmoid", "Softmax", "LogSoftmax", "Transpose",
                                       "Flatten", "Dropout")),
    *((name, [abs(X)], [], {}) for name in ("Log", "Sqrt")),
    *((name, [X, floats(6, 5)], [], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "Less",
                                                     "GreaterOrEqual", "LessOrEqual", "Equal")),
    *((name, [X > 0, X < 1], [], {}) for name in ("And", "Or")),
    ("Not", [X > 0], [], {}),
    ("Max", [X, X[::-1].copy(), floats(5)], [], {}), ("Min", [X], [], {}),
    ("Div", [ints(7, -7, 9), ints(2, 2, -4)], [], {}),
    ("Pow", [abs(X)], [np.float32(2.5)], {}), ("PRelu", [X], [floats(4, 1, 1)], {}),
    ("Where", [X > 0, X, X[::-1].copy()], [], {}),
    ("Gelu", [X], [], {"approximate": "tanh"}), ("LeakyRelu", [X], [], {"alpha": 0.3}),
    ("Elu", [X], [], {"alpha": 0.5}), ("HardSigmoid", [X], [], {"alpha": 0.3, "beta": 0.4}),
    ("Softmax", [X], [], {"axis": 1}), ("LogSoftmax", [X], [], {"axis": 2}),
    ("Clip", [X], [np.float32(-0.5), np.float32(0.7)], {}), ("Clip", [X], [np.float32(0)], {}), ("Clip", [X], [], {}),
    ("Clip", [ints(1, 9, -4), np.array(0), np.array(5)], [], {}),
    ("Cast", [X], [], {"to": TensorProto.INT64}), ("Cast", [ints(1, 2)], [], {"to": TensorProto.FLOAT}),
    ("Transpose", [X], [], {"perm": [0, 2, 3, 1]}), ("Flatten", [X], [], {"axis": 2}),
    ("Flatten", [X], [], {"axis": 0}),
    ("Reshape", [X], [ints(0, -1, 5)], {}), ("Reshape", [floats(0, 3)], [ints(3, 0)], {"allowzero": 1}),
    ("Reshape", [X, ints(2, -1)], [], {}), ("Expand", [floats(6, 1)], [ints(2, 1, 5)], {}),
    ("Squeeze", [floats(1, 3, 1)], [ints(2)], {}), ("Squeeze", [floats(1, 3, 1)], [], {}),
    ("Unsqueeze", [floats(3, 2)], [ints(0, -1)], {}),
    ("Concat", [X, floats(2, 3, 6, 5)], [], {"axis": 1}), ("Concat", [X], [floats(2, 1, 6, 5)], {"axis": -3}),
    ("Gather", [X], [ints(0, -1)], {"axis": 2}), ("Gather", [X], [np.array(1)], {"axis": 1}),
    ("Gather", [X, np.array([[0, 1], [1, 0]])], [], {}),
    ("Slice", [X], [ints(1, -4), ints(3, 100), ints(1, 2)], {}),
    ("Slice", [X], [ints(5), ints(-100), ints(2), ints(-2)], {}),
    ("Slice", [X], [ints(0), ints(1)], {}), ("Slice", [X], [ints(4), ints(0), ints(-1), ints(-2)], {}),
    ("Pad", [X], [ints(0, 1, 2, 0, 0, 0, 1, 3), np.float32(0.5)], {}), ("Pad", [X], [ints(0, 0, 0, 0, 0, 0, 0, 0)], {}),
    ("Pad", [X], [ints(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "reflect"}),
    ("Pad", [X], [ints(0, 0, 1, 0, 0, 0, 2, 0)], {"mode": "edge"}),
    ("Pad", [X], [ints(1, 2), np.float32(1), ints(-1)], {}),
    *((f"Reduce{name}", [X], [], attributes) for name in ("Max", "Min", "Mean", "Sum") for attributes in (
        {}, {"keepdims": 0})),
    ("ReduceMean", [X], [ints(2, -1)], {}), ("ReduceSum", [X], [ints(1)], {"keepdims": 0}),
    ("ReduceMax", [X], [], {"noop_with_empty_axes": 1}),
    ("Shape", [X], [], {"start": 1, "end": -1}),
    ("MatMul", [X, floats(5, 3)], [], {}), ("MatMul", [X], [floats(5, 3)], {}),
    ("MatMul", [floats(4)], [floats(4)], {}),
    ("MatMul", [floats(2, 3, 4), floats(2, 4, 5)], [], {}),
    *(("Gemm", [floats(3, 4), floats(*shape)], constants, attributes) for shape, attributes in (
        ((4, 5), {}), ((5, 4), {"transB": 1}), ((5, 4), {"transB": 1, "alpha": 0.5, "beta": 2.0}))
      for constants in ([], [floats(5)])),
    ("Gemm", [floats(4, 3)], [floats(4, 5), floats(5)], {"transA": 1}),
    *(("Gemm", [floats(3, 4)], [floats(5, 4), bias], {"transB": 1}) for bias in (floats(5), floats(1))),
    *(("Conv", [x], constants, attributes) for x, constants, attributes in (
        (X, [floats(6, 4, 3, 3)], {}), (X, [floats(6, 4, 3, 2), floats(6)], {"kernel_shape": [3, 2]}),
        (X, [floats(6, 2, 3, 3), floats(6)], {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 1]}),
        (X, [floats(6, 4, 2, 2)], {"pads": [0, 1, 1, 0], "dilations": [2, 1]}),
        (X, [floats(6, 4, 2, 2)], {"auto_pad": "VALID"}),
        (floats(2, 3, 9), [floats(4, 3, 3), floats(4)], {"pads": [1, 1]}),
        (floats(1, 2, 4, 4, 4), [floats(3, 2, 2, 2, 2)], {}))),
    ("Conv", [X, floats(6, 4, 3, 3)], [floats(6)], {}),
    *(("ConvTranspose", [X], constants, attributes) for constants, attributes in (
        ([floats(4, 3, 2, 2)], {}), ([floats(4, 2, 3, 3), floats(4)], {
            "group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]}))),
    *((name, [X], [], {"kernel_shape": [3, 2], **attributes}) for name in ("MaxPool", "AveragePool") for attributes in (
        {}, {"strides": [2, 2]}, {"pads": [1, 1, 1, 1], "strides": [2, 1]}, {"ceil_mode": 1, "strides": [2, 2]})),
    ("MaxPool", [X], [], {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0], "dilations": [1, 2]}),
    ("MaxPool", [floats(1, 2, 8)], [], {"kernel_shape": [2]}),
    ("AveragePool", [X], [], {"kernel_shape": [2, 2], "pads": [1, 0, 1, 0], "count_include_pad": 1}),
    ("AveragePool", [X], [], {"kernel_shape": [2, 2], "pads": [1, 0, 0, 0], "count_include_pad": 1}),
    ("BatchNormalization", [X], [floats(4), floats(4), floats(4), abs(floats(4)) + 0.5], {"epsilon": 1e-3}),
    ("LayerNormalization", [X], [floats(5), floats(5)], {}), ("LayerNormalization", [X], [floats(6, 5)], {"axis": 2}),
    ("InstanceNormalization", [X], [floats(4), floats(4)], {"epsilon": 1e-4}),
    ("Split", [X], [ints(1, 3)], {"axis": 1}), ("Split", [X], [], {"axis": 2, "num_outputs": 2}),
]


def graph_of(operator, inputs, constants, attributes, *, opset=20, outputs=1):
    """A model of one node, whose outputs' types onnxruntime is left to find."""
    names = [f"input_{place}" for place in range(len(inputs))]
    fixed = [numpy_helper.from_array(np.asarray(value), f"constant_{place}") for place, value in enumerate(constants)]
    results = [f"output_{place}" for place in range(outputs)]
    node = helper.make_node(operator, [*names, *(tensor.name for tensor in fixed)], results, name="it", **attributes)
    graph = helper.make_graph(
        [node], "graph",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
         for name, value in zip(names, inputs, strict=True)],
        [helper.make_empty_tensor_value_info(name) for name in results], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize(("operator", "inputs", "constants", "attributes"), CASES, ids=[
    f"{place}-{case[0]}" for place, case in enumerate(CASES)])
def test_an_operator_is_that_of_onnxruntime(operator, inputs, constants, attributes, tmp_path):
    model = graph_of(operator, inputs, constants, attributes, outputs=2 if operator == "Split" else 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {f"input_{place}": value for place, value in enumerate(inputs)})
    save(model, tmp_path / "model.onnx")
    got = load_onnx(tmp_path / "model.onnx")(*(torch.from_numpy(np.asarray(value)) for value in inputs))
    got = got if isinstance(got, tuple) else (got,)
    for ours, want in zip(got, wanted, strict=True):
        assert ours.shape == want.shape, (operator, attributes, ours.shape, want.shape)
        assert ours.detach().numpy().dtype == want.dtype, (operator, attributes, ours.dtype, want.dtype)
        np.testing.assert_allclose(ours.detach().numpy(), want, rtol=1e-5, atol=1e-5,
                                   err_msg=str((operator, attributes)))


def test_every_operator_is_tested():
    assert {case[0] for case in CASES} == set(OPERATORS)


@pytest.mark.parametrize(("operator", "axis"), [("Softmax", 1), ("Softmax", 2)])
def test_softmax_before_version_13_is_over_all_dimensions_from_the_axis_on(operator, axis, tmp_path):
    model = graph_of(operator, [X], [], {"axis": axis}, opset=11)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    save(model, tmp_path / "model.onnx")
    got = load_onnx(tmp_path / "model.onnx")(torch.from_numpy(X))
    np.testing.assert_allclose(got.numpy(), session.run(None, {"input_0": X})[0], rtol=1e-5)


@pytest.mark.parametrize(("operator", "constants", "attributes", "message"), [
    ("Conv", [floats(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER"},
     "Padding auto_pad must be NOTSET or VALID, not 'SAME_UPPER'; export with explicit pads"),
    ("ConvTranspose", [floats(4, 3, 2, 2)], {"pads": [0, 1, 1, 0]},
     r"Padding must be the same at both ends of a transposed convolution, not \[0, 1, 1, 0\]"),
    ("BatchNormalization", [floats(4)] * 4, {"training_mode": 1},
     "Batch normalization must be in inference mode and by channel, not training_mode=1, spatial=1"),
    ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0]},
     r"Padding must be the same at both ends of an average that leaves it out, not \[0, 1, 1, 0\]"),
    ("AveragePool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]},
     r"Dilations of an average must be 1, not \[2, 2\]"),
    ("Pad", [ints(0, 0, 1, 0, 0, 0, 1, 0)], {"mode": "wrap"},
     "Padding mode must be constant, reflect or edge, not 'wrap'"),
    ("Cast", [], {"to": TensorProto.STRING}, r"Cast must be to a type of \[1, .*\] in the standard's numbering, not 8"),
    ("Dropout", [np.float32(0.5), np.array(True)], {}, "Dropout must be in inference mode, not training_mode=True"),
])
def test_what_an_operator_cannot_do_is_refused(operator, constants, attributes, message, tmp_path):
    save(graph_of(operator, [X], constants, attributes), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=message):
        load_onnx(tmp_path / "model.onnx")(torch.from_numpy(X))
