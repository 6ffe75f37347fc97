"""A deformable convolution with quantized weights and activations, for training and as the source of integers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.formats import parse
from sw.formats.check import check_boolean
from sw.nn.activation_quantizer import ActivationQuantizer
from sw.nn.deformable_conv import DeformableConv2d
from sw.nn.order import BlockOrder
from sw.nn.requantization import channel_scales, folded_bias
from sw.nn.requantize import check_shift
from sw.nn.rounding import round_half_up
from sw.nn.weight_quantizer import WeightQuantizer, integer_format


class QuantizedDeformableConv2d(nn.Module):
    """A :class:`DeformableConv2d` whose weights and activations are rounded: W4A8 unless told otherwise.

    The order is input, first convolution, ReLU if ``layer.relu_between``, ``between``, second convolution, ReLU if
    ``relu``, ``output``. Fold batch normalizations first (:func:`sw.nn.fold_batch_norm`). The layer is not copied:
    its float weights are what training changes.

    Parameters
    ----------
    layer : DeformableConv2d
    relu : bool
        After the last convolution.
    weight : torch.nn.Module, optional
        What rounds every weight, those that predict offsets included; by default a :class:`WeightQuantizer` to int4.
    input, between, output : torch.nn.Module, optional
        What rounds the activations; by default :class:`ActivationQuantizer` each. Any layer of ``sw.quantize`` for any
        other format, ``torch.nn.Identity()`` for none. Several layers may share one, and with it its range. ``between``
        is unused where there is one convolution.
    integer_shift : int, bits, optional
        Round as the integer path does (:func:`sw.nn.integer_requantization`): the factor of each channel to so many
        fractional bits, the product and the bias each by itself. In evaluation the codes are then those that
        :func:`sw.nn.convert` gives, all of them. It needs integer weights, :class:`ActivationQuantizer`, rounded
        offsets or none, and takes effect once the ranges are known. None to round each sum once.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit ``integer_shift``.

    Source: CoDeNet (arXiv 2006.08357), section 3.3, and its released quantizer.
    """

    def __init__(self, layer: DeformableConv2d, *, relu: bool = False, weight: nn.Module | None = None,
                 input: nn.Module | None = None, between: nn.Module | None = None,
                 output: nn.Module | None = None, integer_shift: int | None = None) -> None:
        if not isinstance(layer, DeformableConv2d):
            raise TypeError(f"Layer must be a DeformableConv2d, not {type(layer).__name__!r}")
        check_boolean("ReLU switch", relu)
        for noun, module in (("Weight quantizer", weight), ("Input quantizer", input),
                             ("Quantizer between", between), ("Output quantizer", output)):
            if module is not None and not isinstance(module, nn.Module):
                raise TypeError(f"{noun} must be a torch.nn.Module, not {module!r}")
        super().__init__()
        self._relu = relu
        self.layer = layer
        self.weight = WeightQuantizer(parse("int4")) if weight is None else weight
        self.input = ActivationQuantizer() if input is None else input
        self.between = ActivationQuantizer() if between is None else between
        self.output = ActivationQuantizer() if output is None else output
        self._integer_shift = integer_shift
        if integer_shift is not None:
            check_shift(integer_shift)
            integer_format(self.weight)
            if layer.offset is not None and not layer.offset.rule.rounded:
                raise ValueError("Offsets must be rounded where an integer shift is given, so that sums are integers, "
                                 f"not {layer.offset.rule!r}")
            for module in (self.input, self.between, self.output):
                if not isinstance(module, ActivationQuantizer):
                    raise TypeError("Activations must be rounded by an ActivationQuantizer where an integer shift is "
                                    f"given, not by a {type(module).__name__!r}")

    @property
    def relu(self) -> bool:
        """Whether a ReLU follows the last convolution."""
        return self._relu

    @property
    def integer_shift(self) -> int | None:
        """Fractional bits of the factors of the integer path, if it is followed."""
        return self._integer_shift

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded convolution of a floating-point tensor (N, in_channels, H, W)."""
        layer = self.layer
        x = self.input(x)
        if layer.order is None:
            return self.output(self._window(x, self.input, self.output, self._relu))
        if layer.order is BlockOrder.POINTWISE_FIRST:
            x = self.between(self._pointwise(x, self.input, self.between, layer.relu_between))
            return self.output(self._window(x, self.between, self.output, self._relu))
        x = self.between(self._window(x, self.input, self.between, layer.relu_between))
        return self.output(self._pointwise(x, self.between, self.output, self._relu))

    def _pointwise(self, x: Tensor, source: nn.Module, target: nn.Module, relu: bool) -> Tensor:
        conv = self.layer.pointwise
        weight = self.weight(conv.weight)
        return self._finish(functional.conv2d(x, weight), conv, weight, source, target, relu)

    def _window(self, x: Tensor, source: nn.Module, target: nn.Module, relu: bool) -> Tensor:
        conv = self.layer.window
        weight = self.weight(conv.weight)
        y = self.layer.convolve(x, weight=weight, offset_weight=self._offset_weight())
        return self._finish(y, conv, weight, source, target, relu)

    def _finish(self, y: Tensor, conv: nn.Conv2d, weight: Tensor, source: nn.Module, target: nn.Module,
                relu: bool) -> Tensor:
        """Add the bias to sums of products, and round both if the integer path is followed."""
        if self._integer_shift is not None and target.is_calibrated:
            y = self._rounded(y, conv, weight, source, target)
        elif conv.bias is not None:
            y = y + conv.bias[:, None, None]
        return functional.relu(y) if relu else y

    def _rounded(self, y: Tensor, conv: nn.Conv2d, weight: Tensor, source: ActivationQuantizer,
                 target: ActivationQuantizer) -> Tensor:
        shift, unit = self._integer_shift, self.weight.scale(conv.weight).double()
        scale = round_half_up(channel_scales(unit, source, target, shift))
        weight_sums = round_half_up(weight.flatten(1).sum(1, dtype=torch.float64) / unit)
        bias = round_half_up(folded_bias(conv.bias, weight_sums, scale, source, target, shift))
        sums = round_half_up(y / (source.step * unit)[:, None, None])
        sums = sums + (source.zero_point * weight_sums)[:, None, None]
        codes = round_half_up(sums * (scale * 2.0 ** -shift)[:, None, None]) + bias[:, None, None]
        return (codes * target.step).to(y.dtype)

    def _offset_weight(self) -> Tensor | None:
        return None if self.layer.offset is None else self.weight(self.layer.offset.predict.weight)

    @torch.no_grad()
    def dilations(self, x: Tensor) -> Tensor:
        """Return the whole dilation of each position as int64, (N, G, H, W): what the integer path takes.

        Raises
        ------
        TypeError, ValueError
            If the input is of the wrong type, or the layer's offsets are not whole and square.
        """
        if self.layer.offset is None:
            raise ValueError("Layer must have offsets to have dilations, not offsets=None")
        x = self.input(x)
        if self.layer.order is BlockOrder.POINTWISE_FIRST:
            x = self.between(self._pointwise(x, self.input, self.between, self.layer.relu_between))
        return self.layer.offset.dilations(x, weight=self._offset_weight())

    def extra_repr(self) -> str:
        """Say what follows the last convolution."""
        return f"relu={self._relu}, integer_shift={self._integer_shift}"
