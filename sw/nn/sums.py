"""Sums of products of int8 activations and narrow weights in 24 bits."""

import torch
from torch import Tensor

from sw.formats.check import check_integer
from sw.nn.checks import check_integers, check_shape
from sw.nn.requantize import MAX_SUM


def max_inputs(weight_bits: int) -> int:
    """Return how many products of an int8 activation and a weight of so many bits 24 bits always hold.

    Each is at most ``128 * 2**(weight_bits - 1)``, the product of the two most negative codes: 8191 for int4
    (8191 * 1024 < 2**23), 511 for int8.
    """
    return MAX_SUM // (128 << (weight_bits - 1))


def check_weights(weight: Tensor, weight_bits: int, inputs: int) -> None:
    """Raise unless ``weight`` holds integers of so many bits, of which 24 bits hold the sum of ``inputs`` products."""
    check_integer("Weight bits", weight_bits)
    if not 2 <= weight_bits <= 8:
        raise ValueError(f"Weight bits must be between 2 and 8, not {weight_bits!r}")
    check_integers("Weight", weight, -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1)
    if inputs > max_inputs(weight_bits):
        raise ValueError(f"Input channels must be at most {max_inputs(weight_bits)} for sums of int8 times "
                         f"int{weight_bits} in 24 bits, not {inputs!r}; split them")


def check_activations(x: Tensor, channels: int) -> None:
    """Raise unless ``x`` is an int8 tensor of shape (N, channels, H, W)."""
    check_integers("Activations", x)
    if x.dtype != torch.int8:
        raise TypeError(f"Activations must be of dtype torch.int8, not {x.dtype}")
    check_shape("Activations", x, ("N", channels, "H", "W"))


def pointwise_sums(weight: Tensor, x: Tensor) -> Tensor:
    """Return the sums of a 1x1 convolution as int32, (N, K, H, W), of weights (K, C) and codes (N, C, H, W)."""
    weight = weight.to(torch.int32)
    if x.device.type == "cpu":
        return torch.einsum("kc,nchw->nkhw", weight, x.to(torch.int32))
    return _sum_by_channel(weight, x)


def _sum_by_channel(weight: Tensor, x: Tensor) -> Tensor:
    """Return the sums one input channel after the other: torch has matrix products of integers for the CPU only."""
    sums = torch.zeros(x.shape[0], weight.shape[0], *x.shape[2:], dtype=torch.int32, device=x.device)
    for channel in range(weight.shape[1]):
        sums += weight[:, channel, None, None] * x[:, channel, None]
    return sums
