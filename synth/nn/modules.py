"""Linear layers and convolutions whose sums of products come from a circuit: floats in, floats out, exact between.

A layer rounds its input and its weight to codes with its quantizers, which are those of :mod:`sw.ptq`; the circuit
makes the sums of products; and ``output = value of the sum * (input scale * weight scale) + bias``, each operation of
it in float32 (in float64 where inputs are float64 or float32 does not hold the sums' format). The circuit ends with
the sum: rounding, wrapping and saturation of every step up to there are the hardware's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sw.ptq import Config, Granularity
from sw.ptq.attention import AttentionProjection
from sw.ptq.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from sw.quantize.plan import plan_of
from synth.nn import functional
from synth.nn.scales import config_for
from synth.nn.straight_through import straight_through
from synth.nn.sums import check_numbers, values_of
from synth.nn.unit import SharedUnit, Unit, check_unit, describe


class CircuitLayer(QuantizedLayer):  # type: ignore[misc]  # of sw.ptq, which mypy does not read
    """What the layers through circuits have in common. Each is a subclass of its quantized and its float layer too.

    Parameters and their keys are those of the float layer, the quantizers' buffers those of the quantized one; the
    circuit is not part of the state, and copies share it. While a quantizer is off or observes (in
    :func:`sw.ptq.floating` and its like, or in calibration), and of an empty input, the layer computes as the quantized
    one does.

    Gradients are straight through: those of the layer that multiplies the rounded inputs with the rounded weights in
    floating point, passed on by the quantizers as :func:`sw.quantize.fake_quantize` says. They are not differentiable
    themselves.
    """

    quantized_kind: type[nn.Module]
    """The quantized layer that this one was."""

    _shared: SharedUnit

    @property
    def unit(self) -> Unit:
        """The circuit."""
        return self._shared.unit

    def attach_unit(self, unit: Unit) -> None:
        """Have the sums of products come from another circuit.

        Raises
        ------
        TypeError, ValueError
            As :func:`check_layer`.
        """
        check_layer(self, unit)
        self.__dict__["_shared"] = SharedUnit(unit)

    def detach_unit(self) -> None:
        """Make the layer the quantized layer again that it was."""
        del self.__dict__["_shared"]
        self.__class__ = self.quantized_kind  # type: ignore[assignment]  # which it becomes

    def detach(self) -> None:
        """Make the layer the float layer again that it was."""
        self.__dict__.pop("_shared", None)
        super().detach()

    @torch.no_grad()
    def rescale_weight(self) -> None:
        """Take the scales of the weights from the weights as they are now: after training, or for other weights."""
        self.weight_quantizer.observe(self.canonical(self.weight))
        self.weight_quantizer.freeze()

    @property
    def uses_circuit(self) -> bool:
        """Whether both quantizers are on, so that the circuit has its codes."""
        return all(quantizer.enabled and not quantizer.observing
                   for quantizer in (self.weight_quantizer, self.input_quantizer))

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output, in the shape and type of the float layer's.

        Raises
        ------
        TypeError, ValueError
            If the input does not suit the layer, or it or a weight is NaN; the message names the layer.
        """
        if not self.uses_circuit or not input.numel():
            output: Tensor = super().forward(input)
            return output
        with torch.no_grad():
            output = self._output(input)
        operands = (input, self.weight, self.bias)
        if not torch.is_grad_enabled() or not any(x is not None and x.requires_grad for x in operands):
            return output
        return straight_through(output, self.float_output, self.quantized_input(input), self.quantized_weight(),
                                self.bias)

    @torch.no_grad()
    def operand_codes(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes that the circuit multiplies: of the input and of the weight, in their shapes.

        The input is what ``forward`` gets, after hooks that change it, such as those of
        :func:`sw.ptq.attach_smoothing`. Padding in another way than by zeros is in the codes already.

        Raises
        ------
        TypeError, ValueError
            As :meth:`forward`.
        """
        check_numbers("Inputs", input, self.input_quantizer.label)
        check_numbers("Weights", self.weight, self.weight_quantizer.label)
        return self.padded(self.input_quantizer.codes(input)), self.weight_quantizer.codes(self.weight)

    @torch.no_grad()
    def result_codes(self, input: Tensor) -> Tensor:
        """Return the codes of the circuit's sums, in the shape of the output; the input as for :meth:`operand_codes`.

        Raises
        ------
        TypeError, ValueError
            As :meth:`forward`.
        """
        x, weight = self.operand_codes(input)
        try:
            return self.product(x, weight)
        except ValueError as error:
            raise ValueError(f"{error}, at {self.weight_quantizer.label}, for inputs of shape {tuple(input.shape)} in "
                             f"{self.unit.a.name}") from error

    def padded(self, x: Tensor) -> Tensor:
        """Return input codes with the padding that is none of zeros."""
        return x

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the circuit's sums of products of codes, as codes."""
        raise NotImplementedError

    def float_output(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output of the float layer, which gradients are taken of."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Say what the float layer does, and the formats of the circuit."""
        return ", ".join(filter(None, (super().extra_repr(), f"circuit={describe(self.unit)}")))

    def _output(self, x: Tensor) -> Tensor:
        output = values_of(self.result_codes(x), self.unit, *self._scales(x), x.dtype, self.weight.dtype)
        if self.bias is not None:
            output += self._by_output_channel(self.bias)
        return output.to(x.dtype)

    def _scales(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scales of input and weight, in shapes that broadcast to the output's."""
        # What shares a scale is the tensor or a token, which has one index in all dimensions before the channels'.
        first = (..., *[slice(1)] * -self.input_axis)
        return (self.input_quantizer.expanded_scale(x)[first],
                self._by_output_channel(self.weight_quantizer.scale))

    def _by_output_channel(self, x: Tensor) -> Tensor:
        """Return a tensor of one element, or one for each output channel, that broadcasts to the output."""
        return x.reshape(-1, *[1] * (-1 - self.input_axis))


class _CircuitLinear(CircuitLayer):
    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight, self.unit)

    def float_output(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, weight, bias)


class CircuitLinear(_CircuitLinear, QuantizedLinear):  # type: ignore[misc]  # as above
    """A ``torch.nn.Linear`` whose sums of products come from a circuit.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        Those of ``torch.nn.Linear``.
    unit : Unit
    config : Config, optional
        How weights and inputs are quantized; by default as :func:`synth.nn.config_for` says. The scales of the weights
        are those of the initial ones until :meth:`CircuitLayer.rescale_weight`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or as :func:`check_layer`.
    """

    quantized_kind = QuantizedLinear

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None,
                 *, unit: Unit, config: Config | None = None) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        _furnish(self, nn.Linear, unit, config)


class CircuitConv2d(CircuitLayer, QuantizedConv2d):  # type: ignore[misc]  # as above
    """A ``torch.nn.Conv2d`` whose sums of products come from a circuit.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        Those of ``torch.nn.Conv2d``. Padding comes after rounding.
    unit : Unit
    config : Config, optional
        As for :class:`CircuitLinear`.

    Raises
    ------
    TypeError, ValueError
        As :class:`CircuitLinear`.
    """

    quantized_kind = QuantizedConv2d

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] | str = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None, *, unit: Unit,
                 config: Config | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                         padding_mode, device, dtype)
        _furnish(self, nn.Conv2d, unit, config)

    def padded(self, x: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            return x
        # Codes of at most 32 bits are exact in float64, which torch pads in every mode.
        return nn.functional.pad(x.to(torch.float64), self._reversed_padding_repeated_twice, self.padding_mode).to(
            x.dtype)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        padding = self.padding if self.padding_mode == "zeros" else 0
        return functional.conv2d(x, weight, self.unit, stride=self.stride, padding=padding, dilation=self.dilation,
                                 groups=self.groups)

    def float_output(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = self._conv_forward(x, weight, bias)
        return output


class CircuitAttentionProjection(_CircuitLinear, AttentionProjection):  # type: ignore[misc]  # as above
    """A projection of queries, keys or values in an attention layer, whose sums of products come from a circuit."""

    quantized_kind = AttentionProjection


CIRCUIT_KINDS: dict[type[nn.Module], type[CircuitLayer]] = {
    kind.quantized_kind: kind for kind in (CircuitLinear, CircuitConv2d, CircuitAttentionProjection)}
"""The layer through a circuit for each kind of quantized layer."""


def check_layer(layer: QuantizedLayer, unit: Unit) -> None:
    """Refuse a quantized layer that a circuit cannot compute.

    Raises
    ------
    TypeError
        If ``unit`` is none.
    ValueError
        If inputs or weights are not quantized, to scalar formats that are those of the circuit, with one scale for all
        products of a sum; or a sum has more products than the circuit can sum, or results that are not numbers of
        float64. The message names the layer.
    """
    check_unit(unit)
    quantizers = layer.weight_quantizer, layer.input_quantizer
    at = next(f"at {quantizer.label}" for quantizer in quantizers if quantizer is not None)
    for noun, quantizer, fmt in zip(("Weights", "Inputs"), quantizers, (unit.b, unit.a), strict=True):
        if quantizer is None:
            raise ValueError(f"{noun} must be quantized to {fmt.name} to go through a circuit, not stay float, {at}")
        if quantizer.format != fmt:
            raise ValueError(f"{noun} must be quantized to the format of the circuit, {fmt.name}, not to "
                             f"{quantizer.format.name}, {at}; synth.nn.config_for gives a fitting config")
        if quantizer.config.granularity is Granularity.GROUP:
            raise ValueError(f"{noun} must have one scale for all products of a sum to go through a circuit, not one "
                             f"for each group of {quantizer.config.group_size}, {at}")
    terms = layer.canonical(layer.weight)[0].numel()
    if unit.maximum_terms is not None and terms > unit.maximum_terms:
        raise ValueError(f"Sums must have at most the {unit.maximum_terms} products that the circuit can sum, not "
                         f"{terms}, {at}; give the operation more terms")
    try:
        functional.result_dtype(unit)
        plan_of(unit.result)
    except ValueError as error:
        raise ValueError(f"{error}, {at}") from error


def _furnish(layer: CircuitLayer, float_kind: type[nn.Module], unit: Unit, config: Config | None) -> None:
    """Give a new layer its quantizers, the scales of its weights, and its circuit."""
    check_unit(unit)
    layer.__dict__["float_kind"] = float_kind
    layer.attach(config_for(unit) if config is None else config, "")
    check_layer(layer, unit)
    layer.rescale_weight()
    layer.attach_unit(unit)
