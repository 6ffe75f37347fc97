"""GPFQ: rounding weights one input at a time, so that the sum so far follows that of the float layer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches
from sw.ptq.checks import Progress, check_count
from sw.ptq.error_feedback import Order, round_columns
from sw.ptq.grid import Grid
from sw.ptq.layer_rounding import round_layers
from sw.ptq.rounding_checks import check_square, checked_matrices, checked_options
from sw.ptq.second_moments import SecondMoments


@dataclass(frozen=True, kw_only=True)
class GPFQ:
    """How GPFQ is done.

    Parameters
    ----------
    block_size : int
        Columns whose effect on the rest is summed up at once. It changes the speed alone.
    act_order : bool
        Round the inputs in the order of their mean squares, the largest first, rather than from left to right.
    quantized_inputs : bool
        Whether the inputs that the rounded weights get are quantized; those of the float layer never are. (Those of
        both come from the layers before, which are rounded already, and from the float ones.)

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, or out of range.
    """

    block_size: int = 128
    act_order: bool = False
    quantized_inputs: bool = True

    def __post_init__(self) -> None:
        check_count("Block size", self.block_size)
        check_boolean("Activation order", self.act_order)
        check_boolean("Quantized inputs", self.quantized_inputs)


def quantize_gpfq(weights: Tensor, moments: Tensor, cross_moments: Tensor, grid: Grid, options: GPFQ | None = None, *,
                  progress: Progress | None = None) -> Tensor:
    """Round weights to a grid so that on other inputs than the float ones the outputs still follow the float outputs.

    With the inputs ``x_k`` of the float layer and ``y_k`` of the rounded one, each a vector over the samples, column
    ``j`` is rounded from the projection ``<y_j, u_j> / <y_j, y_j>`` of what is missing so far,
    ``u_j = sum over k <= j of w_k x_k - sum over k < j of q_k y_k``. Only inner products occur, so that no inputs need
    to be kept.

    Parameters
    ----------
    weights : floating-point tensor of shape (rows, columns) or (groups, rows, columns)
        A row is an output, a column an input, of each of the groups of a convolution.
    moments : floating-point tensor of shape (columns, columns) or (groups, columns, columns)
        ``Y^T Y``, times any positive number. A column whose ``y_j`` is zero becomes zero.
    cross_moments : floating-point tensor of that shape
        ``Y^T X``, times the same number.
    grid : Grid
        Its scale is of the shape of ``weights``.
    options : GPFQ, optional
    progress : callable, optional
        Called with the columns done and all columns, after each block.

    Returns
    -------
    Tensor
        Of the shape and type of ``weights``, on the grid. Computed in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or not finite.

    Source: Lybrand and Saab 2021, A Greedy Algorithm for Quantizing Neural Networks (JMLR 22); Zhang et al. 2023,
    Post-training Quantization for Neural Networks with Provable Guarantees (SIAM J. Math. Data Sci. 5). In terms of
    inner products: Colbert et al. 2024, Accumulator-Aware Post-Training Quantization (arXiv 2409.17092).
    """
    options = checked_options(options, GPFQ)
    work, scale = checked_matrices(weights, grid)
    own, cross = check_square("Moments", moments, work), check_square("Cross moments", cross_moments, work)
    order = Order(own.diagonal(dim1=-2, dim2=-1) if options.act_order else None)
    own, cross = order.both(own), order.both(cross)
    squares = own.diagonal(dim1=-2, dim2=-1).unsqueeze(1)
    # An input that is always zero divides by nothing, and shall get a weight of zero.
    inverse = torch.where(squares > 0, 1 / squares, 0.0)
    result = round_columns(order.columns(work) @ (cross.tril().mT * inverse), None, own * inverse,
                           Grid(format=grid.format, scale=order.columns(scale)), block_size=options.block_size,
                           dtype=weights.dtype, progress=progress)
    return order.undo(result).reshape(weights.shape)


def gpfq_(model: nn.Module, batches: Batches, options: GPFQ | None = None, *,
          reference: nn.Module | None = None, progress: Progress | None = None) -> None:
    """Round the weights of a prepared and calibrated model by GPFQ, in place.

    Layer by layer, in the order in which they run, on the inputs that the layers before, rounded already, hand on and,
    beside them, those that the layer has in the float model. Scales stay as they were calibrated. Afterwards each
    weight is a value of its grid. Layers that the batches do not reach keep their weights, as do those whose weights
    are not quantized.

    Parameters
    ----------
    model : torch.nn.Module
        See :func:`sw.ptq.prepare` and :func:`sw.ptq.calibrate`.
    batches : sequence or DataLoader of batches
        As :data:`sw.ptq.batches.Batches` has them. For each layer, or those that share an input, all of them run
        through both models.
    options : GPFQ, optional
    reference : torch.nn.Module, optional
        The float model, whose weights are rounded and whose outputs are to be met: ``copy.deepcopy(model)`` from
        before any rounding. By default the model as it is, which is wrong after another technique.
    progress : callable, optional
        Called with the layers done and all layers, after each. An interruption leaves finished layers rounded and the
        others as they were.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the model is not prepared and calibrated, the reference has other layers,
        or the inputs of a layer are not finite. Errors name the layer, its shape and its format.
    """
    options = checked_options(options, GPFQ)

    def rounding(weights: Tensor, moments: SecondMoments, grid: Grid) -> Tensor:
        return quantize_gpfq(weights, moments.own(), moments.cross(), grid, options)

    round_layers(model, batches, rounding, crossed=True, quantized_inputs=options.quantized_inputs,
                 reference=reference, progress=progress)
