"""The nine samples of a square window."""

import re

import pytest
import torch
from torch.nn import functional

from sw.nn import square_windows


def integers(low, high, *shape, seed=0, dtype=torch.int64):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (1, 1), (8, 4)])
def test_samples_are_the_pixels_of_the_definition(size, stride):
    height, width = size
    x, d = integers(-128, 128, 2, 4, *size, dtype=torch.int8), integers(0, 9, 2, 2, *size, seed=1)
    got = square_windows(x, d, stride, -128)
    assert got.dtype == torch.int8
    assert got.shape == (2, 4, 9, -(-height // stride), -(-width // stride))
    for index in torch.cartesian_prod(*(torch.arange(length) for length in got.shape)).tolist():
        n, c, k, i, j = index
        dilation = int(d[n, c // 2, i * stride, j * stride])
        row, column = i * stride + (k // 3 - 1) * dilation, j * stride + (k % 3 - 1) * dilation
        inside = 0 <= row < height and 0 <= column < width
        assert got[n, c, k, i, j].item() == (x[n, c, row, column].item() if inside else -128), index


@pytest.mark.parametrize("dilation", range(9))
def test_one_dilation_everywhere_is_what_unfold_gives(dilation):
    x = integers(-128, 128, 2, 3, 6, 9).double()
    got = square_windows(x.to(torch.int16), torch.full((2, 1, 6, 9), dilation, dtype=torch.uint8), 1, 0)
    if dilation == 0:
        assert torch.equal(got, x.to(torch.int16)[:, :, None].expand(-1, -1, 9, -1, -1))
        return
    want = functional.unfold(x, 3, dilation=dilation, padding=dilation).reshape(2, 3, 9, 6, 9)
    assert torch.equal(got, want.to(torch.int16))


def test_no_dilation_means_one():
    x = integers(-128, 128, 1, 2, 5, 5)
    assert torch.equal(square_windows(x, None, 2, 7), square_windows(x, torch.ones(1, 1, 5, 5, dtype=torch.int8), 2, 7))


ONES = torch.ones(1, 1, 4, 4, dtype=torch.int64)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((ONES.float(), ONES, 1, 0), TypeError, "Input must be of an integer dtype, not torch.float32"),
    ((ONES[0], ONES, 1, 0), ValueError, "Input must have shape (N, C, H, W), no size being zero, not (1, 4, 4)"),
    ((ONES[:, :, :0], ONES, 1, 0), ValueError,
     "Input must have shape (N, C, H, W), no size being zero, not (1, 1, 0, 4)"),
    ((ONES, ONES, 0, 0), ValueError, "Stride must be at least 1, not 0"),
    ((ONES, ONES, 1.0, 0), TypeError, "Stride must be an integer, not 1.0"),
    ((ONES.to(torch.int8), ONES, 1, 128), ValueError, "Padding value must fit torch.int8, not 128"),
    ((ONES, ONES, 1, 0.5), TypeError, "Padding value must be an integer, not 0.5"),
    ((ONES, "1", 1, 0), TypeError, "Dilation must be a torch.Tensor of integers, not 'str'"),
    ((ONES, ONES.float(), 1, 0), TypeError, "Dilation must be of an integer dtype, not torch.float32"),
    ((ONES, -ONES, 1, 0), ValueError, "Dilation must be at least 0, not -1 to -1"),
    ((ONES, ONES[:, :, :3], 1, 0), ValueError,
     "Dilation must have shape (1, G, 4, 4), no size being zero, not (1, 1, 3, 4)"),
    ((ONES, ONES.expand(1, 2, 4, 4), 1, 0), ValueError, "Dilation groups must divide the 1 channels, not 2"),
])
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        square_windows(*arguments)
