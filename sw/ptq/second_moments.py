"""Mean products of the inputs of a layer, gathered batch by batch, so that the inputs need not be kept."""

import torch
from torch import Tensor

from sw.ptq.rounding_checks import finite
from sw.quantize.checks import work_dtype

# Columns of the triangle that is computed at once: products of smaller matrices are slower.
_BLOCK = 512


class SecondMoments:
    """Means of ``y_j y_k`` over the inputs ``y`` of a layer, in each group, and of ``y_j x_k`` with other inputs ``x``.

    The products of a batch are summed in float32 (float64 for float64 inputs), those sums in float64. Of what is
    symmetric, only one triangle is computed.

    Parameters
    ----------
    groups, columns : int
        Groups of a convolution, and inputs that each output has a weight for.
    crossed : bool
        Whether there are other inputs: those that the layer has in the float model.
    device : torch.device, optional
    """

    def __init__(self, groups: int, columns: int, *, crossed: bool = False, device: torch.device | None = None) -> None:
        self._samples = 0
        self._own = torch.zeros(groups, columns, columns, dtype=torch.float64, device=device)
        self._cross = torch.zeros_like(self._own) if crossed else None

    @property
    def samples(self) -> int:
        """How many input vectors were added."""
        return self._samples

    def add(self, inputs: Tensor, other: Tensor | None = None) -> None:
        """Take a batch into the sums.

        Parameters
        ----------
        inputs : floating-point tensor of shape (groups, samples, columns)
        other : tensor of that shape, optional
            The other inputs, if there are to be some.

        Raises
        ------
        ValueError
            If a shape is another one, or the other inputs are missing or superfluous.
        """
        groups, columns = self._own.shape[:2]
        if inputs.ndim != 3 or inputs.shape[0] != groups or inputs.shape[2] != columns:
            raise ValueError(f"Inputs must be of shape ({groups}, samples, {columns}), not {tuple(inputs.shape)}")
        if (other is not None) != (self._cross is not None):
            raise ValueError("Other inputs must be given if and only if the moments are crossed, not "
                             f"{'without' if other is None else 'with'} them")
        if other is not None and other.shape != inputs.shape:
            raise ValueError(f"Other inputs must be of the same shape, {tuple(inputs.shape)}, not {tuple(other.shape)}")
        inputs = inputs.detach().to(work_dtype(inputs))
        for begin in range(0, columns, _BLOCK):
            rows = inputs[:, :, begin:begin + _BLOCK].mT
            end = begin + rows.shape[1]
            self._own[:, begin:end, :end] += rows @ inputs[:, :, :end]
            if self._cross is not None:
                self._cross[:, begin:end] += rows @ other.detach().to(inputs.dtype)
        self._samples += inputs.shape[1]

    def own(self) -> Tensor:
        """Return ``Y^T Y / n``, float64 of shape (groups, columns, columns).

        Raises
        ------
        ValueError
            If there are no samples, or one was not finite.
        """
        lower = self._mean(self._own).tril_()
        return lower.add_(lower.tril(-1).mT)

    def cross(self) -> Tensor:
        """Return ``Y^T X / n``, float64 of shape (groups, columns, columns); ``Y^T Y / n`` without other inputs.

        Raises
        ------
        ValueError
            If there are no samples, or one was not finite.
        """
        return self.own() if self._cross is None else self._mean(self._cross)

    def _mean(self, sums: Tensor) -> Tensor:
        if not self._samples:
            raise ValueError("Second moments must have samples, not 0; give them inputs with add()")
        return finite("Inputs", sums) / self._samples
