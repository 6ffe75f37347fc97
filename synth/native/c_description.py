"""What a generated header says about its operator: formats, lanes, semantics, counts, and how to use it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sw.formats import ScalarFormat, facts, number
from sw.reference.model import Port
from synth.native.c_interface import Interface, identifier
from synth.native.native_form import NativeForm
from synth.operations import Operation

__all__ = ["comment", "describe_format", "description"]

_ASCII = str.maketrans({"×": "x", "→": "->", "±": "+-", "–": "-", "’": "'", "…": "...", "≤": "<="})
_WIDTH = 116

_FLAGS = {"first": ", 1 with the first pair of a sum", "last": ", 1 with the last one, whose result follows"}
"""What the flags of a stream's transfer say."""


def comment(lines: Sequence[str]) -> list[str]:
    """Return lines as a comment in plain ASCII, which every compiler reads alike; long ones are folded."""
    plain = [line.translate(_ASCII).encode("ascii", "replace").decode() for line in lines]
    folded = [part.replace("*/", "* /").replace("/*", "/ *") for line in plain for part in _folded(line)]
    return ["/*", *(f" * {line}".rstrip() for line in folded), " */"]


def _folded(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, drop_whitespace=True, break_long_words=False,
                         break_on_hyphens=False) or [""]


def describe_format(fmt: ScalarFormat) -> str:
    """Say in one line what the codes of a format are."""
    known: Mapping[str, Any] = facts(fmt)
    parts = [f"{known['family']}, {number(fmt.min_finite)} to {number(fmt.max_finite)}, smallest positive "
             f"{number(fmt.smallest_positive)}"]
    if known.get("exponent_bits") is not None:
        parts.append(f"{known['exponent_bits']} exponent and {known['fraction_bits']} fraction bits, bias "
                     f"{known['bias']}, subnormals {known['subnormals']}")
    specials = [name for name, there in (("-0", known["has_negative_zero"]), ("infinity", known["has_infinity"]),
                                         (_nan(known), known["nan_codes"])) if there]
    return "; ".join([*parts, f"special codes: {', '.join(specials) or 'none'}"])


def _nan(known: Mapping[str, Any]) -> str:
    if known["nan_code"] is None:
        return ""
    code = f"0x{known['nan_code']:0{-(-known['width'] // 4)}x}"
    return f"NaN {code}" if known["nan_codes"] == 1 else f"{known['nan_codes']} NaN, of which results are {code}"


def description(operation: Operation, interface: Interface, forms: Sequence[NativeForm], version: str) -> list[str]:
    """Return the text at the head of the header."""
    clocked = interface.clocked
    lines = [operation.describe(), "", f"Written by narrowgauge {version}: the synthesized netlist of the operator as "
             "bitwise instructions.", ""]
    lines += _lanes(interface)
    lines += ["", "Ports", *_ports(operation, interface)]
    named = {port.format.name: port.format for port in operation.ports.values() if port.format is not None}
    lines += ["", "Formats", *(f"  {name}: {describe_format(fmt)}" for name, fmt in named.items())]
    lines += ["", "Instructions of one pass (loads, stores and spills apart), and values alive at once at most"]
    lines += [f"  {form.isa.value}: {form.instructions} for {form.isa.lanes} lanes, {form.live} alive"
              + (f", {len(form.program.state)} bits of state a lane" if clocked else "") for form in forms]
    example = (_clocked_example if clocked else _example)(interface, forms[0])
    lines += ["", "Example", *(f"  {line}" for line in example)]
    scripts = dict.fromkeys(form.netlist.script for form in forms)
    lines += ["", "Recipe" + (f"s, of {', '.join(form.isa.value for form in forms)} in turn" if len(scripts) > 1
                              else "") + " (Yosys)"]
    for script in scripts:
        lines += [f"  {line}" for line in script.splitlines()] + [""]
    return lines[:-1]


def _lanes(interface: Interface) -> list[str]:
    lines = [
        "Every function works on as many independent lanes as a register has bits. An argument holds planes, the bits",
        "of a port one after the other, the lowest first; a plane is LANES / 64 words of 64 bits, and lane k is bit",
        "k % 64 of word k / 64. Planes need no alignment, and must not overlap."]
    if interface.takes_codes:
        lines += ["The functions that end in _codes take and give arrays of codes, as many as asked for, and pack them",
                  "into planes themselves."]
    if interface.clocked:
        lines += [
            "A step is one clock cycle of every lane: the outputs are what the circuit shows before the clock's edge",
            "with these inputs, then the state takes its next value. init gives the state after configuration."]
        if any(port.name == "i__valid" for port in interface.inputs):
            lines += ["A transfer is taken in a step in which i__valid and i__ready are both 1, a result is handed",
                      "over in one in which o__valid and o__ready are; rst takes a lane back to its beginning."]
    return lines


def _ports(operation: Operation, interface: Interface) -> list[str]:
    lines = []
    for port in interface.ports:
        role = "in" if port in interface.inputs else "out"
        fields = _fields(operation, port.name)
        said = _contents(next(iter(fields.values()))) if list(fields) == [port.name] else ""
        lines.append(f"  {role} {identifier(port.name)}: {port.width} plane{'s' if port.width > 1 else ''}{said}")
        position = 0
        for name, field in fields.items():
            if name != port.name:
                place = f"planes {position} to {position + field.bits - 1}" if field.bits > 1 else f"plane {position}"
                lines.append(f"    {place}: {name}{_contents(field)}{_FLAGS.get(name, '')}")
            position += field.bits
    return lines


def _fields(operation: Operation, port: str) -> Mapping[str, Port]:
    """Return what a port's bits are: itself, or for the payload of a stream its fields, the first one lowest."""
    if port in operation.ports:
        return {port: operation.ports[port]}
    payloads = {"i__payload": operation.model.inputs, "o__payload": operation.model.outputs}
    fields: Mapping[str, Port] = payloads.get(port, {})
    return fields


def _contents(port: Port) -> str:
    if port.format is None and port.lanes is None:
        return ""
    what = f"{port.width} bits" if port.format is None else port.format.name
    return f", {what}" if port.lanes is None else f", {port.lanes} side by side of {what}, the first one lowest"


def _example(interface: Interface, form: NativeForm) -> list[str]:
    name = interface.function(form.isa)
    words = form.isa.words
    planes = "; ".join(f"uint64_t {identifier(port.name)}[{port.width * words}]" for port in interface.ports)
    arguments = ", ".join(identifier(port.name) for port in interface.ports)
    lines = [f"{planes};", f"{name}({arguments});  // {form.isa.lanes} lanes"]
    return [*lines, f"{interface.prefix}_codes(count, {arguments});  // arrays of count codes, the widest registers "
                    "there are"] if interface.takes_codes else lines


def _clocked_example(interface: Interface, form: NativeForm) -> list[str]:
    name = interface.function(form.isa)
    arguments = ", ".join(identifier(port.name) for port in interface.ports)
    return [f"{name}_state state;", f"{name}_init(&state);", "for (cycle = 0; cycle < cycles; ++cycle)",
            f"    {name}_step(&state, {arguments});  // {form.isa.lanes} lanes"]
