"""``native``: an operator as bitwise instructions of a processor: counts, speed, C, LLVM's language, assembly."""

import argparse
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, ToolMissing, UsageError, usage_errors
from synth.operations import Operation
from synth.operations.request import member
from synth.verbs.request import add_operation_arguments, describe, operation_from


class Emit(StrEnum):
    """What is written."""

    C = "c"
    DRIVER = "driver"
    LLVM = "llvm"
    ASSEMBLY = "asm"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_operation_arguments(parser)
    group = parser.add_argument_group("native form")
    group.add_argument("--isa", metavar="LIST",
                       help="instruction sets with commas between them: avx512, avx2, neon, word64, the latter for "
                            "every machine (default: all; of llvm and asm: the widest that this machine has)")
    group.add_argument("--emit", metavar="WHAT",
                       help="write a C99 header (c), the same with a program that tests it and its vectors (driver), "
                            "LLVM's intermediate language (llvm), or assembly (asm)")
    group.add_argument("--name", metavar="NAME",
                       help="what stands for the operator in names, after narrowgauge_ (default: its folder's name)")
    group.add_argument("--measure", action="store_true",
                       help="time each instruction set that this machine has, on one core, beside its bound")
    parser.epilog = ("--out names the file that is written, or a folder for it; for --emit driver it is a folder "
                     "(default: ./build/<operator>_native), and standard output otherwise.\n\n" + (parser.epilog or ""))


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Synthesize, count, and write what is asked for."""
    from synth.native.c_interface import plain_name
    from synth.store import Store, cache_folder

    operation, notes = operation_from(arguments)
    emit = None if arguments.emit is None else member(Emit, "What to emit", arguments.emit)
    with usage_errors():
        if arguments.name is not None:
            plain_name(arguments.name)
    for option, given in (("--out", arguments.out), ("--name", arguments.name)):
        if given is not None and emit is None:
            raise UsageError(f"Option {option} must come with --emit, not alone")
    sets = _sets(arguments.isa, emit)
    known = _known() if arguments.measure else ()
    store = Store(cache_folder(), warn=console.warn)
    try:
        forms = _forms(operation, sets, store, arguments, console)
    finally:
        store.close()
    document = {"operation": operation.name, "formats": operation.formats(), "parameters": operation.parameters(),
                "forms": [_summary(form) for form in forms]}
    if arguments.measure:
        _measure(operation, forms, known, document, arguments, console)
    if emit is not None:
        document["emit"] = emit.value
        text = _write(operation, forms, emit, arguments, document)
        if text is not None:
            document["text"] = text
            console.print(text)
    if emit is None or arguments.out is not None or emit is Emit.DRIVER:
        _report(operation, notes, document, console)
    console.json(document)
    return ExitCode.DONE


def _sets(text: str | None, emit: Emit | None) -> list[Any]:
    """Return the instruction sets asked for, the widest first, each once.

    Raises
    ------
    UsageError
        If there is no such set, several are asked for where there can be one, or assembly for another machine.
    ToolMissing
        If llvmlite is needed and not installed.
    """
    from synth.netlist.instruction_set import InstructionSet, choose_instruction_set, find_instruction_set

    single = emit in (Emit.LLVM, Emit.ASSEMBLY)
    if text is None:
        return list(_known()[:1]) if single else list(InstructionSet)
    with usage_errors():
        wanted = [isa for isa in InstructionSet
                  if isa in {find_instruction_set(name.strip()) for name in text.split(",")}]
        if single and len(wanted) > 1:
            raise UsageError(f"Option --isa must name one instruction set for --emit {emit}, not {text!r}")
        if emit is Emit.ASSEMBLY and wanted != [InstructionSet.NEON]:  # which LLVM writes for anywhere
            _known()
            choose_instruction_set(wanted[0])
    return wanted


def _known() -> tuple[Any, ...]:
    from synth.netlist.instruction_set import host_instruction_sets

    try:
        return host_instruction_sets()
    except ImportError as error:
        raise _missing() from error


def _missing() -> ToolMissing:
    return ToolMissing("llvmlite", "Tool llvmlite is not installed; it compiles netlists to native code, and knows "
                                   "what this machine has: pip install 'narrowgauge[native]'")


def _forms(operation: Operation, sets: Sequence[Any], store: Any, arguments: argparse.Namespace,
           console: Console) -> list[Any]:
    from synth.native.native_form import native_form

    forms = []
    with console.progress("synthesizing", len(sets)) as progress:
        for isa in sets:
            progress.start(f"{operation.name}: look-ups for {isa.value}")
            forms.append(native_form(operation, isa, store=store, timeout=arguments.timeout))
            progress.advance()
    return forms


def _summary(form: Any) -> dict[str, Any]:
    return {"isa": form.isa.value, "lanes": form.isa.lanes, "registers": form.isa.registers,
            "instructions": form.instructions, "instructions_a_result": round(form.instructions / form.isa.lanes, 4),
            "live": form.live, "state_bits": len(form.program.state), "cells": dict(form.netlist.cells),
            "netlist": form.netlist.digest, "script": form.netlist.script, "seconds": form.netlist.seconds,
            "cached": form.netlist.cached}


def _measure(operation: Operation, forms: Sequence[Any], known: Sequence[Any], document: dict[str, Any],
             arguments: argparse.Namespace, console: Console) -> None:
    """Add a form's speed to its summary; null where this machine does not have its instruction set."""
    from synth.native.measure import measure

    with console.progress("measuring", len(forms)) as progress:
        for form, summary in zip(forms, document["forms"], strict=True):
            progress.start(f"{operation.name}: timing {form.isa.value}")
            speed = measure(operation, form, seed=arguments.seed) if form.isa in known else None
            summary["speed"] = None if speed is None else {
                "operations_a_second": speed.operations, "instructions_a_second": speed.instructions,
                "bound_instructions_a_second": speed.bound, "fraction_of_bound": round(speed.fraction, 4)}
            progress.advance()


def _write(operation: Operation, forms: Sequence[Any], emit: Emit, arguments: argparse.Namespace,
           document: dict[str, Any]) -> str | None:
    """Write what is asked for; return its text where that goes to standard output."""
    from synth.native.c_interface import Interface

    interface = Interface.of(operation, forms[0].program, arguments.name)
    if emit is Emit.DRIVER:
        document["folder"] = _write_driver(operation, forms, interface, arguments)
        return None
    text = _text(operation, forms, emit, arguments.name)
    if arguments.out is None:
        return text
    suffix = {Emit.C: ".h", Emit.LLVM: ".ll", Emit.ASSEMBLY: ".s"}[emit]
    document["file"] = _write_file(arguments.out, interface.prefix + suffix, text)
    return None


def _text(operation: Operation, forms: Sequence[Any], emit: Emit, name: str | None) -> str:
    from synth.native.c_header import c_header

    if emit is Emit.C:
        return c_header(operation, forms, name)
    try:
        from synth.native.llvm_text import assembly_text, llvm_text

        return (llvm_text if emit is Emit.LLVM else assembly_text)(operation, forms[0], name)
    except ImportError as error:
        raise _missing() from error


def _write_file(out: str, name: str, text: str) -> str:
    """Write a file whole; ``out`` is its path, or a folder, there already or with a slash at its end."""
    from synth.folder import save_whole, storage_errors

    path = Path(out)
    with storage_errors(path):
        if path.is_dir() or out.endswith(("/", os.sep)):
            path = path / name
    save_whole(path, text.encode())
    return str(path)


def _write_driver(operation: Operation, forms: Sequence[Any], interface: Any, arguments: argparse.Namespace) -> str:
    """Write header, program and vectors into a folder, all of them or none."""
    from synth.folder import OutputFolder, storage_errors
    from synth.native.c_driver import DRIVER, VECTORS, c_driver
    from synth.native.c_header import c_header
    from synth.native.c_vectors import driver_vectors

    place = Path(arguments.out) if arguments.out else Path("build") / f"{operation.folder_name()}_native"
    with OutputFolder(place, marker=DRIVER) as output, storage_errors(place):
        (output.work / interface.header).write_bytes(c_header(operation, forms, arguments.name).encode())
        (output.work / DRIVER).write_bytes(c_driver(operation, forms, arguments.name).encode())
        vectors = driver_vectors(operation, interface, forms[0], seed=arguments.seed)
        (output.work / VECTORS).write_bytes(vectors.to_bytes())
        output.commit()
    return str(place)


def _report(operation: Operation, notes: Sequence[str], document: dict[str, Any], console: Console) -> None:
    console.print(describe(operation, notes))
    columns = ["instruction set", "lanes", "instructions", "a result", "alive", "registers", "state bits", "from store"]
    speeds = [form["speed"] for form in document["forms"] if "speed" in form]
    rows = [[form["isa"], form["lanes"], form["instructions"], f"{form['instructions_a_result']:.3f}", form["live"],
             form["registers"], form["state_bits"], "yes" if form["cached"] else ""] for form in document["forms"]]
    if speeds:
        columns += ["G/s", "instructions/ns", "bound", "% of it"]
        rows = [[*row, *_speed_cells(speed)] for row, speed in zip(rows, speeds, strict=True)]
    console.table("", columns, rows)
    console.print("instructions: bitwise ones of a pass over a register's worth of lanes, but for loads, stores and "
                  "spills; alive: values at once at most")
    if speeds:
        what = "clock cycles of a lane" if document["forms"][0]["state_bits"] else "operations"
        console.print(f"G/s: 10^9 {what} a second on one core, planes in its cache; bound: such instructions on "
                      "registers alone")
    for key in ("file", "folder"):
        if key in document:
            console.print(f"{'files' if key == 'folder' else 'file'}: {document[key]}")


def _speed_cells(speed: dict[str, float] | None) -> list[str]:
    if speed is None:
        return ["–"] * 4
    return [f"{speed['operations_a_second'] / 1e9:.3g}", f"{speed['instructions_a_second'] / 1e9:.2f}",
            f"{speed['bound_instructions_a_second'] / 1e9:.2f}", f"{100 * speed['fraction_of_bound']:.0f}"]
