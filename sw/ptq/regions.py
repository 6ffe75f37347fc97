"""Regions of a model: the layers whose channels can be scaled against each other without changing what it computes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.ptq.channel_flow import ChannelFlow
from sw.ptq.channels import FIXED, ChannelVariables
from sw.ptq.graph import Leaves, trace
from sw.ptq.scaled_layer import ScaledLayer


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionLayer:
    """A layer's side in a region.

    Parameters
    ----------
    name : str
        Of the layer in the model.
    weights : ScaledLayer
    index : int64 tensor of shape (outputs or inputs of the layer,)
        Which of the region's channels each one is; the region's channel count where it is none.
    """

    name: str
    weights: ScaledLayer
    index: Tensor

    @property
    def key(self) -> int:
        """Identity of the weights: one for both sides of a layer, but for an attention, whose sides have their own."""
        return id(self.weights.parameters[0])

    def factors(self, factors: Tensor) -> Tensor:
        """Return the factor of each of the layer's channels, given the region's."""
        return torch.cat([factors, factors.new_ones(1)])[self.index.to(factors.device)]

    def merge_range(self, largest: Tensor, layer_range: Tensor) -> None:
        """Let the region's channels be at least as large as the layer's: ``largest`` is changed in place."""
        inside = self.index.to(largest.device) < len(largest)
        largest.scatter_reduce_(0, self.index.to(largest.device)[inside], layer_range.to(largest)[inside], "amax")


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """Channels that run from sources to sinks through nothing but operations that keep a factor.

    Multiplying a channel of all sources by a factor and dividing it in all sinks changes nothing else.

    Parameters
    ----------
    channels : int
    sources : tuple of RegionLayer
        Layers whose output channels these are.
    sinks : tuple of RegionLayer
        Layers whose input channels these are.
    """

    channels: int
    sources: tuple[RegionLayer, ...]
    sinks: tuple[RegionLayer, ...]

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources in the model."""
        return tuple(layer.name for layer in self.sources)

    @property
    def sink_names(self) -> tuple[str, ...]:
        """Names of the sinks in the model."""
        return tuple(layer.name for layer in self.sinks)

    @property
    def device(self) -> torch.device:
        """Where its factors are computed."""
        return self.sources[0].weights.parameters[0].device


def find_regions(model: nn.Module, *, leaves: Leaves = ()) -> list[Region]:
    """Return the regions of a model, in the order in which their first sources are called.

    Sources are linear layers, convolutions (grouped, depthwise and transposed too), attentions and normalizations;
    sinks are the same but for normalizations. Between them may be activations with ``f(c x) = c f(x)`` (ReLU, leaky
    ReLU, PReLU), pooling, padding, dropout in evaluation or training, resizing, flattening, transposition, slices,
    concatenation, additions, and products with something that is not scaled itself. ReLU6, hardtanh, GELU, SiLU and
    the like do not keep a factor and end the search, as does every module, function or method that is not known to.
    Layers of a derived type (as timm's normalizations are), with parametrized or with shared weights are left alone.
    Inputs of convolutions are taken to be batches.

    Parameters
    ----------
    model : torch.nn.Module
        Of float layers.
    leaves : tuple of module types
        Not looked into when tracing: see :func:`sw.ptq.graph.trace`.

    Raises
    ------
    TypeError, ValueError
        If the model is no module, or cannot be traced.

    Source: the regions generalize the pairs and triples of Nagel et al. 2019, Data-Free Quantization Through Weight
    Equalization and Bias Correction (arXiv 1906.04721), section 4.1, to residual connections and concatenations.
    """
    traced = trace(model, leaves=leaves)
    flow = ChannelFlow(traced)
    least = flow.variables.solve()
    sources = {name: least[variables] for name, variables in flow.outputs.items()}
    sinks = {name: least[variables] for name, variables in flow.inputs.items()}
    regions = [Region(channels=len(channels), sources=_layers(model, sources, channels, outputs=True),
                      sinks=_layers(model, sinks, channels, outputs=False))
               for channels in _regions_of(sources, sinks, flow.variables.count)]
    order = {name: position for position, name in enumerate(sources)}
    return sorted(regions, key=lambda region: order[region.source_names[0]])


def _layers(model: nn.Module, sides: dict[str, Tensor], channels: Tensor, *, outputs: bool) -> tuple[RegionLayer, ...]:
    """Return the layers with a side among whose variables are ``channels``."""
    return tuple(RegionLayer(name=name, weights=_weights(model, name, outputs=outputs), index=_index(side, channels))
                 for name, side in sides.items() if bool(torch.isin(side, channels).any()))


def _weights(model: nn.Module, name: str, *, outputs: bool) -> ScaledLayer:
    module = model.get_submodule(name)
    layer = ScaledLayer.of(module) if outputs else ScaledLayer.of_input(module)
    assert layer is not None, "the flow has variables for such layers alone"
    return layer


def _regions_of(sources: dict[str, Tensor], sinks: dict[str, Tensor], count: int) -> list[Tensor]:
    """Return the variables that have both sources and sinks, those that share a layer's side together."""
    reached = [torch.zeros(count, dtype=torch.bool) for _ in range(2)]
    for sides, mask in zip((sources, sinks), reached, strict=True):
        for side in sides.values():
            mask[side] = True
    valid = reached[0] & reached[1]
    valid[FIXED] = False
    together = ChannelVariables()
    together.new(count - 1)
    for side in (*sources.values(), *sinks.values()):
        inside = side[valid[side]]
        together.join(inside[1:], inside[:-1])
    group = together.solve()
    return [torch.nonzero(valid & (group == first)).flatten() for first in torch.unique(group[valid]).tolist()]


def _index(side: Tensor, channels: Tensor) -> Tensor:
    """Return the position of each variable of ``side`` in the sorted ``channels``; their number where it is not."""
    position = torch.searchsorted(channels, side)
    found = channels[position.clamp(max=len(channels) - 1)] == side
    return torch.where(found, position, len(channels))
