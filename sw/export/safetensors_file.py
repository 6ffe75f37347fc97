"""Quantized models as files: all tensors in the safetensors format, and a manifest of formats and scales."""

import hashlib
import json
import os

import torch
from torch import Tensor, nn

from sw.export.bits import pack_codes, unpack_codes
from sw.export.files import check_module, checked_path, required
from sw.export.formats import Json
from sw.export.manifest import Manifest, manifest_of, prepared_layers, shapes, weight_quantizers
from sw.files import write_whole
from sw.formats import BlockFormat
from sw.ptq.quantize import convert, prepare, quantizers
from sw.ptq.smoothing import attach_smoothing
from sw.ptq.tensor_quantizer import TensorQuantizer
from sw.quantize import from_codes, to_codes

METADATA_KEY = "narrowgauge"
"""Of the manifest in the header of a safetensors file."""

SMOOTHING = "smoothing"
"""Last part of the key of a smoothed layer's factors."""

_MEND = "build the float model that was quantized"

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def save_safetensors(model: nn.Module, path: str | os.PathLike[str], *, packed: bool = False) -> None:
    """Write a quantized model as a safetensors file, with a manifest in its header and beside it.

    The file holds the model's ``state_dict``: float parameters, and the scales and settings of the quantizers; those of
    a module that the model has in several places once. The
    manifest says the layers, their formats by name and with all fields, granularities and versions; its schema is
    ``manifest.schema.json`` in this package. It stands in the file's own header, which :func:`load_safetensors` reads,
    and again, for readers, in ``<path>.json`` with the SHA-256 of the file.

    Parameters
    ----------
    model : torch.nn.Module
        Quantized and calibrated.
    path : str or path
        Ends in ``.safetensors``. A file there is replaced once the new one is whole.
    packed : bool
        Write weights as their codes at their real width, two 4-bit codes a byte, instead of float numbers. Loaded, they
        are the values of those codes: outputs stay the same bit for bit, the float weights are lost.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not quantized or not calibrated, or packed weights would
        become others.
    FileNotFoundError
        If the folder does not exist.
    ModuleNotFoundError
        If safetensors is not installed.
    """
    check_module(model)
    if not isinstance(packed, bool):
        raise TypeError(f"Packing must be True or False, not {packed!r}")
    path = checked_path(path, ".safetensors")
    safetensors = required("safetensors.torch", "to write safetensors files")
    _check_calibrated(model)
    repeated = tuple(_repeated(model))
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()
               if not (repeated and name.startswith(repeated))}
    codes: dict[str, Json] = {}
    if packed:
        for name, (layer, key) in weight_quantizers(model).items():
            quantizer, weight = layer.weight_quantizer, layer.canonical(layer.weight.detach())
            found = quantizer.codes(weight)
            if not torch.equal(quantizer(_values(quantizer, found, weight)), quantizer(weight)):
                raise ValueError(f"Weights of the {quantizer.label} must stay the same when they are packed, not "
                                 f"become others in {quantizer.format.name}; save with packed=False")
            tensors.pop(key, None)
            codes[name] = {"parameter": key, "elements": _pack(tensors, f"{name}.codes", found,
                                                               quantizer.element_format.width), "scales": None}
            if isinstance(quantizer.format, BlockFormat):
                scale_format = quantizer.format.scale
                scales = to_codes(tensors.pop(f"{name}.scale"), scale_format)
                codes[name]["scales"] = _pack(tensors, f"{name}.scale_codes", scales, scale_format.width)
    manifest = manifest_of(model, codes)
    data = safetensors.save(tensors, {"format": "pt", METADATA_KEY: json.dumps(manifest)})
    write_whole(path, data)
    manifest["sha256"] = hashlib.sha256(data).hexdigest()
    write_whole(path.with_name(f"{path.name}.json"), (json.dumps(manifest, indent=1) + "\n").encode())


def load_safetensors(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Quantize a float model, in place, as the saved one was, and return it with the saved tensors.

    Batch normalizations that were merged are replaced by ``torch.nn.Identity``, biases that came with it are added, and
    smoothing is attached, as ``quantize_`` did. Outputs are those of the saved model, bit for bit.

    Parameters
    ----------
    model : torch.nn.Module
        Of the architecture that was quantized, float, with any weights. It is left as it is where the file is of
        another model; a damaged file may leave it half loaded.
    path : str or path

    Raises
    ------
    TypeError, FileNotFoundError
        If the model is no module, or there is no such file.
    ValueError
        If the file is damaged, of another version, or of another model; the layer is named.
    ModuleNotFoundError
        If safetensors is not installed.
    """
    check_module(model)
    manifest, tensors = read_safetensors(path)
    if prepared_layers(model):
        raise ValueError("Model must be float to be loaded into, not quantized already; build a new one")
    _check_layers(model, manifest)
    merged = _merged(model, manifest)
    _check_tensors(model, manifest, tensors, merged)
    for name in merged:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.Identity())
    _add_parts(model, tensors)
    prepare(model, {layer.name: layer.config for layer in manifest.layers})
    _load(model, manifest, tensors)
    return convert(model)


def read_safetensors(path: str | os.PathLike[str]) -> tuple[Manifest, dict[str, Tensor]]:
    """Return the manifest and the tensors of a file.

    Raises
    ------
    TypeError, FileNotFoundError
        If there is no such path or file.
    ValueError
        If it is damaged, or has no manifest of this version.
    """
    safetensors = required("safetensors", "to read safetensors files")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Path must be a string or a path, not {path!r}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"Safetensors file must exist, not {os.fspath(path)!r}")
    try:
        with safetensors.safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"File must be a safetensors file, not {os.fspath(path)!r}: {error}") from error
    if METADATA_KEY not in metadata:
        raise ValueError(f"File must be one that save_safetensors wrote, not {os.fspath(path)!r}, which has no "
                         "manifest")
    return Manifest.read(metadata[METADATA_KEY]), tensors


def _check_calibrated(model: nn.Module) -> None:
    found = quantizers(model)
    if not found:
        raise ValueError("Model must have quantized layers to be saved, not none; see sw.ptq.quantize_")
    for quantizer in found:
        if not quantizer.is_calibrated:
            raise ValueError(f"Model must be calibrated to be saved, not without scales of the {quantizer.label}; "
                             "see sw.ptq.calibrate")


def _pack(tensors: dict[str, Tensor], key: str, codes: Tensor, width: int) -> Json:
    """Put packed codes under a key, and return what is needed to read them."""
    tensors[key] = pack_codes(codes, width)
    return {"tensor": key, "width": width, "shape": list(codes.shape)}


def _unpacked(tensors: dict[str, Tensor], packed: Json) -> Tensor:
    if packed["tensor"] not in tensors:
        raise ValueError(f"Codes {packed['tensor']!r} must be in the file, not missing: it is damaged")
    return unpack_codes(tensors.pop(packed["tensor"]), packed["width"], tuple(packed["shape"]))


def _values(quantizer: TensorQuantizer, codes: Tensor, like: Tensor) -> Tensor:
    scale = quantizer.expanded_scale(like)
    return (from_codes(codes, quantizer.element_format, scale.dtype) * scale).to(like.dtype)


def _check_layers(model: nn.Module, manifest: Manifest) -> None:
    """Refuse a model that lacks a layer, or has another one in its place."""
    modules = dict(model.named_modules())
    for layer in manifest.layers:
        found = modules.get(layer.name)
        own = None if found is None else (type(found).__name__, shapes(found))
        if own != (layer.kind, layer.parameters):
            raise ValueError(f"Layer {layer.name!r} must be a {_described(layer.kind, layer.parameters)}, as in the "
                             f"saved model, not {'missing' if own is None else f'a {_described(*own)}'}; {_MEND}")


def _described(kind: str, parameters: dict[str, tuple[int, ...]]) -> str:
    return f"{kind} with " + ", ".join(f"{key} of shape {shape}" for key, shape in parameters.items())


def _merged(model: nn.Module, manifest: Manifest) -> list[str]:
    """Return the names of batch normalizations that the saved model has merged."""
    modules = dict(model.named_modules())
    return [name for name in manifest.identities if isinstance(modules.get(name), _BATCH_NORMS)]


def _check_tensors(model: nn.Module, manifest: Manifest, tensors: dict[str, Tensor], merged: list[str]) -> None:
    """Refuse tensors of another model, before anything is changed."""
    gone = (*(f"{name}." for name in merged), *_repeated(model))
    own = {key: tensor for key, tensor in model.state_dict().items() if not (gone and key.startswith(gone))}
    inside = tuple(f"{layer.name}." if layer.name else "" for layer in manifest.layers)
    modules = dict(model.named_modules())
    for key, tensor in tensors.items():
        if key not in own:
            if not (_is_added(key, modules) or ("_quantizer." in key and key.startswith(inside))):
                raise ValueError(f"Tensor {key!r} of the saved model must be one of the model, not missing; {_MEND}")
        elif (own[key].shape, own[key].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(f"Tensor {key!r} must be of shape {tuple(tensor.shape)} and {tensor.dtype}, as in the "
                             f"saved model, not {tuple(own[key].shape)} and {own[key].dtype}; {_MEND}")
    packed = {codes["parameter"] for codes in manifest.codes.values()}
    for key in own:
        if key not in tensors and key not in packed:
            raise ValueError(f"Tensor {key!r} must be one of the saved model, as it is of the model, not missing; "
                             f"{_MEND}")


def _repeated(model: nn.Module) -> dict[str, str]:
    """Return the further names of modules that a model has in several places, and their first ones, dots included."""
    first: dict[nn.Module, str] = {}
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if first.setdefault(module, name) != name:
            found[f"{name}."] = f"{first[module]}."
    return found


def _is_added(key: str, modules: dict[str, nn.Module]) -> bool:
    """Whether a tensor is one that a technique added: a bias that was not there, or smoothing."""
    name, _, last = key.rpartition(".")
    module = modules.get(name)
    return module is not None and (last == SMOOTHING or (last == "bias" and getattr(module, "bias", module) is None))


def _add_parts(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give layers the biases and the smoothing that techniques added to the saved ones."""
    modules = dict(model.named_modules())
    for key, tensor in tensors.items():
        if key in model.state_dict() or not _is_added(key, modules):
            continue
        name, _, last = key.rpartition(".")
        if last == SMOOTHING:
            attach_smoothing(modules[name], tensor)
        else:
            modules[name].bias = nn.Parameter(tensor.to(modules[name].weight.device, copy=True))


def _load(model: nn.Module, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    """Load the tensors into the prepared model."""
    layers = {name: layer for name, (layer, _) in weight_quantizers(model).items()}
    codes = {}
    for name, each in manifest.codes.items():
        if name not in layers:
            raise ValueError(f"Codes of {name!r} must be those of a layer's weights: the manifest is damaged")
        codes[name] = _unpacked(tensors, each["elements"])
        if each["scales"] is not None:
            fmt = layers[name].weight_quantizer.format
            tensors[f"{name}.scale"] = from_codes(_unpacked(tensors, each["scales"]), fmt.scale)
    packed = {each["parameter"] for each in manifest.codes.values()}
    for further, name in _repeated(model).items():
        tensors |= {further + key[len(name):]: tensor for key, tensor in tensors.items() if key.startswith(name)}
        packed |= {further + key[len(name):] for key in packed if key.startswith(name)}
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"Tensors must be those of the manifest's layers, not others: {error}") from error
    wrong = [*unexpected, *(key for key in missing if key not in packed)]
    if wrong:
        raise ValueError(f"Tensors must be those of the manifest's layers, not with {', '.join(wrong)} missing or "
                         "added: the file is damaged")
    for name, found in codes.items():
        layer = layers[name]
        weight = layer.canonical(layer.weight.detach())
        with torch.no_grad():
            values = _values(layer.weight_quantizer, found.to(weight.device), weight)
            layer.weight.copy_(layer.from_canonical(values))
