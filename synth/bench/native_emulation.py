"""A narrow, chunked accumulator as it is emulated with torch: float32 additions, each followed by a rounding."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from sw.formats import FloatingPointFormat

Round = Callable[[Any], Any]
"""Rounds every element of a float32 tensor in place, and returns it."""

_FRACTION_BITS, _BIAS = 23, 127
"""Of float32."""


class Ties(enum.Enum):
    """Where a number half way between two goes when it is rounded by its bits."""

    AWAY = "away"
    """Away from zero, as QPyTorch rounds to nearest: half of the last place is added, and the rest cut off."""
    EVEN = "even"
    """To the even one, as IEEE 754 and the circuits do."""


def chunked_matmul(a: Any, b: Any, chunk: int, rounded: Round) -> Any:
    """Return a product of float32 matrices whose sums are rounded after every addition, chunk by chunk.

    All elements of the result take their steps together: a loop over the inner dimension, and in each step a product,
    an addition and a rounding of the whole result. An unfinished chunk is added at the end.

    Parameters
    ----------
    a, b : float32 tensors of shapes (M, K) and (K, N)
        Their products must be exact in float32.
    chunk : int
        Products in a partial sum.
    rounded : callable
    """
    import torch

    total = torch.zeros(a.shape[0], b.shape[1])
    partial, product = torch.zeros_like(total), torch.empty_like(total)
    terms = a.shape[1]
    for k in range(terms):
        torch.mul(a[:, k, None], b[None, k], out=product)
        partial = rounded(partial.add_(product))
        if (k + 1) % chunk == 0 or k + 1 == terms:
            total = rounded(total.add_(partial))
            partial.zero_()
    return total


def by_library(fmt: FloatingPointFormat) -> Round:
    """Return a rounding by :func:`sw.quantize.fake_quantize`."""
    from sw.quantize import fake_quantize

    return lambda x: fake_quantize(x, fmt, out=x)


def by_bits(fmt: FloatingPointFormat, ties: Ties) -> Round:
    """Return a rounding on the bits of float32, written from the description of QPyTorch's ``float_quantize``.

    Half of the last place is added to the bits, and what lies below cut off. Subnormals get there by adding the
    smallest normal number, with their sign, and subtracting it again; numbers beyond the range become the largest one.
    NaN and infinities are not kept apart.

    Parameters
    ----------
    fmt : FloatingPointFormat
        With a range within that of float32's normal numbers, and all exponents but the highest finite.
    """
    import torch

    dropped = _FRACTION_BITS - fmt.fraction_bits
    half, mask = 1 << (dropped - 1), -(1 << dropped)
    largest, smallest = float(fmt.max_finite), float(fmt.smallest_normal)

    def nearest(x: Any) -> Any:
        bits = x.view(torch.int32)
        if ties is Ties.EVEN:
            bits += (bits >> dropped & 1) + (half - 1)
        else:
            bits += half
        bits &= mask
        return x

    def rounded(x: Any) -> Any:
        subnormal = x.abs() < smallest
        shift = torch.where(subnormal, torch.copysign(torch.tensor(smallest), x), 0.0)
        return nearest(x.add_(shift)).sub_(shift).clamp_(-largest, largest)

    return rounded
