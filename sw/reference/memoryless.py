"""Streams whose results depend on one transfer alone: each transfer causes one, and nothing is remembered."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes


class Memoryless(Protocol):
    """The arithmetic of such a stream, for many transfers at once."""

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results of each of many transfers."""


class MemorylessRun:
    """Sequences of transfers through a stream that remembers nothing of them; a :class:`sw.reference.model.Run`."""

    def __init__(self, model: Memoryless, sequences: int) -> None:
        self._model, self._sequences = model, sequences

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        if not accepted.any():
            return []
        outputs = {}
        for name, codes in self._model.evaluate({name: codes[accepted] for name, codes in inputs.items()}).items():
            outputs[name] = np.zeros((self._sequences, *codes.shape[1:]), dtype=codes.dtype)
            outputs[name][accepted] = codes
        return [(accepted.copy(), outputs)]

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up, in which they always are."""
