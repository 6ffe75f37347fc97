"""The nine samples of a 3x3 window whose dilation is an integer of its own at every position."""

import torch
from torch import Tensor

from sw.formats.check import check_integer
from sw.nn.checks import check_count, check_divides, check_integers, check_shape

TAPS = 9


def square_windows(x: Tensor, dilation: Tensor | None, stride: int, padding_value: int) -> Tensor:
    """Return the nine samples around each position: sample k is ``x`` at ``(y + ky*d, x + kx*d)``.

    ``ky`` and ``kx`` run over -1, 0, 1 and ``k = 3*(ky + 1) + (kx + 1)``. ``d`` is the dilation given for the position;
    0 puts all nine samples on its centre, 1 is the ordinary window. Nothing is interpolated.

    Parameters
    ----------
    x : integer tensor, (N, C, H, W)
    dilation : integer tensor, (N, G, H, W), optional
        ``d >= 0`` of each position of ``x``; G divides C, and channel c takes that of group ``c // (C/G)``.
        None for 1 everywhere.
    stride : int
        Windows are at the positions whose row and column are multiples of it.
    padding_value : int
        What a sample beyond the border is.

    Returns
    -------
    Tensor
        Of the dtype of ``x``, (N, C, 9, ceil(H/stride), ceil(W/stride)).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.

    Source: CoDeNet (arXiv 2006.08357), section 3, "square shape" and "rounded offset".
    """
    check_integers("Input", x)
    check_shape("Input", x, ("N", "C", "H", "W"))
    check_count("Stride", stride)
    check_integer("Padding value", padding_value)
    limits = torch.iinfo(x.dtype)
    if not limits.min <= padding_value <= limits.max:
        raise ValueError(f"Padding value must fit {x.dtype}, not {padding_value!r}")
    batch, channels, height, width = x.shape
    if dilation is None:
        dilation = torch.ones(batch, 1, height, width, dtype=torch.int64, device=x.device)
    check_integers("Dilation", dilation, 0)
    check_shape("Dilation", dilation, (batch, "G", height, width))
    groups = dilation.shape[1]
    check_divides("Dilation groups", groups, "channels", channels)

    step = torch.tensor([-1, 0, 1], device=x.device)
    row = torch.arange(0, height, stride, device=x.device)
    column = torch.arange(0, width, stride, device=x.device)
    d = dilation[:, :, ::stride, ::stride].to(torch.int64)[:, :, None]
    rows = row[:, None] + step.repeat_interleave(3)[:, None, None] * d  # (N, G, 9, Ho, Wo)
    columns = column + step.repeat(3)[:, None, None] * d
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    place = torch.where(inside, rows * width + columns, 0).flatten(2)[:, :, None]
    samples = x.reshape(batch, groups, channels // groups, height * width)
    samples = samples.gather(3, place.expand(-1, -1, channels // groups, -1))
    samples = torch.where(inside.flatten(2)[:, :, None], samples, padding_value)
    return samples.reshape(batch, channels, TAPS, len(row), len(column))
