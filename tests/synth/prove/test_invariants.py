"""What a circuit never does: found in runs, proved together, and told to who compares netlists."""

import numpy as np
import pytest

from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.netlist.program import PortRegisters
from synth.prove import Held, exclusions, following
from synth.prove.invariants import Excluded

pytest.importorskip("bitwuzla")


def gate(kind, **connections):
    return {"type": kind, "parameters": {}, "connections": {port: [bit] for port, bit in connections.items()},
            "port_directions": {port: "output" if port in ("Y", "Q", "O") else "input" for port in connections}}


def lut(init, output, *inputs):
    cell = gate("SB_LUT4", O=output, **{f"I{index}": bit for index, bit in enumerate((*inputs, "0", "0", "0")[:4])})
    return cell | {"parameters": {"LUT_INIT": format(init, "016b")}}


CLK, ENABLE, DATA = 2, 3, 4


def ring():
    """Return three registers of which one is set: the set one moves on while ``enable``; and any data beside them."""
    cells = {f"place{index}": gate("SB_DFFE", C=CLK, E=ENABLE, D=10 + (index - 1) % 3, Q=10 + index)
             for index in (1, 2)}
    # The first one starts set, so it holds the complement.
    cells |= {"not": lut(0x5555, 20, 12), "place0": gate("SB_DFFE", C=CLK, E=ENABLE, D=20, Q=21),
              "again": lut(0x5555, 10, 21), "data": gate("SB_DFF", C=CLK, D=DATA, Q=13),
              "two": lut(0xE8E8, 30, 10, 11, 12)}
    ports = {"clk": [CLK], "enable": [ENABLE], "data": [DATA]}
    document = {name: {"direction": "input", "bits": bits} for name, bits in ports.items()}
    document |= {"o": {"direction": "output", "bits": [30]}, "held": {"direction": "output", "bits": [13]}}
    return compile_netlist(read_netlist({"modules": {"top": {"ports": document, "cells": cells, "netnames": {}}}}))


def stored(program, cell):
    return next(bit.stored for bit in program.state if f"'{cell}'" in bit.cell)


def test_registers_that_exclude_each_other_are_found_and_others_are_not():
    program = ring()
    found = exclusions(program)
    one, two, data = (stored(program, cell) for cell in ("place1", "place2", "data"))
    pairs = {frozenset((pair.one, pair.other)) for pair in found}
    assert frozenset(((one, True), (two, True))) in pairs
    first = stored(program, "place0")
    assert frozenset(((one, True), (first, False))) in pairs, "the first one holds the complement"
    assert not any(register == data for pair in pairs for register, _ in pair)
    assert exclusions(program, timeout=1e-6) == ()


def held(program, values):
    """Return the registers' values as a code of a port that holds them in the order of the program."""
    return sum(int(values[bit.cell.split("'")[1]]) << index for index, bit in enumerate(program.state))


def shown(program, registers, others):
    """Return whether registers follow the rest of the inputs of what :func:`following` gives."""
    inputs = {port.name: np.array([others.get(port.name, 0)], dtype=np.uint64) for port in program.inputs}
    return int(NumpyEngine(program).run(inputs | {"registers": np.array([registers], dtype=np.uint64)})["follows"][0])


def test_what_follows_is_the_start_or_what_registers_take_next():
    program = ring()
    states = [held(program, {"place0": 0, "place1": 0, "place2": 0, "data": data}) for data in (0, 1)]
    second = [held(program, {"place0": 1, "place1": 1, "place2": 0, "data": data}) for data in (0, 1)]
    relation = following(program, exclusions(program))
    assert [port.name for port in relation.inputs] == ["registers", "state_0", "enable_0", "data_0"]
    assert shown(relation, states[0], {"state_0": second[0]}), "they start so, whatever came before"
    assert shown(relation, second[1], {"state_0": states[0], "enable_0": 1, "data_0": 1})
    assert not shown(relation, second[1], {"state_0": states[0], "enable_0": 0, "data_0": 1})
    assert not shown(relation, second[1], {"state_0": states[0], "enable_0": 1, "data_0": 0})
    both = held(program, {"place0": 0, "place1": 1, "place2": 0, "data": 0})
    after = held(program, {"place0": 1, "place1": 1, "place2": 1, "data": 0})
    assert not shown(relation, after, {"state_0": both, "enable_0": 1}), "two never are before"
    assert shown(following(program, ()), after, {"state_0": both, "enable_0": 1})


def test_what_only_changes_together_has_come_from_a_cycle_that_changed_it():
    program = ring()
    places = tuple(index for index, bit in enumerate(program.state) if "place" in bit.cell)
    enable = next(port.registers[0] for port in program.inputs if port.name == "enable")
    relation = following(program, (), [Held(places, enable)])
    start = held(program, {"place0": 0, "place1": 0, "place2": 0, "data": 0})
    second = held(program, {"place0": 1, "place1": 1, "place2": 0, "data": 0})
    stays = {"state_0": second, "enable_0": 0}  # it was there before, and nothing moved it
    assert shown(relation, second, stays | {"state_1": start, "enable_1": 1})
    assert not shown(relation, second, stays | {"state_1": second, "enable_1": 0}), "it must have come there once"


def test_a_pair_may_be_one_signal_alone():
    program = ring()
    assert all(isinstance(pair, Excluded) for pair in exclusions(program))
    two = next(port for port in program.outputs if port.name == "o")
    assert isinstance(two, PortRegisters)
    assert Excluded((two.registers[0], True), (two.registers[0], True)) in exclusions(program), "two at once"
