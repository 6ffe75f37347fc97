"""Writing a graph: nodes that take the place of placeholders, the constants that they need, and the file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sw.export.bits import pack_codes
from sw.export.files import required
from sw.export.trace import PLACEHOLDER_DOMAIN, Traced
from sw.files import write_whole

if TYPE_CHECKING:
    import onnx

# Types whose elements share bytes.
_NARROW_TYPES = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


class Writer:
    """Gathers the nodes and constants that replace one placeholder.

    Parameters
    ----------
    name : str
        Of the quantizer: what is added is named after it.
    """

    def __init__(self, name: str) -> None:
        self._onnx = required("onnx", "to write ONNX files")
        self._name = name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, *, domain: str = "",
             attributes: Mapping[str, Any] | None = None) -> str:
        """Add a node, and return the name of its output."""
        output = f"{self._name}.{operator}" if output is None else output
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [output], domain=domain,
                                                      name=f"{self._name}.{operator}", **(attributes or {})))
        return output

    def constant(self, part: str, value: float | Tensor) -> str:
        """Add a constant in float32, and return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.array(value)
        return self._add(self._onnx.numpy_helper.from_array(array.astype(np.float32), f"{self._name}.{part}"))

    def integers(self, part: str, value: int | Sequence[int], type_name: str = "INT64") -> str:
        """Add a constant of integers, and return its name."""
        array = np.array(value)
        kind = getattr(self._onnx.TensorProto, type_name)
        return self._add(self._onnx.helper.make_tensor(f"{self._name}.{part}", kind, array.shape, array.flatten()))

    def codes(self, part: str, codes: Tensor, type_name: str, width: int) -> str:
        """Add a constant of codes, given as their bits, and return its name.

        Codes of a whole number of bytes are so in the type as well; of narrower ones the standard packs as
        ``pack_codes`` does.
        """
        kind = getattr(self._onnx.TensorProto, type_name)
        raw = pack_codes(codes, width).numpy().tobytes()
        return self._add(self._onnx.TensorProto(name=f"{self._name}.{part}", data_type=kind, dims=tuple(codes.shape),
                                                raw_data=raw))

    def _add(self, tensor: Any) -> str:
        self.constants.append(tensor)
        return tensor.name


def replaced(traced: Traced, build: Callable[[Writer, str, list[str], str], None]) -> "onnx.ModelProto":
    """Return the graph with every placeholder replaced, and without what only it used.

    ``build(writer, name, inputs, output)`` adds the nodes for the quantizer of this name.
    """
    graph = traced.proto.graph
    nodes, constants = [], list(graph.initializer)
    uses: Counter[str] = Counter()
    for node in graph.node:
        if node.domain != PLACEHOLDER_DOMAIN:
            nodes.append(node)
            continue
        name = node.attribute[0].s.decode()
        uses[name] += 1
        writer = Writer(name if uses[name] == 1 else f"{name}.{uses[name]}")  # a layer may run more than once
        build(writer, name, list(node.input), node.output[0])
        nodes += writer.nodes
        constants += writer.constants
    nodes = _used(nodes, {value.name for value in graph.output})
    taken = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    made = {name for node in nodes for name in node.output}
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(constant for constant in constants if constant.name in taken)
    kept = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    domains = [entry for entry in traced.proto.opset_import if entry.domain != PLACEHOLDER_DOMAIN]
    del traced.proto.opset_import[:]
    traced.proto.opset_import.extend(domains)
    traced.proto.producer_name, traced.proto.producer_version = "narrowgauge", ""
    return traced.proto


def _used(nodes: list[Any], wanted: set[str]) -> list[Any]:
    """Return the nodes that lead to these values."""
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def save_proto(proto: "onnx.ModelProto", path: Path) -> None:
    """Check a model by onnx's own rules and write it, whole or not at all."""
    onnx = required("onnx", "to write ONNX files")
    onnx.checker.check_model(proto)
    write_whole(path, proto.SerializeToString())
