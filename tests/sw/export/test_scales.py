"""Which layout scales have."""

import pytest
import torch

from sw.export.scales import compact, scale_layout
from sw.ptq.config import Granularity


def test_one_scale_for_all_is_that_of_a_tensor():
    for scale in (torch.tensor(2.0), torch.full((1, 1), 2.0), torch.full((3, 4), 2.0)):
        layout = scale_layout(scale, (3, 4))
        assert (layout.granularity, layout.group_size, layout.scale.shape) == (Granularity.TENSOR, None, ())
        assert layout.scale == 2


def test_scales_of_channels():
    scale = torch.tensor([1.0, 2.0, 3.0])
    for shape in ((3, 4), (3, 2, 3, 3)):
        layout = scale_layout(scale.reshape(-1, *[1] * (len(shape) - 1)), shape)
        assert (layout.granularity, layout.group_size) == (Granularity.CHANNEL, None)
        assert torch.equal(layout.scale, scale)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_the_largest_groups_are_found(size):
    # Neighbouring groups differ, so that no larger size fits.
    scale = torch.arange(1.0, 2 * 12 // size + 1).reshape(2, -1)
    layout = scale_layout(scale.repeat_interleave(size, 1), (2, 12))
    assert (layout.granularity, layout.group_size) == (Granularity.GROUP, size)
    assert torch.equal(layout.scale, scale)


def test_groups_along_the_input_channels_of_a_convolution():
    scale = torch.rand(2, 3, 2, 2) + 1
    layout = scale_layout(scale.repeat_interleave(4, 1), (2, 12, 2, 2))
    assert (layout.granularity, layout.group_size) == (Granularity.GROUP, 4)
    assert torch.equal(layout.scale, scale)


def test_a_change_in_one_channel_alone_splits_the_groups():
    scale = torch.ones(2, 6)
    scale[1, 4:] = 2
    layout = scale_layout(scale, (2, 6))
    assert (layout.granularity, layout.group_size) == (Granularity.GROUP, 2)
    assert torch.equal(layout.scale, torch.tensor([[1.0, 1, 1], [1, 1, 2]]))


def test_compact_keeps_what_changes():
    assert compact(torch.full((3, 4), 2.0)).shape == ()
    assert compact(torch.tensor([[1.0], [2.0]]).expand(2, 5)).shape == (2, 1)
    assert compact(torch.tensor([1.0, 2.0]).expand(3, 2)).shape == (1, 2)
    varied = torch.rand(3, 4)
    assert torch.equal(compact(varied), varied)
