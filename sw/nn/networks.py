"""Small image classifiers for 8×8 digits: a plain CNN, a residual one, and a vision transformer.

They are narrow on purpose: a network with room to spare hides what a format of 3 or 4 bits does to it. All of them
take images of shape (batch, 1, 8, 8), return logits of shape (batch, 10), and can be traced by ``torch.fx``.
"""

import torch
from torch import Tensor, nn

from sw.ptq.checks import check_count

DIGIT_SIZE = 8
DIGIT_CLASSES = 10


def digits_cnn(width: int = 8) -> nn.Sequential:
    """Return three convolutions with biases and one linear layer, without any normalisation.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the others have twice as many.

    Raises
    ------
    TypeError, ValueError
        If the width is not a positive integer.
    """
    check_count("Width", width)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * (DIGIT_SIZE // 4) ** 2, DIGIT_CLASSES))


class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise 3×3, linear pointwise projection, each with batch normalisation.

    The input is added to the output where the two have one shape.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    expansion : int
        Channels of the depthwise convolution for each input channel.
    stride : int
        Stride of the depthwise convolution.

    Source
    ------
    Sandler et al., MobileNetV2, CVPR 2018, figure 4d.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int = 2, stride: int = 1) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for ``x`` of shape (batch, inputs, height, width)."""
        y = self.body(x)
        return x + y if self.residual else y


def digits_residual(width: int = 8) -> nn.Sequential:
    """Return a stem and four inverted residual blocks: depthwise convolutions, residuals, batch normalisation.

    Parameters
    ----------
    width : int
        Channels of the stem; the last two blocks have twice as many.

    Raises
    ------
    TypeError, ValueError
        If the width is not a positive integer.
    """
    check_count("Width", width)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        InvertedResidual(width, width),
        InvertedResidual(width, 2 * width, stride=2),
        InvertedResidual(2 * width, 2 * width),
        InvertedResidual(2 * width, 2 * width, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, DIGIT_CLASSES))


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a layer normalisation and inside a residual.

    Parameters
    ----------
    width : int
        Length of a token.
    heads : int
        Attention heads; they divide the width.
    hidden : int
        Neurons of the perceptron.

    Source
    ------
    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, equations 2 and 3.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for ``x`` of shape (batch, tokens, width)."""
        y = self.attention_norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.perceptron(self.perceptron_norm(x))


class DigitsTransformer(nn.Module):
    """A vision transformer: patches of 2×2 pixels, learned positions, blocks, the mean of the tokens, a classifier.

    Parameters
    ----------
    width, heads, hidden : int
        See :class:`TransformerBlock`.
    depth : int
        Number of blocks.
    """

    def __init__(self, width: int, heads: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (DIGIT_SIZE // 2) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, DIGIT_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (batch, 10) for images of shape (batch, 1, 8, 8)."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.classifier(self.norm(self.blocks(x)).mean(1))


def digits_vit(width: int = 24, *, heads: int = 3, depth: int = 2) -> DigitsTransformer:
    """Return a vision transformer of 16 tokens.

    Parameters
    ----------
    width : int
        Length of a token; the perceptrons have twice as many neurons.
    heads : int
        Attention heads; they must divide the width.
    depth : int
        Number of blocks.

    Raises
    ------
    TypeError, ValueError
        If a number is not a positive integer, or the heads do not divide the width.
    """
    for noun, value in (("Width", width), ("Heads", heads), ("Depth", depth)):
        check_count(noun, value)
    if width % heads:
        raise ValueError(f"Heads must divide the width {width}, not {heads!r}")
    return DigitsTransformer(width, heads, 2 * width, depth)
