"""The dot product of two blocks, exactly, on codes: the operation that OCP MX 1.0 defines on block formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, ScalarFormat, Value, is_zero, parse
from sw.reference.cast import Cast
from sw.reference.lane_sum import lane_total, sum_lanes
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.multiply import product
from sw.reference.value_array import ValueArray, decode_array, multiply_arrays

FLOAT32 = parse("float32_e8m23")


@dataclass(frozen=True, kw_only=True)
class BlockDot:
    """Dot product of a block of format ``a`` with one of format ``b``, rounded once to a code of ``result``.

    The exact sum of the elements' products, times both scales. Tensor scales are no part of it: they multiply whole
    tensors of results (NVFP4, MLS).

    The result is NaN if an element or a scale is NaN, for infinity times zero (of an element by an element, or of the
    sum by a scale of zero), and for a sum of infinities of both signs; otherwise infinite if an element is. A result
    that is exactly zero is the positive zero. What ``result`` makes of NaN and infinity, ``overflow`` decides.

    Parameters
    ----------
    a, b : BlockFormat
        Of the same block size.
    result : ScalarFormat
        float32 by default.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the block sizes differ, the overflow policy does not apply to ``result``, or the random
        bits do not suit the rounding mode.

    Source: OCP Microscaling Formats (MX) Specification 1.0, Dot; it leaves internal precision and order to the
    implementation, and exact is what needs neither.
    """

    a: BlockFormat
    b: BlockFormat
    result: ScalarFormat = FLOAT32
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for name, fmt in (("a", self.a), ("b", self.b)):
            if not isinstance(fmt, BlockFormat):
                raise TypeError(f"Format of operand {name} must be a BlockFormat, as sw.formats.parse_block('mxfp4') "
                                f"gives, not {fmt!r}")
        if not isinstance(self.result, ScalarFormat):
            raise TypeError(f"Result format must be a scalar one, as sw.formats.parse('bfloat16') gives, "
                            f"not {self.result!r}")
        if self.a.block_size != self.b.block_size:
            raise ValueError(f"Block sizes must be equal, not {self.a.block_size} of {self.a.name} and "
                             f"{self.b.block_size} of {self.b.name}; block_size= changes one")
        _ = self.cast  # refuses what does not suit the result

    @cached_property
    def cast(self) -> Cast:
        """The rounding at the end."""
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b``, with a lane for each element, ``a_scale`` and ``b_scale``; ``random`` if stochastic."""
        return {"a": Port.of(self.a.element, self.a.block_size), "b": Port.of(self.b.element, self.b.block_size),
                "a_scale": Port.of(self.a.scale), "b_scale": Port.of(self.b.scale), **self.cast.random_ports}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": Port.of(self.result)}

    def exact(self, a: Sequence[int], b: Sequence[int], a_scale: int, b_scale: int) -> Value:
        """Return the value that is rounded, for the elements' codes of two blocks and the codes of their scales.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or a block has not as many elements as the format
            says.
        """
        for name, codes in (("a", a), ("b", b)):
            if len(codes) != self.a.block_size:
                raise ValueError(f"Block {name} must have {self.a.block_size} elements, not {len(codes)}")
        total = lane_total(product(self.a.element.decode(x), self.b.element.decode(y))
                           for x, y in zip(a, b, strict=True))
        scaled = product(total, product(self.a.scale.decode(a_scale), self.b.scale.decode(b_scale)))
        return Fraction(0) if is_zero(scaled) else scaled

    def __call__(self, a: Sequence[int], b: Sequence[int], a_scale: int, b_scale: int, random: int = 0) -> int:
        """Return the result's code for the elements' codes of two blocks and the codes of their scales.

        Raises
        ------
        TypeError, ValueError
            As :meth:`exact` does, or if ``random`` does not fit the random bits.
        """
        return self.cast.encode(self.exact(a, b, a_scale, b_scale), random)

    def exact_array(self, inputs: Mapping[str, Codes]) -> ValueArray:
        """Return the values that are rounded, for arrays of input codes: :meth:`exact` of each vector, all at once."""
        products = multiply_arrays(decode_array(self.a.element, inputs["a"].ravel()),
                                   decode_array(self.b.element, inputs["b"].ravel()))
        total = sum_lanes(products, self.a.block_size)
        scale = multiply_arrays(decode_array(self.a.scale, inputs["a_scale"]),
                                decode_array(self.b.scale, inputs["b_scale"]))
        scaled = multiply_arrays(total, scale)
        return replace(scaled, negative=scaled.negative & ~scaled.zero)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the result's codes for arrays of input codes: the call of each vector, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        return {"o": self.cast.codes(self.exact_array(inputs), inputs.get("random"))}
