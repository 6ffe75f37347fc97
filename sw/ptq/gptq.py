"""GPTQ: rounding weights one input at a time, the rest making up for the error that the outputs would show."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches
from sw.ptq.checks import Progress, check_count
from sw.ptq.error_feedback import Order, round_columns
from sw.ptq.grid import Grid
from sw.ptq.layer_rounding import round_layers
from sw.ptq.rounding_checks import check_damping, check_square, checked_matrices, checked_options
from sw.ptq.second_moments import SecondMoments


@dataclass(frozen=True, kw_only=True)
class GPTQ:
    """How GPTQ is done.

    Parameters
    ----------
    damping : float
        Added to the diagonal of the Hessian, as a part of its mean; at least 0.
    block_size : int
        Columns whose effect on the rest is summed up at once. It changes the speed alone.
    act_order : bool
        Round the inputs in the order of their mean squares, the largest first, rather than from left to right.
    quantized_inputs : bool
        Whether the inputs of a layer are quantized where its Hessian is gathered. Brevitas' benchmark leaves them
        as they are.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, or out of range.
    """

    damping: float = 0.01
    block_size: int = 128
    act_order: bool = False
    quantized_inputs: bool = False

    def __post_init__(self) -> None:
        check_damping(self.damping)
        check_count("Block size", self.block_size)
        check_boolean("Activation order", self.act_order)
        check_boolean("Quantized inputs", self.quantized_inputs)


def quantize_gptq(weights: Tensor, hessian: Tensor, grid: Grid, options: GPTQ | None = None, *,
                  progress: Progress | None = None) -> Tensor:
    """Round weights to a grid so that the outputs change little on inputs of the given second moments.

    With ``H = R R^T``, ``R`` upper triangular, the summed squared error of the outputs, ``tr((W - Q) H (W - Q)^T)``,
    is that of ``(W - Q) R``, whose column ``j`` sees the columns up to ``j`` alone. From left to right each column is
    therefore rounded from the value that would make it vanish, ``w_j + sum over k < j of (w_k - q_k) R_kj / R_jj``.
    This is GPTQ: the same values that updating all columns to the right by the Cholesky factor of ``H^-1`` gives,
    without an inverse (Chee et al. 2023, QuIP, arXiv 2307.13304, theorem 6). The step of the format may vary, as with
    minifloats and posits: only the rounding knows of it.

    Parameters
    ----------
    weights : floating-point tensor of shape (rows, columns) or (groups, rows, columns)
        A row is an output, a column an input, of each of the groups of a convolution.
    hessian : floating-point tensor of shape (columns, columns) or (groups, columns, columns)
        ``(2 / n) X^T X`` over the ``n`` inputs ``X`` of a group. Columns without inputs other than zero become zero;
        their ``H_jj`` counts as 1, as in the paper's code, in the mean that ``damping`` refers to.
    grid : Grid
        Its scale is of the shape of ``weights``.
    options : GPTQ, optional
    progress : callable, optional
        Called with the columns done and all columns, after each block.

    Returns
    -------
    Tensor
        Of the shape and type of ``weights``, on the grid. Computed in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or not finite; if the Hessian is not positive definite, for
        which more damping is the mend.

    Source: Frantar et al. 2023, GPTQ (arXiv 2210.17323), algorithm 1.
    """
    options = checked_options(options, GPTQ)
    work, scale = checked_matrices(weights, grid)
    factor = check_square("Hessian", hessian, work).clone()
    dead = factor.diagonal(dim1=-2, dim2=-1) == 0
    factor.diagonal(dim1=-2, dim2=-1).add_(dead.to(factor.dtype))
    work = torch.where(dead.unsqueeze(1), 0.0, work)
    order = Order(factor.diagonal(dim1=-2, dim2=-1) if options.act_order else None)
    work = order.columns(work)
    result = round_columns(work, work, _coupling(order.both(factor), options.damping),
                           Grid(format=grid.format, scale=order.columns(scale)), block_size=options.block_size,
                           dtype=weights.dtype, progress=progress)
    return order.undo(result).reshape(weights.shape)


def _coupling(hessian: Tensor, damping: float) -> Tensor:
    """Return ``R_kj / R_jj`` for the upper triangular ``R`` with ``R R^T = H``, which is damped in place."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal += damping * diagonal.mean(-1, keepdim=True)
    # Read from its last row and column, an upper factor is a lower one, which is what there is a function for.
    lower, failed = torch.linalg.cholesky_ex(hessian.flip(-1, -2))
    if bool(failed.any()) or not bool(lower.isfinite().all()):
        raise ValueError(f"Damping must be large enough to make the Hessian positive definite, not {damping!r}; "
                         "give 0.01, or more samples than inputs")
    root = lower.flip(-1, -2)
    return root.div_(root.diagonal(dim1=-2, dim2=-1).clone().unsqueeze(-2))


def gptq_(model: nn.Module, batches: Batches, options: GPTQ | None = None, *, progress: Progress | None = None) -> None:
    """Round the weights of a prepared and calibrated model by GPTQ, in place.

    Layer by layer, in the order in which they run, on the inputs that the layers before, rounded already, hand on.
    Scales stay as they were calibrated. Afterwards each weight is a value of its grid, so that its quantizer changes
    nothing any more. Layers that the batches do not reach keep their weights, as do those whose weights are not
    quantized.

    Parameters
    ----------
    model : torch.nn.Module
        See :func:`sw.ptq.prepare` and :func:`sw.ptq.calibrate`.
    batches : sequence or DataLoader of batches
        As :data:`sw.ptq.batches.Batches` has them. All of them run through the model for each layer, or for those
        that share an input.
    options : GPTQ, optional
    progress : callable, optional
        Called with the layers done and all layers, after each. An interruption leaves finished layers rounded and the
        others as they were.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not prepared and calibrated, the inputs of a layer are not
        finite or its Hessian is singular. Errors name the layer, its shape and its format.
    """
    options = checked_options(options, GPTQ)

    def rounding(weights: Tensor, moments: SecondMoments, grid: Grid) -> Tensor:
        return quantize_gptq(weights, 2 * moments.own(), grid, options)

    round_layers(model, batches, rounding, crossed=False, quantized_inputs=options.quantized_inputs, progress=progress)
