"""Pruning that lets the weights that stay make up for those that go: the optimal brain surgeon, column by column."""

import torch
from torch import Tensor

from sw.ptq.calibration import Calibration, check_calibration
from sw.ptq.checks import Progress, check_count, check_matrix
from sw.ptq.pattern import Pattern, Pruned, check_pattern


def prune_sparsegpt(weights: Tensor, pattern: Pattern, calibration: Calibration | None, *, damping: float = 0.01,
                    block_size: int = 128, progress: Progress | None = None) -> Pruned:
    """Prune weights so that the outputs on the calibration inputs change little.

    From left to right, a column that loses weights hands their part on to the columns to its right, by the inverse
    of the Hessian ``H = X^T X + damping``. Which weights go is chosen when their group is reached, after all the
    updates to its left, by the error ``w^2 / [H^-1]_jj`` that the loss of each would cause, the inverse being that of
    the columns from its own to the last. Updates beyond ``block_size`` columns wait, so that they are done at once.

    Parameters
    ----------
    weights : floating-point tensor of shape (outputs, inputs)
    pattern : Pattern
        What may stay. Its groups are chosen as they are reached; an :class:`Unstructured` one by blocks of
        ``block_size`` columns. The N of the blocks of a :class:`MixedNM` one are settled beforehand.
    calibration : Calibration
        With second moments.
    damping : float
        Added to the diagonal of ``H``, as a part of its mean; at least 0.
    block_size : int
        Columns whose updates of the rest are done at once. It has no influence on the result of an N:M pattern but
        for rounding.
    progress : callable, optional
        Called with the columns done and all columns, after each block.

    Returns
    -------
    Pruned
        Computed in float64, the weights in the type of those given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or not finite; if the calibration is missing or has no second
        moments; if the Hessian is singular, for which more damping is the mend.

    Source: Frantar and Alistarh 2023, SparseGPT (arXiv 2301.00774), algorithm 1.
    """
    check_matrix("Weights", weights)
    check_pattern(pattern)
    calibration = check_calibration(weights, calibration, "SparseGPT")
    check_count("Block size", block_size)
    moments = calibration.second_moments.to(weights.device)
    root, used = _root_of_inverse(moments, damping), moments.diagonal() > 0
    work = weights.detach().to(torch.float64).clone()
    diagonal = root.diagonal()  # its squares are [H^-1]_jj, the inverse being that of the columns from j on
    # Weights of inputs that are always zero matter to nothing, however large, and whatever the damping.
    part = torch.where(used, 1 / diagonal, 0.0)
    steps = {step.start: step for step in pattern.steps(work.abs() * part, block_size)}
    mask, columns = torch.zeros_like(work, dtype=torch.bool), work.shape[1]
    waiting = start = 0
    errors = torch.zeros_like(work)
    for column in range(columns):
        if column in steps:
            step = steps[column]
            # The choice looks at all of its columns, so none of their updates may wait.
            if step.stop > waiting:
                work[:, waiting:] -= errors[:, start:column] @ root[start:column, waiting:]
                start, waiting = column, max(step.stop, min(column + block_size, columns))
                if progress is not None and column:
                    progress(column, columns)
            mask[:, column:step.stop] = step.choose(work[:, column:step.stop].abs() * part[column:step.stop])
        lost = torch.where(mask[:, column], 0.0, work[:, column])
        errors[:, column] = lost / diagonal[column]
        work[:, column:waiting] -= errors[:, column, None] * root[column, column:waiting]
    if progress is not None:
        progress(columns, columns)
    return Pruned(weights=torch.where(mask, work, 0.0).to(weights.dtype), mask=mask)


def _root_of_inverse(moments: Tensor, damping: float) -> Tensor:
    """Return the upper triangular ``U`` with ``H^-1 = U^T U``."""
    if isinstance(damping, bool) or not isinstance(damping, (int, float)):
        raise TypeError(f"Damping must be a number, not {damping!r}")
    if not 0 <= damping < float("inf"):
        raise ValueError(f"Damping must be at least 0 and finite, not {damping!r}")
    mean = moments.diagonal().mean()
    if mean == 0:
        raise ValueError("Calibration must have inputs other than zero, not zeros alone")
    hessian = moments / mean  # of the order of one, so that neither inverse overflows
    unused = (hessian.diagonal() == 0).to(hessian.dtype)  # without a square, an input has no products either
    hessian.diagonal().add_(unused + damping)
    lower, failed = torch.linalg.cholesky_ex(hessian)
    if not int(failed):
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if int(failed) or not bool(torch.isfinite(upper).all()):
        raise ValueError(f"Damping must be large enough to make the Hessian positive definite, not {damping!r}; "
                         "give 0.01, or more samples than inputs")
    return upper
