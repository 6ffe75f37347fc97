"""Requantization: sums of integer products become the next layer's integers, with a scale and a bias a channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from sw.formats import FixedPointFormat
from sw.formats.check import check_boolean, check_integer
from sw.reference.dot import MAX_LANES
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.value_array import decode_array, to_integers

MAX_FACTOR_BITS = 32
"""Most bits of a scale or a bias: twice what the published engine has."""

_WORD_BITS = 62

INT8, INT24 = FixedPointFormat(width=8), FixedPointFormat(width=24)


@dataclass(frozen=True, kw_only=True)
class Requantization:
    """``clamp(relu(((acc * scale + 2**(shift - 1)) >> shift) + bias) + offset)``, lane by lane.

    The scale, of which ``2**-shift`` is the last place, stands for the quotient of the scales of the sums and of the
    result; halves are rounded up. The bias is in units of the result, with the corrections for zero points folded into
    it. ``offset`` is the result's zero point, so that the ReLU, where there is one, cuts at the real zero.

    Scales are unsigned: a quotient of scales is positive, and a 16-bit one still fits the 18-bit operand of a
    multiplier that is signed, or the 16-bit one of a multiplier that need not be. (The published engine reads its 16
    bits as two's complement, of which it uses the positive half; its scales mean the same here.)

    Parameters
    ----------
    lanes : int
        1 to 65,536.
    accumulator : FixedPointFormat
        Of the sums: signed integers of full range.
    scale_bits : int, bits
        Of a scale, unsigned: 1 to 32.
    shift : int
        Places that the product is shifted right by: 0 to 62.
    bias_bits : int, bits
        Of a bias, two's complement: 1 to 32.
    result : FixedPointFormat
        Integers, signed or not. Sums beyond their range become its ends.
    offset : int, optional
        Within the range of ``result``, of which it is the lowest by default. There the clamp cuts where a ReLU would.
    relu : bool
        Whether negative numbers become zero before the offset is added.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a number is out of range, a format is not one of integers, or a product takes more than 62 bits.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), and the accelerator that its authors released
    (github.com/hqjenny/CoDeNet): 24-bit sums, scales and biases of 16 bits, a shift of 16, an offset of -128. Its
    ``hls/top/conv.h`` (commit e12f007) adds the half to negative products alone, and the offset with the ReLU alone.
    """

    lanes: int
    accumulator: FixedPointFormat = INT24
    scale_bits: int = 16
    shift: int = 16
    bias_bits: int = 16
    result: FixedPointFormat = INT8
    offset: int = None  # type: ignore[assignment]  # never None once constructed
    relu: bool = False

    def __post_init__(self) -> None:
        for noun, fmt in (("Accumulator", self.accumulator), ("Result format", self.result)):
            if not isinstance(fmt, FixedPointFormat):
                raise TypeError(f"{noun} must be a FixedPointFormat, not {fmt!r}")
            if fmt.fraction_bits:
                raise ValueError(f"{noun} must be one of integers, without fraction bits, not {fmt.name}")
        if not self.accumulator.signed or self.accumulator.narrow_range:
            raise ValueError(f"Accumulator must be signed, as sums are, and of full range, not {self.accumulator.name}")
        if self.offset is None:
            object.__setattr__(self, "offset", self.result.min_integer)
        for noun, number, low, high in (
                ("Lane count", self.lanes, 1, MAX_LANES), ("Scale bits", self.scale_bits, 1, MAX_FACTOR_BITS),
                ("Shift", self.shift, 0, _WORD_BITS), ("Bias bits", self.bias_bits, 1, MAX_FACTOR_BITS),
                ("Offset", self.offset, self.result.min_integer, self.result.max_integer)):
            check_integer(noun, number)
            if not low <= number <= high:
                raise ValueError(f"{noun} must be between {low} and {high}, not {number!r}")
        check_boolean("ReLU", self.relu)
        if self.accumulator.width + self.scale_bits > _WORD_BITS:
            raise ValueError(f"Accumulator must have at most {_WORD_BITS - self.scale_bits} bits for scales of "
                             f"{self.scale_bits} bits, not {self.accumulator.width!r}")

    @property
    def scale(self) -> FixedPointFormat:
        """Format of a scale, in units of ``2**-shift``."""
        return FixedPointFormat(width=self.scale_bits, signed=False)

    @property
    def bias(self) -> FixedPointFormat:
        """Format of a bias."""
        return FixedPointFormat(width=self.bias_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """The sums ``acc``, and the ``scale`` and ``bias`` of each lane."""
        return {"acc": Port.of(self.accumulator, self.lanes), "scale": Port.of(self.scale, self.lanes),
                "bias": Port.of(self.bias, self.lanes)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result of each lane, ``o``."""
        return {"o": Port.of(self.result, self.lanes)}

    def __call__(self, acc: Sequence[int], scale: Sequence[int], bias: Sequence[int]) -> list[int]:
        """Return the codes of the results for the codes of one vector.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit, or there is not one a lane.
        """
        for name, codes in (("acc", acc), ("scale", scale), ("bias", bias)):
            if len(codes) != self.lanes:
                raise ValueError(f"Vector {name} must have {self.lanes} codes, not {len(codes)}")
        return [self._code(*codes) for codes in zip(acc, scale, bias, strict=True)]

    def _code(self, acc: int, scale: int, bias: int) -> int:
        quotient = Fraction(self.accumulator.integer(acc) * self.scale.integer(scale), 1 << self.shift)
        # Halves are rounded up; a shift by nothing leaves none.
        number = floor(quotient + Fraction(1, 2)) + self.bias.integer(bias)
        return self.result.encode(Fraction((max(number, 0) if self.relu else number) + self.offset))

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results for arrays of codes: the call of each vector, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        acc, scale, bias = (
            to_integers(decode_array(fmt, inputs[name].reshape(-1)), 0).astype(np.int64)
            for name, fmt in (("acc", self.accumulator), ("scale", self.scale), ("bias", self.bias)))
        number = ((acc * scale + ((1 << self.shift) >> 1)) >> self.shift) + bias
        if self.relu:
            number = np.maximum(number, 0)
        number = np.clip(number + self.offset, self.result.min_integer, self.result.max_integer)
        codes = (number & ((1 << self.result.width) - 1)).astype(np.uint64)
        return {"o": codes.reshape(-1, self.lanes)}
