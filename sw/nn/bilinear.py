"""Bilinear sampling of feature maps at positions between their pixels."""

import torch
from torch import Tensor

from sw.nn.checks import check_divides, check_floats, check_shape


def bilinear_sample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``x`` at the given positions, zero beyond its border.

    A sample is the sum of its four neighbours, each weighted by ``(1 - |row distance|) * (1 - |column distance|)``;
    neighbours beyond the border are zero. At whole positions it is the pixel there, exactly.

    Gradient: with respect to all three. At whole positions, where the slope has two values, it is that towards the
    greater row or column; beyond the border it is zero.

    Parameters
    ----------
    x : floating-point tensor, (N, C, H, W)
    rows, columns : floating-point tensors, (N, G, ...)
        In pixels; (0, 0) is the centre of the first. G divides C: channel c is sampled at the positions of group
        ``c // (C/G)``.

    Returns
    -------
    Tensor
        Of the dtype of ``x``, (N, C, ...).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Source: Dai et al. 2017 (arXiv 1703.06211), equations 3 and 4.
    """
    for noun, tensor in (("Input", x), ("Rows", rows), ("Columns", columns)):
        check_floats(noun, tensor)
    check_shape("Input", x, ("N", "C", "H", "W"))
    if rows.ndim < 3:
        raise ValueError(f"Rows must have shape (N, G, ...), not {tuple(rows.shape)}")
    check_shape("Rows", rows, (x.shape[0], "G", *["P"] * (rows.ndim - 2)))
    check_shape("Columns", columns, tuple(rows.shape))
    batch, channels, height, width = x.shape
    groups = rows.shape[1]
    check_divides("Position groups", groups, "channels", channels)

    # Two pixels beyond the border, all neighbours are as well, and how far does not matter.
    row = rows.flatten(2).clamp(-2, height + 1)
    column = columns.flatten(2).clamp(-2, width + 1)
    top, left = row.floor(), column.floor()
    below, right = row - top, column - left
    # One line of the table holds a pixel's channels, which are read together; the last one is for what lies beyond.
    share = channels // groups
    table = x.reshape(batch * groups, share, height * width).transpose(1, 2).reshape(-1, share)
    table = torch.cat([table, table.new_zeros(1, share)])
    first = torch.arange(0, batch * groups * height * width, height * width, device=x.device).reshape(batch, groups, 1)
    samples = table.new_zeros(row.numel(), share)
    for y, row_weight in ((top, 1 - below), (top + 1, below)):
        for z, column_weight in ((left, 1 - right), (left + 1, right)):
            inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
            line = first + y.to(torch.int64) * width + z.to(torch.int64)
            line = torch.where(inside, line, len(table) - 1).flatten()
            weight = (row_weight * column_weight).flatten()[:, None]
            samples = samples + table.index_select(0, line) * weight
    samples = samples.reshape(batch, groups, -1, share).transpose(2, 3)
    return samples.to(x.dtype).reshape(batch, channels, *rows.shape[2:])
