"""Logic as PTX, the assembly language of NVIDIA's GPUs, which the driver compiles: every look-up is one ``lop3``.

PTX needs no compiler on the machine and is understood by every later GPU and driver. Two forms are written: a kernel
over planes in rows of one table, and one from codes to codes, in which no plane ever leaves a register.

Source: NVIDIA, Parallel Thread Execution ISA; ``lop3`` is there since version 4.3 and compute capability 5.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth.netlist.logic import Logic, Lookup
from synth.netlist.program import ONE, ZERO, Register

__all__ = ["THREADS", "CodePorts", "code_kernel", "module", "plane_kernel"]

THREADS = 128
"""Threads of a block: few enough that logic with 255 live values still finds registers for several blocks."""

_WORD = 32
_SELECT = 0xCA
"""Table of ``lop3`` for ``a ? b : c``."""


@dataclass(frozen=True)
class CodePorts:
    """The registers of the ports of a kernel from codes to codes, and the width of a stored code.

    Parameters
    ----------
    inputs, outputs : tuple of tuple of Register
        Registers of each port, the least significant first; at most ``bits`` each.
    bits : 8, 16 or 32
        Bits that a code takes in memory, the same for all ports so that all take the same order in registers.
    """

    inputs: tuple[tuple[Register, ...], ...]
    outputs: tuple[tuple[Register, ...], ...]
    bits: int

    @classmethod
    def of(cls, inputs: Sequence[tuple[Register, ...]], outputs: Sequence[tuple[Register, ...]]) -> CodePorts:
        """Return ports stored as narrowly as their widest one allows, which must have at most 32 bits."""
        widest = max(map(len, (*inputs, *outputs)), default=0)
        return cls(tuple(inputs), tuple(outputs), next(bits for bits in (8, 16, _WORD) if widest <= bits))

    @property
    def codes_per_block(self) -> int:
        """Codes of each port that a block of threads takes: 32 a thread."""
        return _WORD * THREADS


def module(kernels: Sequence[str]) -> str:
    """Return the text of a module of kernels; sm_52 is the oldest GPU that today's drivers still know."""
    return "\n".join([".version 6.0", ".target sm_52", ".address_size 64", *kernels, ""])


def plane_kernel(name: str, logic: Logic, rows: Mapping[Register, int]) -> str:
    """Return a kernel ``name(table, words)`` over a table of rows of ``words`` 32-bit words.

    Thread *j* of the grid computes word *j* of every row; ``rows`` names the row of every source and wanted register.
    """
    source_lines = [line for register in logic.sources
                    for line in (_place(rows[register]), f"ld.global.b32 %v{register}, [%at];")]
    wanted_lines = [line for register in dict.fromkeys(logic.wanted)
                    for line in (_place(rows[register]), f"st.global.b32 [%at], %v{register};")]
    return _kernel(name, [".param .u64 table", ".param .u32 words"], [
        *_declarations(logic),
        ".reg .pred %outside;", ".reg .b32 %words, %block, %threads, %thread, %index;",
        ".reg .b64 %table, %stride, %column, %at;",
        "ld.param.u64 %table, [table];", "ld.param.u32 %words, [words];",
        "mov.u32 %block, %ctaid.x;", "mov.u32 %threads, %ntid.x;", "mov.u32 %thread, %tid.x;",
        "mad.lo.u32 %index, %block, %threads, %thread;",
        "setp.ge.u32 %outside, %index, %words;", "@%outside bra done;",
        "cvta.to.global.u64 %table, %table;",
        "mul.wide.u32 %stride, %words, 4;", "mad.wide.u32 %column, %index, 4, %table;",
        *source_lines, *_look_ups(logic), *wanted_lines,
        "done:", "ret;"])


def code_kernel(name: str, logic: Logic, ports: CodePorts) -> str:
    """Return a kernel ``name(first port, ..., last port)`` of pointers to codes, inputs first.

    Each thread takes ``ports.bits`` words of every input, ``THREADS`` words apart, so that neighbours read neighbouring
    words. It transposes them in registers: word *i* then has bit *i* of its 32 codes, in an order that is the same for
    all ports and is undone on the way out.
    """
    bits, count = ports.bits, len(ports.inputs) + len(ports.outputs)
    lines = [*_declarations(logic),
             ".reg .b32 %block, %thread;", f".reg .b64 %first, %port<{count}>;",
             "mov.u32 %block, %ctaid.x;", "mov.u32 %thread, %tid.x;",
             f"mul.wide.u32 %first, %block, {4 * bits * THREADS};", "mad.wide.u32 %first, %thread, 4, %first;"]
    lines += [f".reg .b32 %mask{step};\nmov.b32 %mask{step}, {_mask(step):#010x};" for step in _steps(bits)]
    for place in range(count):
        lines += [f"ld.param.u64 %port{place}, [port{place}];", f"cvta.to.global.u64 %port{place}, %port{place};",
                  f"add.u64 %port{place}, %port{place}, %first;"]
    for place, registers in enumerate(ports.inputs):
        words = [f"%load{place}_{index}" for index in range(bits)]
        lines += [f".reg .b32 {word};\nld.global.b32 {word}, [%port{place}+{4 * THREADS * index}];"
                  for index, word in enumerate(words)]
        transposition, words = _transposed(words, f"%in{place}_")
        lines += transposition
        lines += [f"mov.b32 %v{register}, {word};" for register, word in zip(registers, words, strict=False)]
    lines += _look_ups(logic)
    for place, registers in enumerate(ports.outputs, len(ports.inputs)):
        words = [f"%v{register}" for register in registers] + [f"%v{ZERO}"] * (bits - len(registers))
        transposition, words = _transposed(words, f"%out{place}_")
        lines += transposition
        lines += [f"st.global.b32 [%port{place}+{4 * THREADS * index}], {word};" for index, word in enumerate(words)]
    return _kernel(name, [f".param .u64 port{place}" for place in range(count)], [*lines, "ret;"],
                   f".reqntid {THREADS}, 1, 1")


def _kernel(name: str, parameters: Sequence[str], lines: Sequence[str], directive: str = "") -> str:
    return "\n".join([f".visible .entry {name}({', '.join(parameters)}) {directive}".rstrip(), "{", *lines, "}"])


def _declarations(logic: Logic) -> list[str]:
    """Return the declarations of the logic's registers, and what gives the constants theirs."""
    count = 1 + max((ONE, *logic.sources, *(lookup.target for lookup in logic.lookups)))
    return [f".reg .b32 %v<{count}>;", f"mov.b32 %v{ZERO}, 0;", f"mov.b32 %v{ONE}, 0xffffffff;"]


def _place(row: int) -> str:
    """Return what computes the address of this thread's word in a row."""
    return f"mad.lo.u64 %at, %stride, {row}, %column;"


def _look_ups(logic: Logic) -> Iterator[str]:
    for lookup in logic.lookups:
        first, second, third = (*lookup.operands, *lookup.operands[:1] * 2)[:3]
        yield f"lop3.b32 %v{lookup.target}, %v{third}, %v{second}, %v{first}, {_table(lookup):#04x};"


def _table(lookup: Lookup) -> int:
    """Return the table over three operands; those that are not there do not matter.

    Bit *k* of ``lop3``'s table is for ``k = 4 a + 2 b + c``: the operands of a look-up are given last to first.
    """
    size = 1 << len(lookup.operands)
    return sum(lookup.table << shift for shift in range(0, 8, size))


def _steps(bits: int) -> list[int]:
    """Return the distances of a transposition's stages: half the width, down to one."""
    return [1 << stage for stage in reversed(range(bits.bit_length() - 1))]


def _mask(step: int) -> int:
    """Return the word whose lower ``step`` bits of each ``2 * step`` are set."""
    return sum(((1 << step) - 1) << shift for shift in range(0, _WORD, 2 * step))


def _transposed(words: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """Return what transposes as many words as a code has bits, as matrices side by side, and the results' names."""
    lines: list[str] = []
    names = list(words)
    for step in _steps(len(words)):
        for low in (index for index in range(len(words)) if not index & step):
            high, made = low + step, len(lines)
            up, down, new_low, new_high = (f"{prefix}{made + place}" for place in range(4))
            lines += [f".reg .b32 {up}, {down}, {new_low}, {new_high};",
                      f"shl.b32 {up}, {names[high]}, {step};",
                      f"lop3.b32 {new_low}, %mask{step}, {names[low]}, {up}, {_SELECT:#04x};",
                      f"shr.u32 {down}, {names[low]}, {step};",
                      f"lop3.b32 {new_high}, %mask{step}, {down}, {names[high]}, {_SELECT:#04x};"]
            names[low], names[high] = new_low, new_high
    return lines, names
