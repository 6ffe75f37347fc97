"""A cover as instructions: which nodes are held complemented, so that almost nothing needs an instruction for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations

from synth.netlist.cover import Cover, Node, Piece, complemented
from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, Literal
from synth.netlist.lookup import COPY, Basis, Lookup
from synth.netlist.program import ONE, ZERO, Register

__all__ = ["SELECT_TABLE", "TooManyLookups", "can_select", "lookups_of"]

SELECT_TABLE = 0b11100010
"""The only table of three inputs in :attr:`Basis.SELECT`: the third one where the second is 1, otherwise the first."""

_NOT = 0b01
_DIRECT = {
    Basis.BINARY: frozenset((0b1000, 0b1110, 0b0110, 0b0010, 0b0100)),
    Basis.SELECT: frozenset((0b1000, 0b1110, 0b0110, 0b0010, 0b0100, 0b1011, 0b1101)),
}


class TooManyLookups(Exception):
    """There are more look-ups than registers for them."""


def lookups_of(cover: Cover, sources: Mapping[Node, Register], wanted: Mapping[Register, Literal],
               registers: Iterator[Register], basis: Basis) -> list[Lookup]:
    """Return the instructions of a cover.

    Parameters
    ----------
    cover : Cover
        Every piece has two or three leaves.
    sources : node to the register that holds it
    wanted : register to what it must hold; no register of a source
    registers : registers for everything else

    Raises
    ------
    TooManyLookups
        If ``registers`` are used up.
    """
    writer = _Writer(sources, wanted, registers, basis)
    writer.complement_sources()
    for node, piece in cover.items():
        writer.add(node, piece)
    writer.finish()
    return writer.lookups


class _Writer:
    """The look-ups so far, and the register of every literal that there is."""

    def __init__(self, sources: Mapping[Node, Register], wanted: Mapping[Register, Literal],
                 registers: Iterator[Register], basis: Basis) -> None:
        self.lookups: list[Lookup] = []
        self._registers, self._basis, self._wanted = registers, basis, wanted
        self._register: dict[Literal, Register] = {FALSE_LITERAL: ZERO, TRUE_LITERAL: ONE}
        self._register.update((2 * node, register) for node, register in sources.items())
        self._first: dict[Literal, Register] = {}
        for register, literal in wanted.items():
            self._first.setdefault(literal, register)

    def complement_sources(self) -> None:
        """Write the complements of sources that are wanted, before what may make use of them."""
        for literal in [each for each in self._first if each & 1 and each ^ 1 in self._register]:
            self._literal(literal)

    def add(self, node: Node, piece: Piece) -> None:
        """Write a node, in the polarity that it is wanted in or that an instruction makes."""
        count = len(piece.leaves)
        flips = [0 if 2 * leaf in self._register else 1 for leaf in piece.leaves]
        if self._basis is Basis.TERNARY:
            inverted = 2 * node + 1 in self._first and 2 * node not in self._first
        else:
            flips, inverted = self._direct(node, piece, flips)
        table = piece.table
        for place in range(count):
            if flips[place]:
                table = complemented(table, count, place)
        operands = [self._literal(2 * leaf + flip) for leaf, flip in zip(piece.leaves, flips, strict=True)]
        table ^= ((1 << (1 << count)) - 1) if inverted else 0
        if self._basis is Basis.SELECT and count == 3:
            operands = [operands[place] for place in _selections()[table]]
            table = SELECT_TABLE
        self._write(2 * node + inverted, table, operands)
        if 2 * node + (not inverted) in self._first:
            self._literal(2 * node + (not inverted))

    def _direct(self, node: Node, piece: Piece, held: list[int]) -> tuple[list[int], bool]:
        """Return which leaves to take complemented, and whether the result is: the fewest instructions of all ways.

        Of equals, rather complement a leaf than the result, because others may make use of that.
        """
        count, ones = len(piece.leaves), (1 << (1 << len(piece.leaves))) - 1
        best: tuple[tuple[int, int], list[int], bool] | None = None
        for choice in range(1 << count):
            flips = [held[place] ^ (choice >> place & 1) for place in range(count)]
            table = piece.table
            for place in range(count):
                if flips[place]:
                    table = complemented(table, count, place)
            made = sum(2 * leaf + flip not in self._register for leaf, flip in zip(piece.leaves, flips, strict=True))
            for inverted in (False, True):
                if self._is_direct(table ^ (ones if inverted else 0), count):
                    cost = made + (2 * node + (not inverted) in self._first), -made
                    if best is None or cost < best[0]:
                        best = cost, flips, inverted
        assert best is not None, "a cover for this basis has only what it computes"
        return best[1], best[2]

    def _is_direct(self, table: int, count: int) -> bool:
        return table in (_DIRECT[self._basis] if count == 2 else _selections())

    def finish(self) -> None:
        """Copy what is wanted and has another register."""
        for register, literal in self._wanted.items():
            held = self._literal(literal)
            if held != register:
                self.lookups.append(Lookup(COPY, register, (held, held)))

    def _literal(self, literal: Literal) -> Register:
        """Return the register of a literal, complementing into a new one where only its complement exists."""
        if literal not in self._register:
            self._write(literal, _NOT, (self._register[literal ^ 1],))
        return self._register[literal]

    def _write(self, literal: Literal, table: int, operands: Sequence[Register]) -> None:
        target = self._first.get(literal)
        if target is None:
            target = next(self._registers, None)
            if target is None:
                raise TooManyLookups
        self._register[literal] = target
        self.lookups.append(Lookup(table, target, tuple(operands)))


def can_select(table: int, inputs: int) -> bool:
    """Tell whether a table, or its complement, is a selection or has at most two inputs."""
    return inputs < 3 or table in _selections() or table ^ 0xFF in _selections()


@cache
def _selections() -> dict[int, tuple[int, ...]]:
    """Return the tables of ``c if a else b`` with the inputs in any places, and the places of b, a and c."""
    tables = {}
    for places in permutations(range(3)):
        other, condition, chosen = places
        tables[sum((k >> (chosen if k >> condition & 1 else other) & 1) << k for k in range(8))] = places
    return tables
