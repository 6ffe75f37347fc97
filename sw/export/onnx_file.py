"""Reading ONNX files: constants as tensors, attributes as plain values."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sw.export.files import required
from sw.formats import FixedPointFormat, FloatingPointFormat, parse

if TYPE_CHECKING:
    import onnx

LOWEST_OPSET = 9

# The types of codes, by the names of the standard. A tensor of one is read as the values of its codes.
CODE_FORMATS: dict[str, FixedPointFormat | FloatingPointFormat] = {
    **{f"{'' if signed else 'U'}INT{width}": FixedPointFormat(width=width, signed=signed)
       for width in (2, 4, 8, 16) for signed in (True, False)},
    "FLOAT8E4M3FN": parse("float8_e4m3fn"), "FLOAT8E4M3FNUZ": parse("float8_e4m3fnuz"),
    "FLOAT8E5M2": parse("float8_e5m2"), "FLOAT8E5M2FNUZ": parse("float8_e5m2fnuz"),
    "FLOAT4E2M1": parse("float4_e2m1fn"),
}


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant of a graph."""

    value: Tensor
    format: FixedPointFormat | FloatingPointFormat | None = None
    """Of codes: what they are codes of. ``value`` then holds the values, in float32."""


def read_onnx(path: str | os.PathLike[str]) -> "onnx.ModelProto":
    """Return the model of a file.

    Raises
    ------
    TypeError, FileNotFoundError
        If there is no such path or file.
    ValueError
        If the file holds no ONNX model, or one of an operator set before version 9.
    ModuleNotFoundError
        If onnx is not installed.
    """
    onnx = required("onnx", "to read ONNX files")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Path must be a string or a path, not {path!r}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"ONNX file must exist, not {os.fspath(path)!r}")
    try:
        proto = onnx.load(os.fspath(path))
    except Exception as error:  # protobuf's DecodeError is not always the same class
        raise ValueError(f"File must hold an ONNX model, not what {os.fspath(path)!r} does: {error}") from error
    if not proto.graph.node:
        raise ValueError(f"File must hold an ONNX model with nodes, not what {os.fspath(path)!r} does")
    version = opset_of(proto)
    if version < LOWEST_OPSET:
        raise ValueError(f"Operator set must be of version {LOWEST_OPSET} or later, not {version}; "
                         "see onnx.version_converter")
    return proto


def opset_of(proto: "onnx.ModelProto") -> int:
    """Return the version of the standard's operators that a model uses."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=LOWEST_OPSET)


def constant_of(tensor: "onnx.TensorProto") -> Constant:
    """Return an initializer as a torch tensor: codes as their values, other types as they are."""
    onnx = required("onnx", "to read ONNX files")
    array = onnx.numpy_helper.to_array(tensor)
    fmt = CODE_FORMATS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    if fmt is not None:
        return Constant(value=torch.from_numpy(np.array(array, dtype=np.float32)), format=fmt)
    if array.dtype.name == "bfloat16":
        return Constant(value=torch.from_numpy(np.array(array, dtype=np.float32)).to(torch.bfloat16))
    return Constant(value=torch.from_numpy(np.array(array)))


def module_name(node: "onnx.NodeProto") -> str:
    """Return the name of the module that a node was traced in, which torch's exporter notes; empty if it is not known.

    The note is a list of nested scopes, as Python writes it, the operation last: ``['', 'blocks.0.fc', 'linear']``.
    """
    notes = {entry.key: entry.value for entry in node.metadata_props}
    scopes = re.findall(r"'([\w.]*)'", notes.get("pkg.torch.onnx.name_scopes", ""))
    return scopes[-2] if len(scopes) > 1 else ""


def attributes_of(node: "onnx.NodeProto") -> dict[str, Any]:
    """Return the attributes of a node: numbers, lists of numbers, text, or constants."""
    onnx = required("onnx", "to read ONNX files")
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = constant_of(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = list(value)
        found[attribute.name] = value
    return found
