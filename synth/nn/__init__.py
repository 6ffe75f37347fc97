"""Networks through circuits: matrix products, convolutions and layers whose sums are the hardware's, bit for bit."""

from synth.nn.convert import circuit_layers, convert, quantize_, revert
from synth.nn.functional import conv2d, linear, matmul
from synth.nn.matrix_product import CircuitMatmul
from synth.nn.modules import CircuitAttentionProjection, CircuitConv2d, CircuitLayer, CircuitLinear
from synth.nn.scales import config_for
from synth.nn.unit import Unit

__all__ = [
    "CircuitAttentionProjection", "CircuitConv2d", "CircuitLayer", "CircuitLinear", "CircuitMatmul", "Unit",
    "circuit_layers", "config_for", "conv2d", "convert", "linear", "matmul", "quantize_", "revert",
]
