"""Variables of channels: which are equal, against sets that are merged one by one."""

import pytest
import torch

from sw.ptq.channels import FIXED, Channels, ChannelVariables, Spread, Value


def naive(count, pairs):
    """Return the least member of each variable's set."""
    sets = [{variable} for variable in range(count)]
    for first, second in pairs:
        union = sets[first] | sets[second]
        for member in union:
            sets[member] = union
    return [min(members) for members in sets]


@pytest.mark.parametrize("seed", range(20))
def test_equal_variables_have_one_representative(seed):
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(2, 60, (), generator=generator))
    variables = ChannelVariables()
    assert variables.new(count - 1).tolist() == list(range(1, count))
    pairs = []
    for _ in range(int(torch.randint(0, 12, (), generator=generator))):
        first, second = torch.randint(0, count, (2, 4), generator=generator)
        variables.join(first, second)
        pairs += list(zip(first.tolist(), second.tolist(), strict=True))
    assert variables.count == count
    assert variables.solve().tolist() == naive(count, pairs)


def test_a_long_chain():
    variables = ChannelVariables()
    chain = variables.new(5000)
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    variables.join(chain[:-1][order[:-1] % 4999], chain[1:][order[:-1] % 4999])
    missing = set(range(4999)) - set((order[:-1] % 4999).tolist())
    solved = variables.solve()
    assert solved[0] == FIXED
    assert len(torch.unique(solved)) == 2 + len(missing)


def test_fixed_variables_are_equal_to_variable_0():
    variables = ChannelVariables()
    first, second = variables.new(3), variables.new(3)
    variables.join(first, second)
    variables.fix(second[1:2])
    assert variables.solve().tolist() == [0, 1, FIXED, 3, 1, FIXED, 3]


def test_variables_are_joined_one_by_one():
    variables = ChannelVariables()
    with pytest.raises(ValueError, match="Variables must be as many as those that they are joined with, 3, not 2"):
        variables.join(variables.new(3), variables.new(2))


def test_channels_along_an_axis_of_another_length():
    variables = torch.tensor([4, 7])
    assert Channels(axis=-1, variables=variables).expand(2).tolist() == [4, 7]
    assert Channels(axis=-1, variables=variables).expand(4) is None
    neighbours = Channels(axis=-1, variables=variables, spread=Spread.NEIGHBOURS)
    assert neighbours.expand(6).tolist() == [4, 4, 4, 7, 7, 7]
    assert neighbours.expand(5) is None
    assert Channels(axis=-1, variables=variables, spread=Spread.TILES).expand(6).tolist() == [4, 7, 4, 7, 4, 7]


def test_channels_that_lie_alike():
    channels = Channels(axis=-3, variables=torch.tensor([4, 7]))
    assert channels.is_alike(Channels(axis=-3, variables=torch.tensor([1, 2])))
    assert not channels.is_alike(Channels(axis=-1, variables=torch.tensor([1, 2])))
    assert not channels.is_alike(Channels(axis=-3, variables=torch.tensor([1])))
    assert not channels.is_alike(Channels(axis=-3, variables=torch.tensor([1, 2]), spread=Spread.TILES))
    assert channels.is_free
    assert not channels.fixed().is_free
    assert channels.fixed().is_alike(channels)
    assert Value().channels is None
