"""The values that the weights of a layer may take: a format under the scale of each weight."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, RoundingMode, ScalarFormat
from sw.quantize import fake_quantize


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """What a weight matrix is rounded to: ``scale`` times the values of ``format``, element by element.

    Parameters
    ----------
    format : ScalarFormat
        Of the elements: for a block format, ``BlockFormat.element``.
    scale : floating-point tensor of the shape of the weights
        Positive and finite. A granularity is a matter of which elements are equal. Weights are divided by it in
        float64 if it or they are of that type, otherwise in float32.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, or a scale out of range.
    """

    format: ScalarFormat
    scale: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.format, (FloatingPointFormat, FixedPointFormat, PositFormat)):
            raise TypeError("Grid format must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, not "
                            f"{self.format!r}; of a block format, give the element")
        if not isinstance(self.scale, Tensor) or not self.scale.dtype.is_floating_point:
            raise TypeError("Grid scale must be a floating-point tensor, not "
                            f"{getattr(self.scale, 'dtype', self.scale)!r}")
        good = (self.scale > 0) & (self.scale < torch.inf)
        if not bool(good.all()):
            raise ValueError(f"Grid scale must be positive and finite, not {self.scale[~good][0].item()!r}")

    def scale_for(self, dtype: torch.dtype) -> Tensor:
        """Return the scale in the type in which values of ``dtype`` are divided by it."""
        return self.scale.to(torch.float64 if torch.float64 in (dtype, self.scale.dtype) else torch.float32)

    def nearest(self, values: Tensor) -> Tensor:
        """Return the values of the grid that quantization rounds to, in the type of ``values``."""
        return rounded(values, self.format, self.scale_for(values.dtype)).to(values.dtype)

    def neighbours(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest value of the grid that is not above, and the smallest that is not below.

        They are equal where the value is on the grid or beyond its end. This asks the format itself for its two
        directed roundings, so that it holds where the step varies: minifloats, and posits, whose last place moves
        with the regime.
        """
        scale = self.scale_for(values.dtype)
        return (rounded(values, self.format, scale, RoundingMode.DOWN).to(values.dtype),
                rounded(values, self.format, scale, RoundingMode.UP).to(values.dtype))


def rounded(values: Tensor, fmt: ScalarFormat, scale: Tensor,
            rounding: RoundingMode = RoundingMode.NEAREST_EVEN) -> Tensor:
    """Round under a scale for each element: what ``fake_quantize(values, fmt, scale=scale)`` does, bit for bit.

    The scales, already checked, are of the type in which ``values`` is scaled. Called for every column, it skips
    ``fake_quantize``'s own look at them, which takes as long as the rounding.
    """
    return fake_quantize(values.to(scale.dtype) / scale, fmt, rounding=rounding) * scale
