"""A netlist with one fault planted, or with many that an extra input chooses from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from synth.mutate.cells import (
    FlipFlopPins,
    Json,
    Pin,
    bit_at,
    flip_flop_of,
    parameter_bits,
    pins_of,
    tables_of,
    with_bits,
)
from synth.mutate.faults import Fault, FaultKind

CHOICE = "mutant"
"""The input port of :func:`choosable` that says which fault acts."""

ACTIVE = "active"
"""The output port of :func:`watched` that shows where a fault would act."""

_CONSTANTS = {FaultKind.STUCK_AT_0: "0", FaultKind.STUCK_AT_1: "1", FaultKind.CARRY_AT_0: "0",
              FaultKind.CARRY_AT_1: "1"}

Bit = int | str


class _Nets:
    """Gives nets that a module does not have yet."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        bits = itertools.chain(
            (bit for port in module["ports"].values() for bit in port["bits"]),
            (bit for cell in module["cells"].values() for bits in cell["connections"].values() for bit in bits))
        self._next = itertools.count(max((bit for bit in bits if isinstance(bit, int)), default=1) + 1)

    def __call__(self) -> int:
        return next(self._next)


def top_module(document: Mapping[str, Any]) -> tuple[str, Json]:
    """Return the name and the content of a mapped design's one module.

    Raises
    ------
    ValueError
        If it has several.
    """
    modules = document["modules"]
    if len(modules) != 1:
        raise ValueError(f"Mapped design must have one module, not {sorted(modules)}")
    [(name, module)] = modules.items()
    return name, module


def plant(document: Mapping[str, Any], fault: Fault) -> Json:
    """Return a mapped design with one fault in it, as Yosys' JSON."""
    name, module = top_module(document)
    cells = dict(module["cells"])
    cells.update(_faulty(fault, cells.pop(fault.cell), _Nets(module)))
    return {**document, "modules": {name: {**module, "cells": cells}}}


def _require_free(module: Json, port: str, purpose: str) -> None:
    """Refuse a design that has the port which a changed one is given."""
    if port in module["ports"]:
        raise ValueError(f"Mapped design must have no port {port!r}, which {purpose}")


def choosable(document: Mapping[str, Any], faults: Sequence[Fault]) -> Json:
    """Return a mapped design with many faults in it, of which fault *k* acts where bit *k* of an input is 1.

    The input is the port :data:`CHOICE`; at most one of its bits may be 1. Each faulty cell stands beside the sound
    one, with state of its own, and multiplexers choose whose outputs the rest of the design sees: so with bit *k* the
    design does, from the start on, what it does with fault *k* planted.

    Raises
    ------
    ValueError
        If the design has such a port.
    """
    name, module = top_module(document)
    _require_free(module, CHOICE, "chooses the fault")
    cells, new_net = dict(module["cells"]), _Nets(module)
    choice = [new_net() for _ in faults]
    places: dict[str, list[int]] = {}
    for index, fault in enumerate(faults):
        places.setdefault(fault.cell, []).append(index)
    for cell, indices in places.items():
        sound = cells.pop(cell)
        outputs = driven_nets(sound)
        chosen = {net: new_net() for net in outputs}
        cells[cell] = _with_outputs(sound, chosen)
        for last, index in zip((*[False] * (len(indices) - 1), True), indices, strict=True):
            driven = {net: new_net() for net in outputs}
            for part, faulty in _faulty(faults[index], sound, new_net).items():
                cells[f"{part}${CHOICE}{index}"] = _with_outputs(faulty, driven)
            following = {net: net if last else new_net() for net in outputs}
            for place, net in enumerate(outputs):
                cells[f"{cell}${CHOICE}{index}${place}"] = gate(
                    "$_MUX_", A=chosen[net], B=driven[net], S=choice[index], Y=following[net])
            chosen = following
    ports = {**module["ports"], CHOICE: {"direction": "input", "bits": choice}}
    return {**document, "modules": {name: {**module, "ports": ports, "cells": cells}}}


def watched(document: Mapping[str, Any], faults: Sequence[Fault], clocks: Sequence[tuple[str, int]]) -> Json:
    """Return a mapped design that does what it did, and shows where faults would change that.

    Each faulty cell stands beside the sound one, with a copy of the logic that follows it. A bit of the output port
    :data:`ACTIVE` is 1 where that makes a difference to an output of the design or to what a register or memory is
    given, or where the faulty cell is itself a register, to its output. As long as it has been 0, the design with that
    fault planted has done the same.

    Parameters
    ----------
    clocks : sequence of (port, index)
        Bits of input ports that are clocks: what has a pin there remembers.

    Raises
    ------
    ValueError
        If the design has such a port.
    """
    name, module = top_module(document)
    _require_free(module, ACTIVE, "shows where faults act")
    cells, new_net = dict(module["cells"]), _Nets(module)
    following = _Following(module, clocks)
    active: list[Bit] = []
    for number, fault in enumerate(faults):
        tag, sound = f"${ACTIVE}{number}", module["cells"][fault.cell]
        changed: dict[Bit, Bit] = {net: new_net() for net in driven_nets(sound)}
        cells.update((part + tag, _with_outputs(faulty, changed))
                     for part, faulty in _faulty(fault, sound, new_net).items())
        logic, ends = following.of(fault.cell)
        changed.update((net, new_net()) for cell in logic for net in driven_nets(module["cells"][cell]))
        cells.update((cell + tag, _on_nets(module["cells"][cell], changed)) for cell in logic)
        some: Bit = "0"
        for place, net in enumerate(ends):
            differs, either = new_net(), new_net()
            cells[f"{fault.cell}{tag}$differs{place}"] = gate("$_XOR_", A=net, B=changed[net], Y=differs)
            cells[f"{fault.cell}{tag}$either{place}"] = gate("$_OR_", A=some, B=differs, Y=either)
            some = either
        active.append(some)
    ports = {**module["ports"], ACTIVE: {"direction": "output", "bits": active}}
    return {**document, "modules": {name: {**module, "ports": ports, "cells": cells}}}


def excited(document: Mapping[str, Any], fault: Fault, clocks: Sequence[tuple[str, int]] = (), depth: int = 0
            ) -> Json:
    """Return a mapped design of which the one output, :data:`ACTIVE`, is 1 while a faulty cell makes a difference.

    To what it gives itself, or, with a ``depth``, to anything that so many cells behind it give to others. What the
    sound cells make of their inputs and registers decides it; none of what follows plays a part.

    Parameters
    ----------
    clocks : sequence of (port, index)
        As for :func:`watched`.
    depth : int
        Cells that follow the faulty one, up to those that remember.
    """
    name, module = top_module(document)
    cells, new_net = dict(module["cells"]), _Nets(module)
    sound = cells[fault.cell]
    logic, ends = _Following(module, clocks).near(fault.cell, depth)
    changed: dict[Bit, Bit] = {net: new_net() for near in (fault.cell, *logic) for net in driven_nets(cells[near])}
    cells.update((f"{part}${ACTIVE}", _with_outputs(faulty, changed))
                 for part, faulty in _faulty(fault, sound, new_net).items())
    cells.update((f"{near}${ACTIVE}", _on_nets(cells[near], changed)) for near in logic)
    some: Bit = "0"
    for place, net in enumerate(ends):
        differs, either = new_net(), new_net()
        cells[f"{fault.cell}${ACTIVE}$differs{place}"] = gate("$_XOR_", A=net, B=changed[net], Y=differs)
        cells[f"{fault.cell}${ACTIVE}$either{place}"] = gate("$_OR_", A=some, B=differs, Y=either)
        some = either
    ports = {port: pins for port, pins in module["ports"].items() if pins["direction"] == "input"}
    ports[ACTIVE] = {"direction": "output", "bits": [some]}
    return {**document, "modules": {name: {**module, "ports": ports, "cells": cells}}}


class _Following:
    """What follows a cell: logic, up to outputs and to cells that remember."""

    def __init__(self, module: Mapping[str, Any], clocks: Sequence[tuple[str, int]]) -> None:
        self._cells = module["cells"]
        clock_nets = {module["ports"][port]["bits"][index] for port, index in clocks}
        self._ends = {bit for port in module["ports"].values() if port["direction"] != "input" for bit in port["bits"]}
        self._readers: dict[Bit, list[str]] = {}
        self._remembering: set[str] = set()
        for name, cell in self._cells.items():
            nets = {bit_at(cell, pin) for pin in pins_of(cell, "input")}
            if nets & clock_nets:
                self._remembering.add(name)
                self._ends |= nets
            else:
                for net in nets:
                    self._readers.setdefault(net, []).append(name)

    def near(self, cell: str, depth: int) -> tuple[list[str], list[int]]:
        """Return the cells up to so many behind one, and the nets of all of them that anything else is given."""
        near, last = dict.fromkeys([cell]), [cell]
        for _ in range(depth):
            last = [reader for one in last for net in driven_nets(self._cells[one])
                    for reader in self._readers.get(net, ()) if reader not in near]
            near.update(dict.fromkeys(last))
        ends = [net for one in near for net in driven_nets(self._cells[one])
                if net in self._ends or not depth or any(reader not in near for reader in self._readers.get(net, ()))]
        return [one for one in near if one != cell], ends

    def of(self, cell: str) -> tuple[list[str], list[int]]:
        """Return the cells of that logic, and the nets at its ends."""
        if cell in self._remembering:
            return [], driven_nets(self._cells[cell])
        logic: dict[str, None] = {}
        ends: list[int] = []
        pending = driven_nets(self._cells[cell])
        while pending:
            net = pending.pop()
            if net in self._ends:
                ends.append(net)
            for reader in self._readers.get(net, ()):
                if reader not in logic:
                    logic[reader] = None
                    pending += driven_nets(self._cells[reader])
        return list(logic), ends


def driven_nets(cell: Json) -> list[int]:
    """Return the nets that a cell drives."""
    return [net for pin in pins_of(cell, "output") if isinstance(net := bit_at(cell, pin), int)]


def gate(kind: str, **connections: Bit) -> Json:
    """Return one of Yosys' own gates, which every family's netlist may have."""
    return {"type": kind, "parameters": {}, "connections": {port: [bit] for port, bit in connections.items()},
            "port_directions": {port: "output" if port == "Y" else "input" for port in connections}}


def _with_outputs(cell: Json, nets: Mapping[Any, Bit]) -> Json:
    """Return a cell that drives other nets."""
    return {**cell, "connections": {
        port: [nets.get(bit, bit) for bit in bits] if cell["port_directions"].get(port) == "output" else bits
        for port, bits in cell["connections"].items()}}


def _on_nets(cell: Json, nets: Mapping[Any, Bit]) -> Json:
    """Return a cell with other nets in place of some."""
    return {**cell, "connections": {port: [nets.get(bit, bit) for bit in bits]
                                    for port, bits in cell["connections"].items()}}


def _connected(cell: Json, *changes: tuple[Pin, Bit]) -> Json:
    """Return a cell with pins on other nets or constants."""
    connections = {port: list(bits) for port, bits in cell["connections"].items()}
    for (port, index), bit in changes:
        connections[port][index] = bit
    return {**cell, "connections": connections}


def _faulty(fault: Fault, cell: Json, new_net: Callable[[], int]) -> dict[str, Json]:
    """Return what stands in for a sound cell: it drives the same nets."""
    return dict(_parts(fault, cell, new_net))


def _parts(fault: Fault, cell: Json, new_net: Callable[[], int]) -> Iterator[tuple[str, Json]]:
    name, kind = fault.cell, fault.kind
    sources = [cell["connections"][port][index] for port, index in fault.pins]
    if kind is FaultKind.TABLE_BIT:
        size = next(table.size for table in tables_of(cell) if table.parameter == fault.parameter)
        value = cell["parameters"][fault.parameter]
        inverted = with_bits(value, parameter_bits(value, size) ^ fault.bits, size)
        yield name, {**cell, "parameters": {**cell["parameters"], fault.parameter: inverted}}
    elif kind is FaultKind.SWAPPED_INPUTS:
        yield name, _connected(cell, *zip(fault.pins, reversed(sources), strict=True))
    elif kind is FaultKind.INVERTED_INPUT:
        inverse = new_net()
        yield f"{name}$not", gate("$_NOT_", A=sources[0], Y=inverse)
        yield name, _connected(cell, (fault.pins[0], inverse))
    elif kind in (FaultKind.STUCK_AT_0, FaultKind.STUCK_AT_1):
        yield f"{name}$stuck", gate("$_BUF_", A=_CONSTANTS[kind], Y=sources[0])
        yield name, _connected(cell, (fault.pins[0], new_net()))
    elif kind in (FaultKind.CARRY_AT_0, FaultKind.CARRY_AT_1):
        yield name, _connected(cell, (fault.pins[0], _CONSTANTS[kind]))
    else:
        flip_flop = flip_flop_of(cell)
        assert flip_flop is not None  # the population has these faults of flip-flops alone
        if kind is FaultKind.INITIAL_VALUE:
            yield from _other_start(name, cell, flip_flop, new_net)
        else:
            level = flip_flop.enable_level if kind is FaultKind.ENABLE_DROPPED else 1 - flip_flop.reset_level
            yield name, _connected(cell, (fault.pins[0], str(level)))


def _other_start(name: str, cell: Json, flip_flop: FlipFlopPins, new_net: Callable[[], int]
                 ) -> Iterator[tuple[str, Json]]:
    """Return a flip-flop that starts at the other value."""
    other = flip_flop.other_start
    connections, directions = dict(cell["connections"]), dict(cell["port_directions"])
    for old, new in other.renamed:
        connections[new], directions[new] = connections.pop(old), directions.pop(old)
    for port, value in other.tied:
        connections[port], directions[port] = [value], "input"
    if other.inverters:
        data, output = new_net(), new_net()
        yield f"{name}$data", gate("$_NOT_", A=connections[flip_flop.data][0], Y=data)
        yield f"{name}$output", gate("$_NOT_", A=output, Y=connections[flip_flop.output][0])
        connections[flip_flop.data], connections[flip_flop.output] = [data], [output]
    yield name, {**cell, "type": other.type or cell["type"], "connections": connections,
                 "parameters": {**cell["parameters"], **dict(other.parameters)}, "port_directions": directions}
