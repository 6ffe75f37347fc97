"""Which operands a circuit is run on: all of them where that is affordable, otherwise corners and seeded random."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.formats import FloatingPointFormat, ScalarFormat

EXHAUSTIVE_BITS = 20
"""Operand bits up to which every combination is run by default: a million vectors, seconds of exact arithmetic."""

SAMPLES = 1 << 17
"""Corner combinations, and random vectors, each at most this many."""

Codes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Operand codes for a circuit.

    Parameters
    ----------
    method : str
        ``exhaustive`` or ``corners+random``.
    operands : mapping of port name to uint64 array
        One code a vector.
    """

    method: str
    operands: Mapping[str, Codes]

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(next(iter(self.operands.values())))


def corner_codes(fmt: ScalarFormat) -> Codes:
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
    else:
        mask = (1 << fmt.width) - 1
        powers = [1 << bit for bit in range(fmt.width)]
        codes = sorted({(sign * power + step) & mask for power in powers for sign in (1, -1) for step in (-1, 0, 1)})
    return np.array(codes, dtype=np.uint64)


def operand_vectors(formats: Mapping[str, ScalarFormat], *, random_bits: int, seed: int,
                    exhaustive_bits: int = EXHAUSTIVE_BITS, samples: int = SAMPLES) -> Vectors:
    """Return the vectors for a circuit with these operand ports.

    Parameters
    ----------
    formats : mapping of port name to format
    random_bits : int, bits
        Width of the port ``random``; 0 if there is none.
    seed : int
        Of the random part.
    exhaustive_bits : int
        Largest sum of operand bits for which every combination is made.
    samples : int
        Otherwise, how many combinations of corners at most, and how many random vectors after them.
    """
    widths = {name: fmt.width for name, fmt in formats.items()}
    if random_bits:
        widths["random"] = random_bits
    total = sum(widths.values())
    if total <= exhaustive_bits:
        index = np.arange(1 << total, dtype=np.uint64)
        operands: dict[str, Codes] = {}
        for name, width in widths.items():
            operands[name] = index & np.uint64((1 << width) - 1)
            index = index >> np.uint64(width)
        return Vectors(method="exhaustive", operands=operands)
    generator = np.random.default_rng(seed)
    corners = {name: corner_codes(fmt) for name, fmt in formats.items()}
    if random_bits:
        corners["random"] = np.array([0, 1, 1 << (random_bits - 1), (1 << random_bits) - 1], dtype=np.uint64)
    combinations = int(np.prod([len(codes) for codes in corners.values()], dtype=object))
    if combinations <= samples:
        picks = np.arange(combinations, dtype=np.uint64)
    else:
        picks = generator.integers(0, combinations, samples, dtype=np.uint64)
    operands = {}
    for name, codes in corners.items():
        size = np.uint64(len(codes))
        random = generator.integers(0, 1 << widths[name], samples, dtype=np.uint64)
        operands[name] = np.concatenate([codes[picks % size], random])
        picks = picks // size
    return Vectors(method="corners+random", operands=operands)
