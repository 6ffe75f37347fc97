"""One small design through the six flows, with and without hard multipliers, against plain integers."""

import copy
import json
import random

import numpy as np
import pytest

from synth.netlist import Family, NumpyEngine, Simulation, compile_netlist, read_netlist
from tests.synth.netlist.oracle import needs_yosys, run_yosys

FLOWS = {
    "ice40": (Family.ICE40, "synth_ice40"),
    "ecp5": (Family.ECP5, "synth_ecp5 -nodsp"),
    "nexus": (Family.NEXUS, "synth_nexus -nodsp"),
    "gowin": (Family.GOWIN, "synth_gowin -nodsp"),
    "xc7": (Family.XILINX, "synth_xilinx -family xc7 -flatten -nodsp"),
    "xcup": (Family.XILINX, "synth_xilinx -family xcup -flatten -nodsp -noiopad -noclkbuf"),
    "ice40-dsp": (Family.ICE40, "synth_ice40 -dsp"),
    "ecp5-dsp": (Family.ECP5, "synth_ecp5"),
    "nexus-dsp": (Family.NEXUS, "synth_nexus"),
    "gowin-dsp": (Family.GOWIN, "synth_gowin"),
    "xc7-dsp": (Family.XILINX, "synth_xilinx -family xc7 -flatten"),
    "xcup-dsp": (Family.XILINX, "synth_xilinx -family xcup -flatten -noiopad -noclkbuf"),
}
MULTIPLIERS = {"SB_MAC16", "MULT18X18D", "MULT9X9", "MULT18X18", "MULTADDSUB18X18", "DSP48E1", "DSP48E2"}
TABLE = [random.Random(256).getrandbits(8) for _ in range(256)]

VERILOG = """
module top(input clk, rst, arst, en, input [7:0] a, b,
           output [8:0] sum, difference, output [7:0] addsub, output less, less_signed, equal, picked,
           output [15:0] product, output signed [15:0] signed_product, output reg [7:0] looked_up,
           output reg [7:0] count, enabled_first, asynchronous, falling, output reg signed [23:0] total,
           output reg [15:0] pipelined, output [3:0] delayed);
  assign sum = a + b, difference = {1'b0, a} - {1'b0, b}, addsub = a[0] ? a - b : a + b;
  assign less = a < b, less_signed = $signed(a) < $signed(b), equal = a == b, picked = {a, ~a, a ^ b, a & b}[b[4:0]];
  assign product = a * b, signed_product = $signed(a) * $signed(b);
  always @* case (a) TABLE endcase
  initial begin count = 8'hf0; falling = 0; end
  always @(posedge clk) if (rst) count <= 8'hf0; else if (en) count <= count + 1;
  always @(posedge clk) if (en) begin if (rst) enabled_first <= 8'h0f; else enabled_first <= enabled_first + a; end
  always @(posedge clk or posedge arst) if (arst) asynchronous <= 8'h3c; else if (en) asynchronous <= a;
  always @(negedge clk) if (en) falling <= falling ^ b;
  always @(posedge clk) if (rst) total <= 0; else if (en) total <= total + $signed(a) * $signed(b);
  reg [7:0] ra, rb;
  always @(posedge clk) if (rst) begin ra <= 0; rb <= 0; pipelined <= 0; end
                        else begin ra <= a; rb <= b; pipelined <= ra * rb; end
  reg [3:0] line [0:6]; integer i;
  always @(posedge clk) begin line[0] <= a[3:0]; for (i = 1; i < 7; i = i + 1) line[i] <= line[i - 1]; end
  assign delayed = line[6];
endmodule
""".replace("TABLE", " ".join(f"{code}: looked_up = {value};" for code, value in enumerate(TABLE)))
# `{...}[...]` is no Verilog; a wire holds the vector.
VERILOG = VERILOG.replace("picked = {a, ~a, a ^ b, a & b}[b[4:0]]", "picked = choices[b[4:0]]").replace(
    "  assign sum", "  wire [31:0] choices = {a, ~a, a ^ b, a & b};\n  assign sum", 1)


@pytest.fixture(scope="module", params=[
    name if name in ("ice40", "ecp5", "xc7-dsp") else pytest.param(name, marks=pytest.mark.slow) for name in FLOWS])
def flow(request, tmp_path_factory):
    family, synth = FLOWS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "top.v").write_text(VERILOG)
    run_yosys(folder, f"read_verilog top.v\n{synth} -top top\nselect top\nwrite_json -selected top.json\n")
    netlist = read_netlist(folder / "top.json")
    return request.param, netlist, compile_netlist(netlist, family)


def signed(codes, width):
    codes = np.asarray(codes, np.int64)
    return codes - ((codes >> width - 1 & 1) << width)


@needs_yosys
def test_mapped_design_equals_integers(flow):
    name, netlist, program = flow
    types = {cell.type for cell in netlist.cells}
    assert bool(types & MULTIPLIERS) == name.endswith("-dsp"), "the flow must use what this case is about"
    check_combinational(program)
    check_clocked(program)


def check_combinational(program):
    """All 65,536 pairs of operands."""
    engine = NumpyEngine(program)
    a, b = (codes.reshape(-1) for codes in np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    constants = {"rst": 0, "en": 0, "arst": 0}
    got = engine.run_exhaustive(["a", "b"], constants=constants)
    choices = (a << 24) | ((~a & 255) << 16) | ((a ^ b) << 8) | (a & b)
    want = {
        "sum": a + b, "difference": (a - b) & 511, "addsub": np.where(a & 1, a - b, a + b) & 255, "less": a < b,
        "less_signed": signed(a, 8) < signed(b, 8), "equal": a == b, "picked": choices >> (b & 31) & 1,
        "product": a * b, "signed_product": signed(a, 8) * signed(b, 8) & 0xFFFF, "looked_up": np.array(TABLE)[a],
    }
    for port, codes in want.items():
        wrong = np.flatnonzero(got[port] != codes)
        assert not wrong.size, (port, [(int(a[k]), int(b[k]), int(got[port][k]), int(codes[k])) for k in wrong[:3]])
    again = engine.run({"a": a, "b": b, **constants})
    assert all((again[port] == got[port]).all() for port in want)


def check_clocked(program):
    """Random stimulus on independent lanes, against the same registers in numpy."""
    lanes, rng = 192, np.random.default_rng(12)
    simulation = Simulation(program, lanes)
    zero = np.zeros(lanes, np.int64)
    count, falling, total, ra, rb, pipelined, asynchronous, enabled_first = (
        zero + 0xF0, zero, zero, zero, zero, zero, zero, zero)
    line = [zero] * 7
    for cycle in range(60):
        a, b = rng.integers(0, 256, (2, lanes))
        rst, arst = (rng.random((2, lanes)) < (0.15 if cycle > 2 else 1.0)).astype(np.int64)
        en = rng.integers(0, 2, lanes) if cycle > 2 else zero + 1    # first the registers that start undefined
        for port, codes in (("a", a), ("b", b), ("rst", rst), ("arst", arst), ("en", en)):
            simulation.set(port, codes)
        asynchronous = np.where(arst, 0x3C, asynchronous)
        if cycle > 8:
            want = {"count": count, "falling": falling, "total": total & 0xFFFFFF, "pipelined": pipelined,
                    "asynchronous": asynchronous, "enabled_first": enabled_first, "delayed": line[6]}
            for port, codes in want.items():
                wrong = np.flatnonzero(simulation.get(port) != codes)
                assert not wrong.size, (cycle, port, int(wrong[0]), int(simulation.get(port)[wrong[0]]),
                                        int(codes[wrong[0]]))
        simulation.step("clk")
        count = np.where(rst, 0xF0, (count + en) & 255)
        enabled_first = np.where(en, np.where(rst, 0x0F, (enabled_first + a) & 255), enabled_first)
        asynchronous = np.where(arst, 0x3C, np.where(en, a, asynchronous))
        falling = np.where(en, falling ^ b, falling)
        total = np.where(rst, 0, total + np.where(en, signed(a, 8) * signed(b, 8), 0))
        ra, rb, pipelined = np.where(rst, 0, a), np.where(rst, 0, b), np.where(rst, 0, ra * rb)
        line = [a & 15, *line[:-1]]


@needs_yosys
def test_flipped_table_bit_changes_exactly_the_vectors_that_reach_it(tmp_path):
    """A mutant differs where, and only where, the inputs of its look-up table show the flipped entry."""
    (tmp_path / "top.v").write_text("""
        module top(input [5:0] a, b, output [6:0] y); assign y = (a & ~b) + {a[0], b[5:1]}; endmodule""")
    run_yosys(tmp_path, "read_verilog top.v\nsynth_ice40 -top top\nwrite_json top.json\n")
    document = json.loads((tmp_path / "top.json").read_text())
    cells = document["modules"]["top"]["cells"]
    wanted = NumpyEngine(compile_netlist(read_netlist(document))).run_exhaustive()["y"]
    tables = {name: cell for name, cell in cells.items() if cell["type"] == "SB_LUT4"}
    outputs = set(document["modules"]["top"]["ports"]["y"]["bits"])
    checked = 0
    for name, cell in tables.items():
        output = cell["connections"]["O"][0]
        if output not in outputs:
            continue
        pins = [cell["connections"][f"I{index}"][0] for index in range(4)]
        seen = observe(document, pins)
        for entry in range(16):
            mutant = copy.deepcopy(document)
            table = list(cell["parameters"]["LUT_INIT"])
            table[15 - entry] = "10"[int(table[15 - entry])]
            mutant["modules"]["top"]["cells"][name]["parameters"]["LUT_INIT"] = "".join(table)
            got = NumpyEngine(compile_netlist(read_netlist(mutant))).run_exhaustive()["y"]
            assert ((got != wanted) == (seen == entry)).all(), (name, entry)
            checked += 1
    assert checked >= 6 * 16


def observe(document, nets):
    """Return, for all vectors of the design, the number that these nets hold."""
    probe = copy.deepcopy(document)
    probe["modules"]["top"]["ports"] = {
        port: data for port, data in probe["modules"]["top"]["ports"].items() if port != "y"}
    probe["modules"]["top"]["ports"]["seen"] = {"direction": "output", "bits": nets}
    return NumpyEngine(compile_netlist(read_netlist(probe))).run_exhaustive(["a", "b"])["seen"]
