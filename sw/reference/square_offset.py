"""The offset of a square deformable convolution: a 1 x 1 convolution to one channel, rounded and clamped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Any

import numpy as np

from sw.formats import FixedPointFormat
from sw.formats.check import check_integer
from sw.reference.accumulation import AccumulatorRun, State
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.map_windows import MAX_OFFSET
from sw.reference.model import Codes, Port
from sw.reference.value_array import decode_array, to_integers

MAX_FACTOR_BITS = 32
"""Most bits of a scale or a bias."""

_WORD_BITS = 62

INT4, INT8 = FixedPointFormat(width=4), FixedPointFormat(width=8)


@dataclass(frozen=True, kw_only=True)
class SquareOffset:
    """``clamp(floor(sum * scale + bias + 1/2), min_offset, max_offset)`` of a sum of products of integers.

    Transfers hold ``lanes`` channels of a pixel and their weights, and are framed as :mod:`sw.reference.accumulation`
    says: ``first`` and ``last`` on the first and last group of a pixel's channels. Scale and bias, both in units of
    ``2**-fraction_bits``, are those of the transfer with ``last``. Halves are rounded up.

    Parameters
    ----------
    a, b : FixedPointFormat
        Of a channel and of a weight: integers.
    lanes : int
        Channels of a transfer.
    terms : int
        Channels of a pixel at most, a multiple of the lanes or not: no sum of so many products wraps.
    scale_bits : int, bits
        Of the scale, unsigned: 1 to 32.
    bias_bits : int, bits
        Of the bias, two's complement: 1 to 32.
    fraction_bits : int
        Of both: 0 to 32.
    min_offset, max_offset : int
        Least and largest result, 0 to 15.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or the product of a sum and a scale takes more than
        62 bits.

    Source: CoDeNet (arXiv 2006.08357): one offset a position, bounded and rounded. Its network clamps to -7 to 8, and
    its circuit reads offsets as unsigned numbers.
    """

    a: FixedPointFormat = INT8
    b: FixedPointFormat = INT4
    lanes: int
    terms: int
    scale_bits: int = 16
    bias_bits: int = 24
    fraction_bits: int = 16
    min_offset: int = 0
    max_offset: int = 7

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b)):
            if not isinstance(fmt, FixedPointFormat):
                raise TypeError(f"{noun} must be a FixedPointFormat, not {fmt!r}")
            if fmt.fraction_bits:
                raise ValueError(f"{noun} must be one of integers, without fraction bits, not {fmt.name}")
        for noun, number, low, high in (
                ("Scale bits", self.scale_bits, 1, MAX_FACTOR_BITS), ("Bias bits", self.bias_bits, 1, MAX_FACTOR_BITS),
                ("Fraction bits", self.fraction_bits, 0, MAX_FACTOR_BITS),
                ("Max offset", self.max_offset, 1, MAX_OFFSET), ("Min offset", self.min_offset, 0, self.max_offset)):
            check_integer(noun, number)
            if not low <= number <= high:
                raise ValueError(f"{noun} must be between {low} and {high}, not {number!r}")
        if self.sum.width + self.scale_bits > _WORD_BITS:
            raise ValueError(f"Scale bits must be at most {_WORD_BITS - self.sum.width} for sums of {self.sum.width} "
                             f"bits, not {self.scale_bits!r}")

    @cached_property
    def sum(self) -> ExactMultiplyAccumulate:
        """The sum of products, as an integer."""
        return ExactMultiplyAccumulate(a=self.a, b=self.b, result=None, terms=self.terms, lanes=self.lanes)

    @property
    def scale(self) -> FixedPointFormat:
        """Format of a scale, in units of its last place."""
        return FixedPointFormat(width=self.scale_bits, signed=False)

    @property
    def bias(self) -> FixedPointFormat:
        """Format of a bias, in units of its last place."""
        return FixedPointFormat(width=self.bias_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b`` with their lanes, ``first`` and ``last``, ``scale`` and ``bias``."""
        return {**self.sum.inputs, "scale": Port.of(self.scale), "bias": Port.of(self.bias)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The offset, ``o``."""
        return {"o": Port(width=self.max_offset.bit_length(), limit=self.max_offset + 1)}

    # The definition, one transfer at a time.

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the offset of each pixel whose last transfer is there, the sum being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code; to a sequence of codes for ``a`` and ``b``.
        """
        taken = list(transfers)
        ends = [transfer for transfer in taken if transfer["last"]]
        half, offsets = 1 << (self.sum.width - 1), []
        for code, end in zip(self.sum.results(taken), ends, strict=True):
            total = (code ^ half) - half
            value = Fraction(total * self.scale.integer(end["scale"]) + self.bias.integer(end["bias"]),
                             2**self.fraction_bits)
            offsets.append(min(max(floor(value + Fraction(1, 2)), self.min_offset), self.max_offset))
        return offsets

    # The same for many sequences at once: the sum's own registers.

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the sum after a reset."""
        return self.sum.zero(sequences)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the sum from which a pixel starts."""
        return self.sum.initial(inputs)

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the sum after one more transfer."""
        return self.sum.accumulate(state, inputs)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the offsets, were ``inputs`` the last transfers of their pixels."""
        scale, bias = (to_integers(decode_array(fmt, inputs[name]), 0).astype(np.int64)
                       for name, fmt in (("scale", self.scale), ("bias", self.bias)))
        total = state[0].astype(np.int64) * scale + bias + ((1 << self.fraction_bits) >> 1)
        return {"o": np.clip(total >> self.fraction_bits, self.min_offset, self.max_offset).astype(np.uint64)}
