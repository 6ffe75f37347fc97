"""The shape that scales really have: of a whole tensor, of its channels, or of groups."""

import math
from typing import NamedTuple

from torch import Tensor

from sw.ptq.config import Granularity


class ScaleLayout(NamedTuple):
    """Scales in the shape that ``sw.ptq`` gives them."""

    granularity: Granularity
    """``TENSOR``, ``CHANNEL`` (along the first axis) or ``GROUP`` (along the second one)."""
    group_size: int | None
    """For ``GROUP``."""
    scale: Tensor
    """Of shape ``()``, ``(channels,)``, or that of the tensor with the second axis divided by the group size."""


def scale_layout(scale: Tensor, shape: tuple[int, ...]) -> ScaleLayout:
    """Return the coarsest layout that gives each element of a tensor its scale.

    Parameters
    ----------
    scale : tensor
        Of any shape that broadcasts to ``shape``.
    shape : tuple of int
        Of at least two dimensions, unless one scale serves all.
    """
    full = scale.expand(shape)
    first = full[(0,) * full.ndim]
    if bool((full == first).all()):
        return ScaleLayout(Granularity.TENSOR, None, first.clone())
    by_channel = full.flatten(1)
    if bool((by_channel == by_channel[:, :1]).all()):
        return ScaleLayout(Granularity.CHANNEL, None, by_channel[:, 0].clone())
    # Every change is at the edge of a group, so that the largest size divides all their places.
    places = (full.diff(dim=1) != 0).movedim(1, 0).flatten(1).any(1).nonzero().flatten() + 1
    size = math.gcd(shape[1], *places.tolist())
    return ScaleLayout(Granularity.GROUP, size, full[:, ::size].clone())


def compact(scale: Tensor) -> Tensor:
    """Return a tensor of scales with every dimension along which nothing changes of size 1; of shape () if none is."""
    for axis in range(scale.ndim):
        first = scale.narrow(axis, 0, 1)
        if bool((scale == first).all()):
            scale = first
    return scale.reshape(()).clone() if scale.numel() == 1 else scale.clone()
