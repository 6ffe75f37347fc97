"""Deformable convolution: the function, and the family of layers around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.formats.check import check_boolean, check_member
from sw.nn.bilinear import bilinear_sample
from sw.nn.checks import check_count, check_divides, check_floats, check_shape
from sw.nn.offsets import RELEASED_OFFSETS, OffsetPredictor, OffsetRule, check_odd
from sw.nn.order import BlockOrder


def _pair(noun: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
    for number in pair:
        check_count(noun, number, least=least)
    return pair


def deformable_conv2d(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, *,
                      stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0,
                      dilation: int | tuple[int, int] = 1, groups: int = 1) -> Tensor:
    """Convolve ``x`` with windows whose taps are moved by ``offset``: bilinear samples, zero beyond the border.

    Gradient: with respect to every tensor.

    Parameters
    ----------
    x : floating-point tensor, (N, C, H, W)
    offset : tensor, (N, G*2*taps, Ho, Wo)
        In pixels. G sets of offsets divide C: channel c takes set ``c // (C/G)``. In a set, the row and column offsets
        of tap ``ky*kw + kx`` are numbers ``2*tap`` and ``2*tap + 1``: the order of ONNX and of torchvision.
    weight : tensor, (K, C/groups, kh, kw)
    bias : tensor, (K,), optional
    stride, padding, dilation : int or (int, int)
        Rows, columns.
    groups : int

    Returns
    -------
    Tensor
        (N, K, Ho, Wo), where ``Ho = (H + 2*padding - dilation*(kh - 1) - 1) // stride + 1``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.

    Source: Dai et al. 2017 (arXiv 1703.06211), equation 2; ``DeformConv`` of ONNX, operator set 19.
    """
    for noun, tensor in (("Input", x), ("Offset", offset), ("Weight", weight)):
        check_floats(noun, tensor)
    check_shape("Input", x, ("N", "C", "H", "W"))
    check_count("Groups", groups)
    batch, channels, *size = x.shape
    check_divides("Groups", groups, "channels", channels)
    check_shape("Weight", weight, ("K", channels // groups, "kh", "kw"))
    outputs, _, *kernel = weight.shape
    check_divides("Groups", groups, "output channels", outputs)
    if bias is not None:
        check_floats("Bias", bias)
        check_shape("Bias", bias, (outputs,))
    axes = list(zip(size, kernel, _pair("Stride", stride, 1), _pair("Padding", padding, 0),
                    _pair("Dilation", dilation, 1), strict=True))
    height, width = ((length + 2 * pad - step * (taps - 1) - 1) // jump + 1 for length, taps, jump, pad, step in axes)
    if height < 1 or width < 1:
        raise ValueError(f"Input must be at least as large as the window, not {tuple(size)}; add padding")
    taps = kernel[0] * kernel[1]
    check_shape("Offset", offset, (batch, "G*2*taps", height, width))
    if offset.shape[1] % (2 * taps):
        raise ValueError(f"Offset channels must be a multiple of {2 * taps}, two for each tap, not {offset.shape[1]}")
    sets = offset.shape[1] // (2 * taps)
    check_divides("Offset groups", sets, "channels", channels)

    # Half precision would not tell the columns of a wide map apart.
    dtype = torch.promote_types(offset.dtype, torch.float32)
    origins = [torch.arange(count, dtype=dtype, device=x.device) * jump - pad
               for count, (_, _, jump, pad, _) in zip((height, width), axes, strict=True)]
    places = [torch.arange(axis[1], dtype=dtype, device=x.device) * axis[4] for axis in axes]
    shifts = offset.to(dtype).reshape(batch, sets, taps, 2, height, width)
    rows = origins[0][:, None] + places[0].repeat_interleave(kernel[1])[:, None, None] + shifts[:, :, :, 0]
    columns = origins[1] + places[1].repeat(kernel[0])[:, None, None] + shifts[:, :, :, 1]
    samples = bilinear_sample(x, rows, columns)  # (N, C, taps, Ho, Wo)
    samples = samples.reshape(batch, groups, channels // groups * taps, height * width)
    filters = weight.reshape(groups, outputs // groups, channels // groups * taps)
    result = torch.einsum("gkt,ngtp->ngkp", filters, samples).reshape(batch, outputs, height, width)
    return result if bias is None else result + bias[:, None, None]


class DeformableConv2d(nn.Module):
    """A deformable convolution that predicts its own offsets, full or depthwise separable.

    Every part of the family is a switch of its own. The offsets are predicted from the input of the window
    convolution, and start at zero: the layer starts as an ordinary convolution.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Of the window: odd.
    stride, dilation : int
    padding : int, optional
        By default what keeps the size at stride 1.
    depthwise : bool
        Convolve each channel by itself; otherwise all with all.
    order : BlockOrder, optional
        Where the 1x1 convolution stands that mixes the channels of a depthwise one. None for a depthwise convolution
        by itself; a full one has none.
    relu_between : bool
        Between the window convolution and the 1x1 one.
    bias : bool
        Give both a bias.
    offsets : OffsetRule, optional
        None for an ordinary convolution, to compare with.
    offset_groups : int
        Sets of offsets; divides the channels of the window convolution.
    offset_kernel_size : int
        Of the convolution that predicts the offsets: odd.

    Attributes
    ----------
    window : torch.nn.Conv2d
        Holds the weight (and bias) of the window convolution.
    pointwise : torch.nn.Conv2d or None
        The 1x1 convolution.
    offset : OffsetPredictor or None

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range, or does not suit the others.

    Source: Dai et al. 2017 (arXiv 1703.06211); CoDeNet (arXiv 2006.08357), section 3.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1,
                 padding: int | None = None, dilation: int = 1, depthwise: bool = True,
                 order: BlockOrder | None = BlockOrder.DEPTHWISE_FIRST, relu_between: bool = False, bias: bool = True,
                 offsets: OffsetRule | None = RELEASED_OFFSETS, offset_groups: int = 1,
                 offset_kernel_size: int = 1) -> None:
        check_count("Input channels", in_channels)
        check_count("Output channels", out_channels)
        check_odd("Kernel size", kernel_size)
        check_count("Stride", stride)
        check_count("Dilation", dilation)
        if padding is None:
            padding = dilation * (kernel_size - 1) // 2
        check_count("Padding", padding, least=0)
        check_boolean("Depthwise switch", depthwise)
        check_boolean("ReLU switch", relu_between)
        check_boolean("Bias switch", bias)
        if order is not None:
            check_member("Order", order, BlockOrder)
        if order is not None and not depthwise:
            raise ValueError(f"Order must be None for a full convolution, not {order.value!r}; give order=None")
        if order is None and depthwise and in_channels != out_channels:
            raise ValueError(f"Output channels must be the {in_channels} input channels where no 1x1 convolution mixes "
                             f"them, not {out_channels!r}; give an order")
        if order is None and relu_between:
            raise ValueError("ReLU switch must be False where there is one convolution, not True")
        channels = out_channels if order is BlockOrder.POINTWISE_FIRST else in_channels
        check_count("Offset groups", offset_groups)
        check_divides("Offset groups", offset_groups, "channels", channels)
        super().__init__()
        self._order = order
        self._relu_between = relu_between
        self.offset = None if offsets is None else OffsetPredictor(
            channels, offsets, groups=offset_groups, kernel_size=offset_kernel_size, window=kernel_size,
            stride=stride, padding=padding, dilation=dilation)
        self.window = nn.Conv2d(channels, channels if depthwise else out_channels, kernel_size, stride=stride,
                                padding=padding, dilation=dilation, groups=channels if depthwise else 1, bias=bias)
        self.pointwise = None if order is None else nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    @property
    def order(self) -> BlockOrder | None:
        """Where the 1x1 convolution stands, if there is one."""
        return self._order

    @property
    def relu_between(self) -> bool:
        """Whether there is a ReLU between the two convolutions."""
        return self._relu_between

    @property
    def last(self) -> str:
        """Name of the convolution that makes the result: ``"window"`` or ``"pointwise"``."""
        return "pointwise" if self._order is BlockOrder.DEPTHWISE_FIRST else "window"

    def convolve(self, x: Tensor, *, weight: Tensor | None = None, bias: Tensor | None = None,
                 offset_weight: Tensor | None = None) -> Tensor:
        """Return the window convolution of ``x``, offsets included, with the bias that is given.

        ``weight`` and ``offset_weight`` stand in for those of ``window`` and ``offset.predict``: quantized ones.
        """
        conv = self.window
        weight = conv.weight if weight is None else weight
        if self.offset is None:
            return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        return deformable_conv2d(x, self.offset(x, weight=offset_weight), weight, bias, stride=conv.stride,
                                 padding=conv.padding, dilation=conv.dilation, groups=conv.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of a floating-point tensor (N, in_channels, H, W).

        Raises
        ------
        TypeError, ValueError
            If the input is of the wrong type or shape.
        """
        check_floats("Input", x)
        first = self.pointwise if self._order is BlockOrder.POINTWISE_FIRST else self.window
        check_shape("Input", x, ("N", first.in_channels, "H", "W"))
        if self._order is BlockOrder.POINTWISE_FIRST:
            return self.convolve(self._between(self.pointwise(x)), bias=self.window.bias)
        y = self.convolve(x, bias=self.window.bias)
        return y if self.pointwise is None else self.pointwise(self._between(y))

    def _between(self, x: Tensor) -> Tensor:
        return functional.relu(x) if self._relu_between else x

    def extra_repr(self) -> str:
        """Say the order."""
        order = None if self._order is None else self._order.value
        return f"order={order}, relu_between={self._relu_between}"
