"""Quantization of activations: one scale and one zero point for a tensor, from a range that follows the data."""

import math

import torch
from torch import Tensor, nn

from sw.formats.check import check_boolean, check_integer
from sw.nn.checks import check_floats, check_integers
from sw.nn.rounding import round_half_up
from sw.quantize.checks import is_readable

LEAST_SPAN = 1e-8
MOMENTUM = 0.99


class ActivationQuantizer(nn.Module):
    """Rounds activations to signed integer codes with a scale and, unless symmetric, a zero point.

    Asymmetric: ``step = (high - low) / (2**bits - 1)``, ``zero_point = -2**(bits - 1) - round(low / step)``. Symmetric:
    ``step = max(-low, high) / (2**(bits - 1) - 1)``, ``zero_point = 0``. The code of x is
    ``clamp(round(x / step) + zero_point)``, its value ``(code - zero_point) * step``. Ties go up, as in the hardware.

    The range is the moving average of the least and greatest element of each batch seen in training:
    ``momentum * range + (1 - momentum) * batch``, beginning with the first batch. It always holds zero, which is
    therefore exact: the padding of a convolution is the zero point. In evaluation it stays.

    Gradient: straight through within the range, zero outside; the range has none.

    State: ``low``, ``high`` (NaN until one is known).

    Parameters
    ----------
    bits : int
        2 to 8.
    symmetric : bool
    momentum : float
        0 to 1, 1 excluded.
    low, high : float, optional
        The range to begin with: both or neither. ``low <= 0 <= high``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Source: the released quantizer of CoDeNet (arXiv 2006.08357), which is asymmetric; its paper's is symmetric. There,
    the zero point has the other sign, and the range need not hold zero.
    """

    def __init__(self, *, bits: int = 8, symmetric: bool = False, momentum: float = MOMENTUM,
                 low: float | None = None, high: float | None = None) -> None:
        check_integer("Activation bits", bits)
        if not 2 <= bits <= 8:
            raise ValueError(f"Activation bits must be between 2 and 8, not {bits!r}")
        check_boolean("Symmetry switch", symmetric)
        _check_number("Momentum", momentum)
        if not 0 <= momentum < 1:
            raise ValueError(f"Momentum must be at least 0 and less than 1, not {momentum!r}")
        if (low is None) != (high is None):
            raise ValueError(f"Range must have both ends or neither, not low={low!r}, high={high!r}")
        if low is not None:
            _check_number("Range", low)
            _check_number("Range", high)
            if not (-math.inf < low <= 0 <= high < math.inf):
                raise ValueError(f"Range must be finite and hold zero, not low={low!r}, high={high!r}")
        super().__init__()
        self._bits = bits
        self._symmetric = symmetric
        self._momentum = momentum
        self.register_buffer("low", torch.tensor(math.nan if low is None else float(low)))
        self.register_buffer("high", torch.tensor(math.nan if high is None else float(high)))

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._bits

    @property
    def symmetric(self) -> bool:
        """Whether the zero point is zero."""
        return self._symmetric

    @property
    def code_range(self) -> tuple[int, int]:
        """Least and greatest code."""
        return -(1 << (self._bits - 1)), (1 << (self._bits - 1)) - 1

    @property
    def is_calibrated(self) -> bool:
        """Whether there is a range."""
        return not bool(torch.isnan(self.low))

    def _affine(self) -> tuple[Tensor, Tensor]:
        """Return step and zero point as tensors."""
        if is_readable(self.low) and not self.is_calibrated:
            raise ValueError("Range must be known before activations are quantized, not NaN; "
                             "give low= and high=, or run a batch in training mode")
        least, greatest = self.code_range
        if self._symmetric:
            step = torch.maximum(-self.low, self.high).clamp(min=LEAST_SPAN) / greatest
            return step, torch.zeros_like(step)
        step = (self.high - self.low).clamp(min=LEAST_SPAN) / (greatest - least)
        return step, (least - round_half_up(self.low / step)).clamp(least, greatest)

    @property
    def step(self) -> float:
        """Distance of neighbouring values.

        Raises
        ------
        ValueError
            If there is no range yet.
        """
        return float(self._affine()[0])

    @property
    def zero_point(self) -> int:
        """Code of zero.

        Raises
        ------
        ValueError
            If there is no range yet.
        """
        return int(self._affine()[1])

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Let the range follow ``x``.

        Raises
        ------
        TypeError, ValueError
            If it is of the wrong type, empty, or not finite.
        """
        check_floats("Activations", x)
        if x.numel() == 0:
            raise ValueError(f"Activations must have elements to take a range of, not shape {tuple(x.shape)}")
        low, high = (extreme.to(self.low.dtype) for extreme in torch.aminmax(x.detach()))
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise ValueError(f"Activations must be finite to take a range of, not {low.item()} to {high.item()}")
        low, high = low.clamp(max=0), high.clamp(min=0)
        if self.is_calibrated:
            low, high = (self._momentum * kept + (1 - self._momentum) * new
                         for kept, new in ((self.low, low), (self.high, high)))
        self.low.copy_(low)
        self.high.copy_(high)

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes of ``x`` as int8. No gradient, and NaN is refused.

        Raises
        ------
        TypeError, ValueError
            If the input is of the wrong type or has a NaN, or there is no range yet.
        """
        check_floats("Activations", x)
        if bool(torch.isnan(x).any()):
            raise ValueError("Activations must be numbers to have codes, not NaN; see torch.nan_to_num")
        step, zero_point = self._affine()
        return (round_half_up(x.detach().to(step.dtype) / step) + zero_point).clamp(*self.code_range).to(torch.int8)

    def values(self, codes: Tensor) -> Tensor:
        """Return the values of integer codes.

        Raises
        ------
        TypeError, ValueError
            If the codes are of the wrong type or out of range, or there is no range yet.
        """
        check_integers("Codes", codes, *self.code_range)
        step, zero_point = self._affine()
        return (codes.to(step.dtype) - zero_point) * step

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` rounded, in its dtype; in training, let the range follow it first.

        Raises
        ------
        TypeError, ValueError
            If the input is of the wrong type, or there is no range yet; in training also if it is not finite.
        """
        check_floats("Activations", x)
        if self.training:
            self.observe(x)
        step, zero_point = self._affine()
        least, greatest = self.code_range
        scaled = (x.to(step.dtype) / step).clamp(least - zero_point, greatest - zero_point)
        return (round_half_up(scaled) * step).to(x.dtype)

    def extra_repr(self) -> str:
        """Say the settings and the range."""
        parts = [f"bits={self._bits}", f"symmetric={self._symmetric}", f"momentum={self._momentum}"]
        if not self.low.is_meta and self.is_calibrated:
            parts.append(f"range={self.low.item():.6g} to {self.high.item():.6g}")
        return ", ".join(parts)


def _check_number(noun: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{noun} must be a number, not {value!r}")
