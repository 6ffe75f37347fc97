"""A graph of gates covered by as few look-ups as can be found.

Every gate that something needs is computed by one look-up over a *cut*: at most three nodes that it depends on through
nothing else. Gates inside a cut that nobody else needs cost nothing, and those that others need are computed again for
free. What is minimised is the number of look-ups, whatever their depth: a processor has no clock period to meet.

Source: cuts, area flow and exact local area are those of A. Mishchenko, S. Chatterjee, R. Brayton, "Improvements to
Technology Mapping for LUT-Based FPGAs", IEEE TCAD 26(2), 2007, sections II and III.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, GateGraph, Literal, fold
from synth.netlist.lut import all_ones

__all__ = ["Allowed", "Cover", "Node", "Piece", "complemented", "cover"]

Node = int

CUTS = 12
"""Cuts kept for a node, the best by area flow; more find nothing on arithmetic."""

PASSES = 4
"""Passes over the graph that look for better cuts, at most."""

DEPTH = 12
"""Levels of gates below a node within which a change of its cut is followed; in a chain it would be all of them."""

_VARIABLES = (0b10101010, 0b11001100, 0b11110000)
_ONES = 0b11111111

Allowed = Callable[[int, int], bool]
"""From a table and its number of inputs to whether one look-up may compute it or its complement."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A node as ``table`` of two or three ``leaves``, all of which matter: bit *k* of it where leaf *i* has bit *i* of
    *k*."""

    table: int
    leaves: tuple[Node, ...]


Cover = dict[Node, Piece]
"""What computes each node, leaves before the nodes that use them."""


def cover(graph: GateGraph, roots: Sequence[Literal], size: int, allowed: Allowed | None = None
          ) -> tuple[Cover, list[Literal]]:
    """Return a cover of everything that ``roots`` depend on, by cuts of at most ``size`` leaves (2 or 3).

    The second result is the roots over the nodes of the cover: a root may turn out to be constant, a source, or what
    another one is.
    """
    return _simplified(_Mapper(graph, [literal >> 1 for literal in roots], size, allowed).cover(), roots)


class _Cut:
    """A choice for a node: its leaves, and the table over them (in increasing order)."""

    __slots__ = ("leaves", "table")

    def __init__(self, leaves: tuple[Node, ...], table: int) -> None:
        self.leaves = leaves
        self.table = table


class _Mapper:
    """The cuts of every node, the one that is chosen, and how often the chosen ones use each node."""

    def __init__(self, graph: GateGraph, roots: Sequence[Node], size: int, allowed: Allowed | None) -> None:
        self._gates, self._roots, self._size, self._allowed = graph.gates, roots, size, allowed
        self._nodes = self._needed()
        self._level: dict[Node, int] = {}
        for node in self._nodes:
            self._level[node] = 1 + max(self._level.get(operand, 0) for operand in _operands(self._gates, node))
        self._uses = self._fanout()
        self._flow: dict[Node, float] = {}
        self._cuts: dict[Node, list[_Cut]] = {}
        self._best: dict[Node, _Cut] = {}

    def cover(self) -> Cover:
        self._enumerate()
        self._count()
        size = self._area()
        for _ in range(PASSES):
            self._recover()
            before, size = size, self._area()
            if size == before:
                break
        return {node: Piece(*_narrowed(self._best[node])) for node in self._nodes if self._uses[node]}

    def _needed(self) -> list[Node]:
        """Return the gates below the roots, operands before users."""
        seen: set[Node] = set()
        pending = list(self._roots)
        while pending:
            node = pending.pop()
            gate = self._gates[node]
            if node not in seen and gate is not None:
                seen.add(node)
                pending += (gate[1] >> 1, gate[2] >> 1)
        return sorted(seen)                              # nodes are numbered in topological order

    def _fanout(self) -> dict[Node, int]:
        uses = dict.fromkeys(self._nodes, 0)
        for node in self._nodes:
            for operand in _operands(self._gates, node):
                if operand in uses:
                    uses[operand] += 1
        for root in self._roots:
            if root in uses:
                uses[root] += 1
        return uses

    # Cuts

    def _enumerate(self) -> None:
        """Give every node its best cuts by area flow: a cut's look-up, and the share of its leaves' own."""
        flow, cuts, uses = self._flow, self._cuts, self._uses
        sets: dict[Node, list[frozenset[Node]]] = {}
        for node in self._nodes:
            left, right = ([*sets.get(operand, ()), frozenset((operand,))]
                           for operand in _operands(self._gates, node))
            merged = {union for a in left for b in right if len(union := a | b) <= self._size}
            small = [each for each in merged if len(each) < self._size]
            if small:
                merged = {each for each in merged if not any(other < each for other in small)}
            ranked = sorted((1 + sum(flow.get(leaf, 0.0) for leaf in each), len(each), sorted(each)) for each in merged)
            kept = []
            for cost, _, leaves in ranked:
                cut = _Cut(tuple(leaves), self._table(node, leaves))
                if self._allowed is None or self._allowed(_narrowed(cut)[0], len(leaves)):
                    kept.append(cut)
                    if len(kept) == 1:
                        flow[node] = cost / max(uses[node], 1)
                    if len(kept) == CUTS:
                        break
            cuts[node], self._best[node] = kept, kept[0]
            sets[node] = [frozenset(cut.leaves) for cut in kept]

    def _table(self, node: Node, leaves: Sequence[Node]) -> int:
        """Return the node's table over the leaves, as eight bits whatever their number."""
        gate = self._gates[node]
        assert gate is not None, "sources have no cuts"
        is_xor, a, b = gate
        left = self._operand_table(a >> 1, leaves) ^ (_ONES if a & 1 else 0)
        right = self._operand_table(b >> 1, leaves) ^ (_ONES if b & 1 else 0)
        return left ^ right if is_xor else left & right

    def _operand_table(self, node: Node, leaves: Sequence[Node]) -> int:
        """Return an operand's table, from that of one of its own cuts: the leaves were made from one."""
        if node in leaves:
            return _VARIABLES[leaves.index(node)]
        cut = next(cut for cut in self._cuts[node] if all(leaf in leaves for leaf in cut.leaves))
        return _placed(cut.table, tuple(leaves.index(leaf) for leaf in cut.leaves))

    # Choice

    def _count(self) -> None:
        """Count how often each node is used by the chosen cuts; a node without uses is not computed."""
        uses = self._uses = dict.fromkeys(self._nodes, 0)
        for root in self._roots:
            if root in uses:
                uses[root] += 1
        for node in reversed(self._nodes):
            if uses[node]:
                for leaf in self._best[node].leaves:
                    if leaf in uses:
                        uses[leaf] += 1

    def _area(self) -> int:
        return sum(count > 0 for count in self._uses.values())

    def _recover(self) -> None:
        """Choose for each node that is used the cut that adds the fewest look-ups, all others being as they are."""
        for node in self._nodes:
            if not self._uses[node] or len(self._cuts[node]) == 1:
                continue
            lowest = self._level[node] - DEPTH
            self._release(self._best[node].leaves, lowest)
            costs = []
            for cut in self._cuts[node]:
                costs.append((self._take(cut.leaves, lowest), len(cut.leaves)))
                self._release(cut.leaves, lowest)
            self._best[node] = self._cuts[node][costs.index(min(costs))]
            self._take(self._best[node].leaves, lowest)
        self._count()                                    # what was not followed is settled

    def _take(self, leaves: Sequence[Node], lowest: int) -> int:
        """Use leaves, and what they need that was not used before, down to a level; return how many look-ups that
        adds."""
        uses, best, level = self._uses, self._best, self._level
        added, pending = 0, list(leaves)
        while pending:
            leaf = pending.pop()
            if leaf in uses:
                uses[leaf] += 1
                if uses[leaf] == 1:
                    added += 1
                    if level[leaf] >= lowest:
                        pending += best[leaf].leaves
        return added

    def _release(self, leaves: Sequence[Node], lowest: int) -> None:
        """Undo :meth:`_take`."""
        uses, best, level = self._uses, self._best, self._level
        pending = list(leaves)
        while pending:
            leaf = pending.pop()
            if leaf in uses:
                uses[leaf] -= 1
                if uses[leaf] == 0 and level[leaf] >= lowest:
                    pending += best[leaf].leaves


def _operands(gates: Sequence[tuple[bool, Literal, Literal] | None], node: Node) -> tuple[Node, Node]:
    gate = gates[node]
    assert gate is not None, "only gates have operands"
    return gate[1] >> 1, gate[2] >> 1


def _narrowed(cut: _Cut) -> tuple[int, tuple[Node, ...]]:
    """Return a cut's table in the bits that its leaves need, and the leaves."""
    return cut.table & all_ones(len(cut.leaves)), cut.leaves


def _simplified(covered: Cover, roots: Sequence[Literal]) -> tuple[Cover, list[Literal]]:
    """Leave out leaves without influence, nodes that are constants or other nodes, and what nothing uses then."""
    literals: dict[Node, Literal] = {}
    pieces: Cover = {}
    for node, piece in covered.items():
        table, operands = fold(piece.table, [literals.get(leaf, 2 * leaf) for leaf in piece.leaves])
        if not operands:
            literals[node] = TRUE_LITERAL if table else FALSE_LITERAL
        elif len(operands) == 1:
            literals[node] = operands[0] ^ (table == 0b01)
        else:
            for place, operand in enumerate(operands):
                if operand & 1:
                    table = complemented(table, len(operands), place)
            pieces[node] = Piece(table, tuple(operand >> 1 for operand in operands))
    results = [literals.get(root >> 1, root & ~1) ^ (root & 1) for root in roots]
    used = {root >> 1 for root in results}
    for node, piece in reversed(pieces.items()):
        if node in used:
            used.update(piece.leaves)
    return {node: piece for node, piece in pieces.items() if node in used}, results


@cache
def _placed(table: int, places: tuple[int, ...]) -> int:
    """Return a table of eight bits whose inputs are at other places."""
    return sum((table >> sum((k >> place & 1) << index for index, place in enumerate(places)) & 1) << k
               for k in range(8))


@cache
def complemented(table: int, inputs: int, place: int) -> int:
    """Return a table whose input at ``place`` is complemented."""
    return sum((table >> (k ^ 1 << place) & 1) << k for k in range(1 << inputs))
