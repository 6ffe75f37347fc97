"""Layers from the nodes of a graph: a product with constant weights becomes the module that it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from sw.export.onnx_operators import OPERATORS, check_auto_pad, fold_pads
from sw.export.scaled_quantizer import ScaledQuantizer
from sw.export.scales import scale_layout
from sw.formats import ScalarFormat
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.layers import KINDS, QuantizedLayer, swap_class
from sw.ptq.tensor_quantizer import TensorQuantizer

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}

_LAYERS = (*KINDS, QuantizedLayer)

# Functions that place or choose elements and compute nothing.
_PLACING = {OPERATORS[name] for name in ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose",
                                         "Unsqueeze")}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Constant weights of a graph, and how they are quantized on their way into a product."""

    name: str
    """That of the constant."""
    value: Tensor
    quantizer: ScaledQuantizer | None = None

    @property
    def quantized(self) -> Tensor:
        """The values that enter the product."""
        return self.value if self.quantizer is None else self.quantizer(self.value)

    def permuted(self, axes: list[int]) -> "Weights":
        """Return the weights with their axes in another order, and so the scales."""
        quantizer = self.quantizer
        if quantizer is not None:
            parts = [None if part is None else part.expand(self.value.shape).permute(axes)
                     for part in (quantizer.scale, quantizer.zero_point)]
            quantizer = ScaledQuantizer(quantizer.format, *parts, rounding=quantizer.rounding,
                                        overflow=quantizer.overflow, quotient_first=quantizer.quotient_first)
        return replace(self, value=self.value.permute(axes).contiguous(), quantizer=quantizer)

    @property
    def fits_layers(self) -> bool:
        """Whether the layers of ``sw.ptq`` quantize like this."""
        return self.quantizer is None or (self.quantizer.is_plain and self.quantizer.format.signed)


def convolution(weights: Weights, bias: Tensor | None, attributes: Mapping[str, Any]) -> nn.Module | None:
    """Return the layer of a Conv node; None if there is none like it.

    Raises
    ------
    ValueError
        If the padding follows the input's size.
    """
    pads = attributes.get("pads")
    check_auto_pad(attributes.get("auto_pad", "NOTSET"), pads)
    size = tuple(weights.value.shape[2:])
    padding, before = fold_pads(pads, len(size))
    if before is not None or len(size) not in _CONVOLUTIONS or not weights.fits_layers:
        return None
    ones = [1] * len(size)
    groups = attributes.get("group", 1)
    layer = _CONVOLUTIONS[len(size)](
        weights.value.shape[1] * groups, weights.value.shape[0], size, tuple(attributes.get("strides", ones)),
        tuple(padding), tuple(attributes.get("dilations", ones)), groups, bias is not None, device="meta")
    return _filled(layer, weights, bias)


def linear(weights: Weights, bias: Tensor | None) -> nn.Module | None:
    """Return the layer of a product with weights (outputs, inputs); None if there is none like it."""
    outputs, inputs = weights.value.shape
    if not weights.fits_layers or (bias is not None and bias.shape != (outputs,)):
        return None
    return _filled(nn.Linear(inputs, outputs, bias is not None, device="meta"), weights, bias)


def _filled(layer: nn.Module, weights: Weights, bias: Tensor | None) -> nn.Module:
    layer.weight = nn.Parameter(weights.value)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    if weights.quantizer is not None:
        fmt = weights.quantizer.format
        layout = scale_layout(weights.quantizer.scale, tuple(weights.value.shape))
        quantize_layer(layer, Config(weight=WeightConfig(format=fmt, granularity=layout.granularity,
                                                         group_size=layout.group_size)), weights.name)
        set_scale(layer.weight_quantizer, layout.scale)
    return layer.eval()


def quantize_layer(layer: nn.Module, config: Config, name: str) -> None:
    """Turn a float layer into the quantized one, in place."""
    swap_class(layer, KINDS[type(layer)])
    layer.attach(config, name)


def set_scale(quantizer: TensorQuantizer, scale: Tensor) -> None:
    """Give a quantizer scales that are known, as those of a saved one."""
    quantizer.load_state_dict({**quantizer.state_dict(), "scale": scale.to(torch.float32)})


def quantize_inputs(layer: nn.Module, fmt: ScalarFormat, scale: Tensor, name: str) -> None:
    """Let a layer, float or with quantized weights, round its inputs under one scale."""
    config = Config(weight=None, activation=ActivationConfig(format=fmt))
    if type(layer) in KINDS:
        quantize_layer(layer, config, name)
    else:
        kept = layer.weight_quantizer
        layer.attach(config, name)
        layer.weight_quantizer = kept
    set_scale(layer.input_quantizer, scale.reshape(()))


def move_into_layers(graph: fx.Graph, root: dict[str, Any]) -> None:
    """Make each quantizer that only feeds layers the input quantizer of all of them.

    Functions that only place or choose elements may lie between: the largest of rounded elements is the largest one,
    rounded.
    """
    for node in list(graph.nodes):
        quantizer = root.get(node.target) if node.op == "call_module" else None
        if not isinstance(quantizer, ScaledQuantizer) or not quantizer.is_plain or quantizer.scale.numel() != 1:
            continue
        layers = _layers_after(node, root)
        if not layers or len(node.args) != 1:
            continue
        for target in sorted({layer.target for layer in layers}):
            quantize_inputs(root[target], quantizer.format, quantizer.scale, target)
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        del root[node.target]


def _layers_after(node: fx.Node, root: dict[str, Any]) -> list[fx.Node]:
    """Return the calls of layers that are all that takes a value; none if something else does too."""
    found: list[fx.Node] = []
    for user in node.users:
        if user.op == "call_module" and isinstance(root[user.target], _LAYERS):
            found.append(user)
        elif user.op == "call_function" and user.target in _PLACING and user.args[0] is node and user.users:
            further = _layers_after(user, root)
            if not further:
                return []
            found += further
        else:
            return []
    return found
