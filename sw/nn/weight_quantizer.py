"""Quantization of weights, a scale for each output channel."""

import torch
from torch import Tensor, nn

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_boolean
from sw.nn.checks import check_floats
from sw.quantize import absmax_scale, fake_quantize, to_codes
from sw.quantize.checks import settings_of

PERCENTILES = (0.1, 99.9)
FEW_TAPS = 10
FEW_TAPS_SHARE = 0.95


class WeightQuantizer(nn.Module):
    """Rounds weights to a format, scaled for each output channel by its largest magnitude or by percentiles.

    For int4 that is ``q = clamp(round(w * 7 / max|w|), -8, 7)``. The scale follows the weights and has no gradient;
    that of the weights is straight through, zero where they are clipped.

    It can be called, or registered with any layer:
    ``torch.nn.utils.parametrize.register_parametrization(conv, "weight", WeightQuantizer(parse("int8")))``.

    Parameters
    ----------
    fmt : ScalarFormat
        A format of at most 32 bits.
    percentiles : bool
        Scale by the larger magnitude of the percentiles 0.1 and 99.9 of each channel, or, with fewer than ten weights
        in a channel, by 0.95 times its largest magnitude; what lies beyond saturates.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the format too wide.

    Source: the released quantizer of CoDeNet (arXiv 2006.08357), option ``--wt-percentile`` included; its percentiles
    are elements of the channel, ours interpolate between two.
    """

    def __init__(self, fmt: ScalarFormat, *, percentiles: bool = False) -> None:
        settings_of(fmt, RoundingMode.NEAREST_EVEN, OverflowPolicy.SATURATE, None, False, None)
        check_boolean("Percentile switch", percentiles)
        super().__init__()
        self._format = fmt
        self._percentiles = percentiles

    @property
    def format(self) -> ScalarFormat:
        """The format."""
        return self._format

    def scale(self, weight: Tensor) -> Tensor:
        """Return the scales, (K,), of weights (K, ...): the value of a weight is that of its code times the scale.

        Raises
        ------
        TypeError, ValueError
            If the weights are of the wrong type, empty, or not finite.
        """
        check_floats("Weight", weight)
        weight = weight.detach()
        if weight.ndim < 1 or weight.numel() == 0:
            raise ValueError(f"Weight must have shape (K, ...), no size being zero, not {tuple(weight.shape)}")
        rows = weight.flatten(1) if weight.ndim > 1 else weight[:, None]
        if self._percentiles:
            rows = self._clip_points(rows)
        scale = absmax_scale(rows, self._format, axis=0)
        # The quotient of the largest magnitude may come out above the format's largest value by one rounding, where the
        # gradient of a clamp is zero.
        largest = rows.abs().amax(1).to(scale.dtype)
        beyond = largest / scale > float(self._format.max_finite)
        return torch.where(beyond, torch.nextafter(scale, torch.full_like(scale, torch.inf)), scale)

    @staticmethod
    def _clip_points(rows: Tensor) -> Tensor:
        taps = rows.shape[1]
        if taps < FEW_TAPS:
            return FEW_TAPS_SHARE * rows
        work = rows if rows.dtype == torch.float64 else rows.to(torch.float32)
        points = torch.tensor(PERCENTILES, dtype=work.dtype, device=work.device) / 100
        return torch.quantile(work, points, dim=1).T

    def codes(self, weight: Tensor) -> Tensor:
        """Return the codes of weights (K, ...), as :func:`sw.quantize.to_codes` does."""
        return to_codes(weight, self._format, scale=self.scale(weight), axis=0)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weights (K, ...) rounded.

        Raises
        ------
        TypeError, ValueError
            If the weights are of the wrong type, empty, or not finite.
        """
        return fake_quantize(weight, self._format, scale=self.scale(weight), axis=0)

    def extra_repr(self) -> str:
        """Say the format and the range."""
        return self._format.name + (", percentiles=True" if self._percentiles else "")


def integer_format(quantizer: nn.Module) -> FixedPointFormat:
    """Return the format of a quantizer whose weights are integers.

    Raises
    ------
    TypeError, ValueError
        If it is no :class:`WeightQuantizer`, or its format not int2 to int8.
    """
    if not isinstance(quantizer, WeightQuantizer):
        raise TypeError(f"Weight quantizer must be a WeightQuantizer, not {type(quantizer).__name__!r}")
    fmt = quantizer.format
    if not isinstance(fmt, FixedPointFormat) or not fmt.signed or fmt.fraction_bits or not 2 <= fmt.width <= 8:
        raise ValueError(f"Weight format must be int2 to int8 to have integers, not {fmt.name}")
    return fmt


def weight_integers(weight: Tensor, quantizer: WeightQuantizer) -> Tensor:
    """Return the rounded weights as integers, int8: the value of a weight is its integer times its channel's scale.

    Raises
    ------
    TypeError, ValueError
        If the quantizer's format is not one of integers of at most 8 bits, or the weights do not suit it.
    """
    width = integer_format(quantizer).width
    codes = quantizer.codes(weight).to(torch.int16)
    return (codes - (codes >> (width - 1) << width)).to(torch.int8)
