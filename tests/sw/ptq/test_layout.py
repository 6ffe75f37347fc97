"""Where channels are said to lie, against tensors whose elements say which channel they are of."""

import itertools

import pytest
import torch

from sw.ptq.channels import Channels, Spread, Value
from sw.ptq.layout import flattened, indexed, moved, reduced, unsqueezed

SHAPE = (2, 5, 3, 4)


def labelled(shape, axis):
    """Return a tensor whose elements are the index of their channel plus 1, and its value."""
    count = shape[axis]
    view = [1] * len(shape)
    view[axis] = count
    x = torch.arange(1, count + 1).reshape(view).expand(shape)
    return x, Value(rank=len(shape), channels=Channels(axis=axis, variables=torch.arange(1, count + 1)))


def assert_describes(value, x):
    """The rank is that of the tensor, and every element is of the channel that its position along the axis says."""
    assert value.rank == x.ndim
    variables = value.channels.expand(x.shape[value.channels.axis])
    assert variables is not None
    expected = variables.reshape(-1, *[1] * (-1 - value.channels.axis)).expand(x.shape)
    assert torch.equal(x, expected), f"got {value}, want {x}"


@pytest.mark.parametrize("axis", [-4, -3, -2, -1])
@pytest.mark.parametrize("start", range(-4, 4))
@pytest.mark.parametrize("end", range(-4, 4))
def test_flattening(axis, start, end):
    if start % 4 > end % 4:
        return
    x, value = labelled(SHAPE, axis)
    got = flattened(value, start, end)
    if got is None:  # channels between others: neither spread describes them
        assert start % 4 < 4 + axis < end % 4
    else:
        assert_describes(got, x.flatten(start, end))


def test_flattening_twice():
    x, value = labelled(SHAPE, -3)
    assert_describes(flattened(flattened(value, 2, 3), 1, 2), x.flatten(2).flatten(1))
    once = flattened(value, 1, 2)
    assert once.channels.spread is Spread.NEIGHBOURS
    assert_describes(flattened(once, 1, 2), x.flatten(1, 2).flatten(1))
    assert flattened(once, 0, 1) is None
    x, value = labelled(SHAPE, -1)
    twice = flattened(flattened(value, 2, 3), 1, 2)
    assert twice.channels.spread is Spread.TILES
    assert_describes(twice, x.flatten(1))
    assert flattened(flattened(value, 1, 3), 0, 1).channels.spread is Spread.TILES


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_flattening_a_last_axis_needs_no_rank(shape):
    x, value = labelled(shape, -1)
    assert_describes(flattened(Value(channels=value.channels), 1, -1), x.flatten(1))
    assert flattened(Value(channels=value.channels), 1, 2) is None
    assert flattened(Value(channels=value.channels), -2, -1) is None


def test_flattening_of_what_is_not_known():
    _, value = labelled(SHAPE, -3)
    assert flattened(Value(channels=value.channels), 1, -1) is None
    assert flattened(Value(rank=4), 1, -1) is None
    assert flattened(value, None, -1) is None


@pytest.mark.parametrize("axis", [-4, -3, -2, -1])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_permutation(axis, order):
    x, value = labelled(SHAPE, axis)
    assert_describes(moved(value, order), x.permute(order))
    negative = tuple(dim - 4 for dim in order)
    assert_describes(moved(value, negative), x.permute(negative))


@pytest.mark.parametrize("axis", [-4, -3, -2, -1])
@pytest.mark.parametrize("first", range(-4, 4))
@pytest.mark.parametrize("second", range(-4, 4))
def test_transposition(axis, first, second):
    x, value = labelled(SHAPE, axis)
    assert_describes(moved(value, None, (first, second)), x.transpose(first, second))


def test_movements_of_what_is_not_known():
    _, value = labelled(SHAPE, -3)
    assert moved(Value(channels=value.channels), (0, 1, 2, 3)) is None
    assert moved(value, (0, 1, 2)) is None
    assert moved(value, ("N", "C", "H", "W")) is None
    assert moved(value, None, (1, None)) is None


@pytest.mark.parametrize("axis", [-4, -3, -2, -1])
@pytest.mark.parametrize("dims", [0, 1, -1, (2, 3), [-1, -2], (0, 2), (1,), (0, 1, 2)])
@pytest.mark.parametrize("keep", [False, True])
def test_reduction(axis, dims, keep):
    x, value = labelled(SHAPE, axis)
    got = reduced(value, dims, keep)
    gone = {dim % 4 for dim in (dims if isinstance(dims, (tuple, list)) else (dims,))}
    if 4 + axis in gone:
        assert got is None
    else:
        assert_describes(got, x.amax(dims, keepdim=keep))


def test_reductions_of_what_is_not_known():
    _, value = labelled(SHAPE, -3)
    assert reduced(value, None, False) is None
    assert reduced(value, (), False) is None
    assert reduced(value, "H", False) is None
    assert reduced(value, -1, None) is None
    assert reduced(Value(channels=value.channels), -1, False) is None


@pytest.mark.parametrize("axis", [-4, -3, -2, -1])
@pytest.mark.parametrize("dim", range(-5, 5))
def test_one_dimension_more(axis, dim):
    x, value = labelled(SHAPE, axis)
    assert_describes(unsqueezed(value, dim), x.unsqueeze(dim))


def test_one_dimension_more_of_what_is_not_known():
    _, value = labelled(SHAPE, -3)
    assert unsqueezed(value, None) is None
    assert unsqueezed(Value(rank=4), 0) is None


INDICES = (0, slice(1, 3), slice(None, None, 2), slice(None), None, Ellipsis, -1)


@pytest.mark.parametrize("axis", [-3, -2, -1])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_indexing(axis, length):
    x, value = labelled((3, 4, 5), axis)
    checked = 0
    for index in (*itertools.product(INDICES, repeat=length), *(INDICES if length == 1 else ())):
        items = index if isinstance(index, tuple) else (index,)
        if items.count(Ellipsis) > 1:
            continue
        got = indexed(value, index)
        want = x[index]
        # Alone, a scalar index may take the channels away: nothing is known of the result then.
        removed = want.ndim and axis_is_indexed(items, 3 + axis)
        if got is None:
            assert removed or not want.ndim, index
            continue
        assert_describes(got, want)
        checked += 1
    assert checked >= (1, 8, 15, 30)[length]


def axis_is_indexed(items, position):
    """Whether an integer stands at a dimension."""
    rest = [item for item in items if item is not None]
    at = rest.index(Ellipsis) if Ellipsis in rest else len(rest)
    full = [*rest[:at], *[slice(None)] * (3 - len([i for i in rest if i is not Ellipsis])), *rest[at + 1:]]
    return isinstance(full[position], int)


def test_indices_that_are_not_known():
    _, value = labelled(SHAPE, -3)
    assert indexed(value, torch.tensor([0, 1])) is None
    assert indexed(value, (slice(None), [0, 1])) is None
    assert indexed(value, True) is None
    assert indexed(value, (slice(None), slice(torch.tensor(0), None))) is None
    assert indexed(Value(channels=value.channels), 0) is None
    spread = flattened(value, 1, -1)
    assert indexed(spread, (slice(None), slice(0, 4))) is None
    assert indexed(spread, slice(0, 1)).channels.spread is Spread.NEIGHBOURS
