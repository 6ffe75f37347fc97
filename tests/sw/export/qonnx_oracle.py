"""qonnx's own executor."""

import qonnx.core.onnx_exec as executor
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

_make_model = executor.qonnx_make_model


def run_qonnx(path, inputs):
    """Run a file node by node; standard nodes go to onnxruntime, which knows versions of the file format up to 13,
    while qonnx 1.0 wraps each in the newest one that onnx has."""
    model = ModelWrapper(str(path)).transform(InferShapes())
    executor.qonnx_make_model = lambda graph, **keywords: _make_model(graph, ir_version=10, **keywords)
    try:
        return executor.execute_onnx(model, inputs)
    finally:
        executor.qonnx_make_model = _make_model
