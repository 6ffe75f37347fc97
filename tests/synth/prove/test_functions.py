"""Proofs of circuits without memory and of pipelines, on tables that are right and on ones that are not."""

import dataclasses

import pytest

from sw.formats import OverflowPolicy, parse
from sw.reference import Multiplication
from sw.reference.dot import Dot
from synth.errors import SynthError
from synth.netlist.errors import NetlistError
from synth.netlist.program import MemoryBlock
from synth.prove import Status
from synth.prove.circuit import netlist_terms
from synth.prove.functions import prove_function
from synth.prove.specify import specify
from tests.synth.prove.circuits import tabulated, tabulated_model

MODEL = Multiplication(a=parse("fixed<3,1>"), b=parse("ufixed<2,2>"), result=parse("fixed<3,1>"))


def prove(program, model=MODEL, latency=0, timeout=60.0, specification=None):
    return prove_function(program, model, specification or specify(model), latency=latency, solver="bitwuzla",
                          timeout=timeout)


@pytest.mark.parametrize("latency", [0, 1, 3])
def test_pipelines_are_proved_for_every_input_from_any_state(latency):
    proof = prove(tabulated_model(MODEL, stages=latency), latency=latency)
    assert proof.status is Status.PROVED
    assert proof.method == "equal to bit-vector arithmetic, exact and rounded once" + {
        0: " for every input", 1: ", 1 cycle after any inputs and from any state",
        3: ", 3 cycles after any inputs and from any state"}[latency]
    assert (proof.solver, proof.counterexample) == ("bitwuzla", None)
    assert proof.line().startswith("proved: equal to bit-vector arithmetic")


@pytest.mark.parametrize("latency", [0, 2])
def test_a_wrong_code_is_a_counterexample_that_was_run(latency):
    program = tabulated_model(MODEL, stages=latency, change=lambda number, code: code ^ (2 if number == 21 else 0))
    proof = prove(program, latency=latency)
    assert proof.status is Status.REFUTED
    want = MODEL(21 & 7, 21 >> 3)
    assert proof.counterexample == {"inputs": {"a": 21 & 7, "b": 21 >> 3}, "got": {"o": want ^ 2}, "want": {"o": want}}
    assert proof.line().startswith("refuted: not equal to ")


def test_too_few_registers_are_refuted():
    proof = prove(tabulated_model(MODEL, stages=1), latency=2)
    assert proof.status is Status.REFUTED


def test_too_many_registers_are_never_proved():
    proof = prove(tabulated_model(MODEL, stages=2), latency=1)
    assert proof.status in (Status.REFUTED, Status.UNDECIDED)
    assert proof.left or proof.counterexample["got"] != proof.counterexample["want"]


def test_a_time_limit_is_said():
    # The limit is over before the solver has started.
    proof = prove(tabulated_model(MODEL), timeout=0.01)
    assert proof.status is Status.TIMED_OUT
    assert proof.line().startswith("timed out, not proved: nothing is known for any input beyond what was run; a "
                                   "longer --timeout, another --solver or formats of fewer bits than 5 in all may end")
    assert proof.record()["status"] == "timed-out"


def test_a_wrong_specification_is_an_error_and_no_refutation():
    other = specify(dataclasses.replace(MODEL, overflow=OverflowPolicy.SATURATE_ZERO, result=parse("int1")))
    model = dataclasses.replace(MODEL, result=parse("int1"))
    with pytest.raises(SynthError, match="Specification must agree with the exact reference, not differ from it for"):
        prove(tabulated_model(model), model, specification=other)


def test_lanes_are_codes_side_by_side():
    model = Dot(a=parse("int2"), b=parse("uint1"), result=parse("int3"), lanes=2)
    assert prove(tabulated_model(model), model).status is Status.PROVED
    wrong = tabulated_model(model, change=lambda number, code: code ^ (number == 41))
    proof = prove(wrong, model)
    assert proof.counterexample["inputs"] == {"a": 41 & 15, "b": 41 >> 4}


def test_memories_are_refused():
    program = dataclasses.replace(tabulated({"a": 1}, {"o": 1}, [0, 1]),
                                  memories=(MemoryBlock(cells=("ram",), words=2, width=1, initial=b"\0\0", writes=()),))
    with pytest.raises(NetlistError, match="Netlist must have no memory to be proved, not ram"):
        netlist_terms(program, {})


def test_asynchronous_controls_are_refused():
    program = tabulated({"a": 1}, {"o": 1}, [0, 1], stages=1)
    state = tuple(dataclasses.replace(bit, settled=0) for bit in program.state)
    with pytest.raises(NetlistError, match="Flip-flops must have no asynchronous set or reset to be proved, not "):
        netlist_terms(dataclasses.replace(program, state=state), {})


def test_several_clocks_are_refused():
    program = tabulated({"a": 1}, {"o": 1}, [0, 1], stages=2)
    falling = dataclasses.replace(program.state[1].clock, rising=False)
    state = (program.state[0], dataclasses.replace(program.state[1], clock=falling))
    with pytest.raises(NetlistError, match="Netlist must have one clock edge to be proved, not 2"):
        netlist_terms(dataclasses.replace(program, state=state), {})
