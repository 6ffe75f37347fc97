"""The native code of a matrix product: a loop for each step, and a driver that lets blocks of lanes go through them.

A *block* is as many elements of the result as a register has lanes. Its state stays in two small buffers from the
first pair to the result: each cycle reads one and writes the other, so that what is read can be loaded again. Operands
come in two forms: along the lanes as planes, a register for each bit; across them as a byte a bit, in which bit *w* is
what all lanes of word *w* of the register hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from synth.native.specialise import PortKind, Step
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import emit_block, vector_type, word_type

__all__ = ["BLOCK_FIELDS", "DRIVER", "RUN_FIELDS", "STEP", "driver_function", "step_function"]

STEP, DRIVER = "step", "driver"

RUN_FIELDS = 3
"""Words of a run in the driver's table: the address of the step, repeats, whether they advance."""

BLOCK_FIELDS = 3
"""Words of a block in the driver's table: where its operands across and along the lanes and its result start, in
bytes."""

_ALIGNED_STACK = '"stackrealign"'
"""Without it LLVM spills registers to a stack of 16-byte alignment, so that they straddle cache lines."""

_STEP_ARGUMENTS = ("ptr %state, ptr %next, ptr noalias %across, ptr noalias %along, ptr noalias %told, "
                   "ptr noalias %result, i64 %row, i64 %across_step, i64 %along_step, i64 %told_step, i64 %repeats")


def step_function(step: Step, isa: InstructionSet, *, along: PortKind) -> str:
    """Return the loop that repeats a step, as a function of LLVM's language.

    It takes the addresses of the state before the first repetition, and of that after it, which change places with
    each; of the operand across the lanes, of the one along them, of what steps are told, and of the result; the bytes
    between the planes of neighbouring bits along the lanes; by how many bytes the operands and what is told advance
    with each repetition; and how often it is repeated, at least once.

    Parameters
    ----------
    along : PortKind
        Which operand lies along the lanes: A or B.
    """
    body = _Body(step, isa, along)
    lines = [f"define void @{STEP}({_STEP_ARGUMENTS}) {_ALIGNED_STACK} {{", "entry:", *body.addresses,
             "br label %loop", "loop:",
             "%i = phi i64 [ 0, %entry ], [ %i_next, %loop ]",
             "%s = phi ptr [ %state, %entry ], [ %n, %loop ]",
             "%n = phi ptr [ %next, %entry ], [ %s, %loop ]",
             "%x = phi ptr [ %across, %entry ], [ %x_next, %loop ]",
             "%y = phi ptr [ %along, %entry ], [ %y_next, %loop ]",
             "%t = phi ptr [ %told, %entry ], [ %t_next, %loop ]",
             *body.lines,
             "%x_next = getelementptr i8, ptr %x, i64 %across_step",
             "%y_next = getelementptr i8, ptr %y, i64 %along_step",
             "%t_next = getelementptr i8, ptr %t, i64 %told_step",
             "%i_next = add i64 %i, 1", "%more = icmp slt i64 %i_next, %repeats",
             "br i1 %more, label %loop, label %exit", "exit:", "ret void", "}"]
    return "\n".join(lines)


class _Body:
    """The lines of one repetition, and those in front of the loop."""

    def __init__(self, step: Step, isa: InstructionSet, along: PortKind) -> None:
        self._step, self._isa, self._along = step, isa, along
        self._type = vector_type(isa)
        self.addresses = [f"%{along.value}{port.index}o = mul i64 %row, {port.index}" for port in step.sources
                          if port.kind is along]
        self.lines = emit_block(step.logic, isa, self._load, self._store, reload=True)

    def _load(self, place: int) -> tuple[list[str], str]:
        port = self._step.sources[place]
        name = f"%{port.kind.value}{port.index}"
        if port.kind is PortKind.SLOT:
            return [f"{name}p = getelementptr i8, ptr %s, i64 {port.index * self._isa.bytes}",
                    f"{name} = load {self._type}, ptr {name}p, align {self._isa.bytes}"], name
        if port.kind is PortKind.TOLD:
            return self._load_told(name, port.index)
        if port.kind is self._along:
            return [f"{name}p = getelementptr i8, ptr %y, i64 {name}o",
                    f"{name} = load {self._type}, ptr {name}p, align 8"], name
        return self._load_across(name, port.index)

    def _load_across(self, name: str, index: int) -> tuple[list[str], str]:
        """Spread the bits of a byte to the words of a register."""
        lines = [f"{name}p = getelementptr i8, ptr %x, i64 {index}", f"{name}y = load i8, ptr {name}p"]
        words, kind = self._isa.words, word_type(self._isa)
        if words == 1:
            return [*lines, f"{name}b = trunc i8 {name}y to i1", f"{name} = sext i1 {name}b to i64"], name
        if words == 8:                                   # which has registers of bits
            lines += [f"{name}b = bitcast i8 {name}y to <8 x i1>", f"{name}w = sext <8 x i1> {name}b to {kind}"]
        else:
            places = f"<{', '.join(f'i64 {1 << word}' for word in range(words))}>"
            lines += [f"{name}z = zext i8 {name}y to i64", f"{name}s = insertelement {kind} poison, i64 {name}z, i32 0",
                      f"{name}v = shufflevector {kind} {name}s, {kind} poison, <{words} x i32> zeroinitializer",
                      f"{name}m = and {kind} {name}v, {places}", f"{name}b = icmp eq {kind} {name}m, {places}",
                      f"{name}w = sext <{words} x i1> {name}b to {kind}"]
        return [*lines, f"{name} = bitcast {kind} {name}w to {self._type}"], name

    def _load_told(self, name: str, index: int) -> tuple[list[str], str]:
        """Spread a bit to all lanes."""
        words, kind = self._isa.words, word_type(self._isa)
        lines = [f"{name}p = getelementptr i8, ptr %t, i64 {index}", f"{name}y = load i8, ptr {name}p",
                 f"{name}n = sub i8 0, {name}y"]
        if words == 1:
            return [*lines, f"{name} = sext i8 {name}n to i64"], name
        return [*lines, f"{name}z = sext i8 {name}n to i64",
                f"{name}s = insertelement {kind} poison, i64 {name}z, i32 0",
                f"{name}w = shufflevector {kind} {name}s, {kind} poison, <{words} x i32> zeroinitializer",
                f"{name} = bitcast {kind} {name}w to {self._type}"], name

    def _store(self, place: int, value: str) -> list[str]:
        port = self._step.targets[place]
        name, base, alignment = (("r", "result", 8) if port.kind is PortKind.RESULT else ("n", "n", self._isa.bytes))
        return [f"%{name}{port.index} = getelementptr i8, ptr %{base}, i64 {port.index * self._isa.bytes}",
                f"store {self._type} {value}, ptr %{name}{port.index}, align {alignment}"]


def driver_function() -> str:
    """Return the function that takes blocks through all runs.

    It takes the addresses of the table of runs, of the table of blocks, of both buffers of the state, of the operands
    across and along the lanes, of what steps are told, and of the results; then the number of runs, the first block and
    the one behind the last, and the bytes of a pair across and along the lanes, between planes of neighbouring bits,
    and of what a cycle is told.
    """
    return "\n".join(_DRIVER_LINES)


def _loaded(name: str, table: str, index: str, offset: int) -> Sequence[str]:
    return (f"%{name}_at = getelementptr i64, ptr %{table}, i64 {index}",
            f"%{name}_place = getelementptr i64, ptr %{name}_at, i64 {offset}",
            f"%{name} = load i64, ptr %{name}_place")


_DRIVER_LINES = (
    f"define void @{DRIVER}(ptr %runs, ptr %blocks, ptr %state, ptr %other, ptr %across, ptr %along, "
    "ptr %told, ptr %results, i64 %count, i64 %first, i64 %end, i64 %across_pair, i64 %along_pair, i64 %row, "
    "i64 %told_cycle) {",
    "entry:",
    "br label %blocks_test",
    "blocks_test:",
    "%block = phi i64 [ %first, %entry ], [ %block_next, %block_done ]",
    "%any = icmp slt i64 %block, %end",
    "br i1 %any, label %block_start, label %exit",
    "block_start:",
    f"%block_index = mul i64 %block, {BLOCK_FIELDS}",
    *_loaded("across_start", "blocks", "%block_index", 0),
    *_loaded("along_start", "blocks", "%block_index", 1),
    "%x_first = getelementptr i8, ptr %across, i64 %across_start",
    "%y_first = getelementptr i8, ptr %along, i64 %along_start",
    *_loaded("result_start", "blocks", "%block_index", 2),
    "%result = getelementptr i8, ptr %results, i64 %result_start",
    "br label %run",
    "run:",
    "%number = phi i64 [ 0, %block_start ], [ %number_next, %run ]",
    "%s = phi ptr [ %state, %block_start ], [ %s_next, %run ]",
    "%n = phi ptr [ %other, %block_start ], [ %n_next, %run ]",
    "%x = phi ptr [ %x_first, %block_start ], [ %x_next, %run ]",
    "%y = phi ptr [ %y_first, %block_start ], [ %y_next, %run ]",
    "%t = phi ptr [ %told, %block_start ], [ %t_next, %run ]",
    f"%run_index = mul i64 %number, {RUN_FIELDS}",
    *_loaded("address", "runs", "%run_index", 0),
    *_loaded("repeats", "runs", "%run_index", 1),
    *_loaded("advances", "runs", "%run_index", 2),
    "%step = inttoptr i64 %address to ptr",
    "%x_step = mul i64 %across_pair, %advances",
    "%y_step = mul i64 %along_pair, %advances",
    "call void %step(ptr %s, ptr %n, ptr %x, ptr %y, ptr %t, ptr %result, i64 %row, i64 %x_step, i64 %y_step, "
    "i64 %told_cycle, i64 %repeats)",
    "%odd = trunc i64 %repeats to i1",
    "%s_next = select i1 %odd, ptr %n, ptr %s",
    "%n_next = select i1 %odd, ptr %s, ptr %n",
    "%x_bytes = mul i64 %x_step, %repeats",
    "%y_bytes = mul i64 %y_step, %repeats",
    "%t_bytes = mul i64 %told_cycle, %repeats",
    "%x_next = getelementptr i8, ptr %x, i64 %x_bytes",
    "%y_next = getelementptr i8, ptr %y, i64 %y_bytes",
    "%t_next = getelementptr i8, ptr %t, i64 %t_bytes",
    "%number_next = add i64 %number, 1",
    "%more = icmp slt i64 %number_next, %count",
    "br i1 %more, label %run, label %block_done",
    "block_done:",
    "%block_next = add i64 %block, 1",
    "br label %blocks_test",
    "exit:",
    "ret void",
    "}",
)
