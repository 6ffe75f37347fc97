"""Bilinear samples."""

import math
import re

import pytest
import torch

from sw.nn import bilinear_sample, square_windows


def positions(*shape, seed=0, low=-2.0, high=8.0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * (high - low) + low


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_sample(image, row, column):
    """The definition: all pixels, each with its weight."""
    return sum(float(image[y, x]) * max(0.0, 1 - abs(row - y)) * max(0.0, 1 - abs(column - x))
               for y in range(image.shape[0]) for x in range(image.shape[1]))


@pytest.mark.parametrize("size", [(5, 6), (1, 6), (5, 1), (1, 1)])
def test_samples_are_the_weighted_sum_of_all_pixels(size):
    x, rows, columns = normal(2, 4, *size), positions(2, 2, 3, 4), positions(2, 2, 3, 4, seed=2)
    got = bilinear_sample(x, rows, columns)
    assert got.shape == (2, 4, 3, 4)
    for index in torch.cartesian_prod(*(torch.arange(length) for length in got.shape)).tolist():
        n, c, i, j = index
        want = one_sample(x[n, c], float(rows[n, c // 2, i, j]), float(columns[n, c // 2, i, j]))
        assert got[n, c, i, j].item() == pytest.approx(want, abs=1e-12), index


def test_samples_at_integers_are_pixels_exactly():
    x = torch.randint(-128, 128, (2, 4, 7, 5), generator=torch.Generator().manual_seed(0))
    dilation = torch.randint(0, 9, (2, 2, 7, 5), generator=torch.Generator().manual_seed(1))
    step = torch.tensor([-1, 0, 1])
    rows = torch.arange(7)[:, None] + step.repeat_interleave(3)[:, None, None] * dilation[:, :, None]
    columns = torch.arange(5) + step.repeat(3)[:, None, None] * dilation[:, :, None]
    for dtype in (torch.float32, torch.float64):
        got = bilinear_sample(x.to(dtype), rows.to(dtype), columns.to(dtype))
        assert torch.equal(got, square_windows(x, dilation, 1, 0).to(dtype))


@pytest.mark.parametrize("far", [1e30, -1e30, math.inf, -math.inf])
def test_samples_far_away_are_zero(far):
    x = normal(1, 1, 3, 3).requires_grad_()
    rows = torch.full((1, 1, 1), far, dtype=torch.float64, requires_grad=True)
    sample = bilinear_sample(x, rows, torch.ones(1, 1, 1, dtype=torch.float64))
    sample.sum().backward()
    assert sample.item() == 0
    assert rows.grad.item() == 0
    assert not x.grad.any()


def test_a_position_that_is_no_number_gives_none():
    rows = torch.full((1, 1, 1), math.nan)
    assert bilinear_sample(torch.ones(1, 1, 3, 3), rows, torch.ones(1, 1, 1)).isnan().all()


def test_a_pixel_that_is_no_number_reaches_its_neighbours_alone():
    for value in (math.nan, math.inf):
        x = torch.ones(1, 1, 3, 3)
        x[0, 0, 0, 0] = value
        rows, columns = torch.tensor([[[2.0, -5.0, 1.5, 0.5]]]), torch.tensor([[[2.0, 0.0, 9.0, 0.0]]])
        assert bilinear_sample(x, rows, columns).isfinite().tolist() == [[[True, True, True, False]]]


def test_half_precision_keeps_its_type():
    x = normal(1, 2, 4, 300).half()
    columns = torch.tensor([[[257.25, 258.5]]])
    got = bilinear_sample(x, torch.ones_like(columns), columns)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got, bilinear_sample(x.double(), torch.ones_like(columns), columns).half())


def test_gradients_are_those_of_differences():
    x, rows, columns = normal(2, 4, 5, 3), positions(2, 2, 7, high=5.0), positions(2, 2, 7, seed=3, high=4.0)
    assert torch.autograd.gradcheck(bilinear_sample, [t.requires_grad_() for t in (x, rows, columns)])


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((torch.ones(1, 1, 2, 2, dtype=torch.int64),) + (torch.ones(1, 1, 1),) * 2, TypeError,
     "Input must be of a floating-point dtype, not torch.int64; convert it with .to(torch.float32)"),
    ((torch.ones(1, 1, 2, 2), [1.0], torch.ones(1, 1, 1)), TypeError, "Rows must be a torch.Tensor, not 'list'"),
    ((torch.ones(1, 2, 2),) + (torch.ones(1, 1, 1),) * 2, ValueError,
     "Input must have shape (N, C, H, W), no size being zero, not (1, 2, 2)"),
    ((torch.ones(1, 0, 2, 2),) + (torch.ones(1, 1, 1),) * 2, ValueError,
     "Input must have shape (N, C, H, W), no size being zero, not (1, 0, 2, 2)"),
    ((torch.ones(1, 1, 2, 2),) + (torch.ones(1, 1),) * 2, ValueError, "Rows must have shape (N, G, ...), not (1, 1)"),
    ((torch.ones(1, 1, 2, 2),) + (torch.ones(2, 1, 1),) * 2, ValueError,
     "Rows must have shape (1, G, P), no size being zero, not (2, 1, 1)"),
    ((torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1), torch.ones(1, 1, 2)), ValueError,
     "Columns must have shape (1, 1, 1), no size being zero, not (1, 1, 2)"),
    ((torch.ones(1, 3, 2, 2),) + (torch.ones(1, 2, 1),) * 2, ValueError,
     "Position groups must divide the 3 channels, not 2"),
])
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        bilinear_sample(*arguments)


def test_sparse_input_is_refused():
    with pytest.raises(TypeError, match=re.escape(
            "Input must be a dense tensor, not of layout torch.sparse_coo; convert it with .to_dense()")):
        bilinear_sample(torch.ones(1, 1, 2, 2).to_sparse(), torch.ones(1, 1, 1), torch.ones(1, 1, 1))
