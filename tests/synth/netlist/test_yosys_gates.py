"""Yosys' look-up table; its other gates are in ``test_cells.py``."""

import json
import random

import numpy as np
import pytest

from synth.netlist import NetlistError, NumpyEngine, compile_netlist, read_netlist
from tests.synth.netlist.builders import design
from tests.synth.netlist.oracle import GateModel, needs_yosys, run_yosys


def lut(table, inputs, output, **parameters):
    width = len(inputs)
    return ("$lut", {"LUT": format(table, f"0{1 << width}b"), "WIDTH": width, **parameters}, {"A": inputs, "Y": output})


def compiled(table, inputs, **parameters):
    nets = [bit for bit in dict.fromkeys(inputs) if isinstance(bit, int)]
    return compile_netlist(read_netlist(design({"a": ("input", nets or [2]), "y": ("output", [99])},
                                               {"u": lut(table, inputs, 99, **parameters)})))


@pytest.mark.parametrize("width", range(1, 7))
def test_lut_is_its_table(width):
    rng = random.Random(width)
    for table in range(1 << (1 << width)) if width < 3 else [rng.getrandbits(1 << width) for _ in range(8)]:
        got = NumpyEngine(compiled(table, list(range(2, 2 + width)))).run({"a": np.arange(1 << width)})["y"].tolist()
        assert got == [table >> index & 1 for index in range(1 << width)], f"{width} {table:#x}"


def test_lut_takes_constants_and_one_net_twice():
    for table in range(256):
        got = NumpyEngine(compiled(table, [2, "1", 2])).run({"a": [0, 1]})["y"].tolist()
        assert got == [table >> 0b010 & 1, table >> 0b111 & 1], f"{table:#x}"


@needs_yosys
def test_lut_equals_yosys_model(tmp_path):
    rng = random.Random(3)
    tables = [rng.getrandbits(16) for _ in range(12)]
    cells = "".join(f"  \\$lut #(.WIDTH(4), .LUT(16'd{table})) u{index} (.A(a), .Y(y[{index}]));\n"
                    for index, table in enumerate(tables))
    (tmp_path / "luts.v").write_text(f"module top (input [3:0] a, output [11:0] y);\n{cells}endmodule\n")
    run_yosys(tmp_path, "read_verilog -icells luts.v\nhierarchy -top top\nwrite_json luts.json\n"
                        "simplemap\nopt_clean\nwrite_json gates.json\n")
    model = GateModel(json.loads((tmp_path / "gates.json").read_text())["modules"]["top"])
    planes = [sum(1 << code for code in range(16) if code >> bit & 1) for bit in range(4)]
    want = model.outputs({"a": planes}, {}, 0xFFFF)["y"]
    got = NumpyEngine(compile_netlist(read_netlist(tmp_path / "luts.json"))).run({"a": np.arange(16)})["y"]
    for index, table in enumerate(tables):
        plane = sum(1 << code for code in range(16) if int(got[code]) >> index & 1)
        assert plane == want[index] == table, f"table {table:#x}: got {plane:#x}, want {want[index]:#x}"


def test_lut_width_wrong():
    with pytest.raises(NetlistError, match=r"Parameter WIDTH must be at most 9, not 10 \(cell 'u' \(\$lut\)\)"):
        compiled(0, list(range(2, 12)))
    with pytest.raises(NetlistError, match=r"Parameter LUT must have at most 4 bits, not 8'b10000000"):
        compiled(0x80, [2, 3, 4], WIDTH=2)
    with pytest.raises(NetlistError, match=r"pin A\[2\] of cell 'u' \(\$lut\) is unconnected"):
        compiled(0x80, [2, 3], WIDTH=3)


def test_lut_ports_wrong():
    with pytest.raises(NetlistError, match=r"Ports of a ice40 \$lut must be .*'Y': 2"):
        compile_netlist(read_netlist(design({"a": ("input", [2]), "y": ("output", [8, 9])}, {"u": (
            "$lut", {"LUT": "01", "WIDTH": 1}, {"A": [2], "Y": [8, 9]})})))
