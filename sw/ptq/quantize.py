"""Quantization of a model, in place: prepare, calibrate, convert, or all of it in one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from sw.ptq.attention import leave_fast_path
from sw.ptq.batches import Batches, run
from sw.ptq.checks import Progress
from sw.ptq.config import Configs
from sw.ptq.layers import QuantizedLayer, swap_class
from sw.ptq.recipe import Recipe
from sw.ptq.select import Choice, select
from sw.ptq.tensor_quantizer import TensorQuantizer

Filter = Callable[[nn.Module, str], bool]


def prepare(model: nn.Module, config: Configs, filter_fn: Filter | None = None) -> nn.Module:
    """Turn the layers of a model into quantized ones, whose quantizers observe.

    In place: a layer stays the object that it is and changes its class; its parameters, their keys, and hooks stay. The
    state gains the quantizers' buffers. Linear layers, convolutions, transposed convolutions in 2D and
    ``torch.nn.MultiheadAttention`` are quantized; everything else stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
    config : Config or mapping of str to Config
        For all layers, or by name or pattern (as ``fnmatch`` has them; the first that matches counts); layers that no
        pattern matches stay float.
    filter_fn : callable, optional
        ``filter_fn(module, name)`` says whether a layer is to be quantized.

    Returns
    -------
    torch.nn.Module
        The model.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, a layer cannot be quantized as wanted, no layer is left to quantize, or
        there are quantized ones already. The model is then unchanged.
    """
    _attach(select(model, config, filter_fn))
    leave_fast_path(model)
    return model


def check_prepared(model: nn.Module, config: Configs, filter_fn: Filter | None,
                   check: Callable[[dict[str, nn.Module]], object]) -> None:
    """Call ``check`` with the quantized layers that :func:`prepare` would make, by name; they are float afterwards.

    Raises
    ------
    TypeError, ValueError
        As :func:`prepare` and ``check``.
    """
    layers = _attach(select(model, config, filter_fn))
    try:
        check(quantized_layers(model))
    finally:
        _detach(layers)


def _attach(chosen: dict[str, Choice]) -> list[nn.Module]:
    """Give layers their quantizers and return the layers; of a failure, nothing is left."""
    done: list[nn.Module] = []
    try:
        for name, (layer, kind, config) in chosen.items():
            swap_class(layer, kind)
            done.append(layer)
            layer.attach(config, name)
    except BaseException:
        _detach(done)
        raise
    return done


def _detach(layers: list[nn.Module]) -> None:
    for layer in reversed(layers):
        layer.detach()


def calibrate(model: nn.Module, batches: Batches | None = None, progress: Progress | None = None) -> None:
    """Run batches through a prepared model, observing, and freeze all scales.

    Nothing is rounded meanwhile. Scales that are frozen already stay. The order in which the layers run is noted, for
    :func:`quantized_layers`.

    Parameters
    ----------
    model : torch.nn.Module
        What :func:`prepare` returned.
    batches : sequence or DataLoader of batches, optional
        As :data:`sw.ptq.batches.Batches` has them. Static activations need them; weights and dynamic activations do
        not.
    progress : callable, optional
        Called after each batch with how many are done, and how many there are.

    Raises
    ------
    TypeError, ValueError
        If the batches are of the wrong type, missing, or not finite, a layer is not reached by them, or the model is
        not prepared. Errors name the layer; nothing of what was observed stays then.
    """
    layers = _layers(model)
    waiting = [layer for layer in layers.values() if layer.input_quantizer is not None
               and layer.input_quantizer.observing]
    if batches is None and waiting:
        raise _batches_missing(waiting[0].input_quantizer.label)
    # What has its scales, or needs none, must not round what the others observe.
    ready = [quantizer for quantizer in quantizers(model) if not quantizer.observing]
    try:
        _observe_weights(layers)
        if batches is not None:
            with _enabled(ready, False), _noting_order(layers):
                run(model, batches, progress)
        _freeze(model)
    except BaseException:
        # The next calibration is to see its own batches alone.
        for quantizer in quantizers(model):
            quantizer.forget()
        raise


def _batches_missing(where: str) -> ValueError:
    return ValueError(f"Batches must be given to calibrate static activations, not None, at {where}; "
                      "or give dynamic=True in its ActivationConfig")


def convert(model: nn.Module) -> nn.Module:
    """Make a calibrated model ready for use, and return it: quantizers on, in evaluation mode.

    Scales that were observed but not frozen, by batches that were run through a prepared model by other means than
    :func:`calibrate`, are frozen.

    Raises
    ------
    ValueError
        If the model is not prepared, or a quantizer is not calibrated.
    """
    _observe_weights(_layers(model))
    _freeze(model)
    for quantizer in quantizers(model):
        quantizer.enabled = True
    return model.eval()


def quantize_(model: nn.Module, config: Configs, filter_fn: Filter | None = None, *, batches: Batches | None = None,
              recipe: Recipe | None = None, progress: Progress | None = None) -> nn.Module:
    """Quantize a model in place, and return it, in evaluation mode.

    The techniques of the recipe run in the order of the paper: batch normalizations are merged, weights equalized,
    activations smoothed, quantizers inserted and calibrated, weights rounded by GPFQ or GPTQ, rounding learned, biases
    corrected.

    Parameters
    ----------
    model, config, filter_fn
        As for :func:`prepare`.
    batches
        As for :func:`calibrate`; the recipe may need them too.
    recipe : Recipe, optional
        ``Recipe()`` by default: batch normalizations merged, weights to the nearest.
    progress : callable, optional
        Called after each batch of the calibration.

    Raises
    ------
    TypeError, ValueError
        As the functions of the steps. Where the calibration fails, no layer is quantized; batch normalizations that
        were merged and weights that were equalized stay so, which changes no result.
    """
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(f"Recipe must be a Recipe, not {recipe!r}")
    chosen = select(model, config, filter_fn)
    _detach(_attach(chosen))  # refuses what does not suit before anything is changed
    recipe.check_batches(batches)
    for name, (_, _, layer_config) in chosen.items():
        if batches is None and layer_config.activation is not None and not layer_config.activation.follows_inputs:
            raise _batches_missing(f"layer {name!r}")
    recipe.transform(model, batches, lambda _, name: name in chosen)
    layers = _attach(select(model, config, filter_fn))
    leave_fast_path(model)
    try:
        calibrate(model, batches, progress)
    except BaseException:
        _detach(layers)
        raise
    recipe.round(model, batches)
    return convert(model)


def quantized_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the quantized layers by their names, in the order of their first execution in calibration.

    Layers that did not run there come last, as registered. The projections of an attention layer are layers of their
    own: ``attention.query_projection``.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLayer)}
    order = {name: position for position, name in enumerate(found)}
    return dict(sorted(found.items(), key=lambda item: (item[1].execution_index is None, item[1].execution_index or 0,
                                                       order[item[0]])))


def quantizers(model: nn.Module) -> list[TensorQuantizer]:
    """Return all quantizers of a model."""
    return [module for module in model.modules() if isinstance(module, TensorQuantizer)]


@contextmanager
def floating(model: nn.Module) -> Iterator[None]:
    """Have all quantizers off: the model computes with its weights as they are."""
    with _enabled(quantizers(model), False):
        yield


@contextmanager
def weights_only(model: nn.Module) -> Iterator[None]:
    """Have the quantizers of inputs off."""
    with _enabled([quantizer for quantizer in quantizers(model) if not quantizer.is_weight], False):
        yield


@contextmanager
def inputs_only(model: nn.Module) -> Iterator[None]:
    """Have the quantizers of weights off."""
    with _enabled([quantizer for quantizer in quantizers(model) if quantizer.is_weight], False):
        yield


@contextmanager
def _enabled(chosen: list[TensorQuantizer], enabled: bool) -> Iterator[None]:
    before = [quantizer.enabled for quantizer in chosen]
    for quantizer in chosen:
        quantizer.enabled = enabled
    try:
        yield
    finally:
        for quantizer, value in zip(chosen, before, strict=True):
            quantizer.enabled = value


@contextmanager
def _noting_order(layers: dict[str, nn.Module]) -> Iterator[None]:
    """Have each layer note, at its first execution, how many ran before it."""
    count = 0

    def note(layer: nn.Module, _: object) -> None:
        nonlocal count
        if layer.execution_index is None:
            layer.execution_index = count
            count += 1

    for layer in layers.values():
        layer.execution_index = None
    handles = [layer.register_forward_pre_hook(note) for layer in layers.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _observe_weights(layers: dict[str, nn.Module]) -> None:
    for layer in layers.values():
        if layer.weight_quantizer is not None and layer.weight_quantizer.observing:
            layer.weight_quantizer.observe(layer.canonical(layer.weight))


def _freeze(model: nn.Module) -> None:
    observing = [quantizer for quantizer in quantizers(model) if quantizer.observing]
    for quantizer in observing:
        quantizer.check_observed()  # before anything is frozen
    for quantizer in observing:
        quantizer.freeze()


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    layers = quantized_layers(model)
    if not layers:
        raise ValueError(f"Model must be prepared, not a {type(model).__name__} without quantized layers; "
                         "see sw.ptq.prepare")
    return layers
