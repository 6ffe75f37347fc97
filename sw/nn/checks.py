"""What the layers of this package accept, and what they say to anything else."""

import torch
from torch import Tensor

from sw.formats.check import check_integer
from sw.quantize.checks import is_readable

INTEGER_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_count(noun: str, value: object, *, least: int = 1) -> None:
    """Raise unless ``value`` is an integer of at least ``least``."""
    check_integer(noun, value)
    if value < least:
        raise ValueError(f"{noun} must be at least {least}, not {value!r}")


def check_divides(noun: str, divisor: int, what: str, count: int) -> None:
    """Raise ValueError unless ``count`` things fall into ``divisor`` groups of one size."""
    if count % divisor:
        raise ValueError(f"{noun} must divide the {count} {what}, not {divisor!r}")


def _check_dense(noun: str, x: object, kind: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{noun} must be a torch.Tensor{kind}, not {type(x).__name__!r}")
    if x.layout != torch.strided:
        raise TypeError(f"{noun} must be a dense tensor, not of layout {x.layout}; convert it with .to_dense()")


def check_integers(noun: str, x: object, low: int | None = None, high: int | None = None) -> None:
    """Raise unless ``x`` is a dense tensor of integers, between ``low`` and ``high`` where they can be read."""
    _check_dense(noun, x, " of integers")
    if x.dtype not in INTEGER_DTYPES:
        raise TypeError(f"{noun} must be of an integer dtype, not {x.dtype}")
    if low is not None and x.numel() and is_readable(x):
        least, greatest = (int(extreme) for extreme in torch.aminmax(x))
        if least < low or (high is not None and greatest > high):
            bounds = f"between {low} and {high}" if high is not None else f"at least {low}"
            raise ValueError(f"{noun} must be {bounds}, not {least} to {greatest}")


def check_floats(noun: str, x: object) -> None:
    """Raise TypeError unless ``x`` is a dense floating-point tensor."""
    _check_dense(noun, x, "")
    if x.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{noun} must be of a floating-point dtype, not {x.dtype}; convert it with .to(torch.float32)")


def check_shape(noun: str, x: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise ValueError unless ``x`` has ``shape``, whose letters stand for any size from 1 on."""
    fits = x.ndim == len(shape) and all(size >= 1 if isinstance(want, str) else size == want
                                        for size, want in zip(x.shape, shape, strict=True))
    if not fits:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"{noun} must have shape ({wanted}), no size being zero, not {tuple(x.shape)}")
