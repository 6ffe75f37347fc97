"""A graph of AND and XOR gates with free complements, constants folded and equal gates shared.

A literal is ``2 * node`` or, complemented, ``2 * node + 1``; node 0 is the constant false. A negative literal is
undefined: literal ``-1 - k`` stands for the *k*-th reason. An undefined operand makes the result undefined unless the
other operand decides it (``0 & x`` is 0); nothing else is assumed about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from synth.netlist.lut import Move, all_ones, best_step, cofactor, depends_on, variable_table

Literal = int
FALSE_LITERAL: Literal = 0
TRUE_LITERAL: Literal = 1


class GateGraph:
    """The gates built so far; node *n* is ``gates[n]``: ``(is_xor, literal, literal)``, or None for a source."""

    def __init__(self) -> None:
        self.gates: list[tuple[bool, Literal, Literal] | None] = [None]
        self.reasons: list[str] = []
        self._shared: dict[tuple[bool, Literal, Literal], int] = {}

    def source(self) -> Literal:
        """Return the literal of a new input or state bit."""
        self.gates.append(None)
        return 2 * (len(self.gates) - 1)

    def undefined(self, reason: str) -> Literal:
        """Return an undefined literal; ``reason`` says why."""
        self.reasons.append(reason)
        return -len(self.reasons)

    def reason(self, literal: Literal) -> str:
        """Return why an undefined literal is undefined."""
        return self.reasons[-1 - literal]

    def not_(self, a: Literal) -> Literal:
        return a ^ 1 if a >= 0 else a

    def and_(self, a: Literal, b: Literal) -> Literal:
        if a > b:
            a, b = b, a
        if a == FALSE_LITERAL or b == FALSE_LITERAL:
            return FALSE_LITERAL
        if a < 0:
            return a
        if a in (TRUE_LITERAL, b):
            return b
        if a ^ 1 == b:
            return FALSE_LITERAL
        return self._gate(False, a, b)

    def or_(self, a: Literal, b: Literal) -> Literal:
        return self.not_(self.and_(self.not_(a), self.not_(b)))

    def xor(self, a: Literal, b: Literal) -> Literal:
        if a > b:
            a, b = b, a
        if a < 0:
            return a
        complement = (a ^ b) & 1
        a, b = a & ~1, b & ~1
        if a == b:
            return complement
        if a == FALSE_LITERAL:
            return b | complement
        if a > b:
            a, b = b, a
        return self._gate(True, a, b) | complement

    def _gate(self, is_xor: bool, a: Literal, b: Literal) -> Literal:
        key = (is_xor, a, b)
        node = self._shared.get(key)
        if node is None:
            node = self._shared[key] = len(self.gates)
            self.gates.append(key)
        return 2 * node

    def lut(self, table: int, operands: Sequence[Literal]) -> Literal:
        """Return the literal of a truth table of ``operands`` (operand 0 is the least significant index bit).

        Constant operands are folded, equal ones merged, and those that do not matter are left out; an undefined
        operand that does matter makes the result undefined.
        """
        literals = list(operands)
        table, literals = fold(table & all_ones(len(literals)), literals)
        undefined = [literal for literal in literals if literal < 0]
        if undefined:
            return undefined[0]
        return self._build(table, literals)

    def _build(self, table: int, literals: list[Literal]) -> Literal:
        """Follow ``best_step``; the recursion is at most as deep as there are operands."""
        step = best_step(table, len(literals))
        if step.move is Move.CONSTANT:
            return TRUE_LITERAL if table else FALSE_LITERAL
        if step.move is Move.VARIABLE:
            return literals[0] ^ (table == 0b01)
        others = literals[:step.x] + literals[step.x + 1:]
        if step.move is Move.PAIR:
            pair = self._build(step.h, [literals[step.x], literals[step.y]])
            del others[step.y - 1]
            return self._build(step.g, [pair, *others])
        g = self._build(step.g, others)
        if step.move is Move.DROP:
            return g
        x = literals[step.x] ^ step.complement
        if step.move is Move.AND:
            return self.and_(x, g)
        if step.move is Move.OR:
            return self.or_(x, g)
        if step.move is Move.XOR:
            return self.xor(x, g)
        h = self._build(step.h, others)
        if step.move is Move.MUX:
            return self.xor(g, self.and_(x, self.xor(g, h)))
        if step.move is Move.OR_AND:
            return self.or_(g, self.and_(x, h))
        return self.xor(g, self.and_(x, h))


def fold(table: int, literals: list[Literal]) -> tuple[int, list[Literal]]:
    """Return a table and its operands without those that are constant, equal to another up to complement, or without
    influence; the list is changed."""
    position = 0
    while position < len(literals):
        literal = literals[position]
        twin = next((k for k in range(position) if literal >= 0 and literals[k] | 1 == literal | 1), None)
        if literal not in (FALSE_LITERAL, TRUE_LITERAL) and twin is None:
            position += 1
            continue
        low = cofactor(table, len(literals), position, False)
        high = cofactor(table, len(literals), position, True)
        del literals[position]
        if twin is None:
            table = high if literal == TRUE_LITERAL else low
        else:
            if literal != literals[twin]:
                low, high = high, low
            where_true = variable_table(len(literals), twin)
            table = (low & ~where_true) | (high & where_true)
    for position in reversed(range(len(literals))):
        if not depends_on(table, len(literals), position):
            table = cofactor(table, len(literals), position, False)
            del literals[position]
    return table, literals
