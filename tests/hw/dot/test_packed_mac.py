# amaranth: UnusedElaboratable=no
"""Packed multiply-accumulators against their reference: as gates, and as the DSP blocks of the families."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.dot.packed_mac import PackedMac
from sw.formats import parse
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.verify.ports import pack_fields, unpack_fields
from tests.support.clocked_gates import assert_streams_right
from tests.support.gates import build
from tests.support.mapped import assert_stream_right, map_component
from tests.support.sampling import sampled

INT8 = parse("int8")
CASES = [
    PackedMac(INT8, INT8), PackedMac(INT8, INT8, terms=8, hard_multiplier=True),
    PackedMac(parse("int4"), parse("uint4"), lanes=3, terms=8, hard_multiplier=True),
    PackedMac(parse("uint3"), parse("fixed<5,2>"), lanes=4, terms=3, spacing=12),
    PackedMac(parse("int4"), parse("int4"), lanes=1, terms=5),
]


@sampled("flag_rate", [0.05, 0.3], 1)
def test_sums_are_the_reference_s_under_stalls_and_resets(tmp_path, flag_rate):
    """Long sums too, whose lanes spill into each other."""
    for component, circuit in zip(CASES, build(CASES, tmp_path), strict=True):
        compared = assert_streams_right(component, circuit, lanes=64, cycles=80, seed=2, flag_rate=flag_rate,
                                        reset_rate=0.02)
        assert compared > 60


DSP_BLOCKS = {"xcup": 1, "xc7": 2, "ecp5": 2, "ice40": 2, "nexus": 2, "gowin": 2}


@pytest.mark.parametrize("target", ["ice40", *(pytest.param(target, marks=pytest.mark.slow)
                                               for target in DSP_BLOCKS if target != "ice40")])
def test_netlists_are_right(target, tmp_path):
    """A pair of int4, which every family's block holds."""
    component = PackedMac(parse("int4"), parse("int4"), terms=4, hard_multiplier=True)
    netlist, count = map_component(component, target, tmp_path)
    assert count["dsp"] == 1
    assert_stream_right(component, netlist)


def products(netlist, component, a, b):
    """Return the products of single transfers, many at once: ``a`` of shape (cycles, sequences, 2)."""
    simulation = NumpyEngine(compile_netlist(read_netlist(netlist))).simulation(a.shape[1])
    ones, model = np.ones(a.shape[1], dtype=np.uint64), component.model
    simulation.set("rst", 0)
    simulation.set("i__valid", 1)
    simulation.set("o__ready", 1)
    for cycle in range(len(a) + component.latency):
        now = min(cycle, len(a) - 1)
        simulation.set_planes("i__payload", pack_fields(model.inputs, {
            "a": a[now], "b": b[now], "first": ones, "last": ones}))
        if cycle >= component.latency:
            assert simulation.get("o__valid").all()
            yield unpack_fields(model.outputs, simulation.get_planes("o__payload"), a.shape[1])["o"]
        simulation.step("clk")


def assert_products_right(netlist, component, a1):
    """Check all 2**16 pairs of the lower operand and the shared one beside each of ``a1``."""
    lower, shared = (grid.ravel().astype(np.uint64) for grid in np.meshgrid(np.arange(256), np.arange(256)))
    a = np.stack([np.stack([lower, np.full_like(lower, upper % 256)], axis=1) for upper in a1])
    b = np.broadcast_to(shared, (len(a1), len(shared)))
    x, w = ((codes.astype(np.int64) ^ 128) - 128 for codes in (lower, shared))
    mask = (1 << component.model.result_width) - 1
    compared = 0
    for upper, got in zip(a1, products(netlist, component, a, b), strict=True):
        want = np.stack([x * w, upper * w], axis=1) & mask
        wrong = np.flatnonzero((got != want).any(axis=1))
        assert not len(wrong), f"a1 {upper}, a0 {x[wrong[0]]}, w {w[wrong[0]]}: got {got[wrong[0]]}"
        compared += len(got)
    return compared


@pytest.mark.slow
def test_all_products_of_two_int8_on_one_dsp48e2(tmp_path):
    """All 2**24 triples on the mapped netlist."""
    component = PackedMac(INT8, INT8, hard_multiplier=True)
    netlist, count = map_component(component, "xcup", tmp_path)
    assert count["dsp"] == 1
    assert assert_products_right(netlist, component, range(-128, 128)) == 1 << 24


@pytest.mark.slow
@pytest.mark.parametrize("terms", [7, 8])
def test_sums_of_int8_on_one_dsp48e2(terms, tmp_path):
    component = PackedMac(INT8, INT8, terms=terms, hard_multiplier=True)
    netlist, count = map_component(component, "xcup", tmp_path)
    assert count["dsp"] == 1
    assert_stream_right(component, netlist, samples=16384)


def test_elaborating_twice_gives_the_same():
    for component in CASES[:2]:
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    assert (CASES[1].latency, CASES[1].hard_multiplier, CASES[0].hard_multiplier) == (3, True, False)
    assert CASES[1].model.terms == 8


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
    ({"lanes": 9}, ValueError, "Lanes must be between 1 and 8, not 9"),
    ({"terms": 9, "spacing": 18}, ValueError, "at most 8 products may be summed in that"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PackedMac(INT8, INT8, **parameters)
