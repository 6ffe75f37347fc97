"""Whether anyone sees at what an input is held: two machines, by induction over what their registers have to do."""

from dataclasses import replace

import pytest

from synth.netlist import NetlistError, compile_netlist, read_netlist
from synth.netlist.program import MemoryBlock
from synth.prove import Status, unobservable
from synth.prove import machines as module

pytest.importorskip("bitwuzla")

VALID, READY, DATA, RST, CLK, CHOICE = 2, 3, range(4, 12), 12, 13, 14


def gate(kind, **connections):
    return {"type": kind, "parameters": {}, "connections": {port: [bit] for port, bit in connections.items()},
            "port_directions": {port: "output" if port in ("Y", "Q", "O") else "input" for port in connections}}


def lut(init, output, *inputs):
    cell = gate("SB_LUT4", O=output, **{f"I{index}": bit for index, bit in enumerate((*inputs, "0", "0", "0")[:4])})
    return cell | {"parameters": {"LUT_INIT": format(init, "016b")}}


def circuit(cells, payload, valid=20):
    """Return a stage of a stream: ``o.valid`` is ``i.valid`` one cycle later, and every cycle moves."""
    ports = {"i__valid": [VALID], "i__payload": [*DATA], "o__ready": [READY], "rst": [RST], "clk": [CLK],
             "choice": [CHOICE]}
    document = {name: {"direction": "input", "bits": bits} for name, bits in ports.items()}
    document |= {name: {"direction": "output", "bits": bits} for name, bits in (
        ("i__ready", ["1"]), ("o__valid", [valid]), ("o__payload", [payload]))}
    cells = {"valid": gate("SB_DFFSR", C=CLK, D=VALID, R=RST, Q=20), "data": gate("SB_DFF", C=CLK, D=DATA[0], Q=21),
             **cells}
    return compile_netlist(read_netlist({"modules": {"top": {"ports": document, "cells": cells, "netnames": {}}}}))


def status(program, **options):
    return unobservable(program, "choice", twins={}, timeout=60, **options).status


def test_what_a_payload_is_while_it_is_not_valid_is_not_seen():
    # data ^ (choice & ~valid): by data, choice, valid from the lowest input up.
    table = sum(((index & 1) ^ (index >> 1 & 1 & ~(index >> 2))) << index for index in range(16))
    assert status(circuit({"seen": lut(table, 22, 21, CHOICE, 20)}, 22)) is Status.PROVED
    table = sum(((index & 1) ^ (index >> 1 & index >> 2 & 1)) << index for index in range(16))
    assert status(circuit({"seen": lut(table, 22, 21, CHOICE, 20)}, 22)) is Status.REFUTED


def test_a_register_may_differ_while_a_flag_says_that_it_does_not_matter():
    """The second stage takes ``data ^ (choice & ~valid)``: it may differ while that was not valid."""
    table = sum(((index & 1) ^ (index >> 1 & 1 & ~(index >> 2))) << index for index in range(16))
    cells = {"spoilt": lut(table, 22, 21, CHOICE, 20), "second": gate("SB_DFF", C=CLK, D=22, Q=23),
             "later": gate("SB_DFFSR", C=CLK, D=20, R=RST, Q=24)}
    assert status(circuit(cells, 23, valid=24)) is Status.PROVED
    assert status(circuit(cells, 23, valid=20)) is Status.REFUTED


def test_flags_that_exclude_each_other_are_found():
    """Two flags are the payload's first bit and its complement: the choice acts where both are set, which is never."""
    cells = {"not": lut(0x5555, 25, DATA[0]), "one": gate("SB_DFFSR", C=CLK, D=DATA[0], R=RST, Q=26),
             "other": gate("SB_DFFSR", C=CLK, D=25, R=RST, Q=27)}
    # one & other & ~choice
    table = sum((index & 1 & index >> 1 & (index >> 2 ^ 1)) << index for index in range(16))
    assert status(circuit({**cells, "seen": lut(table, 28, 26, 27, CHOICE)}, 28)) is Status.PROVED
    table = sum((index & (index >> 2 ^ 1) & 1) << index for index in range(16))
    assert status(circuit({**cells, "seen": lut(table, 28, 26, 27, CHOICE)}, 28)) is Status.REFUTED


def deep():
    """Return one that acts where all of eight bits were set but not any of them, which takes a cycle to rule out."""
    cells = {"low": lut(0x8000, 30, *DATA[:4]), "high": lut(0x8000, 31, *DATA[4:]),
             "all": lut(0x8888, 32, 30, 31), "some": lut(0xFFFE, 33, *DATA[:4]),
             "every": gate("SB_DFF", C=CLK, D=32, Q=34), "any": gate("SB_DFF", C=CLK, D=33, Q=35)}
    table = sum((index & (index >> 1 ^ 1) & index >> 2 & 1) << index for index in range(16))
    return circuit({**cells, "seen": lut(table, 36, 34, 35, CHOICE)}, 36)


def test_a_state_that_no_cycle_leads_to_takes_a_step_of_two(monkeypatch):
    assert status(deep()) is Status.PROVED
    monkeypatch.setattr(module, "_DEPTHS", (1,))
    assert status(deep()) is Status.UNDECIDED


def test_a_solver_that_takes_too_long_ends_it():
    verdict = unobservable(deep(), "choice", twins={}, timeout=0.01)
    assert verdict.status is Status.TIMED_OUT


def test_memories_are_refused():
    memory = MemoryBlock(cells=("ram",), words=1, width=1, initial=b"\0", writes=())
    with pytest.raises(NetlistError, match="must have no memory to be proved, not ram"):
        unobservable(replace(deep(), memories=(memory,)), "choice", twins={})
