"""How well a classifier does."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from sw.ptq.batches import evaluating
from sw.train.samples import Batch


class Batched(Protocol):
    """Samples that come in batches: :class:`~sw.train.Samples` in memory, :class:`~sw.train.ImageFolder` on disk."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def batches(self, batch_size: int = 256) -> Iterator[Batch]:
        """Yield images and labels."""


def logits(model: nn.Module, samples: Batched, batch_size: int = 256) -> Tensor:
    """Return what a classifier puts out in evaluation mode; its modules' modes are left as they were.

    Parameters
    ----------
    model : nn.Module
        Maps images of shape (batch, channels, height, width) to logits of shape (batch, classes).
    samples : Samples or ImageFolder
        The images.
    batch_size : int
        How many images are run at once.

    Returns
    -------
    Tensor of shape (samples, classes)

    Raises
    ------
    TypeError, ValueError
        If the model puts out something else, or a number that is not finite.
    """
    return _outputs(model, samples, batch_size)[0]


def predictions(model: nn.Module, samples: Batched, batch_size: int = 256) -> Tensor:
    """Return the class with the greatest logit for each sample, int64 of shape (samples,); see :func:`logits`."""
    return logits(model, samples, batch_size).argmax(1)


def accuracy(model: nn.Module, samples: Batched, batch_size: int = 256) -> float:
    """Return the share of samples, from 0 to 1, whose class has the greatest logit; see :func:`logits`."""
    output, labels = _outputs(model, samples, batch_size)
    return int((output.argmax(1) == labels).sum()) / len(labels)


@torch.no_grad()
def _outputs(model: nn.Module, samples: Batched, batch_size: int) -> Batch:
    """Return logits and labels of all samples."""
    found = []
    done = 0
    with evaluating(model):
        for images, labels in samples.batches(batch_size):
            output = model(images)
            _check_output(output, len(images), done)
            found.append((output, labels))
            done += len(images)
    outputs, labels = zip(*found, strict=True)
    return torch.cat(outputs), torch.cat(labels)


def _check_output(output: object, count: int, done: int) -> None:
    if not isinstance(output, Tensor):
        raise TypeError(f"Model output must be a torch.Tensor of logits, not {type(output).__name__!r}")
    if output.ndim != 2 or len(output) != count:
        raise ValueError(f"Model output must be of shape ({count}, classes), not {tuple(output.shape)}")
    finite = torch.isfinite(output).all(1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise ValueError(f"Model output must be finite, not {output[first].tolist()!r} for sample {done + first}")
