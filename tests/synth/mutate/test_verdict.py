"""Faults that no check finds are told from those that change nothing, with a solver and without."""

import pytest

from synth.errors import ToolMissing
from synth.mutate import Fault, FaultKind, Verdict, judge, population
from synth.mutate.fading import changes_only_start, start_fades
from synth.mutate.forgetting import forgets_after
from synth.mutate.pair import MAXIMUM_BITS, Pair, first_difference, pair_of, window_of
from synth.mutate.plant import top_module
from synth.mutate.reachable import reachable_states
from synth.mutate.verdict import judge_machine, judge_masked, judge_reachable
from synth.netlist import PortRegisters, Program, compile_netlist, read_netlist

pytest.importorskip("bitwuzla")


def gate(kind, **connections):
    return {"type": kind, "parameters": {}, "connections": {port: [bit] for port, bit in connections.items()},
            "port_directions": {port: "output" if port in ("Y", "Q", "O") else "input" for port in connections}}


def lut(init, output, *inputs):
    cell = gate("SB_LUT4", O=output, **{f"I{index}": bit for index, bit in enumerate(inputs)})
    return cell | {"parameters": {"LUT_INIT": format(init, "016b")}}


def design(inputs, outputs, cells):
    ports = {name: {"direction": "input", "bits": bits} for name, bits in inputs.items()}
    ports |= {name: {"direction": "output", "bits": bits} for name, bits in outputs.items()}
    return {"modules": {"top": {"ports": ports, "cells": cells, "netnames": {}}}}


def program_of(document):
    return compile_netlist(read_netlist(document))


def unreachable_corner(width=2):
    """Return ``o = (a & b) | (a ^ b)``: the look-up table of ``o`` never sees both of its inputs at 1."""
    a, b = list(range(2, 2 + width)), list(range(2 + width, 2 + 2 * width))
    cells, outputs = {}, []
    for index in range(width):
        net = 100 + 10 * index
        cells[f"and{index}"] = lut(0x8888, net, a[index], b[index], "0", "0")
        cells[f"xor{index}"] = lut(0x6666, net + 1, a[index], b[index], "0", "0")
        cells[f"or{index}"] = lut(0xEEEE, net + 2, net, net + 1, "0", "0")
        outputs.append(net + 2)
    return design({"a": a, "b": b}, {"o": outputs}, cells)


def table_bit(cell, bit):
    return Fault(cell=cell, type="SB_LUT4", kind=FaultKind.TABLE_BIT, parameter="LUT_INIT", bits=1 << bit)


def test_a_bit_that_is_never_addressed_changes_nothing():
    document = unreachable_corner()
    sound = program_of(document)
    assert judge(document, table_bit("or0", 3), sound).verdict is Verdict.EQUIVALENT
    missed = judge(document, table_bit("or0", 0), sound)
    assert missed.verdict is Verdict.NOT_EQUIVALENT
    assert missed.method == "all combinations of 2 bits"
    assert missed.inputs == {"a[0]": 0, "b[0]": 0}
    assert judge(document, table_bit("or0", 0), sound, clean=False).verdict is Verdict.UNKNOWN


def wide(steps, *, masked=False):
    """Return a chain of exclusive ors over many inputs, with the unreachable corner at its end.

    If ``masked``, there is a cell ``hidden`` too: of whatever it gives, ``x | x & hidden`` is ``x``. That is some cells
    behind it, so that it takes more than to look at what is near.
    """
    document = unreachable_corner(1)
    module = document["modules"]["top"]
    inputs, net = list(range(200, 200 + steps)), 102
    module["ports"]["c"] = {"direction": "input", "bits": inputs}
    if masked:
        module["cells"] |= {"hidden": lut(0x8888, 150, 2, 200, "0", "0"),
                            **{f"passed{index}": lut(0x5555, 161 + index, 160 + index if index else 150, "0", "0", "0")
                               for index in range(4)},
                            "absorbed": lut(0x8888, 151, 102, 164, "0", "0"),
                            "kept": lut(0xEEEE, 152, 102, 151, "0", "0")}
        net = 152
    for index, bit in enumerate(inputs):
        module["cells"][f"chain{index}"] = lut(0x6666, 300 + index, net, bit, "0", "0")
        net = 300 + index
    module["ports"]["o"]["bits"] = [net]
    return document


def test_a_solver_decides_where_there_are_too_many_bits():
    document = wide(30, masked=True)
    sound = program_of(document)
    judgement = judge(document, table_bit("hidden", 3), sound)
    assert judgement.verdict is Verdict.EQUIVALENT
    assert "bitwuzla" in judgement.method
    missed = judge(document, table_bit("or0", 1), sound)
    assert missed.verdict is Verdict.NOT_EQUIVALENT
    assert missed.inputs["a"] ^ missed.inputs["b"] == 0
    assert missed.inputs["a"] & missed.inputs["b"] == 1, "the one combination that addresses the bit"


def test_without_a_solver_what_is_too_wide_is_not_known(monkeypatch):
    def missing(*arguments, **options):
        raise ToolMissing("bitwuzla", "Solver bitwuzla is not installed")

    monkeypatch.setattr("synth.prove.equivalent", missing)
    document = wide(30, masked=True)
    judgement = judge(document, table_bit("hidden", 3), program_of(document))
    assert (judgement.verdict, judgement.method) == (Verdict.UNKNOWN, "Solver bitwuzla is not installed")
    document = wide(18, masked=True)
    assert judge(document, table_bit("hidden", 3), program_of(document)).verdict is Verdict.EQUIVALENT


def pipeline():
    """Return ``o`` two registers behind ``a & b``."""
    return design({"a": [2], "b": [3], "clk": [4]}, {"o": [8]}, {
        "and": lut(0x8888, 5, 2, 3, "0", "0"), "first": gate("SB_DFF", C=4, D=5, Q=6),
        "second": gate("SB_DFF", C=4, D=6, Q=8)})


def counter():
    """Return a register that is inverted while ``a``."""
    return design({"a": [2], "clk": [4]}, {"o": [6]}, {
        "next": lut(0x6666, 5, 2, 6, "0", "0"), "register": gate("SB_DFF", C=4, D=5, Q=6)})


def test_a_pipeline_forgets_and_a_counter_does_not():
    assert [forgets_after(program_of(pipeline()), cycles) for cycles in (0, 1, 2, 3)] == [False, False, True, True]
    assert not forgets_after(program_of(counter()), 99)


def test_how_a_pipeline_starts_does_not_matter_and_how_a_counter_does_is_not_known():
    for document, latency, verdict in ((pipeline(), 2, Verdict.EQUIVALENT), (pipeline(), 1, Verdict.UNKNOWN),
                                       (counter(), 1, Verdict.UNKNOWN)):
        starts = [fault for fault in population(top_module(document)[1], [("clk", 0)])
                  if fault.kind is FaultKind.INITIAL_VALUE]
        sound = program_of(document)
        assert {judge(document, fault, sound, latency=latency).verdict for fault in starts} == {verdict}
    document = pipeline()
    fault = Fault(cell="first", type="SB_DFF", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    judgement = judge(document, fault, program_of(document), latency=2, stream=True)
    assert judgement.verdict is Verdict.UNKNOWN, "a stream's result may be the first"


def stage(*, held_back):
    """Return a register of a stream: its payload is loaded while nothing valid waits, or (held back) while ``i``."""
    empty = lut(0x5555, 20, 11, "0", "0", "0")
    return design({"i__valid": [2], "i__payload": [3], "clk": [4], "rst": [5]},
                  {"o__valid": [11], "o__payload": [10]}, {
        "empty": empty,
        "data": gate("SB_DFFE", C=4, D=3, E=2 if held_back else 20, Q=10),
        "valid": gate("SB_DFFSR", C=4, D=2, R=5, Q=11)})


def test_how_a_payload_starts_is_gone_before_it_is_valid():
    start = Fault(cell="data", type="SB_DFFE", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    for held_back in (False, True):
        document = stage(held_back=held_back)
        sound = program_of(document)
        judgement = judge(document, start, sound, stream=True)
        # While it is held back the difference stays, until a transfer comes: which is as good, but not shown here.
        assert judgement.verdict is (Verdict.UNKNOWN if held_back else Verdict.EQUIVALENT)
        assert judgement.method == "how it starts is gone before a result is valid" or held_back
        valid = Fault(cell="valid", type="SB_DFFSR", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
        assert judge(document, valid, sound, stream=True).verdict is Verdict.UNKNOWN
        assert not start_fades(sound, "valid")
    assert not start_fades(program_of(counter()), "register")


def test_a_start_that_lasts_until_it_does_not_matter_takes_two_machines():
    document = stage(held_back=True)
    start = Fault(cell="data", type="SB_DFFE", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    judgement = judge_machine(document, start)
    assert judgement.verdict is Verdict.EQUIVALENT
    assert judgement.method.startswith("induction over reachable states, bitwuzla")
    valid = Fault(cell="valid", type="SB_DFFSR", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    seen = judge_machine(document, valid)
    assert (seen.verdict, seen.method) == (Verdict.NOT_EQUIVALENT, "seen in runs from power-up")
    document["modules"]["top"]["cells"]["loose"] = lut(0x8888, 70, 2, 3, "0", "0")
    assert judge_machine(document, table_bit("loose", 1)).verdict is Verdict.EQUIVALENT, "nothing depends on it"


def test_two_machines_that_are_not_decided_in_time_are_not_known(monkeypatch):
    def missing(*arguments, **options):
        raise ToolMissing("bitwuzla", "Solver bitwuzla is not installed")

    document = stage(held_back=True)
    start = Fault(cell="data", type="SB_DFFE", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    late = judge_machine(document, start, timeout=0.01)
    assert late.verdict is Verdict.UNKNOWN
    assert late.method.startswith("no induction over reachable states (bitwuzla")
    monkeypatch.setattr("synth.prove.unobservable", missing)
    assert judge_machine(document, start).method == "Solver bitwuzla is not installed"


def test_a_setting_that_a_reset_shares_changes_more_than_the_start():
    alone = gate("FD1P3AX", CK=2, D=3, SP=4, Q=5)
    shared = gate("FD1P3IX", CK=2, D=3, SP=4, CD=6, Q=5)
    tied = shared | {"connections": shared["connections"] | {"CD": ["0"]}}
    assert [changes_only_start(cell) for cell in (alone, shared, tied)] == [True, False, True]
    assert changes_only_start(gate("FDRE", C=2, CE=3, D=4, R=5, Q=6))
    assert changes_only_start(gate("SB_DFFSR", C=2, D=4, R=5, Q=6))
    assert not changes_only_start(gate("SB_LUT4", I0=2, O=3))


def test_registers_are_compared_by_what_they_take_next():
    document = counter()
    sound = program_of(document)
    fault = Fault(cell="register", type="SB_DFF", kind=FaultKind.INVERTED_INPUT, pins=(("D", 0),))
    assert judge(document, fault, sound, stream=True).verdict is Verdict.UNKNOWN
    document = unreachable_corner(1)
    module = document["modules"]["top"]
    module["ports"] |= {"clk": {"direction": "input", "bits": [50]}, "o": {"direction": "output", "bits": [51]}}
    module["cells"]["register"] = gate("SB_DFF", C=50, D=102, Q=51)
    judgement = judge(document, table_bit("or0", 3), program_of(document), stream=True)
    assert judgement.verdict is Verdict.EQUIVALENT
    assert judgement.method.startswith("induction over equal states")


def test_memories_are_not_judged():
    ram = {"type": "RAM64X1S", "parameters": {"INIT": "01" * 32},
           "connections": {"D": [2], "WE": [3], "WCLK": [4], "O": [11], **{f"A{index}": [5 + index] for index in
                                                                           range(6)}},
           "port_directions": {"O": "output", **dict.fromkeys(("D", "WE", "WCLK", *(f"A{i}" for i in range(6))),
                                                              "input")}}
    document = design({"x": [2, 3, *range(5, 11)], "clk": [4]}, {"o": [11]}, {"ram": ram})
    fault = Fault(cell="ram", type="RAM64X1S", kind=FaultKind.INVERTED_INPUT, pins=(("D", 0),))
    assert pair_of(document, fault) is None
    assert judge(document, fault, program_of(document)).method == "memories, or asynchronous resets"


def test_a_window_is_equal_only_if_the_whole_is():
    document = wide(30)
    for bit, same in ((3, True), (0, False)):
        pair = pair_of(document, table_bit("or0", bit))
        assert pair.bits == 32
        window = window_of(pair, 4)
        assert window.bits <= pair.bits
        if window.bits <= 18:
            assert (first_difference(window) is None) <= same


def test_too_many_bits_are_refused():
    program = Program(name="wide", inputs=(PortRegisters("x", tuple(range(2, 3 + MAXIMUM_BITS))),),
                      outputs=(PortRegisters("y", (2,)),), state=(), instructions=(), register_count=40)
    pair = Pair(sound=program, faulty=program, names=("n",) * (MAXIMUM_BITS + 1), same_start=True)
    with pytest.raises(ValueError, match="must be at most 24, not 25"):
        first_difference(pair)


def two_places(enabled=False):
    """Return two registers that exclude each other, and a look-up table that tells which of them is set."""
    kind, pins = ("SB_DFFE", {"E": 6}) if enabled else ("SB_DFF", {})
    return design({"a": [2], "b": [3], "clk": [4], "go": [6]}, {"o": [30]}, {
        "only_a": lut(0x2222, 20, 2, 3, "0", "0"), "only_b": lut(0x4444, 21, 2, 3, "0", "0"),
        "first": gate(kind, C=4, D=20, Q=10, **pins), "second": gate(kind, C=4, D=21, Q=11, **pins),
        "which": lut(0x6666, 30, 10, 11, "0", "0")})


@pytest.mark.parametrize("enabled", [False, True])
def test_states_that_are_never_reached_do_not_count(enabled):
    document = two_places(enabled)
    sound, reachable = program_of(document), reachable_states(document)
    assert reachable is not None
    assert judge(document, table_bit("which", 3), sound, stream=True).verdict is Verdict.UNKNOWN
    judgement = judge_reachable(document, table_bit("which", 3), sound, reachable)
    assert judgement.verdict is Verdict.EQUIVALENT
    assert judgement.method.startswith("induction over reachable states, bitwuzla")
    for bit in (0, 1, 2):
        seen = judge_reachable(document, table_bit("which", bit), sound, reachable)
        assert seen.verdict is Verdict.UNKNOWN
        assert "differs for states that are not known never to be" in seen.method
    start = Fault(cell="first", type=document["modules"]["top"]["cells"]["first"]["type"],
                  kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    assert judge_reachable(document, start, sound, reachable).verdict is Verdict.UNKNOWN


def test_without_a_solver_nothing_is_known_of_states(monkeypatch):
    def missing(*arguments, **options):
        raise ToolMissing("bitwuzla", "Solver bitwuzla is not installed")

    monkeypatch.setattr("synth.prove.exclusions", missing)
    assert reachable_states(two_places()) is None


def hidden():
    """Return five registers and one that is seen while not all of these are set: it may hold anything meanwhile."""
    places = {f"place{index}": gate("SB_DFF", C=4, D=40 + index, Q=50 + index) for index in range(5)}
    cells = places | {
        "all": lut(0x8000, 60, 50, 51, 52, 53), "special": lut(0x8888, 61, 60, 54, "0", "0"),
        "next": lut(0x8000, 62, 40, 41, 42, 43), "hides": lut(0x8888, 63, 62, 44, "0", "0"),
        # Of what comes in, and of whether what comes in besides hides it.
        "taken": lut(0x2222, 64, 2, 63, "0", "0"), "data": gate("SB_DFF", C=4, D=64, Q=65),
        "out": lut(0x2222, 66, 65, 61, "0", "0")}
    return design({"a": [2], "clk": [4], "p": [*range(40, 45)]}, {"o": [66]}, cells)


def test_a_difference_that_is_hidden_while_it_lasts_is_none():
    document = hidden()
    sound, reachable = program_of(document), reachable_states(document)
    fault = table_bit("taken", 3)  # it takes what comes in although it is to be hidden
    assert judge_reachable(document, fault, sound, reachable).verdict is Verdict.UNKNOWN
    judgement = judge_masked(document, fault, sound, reachable)
    assert judgement.verdict is Verdict.EQUIVALENT
    assert judgement.method.startswith("induction over masked differences, bitwuzla")
    seen = judge_masked(document, table_bit("taken", 1), sound, reachable)
    assert seen.verdict is Verdict.UNKNOWN
    assert seen.method.startswith("no induction over masked differences")


def test_registers_that_are_not_the_same_are_not_masked():
    """A register that starts at the other value has inverters around it here, and so always holds something else."""
    document = hidden()
    start = Fault(cell="data", type="SB_DFF", kind=FaultKind.INITIAL_VALUE, pins=(("Q", 0),))
    assert judge_masked(document, start, program_of(document), reachable_states(document)).verdict is Verdict.UNKNOWN
