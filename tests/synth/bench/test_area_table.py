"""Which circuits are compared with which: nothing left out, and the class that each belongs to."""

import pytest

from sw.formats import FloatingPointFormat, Subnormals, parse
from synth.bench.area_table import EQUALS, NO_EQUAL, Judgement
from synth.bench.peers import peers

CIRCUITS = list(dict.fromkeys(equal.circuit for equal in EQUALS.values()))


def test_every_recorded_circuit_has_an_equal_or_a_reason():
    assert set(EQUALS) | set(NO_EQUAL) == set(peers())
    assert not set(EQUALS) & set(NO_EQUAL)
    assert all(NO_EQUAL.values())


def test_published_circuits_and_our_own_are_judged_apart():
    own = {Judgement.REFERENCE, Judgement.NAIVE}
    for name, equal in EQUALS.items():
        assert (equal.judgement in own) == peers()[name].is_reference, name
        assert (equal.judgement is Judgement.NAIVE) == name.startswith("naive"), name
    for name, equal in EQUALS.items():
        if equal.judgement is Judgement.BESIDE:
            assert equal.note, name


def test_limits_are_those_of_the_classes():
    """Products and sums of floats with subnormals are held to 0.70, all other published circuits to 0.85."""
    for name, equal in EQUALS.items():
        if peers()[name].is_reference or equal.judgement is Judgement.BESIDE:
            continue
        fmt = equal.circuit.operand
        kept = (equal.circuit.op in ("multiply", "add") and isinstance(fmt, FloatingPointFormat)
                and fmt.subnormals is Subnormals.SUPPORTED)
        assert equal.judgement is (Judgement.KEPT if kept else Judgement.ELSEWHERE), name
    assert [judgement.limit for judgement in Judgement] == [0.70, 0.85, 1.0, 1.0, None]


@pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.name)
def test_our_circuit_computes_in_the_recorded_format(circuit):
    fields = {"e4m3i": "e4m3", "e4m3": "e4m3", "e5m2": "e5m2", "e3m2": "e3m2", "e2m3": "e2m3", "e2m1": "e2m1",
              "fp16": "e5m10", "fix8": "fixed<8,4>", "int8": "int8", "int4": "int4", "u4": "uint4"}
    for name, equal in EQUALS.items():
        if equal.circuit == circuit:
            recorded = parse(fields.get(peers()[name].format.split()[0], peers()[name].format))
            if isinstance(recorded, FloatingPointFormat):
                assert (circuit.operand.exponent_bits, circuit.operand.fraction_bits) == (
                    recorded.exponent_bits, recorded.fraction_bits), name
            else:
                assert circuit.operand == recorded, name


def test_names_of_circuits_differ():
    assert len({circuit.name for circuit in CIRCUITS}) == len(CIRCUITS)
