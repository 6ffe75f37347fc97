"""Weights as narrow integers: a scale and a zero point for each group of neighbouring inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sw.formats import FixedPointFormat
from sw.formats.check import check_boolean, check_integer
from sw.ptq.checks import check_count, check_divides, check_matrix
from sw.quantize import absmax_scale, to_codes
from sw.quantize.checks import work_dtype

MIN_WIDTH, MAX_WIDTH = 2, 8

SCALE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupQuantized:
    """A weight matrix as unsigned codes: the value of each is ``(code - zero_point) * scale`` of its group.

    Parameters
    ----------
    codes : uint8 tensor of shape (outputs, inputs)
    scales : float16, bfloat16 or float32 tensor of shape (outputs, groups)
        Positive and finite.
    zero_points : uint8 tensor of shape (outputs, groups)
    width : int, bits
        Of a code and of a zero point, 2 to 8.
    symmetric : bool
        Whether every zero point is the middle code, ``2**(width - 1)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.
    """

    codes: Tensor
    scales: Tensor
    zero_points: Tensor
    width: int
    symmetric: bool

    def __post_init__(self) -> None:
        check_width(self.width)
        check_boolean("Symmetric", self.symmetric)
        for noun, tensor, dtypes in (("Codes", self.codes, (torch.uint8,)), ("Scales", self.scales, SCALE_DTYPES),
                                     ("Zero points", self.zero_points, (torch.uint8,))):
            if not isinstance(tensor, Tensor) or tensor.dtype not in dtypes:
                raise TypeError(f"{noun} must be a tensor of {' or '.join(str(dtype) for dtype in dtypes)}, "
                                f"not {getattr(tensor, 'dtype', tensor)!r}")
            if tensor.ndim != 2 or not tensor.numel():
                raise ValueError(f"{noun} must be a matrix with elements, not of shape {tuple(tensor.shape)}")
        (outputs, inputs), groups = self.codes.shape, self.scales.shape
        if groups != self.zero_points.shape or groups[0] != outputs or inputs % groups[1]:
            raise ValueError("Scales and zero points must be of one shape, (outputs, groups of equal size), for codes "
                             f"of shape {(outputs, inputs)}, not {tuple(groups)} and {tuple(self.zero_points.shape)}")
        for noun, tensor in (("Codes", self.codes), ("Zero points", self.zero_points)):
            if int(tensor.max()) >> self.width:
                raise ValueError(f"{noun} must be between 0 and {(1 << self.width) - 1} for {self.width} bits, "
                                 f"not {int(tensor.max())}")
        if self.symmetric and not bool((self.zero_points == 1 << self.width - 1).all()):
            raise ValueError(f"Zero points must be {1 << self.width - 1}, the middle code, of symmetric codes of "
                             f"{self.width} bits, not others")
        if not bool(((self.scales > 0) & self.scales.isfinite()).all()):
            raise ValueError("Scales must be positive and finite")

    @property
    def group_size(self) -> int:
        """Neighbouring inputs that share a scale and a zero point."""
        return self.codes.shape[1] // self.scales.shape[1]

    @property
    def format(self) -> FixedPointFormat:
        """The format of the codes and the zero points."""
        return FixedPointFormat(width=self.width, signed=False)

    def integers(self) -> Tensor:
        """Return ``code - zero_point``, int16 of shape (outputs, inputs).

        Of codes of up to 7 bits, and of symmetric ones of 8, they are int8 values: what ``Dequantizer`` gives. It
        saturates the others.
        """
        points = self.zero_points.repeat_interleave(self.group_size, 1)
        return self.codes.to(torch.int16) - points.to(torch.int16)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the values, of shape (outputs, inputs): exact in float64, correctly rounded in float32.

        Raises
        ------
        TypeError
            If ``dtype`` is another one.
        """
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"Result dtype must be torch.float32 or torch.float64, not {dtype!r}")
        scales = self.scales.to(torch.float64).repeat_interleave(self.group_size, 1)
        return (self.integers() * scales).to(dtype)


def check_width(width: int) -> None:
    """Raise unless ``width`` is one that codes can have."""
    check_integer("Width", width)
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ValueError(f"Width must be between {MIN_WIDTH} and {MAX_WIDTH} bits, not {width!r}")


def quantize_groups(weights: Tensor, *, width: int, group_size: int, symmetric: bool = False, clip_steps: int = 0,
                    smallest_clip: float = 0.5, scale_dtype: torch.dtype = torch.float32) -> GroupQuantized:
    """Quantize every ``group_size`` neighbouring inputs of an output with a scale and a zero point of their own.

    Asymmetric codes spread over the range from the least to the largest weight, zero included, which is a code
    itself: pruned weights stay zero. Symmetric codes spread over both sides of zero as far as the largest magnitude
    reaches, as ``sw.quantize.absmax_scale`` has it for two's complement; the lowest code occurs only where the range
    is clipped or the scale was rounded down.

    Parameters
    ----------
    weights : floating-point tensor of shape (outputs, inputs)
    width : int, bits
        2 to 8.
    group_size : int
        Divides the inputs.
    symmetric : bool
    clip_steps : int
        How many smaller ranges to try; the one whose squared error is least is taken, group by group, and of equal
        ones the widest. With 0, nothing is clipped.
    smallest_clip : float
        The smallest range tried, as a part of the whole one, more than 0 and less than 1; the others lie at equal
        distances.
    scale_dtype : torch.dtype
        float16, bfloat16 or float32; codes are chosen for the scale as it is after its rounding.

    Returns
    -------
    GroupQuantized

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range, the weights are not finite, or a scale is beyond the
        range of its type.
    """
    check_matrix("Weights", weights)
    check_width(width)
    check_count("Group size", group_size)
    check_divides("Group size", group_size, weights.shape[1], "inputs")
    check_boolean("Symmetric", symmetric)
    check_count("Clip steps", clip_steps, 0)
    if isinstance(smallest_clip, bool) or not isinstance(smallest_clip, (int, float)):
        raise TypeError(f"Smallest clip must be a number, not {smallest_clip!r}")
    if not 0 < smallest_clip < 1:
        raise ValueError(f"Smallest clip must be between 0 and 1, both excluded, not {smallest_clip!r}")
    if scale_dtype not in SCALE_DTYPES:
        raise TypeError(f"Scale dtype must be torch.float16, torch.bfloat16 or torch.float32, not {scale_dtype!r}")
    work = weights.detach().to(work_dtype(weights))
    quantize = _symmetric if symmetric else _asymmetric
    best = quantize(work, width, group_size, 1.0, scale_dtype)
    error = _squared_error(work, best)
    for step in range(1, clip_steps + 1):
        tried = quantize(work, width, group_size, 1 - step * (1 - smallest_clip) / clip_steps, scale_dtype)
        tried_error = _squared_error(work, tried)
        better = tried_error < error
        error = torch.where(better, tried_error, error)
        best = _mixed(better, tried, best)
    return best


def _symmetric(weights: Tensor, width: int, group_size: int, clip: float, scale_dtype: torch.dtype) -> GroupQuantized:
    fmt = FixedPointFormat(width=width)
    scales = _rounded(absmax_scale(weights, fmt, group_size=group_size) * clip, scale_dtype)
    codes = to_codes(weights, fmt, scale=scales.to(weights.dtype), group_size=group_size)
    middle = 1 << width - 1  # two's complement differs from an offset by the middle in the highest bit
    return GroupQuantized(codes=codes ^ middle, scales=scales, width=width, symmetric=True,
                          zero_points=torch.full_like(scales, middle, dtype=torch.uint8))


def _asymmetric(weights: Tensor, width: int, group_size: int, clip: float, scale_dtype: torch.dtype) -> GroupQuantized:
    groups, largest = weights.unflatten(1, (-1, group_size)), (1 << width) - 1
    low, high = groups.amin(-1).clamp(max=0) * clip, groups.amax(-1).clamp(min=0) * clip
    scales = (high / largest - low / largest).clamp(min=torch.finfo(weights.dtype).tiny)
    scales = _rounded(torch.where(low == high, 1.0, scales), scale_dtype)
    factor = scales.to(weights.dtype)
    points = (-low / factor).round().clamp(0, largest)
    codes = ((groups / factor.unsqueeze(-1)).round() + points.unsqueeze(-1)).clamp(0, largest)
    return GroupQuantized(codes=codes.flatten(1).to(torch.uint8), scales=scales, width=width, symmetric=False,
                          zero_points=points.to(torch.uint8))


def _rounded(scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Round scales to their type: never to zero."""
    rounded = scales.to(dtype)
    if not bool(rounded.isfinite().all()):
        raise ValueError(f"Scales must be within the range of {dtype}, not {scales.max().item():.6g}; "
                         "give scale_dtype=torch.float32")
    return torch.where(rounded == 0, torch.finfo(dtype).tiny, rounded)


def _squared_error(weights: Tensor, quantized: GroupQuantized) -> Tensor:
    """Return the squared error of each group, float64."""
    difference = weights.to(torch.float64) - quantized.dequantize(torch.float64)
    return difference.unflatten(1, (-1, quantized.group_size)).square().sum(-1)


def _mixed(first: Tensor, a: GroupQuantized, b: GroupQuantized) -> GroupQuantized:
    """Return the groups of ``a`` where ``first`` says so, of ``b`` elsewhere."""
    return GroupQuantized(codes=torch.where(first.repeat_interleave(a.group_size, 1), a.codes, b.codes),
                          scales=torch.where(first, a.scales, b.scales),
                          zero_points=torch.where(first, a.zero_points, b.zero_points), width=a.width,
                          symmetric=a.symmetric)
