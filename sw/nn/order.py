"""The order of the two convolutions that a depthwise separable one consists of."""

from enum import Enum


class BlockOrder(Enum):
    """Which of the two convolutions of a block comes first."""

    DEPTHWISE_FIRST = "depthwise-first"
    """3x3, then 1x1: the published operator."""
    POINTWISE_FIRST = "pointwise-first"
    """1x1, then 3x3: one call of the released accelerator, and the published ablation."""
