"""Registers of a stream circuit whose start no one sees: the difference is gone before any result is valid."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from synth.mutate.cells import Json, bit_at, flip_flop_of
from synth.netlist import Operation, Program, Read
from synth.netlist.program import ONE, ZERO, Register

MAXIMUM_STATES = 256
"""Sets of states that are followed, at most."""

_RESET, _VALID, _PAYLOAD = "rst", "o__valid", "o__payload"


class _Value(enum.Enum):
    """What is known of a signal of two designs that differ in how they start."""

    ZERO = "0 in both"
    ONE = "1 in both"
    SAME = "the same in both, and unknown"
    ANY = "perhaps not the same"


_NEGATED = {_Value.ZERO: _Value.ONE, _Value.ONE: _Value.ZERO, _Value.SAME: _Value.SAME, _Value.ANY: _Value.ANY}

_State = tuple[_Value, ...]


def changes_only_start(cell: Json) -> bool:
    """Whether a flip-flop that starts at the other value is set and reset as before."""
    pins = flip_flop_of(cell)
    return pins is not None and (pins.other_start.inverters or (cell["type"].startswith("FD")
                                 and not cell["type"].startswith("FD1"))
                                 or pins.reset is None or not isinstance(bit_at(cell, (pins.reset, 0)), int))


def start_fades(program: Program, cell: str) -> bool:
    """Return whether it cannot be seen at what value the registers of a cell start.

    Two designs, one of which starts them at other values, are followed from their start, cycle by cycle, with any
    inputs that are the same for both, until their registers must hold the same: from there on they are one. Up to
    then their outputs have to be the same, but for a payload while it is surely not valid.
    """
    if program.memories or any(bit.settled != bit.stored for bit in program.state):
        return False
    start = tuple(_Value.ANY if bit.cell.startswith(f"cell {cell!r} (") else _known(bit.initial)
                  for bit in program.state)
    pending, seen = [start], {start}
    while pending:
        state = pending.pop()
        for reset in (_Value.ZERO, _Value.ONE):
            values = _evaluated(program, state, reset)
            if not _unseen(program, values):
                return False
            following = tuple(values[bit.next] for bit in program.state)
            if _Value.ANY in following and following not in seen:
                seen.add(following)
                pending.append(following)
        if len(seen) > MAXIMUM_STATES:
            return False
    return True


def _known(value: bool) -> _Value:
    return _Value.ONE if value else _Value.ZERO


def _evaluated(program: Program, state: Sequence[_Value], reset: _Value) -> Mapping[Register, _Value]:
    values = {ZERO: _Value.ZERO, ONE: _Value.ONE}
    for port in program.inputs:
        values.update(dict.fromkeys(port.registers, reset if port.name == _RESET else _Value.SAME))
    values.update((bit.stored, value) for bit, value in zip(program.state, state, strict=True))
    for step in program.instructions:
        assert not isinstance(step, Read)  # there are no memories
        values[step.target] = _result(step.operation, values[step.a], values[step.b])
    return values


def _result(operation: Operation, a: _Value, b: _Value) -> _Value:
    if operation is Operation.NOT:
        return _NEGATED[a]
    if operation is Operation.OR:
        return _NEGATED[_result(Operation.AND, _NEGATED[a], _NEGATED[b])]
    if operation is Operation.AND and _Value.ZERO in (a, b):
        return _Value.ZERO
    if _Value.ANY in (a, b):
        return _Value.ANY
    if operation is Operation.AND:
        return b if a is _Value.ONE else a if b is _Value.ONE else _Value.SAME
    return _Value.SAME if _Value.SAME in (a, b) else _known(a is not b)


def _unseen(program: Program, values: Mapping[Register, _Value]) -> bool:
    """Whether no output shows a difference."""
    outputs = {port.name: [values[register] for register in port.registers] for port in program.outputs}
    if outputs.get(_VALID) == [_Value.ZERO]:
        outputs.pop(_PAYLOAD, None)
    return all(_Value.ANY not in shown for shown in outputs.values())
