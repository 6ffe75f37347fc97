"""Cross-layer equalization: the weights of neighbouring layers share their ranges, channel by channel."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.checks import check_count
from sw.ptq.graph import Leaves, check_float, check_leaves
from sw.ptq.regions import Region, RegionLayer, find_regions

LEAST_RANGE = 1e-9
"""Channels with a range up to this are left as they are: the factors that make up for them would be huge."""


@dataclass(frozen=True, kw_only=True)
class Equalization:
    """Settings of :func:`equalize_`.

    Parameters
    ----------
    sweeps : int
        How often, at most, all regions are gone through; at least 1.
    threshold : float
        A sweep all of whose factors are nearer to 1 than this is the last one.
    merge_bias : bool
        Let ``|bias| / shrink`` of a source's channel join its range, lest biases grow out of proportion.
    bias_shrink : float, optional
        Greater than 0. None for the rule of :func:`bias_shrink`.
    leaves : tuple of module types
        Not looked into when tracing: see :func:`sw.ptq.graph.trace`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.
    """

    sweeps: int = 20
    threshold: float = 0.05
    merge_bias: bool = True
    bias_shrink: float | None = None
    leaves: Leaves = field(default=())

    def __post_init__(self) -> None:
        check_count("Sweep count", self.sweeps)
        _check_number("Threshold", self.threshold)
        if not 0 <= self.threshold < math.inf:
            raise ValueError(f"Threshold must be at least 0 and finite, not {self.threshold!r}")
        check_boolean("Bias merging", self.merge_bias)
        if self.bias_shrink is not None:
            _check_number("Bias shrink", self.bias_shrink)
            if not 0 < self.bias_shrink < math.inf:
                raise ValueError(f"Bias shrink must be greater than 0 and finite, not {self.bias_shrink!r}; "
                                 "give merge_bias=False to leave biases out")
        check_leaves(self.leaves)


@dataclass(frozen=True, eq=False, kw_only=True)
class Equalized:
    """What :func:`equalize_` did.

    Parameters
    ----------
    regions : tuple of Region
        In the order in which they were gone through.
    factors : tuple of Tensor
        Of each region, by what each channel of its sources was multiplied in all, float64.
    sweeps : int
        How often they were gone through.
    """

    regions: tuple[Region, ...]
    factors: tuple[Tensor, ...]
    sweeps: int


def equalizing_factors(sources: Tensor, sinks: Tensor, *, alpha: float = 0.5) -> Tensor:
    """Return ``sinks**(1 - alpha) / sources**alpha`` of each channel, 1 where either range is negligible.

    With a half each, the sources' ranges times the factors equal the sinks' ranges divided by them.

    Parameters
    ----------
    sources, sinks : tensors of shape (channels,)
        Ranges, not negative.
    alpha : float
        From 0 to 1.

    Source: Nagel et al. 2019 (arXiv 1906.04721), equation 11, whose ``s`` is the inverse; Xiao et al. 2022, SmoothQuant
    (arXiv 2211.10438), equation 4.
    """
    negligible = (sources <= LEAST_RANGE) | (sinks <= LEAST_RANGE)
    factors = sinks.double() ** (1 - alpha) / sources.double() ** alpha
    return torch.where(negligible, 1.0, factors)


class BiasRatios:
    """``|bias| / |weight|`` of all weights of a layer, as they are when input channels are divided by factors.

    Factors of output channels are of no account: they multiply weights and bias alike.

    Parameters
    ----------
    weights : tensor of shape (groups, outputs of a group, inputs of a group, taps)
        Not negative.
    bias : tensor of shape (outputs,)
        Not negative.
    """

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        self._weights = weights.clamp(min=LEAST_RANGE)
        self._bias = bias.reshape(len(weights), 1, -1)
        # Before any factor, the mean is a sum of these over the input channels: of all weights, one pass is enough.
        inverses = self._weights.reciprocal().sum(3)
        self._sums = self._bias @ inverses / weights.numel()
        self._inputs = torch.ones_like(self._sums)

    def divide_inputs(self, factors: Tensor) -> None:
        """Let the weights of the input channels be divided by factors, (groups * inputs of a group,)."""
        self._inputs = self._inputs * factors.to(self._inputs).reshape(self._inputs.shape)

    def mean(self) -> float:
        """Return the mean over all weights."""
        return float((self._sums * self._inputs).sum())

    def median_exceeds(self, bound: float) -> bool:
        """Whether the lower median over all weights is greater than ``bound``; counting is faster than sorting."""
        if self.mean() < bound / 2:
            return False  # half of them beyond the bound would make the mean at least this
        least = (self._bias.mT * self._inputs / bound)[..., None]
        return int(torch.count_nonzero(self._weights >= least)) <= (self._weights.numel() - 1) // 2


def bias_shrink(largest_weight: float, largest_bias: float, ratios: BiasRatios) -> float:
    """Return by what biases are divided before they join the ranges of weights: 2, 5, 10 or 20.

    The larger the median or mean of ``|bias| / |weight|`` over all weights, the less the biases count; they count more
    where they are small themselves.

    Parameters
    ----------
    largest_weight, largest_bias : float
        Magnitudes.
    ratios : BiasRatios

    Source: Vitis AI quantizer for PyTorch, cross-layer equalization; Brevitas, ``bias_shrinkage='vaiq'``.
    """
    mean = ratios.mean()
    if largest_bias < 10 and largest_bias < 20 * max(largest_weight, LEAST_RANGE):
        return 5.0 if mean > 1000 or ratios.median_exceeds(100) else 2.0
    if mean > 500 or ratios.median_exceeds(30):
        return 20.0
    return 10.0 if mean > 250 or ratios.median_exceeds(15) else 5.0


class _Magnitudes:
    """The magnitudes of a layer's weights as they would be after all factors so far, and these."""

    def __init__(self, side: RegionLayer, options: Equalization) -> None:
        self._layer = side.weights
        weights, bias = self._layer.weights().abs(), self._layer.bias()
        self._largest = weights.amax(3)
        self._bias = bias.abs() if bias is not None and options.merge_bias else None
        for values in (self._largest, bias):
            if values is not None and not bool(torch.isfinite(values).all()):
                raise ValueError(f"Parameters of layer {side.name!r} must be finite to be equalized, not with an "
                                 f"infinity or a NaN, in shape {tuple(self._layer.parameters[0].shape)}")
        self._shrink = options.bias_shrink
        self._ratios = (BiasRatios(weights, self._bias) if self._bias is not None and self._shrink is None else None)
        self._outputs = self._inputs = None

    def output_range(self) -> Tensor:
        """Return the range of each output channel, the bias merged."""
        largest = self._largest.amax(2).flatten()
        if self._bias is None:
            return largest
        shrink = self._shrink
        if self._ratios is not None:
            shrink = bias_shrink(float(largest.max()), float(self._bias.max()), self._ratios)
        return torch.maximum(largest, self._bias / shrink)

    def input_range(self) -> Tensor:
        """Return the range of each input channel."""
        return self._largest.amax(1).flatten()

    def scale_outputs(self, factors: Tensor) -> None:
        """Multiply the output channels by factors."""
        self._outputs = factors if self._outputs is None else self._outputs * factors
        work = factors.to(self._largest)
        self._largest.mul_(work.reshape(len(self._largest), -1, 1))
        if self._bias is not None:
            self._bias = self._bias * work

    def divide_inputs(self, factors: Tensor) -> None:
        """Divide the input channels by factors."""
        self._inputs = 1 / factors if self._inputs is None else self._inputs / factors
        self._largest.div_(factors.to(self._largest).reshape(len(self._largest), 1, -1))
        if self._ratios is not None:
            self._ratios.divide_inputs(factors)

    def apply(self) -> None:
        """Scale the layer itself."""
        self._layer.rescale(outputs=self._outputs, inputs=self._inputs)


def _equalize_region(region: Region, magnitudes: dict[int, _Magnitudes]) -> Tensor:
    """Scale the magnitudes of a region's layers and return the factors, float64 of shape (channels,)."""
    ranges = [torch.zeros(region.channels, dtype=torch.float64, device=region.device) for _ in range(2)]
    for side in region.sources:
        side.merge_range(ranges[0], magnitudes[side.key].output_range())
    for side in region.sinks:
        side.merge_range(ranges[1], magnitudes[side.key].input_range())
    factors = equalizing_factors(*ranges)
    for side in region.sources:
        magnitudes[side.key].scale_outputs(side.factors(factors))
    for side in region.sinks:
        magnitudes[side.key].divide_inputs(side.factors(factors))
    return factors


def _check_number(noun: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{noun} must be a number, not {value!r}")


@torch.no_grad()
def equalize_(model: nn.Module, options: Equalization | None = None) -> Equalized:
    """Equalize the weight ranges of neighbouring layers of a model, in place; what it computes stays the same.

    Each channel that runs from some layers to others (:func:`sw.ptq.regions.find_regions` finds them, through residual
    connections and concatenations) is multiplied by ``sqrt(sink range / source range)`` in its sources, weights and
    bias, and divided by it in its sinks; a range is the largest magnitude of the channel's weights in all of them.
    Since a layer is a sink of one region and a source of another, this is repeated. The factors of all sweeps are
    accumulated in float64 and applied once, rounded once.

    To be called on a model of float layers, after :func:`sw.ptq.merge_batch_norm.merge_batch_norm_`: a batch
    normalization that stays behind a layer ends the region. So does a ReLU6, which would no longer clip at 6: as in
    MobileNetV2. (Brevitas' script replaces ReLU6 by ReLU first, which changes what a network computes.)

    Where Brevitas 0.13 finds the same regions, the weights are the same. It does not find those through ``nn.Flatten``,
    a flattening that spreads channels, transpositions and pieces of tensors, nor those of grouped convolutions that are
    not depthwise.

    Parameters
    ----------
    model : torch.nn.Module
    options : Equalization, optional

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model cannot be traced or is prepared for quantization already, or a
        layer's weights are not finite.

    Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv
    1906.04721), section 4.1; the sweeps, their threshold, the least range and the merged bias as in Brevitas.
    """
    options = Equalization() if options is None else options
    if not isinstance(options, Equalization):
        raise TypeError(f"Options must be an Equalization, not {options!r}")
    check_float(model, "equalized")
    regions = find_regions(model, leaves=options.leaves)
    # One entry for both sides of a layer, if these are the same weights: those of an attention are not.
    sides = {side.key: side for region in regions for side in (*region.sinks, *region.sources)}
    magnitudes = {key: _Magnitudes(side, options) for key, side in sides.items()}
    totals = [torch.ones(region.channels, dtype=torch.float64, device=region.device) for region in regions]
    sweeps, largest = 0, math.inf
    while regions and sweeps < options.sweeps and largest >= options.threshold:
        sweeps, largest = sweeps + 1, 0.0
        for index, region in enumerate(regions):
            factors = _equalize_region(region, magnitudes)
            totals[index] = totals[index] * factors
            largest = max(largest, float((1 - factors).abs().max()))
    for layer in magnitudes.values():
        layer.apply()
    return Equalized(regions=tuple(regions), factors=tuple(totals), sweeps=sweeps)
