"""What the inputs of a layer are like: their norms and second moments, gathered batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean
from sw.ptq.checks import FLOAT_DTYPES, check_count


class Calibration:
    """Sums over the inputs of a layer, in float64.

    Parameters
    ----------
    features : int
        Length of an input vector.
    second_moments : bool
        Gather the matrix ``X^T X`` too, ``features**2`` numbers of 8 bytes: SparseGPT needs it, Wanda does not.
    device : torch.device, optional
        Where the sums are kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    def __init__(self, features: int, *, second_moments: bool = True, device: torch.device | None = None) -> None:
        check_count("Feature count", features)
        check_boolean("Second moments", second_moments)
        self._features = features
        self._samples = 0
        self._squares = torch.zeros(features, dtype=torch.float64, device=device)
        self._moments = (torch.zeros(features, features, dtype=torch.float64, device=device) if second_moments
                         else None)

    @property
    def features(self) -> int:
        """Length of an input vector."""
        return self._features

    @property
    def samples(self) -> int:
        """How many input vectors were added."""
        return self._samples

    def add(self, inputs: Tensor) -> None:
        """Take a batch into the sums.

        Parameters
        ----------
        inputs : floating-point tensor of shape (..., features)
            Every vector along the last dimension is a sample.

        Raises
        ------
        TypeError, ValueError
            If it is no such tensor, or not finite.
        """
        if not isinstance(inputs, Tensor):
            raise TypeError(f"Calibration inputs must be a torch.Tensor, not {type(inputs).__name__!r}")
        if inputs.dtype not in FLOAT_DTYPES:
            raise TypeError(f"Calibration inputs must be of a floating-point dtype, not {inputs.dtype}")
        if inputs.ndim == 0 or inputs.shape[-1] != self._features:
            raise ValueError(f"Calibration inputs must be of shape (..., {self._features}), not {tuple(inputs.shape)}")
        x = inputs.detach().reshape(-1, self._features).to(self._squares)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("Calibration inputs must be finite, not with an infinity or a NaN")
        self._squares += x.square().sum(0)
        if self._moments is not None:
            self._moments.addmm_(x.T, x)
        self._samples += len(x)

    @property
    def norms(self) -> Tensor:
        """Euclidean norm of each feature over all samples, float64 of shape (features,).

        Raises
        ------
        ValueError
            If there are no samples.
        """
        self._check_samples()
        return self._squares.sqrt()

    @property
    def second_moments(self) -> Tensor:
        """``X^T X``, the sum over the samples, float64 of shape (features, features).

        Raises
        ------
        ValueError
            If there are no samples, or the matrix was not gathered.
        """
        self._check_samples()
        if self._moments is None:
            raise ValueError("Calibration must have second moments, not the norms alone; "
                             "make it with second_moments=True")
        return self._moments.clone()

    def _check_samples(self) -> None:
        if not self._samples:
            raise ValueError("Calibration must have samples, not 0; give it the layer's inputs with add()")


def check_calibration(weights: Tensor, calibration: Calibration | None, method: str) -> Calibration:
    """Return the calibration if it is one for these weights.

    Raises
    ------
    TypeError, ValueError
        If it is missing, or of another number of inputs.
    """
    if calibration is None:
        raise ValueError(f"Calibration must be given for {method}, not None; see sw.ptq.Calibration")
    if not isinstance(calibration, Calibration):
        raise TypeError(f"Calibration must be a Calibration, not {calibration!r}")
    if calibration.features != weights.shape[1]:
        raise ValueError(f"Calibration must have as many features as the weights have inputs, {weights.shape[1]}, "
                         f"not {calibration.features}")
    return calibration


@contextmanager
def calibrating(layer: nn.Linear, *, second_moments: bool = True) -> Iterator[Calibration]:
    """Gather the inputs of a linear layer while a model that it is part of runs.

    ``with calibrating(model.fc) as calibration: model(batch)``

    Raises
    ------
    TypeError
        If ``layer`` is not a linear layer.
    """
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"Layer must be a torch.nn.Linear, not {type(layer).__name__!r}")
    calibration = Calibration(layer.in_features, second_moments=second_moments, device=layer.weight.device)
    handle = layer.register_forward_pre_hook(lambda _, inputs: calibration.add(inputs[0]))
    try:
        yield calibration
    finally:
        handle.remove()
