"""Which elements of a tensor share a scale: as rows of a matrix, and for each of them."""

from torch import Tensor

from sw.ptq.config import Granularity


def rows_of(x: Tensor, granularity: Granularity, axis: int, group_size: int | None) -> Tensor:
    """Return ``x`` as a matrix, a row for each scale.

    Parameters
    ----------
    x : tensor
        With ``CHANNEL``, of shape (channels, ...).
    granularity : Granularity
    axis : int, negative
        That of the input channels. Groups lie along it; a token is what has one index in all dimensions before it.
    group_size : int, optional
        For ``GROUP``; it divides the axis.
    """
    match granularity:
        case Granularity.TENSOR:
            return x.reshape(1, -1)
        case Granularity.CHANNEL:
            return x.flatten(1)
        case Granularity.TOKEN:
            return x.reshape(-1, x.shape[axis:].numel())
        case Granularity.GROUP:
            assert group_size is not None
            return x.unflatten(axis, (-1, group_size)).movedim(axis, -1).reshape(-1, group_size)


def scale_shape(x: Tensor, granularity: Granularity, axis: int, group_size: int | None) -> tuple[int, ...]:
    """Return the shape of the scales of ``x``, in the order of its rows."""
    match granularity:
        case Granularity.TENSOR:
            return ()
        case Granularity.CHANNEL:
            return (x.shape[0],)
        case Granularity.TOKEN:
            return (*x.shape[:axis], *(1,) * -axis)
        case Granularity.GROUP:
            assert group_size is not None
            axis %= x.ndim
            return (*x.shape[:axis], x.shape[axis] // group_size, *x.shape[axis + 1:])


def expanded(scale: Tensor, x: Tensor, granularity: Granularity, axis: int, group_size: int | None) -> Tensor:
    """Return scales, of :func:`scale_shape`, each repeated for the elements of ``x`` that share it."""
    match granularity:
        case Granularity.CHANNEL:
            scale = scale.reshape(-1, *(1,) * (x.ndim - 1))
        case Granularity.GROUP:
            assert group_size is not None
            scale = scale.repeat_interleave(group_size, axis)
        case _:
            pass
    return scale.expand(x.shape)
