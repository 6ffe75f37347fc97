"""Layers that multiply their inputs by a factor for each channel, before anything else."""

from typing import Any

import torch
from torch import Tensor, nn

from sw.ptq.scaled_layer import CONVOLUTIONS, LAYERS, TRANSPOSED_CONVOLUTIONS

_BUFFER = "smoothing"
_PROJECTED = ("query", "key", "value")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def attach_smoothing(layer: nn.Module, factors: Tensor) -> None:
    """Let a layer multiply its input by a factor for each channel, from now on.

    The layer gets a buffer ``smoothing``, (input channels,) in the dtype of its weights, and a hook that runs before
    its ``forward``: both stay when the layer is prepared for quantization, copied or pickled. Its weights stay as they
    are. Where there is such a buffer, the factors are multiplied into it. To load the ``state_dict`` of a smoothed
    model into a new one, attach ones to its layers first.

    Of an attention, query, key and value are multiplied alike.

    Parameters
    ----------
    layer : torch.nn.Linear, convolution, or torch.nn.MultiheadAttention
        Or derived from these, as the quantized layers are.
    factors : floating-point tensor of shape (input channels,)
        Positive.

    Raises
    ------
    TypeError, ValueError
        If the layer is of another type, or the factors are of another type or shape, or not positive and finite.
    """
    if not isinstance(layer, LAYERS):
        raise TypeError(f"Layer must be a linear layer, a convolution or an attention, not {type(layer).__name__!r}")
    if isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is None:
        raise ValueError("Layer must project query, key and value of one width for them to be smoothed alike, "
                         f"not of {layer.embed_dim}, {layer.kdim} and {layer.vdim}")
    if not isinstance(factors, Tensor) or not factors.is_floating_point():
        raise TypeError("Smoothing factors must be a floating-point torch.Tensor, "
                        f"not {factors.dtype if isinstance(factors, Tensor) else type(factors).__name__!r}")
    weight = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else layer.weight
    if factors.shape != (_channels(layer),):
        raise ValueError(f"Smoothing factors must be one for each of the {_channels(layer)} input channels of the "
                         f"layer, not of shape {tuple(factors.shape)}")
    factors = factors.detach().to(weight)
    if not bool(((factors > 0) & torch.isfinite(factors)).all()):
        raise ValueError(f"Smoothing factors must be positive and finite in {weight.dtype}, "
                         f"not {factors.min().item()} to {factors.max().item()}")
    if is_smoothed(layer):
        layer.smoothing.mul_(factors)
        return
    layer.register_buffer(_BUFFER, factors.clone())
    layer.register_forward_pre_hook(_multiply, with_kwargs=True)


def is_smoothed(layer: nn.Module) -> bool:
    """Whether a layer multiplies its input by factors."""
    return _BUFFER in layer._buffers


def multiplied_inputs(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int | str, Tensor]:
    """Return the tensors that a layer's weights are multiplied with, by where they are among its arguments."""
    names = _PROJECTED if isinstance(layer, nn.MultiheadAttention) else ("input",)
    return {**dict(enumerate(args[:len(names)])), **{name: kwargs[name] for name in names if name in kwargs}}


def channel_axis(layer: nn.Module) -> int:
    """Return the dimension of the channels in a layer's input, counted from the last, -1."""
    return 1 - layer.weight.ndim if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)) else -1


def _multiply(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Multiply what a layer is called with by its factors."""
    factors = layer.smoothing.reshape(-1, *[1] * (-1 - channel_axis(layer)))
    places = multiplied_inputs(layer, args, kwargs)
    products: dict[int, Tensor] = {}
    for x in places.values():
        # Query, key and value that are one tensor stay one: attention with itself is told by that.
        if id(x) not in products:
            products[id(x)] = x * factors.to(x.dtype)
    return (tuple(products[id(x)] if place in places else x for place, x in enumerate(args)),
            {name: products[id(x)] if name in places else x for name, x in kwargs.items()})


def _channels(layer: nn.Module) -> int:
    """Return the number of a layer's input channels."""
    if isinstance(layer, nn.MultiheadAttention):
        return layer.embed_dim
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
