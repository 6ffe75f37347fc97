"""Memories of many shapes through the six flows, on many lanes, against lists in Python."""

import itertools

import pytest

from synth import toolchain
from synth.errors import ToolError
from synth.flow import count_cells, elaborate, place, synthesize
from synth.netlist import Family, Simulation, compile_netlist, read_netlist
from synth.store import Store
from synth.targets import TARGETS, find_device
from tests.synth.netlist.memory_designs import Kind, MemoryBank, Shape, compare
from tests.synth.netlist.oracle import needs_yosys, run_yosys

FAMILIES = {"ice40": Family.ICE40, "ecp5": Family.ECP5, "nexus": Family.NEXUS, "gowin": Family.GOWIN,
            "xc7": Family.XILINX, "xcup": Family.XILINX}
LANES = 20
CYCLES = 40

# What a flow makes of the first bank: block RAM, and LUT RAM where the family has any.
WANTED = {"ice40": {"SB_RAM40_4K"}, "ecp5": {"DP16KD", "TRELLIS_DPR16X4"}, "nexus": {"PDPSC16K", "DPR16X4"},
          "gowin": {"SDPX9B", "DPX9B", "RAM16SDP4"}, "xc7": {"RAMB18E1", "RAM32M"}, "xcup": {"RAMB18E2", "RAM32M16"}}
FIRST = (
    Shape(width=36, depth=512, preset=True),
    Shape(width=16, depth=512, reads=(Kind.TRANSPARENT, Kind.CLOCKED), granularity=8),
    Shape(width=6, depth=20, reads=(Kind.ASYNCHRONOUS,), preset=True),
)
BANKS = {
    "deep": (Shape(width=1, depth=16384, preset=True), Shape(width=2, depth=8192), Shape(width=4, depth=4096),
             Shape(width=9, depth=2048, preset=True), Shape(width=18, depth=1024)),
    "wide": (Shape(width=72, depth=512, preset=True), Shape(width=128, depth=64, reads=(Kind.CLOCKED,) * 3),
             Shape(width=40, depth=200)),
    "masked": (Shape(width=16, depth=256, granularity=1), Shape(width=16, depth=1024, granularity=4),
               Shape(width=36, depth=512, granularity=9, reads=(Kind.TRANSPARENT,))),
    "asynchronous": (Shape(width=4, depth=64, reads=(Kind.ASYNCHRONOUS,) * 2, preset=True),
                     Shape(width=6, depth=32, reads=(Kind.ASYNCHRONOUS,) * 3),
                     Shape(width=1, depth=128, reads=(Kind.ASYNCHRONOUS,)), Shape(width=8, depth=16, reads=(
                         Kind.ASYNCHRONOUS, Kind.CLOCKED, Kind.TRANSPARENT))),
    "single": (Shape(width=8, depth=2048, shared=True), Shape(width=36, depth=512, shared=True, preset=True)),
    "shared": (Shape(width=36, depth=512, shared=True, reads=(Kind.TRANSPARENT,)),
               Shape(width=8, depth=2048, shared=True, reads=(Kind.CLOCKED,) * 2),
               Shape(width=8, depth=64, shared=True, reads=(Kind.ASYNCHRONOUS,)),
               Shape(width=2, depth=128, shared=True, reads=(Kind.ASYNCHRONOUS,) * 2)),
    "constant": (Shape(width=12, depth=1024, writes=0, preset=True),
                 Shape(width=4, depth=32, writes=0, preset=True, reads=(Kind.ASYNCHRONOUS,)),
                 Shape(width=16, depth=512, enabled=False, preset=True)),
    "cleared": (Shape(width=16, depth=512, reads=(Kind.ASYNCHRONOUS,), reset=True, preset=True),
                Shape(width=4, depth=4096, reads=(Kind.ASYNCHRONOUS,) * 2, reset=True)),
}


def mapped(folder, target, shapes):
    (folder / "design.il").write_text(elaborate(MemoryBank(shapes)).rtlil)
    run_yosys(folder, TARGETS[target].script(dsp=False))
    return read_netlist(folder / "mapped.json")


@needs_yosys
@pytest.mark.parametrize("target", [
    target if target == "ecp5" else pytest.param(target, marks=pytest.mark.slow)
    for target in TARGETS])
def test_mapped_memories_equal_lists(target, tmp_path):
    netlist = mapped(tmp_path, target, FIRST)
    assert {cell.type for cell in netlist.cells} & WANTED[target] == WANTED[target]
    simulation = Simulation(compile_netlist(netlist, FAMILIES[target]), LANES)
    compare(simulation, FIRST, cycles=CYCLES, seed=1)
    simulation.reset()                                   # the initial contents are back
    compare(simulation, FIRST, cycles=5, seed=2)


def every_bank():
    for target, bank in itertools.product(TARGETS, BANKS):
        # Yosys 0.70 gives RAM512X1S of UltraScale 16 address bits, takes it for every deep memory of one port, and
        # stops when it maps it: "invalid OPTION_ABITS/WIDTH combination".
        broken = (target, bank) == ("xcup", "single")
        yield pytest.param(target, bank, marks=[pytest.mark.xfail(
            raises=ToolError, strict=True, reason="Yosys 0.70 stops at it")] if broken else [])


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize(("target", "bank"), list(every_bank()))
def test_mapped_memories_of_every_shape_equal_lists(target, bank, tmp_path):
    netlist = mapped(tmp_path, target, BANKS[bank])
    simulation = Simulation(compile_netlist(netlist, FAMILIES[target]), LANES)
    compare(simulation, BANKS[bank], cycles=CYCLES, seed=bank)


BLOCK_RESOURCES = {"ice40": "ICESTORM_RAM", "ecp5": "DP16KD", "nexus": "OXIDE_EBR", "gowin": "BSRAM"}


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("target", BLOCK_RESOURCES)
def test_memories_are_placed_and_counted_as_mapped(target, tmp_path):
    """Block RAMs and LUT RAMs in the timing harness: nextpnr counts what the family's rules count."""
    family = TARGETS[target]
    if not toolchain.is_installed(family.place_and_route.tool):
        pytest.skip(f"{family.place_and_route.tool} is not installed")
    store = Store(tmp_path / "store", warn=pytest.fail)
    shapes = (Shape(width=16, depth=512, enabled=False), Shape(width=8, depth=16, reads=(Kind.ASYNCHRONOUS,)))
    design = synthesize(elaborate(MemoryBank(shapes)), family, store=store, folder=tmp_path, dsp=False, timeout=300)
    counts = count_cells(family, design.cells)
    placed = place(design, family, find_device(family, None), seed=1, store=store, folder=tmp_path, timeout=300)
    assert counts["bram"] == placed.utilization[BLOCK_RESOURCES[target]] >= 1
    assert placed.ff == counts["ff"]
    if target == "gowin":                                # a LUT in front of every flip-flop that a LUT does not drive
        assert counts["lut"] <= placed.lut <= counts["lut"] + counts["ff"] + 24
    else:
        assert placed.lut == counts["lut"] + design.cells.get("VLO", 0)          # nextpnr drives that from a LUT
