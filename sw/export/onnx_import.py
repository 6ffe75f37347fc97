"""ONNX files as torch modules: those with the quantization nodes of QONNX, and those with QuantizeLinear."""

import inspect
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from sw.export.onnx_file import Constant, attributes_of, constant_of, module_name, opset_of, read_onnx
from sw.export.onnx_layers import Weights, convolution, linear, move_into_layers
from sw.export.onnx_operators import OPERATORS, integers, softmax_flattened
from sw.export.qonnx_nodes import (
    DOMAINS,
    FLOAT_OPERATOR,
    INTEGER_OPERATORS,
    float_format,
    integer_format,
    overflow_of,
    rounding_of,
)
from sw.export.scaled_quantizer import ScaledQuantizer
from sw.formats import FixedPointFormat, FloatingPointFormat
from sw.ptq.layers import QuantizedLayer

if TYPE_CHECKING:
    import onnx


def load_onnx(path: str | os.PathLike[str]) -> fx.GraphModule:
    """Return the network of an ONNX file, as Brevitas, qonnx or the exporters here write it, as a torch module.

    Products with constant weights become the layers they came from, ``torch.nn.Linear`` and ``torch.nn.Conv1d`` to
    ``Conv3d`` or their quantized versions of ``sw.ptq``, under the names that the weights have in the file
    (``features.0.weight`` is that of layer ``features.0``), or that torch's exporter wrote beside the nodes. Where
    nothing but such layers takes what a quantization node gives, it becomes their ``input_quantizer``; every other one
    is a :class:`sw.export.ScaledQuantizer`. The rest are calls of functions, one for each node. Of the configurations
    of those layers, format and granularity are what the file says; by which rule scales were found it does not say.

    Known are the nodes IntQuant (Quant) and FloatQuant of QONNX, QuantizeLinear and DequantizeLinear in pairs (with a
    Clip between them, as Brevitas has it), and the operators that convolutional networks and transformers are made of.
    Their zero points must be constants; their scales may be computed by the graph.

    Returns
    -------
    torch.fx.GraphModule
        In evaluation mode, on the CPU. It takes the inputs of the graph in their order, and returns its output, or a
        tuple of several.

    Raises
    ------
    TypeError, FileNotFoundError
        If there is no such path or file.
    ValueError
        If the file holds no ONNX model, or a node that is not known here; the message names it.
    ModuleNotFoundError
        If onnx is not installed.
    """
    return _Builder(read_onnx(path)).module()


@dataclass(frozen=True, kw_only=True)
class _Codes:
    """What QuantizeLinear gives: nothing is computed before DequantizeLinear."""

    source: fx.Node
    format: FixedPointFormat | FloatingPointFormat
    scale: Tensor | fx.Node
    zero_point: Tensor | None


class _Builder:
    """Walks over a graph once and builds one of torch.fx beside it."""

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        self._opset = opset_of(proto)
        self._graph = fx.Graph()
        self._root: dict[str, Any] = {}
        self._constants = {tensor.name: constant_of(tensor) for tensor in proto.graph.initializer}
        self._weights: dict[str, Weights] = {}
        self._codes: dict[str, _Codes] = {}
        self._values: dict[str, fx.Node] = {}

    def module(self) -> fx.GraphModule:
        graph = self._proto.graph
        for value in graph.input:
            if value.name not in self._constants:
                self._values[value.name] = self._graph.placeholder(_identifier(value.name))
        for node in graph.node:
            try:
                self._add(node)
            except (TypeError, ValueError) as error:
                raise type(error)(f"Node {_title(node)} cannot be loaded: {error}") from error
        outputs = [self._value(value.name) for value in graph.output]
        self._graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        move_into_layers(self._graph, self._root)
        calls = [self._root[node.target] for node in self._graph.nodes if node.op == "call_module"]
        for place, layer in enumerate(layer for layer in calls if isinstance(layer, QuantizedLayer)):
            layer.execution_index = place
        module = fx.GraphModule(self._root, self._graph).eval()
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        return module

    # What a name stands for

    def _constant(self, name: str) -> Tensor | None:
        """Return the values of a constant, quantized ones too; None if the graph computes them."""
        if name in self._weights:
            return self._weights[name].quantized
        return self._constants[name].value if name in self._constants else None

    def _known(self, node: "onnx.NodeProto", place: int, noun: str) -> Tensor:
        """Return an input that must be a constant."""
        value = self._constant(node.input[place]) if place < len(node.input) else None
        if value is None:
            raise ValueError(f"{noun} must be a constant, not computed by the graph")
        return value

    def _value(self, name: str) -> fx.Node:
        """Return the node that computes a value."""
        if name in self._codes:
            raise ValueError(f"Codes {name!r} must go to DequantizeLinear, through nothing but Clip: "
                             "arithmetic on codes is not done here")
        if name not in self._values:
            weights = self._weights.get(name)
            if weights is None and name not in self._constants:
                raise ValueError(f"Input {name!r} must be computed by a node before it, not by none")
            if weights is None:
                self._values[name] = self._tensor(name, self._constants[name].value)
            else:
                value = self._tensor(weights.name, weights.value)
                self._values[name] = value if weights.quantizer is None else self._quantized(weights.quantizer, name,
                                                                                             value)
        return self._values[name]

    def _tensor(self, name: str, value: Tensor) -> fx.Node:
        target = self._new_name(name)
        self._root[target] = nn.Parameter(value, requires_grad=False) if value.is_floating_point() else value
        return self._graph.get_attr(target)

    def _call(self, module: nn.Module, name: str, *arguments: fx.Node) -> fx.Node:
        target = self._new_name(name)
        self._root[target] = module
        return self._graph.call_module(target, arguments)

    def _quantized(self, quantizer: ScaledQuantizer, name: str, *arguments: fx.Node) -> fx.Node:
        # Not below the layer that its name may begin with: that one comes later, and is whole.
        return self._call(quantizer, re.sub(r"[./]", "_", name), *arguments)

    def _new_name(self, name: str) -> str:
        """Return a name like this one for a part of the module, which has none like it yet."""
        parts = [_identifier(part) for part in re.split(r"[./]", name) if part] or ["part"]
        stem = ".".join(parts)
        # A layer cannot have parts that were not there when it was made.
        taken = {*self._root, *(key[:end] for key in self._root for end, sign in enumerate(key) if sign == ".")}
        number, target = 0, stem
        while target in taken or any(target.startswith(key + ".") for key in self._root):
            number, target = number + 1, f"{stem.replace('.', '_')}_{number + 1}"
        return target

    # Nodes

    def _add(self, node: "onnx.NodeProto") -> None:
        attributes = attributes_of(node)
        output = node.output[0]
        if node.domain in DOMAINS and node.op_type in (*INTEGER_OPERATORS, FLOAT_OPERATOR):
            self._add_quantizer(node, self._qonnx_quantizer(node, attributes))
            return
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"Operator must be one of the standard, or IntQuant, Quant or FloatQuant, not "
                             f"{node.op_type!r} of {node.domain!r}")
        match node.op_type:
            case "Constant":
                self._constants[output] = _constant_node(attributes)
            case "QuantizeLinear":
                self._codes[output] = self._quantize_linear(node, attributes)
            case "DequantizeLinear":
                self._dequantize_linear(node, attributes)
            case "Clip" if node.input[0] in self._codes:
                self._codes[output] = self._clipped(node)
            case "Transpose" if node.input[0] in self._weights:
                self._weights[output] = self._weights[node.input[0]].permuted(
                    attributes.get("perm") or list(range(self._weights[node.input[0]].value.ndim))[::-1])
            case "Transpose" | "Identity" if node.input[0] in self._constants:
                value = self._constants[node.input[0]].value
                self._constants[output] = Constant(value=OPERATORS[node.op_type](value, **attributes))
            case _:
                layer = self._layer(node, attributes)
                self._values[output] = self._operator(node, attributes) if layer is None else layer

    def _operator(self, node: "onnx.NodeProto", attributes: dict[str, Any]) -> fx.Node:
        """Return a call of the node's function."""
        if node.op_type not in OPERATORS:
            raise ValueError(f"Operator must be one of sw.export.OPERATORS, not {node.op_type!r}")
        function = OPERATORS[node.op_type]
        if node.op_type in ("Softmax", "LogSoftmax") and self._opset < 13:
            if node.op_type == "LogSoftmax":
                raise ValueError("Operator set must be of version 13 or later for LogSoftmax, not "
                                 f"{self._opset}; see onnx.version_converter")
            function = softmax_flattened
        if node.op_type == "Split":
            attributes = {**attributes, "outputs": len(node.output)}
        names = _parameters(function)
        for name in attributes:
            if names is None or name not in names:
                raise ValueError(f"Attribute must be one of {', '.join(names or ()) or 'none'}, not {name!r}")
        arguments = [self._argument(name, place, names) for place, name in enumerate(node.input)]
        while arguments and arguments[-1] is None:
            arguments.pop()
        result = self._function(function, tuple(arguments), attributes)
        if node.op_type == "Split":
            for place, name in enumerate(node.output):
                self._values[name] = self._function(_item, (result, place))
            return self._values[node.output[0]]
        if any(node.output[1:]):
            raise ValueError(f"Outputs must be one, not {len(node.output)}")
        return result

    def _function(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> fx.Node:
        node = self._graph.call_function(function, arguments, keywords)
        # Tracing the module again, as pickling does, must not look into functions that ask for shapes.
        node.meta["is_wrapped"] = function.__module__.startswith("sw.")
        return node

    def _argument(self, name: str, place: int, names: dict[str, inspect.Parameter] | None) -> Any:
        if not name:
            return None
        constant = self._constant(name)
        parameter = None if names is None or place >= len(names) else list(names.values())[place]
        if constant is not None and parameter is not None and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            if "Sequence[int]" in str(parameter.annotation):
                return integers(constant)
            if "float" in str(parameter.annotation) and constant.numel() == 1:
                return constant.item()
        return self._value(name)

    def _layer(self, node: "onnx.NodeProto", attributes: dict[str, Any]) -> fx.Node | None:
        """Return a call of a layer; None unless the node is a product with constant weights."""
        if node.op_type not in ("Conv", "Gemm", "MatMul") or self._constant(node.input[0]) is not None:
            return None
        weights, bias = self._weights_of(node.input[1]), None
        if len(node.input) > 2 and node.input[2]:
            bias = self._constant(node.input[2])
            if bias is None:
                return None
        if weights is None:
            return None
        if node.op_type == "Conv":
            layer = convolution(weights, bias, attributes)
        else:
            plain = all(attributes.get(name, default) == default
                        for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)))
            if weights.value.ndim != 2 or not plain:
                return None
            layer = linear(weights if attributes.get("transB", 0) else weights.permuted([1, 0]), bias)
        if layer is None:
            return None
        stem = re.sub(r"[._/]weight(_quantizer\.(codes|weight))?$", "", weights.name)
        name = stem if stem != weights.name else module_name(node) or node.name or node.output[0]
        return self._call(layer, name, self._value(node.input[0]))

    def _weights_of(self, name: str) -> Weights | None:
        if name in self._weights:
            return self._weights[name]
        constant = self._constants.get(name)
        if constant is None or constant.format is not None or not constant.value.is_floating_point():
            return None
        return Weights(name=name, value=constant.value)

    # Quantization nodes

    def _add_quantizer(self, node: "onnx.NodeProto", quantizer: ScaledQuantizer) -> None:
        source, output = node.input[0], node.output[0]
        if source in self._constants and quantizer.scale is not None:
            self._weights[output] = Weights(name=source, value=self._constants[source].value, quantizer=quantizer)
        else:
            scale = () if quantizer.scale is not None else (self._value(node.input[1]),)
            self._values[output] = self._quantized(quantizer, node.name or output, self._value(source), *scale)

    def _qonnx_quantizer(self, node: "onnx.NodeProto", attributes: dict[str, Any]) -> ScaledQuantizer:
        scale, rounding = self._constant(node.input[1]), rounding_of(attributes)
        scale = None if scale is None else scale.to(torch.float32)
        if node.op_type == FLOAT_OPERATOR:
            fmt = float_format(*(self._known(node, place, noun).item() for place, noun in (
                (2, "Exponent width"), (3, "Mantissa width"), (4, "Bias"), (5, "Largest value"))), attributes)
            return ScaledQuantizer(fmt, scale, rounding=rounding, overflow=overflow_of(fmt, attributes))
        fmt = integer_format(self._known(node, 3, "Bit width").item(), attributes)
        return ScaledQuantizer(fmt, scale, self._known(node, 2, "Zero point").to(torch.float32), rounding=rounding)

    def _quantize_linear(self, node: "onnx.NodeProto", attributes: dict[str, Any]) -> _Codes:
        point = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        if point is None or point.format is None:
            raise ValueError("Zero point must be a constant of a type of codes, which says what is quantized to, "
                             "not left out")
        if attributes.get("block_size", 0):
            raise ValueError(f"Block size must be 0 in QuantizeLinear, not {attributes['block_size']}")
        if not attributes.get("saturate", 1):
            raise ValueError("Saturation must be on, not saturate=0")
        scale = self._constant(node.input[1])
        return _Codes(source=self._value(node.input[0]), format=point.format, zero_point=point.value,
                      scale=self._value(node.input[1]) if scale is None else scale)

    def _clipped(self, node: "onnx.NodeProto") -> _Codes:
        """Return codes of fewer bits, as integers between bounds are."""
        codes = self._codes[node.input[0]]
        low, high = (int(self._known(node, place, noun).item()) for place, noun in ((1, "Lower bound"),
                                                                                    (2, "Upper bound")))
        for width in range(2, 17):
            for signed, narrow in ((False, False), (True, False), (True, True)):
                fmt = FixedPointFormat(width=width, signed=signed, narrow_range=narrow)
                if isinstance(codes.format, FixedPointFormat) and (fmt.min_integer, fmt.max_integer) == (low, high):
                    return replace(codes, format=fmt)
        raise ValueError(f"Bounds of codes must be those of an integer format, not {low} and {high}")

    def _dequantize_linear(self, node: "onnx.NodeProto", attributes: dict[str, Any]) -> None:
        source, output = node.input[0], node.output[0]
        scale, axis = self._constant(node.input[1]), attributes.get("axis", 1)
        point = self._constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if source in self._codes:
            codes = self._codes[source]
            if not _same(self._values.get(node.input[1]) if scale is None else scale, codes.scale):
                raise ValueError("Scale must be that of the QuantizeLinear before it")
            if scale is not None and scale.numel() != 1:
                raise ValueError("Scale must be one number where no weights are quantized, not of shape "
                                 f"{tuple(scale.shape)}")
            if not bool((codes.zero_point == (0 if point is None else point)).all()):
                raise ValueError("Zero point must be that of the QuantizeLinear before it")
            quantizer = ScaledQuantizer(codes.format, scale, codes.zero_point, quotient_first=True)
            self._values[output] = self._quantized(quantizer, node.name or output, codes.source,
                                                   *((codes.scale,) if scale is None else ()))
            return
        constant = self._constants.get(source)
        if constant is None or constant.format is None or scale is None:
            raise ValueError("Input must be what QuantizeLinear gives, or constant codes with a constant scale")
        values = constant.value
        scale = _along(scale, values, axis, attributes.get("block_size", 0))
        point = torch.zeros(()) if point is None else _along(point, values, axis, attributes.get("block_size", 0))
        quantizer = ScaledQuantizer(constant.format, scale, point, quotient_first=True)
        self._weights[output] = Weights(name=source, value=(values - point) * scale, quantizer=quantizer)


def _along(part: Tensor, values: Tensor, axis: int, block_size: int) -> Tensor:
    """Return scales or zero points in a shape that broadcasts to that of the codes."""
    if part.ndim == 0:
        return part
    if block_size:
        return part.repeat_interleave(block_size, axis).narrow(axis, 0, values.shape[axis])
    return part.reshape([-1 if place == axis % values.ndim else 1 for place in range(values.ndim)])


def _same(scale: Tensor | fx.Node | None, other: Tensor | fx.Node) -> bool:
    if isinstance(scale, Tensor) and isinstance(other, Tensor):
        return scale.shape == other.shape and bool((scale == other).all())
    return scale is other


def _constant_node(attributes: dict[str, Any]) -> Constant:
    for name, kind in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                       ("value_ints", torch.int64)):
        if name in attributes:
            return Constant(value=torch.tensor(attributes[name], dtype=kind))
    if "value" not in attributes:
        raise ValueError(f"Constant must be a dense tensor of numbers, not {', '.join(attributes) or 'empty'}")
    return attributes["value"]


def _parameters(function: Any) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of an operator; None of torch's own, which have no attributes in the standard."""
    try:
        return dict(inspect.signature(function).parameters)
    except ValueError:
        return None


def _item(values: tuple[Tensor, ...], place: int) -> Tensor:
    return values[place]


def _identifier(name: str) -> str:
    """Return a name that Python, and a module's parts, can have."""
    return re.sub(r"\W", "_", name, flags=re.ASCII) or "_"


def _title(node: "onnx.NodeProto") -> str:
    return f"{node.name or node.output[0]!r} ({node.op_type})"
