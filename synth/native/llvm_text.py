"""An operator as a function in LLVM's intermediate language, and as assembly."""

from __future__ import annotations

from synth.native.c_interface import Interface
from synth.native.native_form import NativeForm
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_compile import assembly_of
from synth.netlist.llvm_ir import TERNARY, emit_block, vector_constant, vector_type
from synth.netlist.logic import Basis
from synth.operations import Operation

__all__ = ["assembly_text", "llvm_text"]

_TRIPLES = {InstructionSet.NEON: "aarch64-unknown-linux-gnu"}
"""What assembly is for where the machine at hand may be another."""


def llvm_text(operation: Operation, form: NativeForm, name: str | None = None) -> str:
    """Return ``void name(ptr inputs, ptr outputs)``, of an operator with memory also ``ptr state, ptr next``.

    Each points to planes side by side, one register each: the bits of the ports in the order of the C header, least
    significant first. The state is read from ``state`` and written to ``next``; they must not be the same.

    Raises
    ------
    ValueError
        If the name is none of C's.
    """
    declaration = f"{TERNARY}\n" if form.isa.basis is Basis.TERNARY else ""
    return declaration + _function(Interface.of(operation, form.program, name), form)


def assembly_text(operation: Operation, form: NativeForm, name: str | None = None) -> str:
    """Return the same as assembly: for this machine, for NEON as 64-bit Linux has it.

    Raises
    ------
    ValueError
        If the name is none of C's.
    ImportError
        If llvmlite is not installed.
    """
    text = _function(Interface.of(operation, form.program, name), form)
    return assembly_of(text, form.isa, _TRIPLES.get(form.isa, ""))


def _function(interface: Interface, form: NativeForm) -> str:
    kind, size = vector_type(form.isa), form.isa.bytes
    registers = {port.name: port.registers for port in (*form.program.data_inputs, *form.program.outputs)}
    inputs = {register: place for place, register in
              enumerate(register for port in interface.inputs for register in registers[port.name])}
    state = {bit.stored: place for place, bit in enumerate(form.program.state)}
    first = {port.name: sum(before.width for before in interface.outputs[:index])
             for index, port in enumerate(interface.outputs)}
    results = [first[port.name] + bit for port in form.program.outputs for bit in range(port.width)]

    def load(index: int) -> tuple[list[str], str]:
        register = form.logic.sources[index]
        if register not in inputs and register not in state:
            return [], vector_constant(form.isa, 0)      # a clock, low between its edges
        base, place = ("%inputs", inputs[register]) if register in inputs else ("%state", state[register])
        return [f"%s{index}p = getelementptr i8, ptr {base}, i64 {place * size}",
                f"%s{index} = load {kind}, ptr %s{index}p, align {size}"], f"%s{index}"

    def store(index: int, value: str) -> list[str]:
        base, place = ("%outputs", results[index]) if index < len(results) else ("%next", index - len(results))
        return [f"%w{index}p = getelementptr i8, ptr {base}, i64 {place * size}",
                f"store {kind} {value}, ptr %w{index}p, align {size}"]

    pointers = ["inputs", "outputs", *(("state", "next") if interface.clocked else ())]
    arguments = ", ".join(f"ptr noalias %{pointer}" for pointer in pointers)
    # Without "stackrealign" LLVM spills to a stack that is not aligned to registers, at half the speed.
    return "\n".join([f'define void @{interface.function(form.isa)}({arguments}) "stackrealign" {{', "entry:",
                      *emit_block(form.logic, form.isa, load, store), "ret void", "}", ""])

