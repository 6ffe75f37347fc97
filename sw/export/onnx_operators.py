"""The ONNX operators that quantized networks are made of, each a function on tensors.

Their parameters are named and ordered as the inputs and attributes of the standard are, so that a node is a call: what
was an attribute in one version of the standard and became an input in another is the same parameter. Lengths and axes
are lists of integers where the graph has them as constants, or tensors where it computes them.

Source: the ONNX operator schemas, versions 9 to 25.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Integers: TypeAlias = Sequence[int] | Tensor

_SPATIAL = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}

# The standard's numbers of the types that a Cast to them means something for here.
_CASTS = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64,
          16: torch.bfloat16}


def integers(values: Integers) -> list[int]:
    """Return lengths or axes, which a graph may compute, as integers."""
    return [int(value) for value in values.flatten().tolist()] if isinstance(values, Tensor) else list(values)


def fold_pads(pads: Integers | None, dimensions: int) -> tuple[list[int], list[int] | None]:
    """Return paddings at both ends of the last dimensions as what a layer pads itself, and what is to be padded
    before it, in the order of ``torch.nn.functional.pad``; None where both ends are alike."""
    pads = [0] * (2 * dimensions) if pads is None else integers(pads)
    begin, end = pads[:dimensions], pads[dimensions:]
    if begin == end:
        return begin, None
    return [0] * dimensions, [size for pair in reversed(list(zip(begin, end, strict=True))) for size in pair]


def check_auto_pad(auto_pad: str, pads: Integers | None) -> None:
    """Raise ValueError for paddings that follow the size of the input."""
    if auto_pad not in ("NOTSET", "VALID") or (auto_pad == "VALID" and pads is not None and any(integers(pads))):
        raise ValueError(f"Padding auto_pad must be NOTSET or VALID, not {auto_pad!r}; "
                         "export with explicit pads")


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET",
         dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
         pads: Sequence[int] | None = None, strides: Sequence[int] | None = None) -> Tensor:
    check_auto_pad(auto_pad, pads)
    dimensions = weight.ndim - 2
    padding, before = fold_pads(pads, dimensions)
    x = x if before is None else functional.pad(x, before)
    return _SPATIAL[dimensions](x, weight, bias, strides or [1] * dimensions, padding, dilations or [1] * dimensions,
                                group)


def conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET",
                   dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
                   output_padding: Sequence[int] | None = None, pads: Sequence[int] | None = None,
                   strides: Sequence[int] | None = None) -> Tensor:
    check_auto_pad(auto_pad, pads)
    dimensions = weight.ndim - 2
    padding, uneven = fold_pads(pads, dimensions)
    if uneven is not None:
        raise ValueError(f"Padding must be the same at both ends of a transposed convolution, not {list(pads or ())}")
    return _TRANSPOSED[dimensions](x, weight, bias, strides or [1] * dimensions, padding,
                                   output_padding or [0] * dimensions, group, dilations or [1] * dimensions)


def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,  # noqa: N803
         transB: int = 0) -> Tensor:  # noqa: N803
    product = (a.T if transA else a) @ (b.T if transB else b)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)


def batch_normalization(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *,
                        epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1,
                        training_mode: int = 0) -> Tensor:
    if training_mode or not spatial:
        raise ValueError("Batch normalization must be in inference mode and by channel, not "
                         f"training_mode={training_mode}, spatial={spatial}; export model.eval()")
    return functional.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def layer_normalization(x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1,
                        epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    return functional.layer_norm(x, x.shape[axis % x.ndim:], scale, bias, epsilon)


def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def max_pool(x: Tensor, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Sequence[int] | None = None,
             kernel_shape: Sequence[int], pads: Sequence[int] | None = None, storage_order: int = 0,
             strides: Sequence[int] | None = None) -> Tensor:
    check_auto_pad(auto_pad, pads)
    dimensions = len(kernel_shape)
    padding, before = fold_pads(pads, dimensions)
    x = x if before is None else functional.pad(x, before, value=-math.inf)
    return _MAX_POOL[dimensions](x, kernel_shape, strides or [1] * dimensions, padding, dilations or [1] * dimensions,
                                 ceil_mode=bool(ceil_mode))


def average_pool(x: Tensor, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
                 dilations: Sequence[int] | None = None, kernel_shape: Sequence[int],
                 pads: Sequence[int] | None = None, strides: Sequence[int] | None = None) -> Tensor:
    check_auto_pad(auto_pad, pads)
    dimensions = len(kernel_shape)
    padding, before = fold_pads(pads, dimensions)
    if before is not None and not count_include_pad:
        raise ValueError(f"Padding must be the same at both ends of an average that leaves it out, not {pads}")
    if dilations is not None and set(dilations) != {1}:
        raise ValueError(f"Dilations of an average must be 1, not {list(dilations)}")
    x = x if before is None else functional.pad(x, before)
    return _AVERAGE_POOL[dimensions](x, kernel_shape, strides or [1] * dimensions, padding, bool(ceil_mode),
                                     bool(count_include_pad))


def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def clip(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    low, high = (bound.item() if isinstance(bound, Tensor) else bound for bound in (min, max))
    return x if low is None and high is None else x.clamp(low, high)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return functional.gelu(x, approximate=approximate)


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return functional.leaky_relu(x, alpha)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.elu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def hard_swish(x: Tensor) -> Tensor:
    return x * hard_sigmoid(x, alpha=1 / 6)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.log_softmax(axis)


def softmax_flattened(x: Tensor, *, axis: int = 1) -> Tensor:
    """Softmax before version 13: over all dimensions from the axis on."""
    return x.flatten(axis).softmax(-1).reshape(x.shape)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(x: Tensor, shape: Integers, *, allowzero: int = 0) -> Tensor:
    sizes = integers(shape)
    return x.reshape([x.shape[place] if size == 0 and not allowzero else size for place, size in enumerate(sizes)])


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(*(perm or range(x.ndim - 1, -1, -1)))


def squeeze(x: Tensor, axes: Integers | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(integers(axes)))


def unsqueeze(x: Tensor, axes: Integers) -> Tensor:
    rank = x.ndim + len(integers(axes))
    for axis in sorted(axis % rank for axis in integers(axes)):
        x = x.unsqueeze(axis)
    return x


def concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def split(x: Tensor, split: Integers | None = None, *, axis: int = 0, num_outputs: int | None = None,
          outputs: int) -> tuple[Tensor, ...]:
    """``outputs``, how many the node has, stands in for what versions before 18 do not say."""
    sizes = -(-x.shape[axis] // (num_outputs or outputs)) if split is None else integers(split)
    return x.split(sizes, axis)


def slice_(x: Tensor, starts: Integers, ends: Integers, axes: Integers | None = None,
           steps: Integers | None = None) -> Tensor:
    first, last = integers(starts), integers(ends)
    along = list(range(len(first))) if axes is None else integers(axes)
    pace = [1] * len(first) if steps is None else integers(steps)
    for axis, start, end, step in zip(along, first, last, pace, strict=True):
        places = range(x.shape[axis])[slice(start, end if step > 0 or end >= -x.shape[axis] else None, step)]
        x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis, indices = axis % x.ndim, torch.as_tensor(indices, device=x.device)
    picked = x.index_select(axis, indices.flatten() % x.shape[axis])
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1:])


def expand(x: Tensor, shape: Integers) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(integers(shape))))


def pad(x: Tensor, pads: Integers, value: Tensor | float = 0.0, axes: Integers | None = None, *,
        mode: str = "constant") -> Tensor:
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in integers(axes)]
    ends = integers(pads)
    pairs = {axis: (ends[place], ends[place + len(along)]) for place, axis in enumerate(along)}
    first = min((axis for axis, pair in pairs.items() if pair != (0, 0)), default=x.ndim)
    flat = [size for axis in range(x.ndim - 1, first - 1, -1) for size in pairs.get(axis, (0, 0))]
    if mode == "constant":
        return functional.pad(x, flat, value=float(value))
    if mode not in ("reflect", "edge"):
        raise ValueError(f"Padding mode must be constant, reflect or edge, not {mode!r}")
    return functional.pad(x, flat, mode={"edge": "replicate"}.get(mode, mode))


def cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    if to not in _CASTS:
        raise ValueError(f"Cast must be to a type of {sorted(_CASTS)} in the standard's numbering, not {to}")
    return x.to(_CASTS[to])


def shape_of(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(tuple(x.shape)[start:end], dtype=torch.int64)


def identity(x: Tensor) -> Tensor:
    return x


def dropout(x: Tensor, ratio: float | Tensor = 0.5, training_mode: bool | Tensor = False, *, seed: int = 0) -> Tensor:
    if training_mode:
        raise ValueError("Dropout must be in inference mode, not training_mode=True; export model.eval()")
    return x


def divide(x: Tensor, y: Tensor) -> Tensor:
    """Divide, integers towards zero."""
    whole = not (x.dtype.is_floating_point or y.dtype.is_floating_point)
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


def maximum(*tensors: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, tensors)


def minimum(*tensors: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, tensors)


def reduce_max(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _reduced(torch.amax, x, axes, keepdims, noop_with_empty_axes)


def reduce_min(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _reduced(torch.amin, x, axes, keepdims, noop_with_empty_axes)


def reduce_mean(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _reduced(torch.mean, x, axes, keepdims, noop_with_empty_axes)


def reduce_sum(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _reduced(torch.sum, x, axes, keepdims, noop_with_empty_axes)


def _reduced(function: Callable[..., Tensor], x: Tensor, axes: Integers | None, keepdims: int, noop: int) -> Tensor:
    along = [] if axes is None else integers(axes)
    if not along and noop:
        return x
    return function(x, dim=tuple(along or range(x.ndim)), keepdim=bool(keepdims))


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "AveragePool": average_pool,
    "BatchNormalization": batch_normalization, "Cast": cast, "Clip": clip, "Concat": concat, "Conv": conv,
    "ConvTranspose": conv_transpose, "Div": divide, "Dropout": dropout, "Elu": elu, "Equal": torch.eq,
    "Erf": torch.erf, "Exp": torch.exp, "Expand": expand, "Flatten": flatten, "Floor": torch.floor, "Gather": gather,
    "Gelu": gelu, "Gemm": gemm, "GlobalAveragePool": global_average_pool, "GlobalMaxPool": global_max_pool,
    "Greater": torch.gt, "GreaterOrEqual": torch.ge, "HardSigmoid": hard_sigmoid, "HardSwish": hard_swish,
    "Identity": identity, "InstanceNormalization": instance_normalization, "LayerNormalization": layer_normalization,
    "LeakyRelu": leaky_relu, "Less": torch.lt, "LessOrEqual": torch.le, "Log": torch.log, "LogSoftmax": log_softmax,
    "MatMul": torch.matmul, "Max": maximum, "MaxPool": max_pool, "Min": minimum, "Mul": torch.mul, "Neg": torch.neg,
    "Not": torch.logical_not, "Or": torch.logical_or, "PRelu": prelu, "Pad": pad, "Pow": torch.pow,
    "Reciprocal": torch.reciprocal, "ReduceMax": reduce_max, "ReduceMean": reduce_mean, "ReduceMin": reduce_min,
    "ReduceSum": reduce_sum, "Relu": torch.relu, "Reshape": reshape, "Shape": shape_of, "Sigmoid": torch.sigmoid,
    "Slice": slice_, "Softmax": softmax, "Split": split, "Sqrt": torch.sqrt, "Squeeze": squeeze, "Sub": torch.sub,
    "Tanh": torch.tanh, "Transpose": transpose, "Unsqueeze": unsqueeze, "Where": torch.where,
}
