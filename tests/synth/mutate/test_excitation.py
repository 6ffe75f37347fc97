"""Faults that never act: the signals that decide it are found, and run through."""

import random
from itertools import combinations

import pytest

from synth.errors import ToolMissing
from synth.mutate import Fault, FaultKind, judge
from synth.mutate.excitation import furthest_cut, never_acts
from synth.mutate.plant import ACTIVE, excited
from synth.mutate.verdict import Verdict
from synth.netlist import Instruction, Operation, compile_netlist, make_engine, read_netlist
from tests.synth.mutate.test_verdict import gate, lut, program_of, table_bit, unreachable_corner, wide


def decides(steps, target, cut):
    """Whether no way leads from the target to an input but through the cut."""
    operands = {step.target: (step.a, step.b) for step in steps}
    seen, pending = {target}, [target]
    while pending:
        register = pending.pop()
        if register not in operands:
            return False
        for operand in operands[register]:
            if operand not in cut and operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return True


def test_cuts_are_cuts_and_found_where_there_are_any():
    source = random.Random(1)
    for _ in range(120):
        registers, steps = list(range(2, 2 + source.randint(2, 6))), []
        for target in range(100, 100 + source.randint(1, 9)):
            steps.append(Instruction(Operation.AND, target, source.choice(registers), source.choice(registers)))
            registers.append(target)
        every = sorted({register for step in steps for register in (step.a, step.b)})
        least = next(size for size in range(8) if any(
            decides(steps, registers[-1], {*cut}) for cut in combinations(every, size)))
        for limit in (1, 2, 3, 6):
            cut = furthest_cut(steps, registers[-1], limit)
            assert (cut is None) == (least > limit), (steps, cut, least)
            if cut is not None:
                assert len(cut) <= limit
                assert decides(steps, registers[-1], cut), (steps, cut)


def test_a_cut_lies_as_near_to_the_inputs_as_it_can():
    # 100 = 2 & 3, 101 = 100 & 100, 102 = 101 & 100: one signal decides it, and two inputs do.
    steps = [Instruction(Operation.AND, 100, 2, 3), Instruction(Operation.AND, 101, 100, 100),
             Instruction(Operation.AND, 102, 101, 100)]
    assert furthest_cut(steps, 102, 1) == {100}
    assert furthest_cut(steps, 102, 2) == {2, 3}


def test_where_a_cell_gives_anything_else_is_shown():
    document = unreachable_corner(1)
    for bit in range(4):
        program = compile_netlist(read_netlist(excited(document, table_bit("or0", bit))))
        assert [port.name for port in program.outputs] == [ACTIVE]
        shown = make_engine(program, "numpy").run_exhaustive()[ACTIVE].tolist()
        # The table is addressed by a & b and a ^ b.
        assert shown == [int((a & b) + 2 * (a ^ b) == bit) for a in (0, 1) for b in (0, 1)]


def test_what_never_acts_is_equivalent_without_a_solver(monkeypatch):
    def missing(*arguments, **options):
        raise ToolMissing("bitwuzla", "Solver bitwuzla is not installed")

    monkeypatch.setattr("synth.prove.equivalent", missing)
    document = wide(30)
    how = never_acts(document, table_bit("or0", 3), 20)
    assert how == "all combinations of 2 bits that decide what the cell gives"
    judgement = judge(document, table_bit("or0", 3), program_of(document))
    assert (judgement.verdict, judgement.method) == (Verdict.EQUIVALENT, how)
    assert never_acts(document, table_bit("or0", 2), 20) == ""


def test_a_solver_is_asked_where_too_many_signals_decide():
    """The corner of the look-up table behind a parity of thirty inputs and its complement."""
    pytest.importorskip("bitwuzla")
    document = wide(30)
    module = document["modules"]["top"]
    last = module["ports"]["o"]["bits"][0]
    module["cells"] |= {"again0": lut(0x9999, 400, 200, 201, "0", "0"), "both": lut(0xEEEE, 440, last, 441, "0", "0")}
    net = 400
    for index in range(2, 30):
        module["cells"][f"again{index}"] = lut(0x6666, 400 + index, net, 200 + index, "0", "0")
        net = 400 + index
    module["cells"]["mixed"] = lut(0x6666, 441, net, 102, "0", "0")
    module["ports"]["o"]["bits"] = [440]
    # One is the complement of the other: they are never the same.
    for bit in (0, 3):
        assert "at the cell" in never_acts(document, table_bit("both", bit), 20)
    assert never_acts(document, table_bit("both", 1), 20) == ""


def test_registers_are_left_to_other_proofs():
    document = unreachable_corner(1)
    module = document["modules"]["top"]
    module["ports"] |= {"clk": {"direction": "input", "bits": [50]}, "o": {"direction": "output", "bits": [51]}}
    module["cells"]["register"] = gate("SB_DFF", C=50, D=102, Q=51)
    fault = Fault(cell="register", type="SB_DFF", kind=FaultKind.INVERTED_INPUT, pins=(("D", 0),))
    assert never_acts(document, fault, 20) == ""


def test_a_difference_that_goes_no_further_is_none():
    """What is exclusive-or of two bits and what is either of them differ in a corner that the next cell cannot see."""
    document = unreachable_corner(1)
    module = document["modules"]["top"]
    # The table of ``xor0`` matters only where ``and0`` does not decide ``or0``.
    assert module["cells"]["or0"]["parameters"]["LUT_INIT"] == format(0xEEEE, "016b")
    fault = table_bit("xor0", 3)
    for depth, shown in ((0, [0, 0, 0, 1]), (1, [0, 0, 0, 0])):
        program = compile_netlist(read_netlist(excited(document, fault, (), depth)))
        assert make_engine(program, "numpy").run_exhaustive()[ACTIVE].tolist() == shown, depth
    assert never_acts(document, fault, 20) == "all combinations of 2 bits that decide what the cell gives"
    assert never_acts(document, table_bit("xor0", 0), 20) == ""


def test_logic_behind_a_cell_ends_at_what_remembers():
    document = unreachable_corner(1)
    module = document["modules"]["top"]
    module["ports"] |= {"clk": {"direction": "input", "bits": [50]}, "o": {"direction": "output", "bits": [51]}}
    module["cells"]["register"] = gate("SB_DFF", C=50, D=102, Q=51)
    program = compile_netlist(read_netlist(excited(document, table_bit("or0", 0), [("clk", 0)], 5)))
    assert all(stored not in program.outputs[0].registers for stored in (bit.stored for bit in program.state))
    assert never_acts(document, table_bit("or0", 3), 20, [("clk", 0)])
    assert never_acts(document, table_bit("or0", 0), 20, [("clk", 0)]) == ""
