import ctypes

import numpy as np
import pytest

from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine
from synth.native.matrix_ir import DRIVER, STEP, driver_function, step_function
from synth.native.schedule import Schedule
from synth.native.specialise import PortKind, Specialiser, Step, StepPort
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import assembly_of, compile_functions
from synth.netlist.lookup import Basis, Logic, Lookup
from tests.support.macs import mac, mac_program

ARGUMENTS = [ctypes.c_void_p] * 6 + [ctypes.c_int64] * 5
ISAS = pytest.mark.parametrize("isa", host_instruction_sets(), ids=lambda isa: isa.value)


def aligned(count, words):
    """Return so many registers in memory, at the start of a cache line."""
    buffer = np.zeros(8 * count * words + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start:start + 8 * count * words].view(np.uint64).reshape(count, words)


def slots(*numbers):
    return tuple(StepPort(PortKind.SLOT, number) for number in numbers)


def run(step, isa, state, *, along=None, across=None, told=None, result=None, repeats=1, advance=(0, 0, 0), row=0):
    """Run a step from ``state``; return the state after it."""
    code = compile_functions(step_function(step, isa, along=PortKind.B), isa)
    other = aligned(len(state), isa.words)
    buffers = [state, other, *(np.zeros(1, np.uint64) if buffer is None else buffer
                        for buffer in (across, along, told, result))]
    code.function(STEP, *ARGUMENTS)(*(buffer.ctypes.data for buffer in buffers), row, *advance, repeats)
    return other if repeats % 2 else state


@ISAS
@pytest.mark.parametrize(("step", "want"), [
    (Step(Logic((2, 3), (3, 2), ()), slots(0, 1), slots(0, 1), False), "ba"),
    (Step(Logic((2, 3), (2, 2), ()), slots(0, 1), slots(1, 0), False), "aa"),
    (Step(Logic((2, 3), (4, 2), (Lookup(0b01, 4, (3,)),)), slots(0, 1), slots(0, 1), False), "Ba"),
    (Step(Logic((2, 3), (4, 5), (Lookup(0b01, 4, (2,)), Lookup(0b01, 5, (3,)))), slots(0, 1), slots(1, 0), False),
     "BA"),
    (Step(Logic((), (0, 1), ()), (), slots(1, 0), False), "10"),
], ids=["exchanged", "copied", "one-inverted", "both-inverted", "constants"])
def test_slots_take_what_others_held_before(step, want, isa):
    rng = np.random.default_rng(1)
    state = aligned(2, isa.words)
    state[:] = rng.integers(0, 1 << 63, state.shape)
    known = {"a": state[0].copy(), "b": state[1].copy(), "0": np.uint64(0), "1": ~np.uint64(0)}
    known |= {"A": ~known["a"], "B": ~known["b"]}
    after = run(step, isa, state)
    assert (after[0] == known[want[0]]).all()
    assert (after[1] == known[want[1]]).all()


@ISAS
def test_repetitions_go_on_to_the_next_pair(isa):
    """A slot takes the exclusive or of all that comes along, across and by word of mouth."""
    ports = (StepPort(PortKind.SLOT, 0), StepPort(PortKind.B, 1), StepPort(PortKind.A, 2), StepPort(PortKind.TOLD, 1))
    xor = 0b0110
    step = Step(Logic((2, 3, 4, 5), (8,), (Lookup(xor, 6, (2, 3)), Lookup(xor, 7, (6, 4)), Lookup(xor, 8, (7, 5)))),
                ports, slots(0), False)
    rng, repeats, words = np.random.default_rng(2), 11, isa.words
    state = aligned(1, words)
    state[:] = 0
    along = rng.integers(0, 1 << 63, (repeats, 3, words)).astype(np.uint64)
    across = rng.integers(0, 1 << words, (repeats, 8)).astype(np.uint8)
    told = rng.integers(0, 2, (repeats, 2)).astype(np.uint8)
    after = run(step, isa, state, along=along, across=across, told=told, repeats=repeats, row=8 * words,
        advance=(8, 24 * words, 2))
    for word in range(words):
        want = np.bitwise_xor.reduce(along[:, 1, word])
        flips = int((across[:, 2] >> word & 1).sum() + told[:, 1].sum()) % 2
        assert after[0, word] == (~want if flips else want), f"word {word}"


@ISAS
def test_results_are_stored_where_they_belong(isa):
    step = Step(Logic((2,), (2, 1), ()), slots(0), (StepPort(PortKind.RESULT, 1), StepPort(PortKind.RESULT, 0)), False)
    state, result = aligned(1, isa.words), aligned(2, isa.words)
    state[:] = 5
    run(step, isa, state, result=result)
    assert (result[1] == 5).all()
    assert (result[0] == ~np.uint64(0)).all()


def test_the_code_for_neon_is_accepted_by_llvm():
    interface = MacInterface.of(mac("mac-int8"))
    machine = Machine.of(mac_program("mac-int8"), interface)
    plan = Specialiser(machine, Schedule(machine, interface), Basis.SELECT).plan(9)
    for along in (PortKind.A, PortKind.B):
        for step in {id(run.step): run.step for run in plan.runs}.values():
            text = step_function(step, InstructionSet.NEON, along=along)
            assert "ret" in assembly_of(text, InstructionSet.NEON, "aarch64-linux-gnu")
    assert DRIVER in assembly_of(driver_function(), InstructionSet.NEON, "aarch64-linux-gnu")
