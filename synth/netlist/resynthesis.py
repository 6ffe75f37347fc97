"""Look-ups made into gates again, in another way where that takes fewer look-ups.

A cover follows the gates that it is given. So a look-up and those that nothing else uses are taken together as one
function of at most five inputs, which is split into gates anew (:meth:`GateGraph.lut`); where its own cover is the
smaller one, it replaces them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synth.netlist.cover import Allowed, Cover, Node, cover
from synth.netlist.gates import FALSE_LITERAL, GateGraph, Literal
from synth.netlist.lut import all_ones, variable_table

__all__ = ["split"]

INPUTS = 5
"""Inputs of a function that is split anew; up to these its split into gates is exact."""

WIDEST = 7
"""Inputs that a cone may have on the way to a larger one with fewer."""


def split(graph: GateGraph, covered: Cover, roots: Sequence[Literal], size: int, allowed: Allowed | None = None
          ) -> tuple[GateGraph, list[Literal]]:
    """Return a cover's look-ups as gates over the same sources, and the roots among them.

    They are seldom the gates that the cover was found on, and a cover of them by look-ups of ``size`` inputs may be
    smaller.
    """
    replaced = {cone.node: cone for cone in _better_cones(covered, roots, size, allowed)}
    new = GateGraph()
    literals = {0: FALSE_LITERAL}
    literals.update((node, new.source()) for node, gate in enumerate(graph.gates) if node and gate is None)
    for node, piece in covered.items():
        cone = replaced.get(node)
        table, leaves = (piece.table, piece.leaves) if cone is None else (cone.table(covered), cone.leaves)
        literals[node] = new.lut(table, [literals[leaf] for leaf in leaves])
    return new, [literals[root >> 1] ^ (root & 1) for root in roots]


@dataclass(frozen=True)
class _Cone:
    """A node, the nodes that it alone depends on (itself among them), and what these depend on."""

    node: Node
    inner: frozenset[Node]
    leaves: tuple[Node, ...]

    def table(self, covered: Cover) -> int:
        """Return the node's table over the leaves."""
        count = len(self.leaves)
        ones = all_ones(count)
        values = {leaf: variable_table(count, place) for place, leaf in enumerate(self.leaves)}

        def value(node: Node) -> int:
            if node not in values:
                piece, result = covered[node], 0
                operands = [value(leaf) for leaf in piece.leaves]
                for k in range(1 << len(operands)):
                    if piece.table >> k & 1:
                        term = ones
                        for place, operand in enumerate(operands):
                            term &= operand if k >> place & 1 else operand ^ ones
                        result |= term
                values[node] = result
            return values[node]

        return value(self.node)


def _better_cones(covered: Cover, roots: Sequence[Literal], size: int, allowed: Allowed | None) -> Iterator[_Cone]:
    """Yield cones that have nothing in common and whose function needs fewer look-ups than they have."""
    uses = Counter(leaf for piece in covered.values() for leaf in piece.leaves)
    uses.update(root >> 1 for root in roots)
    taken: set[Node] = set()
    for node in reversed(covered):
        if node in taken:
            continue
        for cone in reversed(_cones(node, covered, uses)):
            if not taken & cone.inner and _lookups_for(cone.table(covered), len(cone.leaves), size, allowed) < len(
                    cone.inner):
                taken |= cone.inner
                yield cone
                break


def _cones(node: Node, covered: Cover, uses: Counter[Node]) -> list[_Cone]:
    """Return the cones of a node from small to large, each the one before and the leaf that adds fewest inputs."""
    cones: list[_Cone] = []
    inner, leaves = frozenset((node,)), frozenset(covered[node].leaves)
    while True:
        larger = [(len(wider), leaf, wider) for leaf in sorted(leaves & covered.keys())
                  if uses[leaf] == sum(leaf in covered[user].leaves for user in inner)
                  and len(wider := leaves - {leaf} | set(covered[leaf].leaves)) <= WIDEST]
        if not larger:
            return cones
        _, leaf, leaves = min(larger, key=lambda each: each[:2])
        inner |= {leaf}
        if len(leaves) <= INPUTS:
            cones.append(_Cone(node, inner, tuple(sorted(leaves))))


@lru_cache(1 << 14)
def _lookups_for(table: int, inputs: int, size: int, allowed: Allowed | None) -> int:
    """Return how many look-ups a function of its own takes."""
    graph = GateGraph()
    sources = [graph.source() for _ in range(inputs)]
    return len(cover(graph, [graph.lut(table, sources)], size, allowed)[0])
