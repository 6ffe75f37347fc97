"""What is known of the registers of a circuit that runs from power-up on, for comparing netlists where it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from synth.errors import ToolMissing
from synth.mutate.cells import Json, bit_at, flip_flop_of
from synth.mutate.pair import names_of
from synth.mutate.plant import gate, top_module
from synth.netlist import NetlistError, Program, compile_netlist, read_netlist
from synth.netlist.program import PortRegisters

REACHABLE_SECONDS = 300.0
"""How long it may take to find what registers never hold: once for all faults of a netlist."""

_SHARED, _OTHERS, _CONTROL = "x", "others", "control$"


@dataclass(frozen=True, kw_only=True)
class Reachable:
    """The states that a circuit may come to.

    Parameters
    ----------
    program : Program
        See :func:`synth.prove.following`: its first input are the registers.
    names : tuple of str
        What each of the registers is: see :func:`synth.mutate.pair.names_of`.
    """

    program: Program
    names: tuple[str, ...]

    def given(self, names: Sequence[str]) -> Program:
        """Return the same as a program of the input port of a pair whose bits are these, and of what it has not."""
        registers, *before = self.program.inputs
        stored = dict(zip(self.names, registers.registers, strict=True))
        unused = range(self.program.register_count, self.program.register_count + len(names))
        shared = tuple(stored.get(name, spare) for name, spare in zip(names, unused, strict=True))
        others = tuple(register for register in registers.registers if register not in shared)
        return replace(self.program, register_count=self.program.register_count + len(names), inputs=(
            PortRegisters(_SHARED, shared), PortRegisters(_OTHERS, others), *before))


def reachable_states(document: Mapping[str, Any], *, timeout: float = REACHABLE_SECONDS) -> Reachable | None:
    """Return what is found out of the states that a sound netlist comes to; None where nothing is.

    Parameters
    ----------
    document : mapping
        The netlist, as Yosys' JSON.
    timeout : float, seconds
    """
    shown, controls = _with_controls(document)
    program = compile_netlist(read_netlist(shown))
    every = names_of(program)
    names = tuple(every[bit.stored] for bit in program.state)
    if max(Counter(names).values(), default=2) > 1:  # a cell of several registers: which is which is not known
        return None
    try:
        from synth.prove import Held, exclusions, following

        found = exclusions(program, timeout=timeout)
    except (ToolMissing, NetlistError):
        return None
    places = {bit.cell: index for index, bit in enumerate(program.state)}
    outputs = {port.name: port.registers[0] for port in program.outputs}
    groups = [Held(tuple(places[f"cell {cell!r} ({type_})"] for cell, type_ in cells), outputs[control])
              for control, cells in controls.items()]
    return Reachable(program=following(program, found, groups), names=names)


def _with_controls(document: Mapping[str, Any]) -> tuple[Json, dict[str, list[tuple[str, str]]]]:
    """Return a mapped design that shows, for flip-flops that only change together, when they may: an output for each
    such group of cells."""
    name, module = top_module(document)
    cells, ports = dict(module["cells"]), dict(module["ports"])
    last = max((bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits
                if isinstance(bit, int)), default=1)
    groups: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    for cell_name, cell in module["cells"].items():
        pins = flip_flop_of(cell)
        if pins is not None and pins.enable is not None and isinstance(bit_at(cell, (pins.enable, 0)), int):
            reset = "0" if pins.reset is None else bit_at(cell, (pins.reset, 0))
            key = bit_at(cell, (pins.enable, 0)), pins.enable_level, reset, pins.reset_level
            groups.setdefault(key, []).append((cell_name, cell["type"]))
    controls = {}
    for number, ((enable, level, reset, reset_level), members) in enumerate(groups.items()):
        nets = [enable, reset]
        for place, high in enumerate((level, reset_level)):
            if not high and isinstance(nets[place], int):
                last += 1
                cells[f"{_CONTROL}{number}$not{place}"] = gate("$_NOT_", A=nets[place], Y=last)
                nets[place] = last
        last += 1
        cells[f"{_CONTROL}{number}"] = gate("$_OR_", A=nets[0], B=nets[1] if isinstance(nets[1], int) else "0", Y=last)
        ports[f"{_CONTROL}{number}"] = {"direction": "output", "bits": [last]}
        controls[f"{_CONTROL}{number}"] = members
    return {**document, "modules": {name: {**module, "cells": cells, "ports": ports}}}, controls
