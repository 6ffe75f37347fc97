"""Networks through circuits, in place: quantized layers compute with a circuit's sums, and float ones are quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

from sw import ptq
from sw.ptq.batches import Batches
from sw.ptq.checks import Progress
from sw.ptq.layers import QuantizedLayer
from sw.ptq.quantize import check_prepared
from synth.nn.modules import CIRCUIT_KINDS, CircuitLayer, check_layer
from synth.nn.scales import config_for
from synth.nn.unit import Unit, check_unit

Units: TypeAlias = Unit | Mapping[str, Unit]
"""A circuit for all layers, or one for each name or pattern, as ``fnmatch`` has them, of layers: the first that
matches."""

Filter: TypeAlias = Callable[[nn.Module, str], bool]

_KINDS: dict[type[nn.Module], type[CircuitLayer]] = {
    **CIRCUIT_KINDS, **{kind: kind for kind in CIRCUIT_KINDS.values()}}
_NAMES = ", ".join(kind.__name__ for kind in CIRCUIT_KINDS)


def convert(model: nn.Module, units: Units, filter_fn: Filter | None = None) -> nn.Module:
    """Have the quantized layers of a model compute through circuits, with the formats and scales that they have.

    In place: a layer stays the object that it is and changes its class; its parameters, quantizers, their keys, and
    hooks stay. The codes that a circuit multiplies are those of the layer's quantizers. Layers that compute through a
    circuit already get another one. Quantized are what :func:`sw.ptq.quantize_` made so: linear layers, convolutions in
    2D, and the projections of an attention layer, whose scores and weighted sums torch computes as before. Everything
    else stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
        Quantized, with its scales.
    units : Unit or mapping of str to Unit
        Circuits; with a mapping, layers that no pattern matches stay as they are.
    filter_fn : callable, optional
        ``filter_fn(module, name)`` says whether a layer is to compute through a circuit.

    Returns
    -------
    torch.nn.Module
        The model.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, a layer is of another kind, is not calibrated, or cannot be computed by its
        circuit (see :func:`synth.nn.modules.check_layer`), or none is left. The message names the layer, and the model
        is unchanged then.
    """
    _check(model, units, filter_fn)
    layers = ptq.quantized_layers(model)
    if not layers:
        raise ValueError(f"Model must have quantized layers, not be a {type(model).__name__} without; "
                         "synth.nn.quantize_ quantizes and converts, sw.ptq.quantize_ quantizes")
    chosen = _chosen(layers, units, filter_fn)
    for layer, _ in chosen.values():
        _check_scales(layer)
    if not chosen:
        raise ValueError("Model must have a quantized layer that units and filter_fn admit, not none of "
                         f"{', '.join(layers)}")
    for layer, unit in chosen.values():
        layer.__class__ = _KINDS[type(layer)]
        layer.attach_unit(unit)
    return model


def quantize_(model: nn.Module, units: Units, filter_fn: Filter | None = None, *, batches: Batches | None = None,
              recipe: ptq.Recipe | None = None, progress: Progress | None = None) -> nn.Module:
    """Quantize a float model for circuits and have it compute through them, in place; return it in evaluation mode.

    Layers are quantized as :func:`synth.nn.config_for` says. With batches, the scale of a layer's inputs is that of
    the batches; without, it follows each input.

    Parameters
    ----------
    model : torch.nn.Module
    units, filter_fn
        As for :func:`convert`.
    batches, recipe, progress
        As for :func:`sw.ptq.quantize_`.

    Raises
    ------
    TypeError, ValueError
        As :func:`sw.ptq.quantize_` and :func:`convert`. What a circuit cannot compute is refused before the model is
        changed.
    """
    _check(model, units, filter_fn)
    dynamic = batches is None
    configs = ({pattern: config_for(unit, dynamic=dynamic) for pattern, unit in units.items()}
               if isinstance(units, Mapping) else config_for(units, dynamic=dynamic))
    check_prepared(model, configs, filter_fn, lambda layers: _chosen(layers, units, None))
    ptq.quantize_(model, configs, filter_fn, batches=batches, recipe=recipe, progress=progress)
    return convert(model, units)


def revert(model: nn.Module) -> nn.Module:
    """Make the layers of a model that compute through circuits the quantized layers again that they were; return it.

    In place; what is float in :func:`sw.ptq.floating` computes on with torch's own sums of the same rounded operands.
    """
    for layer in circuit_layers(model).values():
        layer.detach_unit()
    return model


def circuit_layers(model: nn.Module) -> dict[str, CircuitLayer]:
    """Return the layers that compute through circuits by their names, in the order of their first execution."""
    return {name: layer for name, layer in ptq.quantized_layers(model).items() if isinstance(layer, CircuitLayer)}


def _check(model: nn.Module, units: Units, filter_fn: Filter | None) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"Model must be a torch.nn.Module, not {type(model).__name__!r}")
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(f"Layer filter must be callable with a module and its name, not {filter_fn!r}")
    if not isinstance(units, Mapping):
        check_unit(units)
        return
    for pattern, unit in units.items():
        if not isinstance(pattern, str):
            raise TypeError(f"Units must map the name of a layer or a pattern to a unit, not {pattern!r}")
        check_unit(unit)


def _chosen(layers: Mapping[str, QuantizedLayer], units: Units, filter_fn: Filter | None
            ) -> dict[str, tuple[QuantizedLayer, Unit]]:
    """Return the layers that are to compute through circuits, which those can, by name."""
    _check_patterns(units, layers)
    chosen: dict[str, tuple[QuantizedLayer, Unit]] = {}
    for name, layer in layers.items():
        unit = _unit_of(name, units)
        if unit is not None and (filter_fn is None or filter_fn(layer, name)):
            _check_kind(name, layer)
            check_layer(layer, unit)
            chosen[name] = layer, unit
    return chosen


def _check_patterns(units: Units, layers: Mapping[str, nn.Module]) -> None:
    for pattern in units if isinstance(units, Mapping) else ():
        if not any(_matches(name, pattern) for name in layers):
            close = get_close_matches(pattern, layers, n=1, cutoff=0)
            raise ValueError(f"Unit pattern must match a quantized layer, not none as {pattern!r} does; the nearest "
                             f"name is {close[0]!r}")


def _unit_of(name: str, units: Units) -> Unit | None:
    if not isinstance(units, Mapping):
        return units
    return next((unit for pattern, unit in units.items() if _matches(name, pattern)), None)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _check_kind(name: str, layer: QuantizedLayer) -> None:
    if type(layer) not in _KINDS:
        raise TypeError(f"Layer {name!r} must be one of {_NAMES} to compute through a circuit, not "
                        f"{type(layer).__name__}; leave it out with filter_fn")


def _check_scales(layer: QuantizedLayer) -> None:
    for quantizer in (layer.weight_quantizer, layer.input_quantizer):
        if quantizer is not None and quantizer.observing:
            raise ValueError(f"Layer must have its scales before it computes through a circuit, not observe, at "
                             f"{quantizer.label}; see sw.ptq.calibrate")
