"""What a netlist's registers may hold in terms of a specification's state: found by running both, proved elsewhere.

A relation says that a register's bit is some bit of the specification's, or its complement, or a constant; always, or
while one or two flags of the specification hold (van Eijk, Sequential equivalence checking based on structural
similarities, 2000: signal correspondence).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from synth.prove.evaluate import Values
from synth.prove.terms import BOOL, Term, all_of, bit, boolean, implies, invert, xor

__all__ = ["Relation", "Samples", "relations"]

Conditions: TypeAlias = tuple[tuple[str, bool], ...]
"""Flags, and what they have to be."""


@dataclass(frozen=True)
class Relation:
    """``register == signal[index] ^ inverted``, while every condition holds.

    Parameters
    ----------
    register : int
        Number of the program's state bit.
    signal : str or None
        Of the specification; None for the constant 0.
    index : int
        Bit of the signal.
    inverted : bool
    conditions : tuple of (name, whether it must hold)
    """

    register: int
    signal: str | None
    index: int
    inverted: bool
    conditions: Conditions = ()

    def term(self, registers: Sequence[Term], signals: Mapping[str, Term]) -> Term:
        """Return whether it holds."""
        other = boolean(False) if self.signal is None else _bit(signals[self.signal], self.index)
        holds = invert(xor(xor(registers[self.register], other), boolean(self.inverted)))
        wanted = [signals[name] if value else invert(signals[name]) for name, value in self.conditions]
        return implies(all_of(*wanted), holds)


def _bit(term: Term, index: int) -> Term:
    return term if term.sort is BOOL else bit(term, index)


class Samples:
    """What registers and signals were in many states that were reached, a packed bit each.

    Parameters
    ----------
    signals : mapping of name to Term
        The specification's, which say how wide each is.
    """

    def __init__(self, signals: Mapping[str, Term]) -> None:
        self._signals = signals
        self._registers: list[NDArray[np.uint8]] = []
        self._bits: list[NDArray[np.uint8]] = []

    def add(self, registers: Sequence[Values], signals: Sequence[Values]) -> None:
        """Take in some states: an array a register, and an array a signal."""
        self._registers.append(np.packbits(np.array(registers, dtype=bool).reshape(len(registers), -1), axis=1))
        rows = []
        for term, values in zip(self._signals.values(), signals, strict=True):
            rows += [np.asarray(values >> (index if values.dtype == object else np.uint64(index)) & 1, dtype=bool)
                     for index in range(term.sort.width)] if term.sort is not BOOL else [values]
        self._bits.append(np.packbits(np.array(rows, dtype=bool), axis=1))

    def registers(self) -> list[bytes]:
        """Return each register's bits."""
        return [row.tobytes() for row in np.concatenate(self._registers, axis=1)]

    def bits(self) -> dict[tuple[str, int], bytes]:
        """Return the bits of each bit of each signal."""
        names = [(name, index) for name, term in self._signals.items() for index in range(max(term.sort.width, 1))]
        return dict(zip(names, (row.tobytes() for row in np.concatenate(self._bits, axis=1)), strict=True))


def relations(samples: Samples, kept: Collection[str], conditions: Sequence[Conditions]) -> list[Relation]:
    """Return the relations that no sample contradicts.

    Parameters
    ----------
    kept : collection of str
        Signals that the specification keeps; the others are looked at where none of these fits.
    conditions : sequence of tuple of (name, value)
        While which a register is related to a signal, if it is to none at all times.
    """
    rows = samples.registers()
    signals = {place: int.from_bytes(row, "big") for place, row in samples.bits().items()}
    ones = (1 << (8 * len(rows[0]) if rows else 0)) - 1
    result: list[Relation] = []
    lonely: dict[int, int] = {}
    for register, row in enumerate(rows):
        value = int.from_bytes(row, "big")
        matches = list(_matches(register, value, ones, (), _by_value(signals, ones), ones))
        if not matches:
            lonely[register] = value
        result += _preferred(matches, kept)
    for condition in conditions if lonely else ():
        mask = ones
        for name, wanted in condition:
            mask &= signals[name, 0] if wanted else signals[name, 0] ^ ones
        if mask:                                         # otherwise it never holds
            by_value = _by_value(signals, mask)
            for register, value in lonely.items():
                result += _preferred(list(_matches(register, value, ones, condition, by_value, mask)), kept)
    return result


def _by_value(signals: Mapping[tuple[str, int], int], mask: int) -> dict[int, list[tuple[str, int]]]:
    found: dict[int, list[tuple[str, int]]] = {}
    for place, value in signals.items():
        found.setdefault(value & mask, []).append(place)
    return found


def _matches(register: int, value: int, ones: int, conditions: Conditions,
             by_value: Mapping[int, Sequence[tuple[str, int]]], mask: int) -> Iterator[Relation]:
    """Return every relation of a register in the samples of a mask."""
    for seen, inverted in ((value & mask, False), ((value ^ ones) & mask, True)):
        if seen == 0:
            yield Relation(register, None, 0, inverted, conditions)
        for name, index in by_value.get(seen, ()):
            yield Relation(register, name, index, inverted, conditions)


def _preferred(matches: Sequence[Relation], kept: Collection[str]) -> Sequence[Relation]:
    """Return the relations to what the specification keeps, or all where there are none.

    More than one may be kept: bits of a wide sum look alike until it has grown.
    """
    return [relation for relation in matches if relation.signal is None or relation.signal in kept] or matches
