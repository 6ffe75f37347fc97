"""Pruning of weight matrices: by magnitude, by magnitude and activations, by the Hessian; and of linear layers."""

from enum import Enum

import torch
from torch import Tensor, nn

from sw.formats.check import check_member
from sw.ptq.calibration import Calibration, check_calibration
from sw.ptq.checks import Progress, check_matrix
from sw.ptq.pattern import Pattern, Pruned, check_pattern
from sw.ptq.sparsegpt import prune_sparsegpt


class PruningMethod(Enum):
    """How the weights that stay are chosen."""

    MAGNITUDE = "magnitude"
    """The largest ones."""
    WANDA = "wanda"
    """The largest products of a weight's magnitude and its input's norm."""
    SPARSEGPT = "sparsegpt"
    """By the error that the loss of each would cause, which the others then make up for."""


def prune_magnitude(weights: Tensor, pattern: Pattern) -> Pruned:
    """Set all weights but the largest that the pattern admits to zero.

    Parameters
    ----------
    weights : floating-point tensor of shape (outputs, inputs)
    pattern : Pattern

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the weights are not finite, or the pattern does not tile them.
    """
    check_matrix("Weights", weights)
    check_pattern(pattern)
    return _masked(weights, pattern.mask(weights.detach().abs()))


def prune_wanda(weights: Tensor, pattern: Pattern, calibration: Calibration | None) -> Pruned:
    """Set all weights but those with the largest ``|W| * ||x||_2`` that the pattern admits to zero.

    Parameters
    ----------
    weights : floating-point tensor of shape (outputs, inputs)
    pattern : Pattern
        The paper compares the weights of an output with each other: N:M, or ``Unstructured(per_row=True)``.
    calibration : Calibration
        The norm of each input; second moments are not needed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the weights are not finite, the pattern does not tile them, or the
        calibration is missing, without samples, or of another number of inputs.

    Source: Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language Models (arXiv 2306.11695).
    """
    check_matrix("Weights", weights)
    check_pattern(pattern)
    norms = check_calibration(weights, calibration, "Wanda").norms.to(weights.device)
    return _masked(weights, pattern.mask(weights.detach().abs().to(torch.float64) * norms))


def prune_linear(layer: nn.Linear, pattern: Pattern, *, method: PruningMethod = PruningMethod.MAGNITUDE,
                 calibration: Calibration | None = None, damping: float = 0.01, block_size: int = 128,
                 progress: Progress | None = None) -> Tensor:
    """Prune the weights of a linear layer in place.

    Parameters
    ----------
    layer : torch.nn.Linear
    pattern : Pattern
    method : PruningMethod
    calibration : Calibration
        For every method but ``MAGNITUDE``: see :func:`sw.ptq.calibrating`.
    damping, block_size, progress
        Of :func:`sw.ptq.prune_sparsegpt`; the other methods need none.

    Returns
    -------
    Tensor
        The mask of the weights that stay.

    Raises
    ------
    TypeError, ValueError
        If the layer is not linear, and as the functions of the methods do.
    """
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"Layer must be a torch.nn.Linear, not {type(layer).__name__!r}")
    check_member("Pruning method", method, PruningMethod)
    match method:
        case PruningMethod.MAGNITUDE:
            pruned = prune_magnitude(layer.weight, pattern)
        case PruningMethod.WANDA:
            pruned = prune_wanda(layer.weight, pattern, calibration)
        case PruningMethod.SPARSEGPT:
            pruned = prune_sparsegpt(layer.weight, pattern, calibration, damping=damping, block_size=block_size,
                                     progress=progress)
    with torch.no_grad():
        layer.weight.copy_(pruned.weights)
    return pruned.mask


def output_error(weights: Tensor, other: Tensor, calibration: Calibration | None) -> float:
    """Return the squared difference, summed over samples and outputs, of two layers' outputs on the calibration inputs.

    Parameters
    ----------
    weights, other : floating-point tensors of shape (outputs, inputs)
    calibration : Calibration
        With second moments.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the shapes differ, or the calibration is missing or has no second moments.
    """
    check_matrix("Weights", weights)
    check_matrix("Other weights", other)
    if other.shape != weights.shape:
        raise ValueError(f"Other weights must be of the same shape, {tuple(weights.shape)}, not {tuple(other.shape)}")
    moments = check_calibration(weights, calibration, "an output error").second_moments.to(weights.device)
    difference = weights.detach().to(torch.float64) - other.detach().to(torch.float64)
    return float(((difference @ moments) * difference).sum())


def _masked(weights: Tensor, mask: Tensor) -> Pruned:
    return Pruned(weights=torch.where(mask, weights.detach(), 0.0), mask=mask)
