"""Calibration data: batches of arguments for a model, which several passes go through."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sw.ptq.checks import Progress

Batches: TypeAlias = Iterable[Any]
"""A sequence of batches, or anything else that can be gone through more than once, as a ``DataLoader``. A batch is a
tensor, the one argument of the model; a tuple or a list, its arguments; or a mapping, its keyword arguments."""


def check_batches(batches: Batches) -> None:
    """Refuse what cannot be gone through more than once.

    Raises
    ------
    TypeError
        If it is no iterable, or one that is used up by going through it.
    """
    if isinstance(batches, (Tensor, Mapping, str)) or not isinstance(batches, Iterable):
        raise TypeError(f"Batches must be a sequence of batches or a DataLoader, not {type(batches).__name__!r}; "
                        "give one batch as [batch]")
    if isinstance(batches, Iterator):
        raise TypeError(f"Batches must be such that they can be gone through again, not {type(batches).__name__!r}; "
                        "give list(batches)")


def arguments_of(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments that a batch stands for.

    Raises
    ------
    TypeError
        If it is none of what :data:`Batches` says.
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, (tuple, list)):
        return tuple(batch), {}
    raise TypeError(f"Batch must be a tensor, a tuple of arguments or a mapping of keyword arguments, "
                    f"not {type(batch).__name__!r}")


def each(model: nn.Module, batches: Batches) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the arguments of each batch, checked.

    Raises
    ------
    TypeError, ValueError
        If the batches are of the wrong type or there are none, one does not suit the parameters of the model's
        ``forward``, is empty, or has an infinity or a NaN (but for negative infinities, of which masks are made).
    """
    check_batches(batches)
    signature = inspect.signature(model.forward)
    index = -1
    for index, batch in enumerate(batches):
        arguments, keywords = arguments_of(batch)
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"Batch must suit {type(model).__name__}.forward{signature}, not be {len(arguments)} "
                            f"arguments and {sorted(keywords)}, in batch {index} ({error}); leave labels "
                            "out") from error
        for value in (*arguments, *keywords.values()):
            if isinstance(value, Tensor) and value.is_floating_point():
                _check_values(value, index)
        yield arguments, keywords
    if index < 0:
        raise ValueError("Batches must be at least one, not none")


def _check_values(x: Tensor, index: int) -> None:
    if not x.numel():
        raise ValueError(f"Batch must have elements, not a tensor of shape {tuple(x.shape)}, in batch {index}")
    # Masks are made of negative infinities.
    low, high = torch.aminmax(x)
    if bool(torch.isnan(low)) or bool(high == torch.inf):
        where = (torch.isnan(x) | (x == torch.inf)).nonzero()[0].tolist()
        raise ValueError(f"Batch must be finite, not {x[tuple(where)].item()!r} at {where}, in batch {index}")


@torch.no_grad()
def run(model: nn.Module, batches: Batches, progress: Progress | None = None) -> None:
    """Run every batch through a model in evaluation mode, for what its hooks and quantizers see of it.

    Raises
    ------
    TypeError, ValueError
        As :func:`each`, and whatever the model raises.
    """
    check_batches(batches)
    total = len(batches) if hasattr(batches, "__len__") else 0
    with evaluating(model):
        for done, (arguments, keywords) in enumerate(each(model, batches), 1):
            model(*arguments, **keywords)
            if progress is not None:
                progress(done, max(done, total))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model in evaluation mode, each of its modules in the mode that it was in afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
