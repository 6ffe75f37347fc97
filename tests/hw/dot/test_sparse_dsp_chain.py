# amaranth: UnusedElaboratable=no
"""The sparse chain against its reference: as gates, as the families' DSP blocks, and never idle."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.dot.packed_lanes import fit_packing
from hw.dot.sparse_dsp_chain import SparseDspChain
from sw.formats import parse
from sw.reference.packing import Packing
from sw.reference.sparse_chain import SparseDspChain as SparseDspChainModel
from sw.reference.sparse_matrix import matrix_transfers
from tests.support.clocked_gates import (
    ClockedGates,
    assert_streams_right,
    pack_payload,
    random_codes,
    unpack_payload,
)
from tests.support.gates import build
from tests.support.mapped import assert_stream_right, map_component

INT8, INT4 = parse("int8"), parse("int4")


def chain(a, b, **parameters):
    return SparseDspChain(parse(a), parse(b), **parameters)


CASES = [
    chain("int4", "int4", length=8, block=4),
    chain("int4", "int5", length=4, block=8, hard_multiplier=True, pipeline=1),
    chain("uint4", "int3", length=8, block=4, vectors=3, smallest=2, hard_multiplier=True),
    chain("int4", "uint4", length=8, block=8, cascade=4, pipeline=4, hard_multiplier=True),
    chain("int3", "int2", length=8, block=16, vectors=1, cascade=1, hard_multiplier=True),
    chain("fixed<5,2>", "int3", length=4, block=4, smallest=4, cascade=4, hard_multiplier=True),
    chain("int3", "int3", length=2, block=4, smallest=2, vectors=1, pipeline=2),
    chain("int1", "uint1", length=2, block=4, hard_multiplier=True), chain("uint1", "int1", length=2, block=4),
    chain("int34", "int3", length=2, block=2, vectors=1, smallest=2, hard_multiplier=True),
    chain("e2m1", "e3m2", length=4, block=2, smallest=2, pipeline=1),
    chain("posit<5,1>", "int4", length=2, block=2, smallest=2, vectors=1, hard_multiplier=True),
]


@pytest.mark.slow
def test_results_are_the_reference_s_under_stalls_and_resets(tmp_path):
    for component, circuit in zip(CASES, build(CASES, tmp_path), strict=True):
        compared = assert_streams_right(component, circuit, lanes=32, cycles=28, seed=3, reset_rate=0.02)
        assert compared > 100


class PackingPlatform:
    """A platform whose blocks hold two lanes and have no form of their own: packed slices as gates."""

    sum_width = 48

    def fits(self, a_width, b_width):
        return a_width <= 18 and b_width <= 18


PACKED = [
    chain("int4", "int4", length=8, block=4, cascade=4, hard_multiplier=True),
    chain("uint3", "int5", length=4, block=8, vectors=3, smallest=2, hard_multiplier=True),
    chain("int5", "int5", length=8, block=8, smallest=8, cascade=8, hard_multiplier=True),
]


@pytest.mark.slow
def test_packed_lanes_are_right(tmp_path, monkeypatch):
    """Also where lanes are full, and no signed numbers: eight products of int5 in 12 bits."""
    full = fit_packing(PackingPlatform(), packed_width=5, shared_width=5, lanes=2, terms=8)
    assert (full.spacing, full.max_signed_terms, full.max_terms) == (12, 7, 8)
    convert = rtlil.convert
    monkeypatch.setattr(rtlil, "convert", lambda *args, **more: convert(*args, **more, platform=PackingPlatform()))
    for component, circuit in zip(PACKED, build(PACKED, tmp_path), strict=True):
        for codes in (extreme_codes, random_codes):
            assert assert_streams_right(component, circuit, lanes=32, cycles=18, seed=4, codes=codes) > 60


def extreme_codes(port, count, rng):
    """Return codes that are the most negative ones, or the greatest, of which most transfers hold one kind alone."""
    shape = (count,) if port.lanes is None else (count, port.lanes)
    if port.format is None:
        return rng.integers(0, port.codes, shape).astype(np.uint64)
    kind = rng.integers(0, 3, (count, 1))
    mixed = rng.integers(0, 2, shape)
    lowest = np.where(kind == 2, mixed, kind)
    return (lowest + (1 << port.width - 1) - 1).astype(np.uint64)


TARGETS = {"ice40": (8, 4), "ecp5": (8, 4), "nexus": (8, 4), "gowin": (8, 4), "xc7": (4, 4), "xcup": (4, 4)}
"""DSP blocks of a chain of four, of int8 and of int4, for two vectors."""


@pytest.mark.parametrize("target", ["ice40", *(pytest.param(target, marks=pytest.mark.slow)
                                               for target in TARGETS if target != "ice40")])
def test_netlists_are_right(target, tmp_path):
    component = chain("int4", "int4", length=4, block=4, hard_multiplier=True)
    netlist, count = map_component(component, target, tmp_path)
    assert count["dsp"] == TARGETS[target][1]
    assert_stream_right(component, netlist, samples=2048)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_netlists_of_int8_are_right(target, tmp_path):
    component = chain("int8", "int8", length=4, block=4, hard_multiplier=True)
    netlist, count = map_component(component, target, tmp_path)
    assert count["dsp"] == TARGETS[target][0]
    assert_stream_right(component, netlist, samples=2048)


@pytest.mark.slow
@pytest.mark.parametrize("cascade", [1, 2, 4, 8])
def test_a_chain_of_sixteen_packs_two_int8_onto_each_dsp48e2(cascade, tmp_path):
    """With cascades of 8, eight products of full range share lanes of 18 bits."""
    component = chain("int8", "int8", cascade=cascade, hard_multiplier=True)
    netlist, count = map_component(component, "xcup", tmp_path)
    assert count["dsp"] == 16
    assert Packing(packed_width=8, shared_width=8, terms=8).spacing == 18
    assert_stream_right(component, netlist, samples=2048)


@pytest.fixture(scope="module")
def chain_of_eight(tmp_path_factory):
    component = chain("int3", "int4", length=8, block=8)
    circuit, = build([component], tmp_path_factory.mktemp("chain"))
    return component, circuit


@pytest.mark.parametrize("kept", [1, 2, 4, 8])
def test_every_multiplier_is_busy_in_every_cycle(kept, chain_of_eight):
    """A whole matrix goes through the circuit: one transfer a cycle, all of whose products are by kept weights."""
    component, circuit = chain_of_eight
    model, rng = component.model, np.random.default_rng(kept)
    weights = rng.integers(1, 8, (16, 16))  # none is zero
    order = np.argsort(rng.random((16, 2, 8)), axis=2)
    mask = (order < kept).reshape(16, 16)
    activations = rng.integers(-4, 4, (16, 4))
    transfers = matrix_transfers(model, (activations % 8).astype(np.uint64), weights.astype(np.uint64), mask, kept)
    count = len(transfers["density"])
    gates, results, busy = ClockedGates(circuit, 1), [], []
    for cycle in range(count + component.latency):
        now = {name: codes[min(cycle, count - 1)][None] for name, codes in transfers.items()}
        offered = np.full(1, int(cycle < count), dtype=np.uint64)
        gates.settle({"i__valid": [offered], "o__ready": [np.ones(1, np.uint64)],
                      "i__payload": pack_payload(model.inputs, now)})
        if cycle < count:
            assert gates.bits("i__ready")[0, 0], f"cycle {cycle}: a transfer had to wait"
            busy.append(int(np.count_nonzero(now["weights"])))
        assert gates.bits("o__valid")[0, 0] == (cycle >= component.latency)
        if cycle >= component.latency:
            results.append(unpack_payload(model.outputs, gates.bits("o__payload"))["o"][0].astype(np.uint64))
        gates.clock()
    assert busy == [model.length] * count
    assert count * model.length * model.vectors == mask.sum() * 4  # one that multiplies zeros takes 8 / N as many
    np.testing.assert_array_equal(results, model.evaluate(transfers)["o"])


def test_elaborating_twice_gives_the_same():
    for component in (CASES[1], CASES[6], CASES[-1]):
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = SparseDspChain(INT8, INT4, hard_multiplier=True, pipeline=3)
    assert component.model == SparseDspChainModel(a=INT8, b=INT4)
    assert (component.cascade, component.pipeline, component.hard_multiplier, component.latency) == (2, 3, True, 9)
    assert (SparseDspChain(INT8, INT4).cascade, SparseDspChain(INT8, INT4).latency) == (1, 3)
    assert SparseDspChain(INT8, INT4, cascade=8, hard_multiplier=True).latency == 12
    assert chain("e4m3", "e4m3", length=4, block=4, smallest=4, pipeline=2).latency == 3


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"length": 24}, ValueError, "Chain length must be a whole multiple of the block, 16, or a power of two below it"),
    ({"a": "int8"}, TypeError, "Activation format must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, "
                               "not 'int8'; write sw.formats.parse('int8')"),
    ({"b": None}, TypeError, "Weight format must be a FloatingPointFormat"),
    ({"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"cascade": 32, "hard_multiplier": True}, ValueError, "Cascade must be a power of two between 1 and 16, not 32"),
    ({"cascade": 3, "hard_multiplier": True}, ValueError, "Cascade must be a power of two between 1 and 16, not 3"),
    ({"cascade": 0, "hard_multiplier": True}, ValueError, "Cascade must be a power of two between 1 and 16, not 0"),
    ({"cascade": 2.0, "hard_multiplier": True}, TypeError, "Cascade must be an integer, not 2.0"),
    ({"cascade": 2}, ValueError, "Cascade must be a power of two between 1 and 1, as only hard multipliers of "
                                 "fixed-point formats hand sums on, not 2"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SparseDspChain(**{"a": INT8, "b": INT8, **parameters})
