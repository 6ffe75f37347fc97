"""Registers around a mapped operator, so that nextpnr times the paths through it.

The mapped netlist itself is left as it is: what is placed and timed is the very circuit that is verified. Every input
bit is driven by a flip-flop and every output bit feeds one; all input flip-flops sample one pin, and the output
flip-flops drive nothing (nextpnr keeps them), so that no operator is too wide for a package.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.targets import PlaceAndRoute

CLOCK_PORT = "clk"
"""Name of an operator's own clock, which the harness shares."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Harness:
    """A wrapped design.

    Parameters
    ----------
    design : dict
        Yosys' JSON, for nextpnr.
    inputs, outputs : int
        Flip-flops that the harness adds before input bits and behind output bits.
    """

    design: Json
    inputs: int
    outputs: int


def wrap(mapped: Json, place_and_route: PlaceAndRoute, *, top: str = "top") -> Harness:
    """Put the harness around the top module of a mapped Yosys JSON design.

    Parameters
    ----------
    mapped : dict
        What Yosys' ``write_json`` wrote; not changed.
    place_and_route : PlaceAndRoute
        The family's register, buffers and tie cells.
    top : str
        The module to wrap; the other modules (the cell library) are left out.
    """
    module = copy.deepcopy(mapped["modules"][top])
    builder = _Builder(module)
    register = place_and_route.register
    ports: Mapping[str, Json] = module["ports"]
    module["ports"] = {}
    clock, data = builder.pin("harness_clk", place_and_route), builder.pin("harness_data", place_and_route)
    constants: dict[str, int | str] = {port: str(value) for port, value in register.constants.items()}
    if place_and_route.tie_cells:
        ties = [builder.net() for _ in place_and_route.tie_cells]
        for (cell, port), net in zip(place_and_route.tie_cells, ties, strict=True):
            builder.cell(cell, {port: net}, outputs=(port,))
        constants = {port: ties[value] for port, value in register.constants.items()}
    inputs = outputs = 0
    for name, operator_port in ports.items():
        is_input = operator_port["direction"] == "input"
        for bit in operator_port["bits"]:
            if name == CLOCK_PORT and is_input:
                builder.alias(bit, clock)
                continue
            ends = (data, bit) if is_input else (bit, builder.net())
            builder.cell(register.cell, {register.clock: clock, register.data: ends[0], register.output: ends[1],
                                         **constants}, outputs=(register.output,), parameters=register.parameters)
            inputs, outputs = inputs + is_input, outputs + (not is_input)
    return Harness(design={"creator": mapped.get("creator", ""), "modules": {top: module}}, inputs=inputs,
                   outputs=outputs)


class _Builder:
    """Adds nets and cells to a module in Yosys' JSON form."""

    def __init__(self, module: Json) -> None:
        self._module = module
        bits = (bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int))
        self._next = max(bits, default=1) + 1

    def net(self) -> int:
        self._next += 1
        self._module["netnames"][f"harness_net_{self._next}"] = {"hide_name": 1, "bits": [self._next],
                                                                 "attributes": {}}
        return self._next

    def cell(self, kind: str, connections: Mapping[str, int | str], *, outputs: tuple[str, ...],
             parameters: Mapping[str, str] | None = None) -> None:
        name = f"harness_{kind}_{len(self._module['cells'])}"
        self._module["cells"][name] = {
            "hide_name": 0, "type": kind, "parameters": dict(parameters or {}), "attributes": {},
            "port_directions": {port: "output" if port in outputs else "input" for port in connections},
            "connections": {port: [net] for port, net in connections.items()}}

    def pin(self, name: str, place_and_route: PlaceAndRoute) -> int:
        """Add an input port; return the net that it drives, behind a buffer where the family wants one."""
        net = pad = self.net()
        if place_and_route.input_buffer:
            pad = self.net()
            self.cell(place_and_route.input_buffer, {"I": pad, "O": net}, outputs=("O",))
        self._module["ports"][name] = {"direction": "input", "bits": [pad]}
        self._module["netnames"][name] = {"hide_name": 0, "bits": [pad], "attributes": {}}
        return net

    def alias(self, old: int, new: int) -> None:
        """Connect every cell input on net ``old`` to net ``new``."""
        for cell in self._module["cells"].values():
            for port, bits in cell["connections"].items():
                cell["connections"][port] = [new if bit == old else bit for bit in bits]
        for net in self._module["netnames"].values():
            net["bits"] = [bit for bit in net["bits"] if bit != old]
