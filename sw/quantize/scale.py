"""Scales: which shape belongs to which granularity, and a first choice of their values."""

import torch
from torch import Tensor

from sw.formats import ScalarFormat
from sw.quantize.checks import check_input, is_readable, work_dtype
from sw.quantize.plan import plan_of


def _axis(x: Tensor, axis: int) -> int:
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise TypeError(f"Axis must be an integer, not {axis!r}")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"Axis must be between {-x.ndim} and {x.ndim - 1} for an input of shape {tuple(x.shape)}, "
                         f"not {axis!r}")
    return axis % x.ndim


def _group_count(x: Tensor, axis: int, group_size: int) -> int:
    if not isinstance(group_size, int) or isinstance(group_size, bool):
        raise TypeError(f"Group size must be an integer, not {group_size!r}")
    length = x.shape[axis]
    if group_size < 1 or length % group_size:
        raise ValueError(f"Group size must divide the {length} elements along axis {axis}, not {group_size!r}; "
                         "pad the input")
    return length // group_size


def scale_shape(x: Tensor, *, axis: int | None = None, group_size: int | None = None) -> tuple[int, ...]:
    """Return the shape of the scales of ``x``.

    ``()`` for the whole tensor; ``(C,)`` with ``axis`` (per channel, C elements along that axis); with
    ``group_size``, the shape of ``x`` with the axis (the last one by default) divided by it: one scale for each run
    of ``group_size`` elements along the axis.

    Raises
    ------
    TypeError, ValueError
        If the axis is not one of ``x``, or the group size does not divide its length.
    """
    if group_size is not None:
        axis = _axis(x, -1 if axis is None else axis)
        groups = _group_count(x, axis, group_size)
        return (*x.shape[:axis], groups, *x.shape[axis + 1:])
    return () if axis is None else (x.shape[_axis(x, axis)],)


def apply_shape(x: Tensor, *, axis: int | None = None, group_size: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Return the shapes, of ``x`` and of its scales, in which the two broadcast."""
    if group_size is not None:
        axis = _axis(x, -1 if axis is None else axis)
        groups = _group_count(x, axis, group_size)
        front, back = tuple(x.shape[:axis]), tuple(x.shape[axis + 1:])
        return (*front, groups, group_size, *back), (*front, groups, 1, *back)
    if axis is None:
        return tuple(x.shape), ()
    axis = _axis(x, axis)
    return tuple(x.shape), tuple(size if position == axis else 1 for position, size in enumerate(x.shape))


def check_scale(x: Tensor, scale: Tensor | float, *, axis: int | None, group_size: int | None) -> Tensor:
    """Return the scales as a tensor of the type that ``x`` is quantized in, on its device.

    Raises
    ------
    TypeError, ValueError
        If their shape is not :func:`scale_shape`, or (outside compiled and transformed code, which cannot read
        them) one is not a positive finite number.
    """
    if isinstance(scale, bool) or not isinstance(scale, (int, float, Tensor)):
        raise TypeError(f"Scale must be a number or a tensor, not {scale!r}")
    dtype = work_dtype(x)
    if not isinstance(scale, Tensor):
        scale = torch.tensor(float(scale), dtype=dtype, device=x.device)
    elif not scale.dtype.is_floating_point:
        raise TypeError(f"Scale dtype must be a floating-point one, not {scale.dtype}")
    elif scale.device != x.device:
        raise ValueError(f"Scale must be on the input's device {x.device}, not on {scale.device}; move it with .to()")
    shape = scale_shape(x, axis=axis, group_size=group_size)
    if tuple(scale.shape) != shape and not (shape == () and scale.numel() == 1):
        mend = "" if axis is not None or group_size is not None else "; give axis= or group_size= for several scales"
        raise ValueError(f"Scale shape must be {shape} for an input of shape {tuple(x.shape)}, axis {axis} and group "
                         f"size {group_size}, not {tuple(scale.shape)}{mend}")
    scale = scale.to(dtype)
    if is_readable(scale):
        good = (scale > 0) & (scale < torch.inf)
        if not bool(good.all()):
            raise ValueError("Scale must be positive and finite in "
                             f"{dtype}, not {scale.detach()[~good].flatten()[0].item()!r}")
    return scale.reshape(apply_shape(x, axis=axis, group_size=group_size)[1])


def absmax_scale(x: Tensor, fmt: ScalarFormat, *, axis: int | None = None, group_size: int | None = None,
                 power_of_two: bool = False) -> Tensor:
    """Return the scales that bring the largest magnitudes of ``x`` to the largest value of ``fmt``.

    Parameters
    ----------
    x : float16, bfloat16, float32 or float64 tensor, of any shape
    fmt : ScalarFormat
    axis, group_size : int, optional
        The granularity, as in :func:`sw.quantize.fake_quantize`.
    power_of_two : bool
        Round each scale up to a power of two: still nothing saturates, and the scaling itself is exact.
        (The block formats of OCP MX round down, and saturate.)

    Returns
    -------
    Tensor
        Of the shape ``fake_quantize`` wants: ``()``, ``(C,)``, or that of ``x`` with the axis divided by the group
        size; float64 for a float64 input, otherwise float32. Where all elements are zero, 1. No gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or ``x`` is empty or not finite.
    """
    check_input(x)
    plan = plan_of(fmt)
    if x.numel() == 0:
        raise ValueError(f"Input must have elements to take a maximum of, not shape {tuple(x.shape)}")
    magnitude = x.detach().abs().to(work_dtype(x))
    if group_size is not None:
        axis = _axis(x, -1 if axis is None else axis)
        shape, _ = apply_shape(x, axis=axis, group_size=group_size)
        largest = magnitude.reshape(shape).amax(axis + 1)
    elif axis is not None:
        axis = _axis(x, axis)
        others = [position for position in range(x.ndim) if position != axis]
        largest = magnitude.amax(others) if others else magnitude
    else:
        largest = magnitude.amax()
    if is_readable(largest) and not bool(torch.isfinite(largest).all()):
        raise ValueError("Input must be finite to scale it by its largest magnitude, not with an infinity or a NaN; "
                         "see torch.nan_to_num")
    if plan.maximum == 0:
        return torch.ones_like(largest)
    # A quotient that vanishes would divide by zero later.
    scale = (largest / plan.maximum).clamp(min=torch.finfo(largest.dtype).tiny)
    if power_of_two:
        mantissa, exponent = torch.frexp(scale)
        scale = torch.ldexp(torch.ones_like(scale), torch.where(mantissa == 0.5, exponent - 1, exponent))
    return torch.where(largest == 0, 1.0, scale)
