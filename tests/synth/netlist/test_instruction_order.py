import random

import pytest

from synth.netlist.instruction_order import live_registers, ordered, spills
from synth.netlist.logic import Basis, logic_of
from synth.netlist.lookup import Logic, Lookup
from tests.synth.netlist.logic_cases import FIRST, random_instructions, random_planes, run_lookups

AND = 0b1000


def random_logic(seed, sources=8, count=150, local=40):
    instructions = random_instructions(seed, sources, count, local=local)
    last = FIRST + sources + count
    return logic_of(instructions, range(FIRST, FIRST + sources), range(last - 20, last), Basis.TERNARY)


def shuffled(lookups, seed):
    """Return look-ups in a random order in which they can be done."""
    rng = random.Random(seed)
    made, waiting, order = {lookup.target for lookup in lookups}, list(lookups), []
    done = set()
    while waiting:
        ready = [lookup for lookup in waiting if all(operand in done or operand not in made
                                                     for operand in lookup.operands)]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        done.add(chosen.target)
        order.append(chosen)
    return order


@pytest.mark.parametrize("seed", range(12))
def test_order_can_be_done_and_computes_the_same(seed):
    logic = random_logic(seed)
    planes, ones = random_planes(logic.sources, seed)
    want = run_lookups(logic.lookups, planes, ones)
    for registers in (4, 8, 30):
        order = ordered(shuffled(logic.lookups, seed), logic.wanted, registers)
        assert sorted(order, key=lambda lookup: lookup.target) == sorted(
            logic.lookups, key=lambda lookup: lookup.target)
        got = run_lookups(order, planes, ones)           # which asserts that operands come first
        assert got == want


@pytest.mark.parametrize("seed", range(6))
def test_order_does_not_depend_on_the_machine(seed):
    logic = random_logic(seed)
    assert ordered(logic.lookups, logic.wanted, 8) == ordered(list(logic.lookups), list(logic.wanted), 8)


def test_order_has_fewer_spills_than_it_was_given():
    """Sums of products, all products first: hundreds are live; term by term, three."""
    products = [Lookup(AND, 100 + index, (2 + index, 3 + index)) for index in range(60)]
    sums = [Lookup(0b0110, 200 + index, (199 + index if index else 100, 101 + index)) for index in range(59)]
    given = Logic(tuple(range(2, 64)), (258,), tuple(products + sums))
    assert live_registers(given) >= 60
    assert spills(given, 8)[0] >= 50
    better = Logic(given.sources, given.wanted, ordered(given.lookups, given.wanted, 8))
    assert live_registers(better) <= 5
    assert spills(better, 8) == (0, 0)


def test_live_registers_count_sources_from_their_first_use():
    lookups = (Lookup(AND, 10, (2, 3)), Lookup(AND, 11, (4, 5)), Lookup(AND, 12, (10, 11)))
    assert live_registers(Logic((2, 3, 4, 5, 6), (12,), lookups)) == 3
    assert live_registers(Logic((2, 3), (10,), (Lookup(AND, 10, (2, 3)), Lookup(0b0110, 11, (2, 3))))) == 2
    assert live_registers(Logic((2, 3), (2,), ())) == 0


def test_spills_of_a_known_order():
    """Six values wait for the last look-ups, five have registers."""
    made = [Lookup(0b01, 20 + index, (2,)) for index in range(6)]
    used = [Lookup(AND, 30, (20, 21)), Lookup(AND, 31, (22, 23)), Lookup(AND, 32, (24, 25))]
    logic = Logic((2,), (30, 31, 32), tuple(made + used))
    assert spills(logic, 7) == (0, 0)
    stores, loads = spills(logic, 5)
    assert stores == loads == 1


def test_deep_chains_need_no_recursion():
    lookups = [Lookup(AND, 10, (2, 3))] + [Lookup(0b0110, 11 + index, (10 + index, 3)) for index in range(4000)]
    order = ordered(lookups, [4010], 8)
    assert order == tuple(lookups)


def test_order_of_nothing():
    assert ordered((), (2,), 8) == ()
