"""Images with their labels, and how a data set is divided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sw.ptq.checks import FLOAT_DTYPES, check_count

Batch = tuple[Tensor, Tensor]
"""Images of shape (batch, channels, height, width) and labels of shape (batch,)."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Images in memory, with their labels.

    Parameters
    ----------
    images : floating-point tensor of shape (samples, channels, height, width)
        Pixels.
    labels : int64 tensor of shape (samples,)
        Class of each image, from 0.

    Raises
    ------
    TypeError, ValueError
        If they are no such tensors, hold nothing, differ in length, or pixels are not finite.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for noun, tensor in (("Images", self.images), ("Labels", self.labels)):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{noun} must be a torch.Tensor, not {type(tensor).__name__!r}; "
                                "convert with torch.as_tensor")
        if self.images.dtype not in FLOAT_DTYPES:
            raise TypeError(f"Images must be of a floating-point dtype, not {self.images.dtype}")
        if self.labels.dtype != torch.int64:
            raise TypeError(f"Labels must be of dtype torch.int64, not {self.labels.dtype}")
        if self.images.ndim != 4 or not self.images.numel():
            raise ValueError("Images must be of shape (samples, channels, height, width), each at least 1, "
                             f"not {tuple(self.images.shape)}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"Labels must be of shape ({len(self.images)},), one an image, "
                             f"not {tuple(self.labels.shape)}")
        if int(self.labels.min()) < 0:
            raise ValueError(f"Labels must be at least 0, not {int(self.labels.min())}")
        finite = torch.isfinite(self.images).flatten(1).all(1)
        if not bool(finite.all()):
            raise ValueError(f"Images must be finite, not with an infinity or a NaN in image "
                             f"{int((~finite).nonzero()[0])}")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor | Sequence[int]) -> "Samples":
        """Return the samples at ``indices``, as copies.

        Raises
        ------
        IndexError, ValueError
            If an index is out of range, or there are none.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return Samples(self.images[chosen], self.labels[chosen])

    def batches(self, batch_size: int = 256) -> Iterator[Batch]:
        """Yield images and labels in order, ``batch_size`` at a time; the last batch may be smaller."""
        check_count("Batch size", batch_size)
        yield from zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)

    def inputs(self, batch_size: int = 256) -> tuple[Tensor, ...]:
        """Return the images alone, in batches: what calibration takes."""
        check_count("Batch size", batch_size)
        return self.images.split(batch_size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """A data set, divided.

    Parameters
    ----------
    train : Samples
        What networks are trained on.
    calibration : Samples
        A part of ``train``: what scales are calibrated on.
    test : Samples
        What accuracy is measured on; no sample of it is in ``train``.
    """

    train: Samples
    calibration: Samples
    test: Samples
