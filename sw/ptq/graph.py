"""How the layers of a model feed one another, by symbolic tracing: the model itself stays as it is."""

import inspect
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, fx, nn

from sw.ptq.scaled_layer import LAYERS, NORMS
from sw.ptq.tensor_quantizer import TensorQuantizer

Leaves = tuple[type[nn.Module], ...]
"""Types of modules that are not looked into, beside those of torch.nn."""

_TORCH = Path(torch.__file__).parent


@dataclass(frozen=True, kw_only=True)
class TracedModel:
    """A model and the graph of its calls.

    Parameters
    ----------
    model : torch.nn.Module
    graph : torch.fx.Graph
        Calls to leaf modules by their names in the model, to functions, and to methods of tensors.
    constants : dict of tensors
        Those that a forward computed without its arguments, by the names that ``get_attr`` nodes read them under.
    """

    model: nn.Module
    graph: fx.Graph
    constants: dict[str, Tensor] = field(default_factory=dict)

    def module(self, node: fx.Node) -> nn.Module:
        """Return the module that a ``call_module`` node calls."""
        return self.model.get_submodule(node.target)

    def calls(self, name: str) -> int:
        """Return how often the module of this name is called."""
        return sum(node.op == "call_module" and node.target == name for node in self.graph.nodes)

    def attribute(self, node: fx.Node) -> Any:
        """Return the parameter, buffer or constant that a ``get_attr`` node reads."""
        if node.target in self.constants:
            return self.constants[node.target]
        parent, _, name = node.target.rpartition(".")
        return getattr(self.model.get_submodule(parent), name)

    def shared_parameters(self) -> set[int]:
        """Return the identities of the parameters that belong to more than one module, or that something else reads.

        They cannot be changed for the sake of one layer. A module that is called and is not known to be a layer or a
        normalization may do anything with its parameters.
        """
        owners = Counter(id(parameter) for module in self.model.modules() for parameter in module._parameters.values())
        shared = {identity for identity, count in owners.items() if count > 1}
        for node in self.graph.nodes:
            if node.op == "get_attr":
                shared.add(id(self.attribute(node)))
            elif node.op == "call_module" and type(module := self.module(node)) not in (*LAYERS, *NORMS):
                shared.update(id(parameter) for parameter in module.parameters())
        return shared


class _Tracer(fx.Tracer):
    """A tracer that knows in which module it is."""

    def __init__(self, leaves: Leaves) -> None:
        super().__init__()
        self._leaves = leaves
        self.inside: list[tuple[str, nn.Module]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...],
                    kwargs: dict[str, Any]) -> Any:
        # Not undone on an exception: what is left then is where it came from.
        self.inside.append((self.path_of_module(m), m))
        result = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return result


def check_model(model: nn.Module) -> None:
    """Raise TypeError unless ``model`` is a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"Model must be a torch.nn.Module, not {type(model).__name__!r}")


def check_float(model: nn.Module, purpose: str) -> None:
    """Raise unless ``model`` is a module none of whose layers is quantized.

    Raises
    ------
    TypeError, ValueError
        Scales that were computed from weights do not follow when these are scaled.
    """
    check_model(model)
    for name, module in model.named_modules():
        if isinstance(module, TensorQuantizer):
            raise ValueError(f"Model must be of float layers to be {purpose}, not prepared for quantization already "
                             f"as {name.rpartition('.')[0]!r} is; do it before prepare()")


def check_leaves(leaves: Leaves) -> None:
    """Raise TypeError unless ``leaves`` is a tuple of module types."""
    if not isinstance(leaves, tuple) or not all(isinstance(leaf, type) and issubclass(leaf, nn.Module)
                                                for leaf in leaves):
        raise TypeError(f"Leaves must be a tuple of types of modules, not {leaves!r}")


def trace(model: nn.Module, *, leaves: Leaves = ()) -> TracedModel:
    """Return the graph of a model's calls.

    The model is followed as it runs with its required arguments alone: those that have a default value keep it.
    Modules of torch.nn and of the types in ``leaves`` (and derived from these) are not looked into.

    Raises
    ------
    TypeError
        If the model is no module, or the leaves no types of modules.
    ValueError
        If the model's path depends on its data or is otherwise beyond symbolic tracing. The message names the innermost
        module that was entered, its type and the line.

    Source: Reed et al. 2022, torch.fx: Practical Program Capture and Transformation (arXiv 2112.08429).
    """
    check_model(model)
    check_leaves(leaves)
    tracer = _Tracer(leaves)
    defaults = {name: parameter.default for name, parameter in inspect.signature(model.forward).parameters.items()
                if parameter.default is not inspect.Parameter.empty}
    try:
        with _attributes_kept(model), warnings.catch_warnings():
            # The tracer warns that it cannot guard defaults of some types; the graph is read here, and never run.
            warnings.simplefilter("ignore")
            before = set(vars(model))
            graph = tracer.trace(model, concrete_args=defaults)
            # The tracer leaves constants in the model as attributes, which do not stay there.
            constants = {name: value for name, value in vars(model).items()
                         if name not in before and isinstance(value, Tensor)}
    except Exception as error:
        where = (f"layer {tracer.inside[-1][0]!r} of type {type(tracer.inside[-1][1]).__name__}" if tracer.inside
                 else f"its own forward, of type {type(model).__name__}")
        raise ValueError(
            f"Model must be traceable by torch.fx, not stopped in {where}{_line(error.__traceback__)} by "
            f"{type(error).__name__}: {error}; name the type of a module that holds this line in leaves=, or leave "
            "merging and equalization out: SmoothQuant(folded=False) needs no graph") from error
    return TracedModel(model=model, graph=graph, constants=constants)


@contextmanager
def _attributes_kept(model: nn.Module) -> Iterator[None]:
    """Have the attributes that a forward sets be as they were afterwards, not symbols of the trace."""
    before = {module: dict(vars(module)) for module in model.modules()}
    try:
        yield
    finally:
        for module, attributes in before.items():
            vars(module).clear()
            vars(module).update(attributes)


def _line(trace_back: TracebackType | None) -> str:
    """Return the last line outside torch that was running, as text."""
    lines = [frame for frame in traceback.extract_tb(trace_back)
             if _TORCH not in Path(frame.filename).parents and frame.filename != __file__]
    return f", line {lines[-1].lineno} of {Path(lines[-1].filename).name}" if lines else ""
