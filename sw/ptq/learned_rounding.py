"""Learned rounding (AdaRound): up or down for each weight, by gradient descent on the error of the outputs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches
from sw.ptq.checks import Progress, check_count
from sw.ptq.grid import Grid
from sw.ptq.layer_rounding import round_layers
from sw.ptq.rounding_checks import check_number, check_square, checked_matrices, checked_options
from sw.ptq.second_moments import SecondMoments
from sw.quantize.checks import work_dtype

# The ends of the stretched sigmoid, beyond those of the interval, so that 0 and 1 are reached.
_LOW, _HIGH = -0.1, 1.1

# How far from one half a weight starts at least, on the side that nearest rounding takes.
_MARGIN = 1e-4


@dataclass(frozen=True, kw_only=True)
class LearnedRounding:
    """How rounding is learned.

    Parameters
    ----------
    iterations : int
        Steps of gradient descent for each layer.
    learning_rate : float
        Of Adam, more than 0. Brevitas' functions take 0.1, and its benchmark 0.001. Of the three powers of ten, this
        one left the least error in the outputs for int4, e3m2, e2m1 and posit<6,1> (144 inputs, 1000 steps).
    regularization : float
        Weight of the sum that drives each weight to one side, at least 0.
    first_exponent, last_exponent : float
        Exponent of that sum, from the end of the warm-up to the last step, more than 1: the larger, the less it
        presses on weights that are undecided.
    warm_up : float
        Part of the iterations that go without that sum, 0 to 1.
    quantized_inputs : bool
        Whether the inputs that the rounded weights get are quantized; those of the float layer never are.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, or out of range.
    """

    iterations: int = 1000
    learning_rate: float = 1e-2
    regularization: float = 0.01
    first_exponent: float = 20.0
    last_exponent: float = 2.0
    warm_up: float = 0.2
    quantized_inputs: bool = True

    def __post_init__(self) -> None:
        check_count("Iteration count", self.iterations)
        for noun, value, low in (("Learning rate", self.learning_rate, 0), ("First exponent", self.first_exponent, 1),
                                 ("Last exponent", self.last_exponent, 1)):
            check_number(noun, value)
            if not low < value < float("inf"):
                raise ValueError(f"{noun} must be more than {low} and finite, not {value!r}")
        check_number("Regularization", self.regularization)
        if not 0 <= self.regularization < float("inf"):
            raise ValueError(f"Regularization must be at least 0 and finite, not {self.regularization!r}")
        check_number("Warm-up", self.warm_up)
        if not 0 <= self.warm_up <= 1:
            raise ValueError(f"Warm-up must be between 0 and 1, not {self.warm_up!r}")
        check_boolean("Quantized inputs", self.quantized_inputs)


def initial_position(values: Tensor, down: Tensor, up: Tensor, nearest: Tensor) -> Tensor:
    """Return where each value lies between its neighbours, 0 at ``down`` to 1 at ``up``; 0 where these are equal.

    The step ``up - down`` is the element's own. (Brevitas takes the fraction of ``values`` in units of the scale,
    which is the same for integers; where the step of the format varies, it says nothing about the nearer neighbour.)
    A position above one half means ``nearest == up``, and one below means ``nearest == down``, so that rounding by it
    begins as rounding to nearest does: ties are moved to the side that they are rounded to, and so are posits
    between values with another number of fraction bits, whose rounding does not change in the middle.
    """
    position = torch.where(up > down, (values - down) / (up - down), 0.0)
    return torch.where(nearest > down, position.clamp(min=0.5 + _MARGIN), position.clamp(max=0.5 - _MARGIN))


def quantize_learned(weights: Tensor, moments: Tensor, cross_moments: Tensor, grid: Grid,
                     options: LearnedRounding | None = None, *, progress: Progress | None = None) -> Tensor:
    """Round each weight to one of its two neighbours on a grid so that the outputs follow the float outputs.

    A variable ``v`` for each weight gives its position ``h = clamp(1.2 sigmoid(v) - 0.1, 0, 1)`` between the value
    below and the value above. Adam minimises the squared error of the outputs, summed over rows and averaged over
    samples, plus ``regularization * sum(1 - |2 h - 1|^b)``, from the positions of the weights themselves. In the end
    a weight goes up if ``h`` is above one half; but a row that has no smaller error than rounding to nearest has is
    rounded to nearest.

    The error is a quadratic form of the second moments, so that every step sees all samples, and none of them needs
    to be kept: a step takes ``rows * columns**2`` multiplications in each group, however many samples there were.
    (The paper, and Brevitas, draw some of them for each step.)

    Parameters
    ----------
    weights : floating-point tensor of shape (rows, columns) or (groups, rows, columns)
        A row is an output, a column an input, of each of the groups of a convolution.
    moments : floating-point tensor of shape (columns, columns) or (groups, columns, columns)
        ``Y^T Y / n`` for the ``n`` inputs ``Y`` that the rounded weights get.
    cross_moments : floating-point tensor of that shape
        ``Y^T X / n`` for the inputs ``X`` of the float weights.
    grid : Grid
        Its scale is of the shape of ``weights``.
    options : LearnedRounding, optional
    progress : callable, optional
        Called with the iterations done and all iterations, every hundred.

    Returns
    -------
    Tensor
        Of the shape and type of ``weights``, on the grid.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or not finite.

    Source: Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization (arXiv 2004.10568),
    section 3. Weight, exponents and warm-up of the sum as in Brevitas.
    """
    options = checked_options(options, LearnedRounding)
    work, scale = checked_matrices(weights, grid)
    own, cross = check_square("Moments", moments, work), check_square("Cross moments", cross_moments, work)
    dtype = work_dtype(weights)
    grid, values = Grid(format=grid.format, scale=scale), work.to(dtype)
    nearest, (down, up) = grid.nearest(values), grid.neighbours(values)
    # Half the gradient of the error with respect to q is (q - w) Y^T Y + w (Y^T Y - Y^T X)^T.
    pull = work @ (own - cross.mT)
    variables = _learn(values, down, up, initial_position(values, down, up, nearest), own.to(dtype), pull.to(dtype),
                       options, progress)
    learned = torch.where(variables > 0, up, down)
    better = _row_errors(learned, work, own, pull) < _row_errors(nearest, work, own, pull)
    return torch.where(better.unsqueeze(-1), learned, nearest).to(weights.dtype).reshape(weights.shape)


def learn_rounding_(model: nn.Module, batches: Batches, options: LearnedRounding | None = None, *,
                    reference: nn.Module | None = None, progress: Progress | None = None) -> None:
    """Round the weights of a prepared and calibrated model by learning whether each goes up or down, in place.

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
    options : LearnedRounding, optional
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
    options = checked_options(options, LearnedRounding)

    def rounding(weights: Tensor, moments: SecondMoments, grid: Grid) -> Tensor:
        return quantize_learned(weights, moments.own(), moments.cross(), grid, options)

    round_layers(model, batches, rounding, crossed=True, quantized_inputs=options.quantized_inputs,
                 reference=reference, progress=progress)


def _row_errors(rounded: Tensor, weights: Tensor, moments: Tensor, pull: Tensor) -> Tensor:
    """Return the mean squared error of each output, less that of the float weights on the rounded ones' inputs."""
    difference = rounded - weights
    return ((difference @ moments + 2 * pull) * difference).sum(-1)


def _learn(values: Tensor, down: Tensor, up: Tensor, position: Tensor, moments: Tensor, pull: Tensor,
           options: LearnedRounding, progress: Progress | None) -> Tensor:
    """Return the variables after the last step; positive ones mean up."""
    variables = torch.logit((position - _LOW) / (_HIGH - _LOW))
    optimizer = torch.optim.Adam([variables], lr=options.learning_rate)
    begin, step = options.warm_up * options.iterations, up - down
    for iteration in range(1, options.iterations + 1):
        exponent = None
        if iteration >= begin:
            past = (iteration - begin) / max(options.iterations - begin, 1)
            exponent = options.last_exponent + (options.first_exponent - options.last_exponent) * (1 - past)
        variables.grad = _gradient(variables, down - values, step, moments, pull, options.regularization, exponent)
        optimizer.step()
        if progress is not None and (iteration % 100 == 0 or iteration == options.iterations):
            progress(iteration, options.iterations)
    return variables


def _gradient(variables: Tensor, down: Tensor, step: Tensor, moments: Tensor, pull: Tensor, regularization: float,
              exponent: float | None) -> Tensor:
    """Return the gradient of the loss; ``down`` is relative to the weights."""
    sigmoid = torch.sigmoid(variables)
    position = (sigmoid * (_HIGH - _LOW) + _LOW).clamp(0, 1)
    gradient = 2 * step * ((down + step * position) @ moments + pull)
    if exponent is not None:
        side = 2 * position - 1
        gradient -= 2 * regularization * exponent * side.sign() * side.abs() ** (exponent - 1)
    inside = (position > 0) & (position < 1)
    return torch.where(inside, gradient * (_HIGH - _LOW) * sigmoid * (1 - sigmoid), 0.0)
