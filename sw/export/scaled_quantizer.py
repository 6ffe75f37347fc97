"""Quantization as the nodes of an ONNX graph describe it: a scale of any shape, and possibly a zero point."""

import torch
from torch import Tensor, nn

from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.quantize import fake_quantize


class ScaledQuantizer(nn.Module):
    """A layer that computes ``(quantize(x / scale + zero_point) - zero_point) * scale``, each operation in float32.

    QuantizeLinear rounds the quotient before it adds the zero point, IntQuant the sum: halfway between two codes, and
    with an odd zero point, that is not the same.

    Its state is ``scale`` and ``zero_point``. What ``sw.ptq`` quantizes with has no zero point, and scales of three
    shapes; this takes whatever a graph has.

    Parameters
    ----------
    fmt : FixedPointFormat or FloatingPointFormat
    scale : tensor, optional
        Positive and finite, of a shape that broadcasts to that of the input; None where the graph computes it.
    zero_point : tensor, optional
        Likewise; None stands for 0. Only of a fixed-point format.
    rounding : RoundingMode
    overflow : OverflowPolicy
    quotient_first : bool
        Whether the quotient is rounded, to nearest even, before the zero point is added.

    Raises
    ------
    ValueError
        If a scale is not positive and finite, a floating-point format has a zero point, or the quotient is to be
        rounded first in another mode.
    """

    def __init__(self, fmt: FixedPointFormat | FloatingPointFormat, scale: Tensor | None,
                 zero_point: Tensor | None = None, *, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
                 overflow: OverflowPolicy = OverflowPolicy.SATURATE, quotient_first: bool = False) -> None:
        super().__init__()
        if scale is not None and not bool(((scale > 0) & (scale < torch.inf)).all()):
            raise ValueError(f"Scale must be positive and finite, not {scale.flatten()[:4].tolist()}")
        if zero_point is not None and not bool(zero_point.any()):
            zero_point = None
        if zero_point is not None and not isinstance(fmt, FixedPointFormat):
            raise ValueError(f"Zero point must be 0 for {fmt.name}, not {zero_point.flatten()[:4].tolist()}")
        if quotient_first and rounding is not RoundingMode.NEAREST_EVEN:
            raise ValueError(f"Rounding of the quotient must be {RoundingMode.NEAREST_EVEN.value}, not "
                             f"{rounding.value}")
        self._format = fmt
        self._rounding = rounding
        self._overflow = overflow
        self._quotient_first = quotient_first
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)

    @property
    def format(self) -> FixedPointFormat | FloatingPointFormat:
        """The format."""
        return self._format

    @property
    def rounding(self) -> RoundingMode:
        """The rounding mode."""
        return self._rounding

    @property
    def overflow(self) -> OverflowPolicy:
        """The overflow policy."""
        return self._overflow

    @property
    def quotient_first(self) -> bool:
        """Whether the quotient is rounded before the zero point is added."""
        return self._quotient_first

    @property
    def is_plain(self) -> bool:
        """Whether the scale is known, there is no zero point, and the modes are those that ``sw.ptq`` has."""
        return (self.scale is not None and self.zero_point is None
                and self._rounding is RoundingMode.NEAREST_EVEN and self._overflow is OverflowPolicy.SATURATE)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return ``x`` quantized; ``scale`` is given where the graph computes it."""
        scale = self.scale if scale is None else scale
        y = x / scale
        if self.zero_point is not None:
            y = (y.round() if self._quotient_first else y) + self.zero_point
        y = fake_quantize(y, self._format, rounding=self._rounding, overflow=self._overflow)
        y = y if self.zero_point is None else y - self.zero_point
        return y * scale

    def extra_repr(self) -> str:
        """Say the format and the shape of the scale."""
        shape = "of the graph" if self.scale is None else f"of shape {tuple(self.scale.shape)}"
        return f"{self._format.name}, scale {shape}" + (", zero point" if self.zero_point is not None else "")
