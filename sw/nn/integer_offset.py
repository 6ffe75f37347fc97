"""Square offsets predicted in integers alone: what the hardware computes, bit for bit."""

import torch
from torch import Tensor, nn

from sw.nn.checks import check_count, check_integers, check_shape
from sw.nn.requantize import MAX_SCALE
from sw.nn.sums import check_activations, check_weights, pointwise_sums

MAX_FRACTION_BITS = 32
MIN_OFFSET_BIAS, MAX_OFFSET_BIAS = -(1 << 31), (1 << 31) - 1


class IntegerSquareOffset(nn.Module):
    """A 1x1 convolution to one dilation a position: ``clamp(floor(sum*S + b + 1/2), min_offset, max_offset)``.

    ``S = scale / 2**fraction_bits`` and ``b = bias / 2**fraction_bits``; ties go up, and the bias is added before the
    sum is rounded.

    Parameters
    ----------
    weight : integer tensor, (G, C)
        Of G sets of offsets and C channels; kept as an int8 buffer.
    scale : integer tensor, (G,)
        Unsigned, 16 bits.
    bias : integer tensor, (G,)
        Signed, 32 bits.
    fraction_bits : int
        0 to 32.
    min_offset, max_offset : int
        Least and greatest dilation, from 0 on.
    weight_bits : int, bits
        2 to 8.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range; in particular if 24 bits do not hold every sum.

    Source: CoDeNet (arXiv 2006.08357), section 3; in these numbers, ``sw.reference.square_offset``.
    """

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor, *, fraction_bits: int = 16, min_offset: int = 0,
                 max_offset: int = 7, weight_bits: int = 4) -> None:
        check_integers("Weight", weight)
        check_shape("Offset weight", weight, ("G", "C"))
        check_weights(weight, weight_bits, weight.shape[1])
        check_integers("Scale", scale, 0, MAX_SCALE)
        check_shape("Scale", scale, (weight.shape[0],))
        check_integers("Bias", bias, MIN_OFFSET_BIAS, MAX_OFFSET_BIAS)
        check_shape("Bias", bias, (weight.shape[0],))
        check_count("Fraction bits", fraction_bits, least=0)
        if fraction_bits > MAX_FRACTION_BITS:
            raise ValueError(f"Fraction bits must be at most {MAX_FRACTION_BITS}, not {fraction_bits!r}")
        check_count("Minimum offset", min_offset, least=0)
        check_count("Maximum offset", max_offset, least=min_offset)
        super().__init__()
        self.register_buffer("weight", weight.to(torch.int8).clone())
        self.register_buffer("scale", scale.to(torch.int32).clone())
        self.register_buffer("bias", bias.to(torch.int32).clone())
        self._fraction_bits = fraction_bits
        self._min_offset = min_offset
        self._max_offset = max_offset

    @property
    def channels(self) -> int:
        """C."""
        return self.weight.shape[1]

    @property
    def groups(self) -> int:
        """G."""
        return self.weight.shape[0]

    @property
    def fraction_bits(self) -> int:
        """Fractional bits of scale and bias."""
        return self._fraction_bits

    @property
    def min_offset(self) -> int:
        """Least dilation."""
        return self._min_offset

    @property
    def max_offset(self) -> int:
        """Greatest dilation."""
        return self._max_offset

    def forward(self, x: Tensor) -> Tensor:
        """Return the dilation of each position of int8 codes (N, C, H, W) as int64, (N, G, H, W).

        Raises
        ------
        TypeError, ValueError
            If the input is of the wrong type or shape.
        """
        check_activations(x, self.channels)
        sums = pointwise_sums(self.weight, x).to(torch.int64)
        numbers = sums * self.scale[:, None, None] + self.bias[:, None, None]  # 24 + 16 bits
        half = (1 << self._fraction_bits) >> 1
        return ((numbers + half) >> self._fraction_bits).clamp(self._min_offset, self._max_offset)

    def extra_repr(self) -> str:
        """Say the geometry."""
        return (f"{self.channels}, groups={self.groups}, fraction_bits={self._fraction_bits}, "
                f"min_offset={self._min_offset}, max_offset={self._max_offset}")
