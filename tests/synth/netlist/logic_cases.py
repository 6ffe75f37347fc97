"""Random straight-line programs, and what they and lists of look-ups compute, on Python integers."""

import random

from synth.netlist.lookup import COPY, Basis
from synth.netlist.program import ONE, ZERO, Instruction, Operation

FIRST = 2
BINARY_TABLES = {0b1000, 0b1110, 0b0110, 0b0010, 0b0100}
TABLES = {
    Basis.BINARY: {1: {0b01}, 2: BINARY_TABLES, 3: set()},
    Basis.SELECT: {1: {0b01}, 2: BINARY_TABLES | {0b1011, 0b1101}, 3: {0b11100010}},
    Basis.TERNARY: {1: {0b01}, 2: set(range(16)), 3: set(range(256))},
}


def random_instructions(seed, sources, count, *, local=12):
    """Return instructions over registers 2, 3, … of ``sources``; most operands are among the last ``local`` results."""
    rng = random.Random(seed)
    registers = list(range(FIRST, FIRST + sources))
    instructions = []
    for target in range(FIRST + sources, FIRST + sources + count):
        operation = rng.choice((Operation.AND, Operation.OR, Operation.XOR, Operation.AND, Operation.NOT))
        a, b = (rng.choice(registers[-local:] if rng.random() < 0.8 else registers) for _ in range(2))
        instructions.append(Instruction(operation, target, a, a if operation is Operation.NOT else b))
        registers.append(target)
    return instructions


def all_inputs(sources):
    """Return a plane of every source that together hold all combinations, and the plane of ones."""
    lanes = 1 << sources
    ones = (1 << lanes) - 1
    planes = {}
    for index in range(sources):
        half = 1 << index
        block = (1 << half) - 1 << half                  # half zeros, then half ones
        planes[FIRST + index] = sum(block << start for start in range(0, lanes, 2 * half))
    return planes, ones


def random_planes(registers, seed, lanes=512):
    rng = random.Random(seed)
    return {register: rng.getrandbits(lanes) for register in registers}, (1 << lanes) - 1


def run_instructions(instructions, planes, ones):
    """Return what every register holds."""
    values = {ZERO: 0, ONE: ones, **planes}
    for step in instructions:
        a, b = values[step.a], values[step.b]
        values[step.target] = {Operation.NOT: a ^ ones, Operation.AND: a & b, Operation.OR: a | b,
                               Operation.XOR: a ^ b}[step.operation]
    return values


def lookup_plane(lookup, values, ones):
    plane = 0
    for k in range(1 << len(lookup.operands)):
        if lookup.table >> k & 1:
            term = ones
            for place, operand in enumerate(lookup.operands):
                term &= values[operand] if k >> place & 1 else values[operand] ^ ones
            plane |= term
    return plane


def run_lookups(lookups, planes, ones):
    """Return what every register holds; each is written once, after what it is made of."""
    values = {ZERO: 0, ONE: ones, **planes}
    for lookup in lookups:
        assert lookup.target not in values, lookup
        values[lookup.target] = lookup_plane(lookup, values, ones)
    return values


def check_basis(logic, basis):
    """Assert what a :class:`Logic` promises of its look-ups."""
    for lookup in logic.lookups:
        count = len(lookup.operands)
        if lookup.table == COPY and lookup.operands == (lookup.operands[0],) * 2:
            continue
        assert lookup.table in TABLES[basis][count], lookup
        assert len(set(lookup.operands)) == count, lookup
        assert not {ZERO, ONE} & set(lookup.operands), lookup
        for place in range(count):
            assert any((lookup.table >> k ^ lookup.table >> (k ^ 1 << place)) & 1 for k in range(1 << count)), lookup
