"""Which operands a circuit is run on: all of them where that is affordable, otherwise corners and seeded random."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sw.formats import OverflowPolicy, RoundingMode
from sw.reference.model import Codes, Function, Port
from synth.verify.codes import Inputs, corner_codes, port_corners, random_codes, random_corners
from synth.verify.sums import steered_lanes

__all__ = ["BLOCK", "SPECIAL_SAMPLES", "STEERED_SAMPLES", "Inputs", "Vectors", "combinations", "corner_codes",
           "function_vectors", "port_corners", "random_codes", "random_corners"]

SPECIAL_SAMPLES = 1 << 16
"""Halfway cases, and cancelling operands, at most this many of each."""

STEERED_SAMPLES = 1 << 18
"""Vectors whose lanes' sum is steered, at most."""

STEERED_CODES = 1 << 22
"""Lanes of all of these together, at most."""

BLOCK = 1 << 19
"""Vectors that are handled at a time."""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Operand codes for a circuit.

    Parameters
    ----------
    method : str
        ``exhaustive`` or ``corners+random``.
    ports : mapping of port name to Port
    count : int
        Number of vectors.
    operands : mapping of port name to codes, or None
        One code a vector; None where they are made as they are asked for.
    parts : mapping of name to int
        How many vectors of each kind there are.
    """

    method: str
    ports: Mapping[str, Port]
    count: int
    operands: Mapping[str, Codes] | None
    parts: Mapping[str, int]

    def block(self, start: int, stop: int) -> Inputs:
        """Return the operands of the vectors from ``start`` to ``stop``."""
        if self.operands is not None:
            return {name: codes[start:stop] for name, codes in self.operands.items()}
        index = np.arange(start, min(stop, self.count), dtype=np.uint64)
        operands: Inputs = {}
        for name, port in self.ports.items():
            columns = []
            for _ in range(port.lanes or 1):
                columns.append((index % np.uint64(port.codes)).astype(np.uint64))
                index = index // np.uint64(port.codes)
            operands[name] = columns[0] if port.lanes is None else np.stack(columns, axis=1)
        return operands

    def blocks(self) -> Iterator[tuple[int, Inputs]]:
        """Return all vectors in blocks, each with the number of its first one."""
        for start in range(0, self.count, BLOCK):
            yield start, self.block(start, start + BLOCK)

    def vector(self, index: int) -> dict[str, int | list[int]]:
        """Return one vector as integers."""
        return {name: [int(code) for code in codes[0]] if codes.ndim > 1 else int(codes[0])
                for name, codes in self.block(index, index + 1).items()}


def combinations(ports: Mapping[str, Port]) -> int:
    """Return how many combinations of input codes there are."""
    count = 1
    for port in ports.values():
        count *= port.codes ** (port.lanes or 1)
    return count


def function_vectors(model: Function, *, seed: int, exhaustive_bits: int, samples: int,
                     cancelling: Callable[[np.random.Generator, int], Inputs] | None = None) -> Vectors:
    """Return the vectors for a circuit without memory.

    Every combination where there are at most ``2**exhaustive_bits``. Otherwise combinations of corners (ends of
    binades, powers of two, extremes, special codes), operands whose result lies halfway between two codes,
    cancelling operands where the operation has any, lanes whose sum is one at which the rounding turns, and uniform
    random ones.

    Parameters
    ----------
    model : Function
    seed : int
        Of everything that is picked at random.
    exhaustive_bits : int
    samples : int
        How many random vectors; of combinations of corners, at most as many.
    cancelling : callable, optional
        Returns operands whose sum loses its leading digits.
    """
    ports = model.inputs
    total = combinations(ports)
    if total <= 1 << exhaustive_bits:
        return Vectors(method="exhaustive", ports=ports, count=total, operands=None, parts={"all": total})
    generator = np.random.default_rng(seed)
    parts: dict[str, Inputs] = {"corners": _corner_combinations(ports, generator, samples)}
    special = min(SPECIAL_SAMPLES, samples)
    halfway = _halfway(model, generator, special)
    if halfway is not None:
        parts["halfway"] = halfway
    if cancelling is not None:
        parts["cancelling"] = cancelling(generator, special)
    # Of a generator of their own, so that what follows is what it is without them.
    lanes = max(port.lanes or 1 for port in ports.values())
    steered = steered_lanes(model, np.random.default_rng([seed, 1]),
                            min(STEERED_SAMPLES, STEERED_CODES // lanes, samples))
    if steered is not None:
        parts["steered"] = steered
    parts["random"] = {name: random_codes(port, generator, samples) for name, port in ports.items()}
    operands = {name: np.concatenate([part[name] for part in parts.values()]) for name in ports}
    counts = {kind: len(next(iter(part.values()))) for kind, part in parts.items()}
    return Vectors(method="corners+random", ports=ports, count=sum(counts.values()), operands=operands, parts=counts)


def _corner_combinations(ports: Mapping[str, Port], generator: np.random.Generator, samples: int) -> Inputs:
    corners = {name: port_corners(port) for name, port in ports.items()}
    count = 1
    for name, port in ports.items():
        count *= len(corners[name]) ** (port.lanes or 1)
    if count > samples:
        return {name: random_corners(port, generator, samples) for name, port in ports.items()}
    picks = np.arange(count, dtype=np.int64)
    operands: Inputs = {}
    for name, port in ports.items():
        columns = []
        for _ in range(port.lanes or 1):
            columns.append(corners[name][picks % len(corners[name])])
            picks = picks // len(corners[name])
        operands[name] = columns[0] if port.lanes is None else np.stack(columns, axis=1)
    return operands


def _halfway(model: Function, generator: np.random.Generator, samples: int) -> Inputs | None:
    """Return operands whose exact result lies halfway between two codes of the result format.

    These are the ones for which rounding halves up and halves down differ, found among operands of which half are
    corners, with few significant digits. None where the operation has no rounding.
    """
    if not (dataclasses.is_dataclass(model) and hasattr(model, "rounding")):
        return None
    changes: dict[str, Any] = {}
    if getattr(model, "random_bits", 0):
        changes["random_bits"] = 0
    overflow = getattr(model, "overflow", None)
    if overflow is not None and overflow is not OverflowPolicy.SATURATE:
        changes["overflow"] = OverflowPolicy.SATURATE
    up, down = (dataclasses.replace(model, rounding=mode, **changes)
                for mode in (RoundingMode.NEAREST_UP, RoundingMode.NEAREST_DOWN))
    pool: Inputs = {}
    for name, port in model.inputs.items():
        pool[name] = random_codes(port, generator, 4 * samples)
        corners = generator.random(4 * samples) < 0.5
        pool[name][corners] = random_corners(port, generator, 4 * samples)[corners]
    asked = {name: codes for name, codes in pool.items() if name in up.inputs}
    answers = [rounded.evaluate(asked) for rounded in (up, down)]
    ties = np.zeros(4 * samples, dtype=bool)
    for name in answers[0]:
        different = answers[0][name] != answers[1][name]
        ties |= different if different.ndim == 1 else different.any(axis=1)
    chosen = np.flatnonzero(ties)[:samples]
    return {name: codes[chosen] for name, codes in pool.items()}
