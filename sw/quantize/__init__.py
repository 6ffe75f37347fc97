"""Quantization in torch: exact rounding of tensors to every scalar format, differentiable, on CPU and GPU."""

from sw.quantize.module import FakeQuantize
from sw.quantize.quantizer import fake_quantize, from_codes, to_codes
from sw.quantize.scale import absmax_scale, scale_shape

__all__ = ["FakeQuantize", "absmax_scale", "fake_quantize", "from_codes", "scale_shape", "to_codes"]
