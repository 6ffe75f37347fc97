import numpy as np

from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine
from synth.native.schedule import Schedule
from synth.native.specialise import MAXIMUM_STEPS, PortKind, Specialiser
from synth.netlist import NumpyEngine
from synth.netlist.lookup import Basis
from tests.support.macs import MACS, mac, mac_program, operands
from tests.support.sampling import sampled

LANES = 64


def specialised(name, basis=Basis.TERNARY):
    interface = MacInterface.of(mac(name))
    machine = Machine.of(mac_program(name), interface)
    return interface, machine, Specialiser(machine, Schedule(machine, interface), basis)


def evaluate(logic, sources, ones):
    """Return the wanted registers of logic on Python integers, look-up by look-up."""
    values = {0: 0, 1: ones, **dict(zip(logic.sources, sources, strict=True))}
    for lookup in logic.lookups:
        value = 0
        for index in range(1 << len(lookup.operands)):
            if lookup.table >> index & 1:
                term = ones
                for place, operand in enumerate(lookup.operands):
                    term &= values[operand] if index >> place & 1 else ~values[operand] & ones
                value |= term
        values[lookup.target] = value
    return [values[register] for register in logic.wanted]


def bits_of(codes, width):
    return [sum((int(code) >> bit & 1) << lane for lane, code in enumerate(codes)) for bit in range(width)]


def run_plan(plan, machine, a, b):
    """Return the result's bits of the steps of a plan, on one word of lanes; what a step does not make is garbage."""
    ones = (1 << LANES) - 1
    rng = np.random.default_rng(1)
    before, result, cycle, k = {}, {}, 0, 0
    for run in plan.runs:
        for _ in range(run.repeats):
            after = {index: int(rng.integers(0, 1 << 62)) for index in range(len(machine.slots))}
            given = {PortKind.A: bits_of(a[k], len(machine.a)), PortKind.B: bits_of(b[k], len(machine.b)),
                     PortKind.SLOT: before, PortKind.TOLD: [ones * int(bit) for bit in plan.told[cycle]]}
            sources = [given[port.kind][port.index] for port in run.step.sources]
            for port, value in zip(run.step.targets, evaluate(run.step.logic, sources, ones), strict=True):
                (result if port.kind is PortKind.RESULT else after)[port.index] = value
            before, k, cycle = after, k + run.advances, cycle + 1
    return [result[index] for index in range(len(machine.result))]


@sampled(("name", "basis"), [
    *((name, Basis.TERNARY) for name in MACS),
    *((name, basis) for name in ("mac-pipelined", "chunked-unchunked") for basis in (Basis.BINARY, Basis.SELECT))], 7)
def test_steps_do_what_the_whole_netlist_does(name, basis):
    interface, machine, specialiser = specialised(name, basis)
    terms, rng = 9, np.random.default_rng(5)
    rows, columns = operands(mac(name), LANES, terms, LANES, rng)
    a, b = rows.T, columns
    got = run_plan(specialiser.plan(terms), machine, a, b)
    engine = NumpyEngine(mac_program(name))
    if interface.is_stream:
        simulation = engine.simulation(LANES)
        simulation.set("o__ready", 1)
        for k in range(terms):
            fields = {"a": a[k], "b": b[k], "first": k == 0, "last": k == terms - 1, "c": interface.start}
            payload = sum(np.uint64(1 << interface.place(field).start) * np.asarray(fields[field]).astype(np.uint64)
                          for field in interface.fields)
            simulation.set("i__valid", 1)
            simulation.set("i__payload", np.broadcast_to(payload, LANES))
            simulation.step()
        simulation.set("i__valid", 0)
        while not simulation.get("o__valid").all():
            simulation.step()
        want = simulation.get("o__payload")
    else:
        want = np.full(LANES, interface.start)
        for k in range(terms):
            want = engine.run({"a": a[k], "b": b[k], "c": want})["o"]
    assert got == bits_of(want, len(machine.result)), f"{name}: a {a.tolist()}, b {b.tolist()}"


def hottest(plan):
    repeats = {}
    for run in plan.runs:
        repeats[id(run.step)] = repeats.get(id(run.step), 0) + run.repeats
    return max((run.step for run in plan.runs), key=lambda step: repeats[id(step)])


def test_inside_a_chunk_the_second_adder_is_gone():
    _, machine, specialiser = specialised("chunked-e3m2")
    plan = specialiser.plan(200)
    sizes = {id(run.step): len(run.step.logic.lookups) for run in plan.runs}
    inside = hottest(plan)
    assert len(inside.logic.lookups) < 0.75 * max(sizes.values())
    assert len([port for port in inside.sources if port.kind is PortKind.SLOT]) < 0.75 * len(machine.slots)
    assert len(sizes) <= 10


def test_steps_are_made_once_for_all_numbers_of_terms():
    _, _, specialiser = specialised("chunked-e3m2")
    first = {id(run.step) for run in specialiser.plan(64).runs}
    assert {id(run.step) for run in specialiser.plan(128).runs} == first


def test_equal_steps_that_follow_each_other_are_one_run():
    _, _, specialiser = specialised("emac-e3m2")
    plan = specialiser.plan(1000)
    assert len(plan.runs) <= 6
    assert max(run.repeats for run in plan.runs) >= 997
    assert sum(run.repeats for run in plan.runs) == len(plan.told)
    assert sum(run.repeats for run in plan.runs if run.advances) == 999    # the last pair stays


def test_random_bits_are_told_rather_than_folded():
    _, _, specialiser = specialised("chunked-lfsr")
    plan = specialiser.plan(300)
    assert plan.told.shape[1] > 0
    assert len(np.unique(plan.told, axis=0)) > MAXIMUM_STEPS
    assert len({id(run.step) for run in plan.runs}) <= 2 * MAXIMUM_STEPS
    assert specialised("chunked-e3m2")[2].plan(300).told.shape[1] == 0
