"""What the functions of this package accept, and what they say to anything else."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from sw.formats.check import check_integer

FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Progress: TypeAlias = Callable[[int, int], None]
"""Called during long work with how much is done, and how much there is."""


def check_matrix(noun: str, matrix: Tensor) -> None:
    """Refuse anything but a floating-point tensor of shape (rows, columns) with finite elements.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor, of another type or shape, empty, or not finite.
    """
    if not isinstance(matrix, Tensor):
        raise TypeError(f"{noun} must be a torch.Tensor, not {type(matrix).__name__!r}; convert with torch.as_tensor")
    if matrix.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{noun} must be of a floating-point dtype, not {matrix.dtype}")
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"{noun} must be of shape (outputs, inputs), both at least 1, not {tuple(matrix.shape)}; "
                         "weights of a convolution become so with .flatten(1)")
    finite = torch.isfinite(matrix)
    if not bool(finite.all()):
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(f"{noun} must be finite, not {matrix[row, column].item()!r} in row {row}, column {column}")


def check_count(noun: str, value: int, lowest: int = 1) -> None:
    """Raise unless ``value`` is an integer of at least ``lowest``."""
    check_integer(noun, value)
    if value < lowest:
        raise ValueError(f"{noun} must be at least {lowest}, not {value!r}")


def check_density(density: float) -> None:
    """Raise unless ``density`` is a number from 0 to 1."""
    if isinstance(density, bool) or not isinstance(density, (int, float)):
        raise TypeError(f"Density must be a number, not {density!r}")
    if not 0 <= density <= 1:
        raise ValueError(f"Density must be between 0 and 1, not {density!r}")


def check_divides(noun: str, size: int, length: int, what: str) -> None:
    """Raise ValueError unless ``size`` divides the ``length`` of ``what``."""
    if length % size:
        raise ValueError(f"{noun} must divide the {length} {what}, not {size!r}; pad the weights with zeros")
