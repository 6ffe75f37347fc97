"""ONNX with QuantizeLinear and DequantizeLinear: integers of up to 16 bits, and the narrow floats of the standard."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sw.export.files import checked_path
from sw.export.nodes import Writer, replaced, save_proto
from sw.export.onnx_file import CODE_FORMATS
from sw.export.scales import scale_layout
from sw.export.trace import Traced, quantizers_of, trace
from sw.formats import FixedPointFormat, ScalarFormat
from sw.ptq.config import Granularity
from sw.ptq.tensor_quantizer import TensorQuantizer

# Blocks of weights, and the types INT4 and INT16, came with version 21; FLOAT4E2M1 with 23, and with version 11 of the
# file. In between, the operators that there were got more types and kept their meaning, so that a graph of version 21
# is one of 23: traced for 23 it would have the new operator Attention, which few programs know.
_OPSET = 21
_OPSET_FLOAT4, _IR_FLOAT4 = 23, 11

_FLOAT_TYPES = {fmt: name for name, fmt in CODE_FORMATS.items() if name.startswith("FLOAT")}

_MEND = "save with save_qonnx, or with save_safetensors, which takes every format"


def save_onnx_qdq(model: nn.Module, path: str | os.PathLike[str], example_inputs: Tensor | Sequence[Tensor], *,
                  dynamic_batch: bool = True) -> None:
    """Write a quantized model as ONNX: weights as codes, and QuantizeLinear and DequantizeLinear around them.

    Weights become constants of codes (INT4, INT8, INT16, FLOAT8E4M3FN, FLOAT8E5M2, their FNUZ twins, FLOAT4E2M1) and a
    DequantizeLinear, with the scales of tensor, channels or groups. Inputs of layers become a pair of QuantizeLinear
    and DequantizeLinear; integers that no type has the range of get a Clip between them. A fixed-point format is that
    of its integers, the scale taking the weight of the last place in. Block formats can be written for weights, if
    their elements have a type. The operator set is 21, or 23 where there is FLOAT4E2M1. ``load_onnx`` reads it back.

    Parameters
    ----------
    model : torch.nn.Module
        Quantized and calibrated, in float32, and such that ``torch.export`` traces it. Exported as in evaluation mode;
        left as it is.
    path : str or path
        Ends in ``.onnx``. A file there is replaced once the new one is whole.
    example_inputs : tensor or sequence of tensors
        What the model's forward takes.
    dynamic_batch : bool
        Whether the first dimension of all inputs may vary, together.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not calibrated, or the standard has no type for a format. The
        layer is named.
    FileNotFoundError
        If the folder does not exist.
    ModuleNotFoundError
        If onnx or onnxscript is not installed.

    Source: ONNX operator schemas QuantizeLinear and DequantizeLinear, versions 21 and 23.
    """
    path = checked_path(path, ".onnx")
    types = {_type_of(quantizer)[0] for quantizer in quantizers_of(model)}
    traced = trace(model, example_inputs, opset=_OPSET, dynamic_batch=dynamic_batch)
    proto = replaced(traced, lambda writer, name, inputs, output: _build(writer, traced, name, inputs, output))
    if "FLOAT4E2M1" in types:
        standard, = (entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
        standard.version, proto.ir_version = _OPSET_FLOAT4, max(proto.ir_version, _IR_FLOAT4)
    save_proto(proto, path)


def _type_of(quantizer: TensorQuantizer) -> tuple[str, int]:
    """Return the standard's type for codes of a quantizer, and its width."""
    fmt: ScalarFormat = quantizer.element_format
    if isinstance(fmt, FixedPointFormat):
        # Weights are never beyond the range of their format, which may so be narrower than the type's.
        widths = (4, 8, 16) if quantizer.is_weight or (fmt.width == 4 and not fmt.narrow_range) else (8, 16)
        width = next((width for width in widths if fmt.width <= width), None)
        if width is not None and (width < 16 or quantizer.is_weight or (fmt.width == 16 and not fmt.narrow_range)):
            return f"{'' if fmt.signed else 'U'}INT{width}", width
    elif fmt in _FLOAT_TYPES:
        return _FLOAT_TYPES[fmt], fmt.width
    raise ValueError("Format must be an integer or fixed point of up to 8 or of 16 bits, or one of "
                     f"{', '.join(known.name for known in _FLOAT_TYPES)}, in ONNX, not {quantizer.format.name}, in the "
                     f"{quantizer.label}; {_MEND}")


def _build(writer: Writer, traced: Traced, name: str, inputs: list[str], output: str) -> None:
    quantizer = traced.quantizers[name]
    step = float(quantizer.element_format.quantum) if isinstance(quantizer.element_format, FixedPointFormat) else 1.0
    if quantizer.is_weight:
        _build_weights(writer, quantizer, traced.inputs[name], traced.scale(name) * step, output)
    elif len(inputs) == 1:
        _build_pair(writer, quantizer, inputs[0], writer.constant("scale", traced.scale(name) * step), output)
    else:
        # A scale that the graph computes may have any shape: divide and multiply, and leave 1 to the pair.
        scale = inputs[1] if step == 1 else writer.node("Mul", [inputs[1], writer.constant("step", step)])
        quotient = writer.node("Div", [inputs[0], scale])
        codes = _build_pair(writer, quantizer, quotient, writer.constant("one", 1.0), f"{output}.value")
        writer.node("Mul", [codes, scale], output)


def _build_pair(writer: Writer, quantizer: TensorQuantizer, source: str, scale: str, output: str) -> str:
    fmt = quantizer.element_format
    kind, width = _type_of(quantizer)
    zero = writer.codes("zero_point", torch.zeros((), dtype=torch.uint8), kind, width)
    codes = writer.node("QuantizeLinear", [source, scale, zero])
    if isinstance(fmt, FixedPointFormat) and (fmt.width < width or fmt.narrow_range):
        bounds = [writer.integers(part, bound, kind) for part, bound in (("lowest", fmt.min_integer),
                                                                         ("highest", fmt.max_integer))]
        codes = writer.node("Clip", [codes, *bounds])
    return writer.node("DequantizeLinear", [codes, scale, zero], output)


def _build_weights(writer: Writer, quantizer: TensorQuantizer, weight: Tensor, scale: Tensor, output: str) -> None:
    kind, width = _type_of(quantizer)
    codes = quantizer.codes(weight).to(torch.int64)
    fmt = quantizer.element_format
    if isinstance(fmt, FixedPointFormat) and fmt.signed:  # two's complement, of the width of the type
        codes = (codes ^ 1 << fmt.width - 1) - (1 << fmt.width - 1) & (1 << width) - 1
    layout = scale_layout(scale, tuple(weight.shape))
    attributes = {Granularity.TENSOR: {}, Granularity.CHANNEL: {"axis": 0},
                  Granularity.GROUP: {"axis": 1, "block_size": layout.group_size}}[layout.granularity]
    inputs = [writer.codes("codes", codes, kind, width), writer.constant("scale", layout.scale)]
    writer.node("DequantizeLinear", inputs, output, attributes=attributes)
