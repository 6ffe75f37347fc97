"""Dot products over lanes: exact and rounded once, alone or added to a rounded accumulator."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, is_zero
from sw.formats.check import check_boolean, check_integer
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.accumulator_width import Grid, sum_grid
from sw.reference.cast import Cast
from sw.reference.lane_sum import lane_total, sum_lanes
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.multiply import product
from sw.reference.value_array import ValueArray, add_arrays, decode_array, multiply_arrays, to_integers

MAX_LANES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Dot:
    """Dot product of ``lanes`` codes of ``a`` with as many of ``b``, rounded once to a code of ``result``.

    The result is NaN if an operand is, for a product of infinity and zero, and for infinities of both signs; otherwise
    infinite if a product is. A sum that is exactly zero is the positive zero, in every rounding mode.

    Parameters
    ----------
    a, b : ScalarFormat
    result : ScalarFormat, optional
        With None, the result is the exact sum: a two's complement integer in units of ``2**sum_exponent``, whose most
        negative code stands for a sum that is no finite number.
    lanes : int
        1 to 65,536.
    rounding : RoundingMode
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
    """

    a: ScalarFormat
    b: ScalarFormat
    result: ScalarFormat | None
    lanes: int
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        _check_formats(("Format a", self.a), ("Format b", self.b))
        if self.result is not None:
            _check_formats(("Result format", self.result))
        _check_lanes(self.lanes)
        if self.result is None and (self.random_bits or self.rounding is RoundingMode.STOCHASTIC):
            raise ValueError("Rounding mode must not be stochastic without a result format, as nothing is rounded")
        _ = self.sum_grid, self.cast  # refuse what is too wide, and what does not suit the result

    @cached_property
    def sum_grid(self) -> Grid:
        """What the exact sum may be."""
        return sum_grid(self.a, self.b, terms=self.lanes)

    @property
    def sum_exponent(self) -> int:
        """The exact sum is a whole multiple of 2 to this power."""
        return self.sum_grid.exponent

    @cached_property
    def cast(self) -> Cast | None:
        """The rounding at the end; None where the result is the exact sum."""
        if self.result is None:
            return None
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b`` with their lanes; ``random`` if stochastic."""
        return {"a": Port.of(self.a, self.lanes), "b": Port.of(self.b, self.lanes),
                **({} if self.cast is None else self.cast.random_ports)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": Port(width=self.sum_grid.width) if self.result is None else Port.of(self.result)}

    def __call__(self, a: Sequence[int], b: Sequence[int], random: int = 0) -> int:
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
        total = lane_total(product(self.a.decode(x), self.b.decode(y)) for x, y in zip(a, b, strict=True))
        if self.cast is not None:
            return self.cast.encode(total, random)
        width = self.sum_grid.width
        if not isinstance(total, Fraction):
            return 1 << (width - 1)
        return int(total / Fraction(2) ** self.sum_exponent) % (1 << width)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results for arrays of codes: the call of each vector, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        check_inputs(self.inputs, inputs)
        total = sum_lanes(_products(self.a, self.b, inputs), self.lanes)
        if self.cast is not None:
            return {"o": self.cast.codes(total, inputs.get("random"))}
        width = self.sum_grid.width
        integers = to_integers(total, self.sum_exponent).astype(object)
        codes = np.where(total.nan | total.infinite, 1 << (width - 1), integers) & ((1 << width) - 1)
        return {"o": codes.astype(np.uint64) if width <= 64 else codes}


@dataclass(frozen=True, kw_only=True)
class DotAccumulate:
    """Dot products added to an accumulator of a narrow format: one rounding a transfer, of the sum of everything.

    Each transfer makes ``accumulator = round(accumulator + exact dot product)``; transfers are framed as
    :mod:`sw.reference.accumulation` says, and the result is the accumulator's code. Sums with NaN and infinities follow
    the rules of :class:`Dot`, the accumulator being one more term; an exact sum of zero is the positive zero.

    Parameters
    ----------
    a, b : ScalarFormat
    accumulator : ScalarFormat
    lanes : int
        1 to 65,536.
    preload : bool
        Whether a sum starts from the accumulator's code in the field ``c`` of a transfer with ``first``, not from zero.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes, in the field ``random`` of every transfer; 0 for every
        other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the lanes are out of range, the accumulator has no zero, the overflow policy does not apply to it, or the
        random bits do not suit the rounding mode.
    """

    a: ScalarFormat
    b: ScalarFormat
    accumulator: ScalarFormat
    lanes: int
    preload: bool = False
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        _check_formats(("Format a", self.a), ("Format b", self.b), ("Accumulator format", self.accumulator))
        _check_lanes(self.lanes)
        check_boolean("Preload", self.preload)
        if not is_zero(self.accumulator.decode(0)):
            raise ValueError("Accumulator format must have a zero, from which a sum starts, "
                             f"not {self.accumulator.name}")
        _ = self.sum_grid, self.cast  # refuse what is too wide, and what does not suit the accumulator

    @cached_property
    def sum_grid(self) -> Grid:
        """What the exact sum of the accumulator and a transfer's products may be."""
        return sum_grid(self.a, self.b, terms=self.lanes, c=self.accumulator)

    @cached_property
    def cast(self) -> Cast:
        """The rounding of each sum."""
        return Cast(result=self.accumulator, rounding=self.rounding, overflow=self.overflow,
                    random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b`` with their lanes, ``first`` and ``last``; ``c`` with a preload, ``random`` if stochastic."""
        return {"a": Port.of(self.a, self.lanes), "b": Port.of(self.b, self.lanes),
                **({"c": Port.of(self.accumulator)} if self.preload else {}), "first": FLAG, "last": FLAG,
                **self.cast.random_ports}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The accumulator, ``o``."""
        return {"o": Port.of(self.accumulator)}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the code of each result that transfers ask for, the accumulator being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code; to a sequence of codes for ``a`` and ``b``.
        """
        codes, code = [], 0
        for transfer in transfers:
            if transfer["first"]:
                code = transfer["c"] if self.preload else 0
            products = (product(self.a.decode(x), self.b.decode(y))
                        for x, y in zip(transfer["a"], transfer["b"], strict=True))
            total = lane_total([self.accumulator.decode(code), *products])
            code = self.cast.encode(total, transfer.get("random", 0))
            if transfer["last"]:
                codes.append(code)
        return codes

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the accumulator after a reset."""
        return (np.zeros(sequences, dtype=np.uint64),)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the accumulator from which a sum starts."""
        return (inputs["c"].astype(np.uint64),) if self.preload else self.zero(len(inputs["first"]))

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the accumulator after one more transfer."""
        total = add_arrays(decode_array(self.accumulator, state[0]),
                           sum_lanes(_products(self.a, self.b, inputs), self.lanes), toward_negative=False)
        unsigned_zero = ValueArray(negative=total.negative & ~total.zero, significand=total.significand,
                                   exponent=total.exponent, infinite=total.infinite, nan=total.nan, jammed=total.jammed)
        return (self.cast.codes(unsigned_zero, inputs.get("random")),)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the accumulator."""
        return {"o": state[0]}


def _products(a: ScalarFormat, b: ScalarFormat, inputs: Mapping[str, Codes]) -> ValueArray:
    return multiply_arrays(decode_array(a, inputs["a"].reshape(-1)), decode_array(b, inputs["b"].reshape(-1)))


def _check_formats(*formats: tuple[str, object]) -> None:
    for noun, fmt in formats:
        if not isinstance(fmt, ScalarFormat):
            raise TypeError(f"{noun} must be a scalar format, as sw.formats.parse('e4m3') gives, not {fmt!r}")


def _check_lanes(lanes: int) -> None:
    check_integer("Lane count", lanes)
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"Lane count must be between 1 and {MAX_LANES}, not {lanes!r}")
