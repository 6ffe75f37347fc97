import pytest

from synth.netlist.lookup import COPY, Lookup
from synth.netlist.program import ONE, ZERO
from synth.netlist.spilling import Move, assign_slots, plan_spills
from tests.synth.netlist.logic_cases import lookup_plane, random_planes, run_lookups
from tests.synth.netlist.test_instruction_order import random_logic, shuffled


def last_reads(steps):
    """Return, for each step that fills a register, the last one that reads it before it is filled again."""
    filled, last = {}, {}
    for index, step in enumerate(steps):
        for register in step.operands if isinstance(step, Lookup) else () if step.load else (step.register,):
            if register > ONE:
                last[filled[register]] = index
        if isinstance(step, Lookup) or step.load:
            filled[step.target if isinstance(step, Lookup) else step.register] = index
    return last


def run_plan(steps, planes, ones, registers, kept):
    """Run a plan on a machine that has so many registers, and where a source is found once unless it is kept."""
    slots, last = assign_slots([step for step in steps if isinstance(step, Move)]), last_reads(steps)
    held, until, memory, loaded, results = {}, {}, {}, set(), {}
    for index, step in enumerate(steps):
        if isinstance(step, Lookup):
            assert set(step.operands) <= {ZERO, ONE, *held}
            assert len(held) <= registers
            results[step.target] = plane = lookup_plane(step, {ZERO: 0, ONE: ones, **held}, ones)
            held = {register: value for register, value in held.items() if until[register] > index}
            held[step.target], until[step.target] = plane, last.get(index, -1)
            assert len(held) <= registers
        elif not step.load:
            memory[slots[step.register]] = step.register, held[step.register]
        else:
            owner, plane = memory.get(slots.get(step.register), (None, None))
            if owner != step.register:
                assert step.register not in loaded or step.register in kept, f"{step} is nowhere"
                plane = planes[step.register]
                loaded.add(step.register)
            held[step.register], until[step.register] = plane, last[index]
        held = {register: value for register, value in held.items() if until[register] > index}
    return results


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("registers", [4, 5, 8, 16, 40])
@pytest.mark.parametrize("seed", range(6))
def test_plan_computes_the_same_in_so_many_registers(seed, registers, keep):
    logic = random_logic(seed)
    lookups = shuffled(logic.lookups, seed)
    planes, ones = random_planes(logic.sources, seed)
    steps = plan_spills(lookups, registers, None if keep else ())
    assert [step for step in steps if isinstance(step, Lookup)] == lookups
    want = run_lookups(lookups, planes, ones)
    got = run_plan(steps, planes, ones, registers, logic.sources if keep else ())
    assert got == {lookup.target: want[lookup.target] for lookup in lookups}


def test_enough_registers_need_no_moves_but_the_first_loads():
    logic = random_logic(3)
    moves = [step for step in plan_spills(logic.lookups, 10_000) if isinstance(step, Move)]
    read = {operand for lookup in logic.lookups for operand in lookup.operands}
    assert sorted(move.register for move in moves) == sorted(read & set(logic.sources))
    assert all(move.load for move in moves)
    assert assign_slots(moves) == {}


def test_each_value_is_stored_once():
    logic = random_logic(4)
    for kept in (None, ()):
        stored = [step.register for step in plan_spills(logic.lookups, 5, kept)
                  if isinstance(step, Move) and not step.load]
        assert len(stored) == len(set(stored)) > 0
        assert kept == () or not set(stored) & set(logic.sources)


def test_only_named_sources_are_loaded_again():
    logic = random_logic(4)
    loads = [step.register for step in plan_spills(logic.lookups, 4, logic.sources[:3])
             if isinstance(step, Move) and step.load]
    stored = {step.register for step in plan_spills(logic.lookups, 4, logic.sources[:3])
              if isinstance(step, Move) and not step.load}
    again = {register for register in loads if loads.count(register) > 1 and register in logic.sources}
    assert again
    assert again <= set(logic.sources[:3]) | stored
    assert not stored & set(logic.sources[:3])


def test_slots_are_used_again():
    moves = [Move(2, False), Move(2, True), Move(3, False), Move(4, False), Move(3, True), Move(4, True)]
    assert assign_slots(moves) == {2: 0, 3: 0, 4: 1}


def test_constants_need_no_register():
    copies = [Lookup(COPY, 5, (ONE, ONE)), Lookup(COPY, 6, (ZERO, ZERO))]
    assert plan_spills(copies, 4) == copies


def test_registers_wrong():
    with pytest.raises(ValueError, match="Registers must be at least 4, not 3; a look-up has three operands"):
        plan_spills((), 3)
