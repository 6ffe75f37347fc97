"""Multiply-accumulators that share one multiplier and one register: lanes of a packed sum."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sw.formats import FixedPointFormat
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.model import Codes, Port
from sw.reference.packing import Packing
from sw.reference.value_array import decode_array, to_integers

MAX_RESULT_WIDTH = 64
"""Most bits of a lane: those of a fixed-point format."""

_WORD_BITS = 62


@dataclass(frozen=True, kw_only=True)
class PackedMultiplyAccumulate:
    """Sums of the products of ``lanes`` codes of ``a`` with one code of ``b``, packed into one register.

    Sums of up to ``terms`` products are exact, whatever the codes. The register wraps modulo two to ``spacing`` bits a
    lane; beyond that many products a lane may spill into the next one, and results are what the register then holds:
    each field of ``spacing`` bits less the bias. Transfers are framed as :mod:`sw.reference.accumulation` says.

    Parameters
    ----------
    a, b : FixedPointFormat
        Of the operands side by side, and of the one that they share.
    lanes : int
        1 to 8.
    terms : int
        Products of a sum at most.
    spacing : int, bits
        From one lane to the next; 0 for the least that tells sums of ``terms`` products apart.

    Raises
    ------
    TypeError, ValueError
        If a format is not fixed point, or as :class:`sw.reference.packing.Packing` does; if a lane has more than 64
        bits.

    Source: Xilinx WP486 and WP487; FlightLLM (arXiv 2401.03868), section 3. Published for 18 bits: 7 products of int8,
    and 8 where one operand is never -128. With the bias there are 8 of any.
    """

    a: FixedPointFormat
    b: FixedPointFormat
    lanes: int = 2
    terms: int = 7
    spacing: int = 0

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b)):
            if not isinstance(fmt, FixedPointFormat):
                raise TypeError(f"{noun} must be a FixedPointFormat, as sw.formats.parse('int8') gives, not {fmt!r}")
        object.__setattr__(self, "spacing", self.packing.spacing)
        if self.result_width > MAX_RESULT_WIDTH:
            raise ValueError(f"Lanes must have at most {MAX_RESULT_WIDTH} bits, not {self.result_width!r}; a smaller "
                             "spacing or fewer terms mend that")

    @cached_property
    def packing(self) -> Packing:
        """Where the lanes lie. Codes that a narrow range leaves out are counted too."""
        return Packing(packed_width=self.a.width + (not self.a.signed), shared_width=self.b.width + (not self.b.signed),
                       lanes=self.lanes, terms=self.terms, spacing=self.spacing)

    @property
    def result_width(self) -> int:
        """Bits of a lane's result, signed: of every field less the bias."""
        packing = self.packing
        return 1 + max((packing.bias - 1).bit_length(), ((1 << packing.spacing) - 1 - packing.bias).bit_length())

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` with its lanes, ``b``, ``first`` and ``last``."""
        return {"a": Port.of(self.a, self.lanes), "b": Port.of(self.b), "first": FLAG, "last": FLAG}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The sum of each lane, ``o``."""
        return {"o": Port.of(FixedPointFormat(
            width=self.result_width, fraction_bits=self.a.fraction_bits + self.b.fraction_bits), self.lanes)}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the codes of each result that transfers ask for: the definition, one transfer at a time."""
        packing, codes = self.packing, []
        total = packing.packed_bias
        for transfer in transfers:
            factor = packing.pack(tuple(self.a.integer(code) for code in transfer["a"]))
            before = packing.packed_bias if transfer["first"] else total
            total = (before + factor * self.b.integer(transfer["b"])) % (1 << packing.result_width)
            if transfer["last"]:
                codes.append([lane % (1 << self.result_width) for lane in packing.unpack(total)])
        return codes

    def start(self, sequences: int) -> AccumulatorRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return AccumulatorRun(self, sequences)

    def zero(self, sequences: int) -> State:
        """Return the register from which a sum starts, as after a reset: the bias in every lane."""
        return (np.full(sequences, self.packing.packed_bias, dtype=self._kind),)

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the register from which a sum starts."""
        return self.zero(len(inputs["first"]))

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the register after one more product of each lane."""
        b = to_integers(decode_array(self.b, inputs["b"]), -self.b.fraction_bits).astype(self._kind)
        total = state[0]
        for lane in range(self.lanes):
            a = to_integers(decode_array(self.a, inputs["a"][:, lane]), -self.a.fraction_bits).astype(self._kind)
            total = total + (a * b << self.packing.spacing * lane)
        return (total & (1 << self.packing.result_width) - 1,)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results that the register holds."""
        spacing, mask = self.packing.spacing, (1 << self.result_width) - 1
        fields = [(state[0] >> spacing * lane & (1 << spacing) - 1) - self.packing.bias & mask
                  for lane in range(self.lanes)]
        return {"o": np.stack(fields, axis=1).astype(np.uint64)}

    @property
    def _kind(self) -> Any:
        return np.int64 if self.packing.result_width + self.b.width < _WORD_BITS else object
