"""The networks of the minifloat paper, with weights of the user's: from torchvision, from timm, or our own."""

import importlib
import importlib.util
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.nn.resnet import resnet18


class NetworkSource(Enum):
    """Which package a network comes from. Their parameters have different names, and different values."""

    TORCHVISION = "torchvision"
    TIMM = "timm"
    OWN = "narrowgauge"
    """No other package is needed; parameters are named as torchvision's, whose weights load."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network of others.

    Parameters
    ----------
    timm : str
        Its name in timm.
    top1 : float, percent
        Top-1 accuracy on ImageNet of torchvision's first weights, in float32.
    own : callable, optional
        Makes our own network of the same shape.
    """

    timm: str
    top1: float
    own: Callable[[], nn.Module] | None = None


# The accuracies are torchvision's, which Brevitas' benchmark of the paper compares with (papers: minifloat_ptq).
PUBLISHED = {
    "resnet18": Published(timm="resnet18.tv_in1k", top1=69.758, own=resnet18),
    "mobilenet_v2": Published(timm="mobilenetv2_100.ra_in1k", top1=71.898),
    "vit_b_32": Published(timm="vit_base_patch32_224.augreg_in21k_ft_in1k", top1=75.912),
}


def pretrained(name: str, *, weights: str | PathLike[str] | None = None, download: bool = False,
               source: NetworkSource | None = None) -> nn.Module:
    """Return a network for images of 224×224 and the 1,000 classes of ImageNet, in evaluation mode.

    Parameters
    ----------
    name : str
        ``resnet18``, ``mobilenet_v2`` or ``vit_b_32``.
    weights : str or path, optional
        A file of the network's ``state_dict``, by ``torch.save`` or, with the ending ``.safetensors``, by safetensors.
        Nothing in it is executed. Random parameters from torch's generator if None.
    download : bool
        Let the package fetch its published weights (torchvision's first, ``IMAGENET1K_V1``) and keep them in its own
        cache. Nothing is fetched otherwise.
    source : NetworkSource, optional
        Where the network comes from; the first of torchvision, our own and timm that has it if None.

    Raises
    ------
    TypeError, ValueError
        If there is no such network, there are weights and ``download`` as well, or the weights are not this network's.
    ImportError
        If the package is not installed.
    FileNotFoundError
        If there is no such file of weights.

    Source
    ------
    The networks of arXiv 2311.12359 v3.
    """
    if not isinstance(name, str):
        raise TypeError(f"Network name must be a str, not {name!r}")
    if name not in PUBLISHED:
        raise ValueError(f"Network name must be one of {', '.join(PUBLISHED)}, not {name!r}")
    check_boolean("Download", download)
    if source is not None and not isinstance(source, NetworkSource):
        raise TypeError(f"Source must be a NetworkSource, not {source!r}")
    if download and weights is not None:
        raise ValueError(f"Weights must be None where they are downloaded, not {weights!r}; leave one of the two out")
    model = _network(name, download, _first_source(name, download) if source is None else source)
    if weights is not None:
        _load(model, name, Path(weights))
    return model.eval()


def _first_source(name: str, download: bool) -> NetworkSource:
    if importlib.util.find_spec("torchvision") is not None:
        return NetworkSource.TORCHVISION
    if PUBLISHED[name].own is not None and not download:
        return NetworkSource.OWN
    return NetworkSource.TIMM if importlib.util.find_spec("timm") is not None else NetworkSource.TORCHVISION


def _network(name: str, download: bool, source: NetworkSource) -> nn.Module:
    published = PUBLISHED[name]
    if source is NetworkSource.OWN:
        if published.own is None:
            raise ValueError(f"Source must be TORCHVISION or TIMM for {name}, not {source}; there is no own one")
        if download:
            raise ValueError(f"Source must be TORCHVISION or TIMM for a download, not {source}; "
                             "or name a file of weights")
        return published.own()
    package = _package(name, source)
    if source is NetworkSource.TORCHVISION:
        return package.models.get_model(name, weights="IMAGENET1K_V1" if download else None)
    return package.create_model(published.timm, pretrained=download)


def _package(name: str, source: NetworkSource) -> Any:
    try:
        return importlib.import_module(source.value)
    except ImportError as error:
        own = "" if PUBLISHED[name].own is None else "; or take source=NetworkSource.OWN, which needs no package"
        raise ImportError(f"Package {source.value} is not installed, or not for this torch; it brings {name}: "
                          f"pip install {source.value}{own}") from error


def _load(model: nn.Module, name: str, path: Path) -> None:
    state = _state(path)
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    # Old files lack the counters of batch normalisation, which evaluation does not use.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unknown:
        wrong = [f"{keys[0]!r} is {what}" for keys, what in ((missing, "missing"), (unknown, "unknown")) if keys]
        raise ValueError(f"Weights must be those of {name}, not of another network ({' and '.join(wrong)}; "
                         f"{len(missing)} missing and {len(unknown)} unknown in all): {str(path)!r}; "
                         "torchvision's and timm's differ, see source")
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            raise ValueError(f"Weights {key!r} must be of shape {tuple(own[key].shape)}, not {tuple(tensor.shape)}: "
                             f"{str(path)!r}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"Weights {key!r} must be finite, not with an infinity or a NaN: {str(path)!r}")
    model.load_state_dict(state, strict=False)


def _state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"Weights must be a file, not {str(path)!r}")
    try:
        state = _loaded_safetensors(path) if path.suffix == ".safetensors" else torch.load(
            path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"Weights must be a file of torch.save or safetensors, not {str(path)!r} ({error})") from error
    # Training scripts put the parameters beside an optimizer's state, under this key.
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"Weights must be a mapping from names to tensors, not {type(state).__name__!r}: "
                         f"{str(path)!r}; save the model's state_dict()")
    return state


def _loaded_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError("Package safetensors is not installed; it reads such weights: "
                          "pip install safetensors") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
