"""Dot product of 4-bit integers and radix-4 floats without fraction bits: shifts, one sum, one rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, ScalarFormat, parse
from sw.formats.check import check_integer
from sw.reference.cast import Cast
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.value_array import from_integers

MAX_LANES = 1 << 12

INT4 = parse("int4")
FP4_EVEN = parse("radix4_fp4_even")
FP4_ODD = parse("radix4_fp4_odd")
DLFLOAT16 = parse("dlfloat16")


@dataclass(frozen=True, kw_only=True)
class Int4Fp4Dot:
    """Dot product of ``lanes`` INT4 codes ``a`` and FP4 codes ``b``, exact and then rounded once.

    The phase of the FP4 codes is an input: with ``odd``, they are of ``radix4_fp4_odd``, every value of which is half
    that of ``radix4_fp4_even``. A sum of zero is the positive zero.

    Parameters
    ----------
    lanes : int
        1 to 4096.
    result : ScalarFormat
        By default 1-6-9 as DLFloat reads it; ``float16_e6m9`` is the reading of IEEE 754.
    rounding : RoundingMode
        DLFloat's own, to nearest and in the middle up, is ``NEAREST_AWAY``.
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the lanes are out of range, the overflow policy does not apply to ``result``, or the random bits do not suit
        the rounding mode.

    Source: Sun et al. 2020, Ultra-Low Precision 4-bit Training of Deep Neural Networks: INT4 weights and activations,
    gradients quantized twice to radix-4 FP4, in two phases.
    """

    lanes: int = 4
    result: ScalarFormat = DLFLOAT16
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        check_integer("Lanes", self.lanes)
        if not 1 <= self.lanes <= MAX_LANES:
            raise ValueError(f"Lanes must be between 1 and {MAX_LANES}, not {self.lanes!r}")
        if not isinstance(self.result, ScalarFormat):
            raise TypeError(f"Result format must be a scalar format, not {self.result!r}")
        _ = self.cast  # refuses what does not suit the result

    @cached_property
    def cast(self) -> Cast:
        """The rounding at the end."""
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def sum_format(self) -> FixedPointFormat:
        """The smallest format that holds every sum of the even phase: 19 bits for 4 lanes."""
        return FixedPointFormat(width=17 + (self.lanes - 1).bit_length(), fraction_bits=6)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b`` with their lanes, ``odd``; ``random`` if stochastic."""
        return {"a": Port.of(INT4, self.lanes), "b": Port.of(FP4_EVEN, self.lanes), "odd": Port(width=1),
                **self.cast.random_ports}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": Port.of(self.result)}

    def __call__(self, a: Sequence[int], b: Sequence[int], odd: int, random: int = 0) -> int:
        """Return the result's code for the codes of two vectors.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, a vector has not as many codes as there are lanes,
            or ``random`` does not fit the random bits.
        """
        for name, codes in (("a", a), ("b", b)):
            if len(codes) != self.lanes:
                raise ValueError(f"Vector {name} must have {self.lanes} codes, not {len(codes)}")
        total, gradients = Fraction(0), FP4_ODD if odd else FP4_EVEN
        for weight, gradient in zip(a, b, strict=True):
            x, y = INT4.decode(weight), gradients.decode(gradient)
            if isinstance(x, Fraction) and isinstance(y, Fraction):  # the other is a negative zero
                total += x * y
        return self.cast.encode(total, random)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results for arrays of codes: the call of each vector, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        a, b, odd = (inputs[name].astype(np.int64) for name in ("a", "b", "odd"))
        weight, field = a - ((a >> 3) << 4), b & 7
        terms = np.where(field == 0, 0, weight << 2 * np.maximum(field - 1, 0))  # in units of 2**-6
        total: NDArray[np.int64] = np.where(b >> 3 == 1, -terms, terms).sum(axis=1)
        # In units of the odd phase, which are half as large.
        values = from_integers(np.where(odd == 1, total, 2 * total), -self.sum_format.fraction_bits - 1)
        return {"o": self.cast.codes(values, inputs.get("random"))}
