"""Random transfers for an operation that takes parameters and feature maps over one stream, each at its time."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes, Port
from sw.reference.parameter_memory import ParameterMemory

FIRST_LOAD, LOAD_AFTER_RESET, LOAD_BETWEEN_MAPS, PARTIAL_LOAD = 0.95, 0.5, 0.3, 0.3
"""How often parameters are loaded: after power-up, after a reset, before each further map; how often not all."""


class MapOperation(Protocol):
    """The reference of such an operation."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``load``, ``data``, and ``offset`` where there are offsets."""

    @property
    def memories(self) -> Mapping[str, ParameterMemory]:
        """What is loaded, in this order."""

    @property
    def map_transfers(self) -> int:
        """Transfers of a map."""


def map_stimulus(model: MapOperation, generator: np.random.Generator, transfers: int, resets: NDArray[np.bool_]
                 ) -> dict[str, Codes]:
    """Return random transfers that are legal: after each reset, what may follow one.

    Maps and their offsets are uniform, corners, or one code again and again; scales and biases mostly such that results
    lie within their range. Parameters are loaded before the first map, but for some sequences; again before others, in
    part or whole. The last map, and each that a reset cuts off, ends wherever it is.

    Parameters
    ----------
    model : MapOperation
    generator : numpy.random.Generator
    transfers : int
        Of each sequence.
    resets : bool array of shape ``(transfers, sequences)``
        Whether a reset falls before a transfer.

    Returns
    -------
    dict of field name to codes, ``(transfers, sequences)`` or ``(transfers, sequences, lanes)``

    Raises
    ------
    ValueError
        If the resets are of another shape.
    """
    if resets.ndim != 2 or len(resets) != transfers:
        raise ValueError(f"Resets must be of shape ({transfers}, sequences), not {resets.shape}")
    inputs = {name: _drawn(port, generator, resets.shape) for name, port in model.inputs.items()}
    for sequence in range(resets.shape[1]):
        starts = [0, *(np.flatnonzero(resets[1:, sequence]) + 1).tolist(), transfers]
        for begin, end in pairwise(starts):
            _fill(model, generator, {name: codes[begin:end, sequence] for name, codes in inputs.items()},
                  load=FIRST_LOAD if begin == 0 else LOAD_AFTER_RESET)
    return inputs


def _fill(model: MapOperation, generator: np.random.Generator, inputs: Mapping[str, Codes], *, load: float) -> None:
    """Fill what comes between two resets, in place."""
    place, loaded, count = 0, 0, len(inputs["load"])
    while place < count:
        if generator.random() < load:
            words = np.roll(_parameters(model, generator), -loaded, axis=0)
            if generator.random() < PARTIAL_LOAD and place:
                words = words[:generator.integers(1, len(words) + 1)]
            loaded = (loaded + len(words)) % sum(memory.words for memory in model.memories.values())
            words = words[:count - place]
            inputs["load"][place:place + len(words)] = 1
            inputs["data"][place:place + len(words)] = words
            place += len(words)
        load = LOAD_BETWEEN_MAPS
        inputs["load"][place:place + model.map_transfers] = 0
        _vary(model, generator, {name: inputs[name][place:place + model.map_transfers] for name in ("data", "offset")
                                 if name in inputs})
        place += model.map_transfers


def _vary(model: MapOperation, generator: np.random.Generator, fields: Mapping[str, Codes]) -> None:
    """Make some of the fields of a map other than uniform, in place."""
    for name, codes in fields.items():
        kind = generator.integers(4)
        if kind == 1:
            codes[:] = _corners(model.inputs[name], generator, codes.shape)
        elif kind == 2:
            codes[:] = _corners(model.inputs[name], generator, ())


def _parameters(model: MapOperation, generator: np.random.Generator) -> Codes:
    """Return the words of a random set of parameters."""
    kind, words = generator.integers(4), []
    half = 1 << model.inputs["data"].width - 1
    for memory in model.memories.values():
        fields = {}
        for name, port in memory.fields:
            shape = (memory.rows,) if port.lanes is None else (memory.rows, port.lanes)
            if kind == 0:
                fields[name] = _corners(port, generator, shape)
            elif kind == 1 or name not in ("scale", "bias"):
                fields[name] = _drawn(port, generator, shape, lanes=False)
            elif name == "scale":  # sums of some thousands, times an eighth at most: about the range of an activation
                fields[name] = generator.integers(0, max(port.codes >> 3, 1), shape).astype(np.uint64)
            else:                  # activations around the middle of their range
                fields[name] = (generator.integers(half >> 1, half + (half >> 1) + 1, shape) % port.codes).astype(
                    np.uint64)
        words.append(memory.pack(fields))
    return np.concatenate(words)


def _drawn(port: Port, generator: np.random.Generator, shape: tuple[int, ...], *, lanes: bool = True) -> Codes:
    """Return uniform codes."""
    if lanes and port.lanes is not None:
        shape = (*shape, port.lanes)
    return generator.integers(0, port.codes, shape, dtype=np.uint64)


def _corners(port: Port, generator: np.random.Generator, shape: tuple[int, ...]) -> Codes:
    """Return codes among the least, the greatest, and their neighbours, signed and unsigned."""
    half = port.codes >> 1
    chosen = np.array([0, min(1, port.codes - 1), max(half - 1, 0), half, port.codes - 1], dtype=np.uint64)
    return chosen[generator.integers(0, len(chosen), shape)]
