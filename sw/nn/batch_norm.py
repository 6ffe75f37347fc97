"""Batch normalization merged into the convolution before it."""

import copy

import torch
from torch import nn

from sw.nn.deformable_conv import DeformableConv2d
from sw.ptq.merge_batch_norm import batch_norm_affine


@torch.no_grad()
def fold_batch_norm(layer: nn.Conv2d | DeformableConv2d, norm: nn.BatchNorm2d) -> nn.Conv2d | DeformableConv2d:
    """Return a copy of ``layer`` that computes ``norm(layer(x))`` of evaluation mode.

    Each output channel's weights are multiplied by ``gamma / sqrt(variance + eps)``, and its bias becomes
    ``beta + (bias - mean)`` times that. Of a :class:`DeformableConv2d`, the last convolution is changed; to fold a
    normalization between its two, fold it into the first: ``layer.window = fold_batch_norm(layer.window, norm)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type, the channels differ, or the normalization keeps no statistics.
    """
    if not isinstance(layer, (nn.Conv2d, DeformableConv2d)):
        raise TypeError(f"Layer must be a Conv2d or a DeformableConv2d, not {type(layer).__name__!r}")
    if not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"Normalization must be a BatchNorm2d, not {type(norm).__name__!r}")
    if norm.running_mean is None:
        raise ValueError("Normalization must keep running statistics to be folded, not track_running_stats=False")
    folded = copy.deepcopy(layer)
    conv = getattr(folded, folded.last) if isinstance(folded, DeformableConv2d) else folded
    if conv.out_channels != norm.num_features:
        raise ValueError(f"Normalization must have the {conv.out_channels} output channels of the layer, "
                         f"not {norm.num_features}")
    # In float64, and rounded once: the result is compared with the two layers that it replaces.
    factor, bias = batch_norm_affine(norm)
    if conv.bias is not None:
        bias = conv.bias.double() * factor + bias
    weight = conv.weight
    conv.weight = nn.Parameter((weight.double() * factor.reshape(-1, 1, 1, 1)).to(weight.dtype))
    conv.bias = nn.Parameter(bias.to(weight.dtype))
    return folded
