"""From 24-bit sums to 8-bit codes by an integer factor."""

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean, check_integer
from sw.nn.checks import check_integers, check_shape

ACCUMULATOR_BITS = 24
SCALE_BITS = 16
BIAS_BITS = 16
SHIFT = 16
OFFSET = -128  # the zero point of the released design, whose activations are not negative
MIN_SUM, MAX_SUM = -(1 << (ACCUMULATOR_BITS - 1)), (1 << (ACCUMULATOR_BITS - 1)) - 1
MAX_SCALE = (1 << SCALE_BITS) - 1
MIN_BIAS, MAX_BIAS = -(1 << (BIAS_BITS - 1)), (1 << (BIAS_BITS - 1)) - 1
MIN_CODE, MAX_CODE = -128, 127


def requantize(acc: Tensor, scale: Tensor | int, bias: Tensor | int, relu: bool, *, shift: int = SHIFT,
               offset: int = OFFSET) -> Tensor:
    """Return ``clamp_int8(relu?(((acc*scale + 2^(shift-1)) >> shift) + bias) + offset)``.

    The shift rounds half up. Nothing wraps: the largest intermediate takes 41 bits.

    Parameters
    ----------
    acc : integer tensor, (N, C, ...) or ()
        Sums, within 24 bits, signed.
    scale : int or integer tensor, (C,) or ()
        Unsigned, 16 bits: a factor of ``scale / 2**shift``.
    bias : int or integer tensor, (C,) or ()
        Signed, 16 bits, in units of the result.
    relu : bool
        Make negative values zero before ``offset`` is added.
    shift : int, bits
        1 to 32.
    offset : int
        The zero point of the result, -128 to 127. With -128 ``relu`` changes nothing: the clamp does it.

    Returns
    -------
    Tensor
        int8, of the shape of ``acc``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range; in particular if a sum exceeds 24 bits.

    Source: the released accelerator of CoDeNet (arXiv 2006.08357), with its shift of 16 and offset of -128.
    """
    check_integers("Accumulator", acc, MIN_SUM, MAX_SUM)
    check_boolean("ReLU switch", relu)
    check_shift(shift)
    check_offset(offset)
    scale = _channel_values("Scale", scale, acc, 0, MAX_SCALE)
    bias = _channel_values("Bias", bias, acc, MIN_BIAS, MAX_BIAS)
    rounded = ((acc.to(torch.int64) * scale + (1 << (shift - 1))) >> shift) + bias
    if relu:
        rounded = rounded.clamp(min=0)
    return (rounded + offset).clamp(MIN_CODE, MAX_CODE).to(torch.int8)


class Requantize(nn.Module):
    """:func:`requantize` with its parameters kept; ``scale`` and ``bias`` are int32 buffers of shape (C,).

    Parameters
    ----------
    scale, bias : integer tensor, (C,)
    relu : bool
    shift : int, bits
    offset : int

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.
    """

    def __init__(self, scale: Tensor, bias: Tensor, *, relu: bool = False, shift: int = SHIFT,
                 offset: int = OFFSET) -> None:
        check_integers("Scale", scale, 0, MAX_SCALE)
        check_shape("Scale", scale, ("C",))
        check_integers("Bias", bias, MIN_BIAS, MAX_BIAS)
        check_shape("Bias", bias, tuple(scale.shape))
        check_boolean("ReLU switch", relu)
        check_shift(shift)
        check_offset(offset)
        super().__init__()
        self.register_buffer("scale", scale.to(torch.int32).clone())
        self.register_buffer("bias", bias.to(torch.int32).clone())
        self._relu = relu
        self._shift = shift
        self._offset = offset

    @property
    def channels(self) -> int:
        """C."""
        return len(self.scale)

    @property
    def relu(self) -> bool:
        """Whether negative values become zero."""
        return self._relu

    @property
    def shift(self) -> int:
        """How far products are shifted."""
        return self._shift

    @property
    def offset(self) -> int:
        """The zero point of the result."""
        return self._offset

    def forward(self, acc: Tensor) -> Tensor:
        """Return the codes of sums of shape (N, C, ...)."""
        return requantize(acc, self.scale, self.bias, self._relu, shift=self._shift, offset=self._offset)

    def extra_repr(self) -> str:
        """Say the settings."""
        return f"{self.channels}, relu={self._relu}, shift={self._shift}, offset={self._offset}"


def check_shift(shift: int) -> None:
    """Raise unless ``shift`` is an integer from 1 to 32."""
    check_integer("Shift", shift)
    if not 1 <= shift <= 32:
        raise ValueError(f"Shift must be between 1 and 32 bits, not {shift!r}")


def check_offset(offset: int) -> None:
    """Raise unless ``offset`` is a code."""
    check_integer("Offset", offset)
    if not MIN_CODE <= offset <= MAX_CODE:
        raise ValueError(f"Offset must be between {MIN_CODE} and {MAX_CODE}, not {offset!r}")


def _channel_values(noun: str, values: Tensor | int, acc: Tensor, low: int, high: int) -> Tensor:
    """Return one number for each channel of ``acc``, in a shape that broadcasts to it."""
    if isinstance(values, int) and not isinstance(values, bool):
        values = torch.tensor(values, device=acc.device)
    check_integers(noun, values, low, high)
    if values.ndim == 0:
        return values.to(torch.int64)
    if acc.ndim < 2:
        raise ValueError(f"{noun} must be one number for sums of shape {tuple(acc.shape)}, which have no channels, "
                         f"not of shape {tuple(values.shape)}")
    check_shape(noun, values, (acc.shape[1],))
    return values.to(torch.int64).reshape(-1, *[1] * (acc.ndim - 2))
