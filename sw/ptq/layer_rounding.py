"""Rounding the weights of a model layer by layer, each on what the layers before it, rounded already, hand on."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from sw.ptq.batches import Batches, each, evaluating
from sw.ptq.checks import Progress
from sw.ptq.grid import Grid
from sw.ptq.quantize import floating, quantized_layers, weights_only
from sw.ptq.second_moments import SecondMoments

Rounding = Callable[[Tensor, SecondMoments, Grid], Tensor]
"""Weights (groups, rows, columns), the moments of their inputs, and their grid, to rounded weights."""

# Elements of the matrix that a convolution's inputs are spread out to, at once.
_SPREAD = 1 << 24


class _ReachedError(BaseException):
    """Stops a model at a layer. No ``Exception``, so that no model takes it for an error of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """A quantized layer where it runs.

    Parameters
    ----------
    name : str
    layer : torch.nn.Module
        A :class:`sw.ptq.layers.QuantizedLayer`.
    calls : int
        How often a batch runs through it.
    """

    name: str
    layer: nn.Module
    calls: int


def check_prepared(model: nn.Module) -> dict[str, nn.Module]:
    """Return the quantized layers of a model.

    Raises
    ------
    TypeError, ValueError
        If it is no module, not prepared, or not calibrated.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Model must be a torch.nn.Module, not {type(model).__name__!r}")
    layers = quantized_layers(model)
    if not layers:
        raise ValueError(f"Model must be prepared, not a {type(model).__name__} without quantized layers; "
                         "see sw.ptq.prepare")
    for name, layer in layers.items():
        for quantizer in (layer.weight_quantizer, layer.input_quantizer):
            if quantizer is not None and (quantizer.observing or not quantizer.is_calibrated):
                raise ValueError(f"Model must be calibrated before its weights are rounded, not with layer {name!r} "
                                 "observing; see sw.ptq.calibrate")
    return layers


@contextmanager
def float_reference(model: nn.Module, reference: nn.Module | None) -> Iterator[nn.Module]:
    """Have the float model that results are compared with: its quantizers are off, and it is in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
    reference : torch.nn.Module, optional
        A copy of the prepared model from before its weights were rounded; by default a copy of it as it is.

    Raises
    ------
    TypeError, ValueError
        If the reference is no module, the model itself, or has other quantized layers.
    """
    if reference is None:
        reference = copy.deepcopy(model)
    if not isinstance(reference, nn.Module):
        raise TypeError(f"Reference must be a torch.nn.Module or None, not {type(reference).__name__!r}")
    if reference is model:
        raise ValueError("Reference must be a copy of the model from before its weights were rounded, not the model "
                         "itself; see copy.deepcopy")
    own, other = (set(quantized_layers(module)) for module in (model, reference))
    if own != other:
        raise ValueError("Reference must have the quantized layers of the model, not others: "
                         f"{', '.join(sorted(own ^ other))}; take it with copy.deepcopy after sw.ptq.prepare")
    with floating(reference), evaluating(reference):
        yield reference


def visits(model: nn.Module, batches: Batches) -> list[list[Visit]]:
    """Run a batch through a model, and return the layers whose weights are quantized, in the order of their first run.

    Batches follow until each layer has run, or there are no more.

    Layers that are given the very same tensor come together, with the first of them: none depends on the others, and
    one pass serves them all. So do the projections of an attention, and the branches of a residual. Layers that the
    batches do not reach are left out.
    """
    counts: dict[str, int] = {}
    inputs: dict[str, tuple[Tensor, int]] = {}
    waiting: set[str] = set()

    def noting(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, positional: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> None:
            if name not in waiting:
                return  # it ran in a batch before
            x = _input(positional, keywords)
            counts[name] = counts.get(name, 0) + 1
            # Kept until the end, so that no other tensor gets its identity.
            inputs[name] = x, -1 if x.is_inference() else x._version
        return hook

    layers = check_prepared(model)
    with ExitStack() as stack:
        for name, layer in layers.items():
            if layer.weight_quantizer is not None:
                waiting.add(name)
                stack.callback(layer.register_forward_pre_hook(noting(name), with_kwargs=True).remove)
        for positional, keywords in each(model, batches):
            model(*positional, **keywords)
            waiting -= counts.keys()
            if not waiting:
                break
    together: dict[object, list[Visit]] = {}
    for name, calls in counts.items():
        x, version = inputs[name]
        # What runs twice sees two tensors, and what inference mode makes may have changed in between.
        key = name if calls > 1 or version < 0 else (id(x), version)
        together.setdefault(key, []).append(Visit(name=name, layer=layers[name], calls=calls))
    return list(together.values())


def inputs_at(model: nn.Module, group: list[Visit], positional: tuple[Any, ...],
              keywords: dict[str, Any]) -> dict[str, list[Tensor]]:
    """Run a batch through a model as far as the last of some layers, and return the inputs of each, call by call."""
    found: dict[str, list[Tensor]] = {visit.name: [] for visit in group}
    missing = sum(visit.calls for visit in group)

    def noting(visit: Visit) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            nonlocal missing
            missing -= 1
            x = _input(arguments, named)
            found[visit.name].append(x.clone() if missing else x)  # what runs on may change it in place
            if not missing:
                raise _ReachedError
        return hook

    with ExitStack() as stack:
        for visit in group:
            layer = model.get_submodule(visit.name)
            stack.callback(layer.register_forward_pre_hook(noting(visit), with_kwargs=True).remove)
        with suppress(_ReachedError):
            model(*positional, **keywords)
    return found


def _input(positional: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> Tensor:
    """Return the input of a layer from the arguments that it is called with."""
    return positional[0] if positional else next(iter(keywords.values()))


def round_layers(model: nn.Module, batches: Batches, rounding: Rounding, *, crossed: bool, quantized_inputs: bool,
                 reference: nn.Module | None = None, progress: Progress | None = None) -> None:
    """Replace the weights of each quantized layer by rounded ones, in the order in which the layers run.

    For each layer, every batch runs through the model as far as that layer. What it receives there is summed up in
    moments and dropped: beside the model, there is the memory of the moments of one layer, or of those that share an
    input. A layer is changed once its rounding is complete, so that an interruption leaves a model of which some
    layers are rounded, and the rest are not.

    Parameters
    ----------
    model : torch.nn.Module
        Prepared and calibrated.
    batches : sequence or DataLoader of batches
    rounding : callable
    crossed : bool
        Whether to gather moments with the inputs of the float reference too, and take its weights.
    quantized_inputs : bool
        Whether the quantizers of inputs are on meanwhile.
    reference : torch.nn.Module, optional
        As for :func:`float_reference`.
    progress : callable, optional
        Called with the layers done and all layers, after each.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not prepared and calibrated, or the inputs of a layer are
        not finite. Errors name the layer, its shape and its format.
    """
    check_prepared(model)
    with torch.no_grad(), evaluating(model), ExitStack() as stack:
        if not quantized_inputs:
            stack.enter_context(weights_only(model))
        if crossed:
            reference = stack.enter_context(float_reference(model, reference))
        todo = visits(model, batches)
        done, total = 0, sum(len(group) for group in todo)
        for group in todo:
            moments = _moments(model, group, batches, reference if crossed else None)
            for visit in group:
                source = reference.get_submodule(visit.name) if crossed else visit.layer
                _round(visit.layer, source.weight_matrix(), moments.pop(visit.name), rounding)
                # On their grid, the weights need no rounding in the passes to come.
                stack.enter_context(floating(visit.layer.weight_quantizer))
                done += 1
                if progress is not None:
                    progress(done, total)


def _moments(model: nn.Module, group: list[Visit], batches: Batches,
             reference: nn.Module | None) -> dict[str, SecondMoments]:
    """Run all batches as far as some layers, and return the moments of the inputs of each."""
    moments = {}
    for visit in group:
        groups, _, columns = visit.layer.weight_matrix().shape
        moments[visit.name] = SecondMoments(groups, columns, crossed=reference is not None,
                                            device=visit.layer.weight.device)
    for positional, keywords in each(model, batches):
        inputs = inputs_at(model, group, positional, keywords)
        others = inputs if reference is None else inputs_at(reference, group, positional, keywords)
        for visit in group:
            for x, other in zip(inputs[visit.name], others[visit.name], strict=True):
                parts = _matrices(visit.layer, visit.layer.quantized_input(x))
                other_parts = repeat(None) if reference is None else _matrices(visit.layer, other)
                for part, other_part in zip(parts, other_parts, strict=False):
                    moments[visit.name].add(part, other_part)
    return moments


def _round(layer: nn.Module, weights: Tensor, moments: SecondMoments, rounding: Rounding) -> None:
    quantizer = layer.weight_quantizer
    grid = Grid(format=quantizer.element_format, scale=layer.weight_scales())
    try:
        rounded = rounding(weights, moments, grid)
    except ValueError as error:
        raise ValueError(f"{error}, at {quantizer.label}, to {quantizer.format.name}") from error
    layer.set_weight_matrix(rounded)


def _matrices(layer: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Yield the inputs of a layer as matrices, those of a convolution a part of the batch at a time."""
    if layer.weight.ndim == 2 or x.ndim < layer.weight.ndim:
        yield layer.input_matrix(x)
        return
    spread = layer.input_matrix(x[:1]).numel()
    for part in x.split(max(1, _SPREAD // spread)):
        yield layer.input_matrix(part)
