"""The networks that the command line knows by name, and how wide their accumulators must be."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from difflib import get_close_matches
from typing import Any

from synth.console import Progress
from synth.cost.network import LayerFormats
from synth.errors import ToolMissing, UsageError, usage_errors

SHAPES_ONLY = ("resnet18",)
"""Networks of which nothing but the shapes is known here: for 224 × 224 images, 1000 classes."""


def network_names() -> tuple[str, ...]:
    """Return the names that :func:`named_model` knows."""
    from sw.train import NAMES

    return (*NAMES, *SHAPES_ONLY)


def named_model(name: str, *, trained: bool, seed: int,
                progress: Callable[[str, int], AbstractContextManager[Progress]]) -> tuple[Any, Any]:
    """Return a network in evaluation mode, and inputs for it: (N, channels, height, width).

    Parameters
    ----------
    name : str
    trained : bool
        Whether its weights matter; if so, the inputs are the calibration data of the same seed.
    seed : int
    progress : callable
        As :meth:`synth.console.Console.progress`.

    Raises
    ------
    UsageError
        If there is no such network, or only its shapes are known.
    ToolMissing
        If what it needs is not installed.
    """
    try:
        import torch

        from sw.nn.resnet import resnet18
        from sw.train import NAMES, digits, untrained
        from sw.train import trained as trained_network
    except ImportError as error:
        raise ToolMissing("torch", f"Tool {error.name} is not installed; it brings the networks: "
                                   "pip install 'narrowgauge[torch,train]'") from None
    if name not in network_names():
        close = get_close_matches(name.lower(), network_names(), n=1)
        mend = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"Network must be one of {', '.join(network_names())}, or a JSON file of layers, not {name!r}"
                         f"{mend}")
    if name in SHAPES_ONLY:
        if trained:
            raise UsageError(f"Accumulators must be 'law' for {name}, of which only the shapes are known here, not "
                             "those of its weights")
        return resnet18().eval(), torch.zeros(1, 3, 224, 224)
    assert name in NAMES
    if not trained:
        return untrained(name).eval(), torch.zeros(1, 1, 8, 8)
    with usage_errors(), progress(f"training {name}", 1) as steps:
        try:
            model = trained_network(name, seed=seed)
            images = digits(seed).calibration.images
        except ImportError as error:
            raise ToolMissing("scikit-learn", f"Tool scikit-learn is not installed ({error}); it brings the digits: "
                                              "pip install 'narrowgauge[train]'") from None
        steps.advance()
    return model, images


def accumulator_widths(model: Any, images: Any, formats: Mapping[str, LayerFormats], *, observed: bool
                       ) -> dict[str, int]:
    """Return the width of each layer's accumulator for the weights of a trained model.

    Weights are scaled for each channel by the least squared error, activations for the whole tensor by their largest
    on the given inputs.

    Parameters
    ----------
    model : torch.nn.Module
        Quantized in place.
    images : Tensor, (N, ...)
    formats : mapping of layer name to LayerFormats
    observed : bool
        Whether what comes out on the inputs decides, rather than the worst that the weights allow.

    Raises
    ------
    UsageError
        If a layer cannot be quantized so, or the projections of an attention are to have different formats.
    """
    from sw.ptq.accumulator_range import accumulator_ranges
    from sw.ptq.config import ActivationConfig, Config, ScaleRule, WeightConfig
    from sw.ptq.quantize import quantize_
    from synth.cost.shapes import layer_owner

    chosen = dict[str, LayerFormats]()
    for name, wanted in formats.items():
        owner = layer_owner(model, name)
        if chosen.setdefault(owner, wanted) != wanted:
            raise UsageError(f"Formats must be the same for all projections of an attention whose weights count, not "
                             f"different ones in {owner!r}")
    with usage_errors():
        configs = {name: Config(weight=WeightConfig(format=wanted.weight),
                                activation=ActivationConfig(format=wanted.activation, scale=ScaleRule()))
                   for name, wanted in chosen.items()}
        quantize_(model, configs, batches=[images])
        ranges = accumulator_ranges(model, [images] if observed else None)
    return {name: width for name, found in ranges.items()
            if (width := found.observed if observed else found.by_weights) is not None}
