# amaranth: UnusedElaboratable=no
import pytest

from synth.flow import elaborate
from synth.netlist import compile_netlist, read_netlist
from synth.netlist.kernel import sources_of
from synth.netlist.logic import Basis, Logic, Lookup, logic_of, pieces_of
from synth.netlist.program import ONE, ZERO, Instruction, Operation, Read
from synth.operations import find_operation
from tests.support.library import operation
from tests.support.sampling import sampled
from tests.synth.netlist.logic_cases import (
    FIRST,
    all_inputs,
    check_basis,
    random_instructions,
    random_planes,
    run_instructions,
    run_lookups,
)
from tests.synth.netlist.oracle import needs_yosys, run_yosys

AND, OR, XOR, NOT = Operation.AND, Operation.OR, Operation.XOR, Operation.NOT
A, B, C, D = range(FIRST, FIRST + 4)
BASES = pytest.mark.parametrize("basis", Basis)


def program(*steps):
    """Return instructions from ``(operation, target, a, b)``; NOT has no b."""
    return [Instruction(step[0], step[1], step[2], step[-1]) for step in steps]


def assert_equal(instructions, sources, wanted, basis, *, covered=True):
    """Map a program and run it on all inputs."""
    logic = logic_of(instructions, range(FIRST, FIRST + sources), wanted, basis, covered=covered)
    planes, ones = all_inputs(sources)
    want, got = run_instructions(instructions, planes, ones), run_lookups(logic.lookups, planes, ones)
    assert logic.wanted == tuple(wanted)
    check_basis(logic, basis)
    for register in wanted:
        assert got[register] == want[register], (
            f"register {register} of {instructions}: got {got[register]:#x}, want {want[register]:#x}, {logic}")
    return logic


@BASES
@pytest.mark.parametrize("seed", range(60))
def test_random_programs_on_all_inputs(seed, basis):
    sources, count = 3 + seed % 6, 5 + seed
    instructions = random_instructions(seed, sources, count)
    registers = [ZERO, ONE, *range(FIRST, FIRST + sources + count)]
    logic = assert_equal(instructions, sources, registers[-(1 + seed % 9):] + registers[:seed % 4], basis)
    assert len(logic.lookups) <= count


@BASES
def test_every_register_may_be_wanted(basis):
    instructions = random_instructions(77, 6, 80)
    assert_equal(instructions, 6, [ZERO, ONE, *range(FIRST, FIRST + 86)], basis)


@BASES
def test_results_that_are_sources_constants_complements_and_each_other(basis):
    steps = program((NOT, 6, A), (NOT, 7, 6), (XOR, 8, A, A), (OR, 9, A, 6), (AND, 10, A, B), (AND, 11, B, A),
                    (NOT, 12, 10), (XOR, 13, 10, ONE), (OR, 14, C, ZERO), (AND, 15, 10, 12), (NOT, 16, ZERO))
    logic = assert_equal(steps, 4, [A, A, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, ZERO, ONE, D, 10], basis)
    assert sum(len(set(lookup.operands)) > 1 for lookup in logic.lookups) == 1     # the AND alone computes anything


@BASES
def test_constants_without_sources(basis):
    assert_equal(program((NOT, 2, ZERO), (AND, 3, 2, ONE)), 0, [2, 3], basis)


@BASES
def test_functions_that_are_constant_or_a_source_are_found(basis):
    """``(a & b) & ~a`` is 0, ``(a & b) | (a & ~b)`` is a: no gate shows it."""
    steps = program((AND, 6, A, B), (NOT, 7, A), (AND, 8, 6, 7), (NOT, 9, B), (AND, 10, A, 9), (OR, 11, 6, 10),
                    (XOR, 12, 11, C))
    logic = assert_equal(steps, 3, [8, 11, 12], basis)
    if basis is Basis.TERNARY:
        assert sum(len(set(lookup.operands)) > 1 for lookup in logic.lookups) == 1, logic


@BASES
def test_complements_of_results_cost_no_more_than_the_program(basis):
    """``~a | b`` of many b: one complement of a, or none."""
    steps = program((NOT, 6, A), (OR, 7, 6, B), (OR, 8, 6, C), (OR, 9, 6, D))
    logic = assert_equal(steps, 4, [7, 8, 9], basis)
    assert len(logic.lookups) == (4 if basis is Basis.BINARY else 3), logic


@BASES
def test_gates_whose_operands_are_complemented_need_no_complements(basis):
    steps = program((NOT, 6, A), (NOT, 7, B), (AND, 8, 6, 7), (NOT, 9, C), (AND, 10, 8, 9), (NOT, 11, 10),
                    (XOR, 12, 11, D))
    logic = assert_equal(steps, 4, [12], basis)
    assert len(logic.lookups) <= {Basis.BINARY: 4, Basis.SELECT: 4, Basis.TERNARY: 2}[basis], logic


def test_full_adders_are_two_ternary_lookups_a_bit():
    steps, carry, target = [], ZERO, FIRST + 16
    wanted = []
    for index in range(8):
        a, b = FIRST + index, FIRST + 8 + index
        x, s, p, q, c = range(target, target + 5)
        target += 5
        steps += program((XOR, x, a, b), (XOR, s, x, carry), (AND, p, a, b), (AND, q, x, carry), (OR, c, p, q))
        wanted.append(s)
        carry = c
    logic = logic_of(steps, range(FIRST, FIRST + 16), [*wanted, carry], Basis.TERNARY)
    planes, ones = random_planes(logic.sources, 1)
    want, got = run_instructions(steps, planes, ones), run_lookups(logic.lookups, planes, ones)
    assert [got[register] for register in logic.wanted] == [want[register] for register in logic.wanted]
    assert len(logic.lookups) == 16


def test_selections_are_one_instruction_of_neon():
    steps = program((AND, 6, A, B), (NOT, 7, A), (AND, 8, 7, C), (OR, 9, 6, 8))
    logic = assert_equal(steps, 3, [9], Basis.SELECT)
    assert logic.lookups == (Lookup(0b11100010, 9, (C, A, B)),)


@BASES
def test_without_covering_each_instruction_is_a_lookup(basis):
    instructions = random_instructions(5, 5, 30)
    logic = logic_of(instructions, range(FIRST, FIRST + 5), [30, 36], basis, covered=False)
    assert [lookup.target for lookup in logic.lookups] == [step.target for step in instructions]
    planes, ones = all_inputs(5)
    assert run_lookups(logic.lookups, planes, ones) == run_instructions(instructions, planes, ones)


@BASES
def test_without_covering_constants_are_copied(basis):
    steps = program((NOT, 3, 0), (XOR, 4, 0, 1), (AND, 5, 0, 1), (OR, 6, 1, 1), (NOT, 7, 1), (XOR, 8, A, 1),
                    (XOR, 9, 3, A))
    logic = logic_of(steps, [A], [step.target for step in steps], basis, covered=False)
    planes, ones = all_inputs(1)
    assert run_lookups(logic.lookups, planes, ones) == run_instructions(steps, planes, ones)


@pytest.mark.parametrize(("seed", "count"), [(432, 8), (496, 6), (647, 7), (673, 5)])
def test_program_is_kept_where_its_complements_are_the_fewer(seed, count):
    """Where nearly everything is wanted, another choice of polarities may need a register more than there is."""
    instructions = random_instructions(seed, 4, count)
    wanted = [step.target for step in instructions if (seed, step.target) not in {(432, 8)}]
    logic = assert_equal(instructions, 4, wanted, Basis.BINARY)
    kept = logic_of(instructions, range(FIRST, FIRST + 4), wanted, Basis.BINARY, covered=False)
    assert set(logic.lookups) == set(kept.lookups)


@BASES
def test_registers_are_those_of_the_program(basis):
    """So that pieces of one program can be run on one set of registers."""
    instructions = random_instructions(8, 5, 60)
    logic = logic_of(instructions, range(FIRST, FIRST + 5), [50, 60, 66], basis)
    assert {lookup.target for lookup in logic.lookups} <= {step.target for step in instructions}


def test_mapping_twice_gives_the_same():
    instructions = random_instructions(9, 6, 200)
    first = logic_of(instructions, range(FIRST, FIRST + 6), [200, 207], Basis.TERNARY)
    renamed = [Instruction(step.operation, step.target, step.a, step.b) for step in instructions]
    again = logic_of([*renamed, Instruction(Operation.AND, 208, 100, 101)], range(FIRST, FIRST + 6), [200, 207],
                     Basis.TERNARY)                      # another program for the cache, the same results
    assert again == first


@needs_yosys
@sampled(("kind", "fields"), [
    ("multiply", {"fmt": "e4m3"}), ("emac", {"fmt": "e3m2", "terms": 16}), ("fma", {"fmt": "e2m1", "fmt_c": "e4m3",
                                                                             "out_fmt": "e4m3"}),
    ("line_buffer", {"lanes": 1, "fmt": "int4", "height": 5, "width": 3, "max_offset": 3, "read_ports": 1}),
], 2)
def test_operators_on_random_planes(kind, fields, tmp_path):
    """Memories stay memories, so that a program has several pieces."""
    (tmp_path / "design.il").write_text(elaborate(operation(find_operation(kind), fields).component()).rtlil)
    run_yosys(tmp_path, "read_rtlil design.il\nsynth_ecp5 -top top -nodsp -noccu2 -nowidelut -run begin:map_ffs\n"
                        "clean\nsetundef -zero\nselect top\nwrite_json -selected top.json\n")
    design = compile_netlist(read_netlist(tmp_path / "top.json"))
    wanted = [register for port in design.outputs for register in port.registers]
    wanted += [register for bit in design.state for register in (bit.next, bit.settled)]
    wanted += [register for block in design.memories for write in block.writes
               for register in (*write.address, write.enable, *write.data)]
    planes, ones = random_planes(sources_of(design), 3)
    read, _ = random_planes([register for step in design.instructions if isinstance(step, Read)
                             for _, _, register in step.targets], 4)
    steps = [step for step in design.instructions if isinstance(step, Instruction)]
    want = run_instructions(steps, {**planes, **read}, ones)
    assert bool(read) == (kind == "line_buffer")
    for basis in Basis:
        values = {ZERO: 0, ONE: ones, **planes}
        for piece in pieces_of(design, wanted, basis):
            if isinstance(piece, Read):
                values.update((register, read[register]) for _, _, register in piece.targets)
                assert all(values[register] == want[register] for register in piece.address), kind
            else:
                check_basis(piece, basis)
                given = {register: values[register] for register in piece.sources}
                after = run_lookups(piece.lookups, given, ones)
                values.update((register, after[register]) for register in piece.wanted)
        assert all(values[register] == want[register] for register in wanted), (kind, basis)


def test_logic_of_no_instructions():
    assert logic_of((), (A, B), (B, ONE), Basis.TERNARY) == Logic((A, B), (B, ONE), ())
