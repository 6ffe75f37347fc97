"""QONNX: ONNX with nodes that quantize to integers and minifloats of any width, as FINN, hls4ml and Brevitas use it."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sw.export.files import checked_path
from sw.export.nodes import Writer, replaced, save_proto
from sw.export.qonnx_nodes import (
    DOMAIN,
    DOMAIN_VERSION,
    FLOAT_OPERATOR,
    check_expressible,
    float_attributes,
    integer_attributes,
)
from sw.export.trace import Traced, quantizers_of, trace
from sw.formats import BlockFormat, FixedPointFormat
from sw.ptq.tensor_quantizer import TensorQuantizer

_OPSET = 20


def save_qonnx(model: nn.Module, path: str | os.PathLike[str], example_inputs: Tensor | Sequence[Tensor], *,
               dynamic_batch: bool = False) -> None:
    """Write a quantized model as QONNX: float weights, and an IntQuant or a FloatQuant node for each quantizer.

    Integers and fixed point become IntQuant, whose scale takes the weight of the last place in; minifloats become
    FloatQuant with their widths, bias and largest value. The rest is operator set 20. ``load_onnx`` reads it back.

    Parameters
    ----------
    model : torch.nn.Module
        Quantized and calibrated, in float32, and such that ``torch.export`` traces it. Exported as in evaluation mode;
        left as it is.
    path : str or path
        Ends in ``.onnx``. A file there is replaced once the new one is whole.
    example_inputs : tensor or sequence of tensors
        What the model's forward takes. Their shapes are those of the graph.
    dynamic_batch : bool
        Whether the first dimension of all inputs may vary, together. qonnx's executor, and FINN, want it fixed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not calibrated, or QONNX has no node for a format: posits,
        block formats, minifloats without subnormals. The layer is named.
    FileNotFoundError
        If the folder does not exist.
    ModuleNotFoundError
        If onnx or onnxscript is not installed.

    Source: qonnx 1.0, operators of ``qonnx.custom_op.general``.
    """
    path = checked_path(path, ".onnx")
    for quantizer in quantizers_of(model):
        _check(quantizer)
    traced = trace(model, example_inputs, opset=_OPSET, dynamic_batch=dynamic_batch)
    proto = replaced(traced, lambda writer, name, inputs, output: _build(writer, traced, name, inputs, output))
    proto.opset_import.add(domain=DOMAIN, version=DOMAIN_VERSION)
    save_proto(proto, path)


def _check(quantizer: TensorQuantizer) -> None:
    """Refuse what there is no node for."""
    mend = "save with save_safetensors, which takes every format"
    fmt = quantizer.format
    if isinstance(fmt, BlockFormat):
        raise ValueError(f"Format of the {quantizer.label} must be scalar in QONNX, not {fmt.name}; {mend}")
    try:
        check_expressible(fmt)
    except ValueError as error:
        raise ValueError(f"{error}, in the {quantizer.label}; {mend}") from error
    if isinstance(fmt, FixedPointFormat) and not quantizer.dynamic:
        scale = quantizer.scale * float(fmt.quantum)
        if not bool(((scale >= torch.finfo(scale.dtype).tiny) & (scale < torch.inf)).all()):
            raise ValueError(f"Scale times the weight of the last place must be a normal float32 number, not "
                             f"{scale.min().item():g} to {scale.max().item():g}, in the {quantizer.label}; "
                             "use the integer format of the same width")


def _build(writer: Writer, traced: Traced, name: str, inputs: list[str], output: str) -> None:
    fmt = traced.quantizers[name].element_format
    scale = inputs[1] if len(inputs) > 1 else None
    if traced.quantizers[name].is_weight and not traced.is_constant(inputs[0]):
        # Part of a parameter, as the projections of an attention are: a constant of its own, lest tools compute it.
        inputs = [writer.constant("weight", traced.inputs[name])]
    if isinstance(fmt, FixedPointFormat):
        step = float(fmt.quantum)
        if scale is None:
            scale = writer.constant("scale", traced.scale(name) * step)
        elif step != 1:
            scale = writer.node("Mul", [scale, writer.constant("step", step)])
        fields = [writer.constant("zero_point", 0), writer.constant("bit_width", fmt.width)]
        writer.node("IntQuant", [inputs[0], scale, *fields], output, domain=DOMAIN,
                    attributes=integer_attributes(fmt))
        return
    scale = writer.constant("scale", traced.scale(name)) if scale is None else scale
    fields = [writer.constant(part, float(value)) for part, value in (
        ("exponent_bits", fmt.exponent_bits), ("fraction_bits", fmt.fraction_bits), ("bias", fmt.bias),
        ("largest", fmt.max_finite))]
    writer.node(FLOAT_OPERATOR, [inputs[0], scale, *fields], output, domain=DOMAIN, attributes=float_attributes(fmt))
