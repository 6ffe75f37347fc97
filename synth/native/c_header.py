"""An operator as a C99 header: one function for each instruction set, and packing between codes and planes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from synth.native.c_description import comment, description
from synth.native.c_interface import Interface, folded, identifier
from synth.native.c_logic import DIALECTS, statements
from synth.native.c_packing import code_width, packing_functions
from synth.native.native_form import NativeForm
from synth.netlist.program import PortRegisters
from synth.operations import Operation

__all__ = ["c_header"]

_RESTRICT = """\
#ifndef NARROWGAUGE_RESTRICT
#ifdef __cplusplus
#define NARROWGAUGE_RESTRICT __restrict
#else
#define NARROWGAUGE_RESTRICT restrict
#endif
#endif
"""


def c_header(operation: Operation, forms: Sequence[NativeForm], name: str | None = None) -> str:
    """Return the header's text.

    Parameters
    ----------
    operation : Operation
    forms : sequence of NativeForm
        Of the same operation, the widest registers first; where the compiler targets several of them, the first is
        what the names without an instruction set stand for.
    name : str, optional
        What stands for the operator in its identifiers, after ``narrowgauge_``; by default its folder's name.

    Raises
    ------
    ValueError
        If there is no form, or the name is none of C's.
    """
    interface = Interface.of_forms(operation, forms, name)
    guard = f"{interface.prefix.upper()}_H"
    parts = [*comment(description(operation, interface, forms, _version())),
             f"#ifndef {guard}", f"#define {guard}", "", "#include <stddef.h>", "#include <stdint.h>"]
    for header in dict.fromkeys(DIALECTS[form.isa].header for form in forms):
        if header:
            conditions = [DIALECTS[form.isa].condition for form in forms if DIALECTS[form.isa].header == header]
            parts += [f"#if {' || '.join(conditions)}", f"#include <{header}>", "#endif"]
    parts += ["", _RESTRICT]
    if interface.takes_codes:
        widths = sorted({_code_width(port) for port in interface.ports})
        parts += [packing_functions(width) for width in widths]
    for form in forms:
        parts += _guarded(form, _clocked(interface, form) if interface.clocked else _combinational(interface, form))
    parts += [*_widest(interface, forms), "", f"#endif /* {guard} */", ""]
    return "\n".join(parts)


def _version() -> str:
    try:
        return version("narrowgauge")
    except PackageNotFoundError:
        return "from its source folder"


def _code_width(port: PortRegisters) -> int:
    width = code_width(port.width)
    assert width is not None                             # Interface.takes_codes
    return width


def _guarded(form: NativeForm, lines: Sequence[str]) -> list[str]:
    condition = DIALECTS[form.isa].condition
    return [f"#if {condition}", *lines, "#endif", ""] if condition else [*lines, ""]


def _arguments(interface: Interface) -> list[str]:
    return [f"{'const ' if port in interface.inputs else ''}uint64_t *NARROWGAUGE_RESTRICT {identifier(port.name)}"
            for port in interface.ports]


def _signature(name: str, arguments: Sequence[str]) -> list[str]:
    """Return the head of a function, folded."""
    return [*folded(f"static inline void {name}({', '.join(arguments)})", 0), "{"]


def _address(base: str, plane: int, words: int) -> str:
    return f"{base} + {plane * words}" if plane else base


def _addresses(interface: Interface, form: NativeForm, ports: Sequence[PortRegisters]) -> list[str]:
    return [_address(identifier(port.name), plane, form.isa.words) for port in ports for plane in range(port.width)]


def _body(interface: Interface, form: NativeForm) -> list[str]:
    """Return the statements of a pass, and what keeps arguments that are not read from being warned of."""
    words, program = form.isa.words, form.program
    places: dict[int, str] = {}
    for port in program.data_inputs:
        for plane, register in enumerate(port.registers):
            places[register] = _address(identifier(port.name), plane, words)
    state = [_address("state->planes", index, words) for index in range(len(program.state))]
    places.update((bit.stored, address) for bit, address in zip(program.state, state, strict=True))
    lines = statements(form.logic, form.isa, [places.get(register) for register in form.logic.sources],
                       [*_addresses(interface, form, program.outputs), *state])
    read = {operand for lookup in form.logic.lookups for operand in lookup.operands} | set(form.logic.wanted)
    unread = [port for port in interface.inputs if not read & set(_registers(form, port))]
    return [f"    {line}" for line in (*(f"(void){identifier(port.name)};" for port in unread), *lines)]


def _registers(form: NativeForm, port: PortRegisters) -> tuple[int, ...]:
    return next(own.registers for own in form.program.data_inputs if own.name == port.name)


def _combinational(interface: Interface, form: NativeForm) -> list[str]:
    name = interface.function(form.isa)
    lines = [*_signature(name, _arguments(interface)), *_body(interface, form), "}"]
    return [*lines, "", *_codes(interface, form)] if interface.takes_codes else lines


def _codes(interface: Interface, form: NativeForm) -> list[str]:
    """Return the function from codes to codes: registers' worths of lanes, the last one filled up with zeros."""
    name, words = interface.function(form.isa), form.isa.words
    arguments, buffers = ["size_t count"], []
    copies: list[str] = []
    pack: list[str] = []
    unpack: list[str] = []
    results: list[str] = []
    for port in interface.ports:
        own, width, is_input = identifier(port.name), _code_width(port), port in interface.inputs
        arguments.append(f"{'const ' if is_input else ''}uint{width}_t *{own}")
        buffers += [f"    uint64_t planes_{own}[{port.width * words}];", f"    uint{width}_t codes_{own}[64];"]
        if is_input:
            copies.append(f"                codes_{own}[k] = k < here ? {own}[first + k] : 0;")
            pack.append(f"            narrowgauge_pack_{width}(codes_{own}, {port.width}, planes_{own} + word, "
                        f"{words});")
        else:
            unpack.append(f"            narrowgauge_unpack_{width}(planes_{own} + word, {words}, {port.width}, "
                          f"codes_{own});")
            results.append(f"                {own}[first + k] = codes_{own}[k];")
    place = ["            first = start + 64 * word;",
             "            here = first >= count ? 0 : count - first < 64 ? count - first : 64;"]
    planes = ", ".join(f"planes_{identifier(port.name)}" for port in interface.ports)
    return [
        *_signature(f"{name}_codes", arguments), *buffers, "    size_t start, first, here, word, k;",
        f"    for (start = 0; start < count; start += {form.isa.lanes}) {{",
        f"        for (word = 0; word < {words}; ++word) {{", *place,
        "            for (k = 0; k < 64; ++k) {", *copies, "            }", *pack, "        }",
        *folded(f"{name}({planes});", 8),
        f"        for (word = 0; word < {words}; ++word) {{", *place, *unpack,
        "            for (k = 0; k < here; ++k) {", *results, "            }", "        }", "    }", "}"]


def _clocked(interface: Interface, form: NativeForm) -> list[str]:
    name, bits, words = interface.function(form.isa), len(form.program.state), form.isa.words
    initial = ", ".join(str(int(bit.initial)) for bit in form.program.state)
    return [
        f"typedef struct {name}_state {{", f"    uint64_t planes[{bits * words}];  /* {bits} bits of a lane */",
        f"}} {name}_state;", "",
        f"static inline void {name}_init({name}_state *state)", "{",
        f"    static const unsigned char initial[{bits}] = {{",
        *textwrap.wrap(initial, 100, initial_indent="        ", subsequent_indent="        "), "    };",
        "    unsigned bit, word;", f"    for (bit = 0; bit < {bits}; ++bit)",
        f"        for (word = 0; word < {words}; ++word)",
        f"            state->planes[{words} * bit + word] = initial[bit] ? UINT64_MAX : 0;", "}", "",
        *_signature(f"{name}_step", [f"{name}_state *NARROWGAUGE_RESTRICT state", *_arguments(interface)]),
        *_body(interface, form), "}"]


def _widest(interface: Interface, forms: Sequence[NativeForm]) -> list[str]:
    """Return the names that stand for the widest registers that the compiler targets."""
    suffixes = ["_state", "_init", "_step"] if interface.clocked else ["", *(["_codes"] if interface.takes_codes
                                                                            else [])]
    lines: list[str] = []
    choices = sorted(forms, key=lambda form: not DIALECTS[form.isa].condition)  # what every compiler takes comes last
    for index, form in enumerate(choices):
        condition = DIALECTS[form.isa].condition
        if condition:
            lines.append(f"#{'el' if index else ''}if {condition}")
        elif index:
            lines.append("#else")
        lines.append(f"#define {interface.prefix.upper()}_LANES {form.isa.lanes}")
        lines += [f"#define {interface.prefix}{suffix} {interface.function(form.isa)}{suffix}" for suffix in suffixes]
    return [*lines, "#endif"] if DIALECTS[choices[0].isa].condition else lines
