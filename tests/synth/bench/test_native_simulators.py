"""Each simulator finds right results right, and a wrong one wrong."""

import shutil

import numpy as np
import pytest

from synth import flow
from synth.bench import native_simulators
from synth.bench.native_simulators import Table, amaranth, icarus, verilator
from synth.bench.native_verification import all_products
from synth.bench.quantize import NotMeasured
from synth.native.operator import operator
from synth.store import Store

OPERATION = operator("multiply", fmt="e2m1", fmt_b="e3m2", out_fmt="e3m2")


def table(wrong=0):
    """Return all products, or with the last one wrong."""
    a, b = np.arange(16), np.arange(64)
    want = OPERATION.model.codes(np.repeat(a, b.size), np.tile(b, a.size)).reshape(16, 64)
    want[-1, -1] ^= wrong
    return Table(want=want, result_bits=6)


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verilog")
    store = Store(folder / "store", warn=print)
    try:
        return flow.verilog(flow.elaborate(OPERATION.component()), store=store, folder=folder, timeout=100)
    finally:
        store.close()


@pytest.mark.parametrize("vectors", [1024, 50])
def test_amaranth(vectors):
    simulator = amaranth(OPERATION.component(), table(), vectors)
    assert simulator.vectors == simulator.side.operations == vectors
    simulator.side.workers[0](2)
    with pytest.raises(AssertionError, match="Amaranth's simulator must find every result right, not 2 wrong"):
        amaranth(OPERATION.component(), table(wrong=1), vectors).side.workers[0](2)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus(verilog, tmp_path):
    for name, wrong in (("right", 0), ("wrong", 1)):
        (tmp_path / name).mkdir()
        simulator = icarus(verilog, table(wrong), tmp_path / name)
        assert simulator.side.operations == 1024
        if wrong:
            with pytest.raises(AssertionError, match="Icarus Verilog must find every result right, not 3 wrong"):
                simulator.side.workers[0](3)
        else:
            simulator.side.workers[0](3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("verilator") is None, reason="Verilator is not installed")
def test_verilator(verilog, tmp_path):
    for name, wrong in (("right", 0), ("wrong", 1)):
        (tmp_path / name).mkdir()
        simulator = verilator(verilog, table(wrong), tmp_path / name)
        if wrong:
            with pytest.raises(AssertionError, match="Verilator must find every result right, not 32 wrong"):
                simulator.side.workers[0](2)
        else:
            simulator.side.workers[0](2)


def test_a_simulator_that_is_missing_has_no_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(native_simulators.shutil, "which", lambda name: None)
    for make, name in ((icarus, "iverilog"), (verilator, "verilator")):
        with pytest.raises(NotMeasured, match=f"{name} is not installed"):
            make("", table(), tmp_path)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_a_simulator_that_fails_is_quoted(tmp_path):
    with pytest.raises(NotMeasured, match="iverilog ended with .*; its last words: "):
        icarus("module top(", table(), tmp_path)


def test_all_products_are_a_table():
    operation = operator("multiply", fmt="e2m1")
    products = all_products(operation, operation.model.a)
    assert products.shape == (16, 16)
    assert products[3, 5] == operation.model(3, 5)
    assert products[5, 12] == operation.model(5, 12)
