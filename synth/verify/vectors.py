"""Which operands a circuit is run on: all of them where that is affordable, otherwise corners and seeded random."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import FloatingPointFormat, OverflowPolicy, PositFormat, RoundingMode, ScalarFormat
from sw.reference.model import Codes, Function, Port

SPECIAL_SAMPLES = 1 << 16
"""Halfway cases, and cancelling operands, at most this many of each."""

BLOCK = 1 << 19
"""Vectors that are handled at a time."""

Inputs = dict[str, Codes]


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


def corner_codes(fmt: ScalarFormat) -> NDArray[np.uint64]:
    """Return the codes where a format's arithmetic turns: ends of binades, powers of two, extremes, specials."""
    if fmt.width <= 8:
        return np.arange(1 << fmt.width, dtype=np.uint64)
    if isinstance(fmt, FloatingPointFormat):
        ones = (1 << fmt.fraction_bits) - 1
        fractions = {0, 1, ones >> 1, (ones + 1) >> 1, ones - 1, ones} & set(range(ones + 1))
        fields = range(1 << fmt.exponent_bits)
        magnitudes = [(field << fmt.fraction_bits) | fraction for field in fields for fraction in sorted(fractions)]
        sign = 1 << (fmt.width - 1)
        codes = magnitudes + ([code | sign for code in magnitudes] if fmt.signed else [])
    elif isinstance(fmt, PositFormat):
        codes = _posit_corners(fmt)
    else:
        mask = (1 << fmt.width) - 1
        powers = [1 << bit for bit in range(fmt.width)]
        codes = sorted({(sign * power + step) & mask for power in powers for sign in (1, -1) for step in (-1, 0, 1)})
    return np.array(codes, dtype=np.uint64)


def _posit_corners(fmt: PositFormat) -> list[int]:
    """Return zero, NaR and, for each regime and exponent, the ends and the middle of the fractions, of both signs."""
    codes = {0, fmt.nan_code}
    exponents = range(-fmt.max_exponent, fmt.max_exponent + 1)
    powers = [fmt.encode(Fraction(2) ** exponent) for exponent in exponents]
    for low, high in pairwise([*powers, fmt.nan_code]):
        middle = (low + high) // 2
        magnitudes = {low, low + 1, middle - 1, middle, middle + 1, high - 2, high - 1} & set(range(low, high))
        codes |= {sign * code % (1 << fmt.width) for code in magnitudes for sign in (1, -1)}
    return sorted(codes)


def port_corners(port: Port) -> Codes:
    """Return the corner codes of a port: those of its format, or the extremes of plain bits."""
    if port.format is not None and port.width <= 64:
        return corner_codes(port.format)
    last = port.codes - 1
    return np.array(sorted({0, min(1, last), port.codes >> 1, last}), dtype=np.uint64 if port.width <= 64 else object)


def random_codes(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return uniform codes of a port."""
    shape = (count,) if port.lanes is None else (count, port.lanes)
    if port.width <= 64:
        return generator.integers(0, port.codes, shape, dtype=np.uint64)
    limbs = [generator.integers(0, 1 << 32, shape, dtype=np.uint64).astype(object) << shift
             for shift in range(0, port.width, 32)]
    wide: Codes = np.bitwise_or.reduce(limbs) & ((1 << port.width) - 1)
    return wide


def random_corners(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return codes picked from a port's corners."""
    corners = port_corners(port)
    shape = (count,) if port.lanes is None else (count, port.lanes)
    picked: Codes = corners[generator.integers(0, len(corners), shape)]
    return picked


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
    cancelling operands where the operation has any, and uniform random ones.

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
