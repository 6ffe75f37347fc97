"""The register of an exact sum: what accumulators that round nothing before the end have in common."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from sw.formats import Special, Value
from sw.reference.accumulation import State
from sw.reference.cast import Cast
from sw.reference.model import Codes, Port
from sw.reference.value_array import ValueArray, from_integers, to_integers

_WORD_BITS = 62


@dataclass(frozen=True, kw_only=True)
class ExactRegister:
    """A two's complement register in units of ``2**exponent``, and what it remembers of terms that are no numbers.

    The rules for these terms and for a sum that does not fit are those of
    :class:`sw.reference.emac.ExactMultiplyAccumulate`.

    Parameters
    ----------
    width : int, bits
    exponent : int
    cast : Cast, optional
        The rounding at the end; with None, the result is the register.
    """

    width: int
    exponent: int
    cast: Cast | None

    @property
    def output(self) -> Port:
        """Port of the result."""
        return Port(width=self.width) if self.cast is None else Port.of(self.cast.result)

    # The definition, one transfer at a time.

    def results(self, transfers: Iterable[Mapping[str, Any]], *, start: Callable[[Mapping[str, Any]], Value],
                terms: Callable[[Mapping[str, Any]], Iterable[Value]]) -> list[int]:
        """Return the code of each result that transfers ask for, the register being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping of field name to code, or to a sequence of codes
        start, terms : callable
            From a transfer to what a sum starts from there, and to what it adds.
        """
        codes, total, others = [], Fraction(0), set[Special]()
        for transfer in transfers:
            if transfer["first"]:
                total, others = _split([start(transfer)])
            added, seen = _split(terms(transfer))
            total, others = self._wrapped(total + added), others | seen
            if transfer["last"]:
                codes.append(self._code(total, others, transfer.get("random", 0)))
        return codes

    def _wrapped(self, total: Fraction) -> Fraction:
        modulus = Fraction(2) ** (self.exponent + self.width)
        return (total + modulus / 2) % modulus - modulus / 2

    def _code(self, total: Fraction, others: set[Special], random: int) -> int:
        nan = Special.NAN in others or len(others) > 1
        if self.cast is not None:
            return self.cast.encode(Special.NAN if nan else next(iter(others), total), random)
        if others:
            return 1 << (self.width - 1)
        return int(total / Fraction(2) ** self.exponent) % (1 << self.width)

    # The same for many sequences at once: the register, and whether there has been a NaN, +infinity and -infinity.

    def zero(self, sequences: int) -> State:
        """Return the registers after a reset."""
        none = np.zeros(sequences, dtype=bool)
        return np.zeros(sequences, dtype=np.int64 if self._narrow else object), none, none, none

    def loaded(self, values: ValueArray) -> State:
        """Return registers that hold these values, one each."""
        return (self._register(to_integers(values, self.exponent)), values.nan, values.infinite & ~values.negative,
                values.infinite & values.negative)

    def added(self, state: State, values: ValueArray, terms: int = 1) -> State:
        """Return the registers after each has been given ``terms`` neighbouring values more."""
        register, *flags = state
        integers, *seen = self.loaded(values)
        total = register + integers.reshape(-1, terms).sum(axis=1)
        return self._wrap(total), *(before | now.reshape(-1, terms).any(axis=1)
                                    for before, now in zip(flags, seen, strict=True))

    def finish(self, state: State, random: Codes | None) -> dict[str, Codes]:
        """Return the codes of the results."""
        register, nan, above, below = state
        if self.cast is None:
            codes = np.where(nan | above | below, 1 << (self.width - 1), register.astype(object))
            codes = codes & ((1 << self.width) - 1)
            return {"o": codes.astype(np.uint64) if self.width <= 64 else codes}
        values = from_integers(register, self.exponent)
        nan = nan | (above & below)
        infinite = (above | below) & ~nan
        values = replace(values, nan=nan, infinite=infinite, negative=np.where(infinite, below, values.negative & ~nan),
                         significand=np.where(infinite | nan, 0, values.significand))
        return {"o": self.cast.codes(values, random)}

    @property
    def _narrow(self) -> bool:
        """Whether the register, and the sum of a transfer, fit a machine word."""
        return self.width <= _WORD_BITS

    def _register(self, integers: Codes) -> Codes:
        return integers.astype(np.int64 if self._narrow else object)

    def _wrap(self, register: Codes) -> Codes:
        half = 1 << (self.width - 1)
        return ((register + half) & (2 * half - 1)) - half


def _split(values: Iterable[Value]) -> tuple[Fraction, set[Special]]:
    """Return the sum of the finite values, and which others there are; the negative zero counts as zero."""
    total, others = Fraction(0), set[Special]()
    for value in values:
        if isinstance(value, Fraction):
            total += value
        elif value is not Special.NEGATIVE_ZERO:
            others.add(value)
    return total, others
