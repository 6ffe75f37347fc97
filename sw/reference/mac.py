"""Fixed-point multiply-accumulate: a register of chosen width that wraps, and one cast at the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode
from sw.formats.check import check_integer
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.accumulator_width import sum_grid
from sw.reference.cast import Cast
from sw.reference.model import Codes, Port
from sw.reference.value_array import decode_array, from_integers, to_integers

MAX_WIDTH = 64
"""Widest register, in bits: that of a fixed-point format."""

_WORD_BITS = 62


@dataclass(frozen=True, kw_only=True)
class MultiplyAccumulate:
    """Sums of products of a code of ``a`` and one of ``b``, cast once to a code of ``result``.

    The register has the products' binary point, so that nothing is rounded before the cast, and wraps modulo two to
    its width, as the register of a DSP block does: a sum that leaves its range and comes back is right. Transfers are
    framed as :mod:`sw.reference.accumulation` says.

    Parameters
    ----------
    a, b : FixedPointFormat
    result : FixedPointFormat
    c : FixedPointFormat, optional
        Format of what a sum starts from, in the field ``c`` of transfers with ``first``; without it, from zero.
        Its binary point lies no further right than that of the products.
    terms : int, optional
        How many products a sum has at most. Products of every code are counted, those that a narrow range leaves
        out too.
    accumulator : FixedPointFormat, optional
        The register; with ``fraction_bits`` of both operands together. By default the narrowest one in which no sum
        of ``terms`` products wraps. One of the two must be given.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If neither ``terms`` nor ``accumulator`` is given, the register is too narrow for ``terms`` products, would
        have to be wider than 64 bits, or is of another binary point or signedness than the sums, the preload does not
        fall on its grid, the overflow policy does not apply to ``result``, or the random bits do not suit the rounding
        mode.

    Source: Gupta et al. 2015 (arXiv 1502.02551), MACC and Convert; ``ap_fixed`` of AMD UG1399 for the cast.
    """

    a: FixedPointFormat
    b: FixedPointFormat
    result: FixedPointFormat
    c: FixedPointFormat | None = None
    terms: int | None = None
    accumulator: FixedPointFormat = None  # type: ignore[assignment]  # never None once constructed
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b), ("Result format", self.result),
                          ("Preload format", self.c), ("Accumulator", self.accumulator)):
            optional = fmt is None and noun in ("Preload format", "Accumulator")
            if not isinstance(fmt, FixedPointFormat) and not optional:
                raise TypeError(f"{noun} must be a FixedPointFormat, not {fmt!r}; ExactMultiplyAccumulate takes any "
                                "format")
        point = self.a.fraction_bits + self.b.fraction_bits
        if self.c is not None and self.c.fraction_bits > point:
            raise ValueError(f"Preload format must have at most the {point} fraction bits of the products, "
                             f"not {self.c.fraction_bits!r}")
        if self.terms is None and self.accumulator is None:
            raise ValueError("Term count must be given where there is no accumulator, not None")
        needed = None if self.terms is None else self._needed_width(self.terms)
        if self.accumulator is None:
            assert needed is not None
            if needed > MAX_WIDTH:
                raise ValueError(f"Accumulator must have at most {MAX_WIDTH} bits, not the {needed} that {self.terms} "
                                 f"products of {self.a.name} and {self.b.name} take; ExactMultiplyAccumulate has "
                                 "wider ones")
            object.__setattr__(self, "accumulator", FixedPointFormat(
                width=needed, fraction_bits=point, signed=self.is_signed))
        self._check_accumulator(point, needed)
        _ = self.cast  # refuses what does not suit the result

    def _check_accumulator(self, point: int, needed: int | None) -> None:
        register = self.accumulator
        if register.fraction_bits != point:
            raise ValueError(f"Accumulator must have the {point} fraction bits of the products, "
                             f"not {register.fraction_bits!r}")
        if register.signed != self.is_signed or register.narrow_range:
            raise ValueError(f"Accumulator must be {'signed' if self.is_signed else 'unsigned'}, as the sums are, and "
                             f"of full range, not {register.name}")
        if needed is not None and register.width < needed:
            raise ValueError(f"Accumulator must have at least {needed} bits for {self.terms} products of "
                             f"{self.a.name} and {self.b.name}{f' onto {self.c.name}' if self.c else ''}, "
                             f"not {register.width!r}")

    @property
    def is_signed(self) -> bool:
        """Whether an operand or the preload is signed, and so the register."""
        return self.a.signed or self.b.signed or (self.c is not None and self.c.signed)

    def _needed_width(self, terms: int) -> int:
        """Bits of the narrowest register in which no sum of ``terms`` products wraps, whatever the codes."""
        check_integer("Term count", terms)
        a, b, c = (fmt if fmt is None else replace(fmt, narrow_range=False) for fmt in (self.a, self.b, self.c))
        assert a is not None
        assert b is not None
        return sum_grid(a, b, terms=terms, c=c).width - (not self.is_signed)

    @cached_property
    def cast(self) -> Cast:
        """The rounding and overflow at the end."""
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b``, ``first`` and ``last``; ``c`` if there is a preload, ``random`` if stochastic."""
        return {"a": Port.of(self.a), "b": Port.of(self.b), **({} if self.c is None else {"c": Port.of(self.c)}),
                "first": FLAG, "last": FLAG, **self.cast.random_ports}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": Port.of(self.result)}

    # The definition, one transfer at a time.

    def results(self, transfers: Iterable[Mapping[str, int]]) -> list[int]:
        """Return the code of each result that transfers ask for, the register being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping of field name to code
        """
        codes, total = [], Fraction(0)
        modulus = self.accumulator.quantum * 2**self.accumulator.width
        lowest = self.accumulator.min_finite
        for transfer in transfers:
            if transfer["first"]:
                start = Fraction(0) if self.c is None else self.c.decode(transfer["c"])
                assert isinstance(start, Fraction)
                total = start
            a, b = self.a.decode(transfer["a"]), self.b.decode(transfer["b"])
            assert isinstance(a, Fraction)
            assert isinstance(b, Fraction)
            total = (total + a * b - lowest) % modulus + lowest
            if transfer["last"]:
                codes.append(self.cast.encode(total, transfer.get("random", 0)))
        return codes

    # The same for many sequences at once: the register as an integer in units of its last place.

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the register after a reset."""
        return (np.zeros(sequences, dtype=np.int64 if self._narrow else object),)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the register from which a sum starts."""
        if self.c is None:
            return self.zero(len(inputs["first"]))
        start = to_integers(decode_array(self.c, inputs["c"]), -self.accumulator.fraction_bits)
        return (self._wrap(start),)

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the register after one more product."""
        a, b = (to_integers(decode_array(fmt, inputs[name]), -fmt.fraction_bits).astype(
            np.int64 if self._narrow else object) for name, fmt in (("a", self.a), ("b", self.b)))
        return (self._wrap(state[0] + self._wrap(a * b)),)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the results, were ``inputs`` the last transfers of their sums."""
        values = from_integers(state[0], -self.accumulator.fraction_bits)
        return {"o": self.cast.codes(values, inputs.get("random"))}

    @property
    def _narrow(self) -> bool:
        """Whether sums and products fit a machine word."""
        return max(self.accumulator.width, self.a.width + self.b.width,
                   0 if self.c is None else self.c.width + self.accumulator.fraction_bits - self.c.fraction_bits
                   ) <= _WORD_BITS

    def _wrap(self, register: Codes) -> Codes:
        mask, lowest = (1 << self.accumulator.width) - 1, self.accumulator.min_integer
        wrapped = ((register if self._narrow else register.astype(object)) - lowest & mask) + lowest
        return wrapped
