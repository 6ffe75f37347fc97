import random

import pytest

from synth.netlist.levelize import CombinationalLoop, levelize


def test_operands_come_before_their_readers():
    rng = random.Random(3)
    names = list(range(300))
    rng.shuffle(names)
    operands = {name: [names[rng.randrange(index)] for _ in range(3)] if index else []
                for index, name in enumerate(names)}
    keys = list(operands)
    rng.shuffle(keys)
    order = levelize({key: operands[key] for key in keys})
    place = {name: index for index, name in enumerate(order)}
    assert sorted(order) == sorted(names)
    assert all(place[operand] < place[name] for name in names for operand in operands[name])


def test_chain_may_be_longer_than_the_recursion_limit():
    length = 20_000
    assert levelize({index: [index - 1] for index in range(length, 0, -1)}) == list(range(1, length + 1))


def test_sources_are_not_in_the_order():
    assert levelize({2: [0, 1], 3: [2, 7]}) == [2, 3]


@pytest.mark.parametrize(("operands", "loop"), [
    ({1: [1]}, {1}), ({1: [2], 2: [1]}, {1, 2}), ({1: [2], 2: [3], 3: [4, 2], 4: []}, {2, 3}),
])
def test_loop_is_found_alone(operands, loop):
    with pytest.raises(CombinationalLoop) as caught:
        levelize(operands)
    assert set(caught.value.loop) == loop
