"""A quantized model as an ONNX graph in which each quantizer is a placeholder, for the exporters to replace."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sw.export.files import check_module, required
from sw.export.scaled_quantizer import ScaledQuantizer
from sw.export.scales import compact
from sw.formats import BlockFormat
from sw.ptq.config import Granularity, ScaleStatistic
from sw.ptq.scale_search import percentile_rank, scale_target
from sw.ptq.tensor_quantizer import TensorQuantizer

if TYPE_CHECKING:
    import onnx

PLACEHOLDER_DOMAIN = "narrowgauge"

PLACEHOLDER = "Quantize"
"""Inputs: a tensor and, if the scale follows the input, the scale. Attribute ``quantizer``: its name in the model."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A model as a graph with placeholders."""

    proto: "onnx.ModelProto"
    quantizers: dict[str, TensorQuantizer]
    """By the names that the placeholders have."""
    inputs: dict[str, Tensor]
    """What each quantizer was given in a run on the example inputs: for weights, the weights."""

    def is_constant(self, value: str) -> bool:
        """Whether a value of the graph is a constant."""
        return any(tensor.name == value for tensor in self.proto.graph.initializer)

    def scale(self, name: str) -> Tensor:
        """Return the scales of a quantizer that has them, in a shape that broadcasts to that of its input, float32."""
        quantizer = self.quantizers[name]
        return compact(quantizer.expanded_scale(self.inputs[name]).to(torch.float32))

def quantizers_of(model: nn.Module) -> list[TensorQuantizer]:
    """Return the quantizers that are on.

    Raises
    ------
    TypeError
        If ``model`` is no module.
    ValueError
        If there are none, one has no scales yet, or there are quantizers of an imported graph beside them.
    """
    check_module(model)
    for name, module in model.named_modules():
        if isinstance(module, ScaledQuantizer):
            raise ValueError("Model must be quantized in its layers alone to be exported, not by the ScaledQuantizer "
                             f"{name!r}, which a file had; keep that file")
    found = [module for module in model.modules() if isinstance(module, TensorQuantizer) and module.enabled]
    if not found:
        raise ValueError("Model must have quantized layers to be exported, not none; see sw.ptq.quantize_")
    for quantizer in found:
        if quantizer.observing or not quantizer.is_calibrated:
            raise ValueError(f"Model must be calibrated to be exported, not with {quantizer.label} still observing; "
                             "see sw.ptq.calibrate")
    return found


def checked_examples(example_inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs of a model as a tuple.

    Raises
    ------
    TypeError, ValueError
        If they are not tensors, or there is none.
    """
    if not isinstance(example_inputs, (Tensor, Sequence)):
        raise TypeError(f"Example inputs must be tensors, not {type(example_inputs).__name__!r}")
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    for tensor in inputs:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"Example inputs must be tensors, not {type(tensor).__name__!r}")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise TypeError(f"Example inputs must be of torch.float32, which the graph computes in, not {tensor.dtype}")
    if not inputs:
        raise ValueError("Example inputs must be at least one tensor, not ()")
    return inputs


def trace(model: nn.Module, example_inputs: Tensor | Sequence[Tensor], *, opset: int, dynamic_batch: bool) -> Traced:
    """Return a quantized model, in evaluation mode, as a graph.

    Parameters
    ----------
    model : nn.Module
        Quantized and calibrated, in float32. It is left as it is.
    example_inputs : tensor or sequence of tensors
        What its forward takes.
    opset : int
        Version of the standard's operators.
    dynamic_batch : bool
        Whether the first dimension of all inputs may vary, together.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, a quantizer has no scales, or its scales cannot be computed in a graph.
    ModuleNotFoundError
        If a package is missing, or too old.
    """
    quantizers_of(model)
    inputs = checked_examples(example_inputs)
    _check_packages()
    if dynamic_batch and not all(tensor.ndim for tensor in inputs):
        raise ValueError("Example inputs must each have a first dimension for it to vary, not be of shape (); "
                         "dynamic_batch=False asks for less")
    if dynamic_batch:  # a batch of one is taken for a constant
        inputs = tuple(torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor for tensor in inputs)
    model = copy.deepcopy(model).eval()
    _check_dtypes(model)
    seen, outputs = _run(model, inputs)
    quantizers = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, TensorQuantizer):
            if module.enabled and name in seen:
                quantizers[name] = module
            _replace(model, name, _placeholder(name, module, seen.get(name), dynamic_batch))
    proto = _exported(model, inputs, len(outputs), opset, dynamic_batch)
    return Traced(proto=proto, quantizers=quantizers, inputs=seen)


def _check_packages() -> None:
    required("onnx", "to write ONNX files")
    required("onnxscript", "for torch to write ONNX files")
    if not hasattr(torch.onnx, "ops") or not hasattr(torch.onnx.ops, "symbolic"):
        raise ModuleNotFoundError("torch must be of version 2.8 or later to write ONNX files, not "
                                  f"{torch.__version__}; pip install --upgrade torch", name="torch")


def _check_dtypes(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise TypeError(f"Parameter {name!r} must be of torch.float32, which the graph computes in, "
                            f"not {parameter.dtype}; see model.float()")


def _run(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Return what each quantizer is given, and what the model returns."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, TensorQuantizer):
            hooks.append(module.register_forward_pre_hook(
                lambda _, args, name=name: seen.setdefault(name, args[0].detach())))
    with torch.no_grad():
        outputs = model(*inputs)
    for hook in hooks:
        hook.remove()
    return seen, (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


class _Placeholder(nn.Module):
    """Stands for a quantizer while a graph is made of the model."""

    def __init__(self, name: str, quantizer: TensorQuantizer) -> None:
        super().__init__()
        self._name = name
        self._dynamic = quantizer.dynamic
        self._signed = quantizer.element_format.signed
        self._target = float(scale_target(quantizer.element_format))
        self._config = quantizer.config
        self._axis = quantizer.axis

    def forward(self, x: Tensor) -> Tensor:
        if not self._dynamic:
            return self._node(x)
        match self._config.granularity:
            case Granularity.TENSOR:
                return self._node(x, self._scale(self._magnitudes(x).reshape(-1).amax(dim=0)))
            case Granularity.TOKEN:
                return self._node(x, self._scale(self._magnitudes(x).amax(tuple(range(self._axis, 0)), keepdim=True)))
            case _:
                # (..., groups, size, ...) and back
                axis, groups = self._axis % x.ndim, x.unflatten(self._axis, (-1, self._config.group_size))
                scale = self._scale(self._magnitudes(groups).amax(axis + 1, keepdim=True))
                return self._node(groups, scale).flatten(axis, axis + 1)

    def _node(self, *inputs: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(f"{PLACEHOLDER_DOMAIN}::{PLACEHOLDER}", inputs, {"quantizer": self._name},
                                       dtype=inputs[0].dtype, shape=inputs[0].shape, version=1)

    def _magnitudes(self, x: Tensor) -> Tensor:
        return x.abs() if self._signed else x.relu()

    def _scale(self, largest: Tensor) -> Tensor:
        """What ``TensorQuantizer`` computes from the largest magnitudes, in operators that ONNX has."""
        # A quotient that vanishes would divide by zero later.
        scale = (largest / self._target).clamp(min=torch.finfo(largest.dtype).tiny)
        return torch.where(largest == 0, 1.0, scale)


def _placeholder(name: str, quantizer: TensorQuantizer, x: Tensor | None, dynamic_batch: bool) -> nn.Module:
    if not quantizer.enabled or x is None:
        return nn.Identity()
    if quantizer.dynamic:
        _check_dynamic(quantizer, x, dynamic_batch)
    return _Placeholder(name, quantizer)


def _check_dynamic(quantizer: TensorQuantizer, x: Tensor, dynamic_batch: bool) -> None:
    """Refuse scales that follow the input in a way that a graph does not."""
    mend = "quantize with static scales, dynamically by the largest magnitude, or save with save_safetensors"
    if isinstance(quantizer.format, BlockFormat):
        raise ValueError(f"Format of the {quantizer.label} must be scalar in an ONNX graph, where scales of blocks do "
                         f"not follow the input, not {quantizer.format.name}; {mend}")
    config = quantizer.config
    rule, granularity = config.scale, config.granularity
    count = {Granularity.TENSOR: x.numel(), Granularity.TOKEN: x.shape[quantizer.axis:].numel(),
             Granularity.GROUP: config.group_size}[granularity]
    exact = rule.statistic is ScaleStatistic.ABSMAX
    if rule.statistic is ScaleStatistic.PERCENTILE and not (dynamic_batch and granularity is Granularity.TENSOR):
        exact = percentile_rank(rule.percentile, count) == count  # the percentile of so few is the largest
    if not exact or rule.power_of_two:
        powers = ", rounded to a power of two" if rule.power_of_two else ""
        raise ValueError(f"Dynamic scales of the {quantizer.label} must be by the largest magnitude in an ONNX graph, "
                         f"not by {rule.statistic.value} of {count} elements{powers}; {mend}")


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep what packages log below errors to themselves: it is about their own parts."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _exported(model: nn.Module, inputs: tuple[Tensor, ...], outputs: int, opset: int,
              dynamic_batch: bool) -> "onnx.ModelProto":
    batch = torch.export.Dim("batch")
    names = {"input_names": ["input"]} if len(inputs) == 1 else {}
    names |= {"output_names": ["output"]} if outputs == 1 else {}
    with warnings.catch_warnings(), torch.no_grad(), _quiet("torch.onnx", "onnxscript"):
        # Of torch about itself; which ones there are changes with its version.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            program = torch.onnx.export(model, inputs, dynamo=True, verbose=False, opset_version=opset,
                                        dynamic_shapes=tuple({0: batch} for _ in inputs) if dynamic_batch else None,
                                        **names)
        except torch.onnx.errors.OnnxExporterError as error:
            cause = error.__cause__ or error
            line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
            raise ValueError("Model must be one that torch.onnx.export can trace, not one that stops it with "
                             f"{type(cause).__name__}: {line}" + ("; dynamic_batch=False asks for less"
                                                                  if dynamic_batch else "")) from error
    proto = program.model_proto
    for node in proto.graph.node:  # where the model's code stood when it was traced is nobody's business
        del node.metadata_props[:]
        node.doc_string = ""
    for value in proto.graph.value_info:
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    return proto
