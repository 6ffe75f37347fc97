"""Layers in torch: deformable convolution, its quantization, and its integer path."""

from sw.nn.activation_quantizer import ActivationQuantizer
from sw.nn.batch_norm import fold_batch_norm
from sw.nn.bilinear import bilinear_sample
from sw.nn.convert import convert, convert_offset
from sw.nn.deformable_conv import DeformableConv2d, deformable_conv2d
from sw.nn.integer import IntegerDeformableBlock, IntegerDepthwise, IntegerPointwise
from sw.nn.integer_offset import IntegerSquareOffset
from sw.nn.offsets import (
    ABLATION_OFFSETS,
    FREE_OFFSETS,
    RELEASED_OFFSETS,
    WHOLE_OFFSETS,
    OffsetPredictor,
    OffsetRule,
    SquareScalar,
)
from sw.nn.order import BlockOrder
from sw.nn.quantized import QuantizedDeformableConv2d
from sw.nn.requantization import integer_requantization
from sw.nn.requantize import Requantize, requantize
from sw.nn.rounding import round_half_up
from sw.nn.sums import max_inputs
from sw.nn.weight_quantizer import WeightQuantizer, weight_integers
from sw.nn.windows import square_windows

__all__ = [
    "ABLATION_OFFSETS", "FREE_OFFSETS", "RELEASED_OFFSETS", "WHOLE_OFFSETS", "ActivationQuantizer", "BlockOrder",
    "DeformableConv2d", "IntegerDeformableBlock", "IntegerDepthwise", "IntegerPointwise", "IntegerSquareOffset",
    "OffsetPredictor", "OffsetRule", "QuantizedDeformableConv2d", "Requantize", "SquareScalar", "WeightQuantizer",
    "bilinear_sample", "convert", "convert_offset", "deformable_conv2d", "fold_batch_norm", "integer_requantization",
    "max_inputs", "requantize", "round_half_up", "square_windows", "weight_integers",
]
