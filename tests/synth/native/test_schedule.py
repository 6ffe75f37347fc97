import dataclasses

import numpy as np
import pytest

from hw.accumulate.chunked import ChunkedMultiplyAccumulator, ChunkedStructure
from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine
from synth.native.matrix import MatrixUnit
from synth.native.reference import reference_matmul
from synth.native.schedule import Schedule
from synth.netlist import compile_netlist, read_netlist
from synth.netlist.program import PortRegisters
from tests.support.macs import MACS, mac, mac_program, operands
from tests.support.mapped import map_component


def schedule(name):
    interface = MacInterface.of(mac(name))
    return Schedule(Machine.of(mac_program(name), interface), interface)


@pytest.mark.parametrize("name", MACS)
@pytest.mark.parametrize("terms", [1, 2, 17])
def test_a_pair_is_taken_in_every_cycle_and_the_sum_comes_with_the_latency(name, terms):
    cycles = schedule(name).cycles(terms)
    latency = mac(name).component().latency if mac(name).is_stream else 0
    assert cycles.accepted.tolist() == [True] * terms + [False] * latency
    assert len(cycles.given) == terms + latency


def test_many_cycles_are_alike():
    given = schedule("chunked-e3m2").cycles(200).given
    assert len(np.unique(given, axis=0)) <= 10


def test_a_circuit_that_pauses_is_waited_for_and_sums_the_same(tmp_path):
    model = mac("chunked-e3m2").model
    component = ChunkedMultiplyAccumulator(model.a, model.b, model.accumulator, chunk=4,
                                           structure=ChunkedStructure.ONE_ADDER)
    netlist, _ = map_component(component, "ice40", tmp_path)
    program = compile_netlist(read_netlist(netlist))
    interface = MacInterface.of(mac("chunked-e3m2"))
    machine = Machine.of(program, interface)
    accepted = Schedule(machine, interface).cycles(10).accepted
    # It takes no pair in the cycle after a chunk, nor after the sum.
    assert accepted[:13].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0]
    a, b = operands(mac("chunked-e3m2"), 5, 10, 70, np.random.default_rng(1))
    want = reference_matmul(mac("chunked-e3m2"), a, b)
    for engine in ("auto", "numpy"):
        assert (MatrixUnit(mac("chunked-e3m2"), program=program, engine=engine).matmul(a, b) == want).all(), engine


@pytest.mark.parametrize(("flag", "taken"), [("i__ready", 0), ("o__valid", 3)])
def test_a_circuit_that_is_stuck_wrong(flag, taken):
    program = mac_program("mac-int8")
    outputs = tuple(PortRegisters(port.name, (0,)) if port.name == flag else port for port in program.outputs)
    interface = MacInterface.of(mac("mac-int8"))
    machine = Machine.of(dataclasses.replace(program, outputs=outputs), interface)
    with pytest.raises(ValueError, match=f"Program must give a result within 4096 cycles, not none after {taken} of 3 "
                                         "pairs"):
        Schedule(machine, interface).cycles(3)
