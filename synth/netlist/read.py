"""Yosys' JSON netlist (``write_json``) as a frozen :class:`Netlist`.

Source: Yosys manual, ``help write_json``. A connection bit is a net number (an ``int`` of at least 2) or one of the
constants ``"0"``, ``"1"``, ``"x"``, ``"z"``; buses list their least significant bit first.
"""

from __future__ import annotations

import enum
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.netlist.errors import NetlistError

Bit = int | str
CONSTANT_BITS = ("0", "1", "x", "z")


class Direction(enum.Enum):
    """Direction of a port of the top module, seen from inside."""

    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"


@dataclass(frozen=True)
class Port:
    """A port of the top module; ``bits`` has the least significant bit first."""

    name: str
    direction: Direction
    bits: tuple[Bit, ...]


@dataclass(frozen=True)
class Parameter:
    """A cell's parameter: a bit vector (``bits``, most significant first, of ``01xz``) or a string (``text``)."""

    bits: str | None = None
    text: str | None = None

    def __str__(self) -> str:
        if self.text is not None:
            return repr(self.text)
        assert self.bits is not None
        return f"{len(self.bits)}'b{self.bits}"


@dataclass(frozen=True)
class Cell:
    """An instance: its type, parameters and, per connected port, the bits (least significant first)."""

    name: str
    type: str
    parameters: Mapping[str, Parameter]
    connections: Mapping[str, tuple[Bit, ...]]


@dataclass(frozen=True)
class Netlist:
    """The top module of a flattened, technology-mapped design."""

    name: str
    ports: tuple[Port, ...]
    cells: tuple[Cell, ...]
    net_names: Mapping[int, str] = field(default_factory=dict)
    initial: Mapping[int, bool] = field(default_factory=dict)
    """Nets with an ``init`` attribute: where a flip-flop of Yosys' own, which has no parameter for it, starts."""

    def net_name(self, bit: Bit) -> str:
        """Return a name for messages: the design's own name of the net where it has one."""
        if isinstance(bit, str):
            return f"constant {bit}"
        return self.net_names.get(bit, f"#{bit}")


def read_netlist(source: str | os.PathLike[str] | Mapping[str, Any], top: str | None = None) -> Netlist:
    """Read the top module of a netlist that ``write_json`` wrote.

    Parameters
    ----------
    source : path, JSON text, or the parsed JSON object
        A ``str`` whose first character that is not blank is ``{`` is JSON text, any other is a path.
    top : str, optional
        Module to take; by default the one with attribute ``top``, or the only one that is not a black box.

    Raises
    ------
    NetlistError
        If the text is not such a netlist, the top module cannot be told, or the design is not flattened.
    OSError
        If the file cannot be read.
    """
    modules = _modules(_document(source))
    name = _choose_top(modules, top)
    module = modules[name]
    try:
        ports = tuple(_port(port, data) for port, data in module.get("ports", {}).items())
        cells = tuple(_cell(cell, data) for cell, data in module.get("cells", {}).items()
                      if data["type"] != "$scopeinfo")
        net_names = _net_names(module.get("netnames", {}))
        initial = _initial(module.get("netnames", {}))
    except (KeyError, TypeError, AttributeError) as error:
        raise NetlistError(f"Module {name!r} must be written by Yosys' write_json, not by another tool: "
                           f"{type(error).__name__} {error}") from error
    for cell in cells:
        inner = modules.get(cell.type)
        if inner is not None and not _is_library(inner):
            raise NetlistError(f"Design must be flattened, not hold cell {cell.name!r} of module {cell.type!r}; "
                               f"run `flatten` before write_json")
    return Netlist(name=name, ports=ports, cells=cells, net_names=net_names, initial=initial)


def _document(source: str | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str) and source.lstrip().startswith("{"):
        text, origin = source, "text"
    elif isinstance(source, str | os.PathLike):
        text, origin = Path(source).read_text(encoding="utf-8"), str(source)
    else:
        raise TypeError(f"Netlist source must be a path, JSON text or a mapping, not {source!r}")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise NetlistError(f"Netlist must be JSON, not {origin!r}: {error}") from error
    if not isinstance(document, dict):
        raise NetlistError(f"Netlist must be a JSON object, not {type(document).__name__}")
    return document


def _modules(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    modules = document.get("modules")
    if not isinstance(modules, Mapping) or not all(isinstance(module, Mapping) for module in modules.values()):
        raise NetlistError("Netlist must have an object 'modules', as Yosys' write_json makes it")
    return modules


def _is_set(module: Mapping[str, Any], attribute: str) -> bool:
    value = module.get("attributes", {}).get(attribute, 0)
    return bool(int(value, 2)) if isinstance(value, str) and value and set(value) <= {"0", "1"} else bool(value)


def _is_library(module: Mapping[str, Any]) -> bool:
    return any(_is_set(module, attribute) for attribute in ("blackbox", "whitebox", "lib_whitebox"))


def _choose_top(modules: Mapping[str, Mapping[str, Any]], top: str | None) -> str:
    if top is not None:
        if top not in modules:
            raise NetlistError(f"Top module must be one of {sorted(modules)}, not {top!r}")
        return top
    designs = [name for name, module in modules.items() if not _is_library(module)]
    marked = [name for name in designs if _is_set(modules[name], "top")]
    candidates = marked or designs
    if len(candidates) != 1:
        raise NetlistError(f"Netlist must have exactly one top module, not {sorted(candidates)}; name it with `top`")
    return candidates[0]


def _bits(bits: Any, where: str) -> tuple[Bit, ...]:
    for bit in bits:
        if isinstance(bit, bool) or not (isinstance(bit, int) or bit in CONSTANT_BITS):
            raise NetlistError(f"Bits of {where} must be net numbers or one of 0, 1, x, z, not {bit!r}")
    return tuple(bits)


def _port(name: str, data: Mapping[str, Any]) -> Port:
    try:
        direction = Direction(data["direction"])
    except ValueError as error:
        raise NetlistError(f"Direction of port {name!r} must be input, output or inout, "
                           f"not {data['direction']!r}") from error
    return Port(name=name, direction=direction, bits=_bits(data["bits"], f"port {name!r}"))


def _cell(name: str, data: Mapping[str, Any]) -> Cell:
    return Cell(
        name=name, type=data["type"],
        parameters={key: _parameter(value) for key, value in data.get("parameters", {}).items()},
        connections={port: _bits(bits, f"port {port} of cell {name!r}") for port, bits in data["connections"].items()})


def _parameter(value: Any) -> Parameter:
    """Tell a bit vector from a string: write_json adds a blank to a string that would read as a bit vector."""
    if isinstance(value, int):
        return Parameter(bits=format(value if value >= 0 else value & 0xFFFFFFFF, "032b"))
    if not isinstance(value, str):
        raise TypeError(f"parameter {value!r}")
    if re.fullmatch("[01xz]+", value):
        return Parameter(bits=value)
    if re.fullmatch("[01xz]* +", value):
        return Parameter(text=value[:-1])
    return Parameter(text=value)


def _net_names(data: Mapping[str, Any]) -> dict[int, str]:
    """Name each net; the design's own names win over the tool's, then the shorter one."""
    best: dict[int, tuple[bool, int, str]] = {}
    for name, net in data.items():
        hidden = bool(net.get("hide_name", 0))
        bits = net["bits"]
        for index, bit in enumerate(bits):
            if isinstance(bit, int):
                label = name if len(bits) == 1 else f"{name}[{index}]"
                rank = (hidden, len(label), label)
                if bit not in best or rank < best[bit]:
                    best[bit] = rank
    return {bit: rank[2] for bit, rank in best.items()}


def _initial(data: Mapping[str, Any]) -> dict[int, bool]:
    """Return the defined bits of the nets' ``init`` attributes, which are written most significant bit first."""
    initial: dict[int, bool] = {}
    for net in data.values():
        values = net.get("attributes", {}).get("init", "")
        for bit, value in zip(net["bits"], reversed(values), strict=False):
            if isinstance(bit, int) and value in "01":
                initial[bit] = value == "1"
    return initial
