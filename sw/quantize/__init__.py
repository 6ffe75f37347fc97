"""Quantization in torch: exact rounding of tensors to every format, differentiable, on CPU and GPU."""

from sw.quantize.block_format import BlockCodes, fake_quantize_blocks, from_block_codes, to_block_codes
from sw.quantize.block_module import FakeQuantizeBlocks
from sw.quantize.block_scale import block_tensor_scale
from sw.quantize.module import FakeQuantize
from sw.quantize.quantizer import fake_quantize, from_codes, to_codes
from sw.quantize.scale import absmax_scale, scale_shape

__all__ = [
    "BlockCodes", "FakeQuantize", "FakeQuantizeBlocks", "absmax_scale", "block_tensor_scale", "fake_quantize",
    "fake_quantize_blocks", "from_block_codes", "from_codes", "scale_shape", "to_block_codes", "to_codes",
]
