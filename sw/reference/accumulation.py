"""What all accumulators have in common: pairs of operands come in, sums go out.

A transfer holds a pair of operands ``a`` and ``b`` and two flags. ``first`` makes the sum start anew, from ``c`` where
the accumulator can be preloaded and from zero otherwise; without it the pair joins the sum so far, which is zero after
a reset. ``last`` asks for the result, of this pair too; the sum stays, so that ``last`` on every pair gives running
sums, and ``first`` before any ``last`` drops a sum.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes, Port

FLAG = Port(width=1)
"""A flag of a transfer."""

State: TypeAlias = tuple[NDArray[Any], ...]
"""Registers of an accumulator: arrays whose first dimension counts the sequences."""


class Accumulator(Protocol):
    """The arithmetic of an accumulator, for many sequences at once; :class:`AccumulatorRun` does the rest."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Fields of an input transfer: ``a``, ``b``, ``first``, ``last`` and whatever else the arithmetic takes."""

    @property
    def outputs(self) -> Mapping[str, Port]:
        """Fields of an output transfer."""

    def zero(self, sequences: int) -> State:
        """Return the registers after a reset."""

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the registers from which a sum starts whose first pair is in ``inputs``."""

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the registers after one more pair."""

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the result, were ``inputs`` the last transfer of the sum."""


class AccumulatorRun:
    """Sequences of transfers through an accumulator; a :class:`sw.reference.model.Run`."""

    def __init__(self, model: Accumulator, sequences: int) -> None:
        self._model, self._sequences = model, sequences
        self._state = model.zero(sequences)

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        rows = np.flatnonzero(accepted)
        taken = {name: codes[rows] for name, codes in inputs.items()}
        begins = taken["first"].astype(bool)
        state = tuple(_where(begins, start, register[rows])
                      for start, register in zip(self._model.initial(taken), self._state, strict=True))
        state = self._model.accumulate(state, taken)
        self._put(rows, state)
        ends = taken["last"].astype(bool)
        if not ends.any():
            return []
        ended = {name: codes[ends] for name, codes in taken.items()}
        produced = np.zeros(self._sequences, dtype=bool)
        produced[rows[ends]] = True
        outputs = {}
        for name, codes in self._model.finish(tuple(register[ends] for register in state), ended).items():
            outputs[name] = np.zeros((self._sequences, *codes.shape[1:]), dtype=codes.dtype)
            outputs[name][rows[ends]] = codes
        return [(produced, outputs)]

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""
        rows = np.flatnonzero(which)
        self._put(rows, self._model.zero(len(rows)))

    def _put(self, rows: NDArray[np.int64], state: State) -> None:
        # Registers of Python integers and of machine integers may meet: the wider kind holds both.
        registers = []
        for register, new in zip(self._state, state, strict=True):
            kept = register.astype(object) if new.dtype == object and register.dtype != object else register.copy()
            kept[rows] = new
            registers.append(kept)
        self._state = tuple(registers)


def _where(condition: NDArray[np.bool_], first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    shape = (len(condition),) + (1,) * (first.ndim - 1)
    return np.where(condition.reshape(shape), first, second)
