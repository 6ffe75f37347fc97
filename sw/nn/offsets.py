"""The offsets of a deformable convolution: how they are constrained, and how they are predicted."""

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.formats.check import check_boolean, check_member
from sw.nn.checks import check_count
from sw.nn.rounding import round_half_up


class SquareScalar(Enum):
    """What the one number of a square offset means: with ``p`` the place of a tap in the window, -1 to 1 each way."""

    DILATION = "dilation"
    """The offset is ``p * (s - 1)``: the dilation is s, and 1 an ordinary convolution."""
    INCREMENT = "increment"
    """The offset is ``p * s``: the dilation is 1 + s, and 0 an ordinary convolution."""

    @property
    def neutral(self) -> int:
        """The number that leaves every tap in its place."""
        return 1 if self is SquareScalar.DILATION else 0


@dataclass(frozen=True, kw_only=True)
class OffsetRule:
    """What the offsets of a deformable convolution may be.

    Parameters
    ----------
    square : bool
        One number for each position: the window keeps its shape and grows. Otherwise two numbers for each tap.
    scalar : SquareScalar
        What that one number means.
    bounds : (float, float), optional
        What the numbers are clipped to; None for no bounds.
    rounded : bool
        Round the numbers to integers, ties upwards, so that no sample is interpolated.

    Gradient: that of a clamp, which passes at the bounds themselves; straight through the rounding.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, the bounds are no interval, or not integers where numbers are rounded.

    Source: CoDeNet (arXiv 2006.08357), section 3.
    """

    square: bool = True
    scalar: SquareScalar = SquareScalar.DILATION
    bounds: tuple[float, float] | None = (-7, 8)
    rounded: bool = False

    def __post_init__(self) -> None:
        check_boolean("Square switch", self.square)
        check_member("Square scalar", self.scalar, SquareScalar)
        check_boolean("Rounding switch", self.rounded)
        if not self.square and self.scalar is not SquareScalar.DILATION:
            raise ValueError("Square scalar must be left out where offsets are not square, "
                             f"not {self.scalar.value!r}")
        if self.bounds is None:
            return
        if not isinstance(self.bounds, tuple) or len(self.bounds) != 2 or not all(
                isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in self.bounds):
            raise TypeError(f"Offset bounds must be two numbers (low, high), not {self.bounds!r}")
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"Offset bounds must be finite, the lower first, not {self.bounds!r}")
        if self.rounded and not (float(low).is_integer() and float(high).is_integer()):
            raise ValueError(f"Offset bounds must be integers where offsets are rounded, not {self.bounds!r}")

    @property
    def neutral(self) -> float:
        """The number nearest to an ordinary convolution's, which training starts from."""
        number = self.scalar.neutral if self.square else 0
        return number if self.bounds is None else min(max(number, self.bounds[0]), self.bounds[1])

    @property
    def dilations(self) -> tuple[int, int]:
        """Least and greatest dilation of rounded square offsets.

        Raises
        ------
        ValueError
            If offsets are not square, rounded and bounded.
        """
        if not self.square or not self.rounded or self.bounds is None:
            raise ValueError(f"Offset rule must be square, rounded and bounded to have whole dilations, not {self!r}")
        low, high = (int(bound) + 1 - self.scalar.neutral for bound in self.bounds)
        return low, high

    def apply(self, numbers: Tensor) -> Tensor:
        """Return predicted numbers as the rule allows them."""
        if self.bounds is not None:
            numbers = numbers.clamp(*self.bounds)
        return round_half_up(numbers) if self.rounded else numbers


FREE_OFFSETS = OffsetRule(square=False, bounds=None)
"""Two numbers for each tap, without bounds: Dai et al. 2017 (arXiv 1703.06211)."""
RELEASED_OFFSETS = OffsetRule(bounds=(-7, 8))
"""The released torch operator of CoDeNet: s within -7 to 8 (negative ones mirror the window), not rounded."""
ABLATION_OFFSETS = OffsetRule(scalar=SquareScalar.INCREMENT, bounds=(0, 8))
"""The released ablation of CoDeNet: dilations 1 to 9."""
WHOLE_OFFSETS = OffsetRule(bounds=(0, 7), rounded=True)
"""Whole dilations 0 to 7: the paper's range, which hardware with 16 lines can hold."""


class OffsetPredictor(nn.Module):
    """A convolution that predicts the offsets of another one from that one's input.

    It starts as zero weights and the bias that makes the other an ordinary convolution.

    Parameters
    ----------
    channels : int
    rule : OffsetRule
    groups : int
        How many sets of offsets there are.
    kernel_size : int
        Of the predicting convolution: odd.
    window : int
        Size of the window that is deformed: odd.
    stride, padding, dilation : int
        Of the convolution that is deformed, so that each prediction is made at the centre of its window.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range.
    """

    def __init__(self, channels: int, rule: OffsetRule, *, groups: int = 1, kernel_size: int = 1, window: int = 3,
                 stride: int = 1, padding: int = 1, dilation: int = 1) -> None:
        if not isinstance(rule, OffsetRule):
            raise TypeError(f"Offset rule must be an OffsetRule, not {rule!r}")
        for noun, count, least in (("Channels", channels, 1), ("Offset groups", groups, 1), ("Stride", stride, 1),
                                   ("Padding", padding, 0), ("Dilation", dilation, 1)):
            check_count(noun, count, least=least)
        check_odd("Offset kernel size", kernel_size)
        check_odd("Window", window)
        super().__init__()
        self._rule = rule
        self._groups = groups
        self._window = window
        self._margin = padding - dilation * (window - 1) // 2 + (kernel_size - 1) // 2
        self.predict = nn.Conv2d(channels, groups * (1 if rule.square else 2 * window * window), kernel_size,
                                 stride=stride)
        nn.init.zeros_(self.predict.weight)
        nn.init.constant_(self.predict.bias, rule.neutral)

    @property
    def rule(self) -> OffsetRule:
        """What the offsets may be."""
        return self._rule

    @property
    def groups(self) -> int:
        """How many sets of offsets there are."""
        return self._groups

    def numbers(self, x: Tensor, *, weight: Tensor | None = None, everywhere: bool = False) -> Tensor:
        """Return the numbers that the rule speaks of: (N, G, Ho, Wo) if square, else (N, G*2*taps, Ho, Wo).

        Parameters
        ----------
        x : floating-point tensor, (N, channels, H, W)
        weight : tensor, optional
            In place of ``predict.weight``: a quantized one.
        everywhere : bool
            At every position, not only at the multiples of the stride.
        """
        if self._margin:
            x = functional.pad(x, (self._margin,) * 4)  # a negative margin takes away
        weight = self.predict.weight if weight is None else weight
        stride = self.predict.stride[0]
        if not self._rule.rounded:
            return self._rule.apply(functional.conv2d(x, weight, self.predict.bias, 1 if everywhere else stride))
        # A convolution with a stride may sum in another order, and next to a tie round to another integer.
        numbers = self._rule.apply(functional.conv2d(x, weight, self.predict.bias))
        return numbers if everywhere else numbers[:, :, ::stride, ::stride]

    def forward(self, x: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Return offsets, (N, G*2*taps, Ho, Wo): those of a tap follow each other, rows first.

        ``weight`` stands in for ``predict.weight``: a quantized one.
        """
        numbers = self.numbers(x, weight=weight)
        if not self._rule.square:
            return numbers
        reach = (self._window - 1) // 2
        line = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        anchors = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten()  # dy, dx of each tap
        growth = numbers - self._rule.scalar.neutral
        return (growth[:, :, None] * anchors[:, None, None]).flatten(1, 2)

    def dilations(self, x: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Return the dilation of every position of ``x`` as int64, (N, G, H, W), whatever the stride.

        Raises
        ------
        ValueError
            If the rule has no whole dilations.
        """
        low, _ = self._rule.dilations
        numbers = self.numbers(x, weight=weight, everywhere=True)
        return numbers.detach().to(torch.int64) + (low - int(self._rule.bounds[0]))

    def extra_repr(self) -> str:
        """Say the rule."""
        return f"{self._rule}, groups={self._groups}"


def check_odd(noun: str, size: int) -> None:
    """Raise unless ``size`` is a positive odd integer."""
    check_count(noun, size)
    if size % 2 == 0:
        raise ValueError(f"{noun} must be odd, to have a centre, not {size!r}")
