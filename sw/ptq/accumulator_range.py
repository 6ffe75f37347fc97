"""How wide a layer's accumulators must be: by its formats, by its weights, and by what comes out on data."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from sw.formats import BlockFormat, ScalarFormat
from sw.ptq.batches import run
from sw.ptq.config import Granularity
from sw.ptq.quantize import quantized_layers
from sw.quantize import fake_quantize
from sw.reference.accumulator_width import format_grid, sum_grid

EXACT = 1 << 53
"""Sums of whole numbers below this are exact in float64."""


@dataclass(frozen=True, kw_only=True)
class AccumulatorRange:
    """How wide the accumulators of a layer must be, in bits of two's complement, in units of the least product.

    A sum in two's complement that ends within the register is right whatever it wrapped on its way, so that the final
    sums decide.

    Parameters
    ----------
    terms : int
        Products of a sum.
    by_formats : int
        No sum of so many products of two values of the formats can wrap.
    by_weights : int
        No sum of these weights with any activations of the format can wrap. Source: Colbert et al. 2023, A2Q (arXiv
        2308.13504), the bound by the weights' l1 norm, here with both ends of the formats' ranges.
    observed : int or None
        No sum on the given batches did wrap; others may. None without batches.
    """

    terms: int
    by_formats: int
    by_weights: int
    observed: int | None


def accumulator_ranges(model: nn.Module, batches: Iterable[Any] | None = None) -> dict[str, AccumulatorRange]:
    """Return the range of every quantized layer's sums of products, bias excluded.

    Parameters
    ----------
    model : nn.Module
        Converted: with calibrated scales for weights and inputs of scalar formats, one scale for all the products of
        a sum.
    batches : iterable, optional
        Inputs of the model, to observe sums on.

    Raises
    ------
    ValueError
        If the model has no quantized layers, or one of them has inputs or weights that are not quantized, or that
        have several scales within a sum; the message names it.
    """
    layers = {name: layer for name, layer in quantized_layers(model).items() if hasattr(layer, "input_matrix")}
    if not layers:
        raise ValueError(f"Model must have quantized layers to have accumulators, not {type(model).__name__} without")
    integers = {name: _weight_integers(name, layer) for name, layer in layers.items()}
    extremes = _observe(model, layers, integers, batches) if batches is not None else {}
    return {name: _range(layer, integers[name], extremes.get(name)) for name, layer in layers.items()}


def _formats(layer: nn.Module) -> tuple[ScalarFormat, ScalarFormat]:
    return layer.weight_quantizer.element_format, layer.input_quantizer.element_format


def _weight_integers(name: str, layer: nn.Module) -> Tensor:
    """Return the weights as whole numbers of the format's quantum: float64, (groups, rows, columns)."""
    for what, quantizer in (("weights", layer.weight_quantizer), ("inputs", layer.input_quantizer)):
        if quantizer is None or not quantizer.enabled:
            raise ValueError(f"Accumulators must have quantized {what}, not those of layer {name!r}")
    matrix, scale = layer.weight_matrix(), layer.weight_scales()
    if bool((scale != scale[..., :1]).any()):
        raise ValueError(f"Weights must have one scale for all products of a sum to have an accumulator's range, not "
                         f"several in layer {name!r}; take a scale for each channel")
    if _scales_within_a_sum(layer, matrix.shape[-1]):
        raise ValueError(f"Inputs must have one scale for all products of a sum to have an accumulator's range, not "
                         f"several in layer {name!r}; take a scale for the tensor or for each token")
    return _integers(matrix, scale, layer.weight_quantizer.element_format)


def _scales_within_a_sum(layer: nn.Module, terms: int) -> bool:
    """Whether inputs are scaled by groups or blocks of channels, of which a sum has more than one."""
    quantizer = layer.input_quantizer
    if isinstance(quantizer.format, BlockFormat):
        size = quantizer.format.block_size
    elif quantizer.config.granularity is Granularity.GROUP:
        size = quantizer.config.group_size
    else:
        return False
    channels = layer.canonical(layer.weight).shape[layer.input_axis]
    # Each element of a window has scales of its own, and so has each group of a convolution that begins within one.
    return terms > channels or size < channels * layer.weight_groups


def _integers(values: Tensor, scale: Tensor, fmt: ScalarFormat) -> Tensor:
    """Return values as whole numbers of the format's quantum, in float64: exact, for a value rounds to itself."""
    codes = fake_quantize(values.to(torch.float32) / scale.to(torch.float32), fmt, dtype=torch.float64)
    return codes / float(Fraction(2) ** format_grid(fmt).exponent)


def _observe(model: nn.Module, layers: dict[str, nn.Module], integers: dict[str, Tensor],
             batches: Iterable[Any]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest sum of each layer on the batches, in units of the least product."""
    extremes: dict[str, tuple[float, float]] = {}

    def hook(name: str) -> Any:
        def watch(layer: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> None:
            x = (arguments[0] if arguments else next(iter(keywords.values()))).detach()
            quantizer = layer.input_quantizer
            scale = quantizer.expanded_scale(x)
            values = layer.input_matrix(_integers(x, scale, quantizer.element_format))
            sums = values @ integers[name].transpose(1, 2)
            low, high = extremes.get(name, (0.0, 0.0))
            extremes[name] = min(low, float(sums.amin())), max(high, float(sums.amax()))
        return watch

    handles = [layer.register_forward_pre_hook(hook(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        run(model, batches)
    finally:
        for handle in handles:
            handle.remove()
    return extremes


def _range(layer: nn.Module, integers: Tensor, extremes: tuple[float, float] | None) -> AccumulatorRange:
    weight, activation = _formats(layer)
    terms = integers.shape[-1]
    grid = format_grid(activation, every_code=True)
    positive, negative = integers.clamp(min=0).sum(-1), integers.clamp(max=0).sum(-1)
    highest = max(_up(p) * grid.max_integer + _up(-n) * -grid.min_integer
                  for p, n in zip(positive.flatten().tolist(), negative.flatten().tolist(), strict=True))
    lowest = min(_up(p) * grid.min_integer - _up(-n) * grid.max_integer
                 for p, n in zip(positive.flatten().tolist(), negative.flatten().tolist(), strict=True))
    by_formats = sum_grid(weight, activation, terms=terms).width
    return AccumulatorRange(
        terms=terms, by_formats=by_formats, by_weights=min(by_formats, _width(lowest, highest)),
        observed=None if extremes is None else min(by_formats, _width(-_up(-extremes[0]), _up(extremes[1]))))


def _up(value: float) -> int:
    """Return a sum in float64 as a whole number that is not below the exact sum."""
    if value < EXACT:
        return int(value)
    return int(Fraction(value) * (1 + Fraction(1, 1 << 40))) + 1


def _width(low: int, high: int) -> int:
    """Return the bits of the narrowest two's complement register that holds both."""
    return 1 + max(high.bit_length(), (-1 - low).bit_length() if low < 0 else 0)
