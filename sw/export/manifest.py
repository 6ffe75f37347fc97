"""What a saved model says about itself: its layers, their formats, and where their scales and codes are."""

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sw.export.formats import Json
from sw.export.settings import config_from_json, config_to_json
from sw.ptq.attention import AttentionProjection, QuantizedMultiheadAttention
from sw.ptq.config import Config
from sw.ptq.layers import QuantizedLayer
from sw.ptq.tensor_quantizer import TensorQuantizer

SCHEMA_VERSION = 1
"""Keep in step with ``manifest.schema.json``."""

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")
"""The published schema of a manifest (JSON Schema, draft 2020-12)."""


@dataclass(frozen=True, kw_only=True)
class PreparedLayer:
    """A layer as ``sw.ptq.prepare`` takes it: an attention is one."""

    name: str
    kind: str
    """Class of the float layer."""
    parameters: dict[str, tuple[int, ...]]
    """Shapes of its own parameters, biases left out."""
    config: Config

    @classmethod
    def of(cls, name: str, layer: nn.Module) -> "PreparedLayer":
        """Describe a quantized layer."""
        source = layer.query_projection if isinstance(layer, QuantizedMultiheadAttention) else layer
        parts = [None if quantizer is None else quantizer.config
                 for quantizer in (source.weight_quantizer, source.input_quantizer)]
        return cls(name=name, kind=layer.float_kind.__name__, parameters=shapes(layer),
                   config=Config(weight=parts[0], activation=parts[1]))


def shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer's parameters but biases, which merging and correction may add."""
    return {key: tuple(parameter.shape) for key, parameter in layer.named_parameters() if "bias" not in key}


def prepared_layers(model: nn.Module) -> dict[str, PreparedLayer]:
    """Return the quantized layers of a model by their names, an attention as one."""
    found: dict[str, PreparedLayer] = {}
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue  # an attention's own projections
        if isinstance(module, QuantizedMultiheadAttention):
            inside += (f"{name}." if name else "",)
        if isinstance(module, (QuantizedLayer, QuantizedMultiheadAttention)):
            found[name] = PreparedLayer.of(name, module)
    return found


def weight_quantizers(model: nn.Module) -> dict[str, tuple[QuantizedLayer, str]]:
    """Return, by the name of each quantizer of weights, its layer and the key of those weights in the model's state."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLayer) and module.weight_quantizer is not None:
            prefix = f"{name}." if name else ""
            found[f"{prefix}weight_quantizer"] = module, _weight_key(model, name, module)
    return found


def _weight_key(model: nn.Module, name: str, layer: QuantizedLayer) -> str:
    if not isinstance(layer, AttentionProjection):
        return f"{name}.weight" if name else "weight"
    owner, _, part = name.rpartition(".")
    packed = model.get_submodule(owner).in_proj_weight is not None
    key = "in_proj_weight" if packed else f"{part[0]}_proj_weight"
    return f"{owner}.{key}" if owner else key


def manifest_of(model: nn.Module, codes: Mapping[str, Json]) -> Json:
    """Return the manifest of a quantized model; ``codes`` says what is packed, by the names of quantizers."""
    return {
        "schema": SCHEMA_VERSION,
        "versions": {package: _version(package) for package in ("narrowgauge", "torch", "safetensors")},
        "model": type(model).__name__,
        "identities": [name for name, module in model.named_modules() if isinstance(module, nn.Identity)],
        "layers": [{"name": layer.name, "kind": layer.kind,
                    "parameters": {key: list(shape) for key, shape in layer.parameters.items()},
                    **config_to_json(layer.config)} for layer in prepared_layers(model).values()],
        "quantizers": [{"name": name, "scale": f"{name}.scale", "dynamic": module.dynamic,
                        "codes": codes.get(name)} for name, module in model.named_modules()
                       if isinstance(module, TensorQuantizer)],
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that was read."""

    layers: tuple[PreparedLayer, ...]
    identities: tuple[str, ...]
    codes: dict[str, Json]
    """By the names of the quantizers whose weights are packed."""

    @classmethod
    def read(cls, text: str) -> "Manifest":
        """Return what :func:`manifest_of` wrote.

        Raises
        ------
        ValueError
            If it is none, or one of another version.
        """
        try:
            found: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"Manifest must be JSON, not {text[:40]!r}") from error
        version = found.get("schema") if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(f"Manifest must be of schema version {SCHEMA_VERSION}, not {version!r}; "
                             "save the model again with this version, or load it with the one that saved it")
        try:
            layers = tuple(_layer(layer) for layer in found["layers"])
            return cls(layers=layers, identities=tuple(found["identities"]),
                       codes={each["name"]: each["codes"] for each in found["quantizers"] if each["codes"] is not None})
        except (KeyError, AttributeError) as error:
            raise ValueError(f"Manifest must have the fields of schema version {SCHEMA_VERSION}, "
                             f"not lack {error}") from error
        except TypeError as error:
            raise ValueError(f"Manifest must have the fields of schema version {SCHEMA_VERSION} in their types, "
                             f"not in others: {error}") from error


def _layer(description: Mapping[str, Any]) -> PreparedLayer:
    try:
        config = config_from_json(description)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Layer {description['name']!r} cannot be read: {error}") from error
    return PreparedLayer(name=description["name"], kind=description["kind"], config=config,
                         parameters={key: tuple(shape) for key, shape in description["parameters"].items()})
