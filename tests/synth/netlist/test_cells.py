"""Every cell model against Yosys' own simulation model of that cell."""

import random

import numpy as np
import pytest

from synth.netlist import Family, Simulation, compile_netlist, read_netlist
from synth.netlist.cells import library
from tests.synth.netlist import cell_cases
from tests.synth.netlist.oracle import build_cases, needs_yosys

FAMILIES = {
    "ice40": (Family.ICE40, cell_cases.ice40_cases, ("ice40/cells_sim.v",)),
    "ecp5": (Family.ECP5, cell_cases.ecp5_cases, (
        "lattice/common_sim.vh", "lattice/ccu2c_sim.vh", "lattice/cells_ff.vh")),
    "nexus": (Family.NEXUS, cell_cases.nexus_cases, ("lattice/cells_sim_nexus.v",)),
    "gowin": (Family.GOWIN, cell_cases.gowin_cases, ("gowin/cells_sim.v",)),
    "xilinx": (Family.XILINX, cell_cases.xilinx_cases, ("xilinx/cells_sim.v",)),
    "gates": (Family.ICE40, cell_cases.gate_cases, ()),
}
# Pads, whose Yosys models are tristate, are tested in test_pads.py; cells without a model in test_multipliers.py,
# test_dsp_blocks.py (arithmetic) and test_pads.py (buffers); $lut, which the judge's gates are made of, in
# test_yosys_gates.py; the global reset, which the models leave out, in test_simulation.py.
TESTED_ELSEWHERE = {
    "ice40": {"SB_IO", "SB_GB_IO"},
    "ecp5": {"TRELLIS_IO", "IB", "OB", "OBZ", "BB", "MULT18X18D", "GSR", "SGSR", "DCCA", "DP16KD"},
    "nexus": {"OBZ", "BB", "GSR", "SGSR", "DCC", "DP16K", "PDP16K", "PDPSC16K", *(f"FD1{s}" for s in (
        "P3AX", "P3AY", "S3AX", "S3AY", "S3BX", "S3DX", "S3IX", "S3JX"))},   # one code with ECP5, which has the models
    "gowin": {"MULT9X9", "MULT18X18", "MULT36X36", "MULTALU18X18", "INV", "BUFG", "BUFS", "TBUF", "IOBUF", "SP",
              "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"},
    "xilinx": {"DSP48E2", "OBUFT", "IOBUF", "BUFH", "RAMB18E1", "RAMB18E2", "RAMB36E1", "RAMB36E2"},
    "gates": {"$_TBUF_", "$lut"},
}
CYCLES = 32
LANES = 64
EXHAUSTIVE_BITS = 10
RARE = {"R", "S", "CLR", "PRE", "LSR", "CD", "PD", "SET", "RESET", "PRESET", "CLEAR"}


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.slow) if name in ("nexus", "xilinx") else name for name in FAMILIES])
def built(request, tmp_path_factory):
    family, make_cases, files = FAMILIES[request.param]
    cases = make_cases()
    return family, list(zip(cases, build_cases(tmp_path_factory.mktemp(request.param), cases, files), strict=True))


@needs_yosys
def test_every_cell_equals_yosys_model(built):
    family, cases = built
    for case, (mapped, name, model) in cases:
        compare(case, compile_netlist(read_netlist(mapped, top=name), family), model)


def compare(case, program, model):
    """Run program and model side by side: settle, compare, rising edge, falling edge."""
    total = sum(case.inputs.values())
    exhaustive = case.clock is None and total <= EXHAUSTIVE_BITS
    lanes = 1 << total if exhaustive else LANES
    mask = (1 << lanes) - 1
    rng = random.Random(str(case))
    simulation = Simulation(program, lanes)
    state = model.reset(mask)
    offered = {port.name for port in program.inputs}
    clock = {"clk": [0]} if case.clock else {}
    for cycle in range(CYCLES if case.clock else 1 if exhaustive else 4):
        codes = exhaustive_codes(case.inputs) if exhaustive else {
            port: [stimulus(rng, port, width) for _ in range(lanes)] for port, width in case.inputs.items()}
        for port, values in codes.items():
            if f"{port}_i" in offered:
                simulation.set(f"{port}_i", values_array(values))
        inputs = {f"{port}_i": to_planes(codes[port], width) for port, width in case.inputs.items()}
        wanted = model.outputs({**inputs, **clock}, state, mask)
        for port, planes in wanted.items():
            got = simulation.get(port)
            for lane in range(lanes):
                want = sum((plane >> lane & 1) << bit for bit, plane in enumerate(planes))
                assert int(got[lane]) == want, (
                    f"{case} cycle {cycle} inputs { {port: values[lane] for port, values in codes.items()} } "
                    f"{port}: got {int(got[lane]):#x}, want {want:#x}")
        if case.clock:
            state = model.clocked({**inputs, "clk": [0]}, state, mask, rising=True)
            state = model.clocked({**inputs, "clk": [mask]}, state, mask, rising=False)
            if program.clocks:
                simulation.step("clk")


def exhaustive_codes(inputs):
    lanes = range(1 << sum(inputs.values()))
    codes, position = {}, 0
    for port, width in inputs.items():
        codes[port] = [lane >> position & (1 << width) - 1 for lane in lanes]
        position += width
    return codes


def stimulus(rng, port, width):
    """A random code: resets rarely, and of wide operands the corners and small magnitudes often."""
    if width == 1:
        return int(rng.random() < (0.1 if port in RARE or "RST" in port else 0.6))
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice((0, 1, (1 << width) - 1, 1 << width - 1, (1 << width - 1) - 1))
    if kind == 1:
        return (rng.getrandbits(8) - 128) & (1 << width) - 1
    return rng.getrandbits(width)


def to_planes(codes, width):
    return [sum((code >> bit & 1) << lane for lane, code in enumerate(codes)) for bit in range(width)]


def values_array(values):
    return np.array(values, object if max(values).bit_length() > 63 else np.uint64)


def test_every_cell_has_a_case():
    for name, (family, make_cases, _) in FAMILIES.items():
        cells = set(library(family)) if name != "gates" else {cell for cell in library(family) if cell[0] == "$"}
        if name != "gates":
            cells = {cell for cell in cells if cell[0] != "$"}
        tested = {case.cell.strip("\\ ") for case in make_cases()}
        assert tested | TESTED_ELSEWHERE[name] == cells, name
        assert not tested & TESTED_ELSEWHERE[name], name
