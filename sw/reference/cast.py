"""The cast: one rounding of an exact value to a code of a format, with which every operation ends."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sw.formats import FloatingPointFormat, OverflowPolicy, RandomBits, RoundingMode, ScalarFormat, Value
from sw.formats.check import check_integer, check_member
from sw.reference.encode_array import encode_array
from sw.reference.model import Codes, Port
from sw.reference.value_array import SIGNIFICAND_BITS, ValueArray

MAX_RANDOM_BITS = 64

Observer: TypeAlias = Callable[["Cast", ValueArray, Codes | None, NDArray[np.uint64]], None]
"""Told of every array that is rounded: the cast, the exact values, the random bits and the codes."""

_observer: ContextVar[Observer | None] = ContextVar("_observer", default=None)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell ``observer`` of every :meth:`Cast.codes` within the block, wherever an operation makes it.

    A second implementation of rounding is compared so with each rounding that the reference of any operation does,
    inner ones of an accumulation included.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Rounding to a code of ``result``.

    Parameters
    ----------
    result : ScalarFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the overflow policy does not apply to ``result``, or the random bits do not suit the rounding mode.
    """

    result: ScalarFormat
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        check_member("Rounding mode", self.rounding, RoundingMode)
        check_integer("Random bit count", self.random_bits)
        self.result.check_overflow(self.overflow)
        stochastic = self.rounding is RoundingMode.STOCHASTIC
        if stochastic and not 1 <= self.random_bits <= MAX_RANDOM_BITS:
            raise ValueError(f"Random bit count must be between 1 and {MAX_RANDOM_BITS} for stochastic rounding, "
                             f"not {self.random_bits!r}")
        if not stochastic and self.random_bits:
            raise ValueError(f"Random bit count must be 0 for {self.rounding.value} rounding, "
                             f"not {self.random_bits!r}")

    @property
    def needs_exact(self) -> bool:
        """Whether codes may depend on more bits of a value than the ``SIGNIFICAND_BITS`` that a jammed one has."""
        precision = self.result.fraction_bits + 1 if isinstance(self.result, FloatingPointFormat) else self.result.width
        return self.overflow.wraps or precision + max(1, self.random_bits) + 2 > SIGNIFICAND_BITS

    @property
    def random_ports(self) -> dict[str, Port]:
        """The port ``random`` of a stochastic rounding; nothing otherwise."""
        return {"random": Port(width=self.random_bits)} if self.random_bits else {}

    def encode(self, value: Value, random: int = 0) -> int:
        """Return the code of an exact value.

        Raises
        ------
        TypeError, ValueError
            If ``random`` is not an integer, or does not fit the random bits.
        """
        bits = RandomBits(value=operator.index(random), count=self.random_bits) if self.random_bits else None
        return self.result.encode(value, rounding=self.rounding, overflow=self.overflow, random=bits)

    def codes(self, values: ValueArray, random: Codes | None = None) -> NDArray[np.uint64]:
        """Return the codes of an array of values: :meth:`encode` of each, all at once.

        Jammed values are welcome unless :attr:`needs_exact`.
        """
        random = random if self.random_bits else None
        codes = encode_array(self.result, values, rounding=self.rounding, overflow=self.overflow, random=random,
                             random_bits=self.random_bits)
        observer = _observer.get()
        if observer is not None:
            observer(self, values, random, codes)
        return codes
