"""Truth tables as few two-input gates.

A table of ``k`` variables is an ``int`` of ``2**k`` bits; bit *j* is the value where variable *i* has bit *i* of *j*.
:func:`best_step` says how to split a table into smaller ones; ``gates.GateGraph.lut`` follows it. The cost counts
AND, OR and XOR; complements are free here, because most of them vanish in the lowering. The search is exact over its
moves (drop a variable, AND/OR/XOR with a variable, merge a pair of variables into one, Shannon and Davio splits) up
to five variables, and tries the two most promising split variables above.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache

MAXIMUM_EXACT_VARIABLES = 5


class Move(enum.Enum):
    """One way to write a table ``f`` with smaller tables ``g`` and ``h`` and its variables ``x``, ``y``."""

    CONSTANT = enum.auto()
    """``f`` is the constant ``table``."""
    VARIABLE = enum.auto()
    """``f = x``, or its complement where ``table`` is 0b01."""
    DROP = enum.auto()
    """``f = g``: ``x`` does not matter."""
    AND = enum.auto()
    """``f = x & g`` (``~x & g`` if ``complement``)."""
    OR = enum.auto()
    """``f = x | g`` (``~x | g`` if ``complement``)."""
    XOR = enum.auto()
    """``f = x ^ g``."""
    PAIR = enum.auto()
    """``f = g`` whose first variable is the two-variable table ``h`` of ``x`` and ``y``."""
    MUX = enum.auto()
    """``f = x ? h : g``."""
    OR_AND = enum.auto()
    """``f = g | (x & h)`` (``~x`` if ``complement``)."""
    XOR_AND = enum.auto()
    """``f = g ^ (x & h)`` (``~x`` if ``complement``)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A move on variable ``x`` (and ``y``), the smaller tables it needs, and the cost in gates of all of ``f``."""

    move: Move
    cost: int
    x: int = 0
    y: int = 0
    g: int = 0
    h: int = 0
    complement: bool = False


def all_ones(variables: int) -> int:
    """Return the table that is always true."""
    return (1 << (1 << variables)) - 1


@cache
def variable_table(variables: int, x: int) -> int:
    """Return the table that is variable ``x`` itself."""
    return sum(1 << j for j in range(1 << variables) if j >> x & 1)


def cofactor(table: int, variables: int, x: int, value: bool) -> int:
    """Return the table of the other ``variables - 1`` variables where variable ``x`` is ``value``."""
    block = 1 << x
    mask = (1 << block) - 1
    result = 0
    for position in range(1 << (variables - 1 - x)):
        result |= (table >> ((2 * position + value) * block) & mask) << (position * block)
    return result


def depends_on(table: int, variables: int, x: int) -> bool:
    """Tell whether variable ``x`` matters."""
    mask = all_ones(variables) & ~variable_table(variables, x)
    return (table >> (1 << x)) & mask != table & mask


@cache
def best_step(table: int, variables: int) -> Step:
    """Return the cheapest known way to split ``table``."""
    ones = all_ones(variables)
    if table in (0, ones):
        return Step(Move.CONSTANT, 0)
    if variables == 1:
        return Step(Move.VARIABLE, 0)
    smaller = variables - 1
    smaller_ones = all_ones(smaller)
    halves = []
    for x in range(variables):
        low, high = cofactor(table, variables, x, False), cofactor(table, variables, x, True)
        if low == high:
            return Step(Move.DROP, best_step(low, smaller).cost, x, g=low)
        halves.append((low, high))
    for x, (low, high) in enumerate(halves):
        if low == 0 or high == 0:
            rest = low or high
            return Step(Move.AND, _gate_cost(rest, smaller), x, g=rest, complement=high == 0)
        if low == smaller_ones or high == smaller_ones:
            rest = high if low == smaller_ones else low
            return Step(Move.OR, _gate_cost(rest, smaller), x, g=rest, complement=low == smaller_ones)
        if low ^ high == smaller_ones:
            return Step(Move.XOR, _gate_cost(low, smaller), x, g=low)
    return _best_pair(halves, variables) or _best_split(halves, variables)


def _gate_cost(table: int, variables: int) -> int:
    return (table not in (0, all_ones(variables))) + best_step(table, variables).cost


def _best_pair(halves: list[tuple[int, int]], variables: int) -> Step | None:
    """Merge variables ``x < y`` into one where the four cofactors over both are only two different tables."""
    if variables < 3:
        return None
    best: Step | None = None
    for x in range(variables):
        for y in range(x + 1, variables):
            low, high = halves[x]                       # in these, variable y has moved to position y - 1
            corners = [cofactor(low, variables - 1, y - 1, False), cofactor(high, variables - 1, y - 1, False),
                       cofactor(low, variables - 1, y - 1, True), cofactor(high, variables - 1, y - 1, True)]
            different = set(corners)
            if len(different) != 2:
                continue
            first = corners[0]
            second = (different - {first}).pop()
            pair = sum(1 << j for j, corner in enumerate(corners) if corner == second)
            merged = _interleave(first, second, variables - 2)
            cost = 1 + best_step(merged, variables - 1).cost
            if best is None or cost < best.cost:
                best = Step(Move.PAIR, cost, x, y, g=merged, h=pair)
    return best


def _interleave(low: int, high: int, variables: int) -> int:
    """Return the table whose variable 0 chooses between ``low`` and ``high``."""
    result = 0
    for j in range(1 << variables):
        result |= ((low >> j & 1) | (high >> j & 1) << 1) << (2 * j)
    return result


def _best_split(halves: list[tuple[int, int]], variables: int) -> Step:
    smaller = variables - 1
    candidates = list(range(variables))
    if variables > MAXIMUM_EXACT_VARIABLES:
        candidates = sorted(candidates, key=lambda x: _roughness(halves[x], smaller))[:2]
    best: Step | None = None
    for x in candidates:
        low, high = halves[x]
        low_cost, high_cost = best_step(low, smaller).cost, best_step(high, smaller).cost
        difference = low ^ high
        difference_cost = best_step(difference, smaller).cost
        steps = [Step(Move.MUX, 3 + low_cost + high_cost, x, g=low, h=high),
                 Step(Move.XOR_AND, 2 + low_cost + difference_cost, x, g=low, h=difference),
                 Step(Move.XOR_AND, 2 + high_cost + difference_cost, x, g=high, h=difference, complement=True)]
        if low & ~high == 0:
            steps.append(Step(Move.OR_AND, 2 + low_cost + high_cost, x, g=low, h=high))
        if high & ~low == 0:
            steps.append(Step(Move.OR_AND, 2 + low_cost + high_cost, x, g=high, h=low, complement=True))
        for step in steps:
            if best is None or step.cost < best.cost:
                best = step
    assert best is not None
    return best


def _roughness(halves: tuple[int, int], variables: int) -> int:
    """Estimate the cost of two tables: how many different tables two further splits leave."""
    parts = {table for half in halves for x in range(2)
             for table in (cofactor(half, variables, x, False), cofactor(half, variables, x, True))}
    return len({min(table, table ^ all_ones(variables - 1)) for table in parts})
