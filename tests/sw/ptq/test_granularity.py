"""Rows, shapes and repetition of scales, against indices written out."""

import itertools

import pytest
import torch

from sw.ptq.config import Granularity
from sw.ptq.granularity import expanded, rows_of, scale_shape
from sw.quantize import scale_shape as shape_in_sw_quantize


def owner(index, granularity, axis, group_size):
    """Return what an element at ``index`` shares its scale by."""
    axis %= len(index)
    match granularity:
        case Granularity.TENSOR:
            return ()
        case Granularity.CHANNEL:
            return index[:1]
        case Granularity.TOKEN:
            return (*index[:axis], *[0] * (len(index) - axis))
        case Granularity.GROUP:
            return (*index[:axis], index[axis] // group_size, *index[axis + 1:])


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((4, 6, 3, 2), -3), ((2, 5, 6), -1), ((6, 3, 2), -3)])
def test_each_element_meets_its_scale(granularity, shape, axis):
    size = 3 if granularity is Granularity.GROUP else None
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    rows = rows_of(x, granularity, axis, size)
    kept = scale_shape(x, granularity, axis, size)
    assert rows.shape[0] == torch.Size(kept).numel()
    # The scale of a row is its smallest element; repeated, it names the row of each element.
    repeated = expanded(rows.amin(1).reshape(kept), x, granularity, axis, size)
    assert repeated.shape == x.shape
    smallest = {}
    for index in itertools.product(*(range(n) for n in shape)):
        key = owner(index, granularity, axis, size)
        smallest[key] = min(smallest.get(key, torch.inf), x[index].item())
    for index in itertools.product(*(range(n) for n in shape)):
        want = smallest[owner(index, granularity, axis, size)]
        assert repeated[index] == want, (index, repeated[index].item(), want)


def test_shapes_are_those_of_sw_quantize():
    x = torch.zeros(4, 6, 3)
    assert scale_shape(x, Granularity.TENSOR, -2, None) == shape_in_sw_quantize(x)
    assert scale_shape(x, Granularity.CHANNEL, -2, None) == shape_in_sw_quantize(x, axis=0)
    assert scale_shape(x, Granularity.GROUP, -2, 3) == shape_in_sw_quantize(x, axis=-2, group_size=3)
