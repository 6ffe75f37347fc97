"""Bias correction: taking the mean error of a layer's outputs out of its bias."""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches, run
from sw.ptq.checks import Progress
from sw.ptq.layer_rounding import check_prepared, float_reference


def correct_bias_(model: nn.Module, batches: Batches, *, reference: nn.Module | None = None,
                  add_missing: bool = False, progress: Progress | None = None) -> dict[str, Tensor]:
    """Add the mean difference between float and quantized outputs to the bias of each quantized layer, in place.

    One pass: where a layer runs, its output is computed with its quantizers on, and by the float model; the
    difference is averaged, for each output channel, over all samples and positions of all batches, and the float
    output is what is handed on. Each layer is so corrected for its own error, and not for that of the layers before.

    Parameters
    ----------
    model : torch.nn.Module
        Prepared and calibrated, its weights rounded by whatever technique.
    batches : sequence or DataLoader of batches
        As :data:`sw.ptq.batches.Batches` has them.
    reference : torch.nn.Module, optional
        The float model: ``copy.deepcopy(model)`` from before any rounding technique. By default the model as it is;
        after a technique, whose weights are rounded already, that would find no error of theirs.
    add_missing : bool
        Whether a layer without a bias gets one. The state then has a key more, ``<layer>.bias``, and does not load
        into a model without; otherwise such layers stay as they are, as the projections of an attention without
        biases do in any case. (Merging batch normalizations gives layers their biases. Brevitas adds missing ones.)
    progress : callable, optional
        Called after each batch with how many are done, and how many there are. An interruption changes no bias.

    Returns
    -------
    dict of str to Tensor
        What was added to the bias of each layer, float64 of shape (output channels,). Layers that the batches do not
        reach, and those that have no bias, are not in it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not prepared and calibrated, the reference has other layers,
        or the outputs of a layer are not finite. Errors name the layer, its shape and its format.

    Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv
    1906.04721), section 4.2; on data, with float inputs, as in Brevitas, which averages over batches of whatever size.
    """
    check_boolean("Missing-bias switch", add_missing)
    layers = check_prepared(model)
    errors = {name: _MeanError(layer.input_axis) for name, layer in layers.items()}
    with float_reference(model, reference) as floats, ExitStack() as stack:
        for name, layer in layers.items():
            hook = _observing(floats.get_submodule(name), errors[name])
            # Before the user's own hooks, whose changes of an output are no error of the quantizers.
            stack.callback(layer.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)
        run(model, batches, progress)
    corrections = {name: _mean(layer, errors[name]) for name, layer in layers.items() if errors[name].count
                   and (layer.bias is not None or (add_missing and "bias" in layer._parameters))}
    for name, correction in corrections.items():
        _add(layers[name], correction)
    return corrections


class _MeanError:
    """A mean, for each channel, over all else."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.total: Tensor | float = 0.0
        self.count = 0

    def add(self, error: Tensor) -> None:
        channels = error.movedim(self._axis, 0).flatten(1)
        self.total = self.total + channels.sum(1, dtype=torch.float64)
        self.count += channels.shape[1]


def _observing(float_layer: nn.Module, error: _MeanError) -> Callable[..., Tensor]:
    """Return a hook that replaces a layer's output by the float one, and notes their difference."""
    def hook(_: nn.Module, positional: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Tensor) -> Tensor:
        # The method, not the module: what hooks did to the inputs was done to these already.
        wanted = float_layer.forward(*positional, **keywords)
        error.add(wanted - output)
        return wanted
    return hook


def _mean(layer: nn.Module, error: _MeanError) -> Tensor:
    mean = error.total / error.count
    if not bool(mean.isfinite().all()):
        quantizer = layer.weight_quantizer or layer.input_quantizer
        raise ValueError("Outputs must be finite to have a mean error, not with an infinity or a NaN, at "
                         f"{quantizer.label}, to {quantizer.format.name}")
    return mean


@torch.no_grad()
def _add(layer: nn.Module, correction: Tensor) -> None:
    if layer.bias is None:
        layer.bias = nn.Parameter(correction.to(layer.weight.dtype))
    else:
        layer.bias.add_(correction)
