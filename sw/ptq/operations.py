"""What functions, methods and modules of torch do to a factor on a channel of their input."""

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812, the name that everybody reads


class Kind(Enum):
    """Families of operations. ``f`` is the operation, ``c`` a positive factor."""

    SAME = "same"
    """``f(c x) = c f(x)``, element by element."""
    SPATIAL = "spatial"
    """The same, over the last dimensions."""
    VARYING = "varying"
    """Element by element, and not the same."""
    SUM = "sum"
    """Two tensors meet: ``f(c x, c y) = c f(x, y)``."""
    PRODUCT = "product"
    QUOTIENT = "quotient"
    CONCATENATION = "concatenation"
    PIECES = "pieces"
    INDEX = "index"
    FLATTEN = "flatten"
    RESHAPE = "reshape"
    PERMUTE = "permute"
    TRANSPOSE = "transpose"
    UNSQUEEZE = "unsqueeze"
    REDUCE = "reduce"
    """``f(c x) = c f(x)``, over dimensions that go."""
    PAD = "pad"
    RESIZE = "resize"
    PROPERTY = "property"
    """No element of the tensor is looked at."""


KEEPING_RANK = (Kind.SAME, Kind.SPATIAL, Kind.VARYING, Kind.PERMUTE, Kind.TRANSPOSE, Kind.PAD, Kind.RESIZE)
"""Families whose results have as many dimensions as their first argument."""

FUNCTIONS: dict[Callable[..., Any], Kind] = {
    **dict.fromkeys((
        F.relu, F.leaky_relu, F.prelu, F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.relu, torch.prelu,
        torch.dropout, torch.abs, torch.neg, torch.clone, torch.relu_, operator.neg, operator.abs, operator.pos,
    ), Kind.SAME),
    **dict.fromkeys((
        F.gelu, F.silu, F.relu6, F.hardtanh, F.sigmoid, F.tanh, F.elu, F.selu, F.celu, F.mish, F.softplus, F.softsign,
        F.hardswish, F.hardsigmoid, F.logsigmoid, torch.sigmoid, torch.tanh, torch.exp, torch.sqrt, torch.clamp,
    ), Kind.VARYING),
    **dict.fromkeys((
        torch.add, torch.sub, torch.maximum, torch.minimum, operator.add, operator.sub, operator.iadd, operator.isub,
    ), Kind.SUM),
    **dict.fromkeys((torch.mul, operator.mul, operator.imul), Kind.PRODUCT),
    **dict.fromkeys((torch.div, operator.truediv, operator.itruediv), Kind.QUOTIENT),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), Kind.CONCATENATION),
    **dict.fromkeys((torch.chunk, torch.split), Kind.PIECES),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, torch.amin), Kind.REDUCE),
    operator.getitem: Kind.INDEX,
    torch.flatten: Kind.FLATTEN,
    torch.reshape: Kind.RESHAPE,
    torch.permute: Kind.PERMUTE,
    torch.transpose: Kind.TRANSPOSE,
    torch.swapaxes: Kind.TRANSPOSE,
    torch.unsqueeze: Kind.UNSQUEEZE,
    F.pad: Kind.PAD,
    F.interpolate: Kind.RESIZE,
}

METHODS: dict[str, Kind] = {
    **dict.fromkeys(("relu", "relu_", "prelu", "abs", "abs_", "neg", "neg_", "clone", "contiguous", "detach", "float",
                     "double"), Kind.SAME),
    **dict.fromkeys(("sigmoid", "tanh", "exp", "sqrt", "clamp"), Kind.VARYING),
    **dict.fromkeys(("add", "add_", "sub", "sub_", "maximum", "minimum", "__add__", "__iadd__", "__sub__",
                     "__isub__"), Kind.SUM),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__imul__"), Kind.PRODUCT),
    **dict.fromkeys(("div", "div_", "__truediv__", "__itruediv__"), Kind.QUOTIENT),
    **dict.fromkeys(("chunk", "split"), Kind.PIECES),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), Kind.REDUCE),
    **dict.fromkeys(("size", "dim", "numel"), Kind.PROPERTY),
    **dict.fromkeys(("view", "reshape"), Kind.RESHAPE),
    **dict.fromkeys(("transpose", "swapaxes"), Kind.TRANSPOSE),
    "__getitem__": Kind.INDEX,
    "flatten": Kind.FLATTEN,
    "permute": Kind.PERMUTE,
    "unsqueeze": Kind.UNSQUEEZE,
}

PROPERTIES = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")
"""Attributes of a tensor that say nothing of its elements."""

MODULES: dict[type[nn.Module], Kind] = {
    **dict.fromkeys((nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
                     nn.Dropout3d), Kind.SAME),
    **dict.fromkeys((nn.GELU, nn.SiLU, nn.ReLU6, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.ELU, nn.SELU, nn.CELU, nn.Mish,
                     nn.Softplus, nn.Softsign, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid), Kind.VARYING),
    nn.Flatten: Kind.FLATTEN,
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), Kind.RESIZE),
}

SPATIAL_DIMENSIONS: dict[Any, int] = {
    **dict.fromkeys((F.max_pool1d, F.avg_pool1d, F.adaptive_avg_pool1d, F.adaptive_max_pool1d, nn.MaxPool1d,
                     nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.ZeroPad1d, nn.ReflectionPad1d,
                     nn.ReplicationPad1d, nn.CircularPad1d), 1),
    **dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, nn.MaxPool2d,
                     nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d, nn.ReflectionPad2d,
                     nn.ReplicationPad2d, nn.CircularPad2d), 2),
    **dict.fromkeys((F.max_pool3d, F.avg_pool3d, F.adaptive_avg_pool3d, F.adaptive_max_pool3d, nn.MaxPool3d,
                     nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.ZeroPad3d, nn.ReflectionPad3d,
                     nn.ReplicationPad3d, nn.CircularPad3d), 3),
}
"""Of pooling and padding: how many of the last dimensions they mix."""


def kind_of_function(target: Callable[..., Any]) -> Kind | None:
    """Return the family of a function; None if nothing is known of it."""
    return Kind.SPATIAL if target in SPATIAL_DIMENSIONS else FUNCTIONS.get(target)


def kind_of_method(name: str) -> Kind | None:
    """Return the family of a tensor's method."""
    return METHODS.get(name)


def kind_of_module(module: nn.Module) -> Kind | None:
    """Return the family of a module; a type derived from a known one is unknown."""
    return Kind.SPATIAL if type(module) in SPATIAL_DIMENSIONS else MODULES.get(type(module))
