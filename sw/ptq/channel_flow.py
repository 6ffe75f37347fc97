"""Where the channels of each tensor in a graph come from, and which of them must be scaled together."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from sw.ptq.channels import UNKNOWN, Channels, ChannelVariables, Spread, Value
from sw.ptq.graph import TracedModel
from sw.ptq.layout import flattened, indexed, moved, reduced, unsqueezed
from sw.ptq.operations import (
    KEEPING_RANK,
    PROPERTIES,
    SPATIAL_DIMENSIONS,
    Kind,
    kind_of_function,
    kind_of_method,
    kind_of_module,
)
from sw.ptq.scaled_layer import (
    CONVOLUTIONS,
    LAYERS,
    NORMS,
    TRANSPOSED_CONVOLUTIONS,
    ScaledLayer,
)

Known = Value | tuple[Value, ...]
"""A tensor, or several of them."""

# Keywords that change what an operation is, and numpy's names for others: nothing is known of calls with them.
_REFUSED = ("out", "dtype", "rounding_mode", "axis", "axis0", "axis1", "keepdims", "x", "x1", "x2")

# What these accept without a batch is not told apart: their inputs are taken to be batches.
_RANKS = {nn.BatchNorm2d: 4, nn.BatchNorm3d: 5, nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5}


class ChannelFlow:
    """The channels of a traced model as variables.

    Each layer has variables for its output and for its input channels. What comes between two layers makes some of them
    equal: an activation with ``f(c x) = c f(x)``, pooling or flattening hands them on, an addition joins those of both
    sides, a concatenation puts them side by side. Whatever is not known to keep a factor fixes them to 1, so that a
    gap in this knowledge can only cost a pair, never change what a model computes.

    Parameters
    ----------
    traced : TracedModel

    Attributes
    ----------
    outputs, inputs : dict of int64 tensors
        Variables of the output and input channels of the layer of each name, in the order of their calls.
    variables : ChannelVariables
    """

    def __init__(self, traced: TracedModel) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        self.variables = ChannelVariables()
        self._traced = traced
        self._values: dict[fx.Node, Known] = {}
        self._shared = traced.shared_parameters()
        for node in traced.graph.nodes:
            self._values[node] = self._follow(node)

    def rank(self, node: fx.Node) -> int | None:
        """Return the number of dimensions of a node's tensor; None if it is unknown."""
        return self._value(node).rank

    def _follow(self, node: fx.Node) -> Known:
        match node.op:
            case "get_attr":
                attribute = self._traced.attribute(node)
                return Value(rank=attribute.ndim) if isinstance(attribute, Tensor) else UNKNOWN
            case "placeholder":
                return UNKNOWN
            case "call_module":
                return self._module(node, self._traced.module(node))
            case "call_function" if node.target is getattr:
                return UNKNOWN if node.args[1] in PROPERTIES else self._opaque(node)
            case "call_function":
                return self._operation(node, kind_of_function(node.target))
            case "call_method":
                return self._operation(node, kind_of_method(node.target))
            case _:
                return self._opaque(node)

    # What the values of a node's arguments are, and what to do where nothing is known.

    def _value(self, argument: Any) -> Value:
        known = self._values.get(argument, UNKNOWN) if isinstance(argument, fx.Node) else UNKNOWN
        return known if isinstance(known, Value) else UNKNOWN

    def _several(self, argument: Any) -> tuple[Value, ...]:
        known = self._values.get(argument, ()) if isinstance(argument, fx.Node) else ()
        return known if isinstance(known, tuple) else ()

    def _first(self, node: fx.Node) -> Value:
        return self._value(_first_argument(node))

    def _fix(self, argument: Any) -> None:
        known = self._values.get(argument, ()) if isinstance(argument, fx.Node) else ()
        for value in (known,) if isinstance(known, Value) else known:
            if value.channels is not None:
                self.variables.fix(value.channels.variables)

    def _fix_others(self, node: fx.Node, followed: list[Any]) -> None:
        for argument in node.all_input_nodes:
            if argument not in followed:
                self._fix(argument)

    def _opaque(self, node: fx.Node, *, rank: int | None = None) -> Value:
        for argument in node.all_input_nodes:
            self._fix(argument)
        return Value(rank=rank)

    def _fixed(self, node: fx.Node, like: Value) -> Value:
        """As :meth:`_opaque`, where the result is known to lie like a value."""
        self._opaque(node)
        return Value(rank=like.rank, channels=None if like.channels is None else like.channels.fixed())

    # Modules

    def _module(self, node: fx.Node, module: nn.Module) -> Known:
        if type(module) is nn.MultiheadAttention:
            return self._attention(node, module)
        if type(module) in NORMS:
            return self._norm(node, module)
        if type(module) in LAYERS:
            return self._layer(node, module)
        return self._apply(node, kind_of_module(module), module)

    def _layer(self, node: fx.Node, module: nn.Module) -> Value:
        value = self._first(node)
        dimensions = _spatial_dimensions(module)
        axis, rank = -1 - dimensions, dimensions + 2 if dimensions else value.rank
        entering = self._side(node, ScaledLayer.of_input(module), self.inputs, lambda layer: layer.inputs)
        self._enter(entering, value, axis)
        self._fix_others(node, [_first_argument(node)])
        leaving = self._side(node, ScaledLayer.of(module), self.outputs, lambda layer: layer.outputs)
        return Value(rank=rank, channels=None if leaving is None else Channels(axis=axis, variables=leaving))

    def _attention(self, node: fx.Node, module: nn.MultiheadAttention) -> Known:
        entering = self._side(node, ScaledLayer.of_input(module), self.inputs, lambda layer: layer.inputs)
        # One matrix projects all three: their channels have one factor.
        projected = [_argument(node, position, name, None) for position, name in enumerate(("query", "key", "value"))]
        for argument in projected:
            self._enter(entering, self._value(argument), -1)
        self._fix_others(node, projected)
        leaving = self._side(node, ScaledLayer.of(module), self.outputs, lambda layer: layer.outputs)
        channels = None if leaving is None else Channels(axis=-1, variables=leaving)
        return Value(rank=self._value(projected[0]).rank, channels=channels), UNKNOWN

    def _norm(self, node: fx.Node, module: nn.Module) -> Value:
        self._opaque(node)
        rank = _RANKS.get(type(module), self._first(node).rank)
        is_last = isinstance(module, (nn.LayerNorm, nn.RMSNorm))
        if rank is None and not is_last:
            return UNKNOWN
        axis = -1 if is_last else 1 - rank
        leaving = self._side(node, ScaledLayer.of(module), self.outputs, lambda layer: layer.outputs)
        return Value(rank=rank, channels=None if leaving is None else Channels(axis=axis, variables=leaving))

    def _side(self, node: fx.Node, layer: ScaledLayer | None, known: dict[str, Tensor],
              count: Callable[[ScaledLayer], int]) -> Tensor | None:
        """Return the variables of a layer's side, the same ones whenever it is called; None if it cannot be scaled."""
        if layer is None or any(id(parameter) in self._shared for parameter in layer.parameters):
            return None
        if node.target not in known:
            known[node.target] = self.variables.new(count(layer))
        return known[node.target]

    def _enter(self, entering: Tensor | None, value: Value, axis: int) -> None:
        """Let the channels of a value be a layer's input channels."""
        arriving = (None if entering is None or value.channels is None or value.channels.axis != axis
                    else value.channels.expand(len(entering)))
        if arriving is not None:
            self.variables.join(entering, arriving)
            return
        if value.channels is not None:
            self.variables.fix(value.channels.variables)
        if entering is not None:
            self.variables.fix(entering)

    # Functions and methods

    def _operation(self, node: fx.Node, kind: Kind | None) -> Known:
        if any(node.kwargs.get(name) is not None for name in _REFUSED):
            return self._opaque(node)
        several = self._several(_first_argument(node))
        match kind:
            case Kind.SUM | Kind.PRODUCT | Kind.QUOTIENT:
                return self._meet(node, kind)
            case Kind.CONCATENATION:
                return self._concatenate(node)
            case Kind.PIECES:
                return self._pieces(node)
            case Kind.INDEX if several:
                index = node.args[1]
                is_one = isinstance(index, int) and -len(several) <= index < len(several)
                return several[index] if is_one else self._opaque(node)
            case Kind.PROPERTY:
                return UNKNOWN
            case _:
                return self._apply(node, kind, None)

    def _apply(self, node: fx.Node, kind: Kind | None, module: nn.Module | None) -> Value:
        """Return what an operation on one tensor makes of its value."""
        value = self._first(node)
        match kind:
            case Kind.SAME:
                kept = value
            case Kind.VARYING:
                return self._fixed(node, value)
            case Kind.SPATIAL:
                dimensions = SPATIAL_DIMENSIONS[node.target if module is None else type(module)]
                kept = value if value.channels is None or value.channels.axis < -dimensions else None
                if node.kwargs.get("return_indices") or getattr(module, "return_indices", False):
                    kept = None
            case Kind.RESIZE:
                kept = value if value.channels is not None and value.channels.axis == _batched(value) else None
            case Kind.PAD:
                kept = _padded(node, value)
            case Kind.FLATTEN if module is not None:
                kept = flattened(value, module.start_dim, module.end_dim)
            case Kind.FLATTEN:
                kept = flattened(value, _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1))
            case Kind.RESHAPE:
                shape = _integers(node)
                if not _is_flattening(node, shape):
                    # One argument alone may be a shape or a type.
                    return self._opaque(node, rank=len(shape) if len(shape) > 1 else None)
                kept = flattened(value, 1, -1)
            case Kind.PERMUTE:
                kept = moved(value, _integers(node, "dims"))
            case Kind.TRANSPOSE:
                kept = moved(value, None, (_argument(node, 1, "dim0", None), _argument(node, 2, "dim1", None)))
            case Kind.REDUCE:
                kept = reduced(value, _argument(node, 1, "dim", None), _argument(node, 2, "keepdim", False))
            case Kind.UNSQUEEZE:
                kept = unsqueezed(value, _argument(node, 1, "dim", None))
            case Kind.INDEX:
                kept = indexed(value, node.args[1])
            case _:
                kept = None
        if kept is None or kept.channels is None:
            return self._opaque(node, rank=value.rank if kind in KEEPING_RANK else None)
        self._fix_others(node, [_first_argument(node)])
        return kept

    def _meet(self, node: fx.Node, kind: Kind) -> Value:
        """Return the value of a sum, product or quotient of two operands."""
        first, second = _first_argument(node), _argument(node, 1, "other", None)
        if second is None or len(node.args) > 2:
            return self._opaque(node)
        x, y = self._value(first), self._value(second)
        numbers = [not isinstance(operand, fx.Node) for operand in (first, second)]
        if any(numbers):
            value = y if numbers[0] else x
            keeps = {Kind.SUM: 0 in (first, second), Kind.PRODUCT: True, Kind.QUOTIENT: numbers[1]}[kind]
            return value if keeps else self._fixed(node, value)
        rank = None if x.rank is None or y.rank is None else max(x.rank, y.rank)
        alike = x.channels is not None and y.channels is not None and x.channels.is_alike(y.channels)
        if kind is Kind.SUM and alike:
            self.variables.join(x.channels.variables, y.channels.variables)
            return Value(rank=rank, channels=x.channels)
        if kind is not Kind.SUM:
            # One factor passes through a product; two would be multiplied, and one in a divisor inverted.
            for scaled, other in ((x, y),) if kind is Kind.QUOTIENT else ((x, y), (y, x)):
                # A single channel may be repeated along the other operand's.
                if (scaled.channels is not None and (other.channels is None or not other.channels.is_free)
                        and (alike or len(scaled.channels.variables) > 1)):
                    return Value(rank=rank, channels=scaled.channels)
        self._opaque(node)
        return Value(rank=rank, channels=x.channels.fixed() if alike else None)

    def _concatenate(self, node: fx.Node) -> Value:
        tensors = node.args[0] if node.args else node.kwargs.get("tensors")
        values = [self._value(tensor) for tensor in tensors] if isinstance(tensors, (list, tuple)) else []
        rank = next((value.rank for value in values if value.rank is not None), None)
        dim = _argument(node, 1, "dim", 0)
        if isinstance(dim, int) and dim >= 0:
            dim = None if rank is None else dim - rank
        parts = [value.channels for value in values if value.channels is not None]
        if not isinstance(dim, int) or not parts or len(parts) < len(values):
            return self._opaque(node, rank=rank)
        if all(part.axis == dim and part.spread is Spread.NONE for part in parts):
            variables = torch.cat([part.variables for part in parts])
            return Value(rank=rank, channels=Channels(axis=dim, variables=variables))
        if dim != parts[0].axis and all(part.is_alike(parts[0]) for part in parts):
            for part in parts[1:]:
                self.variables.join(parts[0].variables, part.variables)
            return Value(rank=rank, channels=parts[0])
        return self._opaque(node, rank=rank)

    def _pieces(self, node: fx.Node) -> Known:
        """Return the values of a tensor cut along its channels."""
        value = self._first(node)
        is_chunk = node.target in (torch.chunk, "chunk")
        size = _argument(node, 1, "chunks" if is_chunk else "split_size", None)
        size = node.kwargs.get("split_size_or_sections", size)
        dim = _argument(node, 2, "dim", 0)
        if isinstance(dim, int) and dim >= 0 and value.rank is not None:
            dim -= value.rank
        if value.channels is None or dim != value.channels.axis or value.channels.spread is not Spread.NONE:
            return self._opaque(node)
        variables = value.channels.variables
        if isinstance(size, int):
            pieces = variables.split(-(-len(variables) // size) if is_chunk else size)
        elif isinstance(size, (list, tuple)) and all(isinstance(item, int) for item in size):
            pieces = variables.split(list(size))
        else:
            return self._opaque(node)
        return tuple(Value(rank=value.rank, channels=Channels(axis=dim, variables=piece)) for piece in pieces)


def _spatial_dimensions(module: nn.Module) -> int:
    """Return how many dimensions follow the channels of a layer."""
    for kinds in (CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS):
        if type(module) in kinds:
            return kinds.index(type(module)) + 1
    return 0


def _first_argument(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs.get("input")


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _integers(node: fx.Node, name: str = "shape") -> tuple[Any, ...]:
    """Return a shape or an order of dimensions, given one by one or as one tuple."""
    rest = node.args[1:] or (node.kwargs.get(name, ()),)
    return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else tuple(rest)


def _is_flattening(node: fx.Node, shape: tuple[Any, ...]) -> bool:
    """Whether a shape is (size of the first dimension of the same tensor, -1)."""
    if len(shape) != 2 or shape[1] != -1 or not isinstance(shape[0], fx.Node):
        return False
    size, x = shape[0], node.args[0]
    if size.op == "call_method" and size.target == "size":
        return size.args == (x, 0)
    if size.op != "call_function" or size.target is not operator.getitem or size.args[1] != 0:
        return False
    whole = size.args[0]
    return isinstance(whole, fx.Node) and (
        (whole.target is getattr and whole.args == (x, "shape")) or (whole.target == "size" and whole.args == (x,)))


def _batched(value: Value) -> int | None:
    """Return the axis of channels right after the batch."""
    return None if value.rank is None else 1 - value.rank


def _padded(node: fx.Node, value: Value) -> Value | None:
    """Return the value if zeros are padded around its channels, or its own elements repeated."""
    pads = _argument(node, 1, "pad", None)
    constant = _argument(node, 2, "mode", "constant") == "constant"
    filling = _argument(node, 3, "value", None)
    if not isinstance(pads, (list, tuple)) or (constant and filling not in (None, 0)):
        return None
    return value if value.channels is None or value.channels.axis < -(len(pads) // 2) else None
