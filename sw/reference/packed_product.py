"""Products of several integers with one that they share: what one multiplier may compute at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sw.formats import FixedPointFormat
from sw.formats.check import check_integer
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.packing import MAX_LANES
from sw.reference.value_array import decode_array, to_integers


@dataclass(frozen=True, kw_only=True)
class PackedMultiplication:
    """``a[0] * b``, ``a[1] * b``, ...: exact, as integers in units of the product of both last places.

    Parameters
    ----------
    a, b : FixedPointFormat
        Signed; of at most 30 bits each.
    lanes : int
        Codes of ``a``: 1 to 8.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a format is unsigned or too wide, or the lanes are out of range.
    """

    a: FixedPointFormat
    b: FixedPointFormat
    lanes: int = 2

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b)):
            if not isinstance(fmt, FixedPointFormat):
                raise TypeError(f"{noun} must be a FixedPointFormat, not {fmt!r}")
            if not fmt.signed or not 2 <= fmt.width <= 30:
                raise ValueError(f"{noun} must be signed and of 2 to 30 bits, not {fmt.name}")
        check_integer("Lane count", self.lanes)
        if not 1 <= self.lanes <= MAX_LANES:
            raise ValueError(f"Lane count must be between 1 and {MAX_LANES}, not {self.lanes!r}")

    @property
    def product(self) -> FixedPointFormat:
        """Format of a product."""
        return FixedPointFormat(width=self.a.width + self.b.width,
                                fraction_bits=self.a.fraction_bits + self.b.fraction_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` with its lanes, and ``b``."""
        return {"a": Port.of(self.a, self.lanes), "b": Port.of(self.b)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The product of each lane, ``o``."""
        return {"o": Port.of(self.product, self.lanes)}

    def __call__(self, a: Sequence[int], b: int) -> list[int]:
        """Return the codes of the products.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit, or there are not as many as lanes.
        """
        if len(a) != self.lanes:
            raise ValueError(f"Vector a must have {self.lanes} codes, not {len(a)}")
        return [self.a.integer(code) * self.b.integer(b) % (1 << self.product.width) for code in a]

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the products for arrays of codes: the call of each vector, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        a = to_integers(decode_array(self.a, inputs["a"].reshape(-1)), -self.a.fraction_bits).astype(np.int64)
        b = to_integers(decode_array(self.b, inputs["b"]), -self.b.fraction_bits).astype(np.int64)
        products = a.reshape(-1, self.lanes) * b[:, None]
        return {"o": (products & ((1 << self.product.width) - 1)).astype(np.uint64)}
