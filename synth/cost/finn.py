"""The published closed formula for integer multiply-accumulators, as a yardstick of our model."""

import math

from synth.cost.coordinates import register_bits
from synth.operations import Operation

OVERHEAD = 1.1
"""Factor of the whole formula on its parts."""


def finn_lut(operation: Operation) -> float:
    """Return FINN's lookup tables for the multipliers, adder tree and accumulator of an operation.

    ``multipliers = SIMD * (2 * ceil((W + A) / 6) - 1) * (W + A)``, ``adder tree = (W + A) * (2 * SIMD - 1)``, and a
    lookup table a bit of the accumulator, times 1.1 for one processing element. W and A are the widths of the operands,
    whatever their format: the formula knows integers alone. Left out are the 300 of a whole layer's control and the
    weight memory, which our circuits do not have; a multiplier is its first term alone.

    Source: Xilinx/finn, commit 39f0c9a6, ``matrixvectoractivation_hls.py``, after FINN-R (Blott et al. 2018).
    """
    model = operation.model
    lanes, bits = getattr(model, "lanes", None) or 1, model.a.width + model.b.width
    multipliers = lanes * (2 * math.ceil(bits / 6) - 1) * bits
    if operation.name == "multiply":
        return float(multipliers)
    accumulator = 0 if operation.name == "dot" else register_bits(operation)
    return OVERHEAD * float(multipliers + bits * (2 * lanes - 1) + accumulator)
