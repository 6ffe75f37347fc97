"""Linear layers and convolutions whose weights and inputs are rounded. A float layer becomes one in place."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.ptq.checks import FLOAT_DTYPES
from sw.ptq.config import Config
from sw.ptq.tensor_quantizer import TensorQuantizer


class QuantizedLayer:
    """What the quantized layers have in common. Each is a subclass of its float layer too.

    ``weight_quantizer`` and ``input_quantizer`` are submodules, or None. The parameters are those of the float layer:
    the same objects under the same keys. The weight stays what it is, and is rounded on its way into the product.

    A quantizer sees weights in canonical form, (output channels, input channels of a group, ...), which is that of
    linear layers and convolutions; a transposed convolution's are turned into it.

    As matrices, weights are (groups, rows, columns): a row for each output channel of a group, a column for each
    product in its sum. ``output = input_matrix @ weight_matrix.mT`` holds in each group.

    ``forward`` takes its argument by the name that it has in torch, ``input``: models may use it.
    """

    weight_quantizer: TensorQuantizer | None
    input_quantizer: TensorQuantizer | None

    input_axis = -1
    """Axis of the input channels, in canonical weights and in inputs alike."""

    @property
    def weight_groups(self) -> int:
        """Groups of a convolution; 1 elsewhere."""
        return 1

    execution_index: int | None = None
    """How many other quantized layers ran before this one in calibration; None if it did not run."""

    def attach(self, config: Config, name: str) -> None:
        """Give a layer that was float until now its quantizers.

        Raises
        ------
        ValueError
            If the configuration does not suit the layer.
        """
        shape = tuple(self.canonical(self.weight).shape)
        kind = type(self).__name__.removeprefix("Quantized")
        label = f"layer {name!r} ({kind}, weights of shape {tuple(self.weight.shape)})"
        self.weight_quantizer = self.input_quantizer = None
        if config.weight is not None:
            self.weight_quantizer = TensorQuantizer(config.weight, axis=self.input_axis, label=label, shape=shape)
        if config.activation is not None:
            self.input_quantizer = TensorQuantizer(config.activation, axis=self.input_axis, label=label)
            self.input_quantizer.check_channels(shape[self.input_axis] * self.weight_groups)
        for quantizer in (self.weight_quantizer, self.input_quantizer):
            if quantizer is not None:
                quantizer.check_dtype(self.weight.dtype)

    def detach(self) -> None:
        """Make the layer the float layer again that it was."""
        for name in ("weight_quantizer", "input_quantizer", "execution_index"):
            if name in self._modules or name in self.__dict__:
                delattr(self, name)
        self.__class__ = self.__dict__.pop("float_kind")

    def canonical(self, weight: Tensor) -> Tensor:
        """Return a tensor of the weight's shape in canonical form."""
        return weight

    def from_canonical(self, weight: Tensor) -> Tensor:
        """Return a tensor in canonical form in the weight's shape."""
        return weight

    def quantized_weight(self) -> Tensor:
        """Return the weight as it enters the product, in the weight's own shape."""
        if self.weight_quantizer is None:
            return self.weight
        return self.from_canonical(self.weight_quantizer(self.canonical(self.weight)))

    def quantized_input(self, x: Tensor) -> Tensor:
        """Return the input as it enters the product."""
        return x if self.input_quantizer is None else self.input_quantizer(x)

    def weight_matrix(self) -> Tensor:
        """Return a copy of the weight as matrices, (groups, rows, columns)."""
        return self.as_matrix(self.canonical(self.weight.detach())).clone()

    def weight_scales(self) -> Tensor:
        """Return the scale of each weight as matrices, (groups, rows, columns).

        Raises
        ------
        ValueError
            If weights are not quantized, or not calibrated.
        """
        if self.weight_quantizer is None:
            raise ValueError("Layer must quantize its weights to have their scales, not its inputs alone")
        return self.as_matrix(self.weight_quantizer.expanded_scale(self.canonical(self.weight.detach())))

    def as_matrix(self, canonical: Tensor) -> Tensor:
        """Return a tensor in canonical form as matrices, (groups, rows, columns)."""
        return canonical.reshape(self.weight_groups, canonical.shape[0] // self.weight_groups, -1)

    @torch.no_grad()
    def set_weight_matrix(self, matrix: Tensor) -> None:
        """Change the weight, in place, to that of these matrices.

        Raises
        ------
        TypeError, ValueError
            If they are of another type or shape, or not finite.
        """
        shape = tuple(self.as_matrix(self.canonical(self.weight)).shape)
        if not isinstance(matrix, Tensor) or matrix.dtype not in FLOAT_DTYPES:
            raise TypeError(f"Weight matrix must be a floating-point tensor, not {getattr(matrix, 'dtype', matrix)!r}")
        if tuple(matrix.shape) != shape:
            raise ValueError(f"Weight matrix must be of shape {shape}, not {tuple(matrix.shape)}")
        if not bool(torch.isfinite(matrix).all()):
            raise ValueError("Weight matrix must be finite, not with an infinity or a NaN")
        canonical = matrix.reshape(self.canonical(self.weight).shape)
        self.weight.copy_(self.from_canonical(canonical))

    def input_matrix(self, x: Tensor) -> Tensor:
        """Return what an input multiplies the weight matrices with: (groups, samples, columns)."""
        raise NotImplementedError


def swap_class(layer: nn.Module, kind: type[nn.Module]) -> None:
    """Make a float layer one of a quantized class, which remembers what it was; ``attach`` comes next."""
    layer.__dict__["float_kind"] = type(layer)
    layer.__class__ = kind


class QuantizedLinear(QuantizedLayer, nn.Linear):
    """A ``torch.nn.Linear`` whose weights and inputs are rounded."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output, (..., outputs), for inputs (..., inputs)."""
        return functional.linear(self.quantized_input(input), self.quantized_weight(), self.bias)

    def input_matrix(self, x: Tensor) -> Tensor:
        """Return the input, (..., inputs), as a matrix for the one group."""
        return x.reshape(1, -1, x.shape[-1])


class _QuantizedConvolution(QuantizedLayer):
    @property
    def weight_groups(self) -> int:
        return self.groups

    @property
    def input_axis(self) -> int:
        return -1 - len(self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output for inputs (N, C, ...) or (C, ...).

        Padding comes after rounding: every format has a zero, and other padding repeats rounded inputs.
        """
        return self._conv_forward(self.quantized_input(input), self.quantized_weight(), self.bias)

    def input_matrix(self, x: Tensor) -> Tensor:
        """Return the windows of an input, padded: (groups, N * positions, columns)."""
        if x.ndim == len(self.kernel_size) + 1:
            x = x.unsqueeze(0)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = functional.pad(x, self._reversed_padding_repeated_twice, mode)
        return windows(x, self.kernel_size, self.stride, self.dilation, self.groups)


class QuantizedConv1d(_QuantizedConvolution, nn.Conv1d):
    """A ``torch.nn.Conv1d`` whose weights and inputs are rounded."""


class QuantizedConv2d(_QuantizedConvolution, nn.Conv2d):
    """A ``torch.nn.Conv2d`` whose weights and inputs are rounded."""


class QuantizedConv3d(_QuantizedConvolution, nn.Conv3d):
    """A ``torch.nn.Conv3d`` whose weights and inputs are rounded."""


class QuantizedConvTranspose2d(QuantizedLayer, nn.ConvTranspose2d):
    """A ``torch.nn.ConvTranspose2d`` whose weights and inputs are rounded."""

    input_axis = -3

    @property
    def weight_groups(self) -> int:
        return self.groups

    def canonical(self, weight: Tensor) -> Tensor:
        """Return weights (inputs, outputs of a group, ...) as (outputs, inputs of a group, ...)."""
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)

    def from_canonical(self, weight: Tensor) -> Tensor:
        """Do the opposite of :meth:`canonical`, which is the same."""
        return self.canonical(weight)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the layer's output for inputs (N, C, H, W) or (C, H, W)."""
        output_padding = self._output_padding(input, output_size, self.stride, self.padding, self.kernel_size, 2,
                                              self.dilation)
        return functional.conv_transpose2d(self.quantized_input(input), self.quantized_weight(), self.bias, self.stride,
                                           self.padding, output_padding, self.groups, self.dilation)

    def input_matrix(self, x: Tensor) -> Tensor:
        """Return the windows of an input with zeros between its elements: (groups, N * positions, columns)."""
        if x.ndim == 3:
            x = x.unsqueeze(0)
        n, c, h, w = x.shape
        sh, sw = self.stride
        spread = x.new_zeros(n, c, (h - 1) * sh + 1, (w - 1) * sw + 1)
        spread[..., ::sh, ::sw] = x
        (top, left), (bottom, right) = (
            [dilation * (size - 1) - padding + extra for dilation, size, padding, extra in
             zip(self.dilation, self.kernel_size, self.padding, extras, strict=True)]
            for extras in ((0, 0), self.output_padding))
        # A kernel slides over them turned around.
        spread = functional.pad(spread, (left, right, top, bottom))
        found = windows(spread, self.kernel_size, (1, 1), self.dilation, self.groups)
        return found.unflatten(-1, (-1, *self.kernel_size)).flip(-1, -2).flatten(-3)


def windows(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...],
            groups: int) -> Tensor:
    """Return the windows of padded inputs (N, C, ...) as (groups, N * positions, C / groups * elements)."""
    spans = [step * (length - 1) + 1 for length, step in zip(size, dilation, strict=True)]
    x = x.unflatten(1, (groups, -1))
    for axis, (span, step, gap) in enumerate(zip(spans, stride, dilation, strict=True), 3):
        x = x.unfold(axis, span, step)[..., ::gap]
    # (N, groups, channels, positions ..., elements ...)
    dims = len(size)
    positions, elements = range(3, 3 + dims), range(3 + dims, 3 + 2 * dims)
    x = x.permute(1, 0, *positions, 2, *elements)
    return x.reshape(groups, -1, x.shape[-1 - dims] * x.shape[-dims:].numel())


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QuantizedLinear, nn.Conv1d: QuantizedConv1d, nn.Conv2d: QuantizedConv2d, nn.Conv3d: QuantizedConv3d,
    nn.ConvTranspose2d: QuantizedConvTranspose2d,
}
"""The quantized layer for each kind of float layer."""
