"""Batch normalizations merged into the layers before them."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from sw.ptq.channel_flow import ChannelFlow
from sw.ptq.graph import Leaves, TracedModel, check_float, trace
from sw.ptq.scaled_layer import BATCH_NORMS, CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, ScaledLayer

_MERGEABLE = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)


@dataclass(frozen=True, kw_only=True)
class MergedBatchNorm:
    """A normalization that was merged.

    Parameters
    ----------
    layer : str
        Name of the layer that computes both now.
    norm : str
        Name of the normalization, where there is an identity now.
    """

    layer: str
    norm: str


def batch_norm_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return factor and offset of each channel that a batch normalization in evaluation mode amounts to.

    Returns
    -------
    tuple of Tensor
        float64, (channels,): ``gamma / sqrt(variance + eps)`` and ``beta - mean * factor``.

    Raises
    ------
    ValueError
        If the normalization keeps no statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("Normalization must keep running statistics to be merged, not track_running_stats=False")
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.detach().double()
    offset = -norm.running_mean.double() * factor
    return factor, offset + norm.bias.detach().double() if norm.affine else offset


@torch.no_grad()
def merge_batch_norm_(model: nn.Module, *, leaves: Leaves = ()) -> tuple[MergedBatchNorm, ...]:
    """Merge the batch normalizations of a model into the layers before them, in place.

    A normalization is merged if its input is the output of a linear layer or convolution (transposed ones too) that
    nothing else uses, it keeps statistics, and neither of the two is called twice nor shares parameters. What the model
    computes in evaluation mode stays the same: see :func:`merge_into`. One behind a linear layer is taken to be over
    the layer's outputs wherever the number of dimensions cannot be told from the graph.

    An identity takes the normalization's place. The keys of the model's ``state_dict`` stay but for those of the
    normalization, which go, and the layer's bias, which it gets if it had none. To load such a ``state_dict`` into a
    new model, merge that one first.

    Parameters
    ----------
    model : torch.nn.Module
        Of float layers, in evaluation mode.
    leaves : tuple of module types
        Not looked into when tracing: see :func:`sw.ptq.graph.trace`.

    Returns
    -------
    tuple of MergedBatchNorm
        In the order of their calls.

    Raises
    ------
    TypeError, ValueError
        If the model is no module, is prepared for quantization already, cannot be traced, or a normalization to be
        merged is in training mode.

    Source: Krishnamoorthi 2018, Quantizing Deep Convolutional Networks for Efficient Inference (arXiv 1806.08342),
    section 3.2.
    """
    check_float(model, "merged with its batch normalizations")
    traced = trace(model, leaves=leaves)
    merged = _pairs(traced)
    for pair in merged:
        if model.get_submodule(pair.norm).training:
            raise ValueError(f"Layer {pair.norm!r} must be in evaluation mode to be merged into {pair.layer!r}, "
                             "not in training: its statistics would still change; call model.eval() first")
    for pair in merged:
        merge_into(model.get_submodule(pair.layer), model.get_submodule(pair.norm))
        parent, _, name = pair.norm.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())
    return merged


@torch.no_grad()
def merge_into(layer: nn.Module, norm: nn.Module) -> None:
    """Let ``layer`` compute ``norm(layer(x))`` of evaluation mode.

    Parameters
    ----------
    layer : torch.nn.Linear, or a convolution
        Changed in place. Each output channel's weights are multiplied by ``gamma / sqrt(variance + eps)``, and its bias
        becomes ``beta + (bias - mean)`` times that, in float64 and rounded once.
    norm : torch.nn.BatchNorm1d, BatchNorm2d or BatchNorm3d

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type, the channels differ, or the normalization keeps no statistics.
    """
    weights = ScaledLayer.of(layer) if type(layer) in _MERGEABLE else None
    if weights is None:
        raise TypeError("Layer must be a linear layer or a convolution with weights of its own, "
                        f"not {type(layer).__name__!r}")
    if not isinstance(norm, BATCH_NORMS):
        raise TypeError(f"Normalization must be a batch normalization, not {type(norm).__name__!r}")
    if norm.num_features != weights.outputs:
        raise ValueError(f"Normalization must have the {weights.outputs} output channels of the layer, "
                         f"not {norm.num_features}")
    factor, bias = batch_norm_affine(norm)
    if layer.bias is not None:
        bias = layer.bias.double() * factor + bias
    weights.rescale(outputs=factor)
    if layer.bias is None:
        layer.bias = nn.Parameter(bias.to(layer.weight))
    else:
        layer.bias.copy_(bias)


def _pairs(traced: TracedModel) -> tuple[MergedBatchNorm, ...]:
    """Return the normalizations that can be merged, with the layers before them."""
    shared = traced.shared_parameters()
    flow = ChannelFlow(traced)
    pairs = []
    for node in traced.graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        layer, norm = traced.module(before), traced.module(node)
        if type(layer) not in _MERGEABLE or type(norm) not in BATCH_NORMS or norm.running_mean is None:
            continue
        weights = ScaledLayer.of(layer)
        # Behind a linear layer, a normalization is over its outputs if these are of shape (batch, outputs) alone.
        is_over_channels = (weights is not None and norm.num_features == weights.outputs
                            and (type(layer) is not nn.Linear or flow.rank(before) in (None, 2)))
        owned = not any(id(parameter) in shared for module in (layer, norm) for parameter in module.parameters())
        if is_over_channels and owned and traced.calls(before.target) == traced.calls(node.target) == 1:
            pairs.append(MergedBatchNorm(layer=before.target, norm=node.target))
    return tuple(pairs)
