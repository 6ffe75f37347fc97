"""SmoothQuant: large activations made smaller, and the weights behind them larger, channel by channel."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches, check_batches, run
from sw.ptq.checks import Progress
from sw.ptq.equalize import equalizing_factors
from sw.ptq.graph import Leaves, check_float, check_leaves
from sw.ptq.regions import Region, find_regions
from sw.ptq.scaled_layer import LAYERS, ScaledLayer, input_range
from sw.ptq.smoothing import attach_smoothing, channel_axis, multiplied_inputs


@dataclass(frozen=True, kw_only=True)
class SmoothQuant:
    """Settings of :func:`smooth_`.

    Parameters
    ----------
    alpha : float
        How much of the difficulty moves from activations to weights, 0 to 1.
    folded : bool
        Let the layers before a layer scale its inputs, where there are such: nothing is computed in addition.
        Otherwise each layer multiplies its inputs itself.
    leaves : tuple of module types
        Not looked into when tracing for ``folded``: see :func:`sw.ptq.graph.trace`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.
    """

    alpha: float = 0.5
    folded: bool = True
    leaves: Leaves = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)):
            raise TypeError(f"Alpha must be a number, not {self.alpha!r}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"Alpha must be between 0 and 1, not {self.alpha!r}")
        check_boolean("Folding", self.folded)
        check_leaves(self.leaves)


@dataclass(frozen=True, eq=False, kw_only=True)
class Smoothed:
    """What :func:`smooth_` did.

    Parameters
    ----------
    factors : dict of Tensor
        By what each channel of a layer's inputs is multiplied now, float64 of shape (input channels,), by the layer's
        name.
    regions : tuple of Region
        Those that the factors were folded into; none if the layers multiply themselves.
    """

    factors: dict[str, Tensor]
    regions: tuple[Region, ...]


@torch.no_grad()
def smooth_(model: nn.Module, batches: Batches, options: SmoothQuant | None = None, *,
            filter_fn: Callable[[nn.Module, str], bool] | None = None, progress: Progress | None = None) -> Smoothed:
    """Move the difficulty of a model's activations to its weights, in place; what it computes stays the same.

    Input channel i of a layer is multiplied by ``f_i = max|W_i|**(1 - alpha) / max|X_i|**alpha``, its weights are
    divided by it. The maxima are over all weights of the channel and over all batches; where one is at most 1e-9 the
    factor is 1.

    Folded, the factors go into the layers before, as in :func:`sw.ptq.equalize.equalize_`; a layer that none scales,
    such as one behind a GELU, stays as it is. Otherwise no graph is needed: each linear layer, convolution and
    attention gets a buffer ``smoothing`` (in ``state_dict`` under its name) and multiplies its input by it before
    anything else, quantization included (:func:`sw.ptq.smoothing.attach_smoothing`).

    Parameters
    ----------
    model : torch.nn.Module
        Of float layers.
    batches : sequence or DataLoader of batches
        As :data:`sw.ptq.batches.Batches` has them.
    options : SmoothQuant, optional
    filter_fn : callable, optional
        ``filter_fn(module, name)`` says whether a layer's inputs are to be smoothed; a region is if all its sinks are.
    progress : callable, optional
        Called after each batch.

    Returns
    -------
    Smoothed
        Layers that no batch reaches, or that share their weights with others, are not in it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the batches are none or not finite, a layer's input is not finite, the
        model is prepared for quantization already, or (folded) cannot be traced.

    Source: Xiao et al. 2022, SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models
    (arXiv 2211.10438), equation 4, whose ``s`` is the inverse.
    """
    options = SmoothQuant() if options is None else options
    if not isinstance(options, SmoothQuant):
        raise TypeError(f"Options must be a SmoothQuant, not {options!r}")
    check_float(model, "smoothed")
    check_batches(batches)
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(f"Layer filter must be callable with a module and its name, not {filter_fn!r}")
    if options.folded:
        return _smooth_regions(model, batches, options, filter_fn, progress)
    layers = {name: layer for name, layer in _layers(model).items() if filter_fn is None or filter_fn(layer, name)}
    with _observing(layers) as activations:
        run(model, batches, progress)
    weights = {name: ScaledLayer.of_input(layers[name]) for name in activations}
    factors = {name: equalizing_factors(largest, _range(name, weights[name]), alpha=options.alpha)
               for name, largest in activations.items()}
    for name, layer_factors in factors.items():
        attach_smoothing(layers[name], layer_factors)  # first: it refuses factors beyond the type of the weights
        weights[name].rescale(inputs=1 / layer_factors)
    return Smoothed(factors=factors, regions=())


def _smooth_regions(model: nn.Module, batches: Batches, options: SmoothQuant,
                    filter_fn: Callable[[nn.Module, str], bool] | None, progress: Progress | None) -> Smoothed:
    """Fold factors into the layers before."""
    regions = [region for region in find_regions(model, leaves=options.leaves)
               if filter_fn is None or all(filter_fn(model.get_submodule(name), name) for name in region.sink_names)]
    names = dict.fromkeys(name for region in regions for name in region.sink_names)
    with _observing({name: model.get_submodule(name) for name in names}) as activations:
        run(model, batches, progress)
    regions = [region for region in regions if all(name in activations for name in region.sink_names)]
    for region in regions:  # all weights are looked at before any is changed
        for sink in region.sinks:
            _range(sink.name, sink.weights)
    smoothed: dict[str, Tensor] = {}
    for region in regions:
        ranges = [torch.zeros(region.channels, dtype=torch.float64, device=region.device) for _ in range(2)]
        for sink in region.sinks:
            sink.merge_range(ranges[0], activations[sink.name])
            sink.merge_range(ranges[1], _range(sink.name, sink.weights))
        factors = equalizing_factors(*ranges, alpha=options.alpha)
        for source in region.sources:
            source.weights.rescale(outputs=source.factors(factors))
        for sink in region.sinks:
            sink.weights.rescale(inputs=1 / sink.factors(factors))
            smoothed[sink.name] = smoothed.get(sink.name, 1.0) * sink.factors(factors)
    return Smoothed(factors=smoothed, regions=tuple(regions))


def _range(name: str, weights: ScaledLayer) -> Tensor:
    """Return the range of each input channel of a layer."""
    largest = input_range(weights.weights())
    if not bool(torch.isfinite(largest).all()):
        raise ValueError(f"Weights of layer {name!r} must be finite to be smoothed, not with an infinity or a NaN, in "
                         f"shape {tuple(weights.parameters[0].shape)}")
    return largest


@contextmanager
def _observing(layers: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Gather the largest magnitude of each input channel of layers, float64, while a model that holds them runs."""
    largest: dict[str, Tensor] = {}

    def observe(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for x in multiplied_inputs(layer, args, kwargs).values():
            if not x.numel():
                continue
            others = [dim for dim in range(-x.ndim, 0) if dim != channel_axis(layer)]
            batch = x.detach().abs().amax(others).to(torch.float64)
            if not bool(torch.isfinite(batch).all()):
                raise ValueError(f"Input of layer {name!r} must be finite to be smoothed, not with an infinity or a "
                                 f"NaN, in shape {tuple(x.shape)}")
            largest[name] = torch.maximum(largest[name], batch) if name in largest else batch

    handles = [layer.register_forward_pre_hook(partial(observe, name), with_kwargs=True)
               for name, layer in layers.items()]
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that can multiply their inputs themselves: those whose weights are theirs alone."""
    owners = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        weights = ScaledLayer.of_input(module) if type(module) in LAYERS else None
        if weights is not None and all(owners[id(parameter)] == 1 for parameter in weights.parameters[:1]):
            found[name] = module
    return found
