"""Depthwise convolution: for each channel of a group, the dot product of its window and its filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.dot import MAX_LANES, Dot
from sw.reference.model import Codes, Port, check_inputs

INT4, INT8 = FixedPointFormat(width=4), FixedPointFormat(width=8)


@dataclass(frozen=True, kw_only=True)
class DepthwiseConvolution:
    """``lanes`` dot products of ``taps`` samples with as many weights: channel l sums sample k of lane l over k.

    Sums, rounding and values that are no finite numbers follow the rules of :class:`sw.reference.dot.Dot`.

    Parameters
    ----------
    a, b : ScalarFormat
        Of the samples, and of the weights.
    lanes : int
        Channels in a group: 1 to 65,536.
    taps : int
        Samples of a window: 1 to 65,536, and lanes times taps no more than that.
    result : ScalarFormat, optional
        With None, the result is the exact sum, a two's complement integer of ``dot.sum_grid.width`` bits in units of
        ``2**dot.sum_exponent``. ``int24`` is the paper's accumulator, which holds every sum of up to 8191 products of
        int8 and int4.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If lanes or taps are out of range, the overflow policy does not apply to ``result``, or the random bits do not
        suit the rounding mode.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), depthwise 3x3 kernel, int8 samples and int4 weights.
    """

    lanes: int
    a: ScalarFormat = INT8
    b: ScalarFormat = INT4
    taps: int = 9
    result: ScalarFormat | None = None
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for noun, number in (("Lane count", self.lanes), ("Tap count", self.taps)):
            check_integer(noun, number)
            if not 1 <= number <= MAX_LANES:
                raise ValueError(f"{noun} must be between 1 and {MAX_LANES}, not {number!r}")
        if self.lanes * self.taps > MAX_LANES:
            raise ValueError(f"Lane count must be at most {MAX_LANES // self.taps} for {self.taps} taps, "
                             f"not {self.lanes!r}")
        _ = self.dot  # which checks the rest

    @cached_property
    def dot(self) -> Dot:
        """The dot product of one lane."""
        return Dot(a=self.a, b=self.b, result=self.result, lanes=self.taps, rounding=self.rounding,
                   overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``window`` and ``weights``, sample k of lane l at ``k * lanes + l``; ``random``, if stochastic."""
        count = self.lanes * self.taps
        return {"window": Port.of(self.a, count), "weights": Port.of(self.b, count),
                **{name: replace(port, lanes=self.lanes) for name, port in self.dot.inputs.items() if name == "random"}}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The sum of each lane, ``o``."""
        return {"o": replace(self.dot.outputs["o"], lanes=self.lanes)}

    def __call__(self, window: Sequence[int], weights: Sequence[int], random: Sequence[int] | None = None) -> list[int]:
        """Return the codes of the sums for the codes of one window.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or there are not as many as the ports have lanes.
        """
        for name, codes in (("window", window), ("weights", weights)):
            if len(codes) != self.lanes * self.taps:
                raise ValueError(f"Vector {name} must have {self.lanes * self.taps} codes, not {len(codes)}")
        bits = [0] * self.lanes if random is None else random
        if len(bits) != self.lanes:
            raise ValueError(f"Vector random must have {self.lanes} codes, not {len(bits)}")
        return [self.dot(window[lane::self.lanes], weights[lane::self.lanes], bits[lane]) for lane in range(self.lanes)]

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the sums for arrays of codes: the call of each window, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        vectors: dict[str, Codes] = {
            name: inputs[port].reshape(-1, self.taps, self.lanes).transpose(0, 2, 1).reshape(-1, self.taps)
            for name, port in (("a", "window"), ("b", "weights"))}
        if self.random_bits:
            vectors["random"] = inputs["random"].reshape(-1)
        return {"o": self.dot.evaluate(vectors)["o"].reshape(-1, self.lanes)}
