"""A C program that runs an operator's header on vectors from a file and counts the lanes that differ."""

from __future__ import annotations

from collections.abc import Sequence

from synth.native.c_description import comment
from synth.native.c_interface import Interface, folded, identifier
from synth.native.c_logic import DIALECTS
from synth.native.c_packing import code_width
from synth.native.native_form import NativeForm
from synth.operations import Operation

__all__ = ["DRIVER", "VECTORS", "c_driver"]

DRIVER, VECTORS = "driver.c", "vectors.bin"
"""Names of the program's file and of the vectors'."""

_START = """\
#include <stdio.h>
#include <stdlib.h>

/* A file of 64-bit words, least significant byte first: words of a plane, cycles, then the planes of every cycle. */
static uint64_t *read_vectors(const char *path, size_t *words, size_t *cycles)
{
    uint64_t head[2], *data = NULL;
    size_t total, count = 0;
    unsigned char bytes[8];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    for (total = 2; count < total && fread(bytes, 1, 8, file) == 8; ++count) {
        uint64_t word = 0;
        int i;
        for (i = 7; i >= 0; --i)
            word = word << 8 | bytes[i];
        if (count >= 2)
            data[count - 2] = word;
        else
            head[count] = word;
        if (count == 1) {
            *words = (size_t)head[0];
            *cycles = (size_t)head[1];
            total = 2 + *words * *cycles * PLANES;
            data = malloc((total - 2) * sizeof *data);
            if (data == NULL)
                break;
        }
    }
    fclose(file);
    if (data != NULL && count == total)
        return data;
    free(data);
    return NULL;
}

static unsigned long long ones(uint64_t word)
{
    unsigned long long count = 0;
    for (; word != 0; word &= word - 1)
        ++count;
    return count;
}

static int report(const char *name, unsigned long long wrong, unsigned long long total)
{
    printf("%s: %llu of %llu agree\\n", name, total - wrong, total);
    return wrong != 0;
}
"""


def c_driver(operation: Operation, forms: Sequence[NativeForm], name: str | None = None) -> str:
    """Return the program's text.

    It is given the path of a file as :meth:`DriverVectors.to_bytes` writes it, runs every instruction set that the
    compiler targets, and ends with 0 if all lanes agree, with 1 if one differs, and with 2 without such a file.

    ``name`` is that of the header.

    Raises
    ------
    ValueError
        If there is no form, or the name is none of C's.
    """
    interface = Interface.of_forms(operation, forms, name)
    parts = [*comment([f"Runs {interface.header} on vectors and compares:",
                       f"  cc -std=c99 -O2 -march=native {DRIVER} -o driver && ./driver {VECTORS}"]),
             f'#include "{interface.header}"', "", f"#define PLANES {sum(port.width for port in interface.ports)}",
             _START]
    calls = []
    for form in forms:
        parts += [*_guarded(form, [*_planes_check(interface, form),
                                   *(["", *_codes_check(interface, form)] if interface.takes_codes else [])]), ""]
        calls += _guarded(form, [f"    wrong |= {check}_{form.isa.value}(data, words, cycles);" for check in
                                 ("planes", *(("codes",) if interface.takes_codes else ()))])
    parts += [
        "int main(int count, char **arguments)", "{", "    size_t words = 0, cycles = 0;", "    int wrong = 0;",
        "    uint64_t *data = count == 2 ? read_vectors(arguments[1], &words, &cycles) : NULL;",
        "    if (data == NULL) {",
        f'        fprintf(stderr, "Argument must be the path of the vectors, such as {VECTORS}\\n");',
        "        return 2;", "    }", *calls, "    free(data);", "    return wrong;", "}", ""]
    return "\n".join(parts)


def _guarded(form: NativeForm, lines: Sequence[str]) -> list[str]:
    condition = DIALECTS[form.isa].condition
    return [f"#if {condition}", *lines, "#endif"] if condition else list(lines)


def _offsets(interface: Interface) -> dict[str, int]:
    """Return the number of the first plane of every port."""
    offsets, position = {}, 0
    for port in interface.ports:
        offsets[port.name] = position
        position += port.width
    return offsets


def _planes_check(interface: Interface, form: NativeForm) -> list[str]:
    """Return the function that runs planes register by register, all cycles of one before the next."""
    name, words, offsets = interface.function(form.isa), form.isa.words, _offsets(interface)
    arguments = ", ".join([*(["&state"] if interface.clocked else []), *map(identifier, offsets)])
    lines = [f"static int planes_{form.isa.value}(const uint64_t *data, size_t words, size_t cycles)", "{",
             "    unsigned long long wrong = 0;", "    size_t start, cycle, plane, word;"]
    lines += [f"    uint64_t {identifier(port.name)}[{port.width * words}];" for port in interface.ports]
    lines += [f"    {name}_state state;"] if interface.clocked else []
    lines += [f"    for (start = 0; start < words; start += {words}) {{"]
    lines += [f"        {name}_init(&state);"] if interface.clocked else []
    lines += ["        for (cycle = 0; cycle < cycles; ++cycle) {",
              "            const uint64_t *const now = data + cycle * PLANES * words + start;",
              f"            uint64_t differs[{words}] = {{0}};"]
    for port in interface.inputs:
        lines += _each(port.width, words, f"{identifier(port.name)}[plane * {words} + word] = "
                                          f"now[({offsets[port.name]} + plane) * words + word];")
    lines += folded(f"{name}{'_step' if interface.clocked else ''}({arguments});", 12)
    for port in interface.outputs:
        lines += _each(port.width, words, f"differs[word] |= {identifier(port.name)}[plane * {words} + word] ^ "
                                          f"now[({offsets[port.name]} + plane) * words + word];")
    return [*lines, f"            for (word = 0; word < {words}; ++word)",
            "                wrong += ones(differs[word]);", "        }", "    }",
            f'    return report("{form.isa.value} planes", wrong, 64ull * words * cycles);', "}"]


def _each(planes: int, words: int, statement: str) -> list[str]:
    return [f"            for (plane = 0; plane < {planes}; ++plane)",
            f"                for (word = 0; word < {words}; ++word)", f"                    {statement}"]


def _codes_check(interface: Interface, form: NativeForm) -> list[str]:
    """Return the function that unpacks all planes, runs the codes but for some of the last, and compares these."""
    offsets = _offsets(interface)
    lines = [f"static int codes_{form.isa.value}(const uint64_t *data, size_t words, size_t cycles)", "{",
             "    unsigned long long wrong = 0;",
             "    const size_t lanes = 64 * words, count = lanes - 13;  /* the last register is not full */",
             "    size_t word, k;"]
    buffers = [(identifier(port.name), code_width(port.width), port) for port in interface.ports]
    buffers += [(f"got_{identifier(port.name)}", code_width(port.width), port) for port in interface.outputs]
    lines += [f"    uint{width}_t *{name} = calloc(lanes, sizeof *{name});" for name, width, _ in buffers]
    lines += [f"    if ({' && '.join(f'{name} != NULL' for name, _, _ in buffers)}) {{",
              "        for (word = 0; word < words; ++word) {"]
    lines += [f"            narrowgauge_unpack_{code_width(port.width)}(data + {offsets[port.name]} * words + word, "
              f"words, {port.width}, {identifier(port.name)} + 64 * word);" for port in interface.ports]
    arguments = [identifier(port.name) for port in interface.inputs]
    arguments += [f"got_{identifier(port.name)}" for port in interface.outputs]
    wrong = " || ".join(f"got_{identifier(port.name)}[k] != (k < count ? {identifier(port.name)}[k] : 0)"
                        for port in interface.outputs)
    return [*lines, "        }", f"        {interface.function(form.isa)}_codes(count, {', '.join(arguments)});",
            "        for (k = 0; k < lanes; ++k)", f"            wrong += {wrong};", "    } else {",
            "        wrong = count;", "    }", *(f"    free({name});" for name, _, _ in buffers),
            f'    return report("{form.isa.value} codes", wrong, cycles * count);', "}"]
