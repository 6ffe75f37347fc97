"""An exhaustive check of a two-operand circuit by simulators: Amaranth's own, Icarus Verilog and Verilator."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.bench.native_timing import CPU, Side
from synth.bench.quantize import NotMeasured

VERILATOR_SWEEPS = 16
"""Sweeps of one repeat, so that the start of the program does not count."""

_ICARUS_BENCH = """\
module bench;
    reg [{a}:0] a;
    reg [{b}:0] b;
    wire [{o}:0] o;
    reg [{o}:0] want [0:{last}];
    integer vector, sweep, sweeps, wrong;
    top dut (.a(a), .b(b), .o(o));
    initial begin
        $readmemh("want.hex", want);
        if (!$value$plusargs("sweeps=%d", sweeps)) sweeps = 1;
        wrong = 0;
        for (sweep = 0; sweep < sweeps; sweep = sweep + 1)
            for (vector = 0; vector <= {last}; vector = vector + 1) begin
                {{a, b}} = vector;
                #1 if (o !== want[vector]) wrong = wrong + 1;
            end
        $display("wrong %0d", wrong);
        $finish;
    end
endmodule
"""

_VERILATOR_MAIN = """\
#include <cstdio>
#include <cstdlib>
#include <vector>
#include "Vtop.h"

int main(int count, char **arguments) {{
    const long sweeps = count > 1 ? std::atol(arguments[1]) : 1;
    std::vector<unsigned> want;
    std::FILE *file = std::fopen("want.hex", "r");
    unsigned code;
    while (file && std::fscanf(file, "%x", &code) == 1) want.push_back(code);
    Vtop top;
    long wrong = want.size() == {vectors} ? 0 : 1;
    for (long sweep = 0; sweep < sweeps; sweep++)
        for (unsigned vector = 0; vector < want.size(); vector++) {{
            top.a = vector >> {b_bits};
            top.b = vector & {b_mask};
            top.eval();
            wrong += top.o != want[vector];
        }}
    std::printf("wrong %ld\\n", wrong);
    return 0;
}}
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a circuit with operands ``a`` and ``b`` and result ``o`` must answer.

    Parameters
    ----------
    want : array of shape (2**a bits, 2**b bits)
        Codes of the result.
    result_bits : int
    """

    want: npt.NDArray[Any]
    result_bits: int

    @property
    def operand_bits(self) -> tuple[int, int]:
        """Widths of ``a`` and ``b``."""
        rows, columns = self.want.shape
        return rows.bit_length() - 1, columns.bit_length() - 1

    def write(self, folder: Path) -> None:
        """Write the results in order, ``b`` running fastest, as ``want.hex``."""
        (folder / "want.hex").write_text("".join(f"{code:x}\n" for code in self.want.reshape(-1).tolist()))


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """A simulator with its circuit, ready to be timed.

    Parameters
    ----------
    side : Side
        Its operations are vectors, each compared with what it must be; it raises AssertionError for a wrong one.
    compile_seconds : float
        What it took to make the simulation.
    vectors : int
        How many different ones a repeat runs.
    """

    side: Side
    compile_seconds: float
    vectors: int


def amaranth(component: Any, table: Table, vectors: int) -> Simulator:
    """Prepare Amaranth's simulator, for vectors that are spread evenly over all."""
    from amaranth.sim import Simulator as Engine

    (_, b_bits), want = table.operand_bits, table.want.reshape(-1)
    chosen = [(int(vector) >> b_bits, int(vector) & (1 << b_bits) - 1, int(want[vector]))
              for vector in np.linspace(0, want.size - 1, vectors).astype(int)]
    wrong: list[int] = []

    async def bench(context: Any) -> None:
        bad = 0
        for a, b, o in chosen:
            context.set(component.a, a)
            context.set(component.b, b)
            bad += context.get(component.o) != o
        wrong.append(bad)

    start = time.perf_counter()
    simulator = Engine(component)
    simulator.add_testbench(bench)
    compile_seconds = time.perf_counter() - start

    def run(repeats: int) -> None:
        for _ in range(repeats):
            if wrong:
                simulator.reset()                        # before the first run it would drop the bench unused
            simulator.run()
        _refuse("Amaranth's simulator", sum(wrong))

    return Simulator(side=Side.of(vectors, run, CPU), compile_seconds=compile_seconds, vectors=vectors)


def icarus(verilog: str, table: Table, folder: Path) -> Simulator:
    """Prepare Icarus Verilog in an empty folder.

    Raises
    ------
    NotMeasured
        If it is not installed.
    """
    _needed("iverilog", "vvp")
    a_bits, b_bits = table.operand_bits
    (folder / "design.v").write_text(verilog)
    (folder / "bench.v").write_text(_ICARUS_BENCH.format(a=a_bits - 1, b=b_bits - 1, o=table.result_bits - 1,
                                                         last=table.want.size - 1))
    table.write(folder)
    start = time.perf_counter()
    _run(["iverilog", "-o", "bench.vvp", "bench.v", "design.v"], folder)
    compile_seconds = time.perf_counter() - start
    side = Side.of(table.want.size, lambda repeats: _refuse(
        "Icarus Verilog", _wrong(["vvp", "bench.vvp", f"+sweeps={repeats}"], folder)))
    return Simulator(side=side, compile_seconds=compile_seconds, vectors=table.want.size)


def verilator(verilog: str, table: Table, folder: Path) -> Simulator:
    """Prepare Verilator in an empty folder, with a loop in C++.

    Raises
    ------
    NotMeasured
        If it is not installed.
    """
    _needed("verilator")
    (folder / "design.v").write_text(verilog)
    (folder / "main.cpp").write_text(_VERILATOR_MAIN.format(
        vectors=table.want.size, b_bits=table.operand_bits[1], b_mask=table.want.shape[1] - 1))
    table.write(folder)
    start = time.perf_counter()
    _run(["verilator", "--cc", "--exe", "--build", "-O3", "-CFLAGS", "-O3", "-Wno-fatal", "-Wno-lint", "--top-module",
          "top", "design.v", "main.cpp"], folder)
    compile_seconds = time.perf_counter() - start
    program = str(folder / "obj_dir" / "Vtop")
    side = Side.of(VERILATOR_SWEEPS * table.want.size, lambda repeats: _refuse(
        "Verilator", _wrong([program, str(VERILATOR_SWEEPS * repeats)], folder)))
    return Simulator(side=side, compile_seconds=compile_seconds, vectors=table.want.size)


def _needed(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            raise NotMeasured(f"{tool} is not installed")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = (f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["nothing"])[-1]
        raise NotMeasured(f"{command[0]} ended with {done.returncode}; its last words: {last}")
    return done.stdout


def _wrong(command: list[str], folder: Path) -> int:
    return int(_run(command, folder).split("wrong", 1)[1].split()[0])


def _refuse(simulator: str, wrong: int) -> None:
    if wrong:
        raise AssertionError(f"{simulator} must find every result right, not {wrong} wrong")
