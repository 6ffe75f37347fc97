"""Look-ups as C: every function of every instruction set, and state that takes the place of older state."""

import random
import re
from itertools import product

import pytest

from synth.native.c_logic import DIALECTS, statements
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Logic, Lookup

ONES = (1 << 64) - 1


def ternary(a, b, c, table):
    return sum((table >> (4 * (a >> k & 1) + 2 * (b >> k & 1) + (c >> k & 1)) & 1) << k for k in range(64))


# What the intrinsics compute, by Intel's Intrinsics Guide and Arm's Intrinsics Reference.
INTRINSICS = {
    "_mm512_ternarylogic_epi64": ternary, "_mm512_setzero_si512": lambda: 0, "_mm512_set1_epi64": lambda x: x & ONES,
    "_mm256_and_si256": lambda a, b: a & b, "_mm256_or_si256": lambda a, b: a | b,
    "_mm256_xor_si256": lambda a, b: a ^ b, "_mm256_andnot_si256": lambda a, b: ~a & b & ONES,
    "_mm256_set1_epi64x": lambda x: x & ONES, "_mm256_setzero_si256": lambda: 0,
    "vandq_u64": lambda a, b: a & b, "vorrq_u64": lambda a, b: a | b, "veorq_u64": lambda a, b: a ^ b,
    "vbicq_u64": lambda a, b: a & ~b & ONES, "vornq_u64": lambda a, b: (a | ~b) & ONES,
    "vbslq_u64": lambda mask, a, b: mask & a | ~mask & b & ONES, "vmvnq_u8": lambda a: ~a & ONES,
    "vreinterpretq_u8_u64": lambda a: a, "vreinterpretq_u64_u8": lambda a: a, "vdupq_n_u64": lambda a: a,
    "UINT64_MAX": ONES, "UINT64_C": lambda a: a,
}


def evaluate(lookup, values):
    """Return a look-up of values by its definition."""
    return sum((lookup.table >> sum((values[operand] >> k & 1) << place
                                    for place, operand in enumerate(lookup.operands)) & 1) << k for k in range(64))


def run(lines, memory, names):
    """Execute statements on memory, a mapping from address to word."""
    values = dict(names)
    for line in lines:
        if load := re.fullmatch(r"const uint64_t (\w+) = \*\((.+)\);", line):
            values[load[1]] = memory[load[2]]
        elif define := re.fullmatch(r"const uint64_t (\w+) = (.+);", line):
            values[define[1]] = eval(define[2], {}, values) & ONES
        else:
            store = re.fullmatch(r"\*\((.+)\) = (.+);", line)
            memory[store[1]] = eval(store[2], {}, values) & ONES


@pytest.mark.parametrize("isa", InstructionSet)
def test_every_function_is_said_as_the_instruction_set_computes_it(isa):
    dialect = DIALECTS[isa]
    tables = [(3, table) for table in range(256)] + [(2, table) for table in (1, 2, 4, 6, 8, 9, 14)] + [(1, 1)] \
        if dialect.any_table else list(dialect.tables)
    assert len(tables) >= 6
    rng = random.Random(1)
    for count, table in tables:
        values = {f"t{place}_": rng.getrandbits(64) for place in range(count)}
        lookup = Lookup(table, 9, tuple(range(count)))
        got = eval(dialect.expression(lookup, list(values)), {**INTRINSICS, **values}) & ONES
        want = evaluate(lookup, dict(enumerate(values.values())))
        assert got == want, (isa, count, bin(table), dialect.expression(lookup, list(values)))


@pytest.mark.parametrize("isa", InstructionSet)
def test_constants_are_zeros_and_ones(isa):
    dialect = DIALECTS[isa]
    assert (eval(dialect.zero, dict(INTRINSICS)), eval(dialect.ones, dict(INTRINSICS))) == (0, ONES)


def random_logic(rng):
    """Return logic whose results often take the places of its sources."""
    sources = tuple(range(2, 2 + rng.randint(1, 6)))
    known, lookups = list(sources), []
    for target in range(20, 20 + rng.randint(0, 12)):
        count = rng.choice([1, 2]) if len(known) > 1 else 1
        operands = tuple(rng.sample(known, count))
        lookups.append(Lookup(0b01 if count == 1 else rng.choice([0b1000, 0b1110, 0b0110, 0b0010, 0b0100]), target,
                              operands))
        known.append(target)
    wanted = tuple(rng.choice([0, 1, *known, *known]) for _ in sources)
    return Logic(sources, wanted, tuple(lookups))


def test_the_next_state_may_take_the_place_of_the_last():
    for seed in range(400):
        rng = random.Random(seed)
        logic = random_logic(rng)
        addresses = [f"state + {place}" if place else "state" for place in range(len(logic.sources))]
        places = rng.sample(addresses, len(addresses))
        memory = {address: rng.getrandbits(64) for address in addresses}
        values = {0: 0, 1: ONES, **{register: memory[address]
                                    for register, address in zip(logic.sources, addresses, strict=True)}}
        for lookup in logic.lookups:
            values[lookup.target] = evaluate(lookup, values)
        want = {address: values[register] for register, address in zip(logic.wanted, places, strict=True)}
        lines = statements(logic, InstructionSet.WORD64, addresses, places)
        run([re.sub(r"UINT64_C\(0\)", "0", line).replace("UINT64_MAX", str(ONES)) for line in lines], memory, {})
        assert memory == want, (seed, logic, lines)


def test_a_source_that_never_changes_is_a_constant():
    logic = Logic((2, 3), (4,), (Lookup(0b1110, 4, (2, 3)),))
    lines = statements(logic, InstructionSet.WORD64, [None, "a"], ["o"])
    assert lines == ["const uint64_t t3_ = *(a);", "const uint64_t t4_ = UINT64_C(0) | t3_;", "*(o) = t4_;"]


def test_what_is_not_read_is_not_loaded():
    logic = Logic((2, 3), (3, 3), ())
    lines = statements(logic, InstructionSet.AVX2, ["a", "a + 4"], ["o", "o + 4"])
    assert [line.count("loadu") for line in lines] == [1, 0, 0]
    assert len({value for value, _ in product(lines, lines)}) == 3
