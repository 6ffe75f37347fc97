"""Conversion with stochastic rounding whose random bits come from a shift register of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.convert import Conversion
from sw.reference.lfsr import MAX_LFSR_WIDTH, MIN_LFSR_WIDTH, Lfsr
from sw.reference.model import Codes, Port


@dataclass(frozen=True, kw_only=True)
class StochasticConversion:
    """A stream of codes of format ``a``, each rounded stochastically to a code of ``result``.

    The random bits are the low-order bits of an :class:`sw.reference.lfsr.Lfsr`, which makes one step a transfer: the
    first code after a reset meets the seed. Where the register is as wide as they are many, of its ``2**n - 1`` states
    exactly r round a residue of r / 2**n up (Gupta et al. 2015).

    Parameters
    ----------
    a, result : ScalarFormat
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits each rounding takes.
    lfsr_bits : int, bits, optional
        Width of the register, at least ``random_bits``; that or 2, whichever is more, by default. A wider one has a
        longer period and cuts the probabilities' error: r * 2**(w - n) of ``2**w - 1`` states round up.
    seed : int
        State of the register after a reset, above 0.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the overflow policy does not apply to ``result``, or a number is out of range.
    """

    a: ScalarFormat
    result: ScalarFormat
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int
    lfsr_bits: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        _ = self._conversion  # which checks formats, policy and random bits
        if self.lfsr_bits is not None:
            check_integer("LFSR bits", self.lfsr_bits)
            lowest = max(self.random_bits, MIN_LFSR_WIDTH)
            if not lowest <= self.lfsr_bits <= MAX_LFSR_WIDTH:
                raise ValueError(f"LFSR bits must be between {lowest} and {MAX_LFSR_WIDTH} for {self.random_bits} "
                                 f"random bits, not {self.lfsr_bits!r}")
        _ = self.lfsr  # which checks the seed

    @cached_property
    def _conversion(self) -> Conversion:
        return Conversion(a=self.a, result=self.result, rounding=RoundingMode.STOCHASTIC, overflow=self.overflow,
                          random_bits=self.random_bits)

    @cached_property
    def lfsr(self) -> Lfsr:
        """The register."""
        width = max(self.random_bits, MIN_LFSR_WIDTH) if self.lfsr_bits is None else self.lfsr_bits
        return Lfsr(width=width, seed=self.seed)

    @property
    def rounding(self) -> RoundingMode:
        """``STOCHASTIC``."""
        return RoundingMode.STOCHASTIC

    @property
    def inputs(self) -> Mapping[str, Port]:
        """The operand ``a``."""
        return {"a": Port.of(self.a)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The converted code ``o``."""
        return {"o": Port.of(self.result)}

    def results(self, transfers: Iterable[Mapping[str, int]]) -> list[dict[str, int]]:
        """Return what transfers after a reset give, one output transfer for each.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format.
        """
        outputs, state = [], self.seed
        for transfer in transfers:
            outputs.append({"o": self._conversion(transfer["a"], state & ((1 << self.random_bits) - 1))})
            state = self.lfsr.step(state)
        return outputs

    def start(self, sequences: int) -> "StochasticConversionRun":
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return StochasticConversionRun(self, self._conversion, sequences)


class StochasticConversionRun:
    """Sequences of transfers, each with a register of its own; a :class:`sw.reference.model.Run`."""

    def __init__(self, model: StochasticConversion, conversion: Conversion, sequences: int) -> None:
        self._model, self._conversion = model, conversion
        self._states = np.full(sequences, model.seed, dtype=np.uint64)

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        rows = np.flatnonzero(accepted)
        random = self._states[rows] & np.uint64((1 << self._model.random_bits) - 1)
        codes = np.zeros(len(self._states), dtype=np.uint64)
        codes[rows] = self._conversion.codes(inputs["a"][rows], random)
        self._states[rows] = self._model.lfsr.step_array(self._states[rows])
        return [(accepted.copy(), {"o": codes})]

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked registers back to the seed."""
        self._states[which] = self._model.seed
