"""Deformable convolution in integers alone: what the hardware computes, bit for bit."""

import torch
from torch import Tensor, nn

from sw.formats.check import check_integer, check_member
from sw.nn.checks import check_count, check_integers, check_shape
from sw.nn.order import BlockOrder
from sw.nn.requantize import MAX_CODE, MIN_CODE, OFFSET, Requantize
from sw.nn.sums import check_activations, check_weights, pointwise_sums
from sw.nn.windows import TAPS, square_windows

MAX_OFFSET = 7


def _check_channels(weight: Tensor, requantize: Requantize) -> None:
    if not isinstance(requantize, Requantize):
        raise TypeError(f"Requantization must be a Requantize, not {type(requantize).__name__!r}")
    if requantize.channels != weight.shape[0]:
        raise ValueError(f"Requantization must have the {weight.shape[0]} channels of the weight, "
                         f"not {requantize.channels}")


class IntegerDepthwise(nn.Module):
    """A depthwise 3x3 convolution at square integer offsets, requantized.

    A sum is at most ``9 * 128 * 2**(weight_bits - 1)``: 9216 for int4, 15 bits of the 24.

    Parameters
    ----------
    weight : integer tensor, (C, 9)
        Tap ``3*(ky + 1) + (kx + 1)``; kept as an int8 buffer.
    requantize : Requantize
        Of C channels.
    stride : int
    padding : int
        Code of samples beyond the border, -128 to 127: the zero point of the activations.
    max_offset : int
        Largest offset that is accepted.
    weight_bits : int, bits
        2 to 8.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.
    """

    def __init__(self, weight: Tensor, requantize: Requantize, *, stride: int = 1, padding: int = OFFSET,
                 max_offset: int = MAX_OFFSET, weight_bits: int = 4) -> None:
        check_weights(weight, weight_bits, TAPS)
        check_shape("Depthwise weight", weight, ("C", TAPS))
        _check_channels(weight, requantize)
        check_count("Stride", stride)
        check_integer("Padding", padding)
        if not MIN_CODE <= padding <= MAX_CODE:
            raise ValueError(f"Padding must be between {MIN_CODE} and {MAX_CODE}, not {padding!r}")
        check_count("Maximum offset", max_offset, least=0)
        super().__init__()
        self.register_buffer("weight", weight.to(torch.int8).clone())
        self.requantize = requantize
        self._stride = stride
        self._padding = padding
        self._max_offset = max_offset
        self._weight_bits = weight_bits

    @property
    def channels(self) -> int:
        """C."""
        return self.weight.shape[0]

    @property
    def stride(self) -> int:
        """Distance of neighbouring results, in positions of the input."""
        return self._stride

    @property
    def padding(self) -> int:
        """Code of samples beyond the border."""
        return self._padding

    @property
    def max_offset(self) -> int:
        """Largest offset that is accepted."""
        return self._max_offset

    def accumulate(self, x: Tensor, offset: Tensor | None) -> Tensor:
        """Return the 24-bit sums as int32, (N, C, ceil(H/stride), ceil(W/stride)).

        Parameters
        ----------
        x : int8 tensor, (N, C, H, W)
        offset : integer tensor, (N, G, H, W), optional
            The dilation of each position, 0 to ``max_offset``; None for 1 everywhere, an ordinary convolution.
        """
        check_activations(x, self.channels)
        if offset is not None:
            check_integers("Offset", offset, 0, self._max_offset)
        windows = square_windows(x, offset, self._stride, self._padding).to(torch.int32)
        return (windows * self.weight.to(torch.int32)[:, :, None, None]).sum(2, dtype=torch.int32)

    def forward(self, x: Tensor, offset: Tensor | None) -> Tensor:
        """Return int8 codes; the arguments are those of :meth:`accumulate`."""
        return self.requantize(self.accumulate(x, offset))

    def extra_repr(self) -> str:
        """Say the geometry."""
        return (f"{self.channels}, stride={self._stride}, padding={self._padding}, max_offset={self._max_offset}, "
                f"weight_bits={self._weight_bits}")


class IntegerPointwise(nn.Module):
    """A 1x1 convolution, requantized.

    A sum is at most ``C * 128 * 2**(weight_bits - 1)``, for which :func:`sw.nn.max_inputs` bounds C.

    Parameters
    ----------
    weight : integer tensor, (K, C)
        Of K output and C input channels; kept as an int8 buffer.
    requantize : Requantize
        Of K channels.
    weight_bits : int, bits
        2 to 8.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range; in particular if 24 bits do not hold every sum.
    """

    def __init__(self, weight: Tensor, requantize: Requantize, *, weight_bits: int = 4) -> None:
        check_integers("Weight", weight)
        check_shape("Pointwise weight", weight, ("K", "C"))
        check_weights(weight, weight_bits, weight.shape[1])
        _check_channels(weight, requantize)
        super().__init__()
        self.register_buffer("weight", weight.to(torch.int8).clone())
        self.requantize = requantize
        self._weight_bits = weight_bits

    @property
    def in_channels(self) -> int:
        """C."""
        return self.weight.shape[1]

    @property
    def out_channels(self) -> int:
        """K."""
        return self.weight.shape[0]

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the 24-bit sums of int8 codes (N, C, H, W) as int32, (N, K, H, W)."""
        check_activations(x, self.in_channels)
        return pointwise_sums(self.weight, x)

    def forward(self, x: Tensor) -> Tensor:
        """Return int8 codes, (N, K, H, W)."""
        return self.requantize(self.accumulate(x))

    def extra_repr(self) -> str:
        """Say the geometry."""
        return f"{self.in_channels}, {self.out_channels}, weight_bits={self._weight_bits}"


class IntegerDeformableBlock(nn.Module):
    """A depthwise deformable 3x3 and a 1x1 convolution on int8 codes, with integer parameters.

    Parameters
    ----------
    depthwise : IntegerDepthwise
    pointwise : IntegerPointwise
    order : BlockOrder
        ``POINTWISE_FIRST`` makes the outputs of the 1x1 convolution the channels of the 3x3 one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the channels of the two do not fit.

    Source: CoDeNet (arXiv 2006.08357), section 4, and its released accelerator.
    """

    def __init__(self, depthwise: IntegerDepthwise, pointwise: IntegerPointwise, *,
                 order: BlockOrder = BlockOrder.DEPTHWISE_FIRST) -> None:
        if not isinstance(depthwise, IntegerDepthwise):
            raise TypeError(f"Depthwise convolution must be an IntegerDepthwise, not {type(depthwise).__name__!r}")
        if not isinstance(pointwise, IntegerPointwise):
            raise TypeError(f"Pointwise convolution must be an IntegerPointwise, not {type(pointwise).__name__!r}")
        check_member("Order", order, BlockOrder)
        between = pointwise.in_channels if order is BlockOrder.DEPTHWISE_FIRST else pointwise.out_channels
        if between != depthwise.channels:
            raise ValueError(f"Depthwise channels must be the {between} of the pointwise convolution, "
                             f"not {depthwise.channels}")
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise
        self._order = order

    @property
    def order(self) -> BlockOrder:
        """Which convolution comes first."""
        return self._order

    def forward(self, x: Tensor, offset: Tensor | None) -> Tensor:
        """Return int8 codes, (N, K, ceil(H/stride), ceil(W/stride)).

        Parameters
        ----------
        x : int8 tensor, (N, C, H, W)
        offset : integer tensor, (N, G, H, W), optional
            The dilation of each position, 0 to ``depthwise.max_offset``; G divides the channels of the depthwise
            convolution. None for 1 everywhere, an ordinary convolution.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong type, shape or range.
        """
        if self._order is BlockOrder.DEPTHWISE_FIRST:
            return self.pointwise(self.depthwise(x, offset))
        return self.depthwise(self.pointwise(x), offset)

    def extra_repr(self) -> str:
        """Say the order."""
        return f"order={self._order.value}"
