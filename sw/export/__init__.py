"""Quantized models as files, and ONNX files as torch modules.

====================  =================  ========================================================  ==================
Function              File               What it takes                                             Read back by
====================  =================  ========================================================  ==================
``save_safetensors``  ``.safetensors``,  every layer and every format of ``sw.ptq``; weights as    ``load_safetensors``
                      a manifest in      float numbers, or packed as codes at their real width     into the float
                      JSON beside it                                                               model, bit for bit
``save_qonnx``        ``.onnx`` with     what ``torch.export`` traces, in float32; integers and    ``load_onnx``;
                      IntQuant and       fixed point of 2 bits and more, signed minifloats with    qonnx
                      FloatQuant         subnormals; no posits, no blocks
``save_onnx_qdq``     ``.onnx`` with     likewise; integers and fixed point of up to 8 bits, and   ``load_onnx``;
                      QuantizeLinear,    of 16 (weights: of up to 16), float8 E4M3FN, E5M2,        onnx's reference,
                      DequantizeLinear   E4M3FNUZ, E5M2FNUZ, float4 E2M1; for weights also         onnxruntime (without
                                         blocks of these                                           float4, as yet)
``load_onnx``         ``.onnx``          what the two above write, and what Brevitas and qonnx     --
                                         write as QONNX: gives a torch module
====================  =================  ========================================================  ==================

onnxruntime's optimizer fuses layers between quantizers into integer operators: their sums differ in the last places,
and for float8 there are none, so that files with float8 convolutions take
``GraphOptimizationLevel.ORT_ENABLE_BASIC`` at most. Dynamic scales go into an ONNX graph if they follow the largest
magnitude. What a file cannot express is refused, and the message names the layer and what takes it.
"""

from sw.export.bits import pack_codes, unpack_codes
from sw.export.formats import format_from_json, format_to_json
from sw.export.manifest import SCHEMA_FILE, SCHEMA_VERSION
from sw.export.onnx_import import load_onnx
from sw.export.onnx_operators import OPERATORS
from sw.export.qdq import save_onnx_qdq
from sw.export.qonnx import save_qonnx
from sw.export.safetensors_file import load_safetensors, save_safetensors
from sw.export.scaled_quantizer import ScaledQuantizer

__all__ = [
    "OPERATORS", "SCHEMA_FILE", "SCHEMA_VERSION", "ScaledQuantizer", "format_from_json", "format_to_json", "load_onnx",
    "load_safetensors", "pack_codes", "save_onnx_qdq", "save_qonnx", "save_safetensors", "unpack_codes",
]
