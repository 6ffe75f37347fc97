# amaranth: UnusedElaboratable=no
"""The families' forms of multiply-add slices: as mapped netlists, and on Yosys' own models of the blocks."""

import numpy as np
import pytest

from hw.arith.multiply_add import MultiplyAdd
from sw.reference.packing import Packing
from synth.errors import ToolError
from synth.flow import count_cells, elaborate, place, synthesize
from synth.netlist import Simulation, compile_netlist, read_netlist
from synth.primitives import PLATFORMS, platform_of
from synth.store import Store
from synth.targets import TARGETS, find_device
from tests.support.sampling import sampled
from tests.support.slices import Bank, GatesSimulation, assert_bank_right, chain
from tests.synth.netlist.oracle import needs_yosys
from tests.synth.primitives.oracle import LIBRARIES, build_on_yosys_models, prove_equal

pytestmark = needs_yosys

TIMEOUT = 300


def bank_of(family):
    """Return slices of every kind, with the widest factors and sums that a block of the family takes."""
    platform = platform_of(family)
    wide, narrow = platform.factor_widths
    widest = min(platform.sum_width, 54)
    return [*chain(4, a_width=8, b_width=8, width=20),
            *chain(2, a_width=wide, b_width=narrow, width=widest, start=(1 << widest - 1) + 5, first={"start": 0}),
            *chain(2, a_width=narrow, b_width=wide, width=widest - 1),
            MultiplyAdd(a_width=16, b_width=16, width=32, accumulate=True),
            MultiplyAdd(a_width=narrow, b_width=wide, width=widest, accumulate=True, start=(1 << widest - 1) + 5),
            MultiplyAdd(a_width=9, b_width=8, width=24, start=77)]


# Most LUTs of that bank, as the docstrings of the forms state them. ABC finds some sums of sign bits to be equal.
MOST_LUTS = {
    "ice40": 3 * 20 + 32 + 31 + 32 + 32,       # one a bit of what is taken over or accumulated
    "ecp5": 3 * 20 + 54 + 54 + 32 + 54 + 24,   # the same, to an even number of bits, and the sum with a constant
    "nexus": 3 * 20 + 54 + 53,                 # one a bit of what is taken over
    "gowin": 3 * 20 + 54 + 3 + 53,             # the same, and one for each 1 that a sum taken over may begin with
    "xc7": 0, "xcup": 0}


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.slow) if name in ("xcup", "nexus", "gowin") else name for name in PLATFORMS])
def mapped(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    slices, target = bank_of(request.param), TARGETS[request.param]
    design = elaborate(Bank(slices), platform_of(request.param))
    netlist = synthesize(design, target, store=Store(folder / "store", warn=pytest.fail), folder=folder, dsp=True,
                         timeout=TIMEOUT)
    return target, slices, netlist


def test_mapped_netlist_shows_every_sum(mapped):
    target, slices, netlist = mapped
    program = compile_netlist(read_netlist(netlist.document()))
    assert_bank_right(slices, Simulation(program, 128), lanes=128, cycles=40, seed=len(target.name))


def test_each_slice_is_one_block_with_no_more_luts_than_stated(mapped):
    target, slices, netlist = mapped
    counts = count_cells(target, netlist.cells)
    assert counts["dsp"] == len(slices)
    inverters = netlist.cells.get("LUT1", 0)  # of control signals, where the family's flip-flops cannot invert
    assert counts["lut"] - inverters <= MOST_LUTS[target.name]
    assert inverters <= len(slices)


@sampled("family", LIBRARIES, 1)
def test_form_on_the_model_of_yosys(family, tmp_path):
    wide, narrow = platform_of(family).factor_widths
    width = platform_of(family).sum_width
    slices = [*chain(2, a_width=wide, b_width=narrow, width=width, start=(1 << width - 1) + 5),
              MultiplyAdd(a_width=narrow, b_width=wide, width=width - 1, accumulate=True)]
    circuit = build_on_yosys_models(Bank(slices), family, tmp_path)
    assert_bank_right(slices, GatesSimulation(circuit, 128), lanes=128, cycles=24, seed=len(family))


def small_bank(start):
    return [*chain(2, a_width=3, b_width=3, width=7, start=start, first={"start": 0}),
            MultiplyAdd(a_width=3, b_width=3, width=6, accumulate=True, start=start)]


@pytest.mark.parametrize("family", [
    "ice40", *(pytest.param(family, marks=pytest.mark.slow) for family in LIBRARIES if family != "ice40")])
def test_form_is_proven_equal_to_the_generic_one(family, tmp_path):
    prove_equal(small_bank(5), small_bank(5), family, tmp_path)


@pytest.mark.slow
def test_the_proof_finds_a_difference(tmp_path):
    with pytest.raises(ToolError, match="proof did fail"):
        prove_equal(small_bank(5), small_bank(13), "ice40", tmp_path)


def check_packed(simulation, packing, operands, lanes):
    """Compare the lanes of packed products; ``operands`` are arrays of ``a1``, ``a0`` and what they share."""
    for first in range(0, len(operands[0]), lanes):
        high, low, shared = (codes[first:first + lanes].astype(np.int64) for codes in operands)
        simulation.set("enable", np.ones(lanes, np.int64))
        simulation.set("a0", ((high << packing.spacing) + low) & (1 << packing.operand_width) - 1)
        simulation.set("b0", shared & (1 << packing.shared_width) - 1)
        for _ in range(3):
            simulation.step("clk")
        total = simulation.get("o0").astype(np.int64)
        for lane, operand in enumerate((low, high)):
            got = (total >> packing.spacing * lane & (1 << packing.spacing) - 1) - packing.bias
            wrong = np.flatnonzero(got != operand * shared)
            assert not len(wrong), (f"lane {lane} of ({high[wrong[0]]}, {low[wrong[0]]}) * {shared[wrong[0]]}: got "
                                    f"{got[wrong[0]]}, want {(operand * shared)[wrong[0]]}")


def packed_slices(packing):
    return [MultiplyAdd(a_width=packing.operand_width, b_width=packing.shared_width, width=packing.result_width,
                        start=packing.packed_bias)]


def all_operands(*widths):
    """Return every combination of signed operands, one array each."""
    index = np.arange(1 << sum(widths))
    operands = []
    for width in widths:
        operands.append((index & (1 << width) - 1) - (1 << width - 1))
        index = index >> width
    return operands


def strata(widths, step):
    """Return the combinations of every ``step``-th value and the corners of all operands but the last, of which all."""
    axes = [np.unique([*range(-(1 << width - 1), 1 << width - 1, step), (1 << width - 1) - 1, -1, 0])
            for width in widths[:-1]]
    axes.append(np.arange(-(1 << widths[-1] - 1), 1 << widths[-1] - 1))
    operands = [axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij")]
    padding = -len(operands[0]) % (1 << 14)
    return [np.concatenate([operand, operand[:padding]]) for operand in operands]


# Two int8 operands share a third: with as wide a spacing as the block's wider factor has room for.
PACKED_INT8 = {"xc7": Packing(packed_width=8, shared_width=8, spacing=16),
               "xcup": Packing(packed_width=8, shared_width=8, spacing=18)}


def packed_int8(family, folder, lanes):
    """Return the packed int8 slice on Yosys' model of DSP48E1, and as a mapped netlist of DSP48E2."""
    slices = packed_slices(PACKED_INT8[family])
    if family in LIBRARIES:
        return GatesSimulation(build_on_yosys_models(Bank(slices), family, folder), lanes)
    netlist = synthesize(elaborate(Bank(slices), platform_of(family)), TARGETS[family], folder=folder, dsp=True,
                         store=Store(folder / "store", warn=pytest.fail), timeout=TIMEOUT)
    assert dict(netlist.cells) == {"DSP48E2": 1}
    return Simulation(compile_netlist(read_netlist(netlist.document())), lanes)


def test_two_int8_products_on_one_block(tmp_path):
    operands = strata((8, 8, 8), 17)
    check_packed(packed_int8("xc7", tmp_path, 1 << 14), PACKED_INT8["xc7"], operands, 1 << 14)


@pytest.mark.slow
@pytest.mark.parametrize("family", PACKED_INT8)
def test_all_pairs_of_int8_products_on_one_block(family, tmp_path):
    check_packed(packed_int8(family, tmp_path, 1 << 18), PACKED_INT8[family], all_operands(8, 8, 8), 1 << 18)


@pytest.mark.parametrize(("family", "spacing"), [("ice40", 11), ("nexus", 13)])
def test_all_pairs_of_int4_times_int8_on_the_model_of_yosys(family, spacing, tmp_path):
    packing = Packing(packed_width=4, shared_width=8, spacing=spacing)
    circuit = build_on_yosys_models(Bank(packed_slices(packing)), family, tmp_path)
    check_packed(GatesSimulation(circuit, 1 << 16), packing, all_operands(4, 4, 8), 1 << 16)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "device"), [
    ("ice40", "up5k"), ("ecp5", "25k"), ("nexus", "lifcl-40"), ("gowin", "gw1nr-9c"), ("gowin", "gw2ar-18c")])
def test_chain_is_placed_and_routed(family, device, tmp_path):
    target, store = TARGETS[family], Store(tmp_path / "store", warn=pytest.fail)
    slices = [*chain(4, a_width=8, b_width=8, width=20), MultiplyAdd(a_width=16, b_width=16, width=32, accumulate=True)]
    netlist = synthesize(elaborate(Bank(slices), platform_of(family)), target, store=store, folder=tmp_path, dsp=True,
                         timeout=TIMEOUT)
    placed = place(netlist, target, find_device(target, device, dsp=True), seed=1, store=store, folder=tmp_path,
                   timeout=TIMEOUT)
    counts = count_cells(target, netlist.cells)
    assert placed.fmax_mhz > 0
    assert placed.ff == counts["ff"]
    assert placed.lut >= counts["lut"]
