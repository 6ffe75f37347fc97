"""Rounding a matrix column by column, each column making up for the errors of those before it."""

import torch
from torch import Tensor

from sw.ptq.checks import Progress
from sw.ptq.grid import Grid, rounded


def round_columns(start: Tensor, reference: Tensor | None, coupling: Tensor, grid: Grid, *, block_size: int,
                  dtype: torch.dtype, progress: Progress | None) -> Tensor:
    """Return ``q``, column after column: ``q_j = round(start_j + sum over k < j of (reference_k - q_k) coupling_kj)``.

    Sums over the columns of finished blocks are matrix products; within a block they are kept up to date column by
    column. The block size changes nothing but the speed, and the last bits of the sums.

    Parameters
    ----------
    start : float64 tensor of shape (groups, rows, columns)
    reference : float64 tensor of that shape, or None for zeros
    coupling : float64 tensor of shape (groups, columns, columns)
        Only what is above the diagonal counts.
    grid : Grid
        Its scale is of the shape of ``start``.
    block_size : int
    dtype : torch.dtype
        Of the result.
    progress : callable, optional
        Called with the columns done and all columns, after each block.
    """
    # A column is contiguous in the transposed matrices.
    start, scale = start.mT.contiguous(), grid.scale_for(dtype).mT.contiguous()
    reference = None if reference is None else reference.mT.contiguous()
    groups, columns, rows = start.shape
    result = torch.empty(groups, columns, rows, dtype=dtype, device=start.device)
    errors = torch.empty_like(start)
    for begin in range(0, columns, block_size):
        end = min(begin + block_size, columns)
        block = start[:, begin:end].clone()
        if begin:
            block.baddbmm_(coupling[:, :begin, begin:end].mT, errors[:, :begin])
        for column in range(begin, end):
            # In the type in which the layer will quantize them again, so that what is on the grid stays.
            result[:, column] = rounded(block[:, column - begin].to(scale.dtype), grid.format, scale[:, column])
            errors[:, column] = -result[:, column]
            if reference is not None:
                errors[:, column] += reference[:, column]
            if column + 1 < end:
                block[:, column + 1 - begin:].baddbmm_(coupling[:, column, column + 1:end].unsqueeze(-1),
                                                       errors[:, column].unsqueeze(1))
        if progress is not None:
            progress(end, columns)
    return result.mT.contiguous()


class Order:
    """An order in which the columns of each group are rounded.

    Parameters
    ----------
    squares : tensor of shape (groups, columns), optional
        Of the inputs: the largest comes first, and of equal ones the one to the left. From left to right by default.
    """

    def __init__(self, squares: Tensor | None = None) -> None:
        self._index = None if squares is None else squares.argsort(dim=-1, descending=True, stable=True).unsqueeze(1)

    def columns(self, matrices: Tensor) -> Tensor:
        """Return matrices of shape (groups, rows, columns) with their columns in this order."""
        return matrices if self._index is None else matrices.gather(2, self._index.expand(matrices.shape))

    def both(self, matrices: Tensor) -> Tensor:
        """Return square matrices with their rows and columns in this order."""
        if self._index is None:
            return matrices
        return self.columns(matrices).gather(1, self._index.mT.expand(matrices.shape))

    def undo(self, matrices: Tensor) -> Tensor:
        """Return matrices whose columns are in this order with their columns from left to right."""
        if self._index is None:
            return matrices
        return torch.empty_like(matrices).scatter_(2, self._index.expand(matrices.shape), matrices)
