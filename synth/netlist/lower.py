"""From gates to instructions: only those that something wanted depends on, with as few complements as there must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, GateGraph, Literal
from synth.netlist.program import ONE, ZERO, Instruction, Operation, Read, Register

__all__ = ["Lowering"]


class Lowering:
    """Gives literals of a graph registers, and emits the instructions that compute them.

    Parameters
    ----------
    graph : GateGraph
        Its sources must be given registers by :meth:`new_register` before what depends on them is lowered.
    """

    def __init__(self, graph: GateGraph) -> None:
        self._graph = graph
        self._register_of_literal: dict[Literal, Register] = {FALSE_LITERAL: ZERO, TRUE_LITERAL: ONE}
        self.instructions: list[Instruction | Read] = []
        self.register_count = 2

    def new_register(self, literal: Literal | None) -> Register:
        """Return a new register; it holds ``literal`` from here on, if one is given."""
        register = self.register_count
        self.register_count += 1
        if literal is not None:
            self._register_of_literal[literal] = register
        return register

    def lower_nodes(self, nodes: Sequence[int], read: Callable[[int], None] | None = None) -> None:
        """Emit the gates with these numbers, which must rise; ``read`` makes a source that has no register yet."""
        for node in nodes:
            gate = self._graph.gates[node]
            if gate is not None:
                self._lower_gate(node, *gate)
            elif 2 * node not in self._register_of_literal:
                assert read is not None
                read(node)

    def registers(self, literals: Sequence[Literal]) -> tuple[Register, ...]:
        """Return the registers of literals: see :meth:`register`."""
        return tuple(self.register(literal) for literal in literals)

    def register(self, literal: Literal) -> Register:
        """Return the register of a literal, complementing into a new one where only its complement exists."""
        register = self._register_of_literal.get(literal)
        if register is None:
            complement = self._register_of_literal[literal ^ 1]
            register = self._emit(Operation.NOT, literal, complement, complement)
        return register

    def _lower_gate(self, node: int, is_xor: bool, a: Literal, b: Literal) -> None:
        """Emit one gate, in whichever polarity needs no complement of an operand where there is one."""
        known = self._register_of_literal
        if is_xor:
            flipped = (a not in known) ^ (b not in known)
            self._emit(Operation.XOR, 2 * node + flipped, known.get(a, known.get(a ^ 1, -1)),
                       known.get(b, known.get(b ^ 1, -1)))
        elif a in known and b in known:
            self._emit(Operation.AND, 2 * node, known[a], known[b])
        elif a ^ 1 in known and b ^ 1 in known:
            self._emit(Operation.OR, 2 * node + 1, known[a ^ 1], known[b ^ 1])
        else:
            self._emit(Operation.AND, 2 * node, self.register(a), self.register(b))

    def _emit(self, operation: Operation, literal: Literal, a: Register, b: Register) -> Register:
        target = self.new_register(literal)
        self.instructions.append(Instruction(operation, target, a, b))
        return target
