import dataclasses

import pytest

from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine, is_plain
from synth.netlist.program import Instruction, MemoryBlock, Operation, PortRegisters
from tests.support.macs import MACS, mac, mac_program


def machine(name):
    return Machine.of(mac_program(name), MacInterface.of(mac(name)))


@pytest.mark.parametrize("name", MACS)
def test_every_register_is_either_the_same_in_all_copies_or_depends_on_operands(name):
    program, parts = mac_program(name), machine(name)
    inputs = {register for port in program.inputs for register in port.registers}
    known = {0, 1} | inputs - set(parts.a) - set(parts.b) - {slot.stored for slot in parts.slots}
    known |= {bit.stored for bit in parts.control.state}
    for step in parts.control.instructions:
        assert {step.a, step.b} <= known
        known.add(step.target)
    assert set(parts.given) <= known
    assert {bit.next for bit in parts.control.state} <= known
    varying = {*parts.a, *parts.b, *(slot.stored for slot in parts.slots)}
    assert not varying & known
    for step in parts.instructions:
        assert {step.a, step.b} & varying
        assert {step.a, step.b} <= varying | set(parts.given) | {0, 1}
        varying.add(step.target)
    if mac(name).is_stream:
        assert len(parts.slots) + len(parts.control.state) == len(program.state)


def test_counters_and_flags_are_control():
    parts = machine("chunked-e3m2")
    # Two bits count to four; valid, first, last and the end of a chunk are on their way for some cycles each.
    assert 6 <= len(parts.control.state) <= 14
    assert len(parts.slots) >= 2 * 10                    # both sums, of ten bits each, differ between copies


def test_a_shift_register_is_control():
    plain, stochastic = machine("chunked-e3m2"), machine("chunked-lfsr")
    assert len(stochastic.control.state) >= len(plain.control.state) + 8


def test_a_function_has_its_summand_for_state():
    parts = machine("fma-posit")
    assert (len(parts.a), len(parts.b), len(parts.slots)) == (6, 6, 6)
    assert [slot.next for slot in parts.slots] == list(parts.result)
    assert (parts.given, parts.control.state, parts.ready, parts.valid) == ((), (), None, None)


def test_memories_and_asynchronous_controls_wrong():
    program = mac_program("mac-int8")
    memory = MemoryBlock(cells=("m",), words=2, width=1, initial=b"\0\0", writes=())
    odd = dataclasses.replace(program.state[0], settled=0)
    falling = dataclasses.replace(program.state[0], clock=dataclasses.replace(program.state[0].clock, rising=False))
    for changes in ({"memories": (memory,)}, {"state": (odd, *program.state[1:])},
                    {"state": (falling, *program.state[1:])}):
        changed = dataclasses.replace(program, **changes)
        assert not is_plain(changed)
        with pytest.raises(ValueError, match="Program must have neither memories nor asynchronous controls nor falling "
                                             "clock edges to be taken apart"):
            Machine.of(changed, MacInterface.of(mac("mac-int8")))
    assert is_plain(program)


@pytest.mark.parametrize("flag", ["i__ready", "o__valid"])
def test_a_handshake_that_operands_decide_wrong(flag):
    program = mac_program("mac-int8")
    payload = next(port for port in program.inputs if port.name == "i__payload")
    target = program.register_count
    decides = Instruction(Operation.NOT, target, payload.registers[3], payload.registers[3])
    changed = dataclasses.replace(
        program, instructions=(*program.instructions, decides), register_count=target + 1,
        outputs=tuple(PortRegisters(port.name, (target,)) if port.name == flag else port for port in program.outputs))
    with pytest.raises(ValueError, match="Program must take and give transfers in the same cycles whatever the "
                                         "operands are"):
        Machine.of(changed, MacInterface.of(mac("mac-int8")))
