"""What the functions that round weights accept, and what they say to anything else."""

from typing import TypeVar

import torch
from torch import Tensor

from sw.ptq.checks import FLOAT_DTYPES
from sw.ptq.grid import Grid

Options = TypeVar("Options")


def check_number(noun: str, value: float) -> None:
    """Raise TypeError unless ``value`` is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{noun} must be a number, not {value!r}")


def checked_options(options: Options | None, kind: type[Options]) -> Options:
    """Return the options of a technique, the default ones for None; raise TypeError if they are another's."""
    if options is None:
        return kind()
    if not isinstance(options, kind):
        raise TypeError(f"Options must be a {kind.__name__} or None, not {options!r}")
    return options


def check_damping(damping: float) -> None:
    """Raise unless ``damping`` is a finite number of at least 0."""
    check_number("Damping", damping)
    if not 0 <= damping < float("inf"):
        raise ValueError(f"Damping must be at least 0 and finite, not {damping!r}")


def checked_matrices(weights: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return weights, as float64, and the scales of their grid, both of shape (groups, rows, columns).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the shapes do not match, or a weight is not finite.
    """
    if not isinstance(weights, Tensor):
        raise TypeError(f"Weights must be a torch.Tensor, not {type(weights).__name__!r}; convert with torch.as_tensor")
    if weights.dtype not in FLOAT_DTYPES:
        raise TypeError(f"Weights must be of a floating-point dtype, not {weights.dtype}")
    if weights.ndim not in (2, 3) or not weights.numel():
        raise ValueError("Weights must be of shape (rows, columns) or (groups, rows, columns), all at least 1, not "
                         f"{tuple(weights.shape)}")
    if not isinstance(grid, Grid):
        raise TypeError(f"Grid must be a Grid, not {grid!r}")
    if grid.scale.shape != weights.shape:
        raise ValueError(f"Grid scale must be of the shape of the weights, {tuple(weights.shape)}, not "
                         f"{tuple(grid.scale.shape)}; see Tensor.expand")
    finite = weights.isfinite()
    if not bool(finite.all()):
        place = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(f"Weights must be finite, not {weights[place].item()!r} at {place}")
    shape = (-1, *weights.shape[-2:])
    return weights.detach().to(torch.float64).reshape(shape), grid.scale.detach().reshape(shape)


def check_square(noun: str, matrix: Tensor, weights: Tensor) -> Tensor:
    """Return a matrix, or one for each group, as float64 of shape (groups, columns, columns).

    Raises
    ------
    TypeError, ValueError
        If it is of the wrong type, does not suit ``weights`` (groups, rows, columns), or is not finite.
    """
    if not isinstance(matrix, Tensor) or matrix.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{noun} must be a floating-point tensor, not {getattr(matrix, 'dtype', matrix)!r}")
    groups, _, columns = weights.shape
    wanted = (columns, columns) if groups == 1 else (groups, columns, columns)
    if tuple(matrix.shape) not in (wanted, (groups, columns, columns)):
        raise ValueError(f"{noun} must be of shape {wanted} for weights of {columns} columns in {groups} "
                         f"group{'s' * (groups > 1)}, not {tuple(matrix.shape)}")
    return finite(noun, matrix).detach().to(torch.float64).reshape(groups, columns, columns)


def finite(noun: str, matrix: Tensor) -> Tensor:
    """Return a matrix; raise ValueError if it has an infinity or a NaN."""
    if not bool(matrix.isfinite().all()):
        raise ValueError(f"{noun} must be finite, not with an infinity or a NaN")
    return matrix
