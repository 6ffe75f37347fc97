"""Exact accumulation over blocks: dot products of blocks with shared scales, rounded once at the end of a sum."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.accumulator_width import Grid, check_sum_width, check_terms, product_grid
from sw.reference.block import FLOAT32, BlockDot
from sw.reference.cast import Cast
from sw.reference.exact_register import ExactRegister
from sw.reference.model import Codes, Port


@dataclass(frozen=True, kw_only=True)
class BlockMultiplyAccumulate:
    """Sums of dot products of blocks, exact until the one rounding to a code of ``result``.

    A transfer holds a block of each operand, elements and scale. What it adds is the exact dot product of the two, as
    :class:`sw.reference.block.BlockDot` has it before the rounding, so that a long vector's dot product is rounded once
    rather than block by block. Transfers are framed as :mod:`sw.reference.accumulation` says.

    The register is two's complement, in units of the product of all formats' smallest steps. A sum of up to ``terms``
    blocks of any codes fits it; one of more wraps, and its result is that of the wrapped sum. Scales make it wide: two
    of E8M0 span 508 binades, so that it has 528 bits for 256 blocks of 8 pairs of MXFP4. A scale format of fewer
    binades (``mxfp4:scale=e5m0``) makes it as much narrower.

    Dot products that are no finite numbers are remembered until the next ``first``: the result is NaN after a NaN and
    after infinities of both signs; otherwise, after an infinity, it is that. A sum that is exactly zero is the positive
    zero, in every rounding mode.

    Parameters
    ----------
    a, b : BlockFormat
        Of the same block size.
    result : ScalarFormat, optional
        float32 by default. With None, the result is the register: a two's complement integer of ``width`` bits in
        units of ``2**accumulator_exponent``, the most negative one for a sum that is no finite number.
    terms : int
        How many dot products of blocks a sum has at most.
    accumulator_width : int, bits, optional
        By default the least that holds every sum of ``terms`` dot products.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the block sizes differ, ``accumulator_width`` is too narrow for ``terms`` dot products or any width too
        large, the overflow policy does not apply to ``result``, or the random bits do not suit the rounding mode.

    Source: OCP Microscaling Formats (MX) Specification 1.0, DotGeneral, which leaves the precision of the sum over
    blocks to the implementation; Kulisch 2013, "Computer Arithmetic and Validity", for one that needs none.
    """

    a: BlockFormat
    b: BlockFormat
    result: ScalarFormat | None = FLOAT32
    terms: int
    accumulator_width: int | None = None
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0

    def __post_init__(self) -> None:
        _ = self.dot  # refuses what it does not suit
        check_terms(self.terms)
        needed = self._needed.width
        check_sum_width(needed)
        if self.accumulator_width is not None:
            check_integer("Accumulator width", self.accumulator_width)
            if self.accumulator_width < needed:
                raise ValueError(f"Accumulator width must be at least {needed} bits for {self.terms} dot products of "
                                 f"{self.a.name} and {self.b.name}, not {self.accumulator_width!r}")
            check_sum_width(self.accumulator_width)
        if self.result is None and (self.random_bits or self.rounding is RoundingMode.STOCHASTIC):
            raise ValueError("Rounding mode must not be stochastic without a result format, as nothing is rounded")

    @cached_property
    def dot(self) -> BlockDot:
        """The dot product of two blocks, and its rounding to the result's format."""
        if self.result is None:
            return BlockDot(a=self.a, b=self.b)
        return BlockDot(a=self.a, b=self.b, result=self.result, rounding=self.rounding, overflow=self.overflow,
                        random_bits=self.random_bits)

    @cached_property
    def block_grid(self) -> Grid:
        """The grid of dot products of two blocks."""
        elements = product_grid(self.a.element, self.b.element, every_code=True).times(self.a.block_size)
        return elements.by(product_grid(self.a.scale, self.b.scale))

    @property
    def _needed(self) -> Grid:
        return self.block_grid.times(self.terms)

    @property
    def width(self) -> int:
        """Bits of the register."""
        return self._needed.width if self.accumulator_width is None else self.accumulator_width

    @property
    def accumulator_exponent(self) -> int:
        """The register counts in units of 2 to this power."""
        return self.block_grid.exponent

    @property
    def cast(self) -> Cast | None:
        """The rounding at the end; None where the result is the register."""
        return None if self.result is None else self.dot.cast

    @property
    def register(self) -> ExactRegister:
        """The register, with its rounding."""
        return ExactRegister(width=self.width, exponent=self.accumulator_exponent, cast=self.cast)

    @property
    def operand_formats(self) -> tuple[ScalarFormat, ...]:
        """Formats of everything that a sum is made of."""
        return self.a.element, self.b.element, self.a.scale, self.b.scale

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b``, with a lane for each element, both scales and the flags; ``random`` if stochastic."""
        ports = {name: port for name, port in self.dot.inputs.items() if name != "random"}
        return {**ports, "first": FLAG, "last": FLAG, **({} if self.cast is None else self.cast.random_ports)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": self.register.output}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the code of each result that transfers ask for, the register being zero before the first one.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code; to a sequence of codes for ``a`` and ``b``.
        """
        return self.register.results(
            transfers, start=lambda _: Fraction(0),
            terms=lambda pair: [self.dot.exact(pair["a"], pair["b"], pair["a_scale"], pair["b_scale"])])

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the registers after a reset."""
        return self.register.zero(sequences)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the registers from which a sum starts."""
        return self.zero(len(inputs["first"]))

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the registers after one more pair of blocks."""
        return self.register.added(state, self.dot.exact_array(inputs))

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the results, were ``inputs`` the last transfers of their sums."""
        return self.register.finish(state, inputs.get("random"))
