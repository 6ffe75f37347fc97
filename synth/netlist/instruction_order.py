"""An order of look-ups that keeps few registers live, and what an order costs in stores and loads.

A processor's out-of-order core finds the parallelism by itself, hundreds of instructions ahead; what it cannot mend is
a value that has no register. So the order follows lifetimes alone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

from synth.netlist.lookup import Logic, Lookup
from synth.netlist.program import Register
from synth.netlist.spilling import Move, plan_spills

__all__ = ["live_registers", "ordered", "spills"]

ROUNDS = 4
"""Passes of moving look-ups to where lifetimes are shorter; later ones change little."""

SMALL = 3000
"""Look-ups up to which several orders are tried; the greedy one's time grows with the square of them."""

Order = Sequence[Lookup]


def ordered(lookups: Order, wanted: Sequence[Register], registers: int) -> tuple[Lookup, ...]:
    """Return look-ups in the cheapest order found for so many registers.

    Parameters
    ----------
    lookups : sequence of Lookup
        In an order in which they can be done.
    wanted : sequence of Register
        The results, which are stored as soon as they are there.
    registers : int
        What the machine has; only spills beyond them count.
    """
    graph = _Graph(lookups)
    orders = [_shortened(start, graph) for start in _starts(lookups, wanted, graph)]
    best = orders[0]
    if len(lookups) <= SMALL:
        costs = [_cost(order, registers) for order in orders]
        best = _drifted(orders[costs.index(min(costs))], min(costs), graph, registers)
    return tuple(best)


def live_registers(logic: Logic) -> int:
    """Return the most values that are live at once; a source counts from where it is first read."""
    last = {operand: index for index, lookup in enumerate(logic.lookups) for operand in lookup.operands}
    live: set[Register] = set()
    most = 0
    for index, lookup in enumerate(logic.lookups):
        live.update(lookup.operands)
        most = max(most, len(live))
        live = {register for register in live if last[register] > index}
        if last.get(lookup.target, -1) > index:
            live.add(lookup.target)
        most = max(most, len(live))
    return most


def spills(logic: Logic, registers: int) -> tuple[int, int]:
    """Return how many stores and reloads a processor with so many registers needs.

    Each register is given up whose next use is farthest away (L. A. Belady, "A study of replacement algorithms for a
    virtual-storage computer", IBM Systems Journal 5(2), 1966). Sources are read again from where they are, which
    counts as neither; results are stored anyway.
    """
    return _spills(logic.lookups, registers)


def _spills(lookups: Order, registers: int) -> tuple[int, int]:
    made = {lookup.target for lookup in lookups}
    moves = [step for step in plan_spills(lookups, registers) if isinstance(step, Move)]
    stores = sum(not move.load for move in moves)
    return stores, sum(move.load and move.register in made for move in moves)


def _cost(lookups: Order, registers: int) -> int:
    """Return the time that spills take, in loads: a store takes the place of about two look-ups, a load of half a one.

    Measured on a processor with AVX-512; where spills are equal, the order is a matter of taste.
    """
    stores, loads = _spills(lookups, registers)
    return 4 * stores + loads


class _Graph:
    """Who uses what among look-ups; sources are left out, because they can be read again."""

    def __init__(self, lookups: Order) -> None:
        self.lookups = {lookup.target: lookup for lookup in lookups}
        self.operands = {lookup.target: [operand for operand in dict.fromkeys(lookup.operands)
                                         if operand in self.lookups] for lookup in lookups}
        self.users: dict[Register, list[Register]] = {target: [] for target in self.lookups}
        for target, operands in self.operands.items():
            for operand in operands:
                self.users[operand].append(target)


def _starts(lookups: Order, wanted: Sequence[Register], graph: _Graph) -> Iterator[Order]:
    """Yield the orders to start from: by results from either end, as given, and by what frees most."""
    yield _by_results(wanted, graph)
    if len(lookups) <= SMALL:
        yield _by_results(wanted[::-1], graph)
        yield lookups
        yield _by_freed(lookups, graph)


def _by_results(wanted: Sequence[Register], graph: _Graph) -> Order:
    """Return each result's look-ups together, depth first, the operand that needs most registers before the others.

    Source: R. Sethi, J. D. Ullman, "The Generation of Optimal Code for Arithmetic Expressions", JACM 17(4), 1970; exact
    for trees, a guess here.
    """
    need: dict[Register, int] = {}
    for target, operands in graph.operands.items():
        needs = sorted((need[operand] for operand in operands), reverse=True)
        need[target] = max([1, *(each + place for place, each in enumerate(needs))])
    order: dict[Register, Lookup] = {}
    for result in wanted:
        pending = [(result, False)] if result in graph.lookups else []
        while pending:
            target, complete = pending.pop()
            if target in order:
                continue
            if complete:
                order[target] = graph.lookups[target]
                continue
            pending.append((target, True))
            pending += [(operand, False) for operand in sorted(graph.operands[target], key=need.__getitem__)]
    return list(order.values())


def _by_freed(lookups: Order, graph: _Graph) -> Order:
    """Return look-ups one by one: of those that can be done, the one that frees most, then the one whose operands were
    used most recently."""
    missing = {target: len(operands) for target, operands in graph.operands.items()}
    remaining = {target: len(users) for target, users in graph.users.items()}
    used = dict.fromkeys(graph.lookups, 0)
    ready = [lookup.target for lookup in lookups if not missing[lookup.target]]
    order: list[Lookup] = []
    while ready:
        def rank(target: Register) -> tuple[int, int]:
            operands = graph.operands[target]
            freed = sum(remaining[operand] == 1 for operand in operands)
            return bool(graph.users[target]) - freed, -max((used[operand] for operand in operands), default=0)

        chosen = min(ready, key=rank)
        ready.remove(chosen)
        order.append(graph.lookups[chosen])
        for operand in graph.operands[chosen]:
            remaining[operand] -= 1
            used[operand] = len(order)
        used[chosen] = len(order)
        for user in graph.users[chosen]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return order


class _Drift(enum.Enum):
    """Where a look-up goes among places that are equally good."""

    NONE = enum.auto()
    LATER = enum.auto()
    EARLIER = enum.auto()


_DRIFTS = (_Drift.LATER, _Drift.LATER, _Drift.EARLIER, _Drift.EARLIER) * 2


def _shortened(lookups: Order, graph: _Graph) -> Order:
    """Return an order in which the sum of all lifetimes is smaller."""
    for turn in range(ROUNDS):
        lookups, moved = _moved(lookups, graph, forward=turn % 2 == 1, drift=_Drift.NONE)
        if not moved:
            break
    return lookups


def _drifted(lookups: Order, cost: int, graph: _Graph, registers: int) -> Order:
    """Return the cheapest of the orders that moves to equally good places lead to: from there, some go on."""
    best = lookups
    for turn, drift in enumerate(_DRIFTS):
        if cost == 0:
            break
        lookups, _ = _moved(lookups, graph, forward=turn % 2 == 1, drift=drift)
        now = _cost(lookups, registers)
        if now < cost:
            best, cost = lookups, now
    return best


def _moved(lookups: Order, graph: _Graph, *, forward: bool, drift: _Drift) -> tuple[Order, bool]:
    """Return look-ups after each has been moved to its better place, and whether any was.

    Moving one look-up later lengthens the lifetimes of the operands that nothing after it uses, and shortens that of
    its result. So the best places are those where exactly one of its operands is used for the last time: it goes later
    while there is none, and earlier while there are two.
    """
    place = {lookup.target: float(index) for index, lookup in enumerate(lookups)}
    moved = False
    for count, lookup in enumerate(lookups if forward else reversed(lookups), 1):
        better = _better_place(lookup.target, place, graph, count * 1e-7, drift)
        if better is not None:
            place[lookup.target], moved = better, True
    return sorted(lookups, key=lambda lookup: place[lookup.target]), moved


def _better_place(target: Register, place: dict[Register, float], graph: _Graph, near: float, drift: _Drift
                  ) -> float | None:
    """Return where a look-up had better be, within its operands and users, or None where it is; ``near`` is how close
    it gets to another, a different distance for each."""
    operands, users = graph.operands[target], graph.users[target]
    earliest = max((place[operand] for operand in operands), default=-1.0)
    latest = min((place[user] for user in users), default=float(len(place)))
    lasts = sorted(max((place[user] for user in graph.users[operand] if user != target), default=-1.0)
                   for operand in operands)
    low, high, *_ = [*lasts, latest, latest] if users else [-1.0, *lasts, latest]
    here = place[target]
    if low <= here <= high:
        if drift is _Drift.NONE:
            return None
        better = min(high, latest) - near if drift is _Drift.LATER else max(low, earliest) + near
        return better if max(low, earliest) < better < min(high, latest) else None
    if here < low:
        better = low + near if latest > high else latest - near
    else:
        better = (high if earliest < low else earliest) + near
    return better if earliest < better < latest else None
