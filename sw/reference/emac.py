"""Exact multiply-accumulate: a sum of products in a register so wide that nothing is rounded before the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, Value
from sw.formats.check import check_integer
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.accumulator_width import Grid, check_sum_width, sum_grid
from sw.reference.cast import Cast
from sw.reference.exact_register import ExactRegister
from sw.reference.model import Codes, Port
from sw.reference.multiply import product
from sw.reference.value_array import decode_array, multiply_arrays


@dataclass(frozen=True, kw_only=True)
class ExactMultiplyAccumulate:
    """Sums of products of a code of ``a`` and one of ``b``, exact until the one rounding to a code of ``result``.

    The register is two's complement, in units of the product of both formats' smallest steps (of the step of ``c``, if
    that is finer). A sum of up to ``terms`` products fits it; one of more wraps, and its result is that of the
    wrapped sum. Transfers are framed as :mod:`sw.reference.accumulation` says.

    Values that are no finite numbers are remembered until the next ``first``: the result is NaN after a NaN, after a
    product of infinity and zero, and after infinities of both signs; otherwise, after an infinity, it is that (the
    rules of IEEE 754-2019 §6 and §7.2, in whatever order the products are summed). A sum that is exactly zero is the
    positive zero, in every rounding mode.

    Parameters
    ----------
    a, b : ScalarFormat
    result : ScalarFormat, optional
        With None, the result is the register: a two's complement integer of ``width`` bits in units of
        ``2**accumulator_exponent``. Its most negative code then stands for a sum that is no finite number, as in the
        quire of the posit standard, whichever sign an infinity has.
    c : ScalarFormat, optional
        Format of what a sum starts from, in the field ``c`` of transfers with ``first``; without it, from zero.
    terms : int
        How many products a sum has at most.
    lanes : int, optional
        How many pairs one transfer holds; None for one pair, without lanes.
    accumulator_width : int, bits, optional
        By default the least that holds every sum of ``terms`` products.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If ``accumulator_width`` is too narrow for ``terms`` products or any width too large, ``terms`` is less than
        ``lanes``, the overflow policy does not apply to ``result``, or the random bits do not suit the rounding mode.

    Source: Kulisch 2013, "Computer Arithmetic and Validity"; Standard for Posit Arithmetic (2022), quire; Carmichael et
    al. 2019, "Deep Positron" (arXiv 1812.01762), EMAC.
    """

    a: ScalarFormat
    b: ScalarFormat
    result: ScalarFormat | None
    terms: int
    c: ScalarFormat | None = None
    lanes: int | None = None
    accumulator_width: int | None = None
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        for name, fmt in (("Format a", self.a), ("Format b", self.b), ("Preload format", self.c),
                          ("Result format", self.result)):
            optional = fmt is None and name in ("Preload format", "Result format")
            if not isinstance(fmt, ScalarFormat) and not optional:
                raise TypeError(f"{name} must be a scalar format, as sw.formats.parse('e4m3') gives, not {fmt!r}")
        needed = self._needed.width
        if self.lanes is not None:
            check_integer("Lane count", self.lanes)
            if not 1 <= self.lanes <= self.terms:
                raise ValueError(f"Lane count must be between 1 and the {self.terms} terms of a sum, "
                                 f"not {self.lanes!r}")
        if self.accumulator_width is not None:
            check_integer("Accumulator width", self.accumulator_width)
            if self.accumulator_width < needed:
                raise ValueError(f"Accumulator width must be at least {needed} bits for {self.terms} products of "
                                 f"{self.a.name} and {self.b.name}{f' onto {self.c.name}' if self.c else ''}, "
                                 f"not {self.accumulator_width!r}")
            check_sum_width(self.accumulator_width)
        if self.result is None and (self.random_bits or self.rounding is RoundingMode.STOCHASTIC):
            raise ValueError("Rounding mode must not be stochastic without a result format, as nothing is rounded")
        _ = self.cast  # refuses what does not suit the result

    @cached_property
    def _needed(self) -> Grid:
        return sum_grid(self.a, self.b, terms=self.terms, c=self.c)

    @property
    def width(self) -> int:
        """Bits of the register."""
        return self._needed.width if self.accumulator_width is None else self.accumulator_width

    @property
    def accumulator_exponent(self) -> int:
        """The register counts in units of 2 to this power."""
        return self._needed.exponent

    @cached_property
    def cast(self) -> Cast | None:
        """The rounding at the end; None where the result is the register."""
        if self.result is None:
            return None
        return Cast(result=self.result, rounding=self.rounding, overflow=self.overflow, random_bits=self.random_bits)

    @property
    def register(self) -> ExactRegister:
        """The register, with its rounding."""
        return ExactRegister(width=self.width, exponent=self.accumulator_exponent, cast=self.cast)

    @property
    def operand_formats(self) -> tuple[ScalarFormat, ...]:
        """Formats of everything that a sum is made of."""
        return (self.a, self.b) if self.c is None else (self.a, self.b, self.c)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b``, ``first`` and ``last``; ``c`` if there is a preload, ``random`` if stochastic."""
        return {"a": Port.of(self.a, self.lanes), "b": Port.of(self.b, self.lanes),
                **({} if self.c is None else {"c": Port.of(self.c)}), "first": FLAG, "last": FLAG,
                **({} if self.cast is None else self.cast.random_ports)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": self.register.output}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the code of each result that transfers ask for, the register being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code; to a sequence of codes for ``a`` and ``b`` with lanes.
        """
        return self.register.results(
            transfers, terms=self._products,
            start=lambda transfer: Fraction(0) if self.c is None else self.c.decode(transfer["c"]))

    def _products(self, transfer: Mapping[str, Any]) -> list[Value]:
        pairs = ([(transfer["a"], transfer["b"])] if self.lanes is None
                 else zip(transfer["a"], transfer["b"], strict=True))
        return [product(self.a.decode(x), self.b.decode(y)) for x, y in pairs]

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the registers after a reset."""
        return self.register.zero(sequences)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the registers from which a sum starts."""
        if self.c is None:
            return self.zero(len(inputs["first"]))
        return self.register.loaded(decode_array(self.c, inputs["c"]))

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the registers after one more transfer."""
        products = multiply_arrays(decode_array(self.a, inputs["a"].reshape(-1)),
                                   decode_array(self.b, inputs["b"].reshape(-1)))
        return self.register.added(state, products, self.lanes or 1)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the results, were ``inputs`` the last transfers of their sums."""
        return self.register.finish(state, inputs.get("random"))
